package lifecycle_test

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestDestroy(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "L8 L10 with SaveUninitialized, Destroy still expires the cookie and leaves no session", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{SaveUninitialized: true})
		b := a.Browser()
		b.Login()
		a.Store.Calls()
		res := b.Raw(func(w http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.Destroy(r.Context()))
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieExpired)...))
		a.WantCalls(t, "the sign-out", "Load CompareAndSwap")
	})

	kit.EachStack(t, "L10 Destroy removes the record and expires the cookie, and a replay finds nothing", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		b.Login()
		old := b.Token()
		a.Store.Calls()
		res := b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			kit.OK(t, a.Destroy(r.Context()))
			if !reflect.DeepEqual(*s, kit.Session{}) {
				t.Errorf("*T after Destroy: %+v", *s)
			}
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieExpired)...))
		a.WantCalls(t, "the sign-out", "Load CompareAndSwap")
		if got := b.Token(); got != "" {
			t.Errorf("the jar still has %q", got)
		}
		if s, i := b.As(old).Peek(); !i.New || s.UserID != "" {
			t.Errorf("the replayed cookie finds %+v, %+v", s, i)
		}
	})

	t.Run("L10 the cookie is expired with the name, path, domain and flags it was set with", func(t *testing.T) {
		rows := []sessions.Cookie{
			{},
			{Persist: true},
			{Domain: "example.test"},
			{Path: "/app"},
			{Name: "sid", Domain: "example.test", Path: "/app", SameSite: http.SameSiteStrictMode},
			{SameSite: http.SameSiteNoneMode, Partitioned: true},
			{Insecure: true},
		}
		for _, row := range rows {
			t.Run(fmt.Sprintf("%+v", row), func(t *testing.T) {
				b := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Transport: row}).Browser()
				lines := [2]*http.Cookie{}
				for i, f := range []func() kit.Response{
					func() kit.Response { return b.Edit(func(s *kit.Session) { s.UserID = "u1" }) },
					func() kit.Response { return b.Verb("Destroy") },
				} {
					set := f().Header["Set-Cookie"]
					if len(set) != 1 {
						t.Fatalf("response %d: Set-Cookie %q", i, set)
					}
					c, err := http.ParseSetCookie(set[0])
					kit.Must(t, err)
					lines[i] = c
				}
				if c := lines[1]; c.MaxAge >= 0 || c.Value != "" {
					t.Errorf("not expired: %q", c.Raw)
				}
				for _, c := range lines {
					c.Value, c.MaxAge, c.Expires, c.RawExpires, c.Raw = "", 0, time.Time{}, "", ""
				}
				if !reflect.DeepEqual(lines[0], lines[1]) {
					t.Errorf("set as %v, expired as %v", lines[0], lines[1])
				}
			})
		}
	})

	kit.EachStack(t, "L11 writing after Destroy starts another session", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			*s = kit.Full()
			kit.OK(t, a.SignIn(r.Context(), sessions.Remembered))
		})
		oldToken := b.Token()
		_, old := b.Peek()
		a.Store.Calls()
		res := b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			kit.OK(t, a.Destroy(r.Context()))
			s.Views = 7
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieSent)...))
		a.WantCalls(t, "the request", "Load CompareAndSwap Create")
		s, i := b.Peek()
		if !reflect.DeepEqual(s, kit.Session{Views: 7}) {
			t.Errorf("the new session holds %+v", s)
		}
		if b.Token() == oldToken || i.ID == old.ID || i.Remembered || !i.AuthenticatedAt.IsZero() || i.CreatedAt.Before(old.CreatedAt) {
			t.Errorf("the new session %+v is not new after %+v", i, old)
		}
		if _, i := b.As(oldToken).Peek(); !i.New {
			t.Error("the old token is accepted")
		}
	})

	kit.EachStack(t, "L11 destroying what was never stored makes no store call", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		res := a.Browser().Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views = 5
			kit.OK(t, a.Destroy(r.Context()))
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
		a.WantCalls(t, "the request", "")
	})

	for _, verbs := range [][]string{{"Save"}, {"SignIn"}, {"Remember"}, {"SignIn", "Renew"}, {"SignIn", "Destroy", "SignIn"}} {
		for start, token := range map[string]string{"no cookie": "", "an unknown one": kit.UnknownToken(1)} {
			kit.EachStack(t, fmt.Sprintf("L11 what %q began in the same request is gone, and the client with %s is told nothing", verbs, start), func(t *testing.T, st kit.Stack) {
				a := st.App(t, sessions.Config{})
				res := a.Browser().As(token).Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
					s.Views = 5
					for _, verb := range append(verbs, "Destroy") {
						kit.OK(t, kit.Call(a.Manager, r.Context(), verb))
					}
					fmt.Fprint(w, "1")
				})
				if lines := res.Header["Set-Cookie"]; len(lines) > 0 {
					t.Errorf("Set-Cookie %q", lines)
				}
				if live, _ := a.Store.Left(t); live != 0 {
					t.Errorf("%d sessions are left", live)
				}
			})
		}
	}

	kit.EachStack(t, "L10 a session whose token has been sent is OutcomeDestroyed, though the same request began it", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		a.Browser().Visit(func(w http.ResponseWriter, r *http.Request, _ *kit.Session) {
			kit.OK(t, a.SignIn(r.Context()))
			fmt.Fprint(w, "1")
			kit.OK(t, http.NewResponseController(w).Flush())
			kit.OK(t, a.Destroy(r.Context()))
			kit.Commit(t, a.Manager, r.Context(), sessions.OutcomeDestroyed)
		})
	})

	kit.EachStack(t, "L11 destroying what an unknown token stood for neither deletes nor expires anything", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		res := a.Browser().As(kit.UnknownToken(1)).Visit(func(w http.ResponseWriter, r *http.Request, _ *kit.Session) {
			kit.OK(t, a.Destroy(r.Context()))
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
		a.WantCalls(t, "the request", "Load")
	})
}

// Destroy ends what every token of the request stands for, the ones that it
// could not use among them, or it says that it did not.
func TestDestroyFollowsEveryToken(t *testing.T) {
	t.Parallel()
	visitor := func(t *testing.T, m *sessions.Manager[kit.Session]) string {
		t.Helper()
		return kit.MustRequest(t, m, "", kit.Put(m, "ann"))
	}

	t.Run("L10 a Destroy that fails behind the token of a renewed session leaves the request's own one alive", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[kit.Session](t, store, sessions.Config{})
		old, own := visitor(t, m), visitor(t, m)
		after := kit.Verb(t, m, old, "Renew")
		ctx, _ := kit.Load(t, m, old, own)
		store.Fail(sessions.ErrUnavailable, "before Load") // which Destroy needs to follow the mark
		kit.WantErr(t, "Destroy", m.Destroy(ctx), sessions.ErrUnavailable)
		store.Heal()
		if !kit.Alive(t, m, own) {
			t.Error("Destroy has failed, and yet the session is dead")
		}
		kit.Must(t, m.Destroy(ctx))
		if kit.Alive(t, m, own) || kit.Alive(t, m, after) {
			t.Errorf("after the next Destroy: its own lives %t, the renewed one %t", kit.Alive(t, m, own), kit.Alive(t, m, after))
		}
	})

	t.Run("T4 C16 two valid tokens and one renewed moments ago: Destroy ends all three sessions", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		old, first, second := visitor(t, m), visitor(t, m), visitor(t, m)
		after := kit.Verb(t, m, old, "Renew")
		ctx, _ := kit.Load(t, m, old, first, second)
		kit.Must(t, m.Destroy(ctx))
		for name, token := range map[string]string{"the first": first, "the second": second, "the renewed": after} {
			if kit.Alive(t, m, token) {
				t.Errorf("%s session lives on", name)
			}
		}
	})
}
