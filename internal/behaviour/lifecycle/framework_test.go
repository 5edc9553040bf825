package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// deaf is a context without values, as a framework's own context is.
type deaf struct{}

func (deaf) Deadline() (at time.Time, ok bool) { return at, ok }
func (deaf) Done() <-chan struct{}             { return nil }
func (deaf) Err() error                        { return nil }
func (deaf) Value(any) any                     { return nil }

// ginContext is one as gin's.
type ginContext struct {
	deaf
	Request *http.Request
}

func (c *ginContext) use(r *http.Request) { c.Request = r }

// fallbackContext is one as gin's with Engine.ContextWithFallback.
type fallbackContext struct{ ginContext }

func (c *fallbackContext) Done() <-chan struct{} { return c.Request.Context().Done() }
func (c *fallbackContext) Err() error            { return c.Request.Context().Err() }
func (c *fallbackContext) Value(key any) any     { return c.Request.Context().Value(key) }

// ginOnly has what gin's context has, but is none by itself.
type ginOnly struct{ Request *http.Request }

// loop is a context with a field Context that leads back to it.
type loop struct {
	deaf
	Context context.Context
}

func ownParent() context.Context {
	l := &loop{}
	l.Context = l
	return l
}

// fiberContext is one as fiber's.
type fiberContext struct {
	deaf
	user context.Context
}

func (c *fiberContext) Context() context.Context { return c.user }

// frameworkContexts are framework's contexts of a request, and contexts that were made of them.
func frameworkContexts(r *http.Request) map[string]context.Context {
	type key struct{}
	within, cancel := context.WithTimeout(&ginContext{Request: r}, time.Hour)
	context.AfterFunc(r.Context(), cancel)
	return map[string]context.Context{
		"a field Request":   &ginContext{Request: r},
		"a method Context":  &fiberContext{user: r.Context()},
		"a wrapped one":     struct{ *ginContext }{&ginContext{Request: r}},
		"a value in one":    context.WithValue(&fiberContext{user: r.Context()}, key{}, 1),
		"a deadline in one": within,
	}
}

func TestFrameworkContext(t *testing.T) {
	t.Parallel()
	t.Run("L32 a framework's own context, and one made of it, stand for the request's", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		for name := range frameworkContexts(&http.Request{}) {
			b := a.Browser().Login()
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				ctx := frameworkContexts(r)[name]
				looked, ok := sessions.Lookup[kit.Session](ctx)
				own, isOwn := a.Lookup(ctx)
				if sessions.FromContext[kit.Session](ctx) != s || a.FromContext(ctx) != s || looked != s || !ok || own != s || !isOwn {
					t.Errorf("%s: another pointer", name)
				}
				s.Views = 7
				kit.OK(t, a.SignIn(ctx))
				if i := a.Info(ctx); i.New {
					t.Errorf("%s: %+v", name, i)
				}
			})
			if s, _ := b.Peek(); s.Views != 7 || len(res.SetCookies()) != 1 {
				t.Errorf("%s: %d views, %d cookies", name, s.Views, len(res.SetCookies()))
			}
			b.Verb("Destroy")
		}
	})

	t.Run("L32 O15 a watch of a framework's own context ends with the request", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		r := kit.With(a.Seed(1), "/").WithContext(ctx)
		gone := errors.New("the client has gone")
		kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			watched, stop := a.Watch(&ginContext{Request: r})
			defer stop()
			cancel(gone)
			<-watched.Done()
			if got := context.Cause(watched); got != gone {
				t.Errorf("it ends by %v", got)
			}
		})), r)
	})

	t.Run("L32 O15 a watch of a context that was made of a framework's is a child of it, and ends with the request, too", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		type key struct{}
		for _, endsRequest := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			r := kit.With(a.Seed(1), "/").WithContext(ctx)
			kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				made, end := context.WithCancelCause(context.WithValue(&ginContext{Request: r}, key{}, 1))
				defer end(nil)
				watched, stop := a.Watch(made)
				defer stop()
				if watched.Value(key{}) != 1 || watched.Err() != nil {
					t.Errorf("value %v, %v", watched.Value(key{}), watched.Err())
				}
				why := errors.New("over")
				if endsRequest {
					cancel(why)
					<-watched.Done()
				} else {
					end(why)
				}
				if got := context.Cause(watched); got != why {
					t.Errorf("it ends by %v", got)
				}
			})), r)
		}
	})

	t.Run("L32 O15 a watch keeps its session when the framework uses its context for another visitor's request", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		for name, c := range map[string]interface {
			context.Context
			use(r *http.Request)
		}{"one without values": &ginContext{}, "one that passes Value on": &fallbackContext{}} {
			ann, bob := a.Seed(1), a.Seed(2)
			var watched []context.Context
			kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				c.use(r)
				made, cancel := context.WithCancel(c)
				t.Cleanup(cancel)
				for _, ctx := range []context.Context{c, made} {
					ctx, stop := a.Watch(ctx)
					t.Cleanup(stop)
					watched = append(watched, ctx)
				}
			})), kit.With(ann, "/"))
			kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				c.use(r)
				for i, ctx := range watched {
					kit.OK(t, a.Update(ctx, func(s *kit.Session) error { s.Views += 10; return nil }))
					if got := a.FromContext(ctx).Views; got != 11+10*i {
						t.Errorf("%s: %d views", name, got)
					}
				}
			})), kit.With(bob, "/"))
			if a.Views(ann) != 21 || a.Views(bob) != 2 {
				t.Errorf("%s: %d and %d views, want 21 and 2", name, a.Views(ann), a.Views(bob))
			}
		}
	})

	t.Run("L32 W12 the deadline of the request's context counts, too, where a framework's context has none", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		token, looked, end, ended := a.Seed(1), make(chan struct{}), make(chan struct{}), make(chan struct{})
		kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			go func() {
				defer close(ended)
				a.FromContext(&fiberContext{user: expired(r.Context())}).Views = 99
				close(looked)
				<-end
			}()
			<-looked
		})), kit.With(token, "/"))
		close(end)
		<-ended
		if got := a.Views(token); got != 1 {
			t.Errorf("%d views, want 1: the goroutine runs, so T is not saved by itself", got)
		}
		a.WantEvents(t, sessions.EventLateChange)
	})

	t.Run("L32 one without a request, or of a request without a session, has none", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		other, _ := kit.Load(t, kit.New[struct{ X int }](t, kit.Memory(), sessions.Config{}))
		for name, ctx := range map[string]context.Context{
			"no request":  &ginContext{},
			"no context":  &fiberContext{},
			"no session":  &ginContext{Request: kit.With("", "/")},
			"another T's": &fiberContext{user: other},
			"a nil one": struct {
				deaf
				*ginOnly
			}{},
			"its own": ownParent(),
		} {
			msg := sentence(func() { sessions.FromContext[kit.Session](ctx) })
			if !strings.Contains(msg, "kit.Session") || strings.Contains(msg, "only of struct") != (name == "another T's") {
				t.Errorf("%s: panic %q", name, msg)
			}
			if _, ok := m.Lookup(ctx); ok {
				t.Errorf("%s: Lookup finds a session", name)
			}
			kit.WantErr(t, name, m.Save(ctx), sessions.ErrNoSession)
		}
	})
}
