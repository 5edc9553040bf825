package lifecycle_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestContext(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "L14 two managers of different T nest, and each sees its own", func(t *testing.T, st kit.Stack) {
		type prefs struct{ Theme string }
		a := st.App(t, sessions.Config{})
		outer := kit.New[prefs](t, a.Store, sessions.Config{Codec: st.Codec, Transport: sessions.Cookie{Name: "__Host-Http-prefs"}, Realm: "prefs"})
		a.Root = outer.Handler(a.Root)
		b := a.Browser()

		res := b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.UserID = "u1"
			sessions.FromContext[prefs](r.Context()).Theme = "dark"
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text("Set-Cookie", kit.CookieSent, "Set-Cookie", strings.Replace(kit.CookieSent, "session", "prefs", 1),
			"Cache-Control", "private, no-store", "Vary", "Cookie"))
		res = b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			if p := sessions.FromContext[prefs](r.Context()); s.UserID != "u1" || p.Theme != "dark" {
				t.Errorf("read %+v and %+v", s, p)
			}
			if one, other := a.Info(r.Context()), outer.Info(r.Context()); one.ID == other.ID || one.New || other.New {
				t.Errorf("infos %+v and %+v", one, other)
			}
			kit.OK(t, a.Destroy(r.Context()))
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieExpired)...))
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			if p := sessions.FromContext[prefs](r.Context()); s.UserID != "" || p.Theme != "dark" {
				t.Errorf("after the inner one's end: %+v and %+v", s, p)
			}
		})
	})

	kit.EachStack(t, "L14 of two managers of one T the inner one answers FromContext, and each its own", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		outer := kit.New[kit.Session](t, a.Store, sessions.Config{Codec: st.Codec, Transport: sessions.Cookie{Name: "__Host-outer"}})
		a.Root = outer.Handler(a.Root)
		b := a.Browser()
		b.Raw(func(_ http.ResponseWriter, r *http.Request) {
			if sessions.FromContext[kit.Session](r.Context()) != a.FromContext(r.Context()) {
				t.Error("FromContext is not the inner one's")
			}
			if looked, ok := sessions.Lookup[kit.Session](r.Context()); !ok || looked != a.FromContext(r.Context()) {
				t.Error("Lookup is not the inner one's")
			}
			for _, m := range []*sessions.Manager[kit.Session]{a.Manager, outer} {
				if looked, ok := m.Lookup(r.Context()); !ok || looked != m.FromContext(r.Context()) {
					t.Error("Manager.Lookup is not the manager's own")
				}
			}
			a.FromContext(r.Context()).UserID = "inner"
			outer.FromContext(r.Context()).UserID = "outer"
		})
		if got := len(b.Cookies()); got != 2 {
			t.Errorf("%d cookies, want 2", got)
		}
		b.Raw(func(_ http.ResponseWriter, r *http.Request) {
			if got := a.FromContext(r.Context()).UserID; got != "inner" {
				t.Errorf("the inner one reads %q", got)
			}
			if got := outer.FromContext(r.Context()).UserID; got != "outer" {
				t.Errorf("the outer one reads %q", got)
			}
		})
	})

	kit.EachStack(t, "L14 wrapping the same manager twice loads once, commits once and sends one cookie", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		middle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen := sessions.FromContext[kit.Session](r.Context())
			a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if sessions.FromContext[kit.Session](r.Context()) != seen {
					t.Error("the inner wrap has a T of its own")
				}
				a.Mux.ServeHTTP(w, r)
			})).ServeHTTP(w, r)
		})
		a.Root = a.Handler(middle)
		b := a.Browser()
		visit := func() kit.Response {
			return b.Visit(func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
				s.Views++
				fmt.Fprint(w, "1")
			})
		}
		kit.WantHeader(t, visit().Header, kit.Text(kit.Sends(kit.CookieSent)...))
		a.WantCalls(t, "the first request", "Create")
		kit.WantHeader(t, visit().Header, kit.Text(kit.Used...))
		a.WantCalls(t, "the second request", "Load CompareAndSwap")
		a.WantEvents(t, sessions.EventCreated, sessions.EventSaved)
	})

	kit.EachStack(t, "L15 FromContext gives the same pointer each time in a request", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		for range 2 {
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				type key struct{}
				ctx := context.WithValue(r.Context(), key{}, 1)
				looked, ok := sessions.Lookup[kit.Session](ctx)
				if sessions.FromContext[kit.Session](ctx) != s || a.FromContext(ctx) != s || looked != s || !ok {
					t.Error("another pointer")
				}
				s.Views++
				for _, verb := range []string{"Save", "Reload", "Touch", "Renew", "Destroy"} {
					kit.OK(t, kit.Call(a.Manager, ctx, verb))
					if sessions.FromContext[kit.Session](ctx) != s {
						t.Errorf("another pointer after %s", verb)
					}
				}
				s.Views = 3
			})
		}
	})

	t.Run("L15 outside Handler FromContext panics with T and the remedy, and Lookup says false", func(t *testing.T) {
		t.Parallel()
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		other, _ := kit.Load(t, kit.New[struct{ X int }](t, kit.Memory(), sessions.Config{}))
		for name, ctx := range map[string]context.Context{"no manager": t.Context(), "another manager": other} {
			for _, f := range []func(){
				func() { sessions.FromContext[kit.Session](ctx) },
				func() { m.FromContext(ctx) },
			} {
				func() {
					defer func() {
						msg, _ := recover().(string)
						for _, part := range []string{"kit.Session", "Handler", "Load"} {
							if !strings.Contains(msg, part) {
								t.Errorf("%s: panic %q does not name %s", name, msg, part)
							}
						}
					}()
					f()
				}()
			}
			if s, ok := sessions.Lookup[kit.Session](ctx); s != nil || ok {
				t.Errorf("%s: Lookup gives %v, %v", name, s, ok)
			}
			if s, ok := m.Lookup(ctx); s != nil || ok {
				t.Errorf("%s: Manager.Lookup gives %v, %v", name, s, ok)
			}
			for _, verb := range []string{"Save", "Reload", "Touch", "Renew", "Destroy", "SignIn", "Commit"} {
				kit.WantErr(t, name+": "+verb, kit.Call(m, ctx, verb), sessions.ErrNoSession)
			}
			if i := m.Info(ctx); i != (sessions.Info{}) {
				t.Errorf("%s: Info gives %+v", name, i)
			}
		}
	})

	t.Run("L15 the panic names the sessions that are in the context, and a context that is not the request's", func(t *testing.T) {
		t.Parallel()
		type prefs struct{ Theme string }
		type cart struct{ Items int }
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		one, _ := kit.Load(t, kit.New[prefs](t, kit.Memory(), sessions.Config{}))
		two, err := kit.New[cart](t, kit.Memory(), sessions.Config{}).Load(one)
		kit.Must(t, err)
		same, _ := kit.Load(t, kit.New[kit.Session](t, kit.Memory(), sessions.Config{}))
		ended, cancel := context.WithCancel(context.WithValue(ownContext{two}, ownKey{}, "value"))
		cancel()
		deaf := func() context.Context { return &deafContext{one} }
		for _, row := range []struct {
			desc        string
			ctx         context.Context
			names, lack []string
		}{
			{"no session", t.Context(), nil, []string{"prefs", "cart", "only", "request's context"}},
			{"one session", one, []string{"only of lifecycle_test.prefs"}, []string{"cart", "request's context"}},
			{"two sessions, the innermost first", two, []string{"only of lifecycle_test.cart, lifecycle_test.prefs"}, []string{"request's context"}},
			{"two sessions further out", ended, []string{"only of lifecycle_test.cart, lifecycle_test.prefs"}, []string{"request's context"}},
			{"a framework's context", deaf(), []string{"*lifecycle_test.deafContext", "request's context", "c.Request.Context()"}, []string{"only", "secret"}},
			{"one made of it", context.WithValue(deaf(), ownKey{}, "secret"), []string{"*lifecycle_test.deafContext", "request's context"}, []string{"only", "secret"}},
			{"a deadline in one made of it", expired(deaf()), []string{"*lifecycle_test.deafContext", "request's context"}, []string{"only", "secret"}},
		} {
			for _, f := range []func(){
				func() { sessions.FromContext[kit.Session](row.ctx) },
				func() { m.FromContext(row.ctx) },
			} {
				msg := sentence(f)
				for _, part := range append(row.names, "kit.Session", "Handler", "Load") {
					if !strings.Contains(msg, part) {
						t.Errorf("%s: panic %q lacks %q", row.desc, msg, part)
					}
				}
				for _, part := range row.lack {
					if strings.Contains(msg, part) {
						t.Errorf("%s: panic %q has %q", row.desc, msg, part)
					}
				}
			}
		}
		if msg := sentence(func() { m.FromContext(same) }); !strings.Contains(msg, "another Manager: wrap the route with the Handler of this Manager[") {
			t.Errorf("panic %q does not say that the session is another Manager's, and whose Handler is missing", msg)
		}
	})

	kit.EachStack(t, "L16 a skipped request has no load, no commit and no header", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{
			Skip:              func(r *http.Request) bool { return r.Header.Get("X-Skip") != "" },
			SaveUninitialized: true, Rewrite: true,
		})
		b := a.Browser()
		b.Edit(func(s *kit.Session) { s.UserID = "u1" })
		a.Store.Calls()
		a.Events.Take()
		a.Handle("/skipped", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			if !reflect.DeepEqual(*s, kit.Session{}) {
				t.Errorf("FromContext gives %+v", *s)
			}
			if sessions.FromContext[kit.Session](r.Context()) != s || a.FromContext(r.Context()) != s {
				t.Error("FromContext gives another pointer the second time")
			}
			if s, ok := sessions.Lookup[kit.Session](r.Context()); ok || s != nil {
				t.Errorf("Lookup gives %v, %v", s, ok)
			}
			if s, ok := a.Lookup(r.Context()); ok || s != nil {
				t.Errorf("Manager.Lookup gives %v, %v", s, ok)
			}
			if i := a.Info(r.Context()); i != (sessions.Info{}) {
				t.Errorf("Info gives %+v", i)
			}
			s.Views = 100
			for _, verb := range []string{"Save", "Renew", "Destroy"} {
				kit.WantErr(t, verb, kit.Call(a.Manager, r.Context(), verb), sessions.ErrNoSession)
			}
			fmt.Fprint(w, "1")
		})
		r := b.Request("GET", "/skipped")
		r.Header.Set("X-Skip", "1")
		kit.WantHeader(t, b.Do(r).Header, kit.Text())
		a.WantCalls(t, "a skipped request", "")
		a.WantEvents(t)
		if s, i := b.Peek(); i.New || s.UserID != "u1" || s.Views != 0 {
			t.Errorf("the session afterwards: %+v", s)
		}
	})
}

// sentence is what f panics with.
func sentence(f func()) (msg string) {
	defer func() { msg, _ = recover().(string) }()
	f()
	return ""
}

// ownContext is a context of the program's own around another one.
type (
	ownContext struct{ context.Context }
	ownKey     struct{}
)

// deafContext is a framework's context, which by default does not ask the
// request's for values, as gin.Context does not.
type deafContext struct{ request context.Context }

func (c *deafContext) Deadline() (time.Time, bool) { return c.request.Deadline() }
func (c *deafContext) Done() <-chan struct{}       { return c.request.Done() }
func (c *deafContext) Err() error                  { return c.request.Err() }
func (c *deafContext) Value(any) any               { return nil }
func (c *deafContext) String() string              { return "secret" }

// expired is a context with a deadline that has passed.
func expired(parent context.Context) context.Context {
	ctx, cancel := context.WithDeadline(parent, time.Time{})
	cancel()
	return ctx
}
