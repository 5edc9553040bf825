package sessions_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// A verb that fails tells its handler, which then has the response. What must
// never happen is that the user of a sign-in that failed is stored after all,
// under the token from before.
func TestFailedVerbs(t *testing.T) {
	broken := errors.New("broken")
	signIn := func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }
	renew := func(m *sessions.Manager[Session], ctx context.Context) error { return m.Renew(ctx) }

	for _, verb := range []struct {
		name string
		call func(*sessions.Manager[Session], context.Context) error
	}{{"SignIn", signIn}, {"Renew", renew}} {
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
				name := verb.name + " fails at " + fault.op + " with " + fault.err.Error()
				if late {
					name += ", and the handler changes T again after the first byte"
				}
				t.Run("L12 "+name, func(t *testing.T) {
					store := &stepStore{Store: new(sessions.MemoryStore)}
					a := newApp(t, store, sessions.Config{})
					a.handle("/", func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ })
					a.handle("/login", func(w http.ResponseWriter, r *http.Request, s *Session) {
						s.UserID = "alice"
						if err := verb.call(a.m, r.Context()); !errors.Is(err, fault.err) {
							t.Errorf("%s = %v, want %v", verb.name, err, fault.err)
						}
						if err := a.m.Save(r.Context()); !errors.Is(err, fault.err) {
							t.Errorf("the Save after it = %v, want the same error", err)
						}
						w.WriteHeader(http.StatusTeapot)
						if late {
							s.UserID = "alice again"
						}
					})
					a.handle("/who", func(w http.ResponseWriter, _ *http.Request, s *Session) {
						w.Header().Set("Who", s.UserID)
					})
					b := a.browser()
					b.get("/")
					before := b.token()

					store.before = func(op, _ string) error {
						if op == fault.op {
							return fault.err
						}
						return nil
					}
					res := b.get("/login")
					store.before = nil
					if res.StatusCode != http.StatusTeapot || len(res.setCookies()) != 0 {
						t.Errorf("answer %d with %q, want the handler's own and no cookie", res.StatusCode, res.setCookies())
					}
					if b.token() != before {
						t.Error("the token has changed")
					}
					if who := b.get("/who").Header.Get("Who"); who != "" {
						t.Errorf("the old token belongs to %q now", who)
					}
				})
			}
		}
	}

	t.Run("L12 a SignIn after the first byte stores nothing", func(t *testing.T) {
		a := newApp(t, new(sessions.MemoryStore), sessions.Config{})
		a.handle("/", func(w http.ResponseWriter, r *http.Request, s *Session) {
			if r.URL.RawQuery == "" {
				s.Views++
				return
			}
			_, _ = w.Write([]byte("x"))
			s.UserID = "alice"
			if err := a.m.SignIn(r.Context()); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("SignIn = %v, want ErrCommitted", err)
			}
		})
		a.handle("/who", func(w http.ResponseWriter, _ *http.Request, s *Session) { w.Header().Set("Who", s.UserID) })
		b := a.browser()
		b.get("/")
		b.get("/?login")
		if who := b.get("/who").Header.Get("Who"); who != "" {
			t.Errorf("the old token belongs to %q now", who)
		}
	})

	t.Run("L12 after a SignIn that failed another one, Reload or Destroy goes on", func(t *testing.T) {
		for _, next := range []struct {
			name string
			call func(m *sessions.Manager[Session], ctx context.Context) error
			want string
		}{
			{"SignIn", signIn, "alice"},
			{"Reload", func(m *sessions.Manager[Session], ctx context.Context) error { return m.Reload(ctx) }, ""},
			{"Destroy", func(m *sessions.Manager[Session], ctx context.Context) error { return m.Destroy(ctx) }, ""},
		} {
			t.Run(next.name, func(t *testing.T) {
				store := &stepStore{Store: new(sessions.MemoryStore)}
				m := mustNew(t, store, sessions.Config{})
				ctx, err := m.Load(t.Context())
				must(t, err)
				m.FromContext(ctx).Views = 1
				must(t, m.Save(ctx))
				m.FromContext(ctx).UserID = "alice"
				store.before = func(op, _ string) error {
					if op == "Create" {
						return broken
					}
					return nil
				}
				if err := m.SignIn(ctx); !errors.Is(err, broken) {
					t.Fatalf("SignIn = %v", err)
				}
				store.before = nil
				must(t, next.call(m, ctx))
				m.FromContext(ctx).Views = 7
				must(t, m.Save(ctx))
				if s := m.FromContext(ctx); s.UserID != next.want || s.Views != 7 {
					t.Errorf("%+v, want user %q", s, next.want)
				}
			})
		}
	})

	t.Run("K7 the handler's answer to a failed Save stands, and so does the record", func(t *testing.T) {
		a := newApp(t, new(sessions.MemoryStore), sessions.Config{MaxSize: 2000})
		a.handle("/", func(w http.ResponseWriter, r *http.Request, s *Session) {
			s.Views++
			if r.URL.RawQuery == "" {
				return
			}
			s.Flash = strings.Repeat("x", 2000)
			if err := a.m.Save(r.Context()); !errors.Is(err, sessions.ErrTooLarge) {
				t.Errorf("Save = %v, want ErrTooLarge", err)
			}
			if r.URL.RawQuery == "mended" {
				s.Flash = "too long"
			}
			w.WriteHeader(http.StatusUnprocessableEntity)
		})
		a.handle("/views", func(w http.ResponseWriter, _ *http.Request, s *Session) {
			w.WriteHeader(200 + s.Views)
		})
		b := a.browser()
		b.get("/")
		if res := b.get("/?left"); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("answer %d, want the handler's 422", res.StatusCode)
		}
		if res := b.get("/views"); res.StatusCode != 201 {
			t.Errorf("%d views, want 1", res.StatusCode-200)
		}
		if res := b.get("/?mended"); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("answer %d, want the handler's 422", res.StatusCode)
		}
		if res := b.get("/views"); res.StatusCode != 202 {
			t.Errorf("%d views, want 2: what the handler mended is saved", res.StatusCode-200)
		}
	})

	t.Run("F1 a store that did not answer a verb is not asked again by the automatic save", func(t *testing.T) {
		asked := 0
		store := &stepStore{Store: new(sessions.MemoryStore), before: func(string, string) error {
			asked++
			return sessions.ErrUnavailable
		}}
		a := newApp(t, store, sessions.Config{})
		a.handle("/", func(w http.ResponseWriter, r *http.Request, s *Session) {
			s.Views++
			_ = a.m.Save(r.Context())
			w.WriteHeader(http.StatusTeapot)
		})
		if res := a.browser().get("/"); res.StatusCode != http.StatusTeapot || asked != 1 {
			t.Errorf("answer %d after %d calls, want the handler's after one", res.StatusCode, asked)
		}
	})

	t.Run("L18 the token of a verb outlives a Commit that fails", func(t *testing.T) {
		m := mustNew(t, new(sessions.MemoryStore), sessions.Config{MaxSize: 1000})
		ctx, err := m.Load(t.Context())
		must(t, err)
		must(t, m.SignIn(ctx))
		m.FromContext(ctx).Flash = strings.Repeat("x", 1000)
		first, err := m.Commit(ctx)
		if !errors.Is(err, sessions.ErrTooLarge) || first.Kind != sessions.OutcomeCreated || first.Token == "" {
			t.Errorf("Commit = %v, %v; want created with its token and ErrTooLarge", first.Kind, err)
		}
		m.FromContext(ctx).Flash = ""
		second, err := m.Commit(ctx)
		if err != nil || second.Kind != sessions.OutcomeCreated || second.Token != first.Token {
			t.Errorf("the next Commit = %v, %v; want created with the same token", second.Kind, err)
		}
	})

	t.Run("L13 Touch beside the handler leaves the header alone", func(t *testing.T) {
		a := newApp(t, new(sessions.MemoryStore), sessions.Config{})
		a.handle("/", func(w http.ResponseWriter, r *http.Request, s *Session) {
			s.UserID = "alice"
			must(t, a.m.SignIn(r.Context()))
			done := make(chan error)
			go func() { done <- a.m.Touch(r.Context()) }()
			for i := range 100 {
				w.Header().Set("X-Count", strings.Repeat("x", i)) // a race, if Touch writes too
			}
			must(t, <-done)
		})
		if res := a.browser().get("/"); len(res.setCookies()) != 1 {
			t.Errorf("cookies %q, want one", res.setCookies())
		}
	})
}
