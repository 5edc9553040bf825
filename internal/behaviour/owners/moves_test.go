package owners_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// renamed is a T of a later build, in which the owner has another name.
type renamed session

func (s *renamed) SessionOwner() string { return "user " + s.User }

// before stores a session of ann's as a build from before T was Owned has it, and returns its token.
func (d *devices) before() string {
	d.t.Helper()
	older := kit.New[unowned](d.t, d.raw, sessions.Config{Codec: d.codec})
	return kit.Edit(d.t, older, "", func(s *unowned) { s.User, s.Views = "ann", 1 })
}

// A session that is where its user's cannot be listed moves there.
func TestMoves(t *testing.T) {
	t.Parallel()
	passive := sessions.Config{Passive: func(r *http.Request) bool { return r.URL.Path == "/poll" }}
	const moved = "Load Create CompareAndSwap Place"
	eachListed(t, passive, func(row func(name string, f func(t *testing.T, d *devices))) {
		for name, run := range map[string]func(d *devices, ctx context.Context, s *session) error{
			"nobody looks at":    nil,
			"the handler reads":  func(_ *devices, _ context.Context, s *session) error { _ = s.User; return nil },
			"the handler writes": func(_ *devices, _ context.Context, s *session) error { s.Note = "mine"; return nil },
			"Save stores":        func(d *devices, ctx context.Context, s *session) error { s.Note = "mine"; return d.mine.Save(ctx) },
		} {
			row("L12 O1 a session from before T was Owned, which "+name+", moves to its user's with the first response, and keeps the rest", func(t *testing.T, d *devices) {
				old := d.before()
				was, before := d.found(old)
				d.store.Calls()
				d.events.Take()
				res := kit.Serve(d.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if run != nil {
						kit.Must(t, run(d, r.Context(), d.mine.FromContext(r.Context())))
					}
				})), kit.With(old, "/"))
				d.store.WantCalls(t, "it", moved)
				d.events.Want(t, sessions.EventRenewed)
				token := kit.TokenOf(res.Header)
				if s, i := d.found(token); s.User != was.User || s.Views != was.Views || i.ID != before.ID || !i.CreatedAt.Equal(before.CreatedAt) || !i.AuthenticatedAt.IsZero() {
					t.Errorf("%+v, %+v became %+v, %+v", was, before, s, i)
				}
				d.wantAlive(false, old)
				d.wantExact(old, token)
				d.wantListed("ann", token)
				d.store.Calls()
				res = d.visit(token, func(context.Context, *session) {})
				d.store.WantCalls(t, "the next request", "Load")
				if kit.TokenOf(res.Header) != "" {
					t.Error("it moves again")
				}
			})
		}

		row("L16 a passive request moves nothing", func(t *testing.T, d *devices) {
			old := d.before()
			res := kit.Serve(d.mine.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), kit.With(old, "/poll"))
			if d.store.WantCalls(t, "it", "Load"); kit.TokenOf(res.Header) != "" {
				t.Error("it sends a cookie")
			}
		})
		row("W6 a session whose response has begun stays, and its changes are saved", func(t *testing.T, d *devices) {
			old := d.before()
			res := kit.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begun := begunWriter{w}
				_, _ = io.WriteString(w, "1")
				d.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					d.mine.FromContext(r.Context()).Note = "mine"
					kit.Must(t, d.mine.Save(r.Context()))
				})).ServeHTTP(begun, r)
			}), kit.With(old, "/"))
			d.store.WantCalls(t, "it", "Load CompareAndSwap")
			if s, _ := d.found(old); s.Note != "mine" || kit.TokenOf(res.Header) != "" {
				t.Errorf("%+v, cookies %q", s, res.Header["Set-Cookie"])
			}
		})
		row("L18 outside HTTP it stays, and its changes are saved", func(t *testing.T, d *devices) {
			old := d.before()
			ctx, s := kit.Load(t, d.mine, old)
			s.Note = "mine"
			kit.Commit(t, d.mine, ctx, sessions.OutcomeChanged)
			d.store.WantCalls(t, "it", "Load CompareAndSwap")
			d.wantAlive(true, old)
		})

		row("L12 of two requests at once one moves it, and the other one's page is served", func(t *testing.T, d *devices) {
			old := d.before()
			var token string
			res := d.visit(old, func(context.Context, *session) {
				res := kit.Serve(d.other.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), kit.With(old, "/"))
				token = kit.TokenOf(res.Header)
			})
			if res.StatusCode != 200 || kit.TokenOf(res.Header) != "" {
				t.Errorf("status %d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			d.wantAlive(true, token)
			d.wantExact(old, token)
		})

		down := fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
		for _, step := range []string{"before Create", "after Create", "before CompareAndSwap", "after CompareAndSwap", "before Place"} {
			row("L12 a page that only reads is served though the store does not answer "+step+" of a move", func(t *testing.T, d *devices) {
				old := d.before()
				d.store.Fail(down, step)
				res := d.visit(old, func(context.Context, *session) {})
				if res.StatusCode != 200 || kit.TokenOf(res.Header) != "" {
					t.Errorf("status %d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
				}
				d.store.Heal()
				if step != "after CompareAndSwap" && step != "before Place" { // where nobody can know any more
					token := kit.TokenOf(d.visit(old, func(context.Context, *session) {}).Header)
					d.wantAlive(true, token)
					d.wantListed("ann", token)
				}
			})
		}
	})

	eachListed(t, sessions.Config{MaxPerOwner: 1, OnOwnerLimit: sessions.Reject}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for _, note := range []string{"", "mine"} {
			row(fmt.Sprintf("L12 O9 where its user has as many sessions as may be it stays, and the page is served, with the change %q saved", note), func(t *testing.T, d *devices) {
				old, listed := d.before(), d.signIn("ann")
				res := d.visit(old, func(_ context.Context, s *session) { s.Note = note })
				if res.StatusCode != 200 || kit.TokenOf(res.Header) != "" {
					t.Errorf("status %d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
				}
				if s, _ := d.found(old); s.Note != note || s.User != "ann" {
					t.Errorf("%+v", s)
				}
				d.wantExact(listed)
			})
		}
	})

	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("L12 O6 a session whose SessionOwner has another value in this build moves from the one index to the other", func(t *testing.T, d *devices) {
			old := d.signIn("ann")
			later := kit.New[renamed](t, &kit.Store{Store: d.raw}, sessions.Config{Codec: d.codec})
			res := kit.Serve(later.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), kit.With(old, "/"))
			token := kit.TokenOf(res.Header)
			if n := len(d.entries("ann")); n != 0 {
				t.Errorf("%d entries on the old index", n)
			}
			id, owner := kit.HeaderOf(kit.RecordUnder(t, d.raw, token))
			if got := d.entries("user ann"); owner != "user ann" || len(got) != 1 || got[0] != kit.MemberOf(t, id, kit.KeyOf(token)) {
				t.Errorf("%q's, and the new index has %q", owner, got)
			}
		})
	})
}

// A begunWriter says that it has begun, as a framework's does.
type begunWriter struct{ http.ResponseWriter }

func (begunWriter) Written() bool { return true }

// found is what the other process finds under a token.
func (d *devices) found(token string) (session, sessions.Info) {
	d.t.Helper()
	ctx, s := kit.Load(d.t, d.other, token)
	return *s, d.other.Info(ctx)
}

// An index that was lost has a session again after a minute in which that is read, or written.
func TestRelisting(t *testing.T) {
	t.Parallel()
	uses := map[string]func(d *devices, ctx context.Context, _ string) (context.Context, error){
		"reads": func(d *devices, _ context.Context, token string) (context.Context, error) {
			return d.mine.Load(context.Background(), token)
		},
		"saves": func(d *devices, ctx context.Context, _ string) (context.Context, error) {
			d.mine.FromContext(ctx).Views++
			return ctx, d.mine.Save(ctx)
		},
		"touches": func(d *devices, ctx context.Context, _ string) (context.Context, error) {
			return ctx, d.mine.Touch(ctx)
		},
		"Reloads": func(d *devices, ctx context.Context, _ string) (context.Context, error) {
			return ctx, d.mine.Reload(ctx)
		},
		"Updates": func(d *devices, ctx context.Context, _ string) (context.Context, error) {
			return ctx, d.mine.Update(ctx, func(s *session) error { s.Views++; return nil })
		},
		"renewals": func(d *devices, ctx context.Context, _ string) (context.Context, error) {
			return ctx, d.mine.Renew(ctx)
		},
	}
	for name, use := range uses {
		kit.EachBubble(t, "O10 O12 "+name+" of one session for hours put it on its index again within a minute, by one step a minute", func(t *testing.T, c sessions.Codec) {
			d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, Lifetime: -1})
			token := d.signIn("ann")
			ctx, _ := kit.Load(t, d.mine, token)
			const every, hours = 7 * time.Second, 4
			lost, relists := time.Time{}, 0
			for began := time.Now(); time.Since(began) < hours*time.Hour; time.Sleep(every) {
				var err error
				ctx, err = use(d, ctx, token)
				kit.Must(t, err)
				switch n := len(d.entries("ann")); {
				case n == 1:
					lost = time.Time{}
				case lost.IsZero():
					t.Fatalf("after %v the session is not listed", time.Since(began))
				case time.Since(lost) > time.Minute+every:
					t.Fatalf("%v after the loss it is not listed", time.Since(lost))
				}
				if time.Since(began)%(10*time.Minute) < every {
					d.loseIndex("ann")
					lost = time.Now()
				}
				relists += len(d.store.Keys("Relist"))
				d.store.Calls()
			}
			if most := hours * 60; name == "renewals" && relists > 1 || name != "renewals" && (relists > most || relists < most/2) {
				t.Errorf("%d steps in %d hours", relists, hours)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	type setup struct {
		name   string
		cfg    sessions.Config
		from   string // whose session; "-" is none
		others int    // sessions of ann's
		verb   string // the owner, and the verb
		want   string
	}
	limited, rejects := sessions.Config{MaxPerOwner: 3}, sessions.Config{MaxPerOwner: 3, OnOwnerLimit: sessions.Reject}
	for _, row := range []setup{
		{"O12 a session that this process has listed is read", sessions.Config{}, "ann", 2, "", "getex"},
		{"O12 it is changed", sessions.Config{}, "ann", 2, "ann Save", "getex, evalsha"},
		{"O12 it is renewed", limited, "ann", 2, "ann Renew", "getex, evalsha"},
		{"O12 it is stepped up", limited, "ann", 2, "ann Reauthenticate", "getex, evalsha"},
		{"O12 its user signs in again", limited, "ann", 2, "ann SignIn", "getex, evalsha"},
		{"O12 it is ended", sessions.Config{}, "ann", 2, "ann Destroy", "getex, evalsha"},
		{"O12 its user leaves it", sessions.Config{}, "ann", 2, " Save", "getex, set nx, evalsha"},
		{"O12 a new visitor signs in", sessions.Config{}, "-", 2, "ann SignIn", "evalsha"},
		{"O12 the same with a limit, and no other session", limited, "-", 0, "ann SignIn", "evalsha"},
		{"O12 the same with a limit, and another session", limited, "-", 1, "ann SignIn", "evalsha, evalsha"},
		{"O12 the same under Reject", rejects, "-", 1, "ann SignIn", "evalsha, evalsha"},
		{"O12 a visitor with a session signs in", sessions.Config{}, "", 2, "ann SignIn", "getex, set nx, evalsha, evalsha"},
		{"O12 the same with a limit, and another session", limited, "", 1, "ann SignIn", "getex, set nx, evalsha, evalsha, evalsha"},
		{"O12 the same under Reject, and no other session", rejects, "", 0, "ann SignIn", "getex, evalsha, evalsha, evalsha"},
		{"O12 the same under Reject, and another session", rejects, "", 1, "ann SignIn", "getex, evalsha, evalsha, evalsha, evalsha"},
		{"O12 another user signs in", sessions.Config{}, "bob", 2, "ann SignIn", "getex, set nx, evalsha, evalsha"},
	} {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			t.Run(row.name+": "+row.want, func(t *testing.T) {
				log := &kit.Commands{}
				store := kit.RedisStore(rdb)
				live(t, store) // the scripts are known from here on
				rdb.FlushDB(t.Context())
				m := kit.New[session](t, store, row.cfg)
				signedIn := func(user string) string {
					return kit.MustRequest(t, m, "", func(ctx context.Context) error { m.FromContext(ctx).User = user; return m.Save(ctx) })
				}
				for range row.others {
					signedIn("ann")
				}
				token := ""
				if row.from != "-" {
					token = kit.MustRequest(t, m, "", func(ctx context.Context) error {
						s := m.FromContext(ctx)
						s.User, s.Views = row.from, 1
						return m.Save(ctx)
					})
				}
				rdb.AddHook(log)
				kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if user, verb, ok := strings.Cut(row.verb, " "); ok {
						s := m.FromContext(r.Context())
						s.User, s.Note = user, "changed"
						kit.Must(t, kit.Call(m, r.Context(), verb))
					}
				})), kit.With(token, "/"))
				if got := log.Take(); got != row.want {
					t.Errorf("commands %q, want %q", got, row.want)
				}
			})
		})
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		t.Run("O12 another process lists it once, when it meets it: getex, evalsha", func(t *testing.T) {
			store, log := kit.RedisStore(rdb), &kit.Commands{}
			live(t, store)
			m, other := kit.New[session](t, store, sessions.Config{}), kit.New[session](t, store, sessions.Config{})
			token, err := signIn(other, "ann")
			kit.Must(t, err)
			rdb.AddHook(log)
			for _, want := range []string{"getex, evalsha", "getex", "getex"} {
				kit.Alive(t, m, token)
				if got := log.Take(); got != want {
					t.Errorf("commands %q, want %q", got, want)
				}
			}
		})
	})
}
