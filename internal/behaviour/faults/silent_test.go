package faults_test

import (
	"context"
	"crypto/tls"
	"errors"
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

// brief lets an AutoPipeliner notice soon that its server has ended, and changes
// nothing before, like a single dial of the others that look for one in the background.
var brief = redis.Options{DialerRetries: 1}

// A server that accepts connections and never answers costs a request its
// Timeout and no more, whatever the client's own options are.
func TestSilentStore(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]dial{
		"Client":        client(redis.Options{}),
		"ClusterClient": cluster(redis.ClusterOptions{}),
		"Client by TLS": client(redis.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}}), // its handshake hangs
		"FailoverClient whose sentinels never answer": failover(redis.FailoverOptions{DialerRetries: 1}),
		"AutoPipeliner":              pipelined(client(brief)),
		"asynchronous AutoPipeliner": async(client(brief)),
	} {
		t.Run("F1 a request with a cookie gets 503 within Timeout plus a tenth, "+name, func(t *testing.T) {
			t.Parallel()
			events := &kit.Events{}
			m := kit.New[kit.Session](t, bounded(d.silent(t)), sessions.Config{OnEvent: events.On})
			wantInTime(t, "the request", func() {
				start := time.Now()
				res := handle(m, kit.UnknownToken(1), func(context.Context) { t.Error("the handler runs") })
				if took := time.Since(start); took < timeout/2 {
					t.Errorf("it took %v", took)
				}
				wantUnavailable(t, res)
				events.Want(t, sessions.EventUnavailable)
			})
		})

		t.Run("F1 a new session gets 503 within Timeout plus a tenth, "+name, func(t *testing.T) {
			t.Parallel()
			m := kit.New[kit.Session](t, bounded(d.silent(t)), sessions.Config{})
			wantInTime(t, "the request", func() {
				wantUnavailable(t, handle(m, "", func(ctx context.Context) { m.FromContext(ctx).UserID = "ann" }))
			})
		})
	}

	t.Run("F1 four cookies share one Timeout", func(t *testing.T) {
		t.Parallel()
		m := kit.New[kit.Session](t, bounded(client(redis.Options{}).silent(t)), sessions.Config{})
		wantInTime(t, "Load", func() {
			_, err := m.Load(t.Context(), kit.UnknownToken(1), kit.UnknownToken(2), kit.UnknownToken(3), kit.UnknownToken(4))
			kit.WantErr(t, "Load", err, sessions.ErrUnavailable)
		})
	})

	t.Run("F1 a renewal whose store falls silent between its steps ends within Timeout plus a tenth", func(t *testing.T) {
		steps := []string{"set", "evalsha"}
		if kit.Owner != "" {
			steps = steps[1:] // there is one
		}
		for _, step := range steps {
			t.Run(step+" hangs", func(t *testing.T) {
				t.Parallel()
				proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
				m, patient, token := proxied(t, proxy)
				on(proxy, redistest.Hang, step)
				wantInTimeAfter(t, "Renew", func() func() {
					ctx := t.Context()
					redistest.Eventually(t, "a load", func() bool {
						loaded, err := m.Load(t.Context(), token)
						ctx = loaded
						return err == nil
					})
					return func() { kit.WantErr(t, "Renew", m.Renew(ctx), sessions.ErrUnavailable) }
				})
				proxy.On(nil)
				if !kit.Alive(t, patient, token) {
					t.Error("the session is lost")
				}
			})
		}
	})

	t.Run("F10 ten saves and Updates of one session whose store hangs after the load end within Timeout plus a tenth", func(t *testing.T) {
		t.Parallel()
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		m, _, token := proxied(t, proxy)
		on(proxy, redistest.Hang, "eval", "evalsha")
		// begin starts ten requests, and says when all have loaded the session.
		begin := func() (ok bool, finish func()) {
			var arrived, all sync.WaitGroup
			arrived.Add(10)
			release := make(chan struct{})
			var loaded atomic.Int32
			for i := range 10 {
				all.Go(func() {
					arrive := sync.OnceFunc(arrived.Done)
					defer arrive()
					res := handle(m, token, func(ctx context.Context) {
						s := m.FromContext(ctx)
						loaded.Add(1)
						arrive()
						<-release
						if i%2 == 0 {
							s.Views++
							return
						}
						kit.WantErr(t, "Update", m.Update(ctx, func(s *kit.Session) error { s.Views++; return nil }), sessions.ErrUnavailable)
					})
					if i%2 == 0 {
						wantUnavailable(t, res)
					}
				})
			}
			arrived.Wait()
			return loaded.Load() == 10, func() {
				close(release)
				all.Wait()
			}
		}
		wantInTimeAfter(t, "the last one", func() (finish func()) {
			redistest.Eventually(t, "ten loads", func() (ok bool) {
				if ok, finish = begin(); !ok {
					finish()
				}
				return ok
			})
			return finish
		})
	})
}

// proxied is a session behind a proxy, with a Manager that is measured and one
// that a busy machine does not make fail.
func proxied(t testing.TB, proxy *redistest.Proxy) (m, patient *sessions.Manager[kit.Session], token string) {
	t.Helper()
	rdb := client(redis.Options{}).open(t, proxy.Addr)
	m, patient = kit.New[kit.Session](t, bounded(rdb), sessions.Config{}), kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{})
	return m, patient, kit.MustRequest(t, patient, "", kit.Put(patient, "ann"))
}

// otherClient is of a type that the store has never heard of.
type otherClient struct{ *redis.Client }

// wantOutage fails the test unless every operation is unavailable in time.
func wantOutage(t *testing.T, s *sessions.RedisStore) {
	t.Helper()
	var running sync.WaitGroup
	for name, op := range kit.RedisOperations(s) {
		running.Go(func() {
			wantInTime(t, name, func() {
				err := op(context.Background())
				if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "sessions: store unavailable: ") {
					t.Errorf("%s: error %v, want ErrUnavailable", name, err)
				}
			})
		})
	}
	running.Wait()
}

func TestRedisStoreTimeout(t *testing.T) {
	t.Parallel()
	keeping := redis.Options{ContextTimeoutEnabled: true}
	for _, tt := range []struct {
		name   string
		client dial
	}{
		{"Client", client(redis.Options{})},
		{"Client with ContextTimeoutEnabled", client(keeping)},
		{"Client with ContextTimeoutEnabled and no timeouts", client(redis.Options{ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1})},
		{"Client with ContextTimeoutEnabled that never sets deadlines", client(redis.Options{ContextTimeoutEnabled: true, ReadTimeout: -2, WriteTimeout: -2})},
		{"FailoverClient with ContextTimeoutEnabled, the sentinel silent", failover(redis.FailoverOptions{DialerRetries: 1, ContextTimeoutEnabled: true})},
		{"Client with ContextTimeoutEnabled and one connection", client(redis.Options{ContextTimeoutEnabled: true, PoolSize: 1, PipelinePoolSize: -1, PoolTimeout: time.Minute})},
		{"Client by TLS", client(redis.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})},
		{"Client by TLS with ContextTimeoutEnabled", client(redis.Options{ContextTimeoutEnabled: true, TLSConfig: &tls.Config{InsecureSkipVerify: true}})},
		{"ClusterClient by TLS", cluster(redis.ClusterOptions{TLSConfig: &tls.Config{InsecureSkipVerify: true}})},
		{"ClusterClient", cluster(redis.ClusterOptions{})},
		{"ClusterClient with ContextTimeoutEnabled", cluster(redis.ClusterOptions{ContextTimeoutEnabled: true})},
		{"FailoverClient, the sentinel silent", failover(redis.FailoverOptions{DialerRetries: 1})},
		{"AutoPipeliner", pipelined(client(brief))},
		{"AutoPipeliner on a ClusterClient", pipelined(cluster(redis.ClusterOptions{DialerRetries: 1}))},
		{"asynchronous AutoPipeliner", async(client(brief))},
		{"asynchronous AutoPipeliner on a ClusterClient", async(cluster(redis.ClusterOptions{DialerRetries: 1}))},
		{"a client of another type", func(_ testing.TB, addr string) (redis.UniversalClient, func() error) {
			c := redis.NewClient(&redis.Options{Addr: addr})
			return otherClient{c}, c.Close
		}},
	} {
		t.Run("F1 silent from the start: "+tt.name, func(t *testing.T) {
			t.Parallel()
			wantOutage(t, bounded(tt.client.silent(t)))
		})
	}

	for _, tt := range []struct {
		name  string
		start func(t *testing.T) (rdb redis.UniversalClient, servers []*redistest.Server)
	}{
		{"Client", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return server.Client(t), []*redistest.Server{server}
		}},
		{"Client with ContextTimeoutEnabled", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return client(keeping).open(t, server.Addr), []*redistest.Server{server}
		}},
		{"ClusterClient", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			cluster := redistest.StartCluster(t, 3)
			return cluster.Client(t), cluster.Nodes
		}},
		{"FailoverClient", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			sentinel := redistest.StartSentinel(t)
			return sentinel.Client(t), []*redistest.Server{sentinel.Replica, sentinel.Master}
		}},
		{"AutoPipeliner", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return pipelined(client(redis.Options{})).open(t, server.Addr), []*redistest.Server{server}
		}},
		{"asynchronous AutoPipeliner", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return async(client(redis.Options{})).open(t, server.Addr), []*redistest.Server{server}
		}},
	} {
		t.Run("F1 silent from one moment on: "+tt.name, func(t *testing.T) {
			t.Parallel()
			rdb, servers := tt.start(t)
			patient := kit.RedisStore(rdb)
			for name, op := range kit.RedisOperations(patient) {
				if err := op(t.Context()); err != nil && !errors.Is(err, sessions.ErrNotFound) {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for _, server := range servers {
				server.Pause()
			}
			wantOutage(t, bounded(rdb))
			for _, server := range servers {
				server.Resume()
			}
			if _, _, err := patient.Load(t.Context(), "k", 0); err != nil && tt.name != "FailoverClient" && !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("after the silence: %v", err)
			}
		})
	}

	t.Run("F1 a ClusterClient with ContextTimeoutEnabled whose COMMAND hangs", func(t *testing.T) {
		t.Parallel()
		proxy := redistest.NewProxy(t, redistest.StartCluster(t, 1).Addrs[0])
		on(proxy, redistest.Hang, "command")
		s := bounded(oneNode(redis.ClusterOptions{ContextTimeoutEnabled: true}).open(t, proxy.Addr))
		wantInTime(t, "Load", func() {
			_, _, err := s.Load(t.Context(), "k", time.Minute)
			kit.WantErr(t, "Load", err, sessions.ErrUnavailable)
		})
	})

	t.Run("F1 a server that is not there", func(t *testing.T) {
		t.Parallel()
		wantOutage(t, bounded(client(redis.Options{}).open(t, "127.0.0.1:1"))) // no port that another test could get
	})

	t.Run("a nearer deadline of the caller's wins", func(t *testing.T) {
		t.Parallel()
		addr := redistest.Silent(t)
		// One that has to be waited for, one that keeps deadlines by itself, and one that can be waited for without a goroutine.
		for _, d := range []dial{client(redis.Options{}), client(keeping), async(client(brief))} {
			s := sessions.NewRedisStore(d.open(t, addr), sessions.RedisConfig{Timeout: time.Minute})
			wantInTime(t, "Load", func() {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, _, err := s.Load(ctx, "k", time.Minute)
				kit.WantErr(t, "Load", err, sessions.ErrUnavailable)
				kit.WantErr(t, "Load", err, context.DeadlineExceeded)
			})
		}
	})
}
