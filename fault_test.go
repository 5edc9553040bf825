package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
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

// someToken has the shape of a token and stands for nothing.
const someToken = "sAAAAAAAAAAAAAAAAAAAAAAAAAA"

// with is a request that carries a session cookie, if token is not empty.
func with(token, path string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com"+path, nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
	}
	return r
}

// serve is one request without a network.
func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

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
			want := []string{"ERROR sessions: the store does not answer", "INFO sessions: the store answers again"}
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

// A client that hangs up loses nothing of what it has done.
func TestClientHangsUp(t *testing.T) {
	rows := []struct{ path, step string }{
		{"/set?v=bob", "before CompareAndSwap"},
		{"/set?v=bob", "after CompareAndSwap"},
		{"/save?v=bob", "before CompareAndSwap"},
		{"/renew?v=bob", "before Create"},
		{"/renew?v=bob", "after Create"},
		{"/renew?v=bob", "before CompareAndSwap"},
		{"/renew?v=bob", "after CompareAndSwap"},
		{"/signin?v=bob", "before CompareAndSwap"},
		{"/destroy", "before CompareAndSwap"},
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		for _, row := range rows {
			t.Run(fmt.Sprintf("F3 the client hangs up %s of %s and it completes", row.step, row.path), func(t *testing.T) {
				r := newRig(t, rdb, sessions.Config{})
				var released context.Context // of the request, as the server sees it
				finished := make(chan struct{})
				b := r.visitor("ann")
				inner := r.srv.Config.Handler
				r.srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					released = req.Context()
					defer close(finished)
					inner.ServeHTTP(w, req)
				})
				g := r.steps.at(row.step)
				ctx, hangUp := context.WithCancel(t.Context())
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if res, err := b.c.Do(b.request(row.path).WithContext(ctx)); err == nil {
						res.Body.Close()
						t.Error("there is an answer")
					}
				}()
				g.wait()
				hangUp()
				<-gone
				<-released.Done()
				g.open()
				<-finished

				left := r.records()
				switch {
				case row.path == "/destroy":
					if len(left) != 0 {
						t.Errorf("records left: %q", left)
					}
				case len(left) != 1:
					t.Errorf("%d records: %q", len(left), left)
				default:
					for _, v := range left {
						if !strings.Contains(v, `"bob"`) {
							t.Errorf("stored is %q, without the change", v)
						}
					}
				}
				want := map[string]sessions.EventKind{"/renew?v=bob": sessions.EventUndelivered, "/signin?v=bob": sessions.EventUndelivered}[row.path]
				if kinds := r.events.kinds(); want != 0 && !slices.Contains(kinds, want) {
					t.Errorf("events %v, want %v among them", kinds, want)
				}
			})
		}
	})
}

func TestServerForgets(t *testing.T) {
	t.Run("F4 SCRIPT FLUSH is invisible", func(t *testing.T) {
		rdb := redistest.Start(t).Client(t)
		r := newRig(t, rdb, sessions.Config{})
		b := r.visitor("ann")
		for _, path := range []string{"/save?v=bob", "/renew", "/destroy"} {
			if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if a := b.get(path); a.StatusCode != 200 || a.body != "ok" {
				t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
			}
		}
		if left := r.records(); len(left) > 0 {
			t.Errorf("records left: %q", left)
		}
	})
	t.Run("F4 after a restart that lost everything there is no session and no error", func(t *testing.T) {
		server := redistest.Start(t)
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		old := b.token()
		server.Restart()
		if a := b.get("/get"); a.StatusCode != 200 || a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("%d %q, cookies %q", a.StatusCode, a.body, a.setCookies())
		}
		if a := b.get("/set?v=bob"); a.body != "ok" || b.token() == old {
			t.Errorf("%d %q, with the old token: %v", a.StatusCode, a.body, b.token() == old)
		}
		b.mustGet("/get", "bob")
	})
	t.Run("F4 a restart between load and save ends in ErrGone", func(t *testing.T) {
		server := redistest.Start(t)
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		a := r.park(b, "/save?v=bob", "before CompareAndSwap", server.Restart)
		if a.body != "ErrGone" || len(a.setCookies()) > 0 {
			t.Errorf("%q, cookies %q", a.body, a.setCookies())
		}
	})
	t.Run("F4 a restart that keeps the data is invisible", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		server.Restart()
		b.mustGet("/get", "ann")
		b.mustGet("/save?v=bob", "ok")
		b.mustGet("/renew", "ok")
		b.mustGet("/get", "bob")
	})
}

// A server that cannot write can still read.
func TestServerRefusesWrites(t *testing.T) {
	rows := []struct {
		id, message string
		args        []string
		set         func(t *testing.T, server *redistest.Server, rdb *redis.Client)
		touches     bool // reads still restart the idle timeout
		destroys    bool // and the record can be deleted
	}{
		{
			id: "F5 OOM", message: "OOM", touches: true, destroys: true,
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
				must(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
			},
		},
		{
			id: "F5 NOREPLICAS", message: "NOREPLICAS",
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				must(t, rdb.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
			},
		},
		{
			id: "F5 MISCONF", message: "MISCONF",
			args: []string{"--save", "900 1", "--stop-writes-on-bgsave-error", "yes"},
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				// A directory where the snapshot should go fails it, for root too.
				dump := filepath.Join(rdb.ConfigGet(t.Context(), "dir").Val()["dir"], "dump.rdb")
				must(t, os.RemoveAll(dump))
				must(t, os.MkdirAll(filepath.Join(dump, "taken"), 0o700))
				must(t, rdb.BgSave(t.Context()).Err())
				for !strings.Contains(rdb.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err") {
					runtime.Gosched()
				}
			},
		},
		{
			id: "F5 READONLY", message: "READONLY",
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				// A replica of nobody keeps its data and is read-only.
				must(t, rdb.SlaveOf(t.Context(), "127.0.0.1", "1").Err())
			},
		},
	}
	for _, row := range rows {
		start := func(t *testing.T, l *logs) (*rig, *browser, *redis.Client) {
			server := redistest.Start(t, row.args...)
			rdb := server.Client(t)
			cfg := sessions.Config{}
			if l != nil {
				cfg.Logger = slog.New(l)
			}
			r := newRig(t, rdb, cfg)
			b := r.visitor("ann")
			b.mustGet("/save?v=bob", "ok")
			row.set(t, server, rdb)
			r.events.kinds()
			return r, b, rdb
		}
		t.Run(row.id+": reads go on", func(t *testing.T) {
			r, b, _ := start(t, nil)
			b.mustGet("/get", "bob")
			want := []sessions.EventKind{sessions.EventTouchSkipped}
			if row.touches {
				want = nil
			}
			if got := r.events.kinds(); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
		t.Run(row.id+": a write gives an error of a type and leaves the record", func(t *testing.T) {
			r, b, rdb := start(t, nil)
			for _, verb := range []func(context.Context) error{
				r.m.Save, r.m.Renew, func(ctx context.Context) error { return r.m.SignIn(ctx) },
			} {
				ctx, err := r.m.Load(t.Context(), b.token())
				if err != nil {
					t.Fatal(err)
				}
				r.m.FromContext(ctx).UserID = "eve"
				err = verb(ctx)
				var from redis.Error
				if !errors.Is(err, sessions.ErrUnavailable) || !errors.As(err, &from) || !strings.HasPrefix(from.Error(), row.message) {
					t.Errorf("%v, want ErrUnavailable with the server's %s", err, row.message)
				}
			}
			if got := b.get("/set?v=eve"); got.StatusCode != 503 || len(got.setCookies()) > 0 {
				t.Errorf("%d %q, cookies %q", got.StatusCode, got.body, got.setCookies())
			}
			if got := r.browser().get("/set?v=new"); got.StatusCode != 503 || len(got.setCookies()) > 0 {
				t.Errorf("a new session: %d %q, cookies %q", got.StatusCode, got.body, got.setCookies())
			}
			b.mustGet("/get", "bob")
			if n := len(keys(t, rdb)); n != 1 {
				t.Errorf("%d keys", n)
			}
		})
		t.Run(row.id+": Destroy goes on, or says that it did not", func(t *testing.T) {
			_, b, rdb := start(t, nil)
			want := "ErrUnavailable"
			if row.destroys {
				want = "ok"
			}
			token := b.token()
			if a := b.get("/destroy"); a.body != want {
				t.Errorf("Destroy = %s, want %s", a.body, want)
			}
			n := len(keys(t, rdb))
			if row.destroys && (n != 0 || b.token() != "") || !row.destroys && (n != 1 || b.token() != token) {
				t.Errorf("%d keys, and the cookie is kept: %v", n, b.token() == token)
			}
		})
		t.Run(row.id+": it is one outage in the log, however many requests fail", func(t *testing.T) {
			l := &logs{}
			_, b, _ := start(t, l)
			l.take()
			for range 5 {
				if a := b.get("/set?v=eve"); a.StatusCode != 503 {
					t.Errorf("%d %q", a.StatusCode, a.body)
				}
			}
			down := 0
			lines := l.take()
			for _, line := range lines {
				if strings.Contains(line, "the store does not answer") {
					down++
				}
			}
			if down != 1 {
				t.Errorf("%d lines say that the store does not answer: %q", down, lines)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever is lost of what the store holds, nobody becomes somebody else, and
// nobody who was out comes in.
func TestLostKeys(t *testing.T) {
	t.Run("F6 losing any keys only ever logs out", func(t *testing.T) {
		rdb := miniClient(t)
		who := map[string]string{} // by token
		var all []string
		setup := func() *sessions.Manager[Session] {
			clear(who)
			rdb.FlushAll(t.Context())
			m := mustNew(t, redisStore(rdb), sessions.Config{})
			ann := mustRequest(t, m, "", put(m, "ann"))
			bob := mustRequest(t, m, "", put(m, "bob"))
			bob2 := mustRequest(t, m, bob, m.Renew)
			bob3 := mustRequest(t, m, bob2, m.Renew)
			eve := mustRequest(t, m, "", put(m, "eve"))
			mustRequest(t, m, eve, m.Destroy)
			who[ann], who[bob], who[bob2], who[bob3], who[eve] = "ann", "", "", "bob", ""
			all = keys(t, rdb)
			return m
		}
		setup()
		n := len(all)
		if n != 4 {
			t.Fatalf("%d keys, want two sessions and two marks", n)
		}
		for subset := range 1 << n {
			m := setup()
			for i, key := range all {
				if subset&(1<<i) != 0 {
					rdb.Del(t.Context(), key)
				}
			}
			found := 0
			for token, name := range who {
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				got := m.FromContext(ctx).UserID
				if got != "" && got != name {
					t.Errorf("subset %b: a token of %q finds %q", subset, name, got)
				}
				if got != "" {
					found++
				}
			}
			if subset == 0 && found != 2 {
				t.Errorf("%d sessions with all keys there", found)
			}
			if subset == 1<<n-1 && found != 0 {
				t.Errorf("%d sessions with no key there", found)
			}
		}
	})
	for _, step := range []string{"before Create", "after Create", "before CompareAndSwap", "after CompareAndSwap"} {
		t.Run("F6 losing everything in the midst of a renewal leaves no error and no session of another, "+step, func(t *testing.T) {
			r := newRig(t, miniClient(t), sessions.Config{})
			b := r.visitor("ann")
			a := r.park(b, "/renew", step, func() { r.rdb.FlushAll(t.Context()) })
			if a.body != "ok" && a.body != "ErrGone" {
				t.Errorf("Renew = %s", a.body)
			}
			if got := b.get("/get"); got.StatusCode != 200 || got.body != "" {
				t.Errorf("then %d %q", got.StatusCode, got.body)
			}
		})
	}
}

// within fails the test if f has not returned after a time that only a
// deadlock takes.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("deadlock:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// A store that takes its time costs the requests that need it, and only them.
func TestSlowStore(t *testing.T) {
	const requests = 500
	clients := map[string]func(t *testing.T, addr string) redis.UniversalClient{
		"Client": func(_ *testing.T, addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr})
		},
		"ClusterClient": func(_ *testing.T, addr string) redis.UniversalClient {
			return oneNode(addr)
		},
		"AutoPipeliner": func(t *testing.T, addr string) redis.UniversalClient {
			client := redis.NewClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { client.Close() })
			p, err := client.AutoPipeline()
			must(t, err)
			return p
		},
	}
	for name, client := range clients {
		t.Run("F8 what 500 requests leave behind is bounded, and gone when the store is back, "+name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			rdb := client(t, proxy.Addr)
			t.Cleanup(func() { rdb.Close() })
			m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{})
			token := mustRequest(t, m, "", put(m, "ann"))
			h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.FromContext(r.Context()).UserID) }))
			waiting := func() (n int) {
				for _, stack := range ours() {
					if strings.Contains(stack, "sessions.waitFor") || strings.Contains(stack, "sessions.withinTimeout") {
						n++
					}
				}
				return n
			}
			before := waiting()
			g := redistest.NewGate()
			proxy.On(func(cmd []string) redistest.Action {
				if strings.EqualFold(cmd[0], "getex") {
					return redistest.Before(g)
				}
				return redistest.Pass
			})
			for range 3 { // the abandoned ones do not add up
				var all sync.WaitGroup
				var unavailable atomic.Int32
				for range requests {
					all.Go(func() {
						if serve(h, with(token, "/")).StatusCode == 503 {
							unavailable.Add(1)
						}
					})
				}
				all.Wait()
				if n := unavailable.Load(); n != requests {
					t.Errorf("%d of %d requests got 503", n, requests)
				}
			}
			const limit = 512
			if n := waiting() - before; n > limit {
				t.Errorf("%d abandoned operations after 1500 requests, want at most %d", n, limit)
			}
			proxy.On(nil)
			g.Open()
			ok := false
			for deadline := time.Now().Add(60 * time.Second); !ok && time.Now().Before(deadline); {
				ok = serve(h, with(token, "/")).StatusCode == 200
			}
			if !ok {
				t.Error("it does not recover")
			}
			for deadline := time.Now().Add(60 * time.Second); waiting() > before && time.Now().Before(deadline); {
				runtime.Gosched()
			}
			if n := waiting() - before; n > 0 {
				t.Errorf("%d abandoned operations when the store is back", n)
			}
		})
	}

	t.Run("F8 routes that do not need the store are served while 500 requests wait for it", func(t *testing.T) {
		arrived, release := make(chan struct{}, requests), make(chan struct{})
		store := &stepStore{Store: new(sessions.MemoryStore), before: func(string, string) error {
			arrived <- struct{}{}
			<-release
			return nil
		}}
		a := newApp(t, store, sessions.Config{})
		verbs(a.mux, a.m)
		h := a.srv.Config.Handler
		var all sync.WaitGroup
		for range requests {
			all.Go(func() { serve(h, with(someToken, "/get")) })
		}
		for range requests {
			<-arrived
		}
		within(t, func() {
			for range 100 {
				if got := a.browser().get("/get"); got.StatusCode != 200 {
					t.Errorf("status %d", got.StatusCode)
				}
			}
		})
		close(release)
		all.Wait()
	})

	t.Run("F10 ten writers of one session whose store hangs after the load end within Timeout plus a tenth", func(t *testing.T) {
		const timeout = 2 * time.Second
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		var loaded sync.WaitGroup
		release := make(chan struct{})
		loaded.Add(10)
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.FromContext(r.Context())
			loaded.Done()
			<-release
			s.Views++
		}))
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { wantUnavailable(t, serve(h, with(token, "/"))) })
		}
		loaded.Wait()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.HasPrefix(strings.ToLower(cmd[0]), "eval") {
				return redistest.Hang
			}
			return redistest.Pass
		})
		start := time.Now()
		close(release)
		all.Wait()
		if took := time.Since(start); took > timeout*11/10 {
			t.Errorf("the last one answered after %v", took)
		}
	})
}

// Hooks may panic and may call whatever they like.
func TestHooks(t *testing.T) {
	// recovering is the middleware that everybody has around everything.
	recovering := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					w.WriteHeader(500)
				}
			}()
			h.ServeHTTP(w, r)
		})
	}

	t.Run("F9 an OnEvent that panics at a Destroy leaves it done and the cookie expired", func(t *testing.T) {
		store := new(sessions.MemoryStore)
		armed := false
		m := mustNew(t, store, sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
			if armed && e.Kind == sessions.EventDestroyed {
				panic("hook")
			}
		}})
		token := mustRequest(t, m, "", put(m, "ann"))
		armed = true
		res := serve(recovering(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Destroy(r.Context())
			t.Error("the panic does not go on")
		}))), with(token, "/"))
		armed = false
		if res.StatusCode != 500 || len(res.Cookies()) != 1 || res.Cookies()[0].MaxAge >= 0 {
			t.Errorf("status %d, cookies %v", res.StatusCode, res.Cookies())
		}
		if alive(t, m, token) {
			t.Error("the session lives")
		}
	})

	for _, kind := range []sessions.EventKind{sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventGone} {
		t.Run(fmt.Sprintf("F9 after an OnEvent that panics at %q the session is free and every verb works", kind), func(t *testing.T) {
			var panics atomic.Bool
			m := mustNew(t, new(sessions.MemoryStore), sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
				if e.Kind == kind && panics.CompareAndSwap(true, false) {
					panic("hook")
				}
			}})
			old := mustRequest(t, m, "", put(m, "ann"))
			within(t, func() {
				serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx := r.Context()
					verb := map[sessions.EventKind]func() error{
						sessions.EventCreated:   func() error { m.Destroy(ctx); m.FromContext(ctx).Views++; return m.Save(ctx) },
						sessions.EventSaved:     func() error { m.FromContext(ctx).Views++; return m.Save(ctx) },
						sessions.EventRenewed:   func() error { return m.Renew(ctx) },
						sessions.EventSignedIn:  func() error { return m.SignIn(ctx) },
						sessions.EventDestroyed: func() error { return m.Destroy(ctx) },
						sessions.EventGone: func() error {
							mustRequest(t, m, old, m.Destroy)
							m.FromContext(ctx).Views++
							return m.Save(ctx)
						},
					}[kind]
					func() {
						defer func() {
							if recover() == nil {
								t.Error("no panic came")
							}
						}()
						panics.Store(true)
						verb()
					}()
					m.Info(ctx)
					m.FromContext(ctx).Flash = "after"
					if err := m.Save(ctx); err != nil && kind != sessions.EventGone {
						t.Errorf("Save: %v", err)
					}
					if err := m.Destroy(ctx); err != nil {
						t.Errorf("Destroy: %v", err)
					}
				})), with(old, "/"))
			})
		})
	}

	t.Run("F9 an OnEvent may call every verb at every event", func(t *testing.T) {
		var m *sessions.Manager[Session]
		seen := map[sessions.EventKind]bool{}
		var inside atomic.Bool
		store := &stepStore{Store: new(sessions.MemoryStore)}
		m = mustNew(t, store, sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			seen[e.Kind] = true
			if inside.Swap(true) {
				return
			}
			defer inside.Store(false)
			m.Info(ctx)
			m.FromContext(ctx)
			sessions.Lookup[Session](ctx)
			m.Save(ctx)
			m.Touch(ctx)
			m.Reload(ctx)
			m.Renew(ctx)
			m.SignIn(ctx)
			m.Destroy(ctx)
		}})
		within(t, func() {
			for _, path := range []string{"/set?v=bob", "/save?v=bob", "/renew", "/signin", "/destroy"} {
				inside.Store(true)
				token := mustRequest(t, m, "", put(m, "ann"))
				inside.Store(false)
				mux := http.NewServeMux()
				verbs(mux, m)
				serve(m.Handler(mux), with(token, path))
				store.before = func(string, string) error { return sessions.ErrUnavailable }
				serve(m.Handler(mux), with(token, path))
				store.before = nil
				serve(m.Handler(mux), with("", path))
			}
		})
		for _, kind := range []sessions.EventKind{sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventDestroyed, sessions.EventUnavailable, sessions.EventRecovered} {
			if !seen[kind] {
				t.Errorf("no event %q came: the test proves less than it says", kind)
			}
		}
	})

	t.Run("F9 a Label that panics leaves the session as it was, and its request's verbs working", func(t *testing.T) {
		panics := false
		m := mustNew(t, new(sessions.MemoryStore), sessions.Config{Label: func(*http.Request) string {
			if panics {
				panic("label")
			}
			return "label"
		}})
		token := mustRequest(t, m, "", put(m, "ann"))
		within(t, func() {
			res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				func() {
					defer func() { recover() }()
					panics = true
					m.Renew(r.Context())
					t.Error("no panic came")
				}()
				panics = false
				m.FromContext(r.Context()).UserID = "bob"
				if err := m.Save(r.Context()); err != nil {
					t.Errorf("Save: %v", err)
				}
			})), with(token, "/"))
			if len(res.Cookies()) != 0 {
				t.Errorf("cookies %v", res.Cookies())
			}
		})
		if !alive(t, m, token) {
			t.Error("the session is lost")
		}
	})

	t.Run("F9 a Label may call every verb: it has no session", func(t *testing.T) {
		var m *sessions.Manager[Session]
		called := false
		m = mustNew(t, new(sessions.MemoryStore), sessions.Config{Label: func(r *http.Request) string {
			called = true
			ctx := r.Context()
			if _, ok := sessions.Lookup[Session](ctx); ok {
				t.Error("it has a session")
			}
			m.Info(ctx)
			for _, err := range []error{m.Save(ctx), m.Touch(ctx), m.Reload(ctx), m.Renew(ctx), m.SignIn(ctx), m.Destroy(ctx)} {
				if !errors.Is(err, sessions.ErrNoSession) {
					t.Errorf("%v, want ErrNoSession", err)
				}
			}
			return "label"
		}})
		within(t, func() {
			serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).Views++
				if err := m.Renew(r.Context()); err != nil {
					t.Error(err)
				}
			})), with("", "/"))
		})
		if !called {
			t.Error("it was not asked")
		}
	})

	t.Run("F9 an ErrorHandler may call every verb, and what it destroys stays destroyed", func(t *testing.T) {
		var m *sessions.Manager[Session]
		store := &stepStore{Store: new(sessions.MemoryStore)}
		called := false
		m = mustNew(t, store, sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			called = true
			store.before = nil
			ctx := r.Context()
			m.Info(ctx)
			m.FromContext(ctx)
			m.Save(ctx)
			m.Reload(ctx)
			if err := m.Destroy(ctx); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			w.WriteHeader(503)
		}})
		token := mustRequest(t, m, "", put(m, "ann"))
		within(t, func() {
			res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).UserID = "bob"
				store.before = func(string, string) error { return sessions.ErrUnavailable }
			})), with(token, "/"))
			if res.StatusCode != 503 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
		if !called || alive(t, m, token) {
			t.Errorf("called: %v, the session lives: %v", called, alive(t, m, token))
		}
	})

	t.Run("F9 an ErrorHandler that panics does not undo a destroy", func(t *testing.T) {
		store := &stepStore{Store: new(sessions.MemoryStore)}
		m := mustNew(t, store, sessions.Config{ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic("handler") }})
		token := mustRequest(t, m, "", put(m, "ann"))
		within(t, func() {
			res := serve(recovering(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Destroy(r.Context()); err != nil {
					t.Fatal(err)
				}
				m.FromContext(r.Context()).UserID = "next"
				store.before = func(string, string) error { return sessions.ErrUnavailable }
			}))), with(token, "/"))
			if res.StatusCode != 500 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
		store.before = nil
		if alive(t, m, token) {
			t.Error("the session lives")
		}
	})

	t.Run("F9 two goroutines of one request may call verbs at once", func(t *testing.T) {
		m := mustNew(t, new(sessions.MemoryStore), sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		within(t, func() {
			serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						m.Touch(r.Context())
						m.Renew(r.Context())
						m.Info(r.Context())
					})
				}
				all.Wait()
			})), with(token, "/"))
		})
	})
}
