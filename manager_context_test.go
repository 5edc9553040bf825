package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestLifecycleContext(t *testing.T) {
	t.Run("L14 two managers of different T nest, and each sees its own", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			type prefs struct{ Theme string }
			var store sessions.MemoryStore
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, &store, sessions.Config{Codec: st.codec})
			outer := newManager[prefs](t, &store, sessions.Config{Codec: st.codec, Transport: sessions.Cookie{Name: "__Host-prefs"}, Realm: "prefs"})
			a.serve(outer.Handler(a.m.Handler(a.mux)))
			b := st.browser(a)

			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.UserID = "u1"
				sessions.FromContext[prefs](r.Context()).Theme = "dark"
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Set-Cookie", strings.Replace(plainCookie, "session", "prefs", 1),
				"Cache-Control", "private, no-store", "Vary", "Cookie"))
			res = b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				if p := sessions.FromContext[prefs](r.Context()); s.UserID != "u1" || p.Theme != "dark" {
					t.Errorf("read %+v and %+v", s, p)
				}
				if one, other := a.m.Info(r.Context()), outer.Info(r.Context()); one.ID == other.ID || one.New || other.New {
					t.Errorf("infos %+v and %+v", one, other)
				}
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				if p := sessions.FromContext[prefs](r.Context()); s.UserID != "" || p.Theme != "dark" {
					t.Errorf("after the inner one's end: %+v and %+v", s, p)
				}
			})
		})
	})

	t.Run("L14 of two managers of one T the inner one answers FromContext, and each its own", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			var store sessions.MemoryStore
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, &store, sessions.Config{Codec: st.codec})
			outer := newManager[Session](t, &store, sessions.Config{Codec: st.codec, Transport: sessions.Cookie{Name: "__Host-outer"}})
			a.serve(outer.Handler(a.m.Handler(a.mux)))
			b := st.browser(a)
			b.raw(func(_ http.ResponseWriter, r *http.Request) {
				if sessions.FromContext[Session](r.Context()) != a.m.FromContext(r.Context()) {
					t.Error("FromContext is not the inner one's")
				}
				if looked, ok := sessions.Lookup[Session](r.Context()); !ok || looked != a.m.FromContext(r.Context()) {
					t.Error("Lookup is not the inner one's")
				}
				a.m.FromContext(r.Context()).UserID = "inner"
				outer.FromContext(r.Context()).UserID = "outer"
			})
			if got := len(b.cookies()); got != 2 {
				t.Errorf("%d cookies, want 2", got)
			}
			b.raw(func(_ http.ResponseWriter, r *http.Request) {
				if got := a.m.FromContext(r.Context()).UserID; got != "inner" {
					t.Errorf("the inner one reads %q", got)
				}
				if got := outer.FromContext(r.Context()).UserID; got != "outer" {
					t.Errorf("the outer one reads %q", got)
				}
			})
		})
	})

	t.Run("L14 wrapping the same manager twice loads once, commits once and sends one cookie", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			store, log := counted(&sessions.MemoryStore{})
			a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
			a.m = newManager[Session](t, store, sessions.Config{Codec: st.codec, OnEvent: a.events.on})
			middle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen := sessions.FromContext[Session](r.Context())
				a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if sessions.FromContext[Session](r.Context()) != seen {
						t.Error("the inner wrap has a T of its own")
					}
					a.mux.ServeHTTP(w, r)
				})).ServeHTTP(w, r)
			})
			a.serve(a.m.Handler(middle))
			b := st.browser(a)
			visit := func() answer {
				return b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
					s.Views++
					fmt.Fprint(w, "1")
				})
			}
			wantHeader(t, visit().Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the first request", "Create")
			wantHeader(t, visit().Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the second request", "Load CompareAndSwap")
			if got, want := a.events.kinds(), []sessions.EventKind{sessions.EventCreated, sessions.EventSaved}; !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
	})

	t.Run("L15 FromContext gives the same pointer each time in a request", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			for range 2 {
				b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
					type key struct{}
					ctx := context.WithValue(r.Context(), key{}, 1)
					looked, ok := sessions.Lookup[Session](ctx)
					if sessions.FromContext[Session](ctx) != s || a.m.FromContext(ctx) != s || looked != s || !ok {
						t.Error("another pointer")
					}
					s.Views++
					for name, verb := range map[string]func(context.Context) error{
						"Save": a.m.Save, "Reload": a.m.Reload, "Touch": a.m.Touch, "Renew": a.m.Renew, "Destroy": a.m.Destroy,
					} {
						do1(t, verb, ctx)
						if sessions.FromContext[Session](ctx) != s {
							t.Errorf("another pointer after %s", name)
						}
					}
					s.Views = 3
				})
			}
		})
	})

	t.Run("L15 outside Handler FromContext panics with T and the remedy, and Lookup says false", func(t *testing.T) {
		m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})
		other, err := newManager[struct{ X int }](t, &sessions.MemoryStore{}, sessions.Config{}).Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, ctx := range map[string]context.Context{"no manager": t.Context(), "another manager": other} {
			for _, f := range []func(){
				func() { sessions.FromContext[Session](ctx) },
				func() { m.FromContext(ctx) },
			} {
				func() {
					defer func() {
						msg, _ := recover().(string)
						for _, part := range []string{"sessions_test.Session", "Handler", "Load"} {
							if !strings.Contains(msg, part) {
								t.Errorf("%s: panic %q does not name %s", name, msg, part)
							}
						}
					}()
					f()
				}()
			}
			if s, ok := sessions.Lookup[Session](ctx); s != nil || ok {
				t.Errorf("%s: Lookup gives %v, %v", name, s, ok)
			}
			for verb, f := range map[string]func(context.Context) error{
				"Save": m.Save, "Reload": m.Reload, "Touch": m.Touch, "Renew": m.Renew, "Destroy": m.Destroy,
				"SignIn": func(ctx context.Context) error { return m.SignIn(ctx) },
				"Commit": func(ctx context.Context) error { _, err := m.Commit(ctx); return err },
			} {
				if err := f(ctx); !errors.Is(err, sessions.ErrNoSession) {
					t.Errorf("%s: %s gives %v", name, verb, err)
				}
			}
			if i := m.Info(ctx); i != (sessions.Info{}) {
				t.Errorf("%s: Info gives %+v", name, i)
			}
		}
	})

	t.Run("L16 a skipped request has no load, no commit and no header", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{
				Skip:              func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" },
				SaveUninitialized: true, Rewrite: true,
			})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			a.events.kinds()
			a.handle("/skipped", func(w http.ResponseWriter, r *http.Request, s *Session) {
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("FromContext gives %+v", *s)
				}
				if sessions.FromContext[Session](r.Context()) != s || a.m.FromContext(r.Context()) != s {
					t.Error("FromContext gives another pointer the second time")
				}
				if s, ok := sessions.Lookup[Session](r.Context()); ok || s != nil {
					t.Errorf("Lookup gives %v, %v", s, ok)
				}
				if i := a.m.Info(r.Context()); i != (sessions.Info{}) {
					t.Errorf("Info gives %+v", i)
				}
				s.Views = 100
				for _, verb := range []func(context.Context) error{a.m.Save, a.m.Renew, a.m.Destroy} {
					if err := verb(r.Context()); !errors.Is(err, sessions.ErrNoSession) {
						t.Errorf("a verb gives %v", err)
					}
				}
				fmt.Fprint(w, "1")
			})
			r := b.request("/skipped")
			r.Header.Set("X-Skip", "1")
			wantHeader(t, b.do(r).Header, text())
			wantCalls(t, log, "a skipped request", "")
			if kinds := a.events.kinds(); len(kinds) > 0 {
				t.Errorf("events %v", kinds)
			}
			if s, i := b.peek(); i.New || s.UserID != "u1" || s.Views != 0 {
				t.Errorf("the session afterwards: %+v", s)
			}
		})
	})
}
