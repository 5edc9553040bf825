package bench

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// The axes.
var (
	payloads  = []int{100, 300, 1 << 10, 4 << 10, 16 << 10, 64 << 10}
	inFlights = []int{1, 4, 16, 64, 256}
	stored    = []int{1, 100, 10_000, 1_000_000}
	networks  = []time.Duration{0, 300 * time.Microsecond, time.Millisecond}
	ownedBy   = []int{1, 100, 10_000}
	sizes     = []int{100, 1 << 10, 10 << 10} // of a session whose memory is measured
)

// measure runs the whole plan.
func measure(tb testing.TB, rounds int, segment time.Duration) *Data {
	server := redistest.Start(tb)
	b := &bench{tb: tb, redis: server.Addr, rounds: rounds, segment: segment, data: &Data{
		Date: time.Now().Format(time.DateOnly), Go: runtime.Version(), Rounds: rounds, Segment: segment.String(), Modules: map[string]string{},
		Machine: fmt.Sprintf("%s/%s, %d cores, which client and server share", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}}
	b.versions()
	centre := setting{Redis: b.redis, Size: centreSize}
	older := slices.DeleteFunc(slices.Clone(subjects), func(s subject) bool { return s.name == handsIFEQ })
	for _, o := range ops {
		b.times(byOp, o, 0, centreInFlight, centre, older)
		b.times(byOp, o, 0, 1, centre, older)
	}
	for _, o := range []op{read, changed} {
		for _, size := range payloads {
			b.times(byPayload, o, float64(size), centreInFlight, setting{Redis: b.redis, Size: size}, named(bare, hands, here, hereJSON, scsName))
		}
		for _, delay := range networks {
			s := centre
			s.Redis = startTask(tb, task{Delay: delay, Target: b.redis})
			b.times(byNetwork, o, float64(delay.Microseconds()), 1, s, named(hands, here, scsName, gorillaName))
		}
		b.web(o)
	}
	for _, n := range inFlights {
		b.times(byInFlight, read, float64(n), n, centre, named(bare, hands, here, herePipelined, scsName, gorillaName))
	}
	b.growth()
	b.owners()
	for i, binary := range redistest.Servers(tb) {
		addr, list := b.redis, named(bare, hands, handsScript, here, hereJSON, scsName, scsRedigo, gorillaName, ginName, fiberName)
		if i > 0 {
			addr, list = binary.Start(tb).Addr, named(hands, handsScript, here)
			if takesIFEQ(addr) {
				list = named(hands, handsScript, handsIFEQ, here)
				s := setting{Redis: addr, Size: centreSize}
				b.times(onNewer+binary.Version, changed, 0, centreInFlight, s, list)
			}
		}
		b.data.Servers = append(b.data.Servers, binary.Version)
		for _, size := range []int{centreSize, 4 << 10, 64 << 10} {
			b.costs(binary.Version, addr, changed, size, list)
		}
		if i == 0 {
			b.costs(binary.Version, addr, read, centreSize, list)
		}
	}
	for _, size := range sizes {
		list := named(here, hereJSON, scsName, gorillaName, fiberName)
		if hasExpress() == nil {
			list = append(list, nodeExpress(tb))
		}
		b.memory(b.redis, size, list)
	}
	return b.data
}

// versions notes what is measured.
func (b *bench) versions() {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/alexedwards/scs/v2", "github.com/gorilla/sessions", "github.com/boj/redistore", "github.com/gin-contrib/sessions",
			"github.com/gofiber/fiber/v3", "github.com/redis/go-redis/v9", "github.com/vmihailenco/msgpack/v5":
			b.data.Modules[m.Path] = m.Version
		}
	}
	if err := hasExpress(); err != nil {
		b.data.Missing = append(b.data.Missing, fmt.Sprintf("Express: %v", err))
	} else if out, err := exec.Command("node", "--version").Output(); err == nil {
		b.data.Node = "Node " + strings.TrimSpace(string(out)) + ", express-session 1.19.0, connect-redis 10.0.0"
	}
}

// web measures servers over HTTP, each in a process of its own.
func (b *bench) web(o op) {
	var list []subject
	for _, s := range named(hands, here, hereExpress, scsName, gorillaName, ginName, fiberName) {
		list = append(list, overHTTP(b.tb, s))
	}
	if hasExpress() == nil {
		list = append(list, nodeExpress(b.tb))
	}
	b.times(overTheWeb, o, 0, centreInFlight, setting{Redis: b.redis, Size: centreSize}, list)
}

// growth reads sessions among more and more others.
func (b *bench) growth() {
	s := setting{Redis: b.redis, Size: centreSize}
	flush(b.tb, b.redis)
	var cookies []string
	for _, n := range stored {
		cookies = append(cookies, b.cookiesOf(named(here)[0], s, n-len(cookies))...)
		asked := cookies[:min(n, 100_000)]
		b.times(byStored, read, float64(n), centreInFlight, s, named(here), asked...)
		b.times(byStored, changed, float64(n), centreInFlight, s, named(here), cookies[:min(n, 100_000)]...)
	}
	flush(b.tb, b.redis)
}

func flush(tb testing.TB, addr string) {
	rdb := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Minute})
	defer rdb.Close()
	must(tb, rdb.FlushAll(context.Background()).Err())
}

// owners measures, one at a time, what a user with so many sessions costs.
func (b *bench) owners() {
	rdb := setting{Redis: b.redis, Conns: centreInFlight}.client()
	defer rdb.Close()
	m, err := sessions.New[OwnedShop](redisStore(rdb), ourConfig(sessions.MsgPack{}))
	must(b.tb, err)
	ctx := context.Background()
	signIn := func(owner string) string {
		ctx, err := m.Load(ctx)
		must(b.tb, err)
		m.FromContext(ctx).Shop = newShop(centreSize)
		m.FromContext(ctx).UserID = owner
		out, err := m.Commit(ctx)
		must(b.tb, err)
		return out.Token.Reveal()
	}
	for _, n := range ownedBy {
		owner := fmt.Sprint("owner of ", n)
		var all sync.WaitGroup
		for w := range centreInFlight {
			all.Go(func() {
				for i := w; i < n; i += centreInFlight {
					signIn(owner)
				}
			})
		}
		all.Wait()
		token := signIn(owner)
		for _, what := range []struct {
			name string
			do   func() error
		}{
			{"sign in and out", func() error {
				ctx, err := m.Load(ctx, signIn(owner))
				must(b.tb, err)
				return m.Destroy(ctx)
			}},
			{"read", func() error {
				ctx, err := m.Load(ctx, token)
				if err == nil {
					_, err = m.Commit(ctx)
				}
				return err
			}},
			{"list", func() error {
				list, err := m.SessionsOf(ctx, owner)
				if len(list) < n {
					err = fmt.Errorf("%d sessions listed, want %d: %w", len(list), n, err)
				}
				return err
			}},
		} {
			t := Time{Group: byOwned, Op: what.name, At: float64(n), InFlight: 1, Subject: here}
			for range b.rounds {
				r := &runner{callers: []caller{what.do}}
				wall, cpu, err := r.run(b.segment)
				must(b.tb, err)
				t.NS, t.CPU = append(t.NS, wall), append(t.CPU, cpu)
			}
			b.data.Times = append(b.data.Times, t)
		}
		began := time.Now()
		_, err := m.RevokeAll(ctx, owner)
		must(b.tb, err)
		b.data.Times = append(b.data.Times, Time{
			Group: byOwned, Op: "end all", At: float64(n), InFlight: 1, Subject: here, NS: []int64{int64(time.Since(began))},
		})
		b.tb.Logf("a user with %d sessions", n)
	}
}

// takesIFEQ tells whether a server knows SET with IFEQ.
func takesIFEQ(addr string) bool {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	err := rdb.Do(context.Background(), "set", "probe", "new", "ifeq", "old").Err()
	return err == nil || err == redis.Nil
}
