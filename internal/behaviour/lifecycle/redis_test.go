package lifecycle_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The table of docs/request.md.
func TestCommands(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		cookie bool
		cfg    sessions.Config
		steps  string // of the handler
		want   string
	}{
		{"L2 no cookie, session unused", false, sessions.Config{}, "", ""},
		{"L2 no cookie, session only read", false, sessions.Config{}, "read", ""},
		{"L4 session loaded, touched", true, sessions.Config{}, "", "getex"},
		{"L4 session loaded, touched, read", true, sessions.Config{}, "read", "getex"},
		{"L1 session changed", true, sessions.Config{}, "write", "getex, evalsha"},
		{"L1 session changed and saved", true, sessions.Config{}, "write Save Save", "getex, evalsha"},
		{"L1 new session", false, sessions.Config{}, "write", "set nx"},
		{"L12 renewal", true, sessions.Config{}, "Renew", kit.Steps("getex, set nx, evalsha", "getex, evalsha")},
		{"L12 sign-in with a change", true, sessions.Config{}, "write SignIn", kit.Steps("getex, set nx, evalsha", "getex, evalsha")},
		{"L12 sign-in of a new visitor", false, sessions.Config{}, "write SignIn", "set nx"},
		{"L10 sign-out", true, sessions.Config{}, "Destroy", "getex, evalsha"},
		{"L11 sign-out of nobody", false, sessions.Config{}, "Destroy", ""},
		{"L16 passive", true, sessions.Config{Passive: func(*http.Request) bool { return true }}, "", "get, pttl"},
		{"L16 skipped", true, sessions.Config{Skip: func(r *http.Request) bool { return r.URL.Path == "/row" }}, "", ""},
		{"L5 without an idle timeout", true, sessions.Config{IdleTimeout: -1}, "", "get, pttl"},
		{"L24 within the TouchInterval", true, sessions.Config{TouchInterval: time.Minute}, "read", "get, pttl"},
		{"L24 a change within the TouchInterval", true, sessions.Config{TouchInterval: time.Minute}, "write", "get, pttl, evalsha"},
		{"L24 Touch within the TouchInterval", true, sessions.Config{TouchInterval: time.Minute}, "Touch", "get, pttl, getex"},
		{"L4 Touch", true, sessions.Config{}, "Touch", "getex, getex"},
		{"L19 Reload", true, sessions.Config{}, "Reload", "getex, getex"},
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		log := &kit.Commands{}
		rdb.AddHook(log)
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					cfg := row.cfg
					cfg.Codec = c
					a := kit.NewApp(t, kit.HTTP2, kit.RedisStore(rdb), cfg)
					a.Mux.HandleFunc("/row", func(_ http.ResponseWriter, r *http.Request) {
						for step := range strings.FieldsSeq(row.steps) {
							kit.OK(t, runVerb(a.Manager, r.Context(), step))
						}
					})
					warm := a.Browser().Login()
					warm.Edit(func(s *kit.Session) { s.Views++ }) // the script is known from here on
					b := a.Browser()
					if row.cookie {
						b.Login()
					}
					log.Take()
					if res := b.Get("/row"); res.StatusCode != 200 {
						t.Errorf("status %d", res.StatusCode)
					}
					if got := log.Take(); got != row.want {
						t.Errorf("commands %q, want %q", got, row.want)
					}
				})
			}
		})
	})
}

func TestRecordsInRedis(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	sole := func(t *testing.T, rdb *redis.Client) string {
		t.Helper()
		all := kit.Keys(t, rdb)
		if len(all) != 1 {
			t.Fatalf("keys %q, want one", all)
		}
		return all[0]
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.HTTP2, kit.RedisStore(rdb), sessions.Config{Codec: c, Passive: func(r *http.Request) bool { return r.URL.Query().Has("poll") }})
			a.Handle("/read", func(http.ResponseWriter, *http.Request, *kit.Session) {})
			a.Handle("/write", func(_ http.ResponseWriter, _ *http.Request, s *kit.Session) { s.Views++ })
			start := func(t *testing.T) *kit.Browser {
				t.Helper()
				kit.Must(t, rdb.FlushAll(ctx).Err())
				b := a.Browser()
				b.Get("/write")
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
				b.Get("/read")
				near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				if after := rdb.Get(ctx, key).Val(); after != before || before == "" {
					t.Errorf("rewritten from %q to %q", before, after)
				}
			})

			t.Run("L16 a passive read leaves the expiry", func(t *testing.T) {
				b := start(t)
				key := sole(t, rdb)
				rdb.PExpire(ctx, key, time.Minute)
				b.Get("/read?poll")
				near(t, rdb.PTTL(ctx, key).Val(), time.Minute)
			})

			t.Run("L7 no verb leaves a key without an expiry", func(t *testing.T) {
				for _, verb := range verbNames {
					b := start(t)
					b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
						s.Views++
						kit.OK(t, runVerb(a.Manager, r.Context(), verb))
						for _, key := range kit.Keys(t, rdb) {
							if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 {
								t.Errorf("after %s %s has the ttl %v", verb, key, ttl)
							}
						}
					})
					if verb == "Renew" && len(kit.Keys(t, rdb)) != 2 {
						t.Errorf("keys after a renewal: %q", kit.Keys(t, rdb))
					}
				}
			})

			t.Run("L7 a key that lost its expiry has it again after the next request", func(t *testing.T) {
				for _, path := range []string{"/read", "/write"} {
					b := start(t)
					key := sole(t, rdb)
					rdb.Persist(ctx, key)
					b.Get(path)
					near(t, rdb.PTTL(ctx, key).Val(), time.Hour)
				}
			})

			t.Run("L10 Destroy leaves no key", func(t *testing.T) {
				b := start(t)
				b.Verb("Destroy")
				if left := kit.Keys(t, rdb); len(left) > 0 {
					t.Errorf("keys %q", left)
				}
			})

			t.Run("L12 the mark of a renewal lives ten seconds, and a replay of the old token does not prolong what it is good for", func(t *testing.T) {
				b := start(t)
				key, old := sole(t, rdb), b.As(b.Token())
				b.Verb("Renew")
				near(t, rdb.PTTL(ctx, key).Val(), 10*time.Second)
				if old.Alive() {
					t.Error("the old token is accepted")
				}
				if !b.Alive() {
					t.Error("the new token is refused")
				}
			})
		})
	})
}
