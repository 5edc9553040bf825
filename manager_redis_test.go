package sessions_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// commandLog is a go-redis hook that keeps the commands sent.
type commandLog struct {
	mu   sync.Mutex
	cmds []string
}

func (l *commandLog) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *commandLog) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.add(cmd)
		return next(ctx, cmd)
	}
}

func (l *commandLog) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			l.add(cmd)
		}
		return next(ctx, cmds)
	}
}

func (l *commandLog) add(cmd redis.Cmder) {
	name := cmd.Name()
	switch name {
	case "hello", "client", "command": // a new connection's
		return
	case "set":
		for _, arg := range cmd.Args() {
			if s, ok := arg.(string); ok && strings.EqualFold(s, "nx") {
				name = "set nx"
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cmds = append(l.cmds, name)
}

func (l *commandLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	cmds := strings.Join(l.cmds, ", ")
	l.cmds = nil
	return cmds
}

// The table of design.md.
func TestCommands(t *testing.T) {
	rows := []struct {
		name   string
		cookie bool
		cfg    sessions.Config
		f      func(a *app, r *http.Request)
		want   string
	}{
		{"L2 no cookie, session unused", false, sessions.Config{}, func(*app, *http.Request) {}, ""},
		{"L2 no cookie, session only read", false, sessions.Config{}, func(a *app, r *http.Request) { _ = *a.m.FromContext(r.Context()) }, ""},
		{"L4 session loaded, touched", true, sessions.Config{}, func(*app, *http.Request) {}, "getex"},
		{"L4 session loaded, touched, read", true, sessions.Config{}, func(a *app, r *http.Request) { _ = *a.m.FromContext(r.Context()) }, "getex"},
		{"L1 session changed", true, sessions.Config{}, func(a *app, r *http.Request) { a.m.FromContext(r.Context()).Views++ }, "getex, evalsha"},
		{"L1 session changed and saved", true, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, a.m.Save, r.Context())
			do1(a.t, a.m.Save, r.Context())
		}, "getex, evalsha"},
		{"L1 new session", false, sessions.Config{}, func(a *app, r *http.Request) { a.m.FromContext(r.Context()).Views++ }, "set nx"},
		{"L12 renewal", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Renew, r.Context()) }, "getex, set nx, evalsha"},
		{"L12 sign-in with a change", true, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, func(ctx context.Context) error { return a.m.SignIn(ctx) }, r.Context())
		}, "getex, set nx, evalsha"},
		{"L12 sign-in of a new visitor", false, sessions.Config{}, func(a *app, r *http.Request) {
			a.m.FromContext(r.Context()).Views++
			do1(a.t, func(ctx context.Context) error { return a.m.SignIn(ctx) }, r.Context())
		}, "set nx"},
		{"L10 sign-out", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Destroy, r.Context()) }, "getex, evalsha"},
		{"L11 sign-out of nobody", false, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Destroy, r.Context()) }, ""},
		{"L16 passive", true, sessions.Config{Passive: func(*http.Request) bool { return true }}, func(*app, *http.Request) {}, "get, pttl"},
		{"L16 skipped", true, sessions.Config{Skip: func(r *http.Request) bool { return r.URL.Query().Has("row") }}, func(*app, *http.Request) {}, ""},
		{"L5 without an idle timeout", true, sessions.Config{IdleTimeout: -1}, func(*app, *http.Request) {}, "get, pttl"},
		{"L4 Touch", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Touch, r.Context()) }, "getex, getex"},
		{"L19 Reload", true, sessions.Config{}, func(a *app, r *http.Request) { do1(a.t, a.m.Reload, r.Context()) }, "getex, getex"},
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		log := &commandLog{}
		rdb.AddHook(log)
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					cfg := row.cfg
					cfg.Codec = c
					a := newApp(t, redisStore(rdb), cfg)
					a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Query().Has("row") {
							row.f(a, r)
							return
						}
						a.m.FromContext(r.Context()).Views++
					})
					warm := a.browser()
					warm.get("/")
					warm.get("/") // the script is known from here on
					b := a.browser()
					if row.cookie {
						b.get("/")
					}
					log.take()
					if res := b.get("/?row"); res.StatusCode != 200 {
						t.Errorf("status %d", res.StatusCode)
					}
					if got := log.take(); got != row.want {
						t.Errorf("commands %q, want %q", got, row.want)
					}
				})
			}
		})
	})
}

func TestLifecycleOnRedis(t *testing.T) {
	ctx := context.Background()
	sole := func(t *testing.T, rdb *redis.Client) string {
		t.Helper()
		all := keys(t, rdb)
		if len(all) != 1 {
			t.Fatalf("keys %q, want one", all)
		}
		return all[0]
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			a := newApp(t, redisStore(rdb), sessions.Config{Codec: c, Passive: func(r *http.Request) bool { return r.URL.Query().Has("poll") }})
			a.handle("/read", func(http.ResponseWriter, *http.Request, *Session) {})
			a.handle("/write", func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ })
			start := func(t *testing.T) *browser {
				t.Helper()
				if err := rdb.FlushAll(ctx).Err(); err != nil {
					t.Fatal(err)
				}
				b := a.browser()
				b.get("/write")
				return b
			}
			near := func(t *testing.T, got, want time.Duration) {
				t.Helper()
				if got > want || got < want-30*time.Second {
					t.Errorf("ttl %v, want %v", got, want)
				}
			}

			t.Run("L4 a read restarts the expiry and leaves the payload", func(t *testing.T) {
				b := start(t)
				key := sole(t, rdb)
				before := rdb.Get(ctx, key).Val()
				near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				rdb.PExpire(ctx, key, time.Minute)
				b.get("/read")
				near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				if after := rdb.Get(ctx, key).Val(); after != before || before == "" {
					t.Errorf("rewritten from %q to %q", before, after)
				}
			})

			t.Run("L16 a passive read leaves the expiry", func(t *testing.T) {
				b := start(t)
				key := sole(t, rdb)
				rdb.PExpire(ctx, key, time.Minute)
				b.get("/read?poll")
				near(t, rdb.PTTL(ctx, key).Val(), time.Minute)
			})

			t.Run("L7 no verb leaves a key without an expiry", func(t *testing.T) {
				for _, verb := range verbNames {
					b := start(t)
					b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
						s.Views++
						if err := runVerb(a.m, r.Context(), verb); err != nil {
							t.Errorf("%s: %v", verb, err)
						}
						for _, key := range keys(t, rdb) {
							if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 {
								t.Errorf("after %s %s has the ttl %v", verb, key, ttl)
							}
						}
					})
					if verb == "renew" && len(keys(t, rdb)) != 2 {
						t.Errorf("keys after a renewal: %q", keys(t, rdb))
					}
				}
			})

			t.Run("L7 a key that lost its expiry has it again after the next request", func(t *testing.T) {
				for _, path := range []string{"/read", "/write"} {
					b := start(t)
					key := sole(t, rdb)
					rdb.Persist(ctx, key)
					b.get(path)
					near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				}
			})

			t.Run("L10 Destroy leaves no key", func(t *testing.T) {
				b := start(t)
				b.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Destroy, r.Context()) })
				if left := keys(t, rdb); len(left) > 0 {
					t.Errorf("keys %q", left)
				}
			})

			t.Run("L12 the mark of a renewal lives ten seconds, and a replay of the old token does not prolong what it is good for", func(t *testing.T) {
				b := start(t)
				key, old := sole(t, rdb), b.as(b.token())
				b.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Renew, r.Context()) })
				near(t, rdb.PTTL(ctx, key).Val(), 10*time.Second)
				if _, i := old.peek(); !i.New {
					t.Error("the old token is accepted")
				}
				if _, i := b.peek(); i.New {
					t.Error("the new token is refused")
				}
			})
		})
	})
}
