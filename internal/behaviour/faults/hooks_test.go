package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// recovering is the middleware that everybody has around everything.
func recovering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(500)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// wantPanic fails the test unless f panics.
func wantPanic(t testing.TB, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic came")
		}
	}()
	f()
}

// Hooks may panic and may call whatever they like.
func TestOnEvent(t *testing.T) {
	t.Parallel()
	t.Run("F9 an OnEvent that panics at a Destroy leaves it done and the cookie expired", func(t *testing.T) {
		armed := false
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
			if armed && e.Kind == sessions.EventDestroyed {
				panic("hook")
			}
		}})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		armed = true
		res := kit.Serve(recovering(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_ = m.Destroy(r.Context())
			t.Error("the panic does not go on")
		}))), kit.With(token, "/"))
		armed = false
		if res.StatusCode != 500 || len(res.Cookies()) != 1 || res.Cookies()[0].MaxAge >= 0 {
			t.Errorf("status %d, cookies %v", res.StatusCode, res.Cookies())
		}
		if kit.Alive(t, m, token) {
			t.Error("the session lives")
		}
	})

	for _, kind := range []sessions.EventKind{sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventGone} {
		t.Run(fmt.Sprintf("F9 after an OnEvent that panics at %q the session is free and every verb works", kind), func(t *testing.T) {
			var panics atomic.Bool
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
				if e.Kind == kind && panics.CompareAndSwap(true, false) {
					panic("hook")
				}
			}})
			old := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			kit.Within(t, func() {
				handle(m, old, func(ctx context.Context) {
					wantPanic(t, func() {
						panics.Store(true)
						switch kind {
						case sessions.EventCreated:
							_ = m.Destroy(ctx)
							m.FromContext(ctx).Views++
							_ = m.Save(ctx)
						case sessions.EventSaved:
							m.FromContext(ctx).Views++
							_ = m.Save(ctx)
						case sessions.EventRenewed:
							_ = m.Renew(ctx)
						case sessions.EventSignedIn:
							_ = m.SignIn(ctx)
						case sessions.EventDestroyed:
							_ = m.Destroy(ctx)
						case sessions.EventGone:
							kit.Verb(t, m, old, "Destroy")
							m.FromContext(ctx).Views++
							_ = m.Save(ctx)
						}
					})
					m.Info(ctx)
					m.FromContext(ctx).Flash = "after"
					if err := m.Save(ctx); err != nil && kind != sessions.EventGone {
						t.Errorf("Save: %v", err)
					}
					kit.OK(t, m.Destroy(ctx))
				})
			})
		})
	}

	kit.Bubble(t, "F9 an OnEvent may call every verb at every event", func(t *testing.T) {
		var m *sessions.Manager[kit.Session]
		seen := map[sessions.EventKind]bool{}
		atLoads := false // or else at other events, because after verbs at a load nothing of the request's own happens
		var inside atomic.Bool
		store := &kit.Store{Store: kit.Memory()}
		m = kit.New[kit.Session](t, store, sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			seen[e.Kind] = true
			if kit.IsLoad(e) != atLoads || inside.Swap(true) {
				return
			}
			defer inside.Store(false)
			m.Info(ctx)
			m.FromContext(ctx)
			sessions.Lookup[kit.Session](ctx)
			for _, verb := range []string{"Save", "Touch", "Reload", "Renew", "Reauthenticate", "SignIn", "Destroy"} {
				_ = kit.Call(m, ctx, verb)
			}
		}})
		mux := http.NewServeMux()
		kit.Routes(mux, m)
		h := m.Handler(mux)
		visits := func() {
			for _, path := range []string{"/set?v=bob", "/save?v=bob", "/renew", "/signin", "/destroy"} {
				inside.Store(true)
				token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
				inside.Store(false)
				kit.Serve(h, kit.With(token, path))
				store.Fail(sessions.ErrUnavailable)
				kit.Serve(h, kit.With(token, path))
				store.Heal()
				kit.Serve(h, kit.With("", path))
			}
			kit.Serve(h, kit.With(kit.UnknownToken(1), "/set?v=bob"))
			time.Sleep(quiet)
			kit.Serve(h, kit.With("", "/set?v=bob"))
		}
		kit.Within(t, visits)
		atLoads = true
		kit.Within(t, visits)
		for _, kind := range []sessions.EventKind{sessions.EventLoaded, sessions.EventNotFound, sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventDestroyed, sessions.EventUnavailable, sessions.EventRecovered} {
			if !seen[kind] {
				t.Errorf("no event %q came: the test proves less than it says", kind)
			}
		}
	})
}

func TestLabel(t *testing.T) {
	t.Parallel()
	t.Run("F9 a Label that panics leaves the session as it was, and its request's verbs working", func(t *testing.T) {
		panics := false
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Label: func(*http.Request) string {
			if panics {
				panic("label")
			}
			return "label"
		}})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		kit.Within(t, func() {
			res := handle(m, token, func(ctx context.Context) {
				panics = true
				wantPanic(t, func() { _ = m.Renew(ctx) })
				panics = false
				m.FromContext(ctx).UserID = "bob"
				if err := m.Save(ctx); err == nil {
					t.Error("what a renewal should have carried is stored under the old token")
				}
				kit.OK(t, m.Renew(ctx))
				kit.OK(t, m.Save(ctx))
			})
			if len(res.Cookies()) != 1 || kit.Alive(t, m, token) || !kit.Alive(t, m, res.Cookies()[0].Value) {
				t.Errorf("cookies %v: want the renewed session's, and that one alive", res.Cookies())
			}
		})
	})

	t.Run("F9 a Label may call every verb: it has no session", func(t *testing.T) {
		var m *sessions.Manager[kit.Session]
		called := false
		m = kit.New[kit.Session](t, kit.Memory(), sessions.Config{Label: func(r *http.Request) string {
			called = true
			if _, ok := sessions.Lookup[kit.Session](r.Context()); ok {
				t.Error("it has a session")
			}
			m.Info(r.Context())
			for _, verb := range []string{"Save", "Touch", "Reload", "Renew", "Reauthenticate", "SignIn", "Destroy"} {
				kit.WantErr(t, verb, kit.Call(m, r.Context(), verb), sessions.ErrNoSession)
			}
			return "label"
		}})
		kit.Within(t, func() {
			handle(m, "", func(ctx context.Context) {
				m.FromContext(ctx).Views++
				kit.OK(t, m.Renew(ctx))
			})
		})
		if !called {
			t.Error("it was not asked")
		}
	})
}

func TestErrorHandler(t *testing.T) {
	t.Parallel()
	t.Run("F9 an ErrorHandler may call every verb, and what it destroys stays destroyed", func(t *testing.T) {
		var m *sessions.Manager[kit.Session]
		store := &kit.Store{Store: kit.Memory()}
		called := false
		m = kit.New[kit.Session](t, store, sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			called = true
			store.Heal()
			ctx := r.Context()
			m.Info(ctx)
			m.FromContext(ctx)
			_ = m.Save(ctx)
			_ = m.Reload(ctx)
			kit.OK(t, m.Destroy(ctx))
			w.WriteHeader(503)
		}})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		kit.Within(t, func() {
			res := handle(m, token, func(ctx context.Context) {
				m.FromContext(ctx).UserID = "bob"
				store.Fail(sessions.ErrUnavailable)
			})
			if res.StatusCode != 503 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
		if alive := kit.Alive(t, m, token); !called || alive {
			t.Errorf("called: %v, the session lives: %v", called, alive)
		}
	})

	t.Run("F9 an ErrorHandler that panics does not undo a destroy", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[kit.Session](t, store, sessions.Config{ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic("handler") }})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		kit.Within(t, func() {
			res := kit.Serve(recovering(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				kit.OK(t, m.Destroy(r.Context()))
				m.FromContext(r.Context()).UserID = "next"
				store.Fail(sessions.ErrUnavailable)
			}))), kit.With(token, "/"))
			if res.StatusCode != 500 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
		store.Heal()
		if kit.Alive(t, m, token) {
			t.Error("the session lives")
		}
	})
}

func TestVerbsAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("F9 two goroutines of one request may call verbs at once", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		kit.Within(t, func() {
			handle(m, token, func(ctx context.Context) {
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						_ = m.Touch(ctx)
						_ = m.Renew(ctx)
						m.Info(ctx)
					})
				}
				all.Wait()
			})
		})
	})
}
