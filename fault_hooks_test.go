package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/typedsessions/sessions"
)

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
				if err := m.Save(r.Context()); err == nil {
					t.Error("what a renewal should have carried is stored under the old token")
				}
				if err := m.Renew(r.Context()); err != nil {
					t.Errorf("Renew: %v", err)
				}
				if err := m.Save(r.Context()); err != nil {
					t.Errorf("Save: %v", err)
				}
			})), with(token, "/"))
			if len(res.Cookies()) != 1 || alive(t, m, token) || !alive(t, m, res.Cookies()[0].Value) {
				t.Errorf("cookies %v: want the renewed session's, and that one alive", res.Cookies())
			}
		})
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
