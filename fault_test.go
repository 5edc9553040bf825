package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// logs is a slog.Handler that keeps the messages.
type logs struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	return nil
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// closed closes rdb at the end of t.
func closed[C redis.UniversalClient](t *testing.T, rdb C) C {
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// oneNode is a ClusterClient of a server that need not be a cluster.
func oneNode(addr string) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
		return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
	}})
}

// wantUnavailable is what a client sees of an outage.
func wantUnavailable(t *testing.T, res *http.Response) {
	t.Helper()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q, want 503 and one", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if c := res.Header["Set-Cookie"]; len(c) > 0 {
		t.Errorf("it sends a cookie: %q", c)
	}
}

// A server that accepts connections and never answers costs a request its
// Timeout and no more, whatever the client's own options are.
func TestSilentStore(t *testing.T) {
	const timeout = 2 * time.Second
	clients := map[string]func(t *testing.T) redis.UniversalClient{
		"Client": func(t *testing.T) redis.UniversalClient {
			return closed(t, redis.NewClient(&redis.Options{Addr: redistest.Silent(t)}))
		},
		"ClusterClient": func(t *testing.T) redis.UniversalClient {
			return closed(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.Silent(t)}}))
		},
		"FailoverClient whose sentinels never answer": func(t *testing.T) redis.UniversalClient {
			return closed(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "sessions", SentinelAddrs: []string{redistest.Silent(t)}}))
		},
		"AutoPipeliner": func(t *testing.T) redis.UniversalClient {
			var client *redis.Client
			var p *redis.AutoPipeliner
			t.Cleanup(func() { p.Close(); client.Close() }) // after the server, or it waits for half a minute
			client = redis.NewClient(&redis.Options{Addr: redistest.Silent(t)})
			var err error
			p, err = client.AutoPipeline()
			must(t, err)
			return p
		},
	}
	for name, client := range clients {
		t.Run("F1 a request with a cookie gets 503 within Timeout plus a tenth, "+name, func(t *testing.T) {
			t.Parallel()
			rdb := client(t)
			store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout})
			events := &recorder{}
			m := mustNew(t, store, sessions.Config{OnEvent: events.on})
			h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler runs") }))

			start := time.Now()
			res := serve(h, with(someToken, "/"))
			if took := time.Since(start); took > timeout*11/10 || took < timeout/2 {
				t.Errorf("it took %v", took)
			}
			wantUnavailable(t, res)
			if kinds := events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventUnavailable}) {
				t.Errorf("events %v", kinds)
			}

			start = time.Now()
			_, err := m.Load(t.Context(), someToken)
			if took := time.Since(start); took > timeout*11/10 {
				t.Errorf("Load took %v", took)
			}
			if !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Load: %v", err)
			}
		})

		t.Run("F1 a new session gets 503 within Timeout plus a tenth, "+name, func(t *testing.T) {
			t.Parallel()
			rdb := client(t)
			m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
			start := time.Now()
			res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).UserID = "ann"
			})), with("", "/"))
			if took := time.Since(start); took > timeout*11/10 {
				t.Errorf("it took %v", took)
			}
			wantUnavailable(t, res)
		})
	}

	t.Run("F1 four cookies share one Timeout", func(t *testing.T) {
		t.Parallel()
		rdb := redis.NewClient(&redis.Options{Addr: redistest.Silent(t)})
		t.Cleanup(func() { rdb.Close() })
		m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		start := time.Now()
		_, err := m.Load(t.Context(), someToken, someToken+"B", someToken+"C", someToken+"D")
		if took := time.Since(start); took > timeout*11/10 || !errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%v after %v", err, took)
		}
	})

	t.Run("F1 a renewal whose store falls silent between its steps ends within Timeout plus a tenth", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		for _, cmd := range []string{"set", "evalsha"} {
			proxy.On(func(c []string) redistest.Action {
				if strings.EqualFold(c[0], cmd) {
					return redistest.Hang
				}
				return redistest.Pass
			})
			ctx, err := m.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			err = m.Renew(ctx)
			if took := time.Since(start); took > timeout*11/10 || !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("%s hangs: %v after %v", cmd, err, took)
			}
			proxy.On(nil)
			if !alive(t, m, token) {
				t.Errorf("%s hangs: the session is lost", cmd)
			}
		}
	})
}

func TestStoreDown(t *testing.T) {
	down := func(t *testing.T) (*stepStore, *atomic.Int32) {
		var calls atomic.Int32
		return &stepStore{Store: new(sessions.MemoryStore), before: func(string, string) error {
			calls.Add(1)
			return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
		}}, &calls
	}

	t.Run("F1 without a cookie there is no store call and the page is served", func(t *testing.T) {
		store, calls := down(t)
		m := mustNew(t, store, sessions.Config{})
		for name, read := range map[string]func(context.Context){
			"unused": func(context.Context) {},
			"read":   func(ctx context.Context) { _ = m.FromContext(ctx).UserID },
			"asked":  func(ctx context.Context) { m.Info(ctx) },
			"touch":  func(ctx context.Context) { m.Touch(ctx) },
			"ended":  func(ctx context.Context) { m.Destroy(ctx) },
		} {
			res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { read(r.Context()) })), with("", "/"))
			if res.StatusCode != 200 || calls.Load() != 0 || len(res.Header["Set-Cookie"]) != 0 {
				t.Errorf("%s: status %d, %d store calls, cookies %q", name, res.StatusCode, calls.Load(), res.Header["Set-Cookie"])
			}
		}
	})

	t.Run("F1 a cookie that is no token costs no store call either", func(t *testing.T) {
		store, calls := down(t)
		m := mustNew(t, store, sessions.Config{})
		res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.FromContext(r.Context()) })), with("x", "/"))
		if res.StatusCode != 200 || calls.Load() != 0 {
			t.Errorf("status %d, %d store calls", res.StatusCode, calls.Load())
		}
	})

	t.Run("F1 every request of an outage is an event, its beginning and its end one log line each", func(t *testing.T) {
		store, _ := down(t)
		l, events := &logs{}, &recorder{}
		m := mustNew(t, store, sessions.Config{Logger: slog.New(l), OnEvent: events.on})
		broken := store.before
		store.before = nil
		token := mustRequest(t, m, "", put(m, "ann"))
		events.kinds()
		l.take()
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
		for range 2 {
			store.before = broken
			for range 3 {
				wantUnavailable(t, serve(h, with(token, "/")))
			}
			store.before = nil
			for range 3 {
				if res := serve(h, with(token, "/")); res.StatusCode != 200 {
					t.Errorf("after the outage: status %d", res.StatusCode)
				}
			}
			u := sessions.EventUnavailable
			if got, want := events.kinds(), []sessions.EventKind{u, u, u, sessions.EventRecovered}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			want := []string{"ERROR sessions: the store is unavailable", "INFO sessions: the store answers again"}
			if got := l.take(); !slices.Equal(got, want) {
				t.Errorf("log %q, want %q", got, want)
			}
		}
	})

	for _, bad := range []struct {
		name  string
		cause error
	}{{"cancelled", context.Canceled}, {"client gone", errors.New("client gone")}} {
		t.Run("F1 a request cancelled while it loads is no outage: "+bad.name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, rdb *redis.Client) {
				l, events := &logs{}, &recorder{}
				s := &steps{}
				store := &stepStore{Store: redisStore(rdb), before: s.hook("before")}
				m := mustNew(t, store, sessions.Config{Logger: slog.New(l), OnEvent: events.on})
				token := mustRequest(t, m, "", put(m, "ann"))
				events.kinds()
				ctx, cancel := context.WithCancelCause(t.Context())
				g := s.at("before Load")
				var got error
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, got = m.Load(ctx, token)
				}()
				g.wait()
				cancel(bad.cause)
				g.open()
				<-done
				if !errors.Is(got, context.Canceled) || errors.Is(got, sessions.ErrUnavailable) {
					t.Errorf("Load: %v, want context.Canceled alone", got)
				}
				if kinds, lines := events.kinds(), l.take(); len(kinds)+len(lines) > 0 {
					t.Errorf("events %v, log %q", kinds, lines)
				}
			})
		})
	}

	t.Run("F1 a request cancelled while the server is silent is no outage", func(t *testing.T) {
		l, events := &logs{}, &recorder{}
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		g := redistest.NewGate()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "getex") {
				return redistest.Before(g)
			}
			return redistest.Pass
		})
		for client, rdb := range map[string]redis.UniversalClient{
			"Client":        closed(t, redis.NewClient(&redis.Options{Addr: proxy.Addr})),
			"ClusterClient": closed(t, oneNode(proxy.Addr)),
		} {
			m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 5 * time.Second}), sessions.Config{Logger: slog.New(l), OnEvent: events.on})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-g.Reached()
				cancel()
			}()
			_, err := m.Load(ctx, someToken)
			if !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("%s: %v, want context.Canceled alone", client, err)
			}
			if kinds, lines := events.kinds(), l.take(); len(kinds)+len(lines) > 0 {
				t.Errorf("%s: events %v, log %q", client, kinds, lines)
			}
		}
	})
}

func TestDownBetweenLoadAndSave(t *testing.T) {
	down := func(string, string) error { return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable) }
	for _, row := range []struct {
		name, token string
		cookie      bool
	}{{"a stored session", "", true}, {"a new session", "", false}} {
		t.Run("F2 a store that is down at the save of "+row.name+": 503 and nothing of the page", func(t *testing.T) {
			store := &stepStore{Store: new(sessions.MemoryStore)}
			a := newApp(t, store, sessions.Config{})
			verbs(a.mux, a.m)
			a.handle("/page", func(w http.ResponseWriter, r *http.Request, s *Session) {
				store.before = down
				s.UserID = "bob"
				w.Header().Set("Content-Type", "text/plain; charset=page")
				w.Header().Set("Etag", `"page"`)
				w.WriteHeader(201)
				fmt.Fprint(w, "the page")
			})
			b := a.browser()
			if row.cookie {
				b.mustGet("/set?v=ann", "ok")
			}
			token := b.token()
			got := b.get("/page")
			wantUnavailable(t, got.Response)
			if got.body != "Service Unavailable\n" || got.Header.Get("Etag") != "" || b.token() != token {
				t.Errorf("body %q, Etag %q, cookie changed: %v", got.body, got.Header.Get("Etag"), b.token() != token)
			}
			store.before = nil
			if row.cookie {
				b.mustGet("/get", "ann")
			}
		})
	}
}
