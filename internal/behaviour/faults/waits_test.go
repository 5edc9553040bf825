package faults_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// An inClient counts the commands that a client has been given and has not returned, and its connections. It is a hook.
type inClient struct{ commands, connections gauge }

// A gauge knows how many there are now, and how many there have been at most.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) begin() {
	for n := g.now.Add(1); ; {
		if most := g.most.Load(); n <= most || g.most.CompareAndSwap(most, n) {
			return
		}
	}
}

func (g *gauge) end() { g.now.Add(-1) }

func (c *inClient) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.connections.begin()
		conn, err := next(ctx, network, addr)
		if err != nil {
			c.connections.end()
			return nil, err
		}
		return &countedConn{Conn: conn, end: sync.OnceFunc(c.connections.end)}, nil
	}
}

type countedConn struct {
	net.Conn
	end func()
}

func (c *countedConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}

func (c *inClient) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "getex" { // and no handshake's
			c.commands.begin()
			defer c.commands.end()
		}
		return next(ctx, cmd)
	}
}

func (c *inClient) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// countedPipeliner is an AutoPipeliner, which has no hook of its own for each command.
type countedPipeliner struct {
	redis.UniversalClient
	in *inClient
}

func (c countedPipeliner) Process(ctx context.Context, cmd redis.Cmder) error {
	c.in.commands.begin()
	defer c.in.commands.end()
	return c.UniversalClient.Process(ctx, cmd)
}

// Any number of requests may wait for a server that accepts and does not answer.
func TestManyWait(t *testing.T) { // not beside tests that measure time
	if kit.Owner != "" {
		return // a load is the same for everybody
	}
	requests := 10_000
	if testing.Short() || kit.RaceEnabled {
		requests = 2_000
	}
	const many = 10_000 // connections
	server := func(d dial) func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
		return func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			s := redistest.Start(t)
			return d.open(t, s.Addr), []*redistest.Server{s}
		}
	}
	for _, row := range []struct {
		name  string
		start func(t *testing.T) (redis.UniversalClient, []*redistest.Server)
		most  int // commands in the client; 0 says that they wait there, for one of few connections
	}{
		{"Client", server(client(redis.Options{})), 512},
		{"Client with many connections", server(client(redis.Options{PoolSize: many})), 512},
		{"Client with ContextTimeoutEnabled and many connections", server(client(redis.Options{ContextTimeoutEnabled: true, PoolSize: many})), 512},
		{"Client with ContextTimeoutEnabled", server(client(redis.Options{ContextTimeoutEnabled: true, PoolSize: 20})), 0},
		{"ClusterClient", server(oneNode(redis.ClusterOptions{})), 256 + 16},
		{"ClusterClient with ContextTimeoutEnabled and many connections", server(oneNode(redis.ClusterOptions{ContextTimeoutEnabled: true, PoolSize: many})), 256 + 16},
		{"AutoPipeliner", server(pipelined(client(redis.Options{}))), 512},
		{"FailoverClient", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			s := redistest.StartSentinel(t)
			return s.Client(t), append(s.Sentinels, s.Replica, s.Master)
		}, 512},
	} {
		t.Run("F1 F8 F12 many requests wait: each gets 503, at most 512 are in the client, other routes do not wait, and the first one afterwards is answered, "+row.name, func(t *testing.T) {
			rdb, servers := row.start(t)
			var in inClient
			if _, ok := rdb.(*redis.AutoPipeliner); ok {
				rdb = countedPipeliner{rdb, &in}
			} else {
				rdb.AddHook(&in)
			}
			var log kit.Log
			m := kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{Logger: log.Logger()})
			token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			for _, s := range servers {
				s.Pause()
			}

			// The store has time, and so has the request afterwards. These have not.
			var all sync.WaitGroup
			for i := range requests {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					wantUnavailable(t, kit.Serve(m.Handler(http.NotFoundHandler()), kit.With(fmt.Sprintf("s%04d%026d", i, 0), "/").WithContext(ctx)))
				})
			}
			redistest.Eventually(t, "one that waits", func() bool { return in.commands.now.Load() > 0 })
			for range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				cancel() // who asks the store fails
				if res := kit.Serve(m.Handler(http.NotFoundHandler()), kit.With("", "/").WithContext(ctx)); res.StatusCode != 404 {
					t.Errorf("status %d without a cookie", res.StatusCode)
				}
			}
			all.Wait()
			if n := int(in.commands.most.Load()); n != row.most && row.most > 0 {
				t.Errorf("%d commands at once, want %d", n, row.most)
			}
			if n := in.connections.most.Load(); n > 40 && row.most == 0 { // one that closes may overlap with its successor
				t.Errorf("%d connections at once", n)
			}
			wantLines(t, log.Take(), `level=ERROR msg="sessions: the store is unavailable"`)

			for _, s := range servers {
				s.Resume()
			}
			if row.name == "FailoverClient" {
				return // whose sentinels may have to agree first
			}
			if res := handle(m, token, func(ctx context.Context) { m.FromContext(ctx) }); res.StatusCode != 200 {
				t.Errorf("status %d when the server answers again", res.StatusCode)
			}
		})
	}
}

// A master that does not answer keeps some of the places, and never those that are for the others.
func TestOtherMastersGoOn(t *testing.T) { // not beside tests that measure time
	t.Run("F1 F8 any number of operations wait for one master of a cluster, or for two, and the others answer", func(t *testing.T) {
		var addrs []string
		var servers []*redistest.Server
		for range 3 {
			servers = append(servers, redistest.Start(t))
			addrs = append(addrs, servers[len(servers)-1].Addr)
		}
		rdb := redis.NewClusterClient(&redis.ClusterOptions{ReadTimeout: time.Minute, PoolTimeout: time.Minute, ClusterSlots: func(context.Context) (slots []redis.ClusterSlot, err error) {
			for i, addr := range addrs {
				slots = append(slots, redis.ClusterSlot{Start: i * 16384 / 3, End: (i+1)*16384/3 - 1, Nodes: []redis.ClusterNode{{Addr: addr}}})
			}
			return slots, nil
		}})
		t.Cleanup(func() { rdb.Close() })
		var in inClient
		rdb.AddHook(&in)
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: time.Minute})
		keys := make([][]string, len(addrs)) // of each master
		for i := range 3_000 {
			key := fmt.Sprint("key ", i)
			if i%2 == 0 {
				key = fmt.Sprintf("{%d}{}", i)
			}
			master, err := rdb.MasterForKey(t.Context(), "session:"+key)
			kit.Must(t, err)
			at := slices.IndexFunc(addrs, func(addr string) bool { // the client leaves the host out
				return strings.HasSuffix(addr, master.Options().Addr[strings.LastIndex(master.Options().Addr, ":"):])
			})
			keys[at] = append(keys[at], key)
		}
		load := func(ctx context.Context, key string) error {
			_, _, err := store.Load(ctx, key, time.Minute)
			return err
		}
		for i := range keys {
			kit.WantErr(t, "Load", load(t.Context(), keys[i][0]), sessions.ErrNotFound)
		}

		var waiting sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i, most := range []int64{256 + 16, 256 + 2*16} { // what all share, and what each master has of its own
			servers[i].Pause()
			for _, key := range keys[i] {
				waiting.Go(func() { kit.WantErr(t, "Load", load(ctx, key), context.Canceled) })
			}
			redistest.Eventually(t, "all places to be taken", func() bool { return in.commands.now.Load() == most })
			for _, key := range keys[2] {
				kit.WantErr(t, "Load", load(t.Context(), key), sessions.ErrNotFound)
			}
			if n := in.commands.most.Load(); n > most+1 {
				t.Errorf("%d operations in the client, want %d and one that is answered", n, most)
			}
		}
		cancel()
		waiting.Wait()
		for _, s := range servers {
			s.Resume()
		}
		redistest.Eventually(t, "the end of what was given up", func() bool { return in.commands.now.Load() == 0 })
		for i := range keys {
			kit.WantErr(t, "Load", load(t.Context(), keys[i][1]), sessions.ErrNotFound)
		}
	})
}

func TestNearerDeadline(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redis.Options{"Client": {PoolSize: 1}, "Client with ContextTimeoutEnabled": {PoolSize: 1, ContextTimeoutEnabled: true}} {
		t.Run("F1 a nearer deadline of the caller's wins where all connections are in use, "+name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
			g := redistest.NewGate()
			on(proxy, redistest.Before(g), "getex")
			s := sessions.NewRedisStore(client(o).open(t, proxy.Addr), sessions.RedisConfig{Timeout: time.Hour})
			ctx, cancel := context.WithCancel(t.Context())
			var first sync.WaitGroup
			first.Go(func() { s.Load(ctx, "k", time.Minute) })
			<-g.Reached()
			kit.Within(t, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				_, _, err := s.Load(ctx, "k", time.Minute)
				kit.WantErr(t, "Load", err, sessions.ErrUnavailable)
			})
			cancel()
			g.Open()
			first.Wait()
		})
	}
}
