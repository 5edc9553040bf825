package lifecycle_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A verb that fails tells its handler, which then has the response. What must
// never happen is that the user of a sign-in that failed is stored after all,
// under the token from before.
func TestFailedVerbs(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")

	for _, verb := range []string{"SignIn", "Renew"} {
		for _, fault := range []struct {
			op  string
			err error
		}{
			{"Create", sessions.ErrUnavailable},
			{"CompareAndSwap", sessions.ErrUnavailable},
			{"Create", broken},
			{"CompareAndSwap", broken},
		} {
			for _, late := range []bool{false, true} {
				name := verb + " fails at " + fault.op + " with " + fault.err.Error()
				if late {
					name += ", and the handler changes T again after the first byte"
				}
				t.Run("L12 "+name, func(t *testing.T) {
					t.Parallel()
					a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
					a.Handle("/", func(_ http.ResponseWriter, _ *http.Request, s *kit.Session) { s.Views++ })
					a.Handle("/login", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
						s.UserID = "alice"
						kit.WantErr(t, verb, kit.Call(a.Manager, r.Context(), verb), fault.err)
						kit.WantErr(t, "the Save after it", a.Save(r.Context()), fault.err)
						w.WriteHeader(http.StatusTeapot)
						if late {
							s.UserID = "alice again"
						}
					})
					a.Handle("/who", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
						w.Header().Set("Who", s.UserID)
					})
					b := a.Browser()
					b.Get("/")
					before := b.Token()

					a.Store.Fail(fault.err, "before "+fault.op)
					res := b.Get("/login")
					a.Store.Heal()
					if res.StatusCode != http.StatusTeapot || len(res.SetCookies()) != 0 {
						t.Errorf("answer %d with %q, want the handler's own and no cookie", res.StatusCode, res.SetCookies())
					}
					if b.Token() != before {
						t.Error("the token has changed")
					}
					if who := b.Get("/who").Header.Get("Who"); who != "" {
						t.Errorf("the old token belongs to %q now", who)
					}
				})
			}
		}
	}

	t.Run("L12 a SignIn after the first byte stores nothing", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			if r.URL.RawQuery == "" {
				s.Views++
				return
			}
			_, _ = w.Write([]byte("x"))
			s.UserID = "alice"
			kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrCommitted)
		})
		a.Handle("/who", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) { w.Header().Set("Who", s.UserID) })
		b := a.Browser()
		b.Get("/")
		b.Get("/?login")
		if who := b.Get("/who").Header.Get("Who"); who != "" {
			t.Errorf("the old token belongs to %q now", who)
		}
	})

	for next, want := range map[string]string{"SignIn": "alice", "Reload": "", "Destroy": ""} {
		t.Run("L12 after a SignIn that failed "+next+" goes on", func(t *testing.T) {
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[kit.Session](t, store, sessions.Config{})
			ctx, s := kit.Load(t, m)
			s.Views = 1
			kit.Must(t, m.Save(ctx))
			s.UserID = "alice"
			store.Fail(broken, "before Create")
			kit.WantErr(t, "SignIn", m.SignIn(ctx), broken)
			store.Heal()
			kit.Must(t, kit.Call(m, ctx, next))
			s.Views = 7
			kit.Must(t, m.Save(ctx))
			if s := m.FromContext(ctx); s.UserID != want || s.Views != 7 {
				t.Errorf("%+v, want user %q", s, want)
			}
		})
	}

	for _, verb := range []string{"SignIn", "Renew"} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("L12 L20 after a %s of a session that has ended, and failed, nothing is saved, known before: %t", verb, known), func(t *testing.T) {
				a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
				m := kit.New[owned](t, a.Store, sessions.Config{})
				token := a.Seed(1)
				h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					kit.Verb(t, a.Manager, token, "Destroy")
					if known {
						kit.WantErr(t, "Touch", m.Touch(r.Context()), sessions.ErrGone)
					}
					m.FromContext(r.Context()).UserID = "alice"
					a.Store.Fail(broken, "before Create", "before Place")
					if kit.Call(m, r.Context(), verb) == nil {
						t.Error("it has not failed")
					}
					a.Store.Heal()
					kit.WantErr(t, "the Save after it", m.Save(r.Context()), broken)
					w.WriteHeader(http.StatusTeapot)
				}))
				res := kit.Serve(h, kit.With(token, "/"))
				if live, _ := a.Store.Left(t); res.StatusCode != http.StatusTeapot || len(res.Header["Set-Cookie"]) > 0 || live > 0 {
					t.Errorf("%d with %q, and %d sessions", res.StatusCode, res.Header["Set-Cookie"], live)
				}
			})
		}
	}

	t.Run("K7 the handler's answer to a failed Save stands, and so does the record", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{MaxSize: 2000})
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views++
			if r.URL.RawQuery == "" {
				return
			}
			s.Flash = strings.Repeat("x", 2000)
			kit.WantErr(t, "Save", a.Save(r.Context()), sessions.ErrTooLarge)
			if r.URL.RawQuery == "mended" {
				s.Flash = "too long"
			}
			w.WriteHeader(http.StatusUnprocessableEntity)
		})
		a.Handle("/views", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
			w.WriteHeader(200 + s.Views)
		})
		b := a.Browser()
		b.Get("/")
		if res := b.Get("/?left"); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("answer %d, want the handler's 422", res.StatusCode)
		}
		if res := b.Get("/views"); res.StatusCode != 201 {
			t.Errorf("%d views, want 1", res.StatusCode-200)
		}
		if res := b.Get("/?mended"); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("answer %d, want the handler's 422", res.StatusCode)
		}
		if res := b.Get("/views"); res.StatusCode != 202 {
			t.Errorf("%d views, want 2: what the handler mended is saved", res.StatusCode-200)
		}
	})

	t.Run("F1 a store that did not answer a verb is not asked again by the automatic save", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		a.Store.Fail(sessions.ErrUnavailable)
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views++
			_ = a.Save(r.Context())
			w.WriteHeader(http.StatusTeapot)
		})
		if res := a.Browser().Get("/"); res.StatusCode != http.StatusTeapot {
			t.Errorf("answer %d, want the handler's", res.StatusCode)
		}
		a.WantCalls(t, "the request", "Create")
	})

	t.Run("L18 the token of a verb outlives a Commit that fails", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{MaxSize: 1000})
		ctx, s := kit.Load(t, m)
		kit.Must(t, m.SignIn(ctx))
		s.Flash = strings.Repeat("x", 1000)
		first, err := m.Commit(ctx)
		if !errors.Is(err, sessions.ErrTooLarge) || first.Kind != sessions.OutcomeCreated || first.Token == "" {
			t.Errorf("Commit = %v, %v; want created with its token and ErrTooLarge", first.Kind, err)
		}
		s.Flash = ""
		if second := kit.Commit(t, m, ctx, sessions.OutcomeCreated); second.Token != first.Token {
			t.Error("the next Commit has another token")
		}
	})

	t.Run("L13 Touch beside the handler leaves the header alone", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.UserID = "alice"
			kit.Must(t, a.SignIn(r.Context()))
			done := make(chan error)
			go func() { done <- a.Touch(r.Context()) }()
			for i := range 100 {
				w.Header().Set("X-Count", strings.Repeat("x", i)) // a race, if Touch writes too
			}
			kit.Must(t, <-done)
		})
		if res := a.Browser().Get("/"); len(res.SetCookies()) != 1 {
			t.Errorf("cookies %q, want one", res.SetCookies())
		}
	})
}

// owned is a T whose change of owner is a sign-in.
type owned kit.Session

func (s *owned) SessionOwner() string { return s.UserID }
