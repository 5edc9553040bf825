package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// The centre of all stars: what does not vary is this.
const (
	usualSize     = 300
	usualInFlight = 64
)

func usual(addr string) setting { return setting{Redis: addr, Size: usualSize, Conns: usualInFlight} }

// requests compares everybody at the centre, one request at a time and many.
func (b *bench) requests() {
	addr := redistest.Start(b).Addr
	for _, o := range ops {
		for _, inFlight := range []int{1, usualInFlight} {
			b.compare(star{"requests", o, 0, inFlight}, usual(addr), subjectsOf(o)...)
		}
		flush(b, addr)
	}
}

// subjectsOf are those that differ in this op.
func subjectsOf(o op) []subject {
	all := []string{
		bare, hands, handsJSON, here, hereJSON, hereExpress,
		scsName, gorillaName, ginName, fiberName,
	}
	switch o {
	case read:
		all = append(all, barePipelined, handsPipelined, herePipelined, hereInterval, scsRedigo, scsNoIdle, gorillaReads, ginReads)
	case changed:
		all = append(all, barePipelined, handsPipelined, herePipelined, handsScript, scsRedigo)
	case none:
		all = []string{bare, here, hereJSON, scsName, gorillaName, ginName, fiberName}
	}
	return named(all...)
}

// payloads varies the size of a session.
func (b *bench) payloads() {
	addr := redistest.Start(b).Addr
	for _, size := range b.some(100, 300, 1<<10, 4<<10, 16<<10, 64<<10) {
		c := usual(addr)
		c.Size = size
		for _, o := range []op{read, changed} {
			b.compare(star{"payload", o, float64(size), usualInFlight}, c,
				named(bare, hands, handsJSON, here, hereJSON, scsName, gorillaName)...)
		}
		flush(b, addr)
	}
}

// inFlights varies how many requests there are at a time. There are as many connections.
func (b *bench) inFlights() {
	addr := redistest.Start(b).Addr
	for _, n := range b.some(1, 4, 16, 64, 256) {
		c := usual(addr)
		c.Conns = n
		for _, o := range []op{read, changed} {
			b.compare(star{"in flight", o, float64(n), n}, c,
				named(bare, hands, here, herePipelined, scsName, gorillaName)...)
		}
		flush(b, addr)
	}
}

// stored varies how many sessions there are. Requests are for ten thousand of them, by chance, or for all.
func (b *bench) stored() {
	c := usual(redistest.Start(b).Addr)
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		n = min(n, b.largest)
		if !b.wants(star{"stored", read, float64(n), usualInFlight}, here) && !b.wants(star{"stored", changed, float64(n), usualInFlight}, here) {
			continue
		}
		rdb := c.client()
		m, err := sessions.New[Shop](redisStore(rdb), ourConfig(sessions.MsgPack{}))
		must(b, err)
		began := time.Now()
		cookies := b.fill(rdb, n)
		b.progress("%d sessions are stored, in %v", n, time.Since(began).Round(10*time.Millisecond))
		s := ourSite(m, c, func() { rdb.Close() })
		for _, o := range []op{read, changed} {
			if o == changed && n < usualInFlight {
				continue // it would be a race for one session
			}
			star := star{"stored", o, float64(n), usualInFlight}
			var cells []cell
			if b.wants(star, here) {
				callers, err := callersOf(s, o, usualInFlight, spread(cookies, usualInFlight)...)
				must(b, err)
				cells = append(cells, cell{here, callers})
			}
			if b.wants(star, bare) {
				hand, err := named(bare)[0].open(c)
				must(b, err)
				defer hand.close()
				callers, err := callersOf(hand, o, usualInFlight)
				must(b, err)
				cells = append(cells, cell{bare, callers})
			}
			b.rounds(star, cells)
		}
		s.close()
		flush(b, c.Redis)
		if n == b.largest {
			break
		}
	}
}

// spread repeats the cookies until there are enough for n callers.
func spread(cookies []string, n int) []string {
	for len(cookies) < n {
		cookies = append(cookies, cookies...)
	}
	return cookies
}

// fill stores n sessions and returns the cookies of ten thousand of them.
func (b *bench) fill(rdb *redis.Client, n int) (cookies []string) {
	b.Helper()
	store := &bulk{Store: redisStore(rdb), rdb: rdb}
	m, err := sessions.New[Shop](store, ourConfig(sessions.MsgPack{}))
	must(b, err)
	for i := range n {
		ctx, err := m.Load(context.Background())
		must(b, err)
		*m.FromContext(ctx) = newShop(usualSize)
		o, err := m.Commit(ctx)
		must(b, err)
		if n <= 10_000 || i%(n/10_000) == 0 {
			cookies = append(cookies, "__Host-Http-session="+o.Token.Reveal())
		}
	}
	must(b, store.flush(context.Background()))
	return cookies
}

// bulk creates a thousand sessions in one round trip. It is for one goroutine.
type bulk struct {
	sessions.Store
	rdb  *redis.Client
	next redis.Pipeliner
}

func (s *bulk) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if s.next == nil {
		s.next = s.rdb.Pipeline()
	}
	s.next.Set(ctx, "session:"+key, append([]byte(nil), data...), ttl)
	if s.next.Len() < 1000 {
		return nil
	}
	return s.flush(ctx)
}

func (s *bulk) flush(ctx context.Context) error {
	if s.next == nil {
		return nil
	}
	_, err := s.next.Exec(ctx)
	return err
}

// networks puts a longer way between the program and the server.
func (b *bench) networks() {
	addr := redistest.Start(b).Addr
	for _, rtt := range []time.Duration{0, 300 * time.Microsecond, time.Millisecond} {
		c := usual(addr)
		if rtt > 0 {
			var stop func()
			c.Redis, stop = startTask(b, task{Delay: rtt, Target: addr})
			defer stop()
		}
		for _, o := range []op{read, changed} {
			for _, inFlight := range []int{1, usualInFlight} {
				b.compare(star{"network", o, float64(rtt) / float64(time.Millisecond), inFlight}, c,
					named(bare, hands, here, herePipelined, scsName, gorillaName)...)
			}
		}
		flush(b, addr)
	}
}

// compareAndSwap compares the ways to write only what nobody else has changed, on the servers that know IFEQ.
func (b *bench) compareAndSwap() {
	server, ok := newest(b)
	if !ok {
		b.data.Missing = append(b.data.Missing, "SET … IFEQ: none of SESSIONS_REDIS_SERVERS knows it.")
		return
	}
	addr := server.Start(b).Addr
	for _, size := range b.some(300, 4<<10, 64<<10) {
		c := usual(addr)
		c.Size = size
		b.compare(star{"ifeq", changed, float64(size), usualInFlight}, c, named(hands, handsScript, handsIFEQ, here)...)
		flush(b, addr)
	}
}

// overHTTP compares servers, each in a process of its own.
func (b *bench) overHTTP() {
	addr := redistest.Start(b).Addr
	var all []subject
	for _, s := range named(bare, hands, here, hereJSON, hereExpress, scsName, gorillaName, ginName, fiberName) {
		all = append(all, overHTTP(b, s))
	}
	if err := hasExpress(); err != nil {
		b.missing("Express", err)
	} else {
		all = append(all, expressApp(b))
		b.data.Node = nodeVersions(b)
	}
	for _, o := range []op{read, changed, none} {
		for _, inFlight := range []int{1, usualInFlight} {
			b.compare(star{"http", o, 0, inFlight}, usual(addr), all...)
		}
	}
}

// some returns the first two values if the run is a quick one.
func (b *bench) some(values ...int) []int {
	if b.quick {
		return values[:2]
	}
	return values
}

func flush(b *bench, addr string) {
	b.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Minute})
	defer rdb.Close()
	must(b, rdb.FlushAll(context.Background()).Err())
}

// nodeVersions are those of Node and of what it runs.
func nodeVersions(b *bench) string {
	b.Helper()
	out, err := exec.Command("node", "--version").Output()
	must(b, err)
	text, err := os.ReadFile(filepath.Join(nodeDir, "package.json"))
	must(b, err)
	var app struct{ Dependencies map[string]string }
	must(b, json.Unmarshal(text, &app))
	versions := []string{"Node " + strings.TrimSpace(string(out))}
	for _, name := range slices.Sorted(maps.Keys(app.Dependencies)) {
		versions = append(versions, name+" "+app.Dependencies[name])
	}
	return strings.Join(versions, ", ")
}
