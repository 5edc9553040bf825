package watch_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A handler that forgot to look whether there is a session serves no stream to whom there is none.
func TestOverFromTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want error
		ctx  func(h *host[account]) context.Context
	}{
		{"a visitor without a session", sessions.ErrGone, func(h *host[account]) context.Context { return h.load("") }},
		{"an unknown token", sessions.ErrGone, func(h *host[account]) context.Context { return h.load(kit.UnknownToken(1)) }},
		{"a T that is not saved yet", sessions.ErrGone, func(h *host[account]) context.Context {
			ctx := h.load("")
			h.mine.FromContext(ctx).User = "ann"
			return ctx
		}},
		{"a session that the request has destroyed", sessions.ErrGone, func(h *host[account]) context.Context {
			ctx := h.load(h.edit("", user("ann")))
			kit.OK(h.t, h.mine.Destroy(ctx))
			return ctx
		}},
		{"a session that the request has found ended", sessions.ErrGone, func(h *host[account]) context.Context {
			token := h.edit("", user("ann"))
			ctx := h.load(token)
			h.verb(token, "Destroy")
			kit.WantErr(h.t, "Reload", h.mine.Reload(ctx), sessions.ErrGone)
			return ctx
		}},
		{"a token that was just renewed", sessions.ErrGone, func(h *host[account]) context.Context {
			token := h.edit("", user("ann"))
			h.verb(token, "Renew")
			return h.load(token)
		}},
		{"a context without Handler", sessions.ErrNoSession, func(*host[account]) context.Context { return context.Background() }},
		{"a context of another Manager", sessions.ErrNoSession, func(h *host[account]) context.Context {
			ctx, err := h.other.Load(context.Background(), h.edit("", user("ann")))
			kit.OK(h.t, err)
			return ctx
		}},
		{"a request that Skip names", sessions.ErrNoSession, func(h *host[account]) (ctx context.Context) {
			kit.Serve(h.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })),
				kit.With(h.edit("", user("ann")), "/skipped"))
			return ctx
		}},
	} {
		kit.Bubble(t, "O15 the watch of "+tt.name+" is over from the start, and asks nothing", func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{Skip: func(r *http.Request) bool { return r.URL.Path == "/skipped" }})
			parent := tt.ctx(h)
			h.store.Calls()
			ctx, stop := h.mine.Watch(parent)
			if err := context.Cause(ctx); !errors.Is(err, tt.want) || ctx.Err() == nil || parent.Err() != nil {
				t.Errorf("the watch: %v, want %v", err, tt.want)
			}
			time.Sleep(5 * interval)
			stop()
			h.store.WantCalls(t, "it", "")
		})
	}

	kit.Bubble(t, "O15 after a Save the session that begins in this request can be watched", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		ctx := h.load("")
		h.mine.FromContext(ctx).User = "ann"
		kit.OK(t, h.mine.Save(ctx))
		ctx, stop := h.mine.Watch(ctx)
		defer stop()
		wantGoingOn(t, ctx, 5*interval)
		if got := h.mine.FromContext(ctx).User; got != "ann" {
			t.Errorf("T of the returned context: %q, want ann", got)
		}
		kit.OK(t, h.mine.Destroy(ctx))
		wantEnd(t, ctx, 0)
	})

	kit.Bubble(t, "O15 in the function of an Update too", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", user("ann"))
		ctx := h.load(token)
		var watched context.Context
		stop := func() {}
		kit.OK(t, h.mine.Update(ctx, func(*account) error {
			watched, stop = h.mine.Watch(ctx)
			return nil
		}))
		defer stop()
		wantGoingOn(t, watched, interval)
		h.verb(token, "Destroy")
		wantEnd(t, watched, interval)
	})

	kit.Bubble(t, "T9 O15 a response whose handler watches the session tells caches that it was used", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		res := kit.Serve(h.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, stop := h.mine.Watch(r.Context())
			stop()
		})), kit.With("", "/"))
		if got := res.Header.Get("Vary"); got != "Cookie" {
			t.Errorf("Vary %q, want Cookie", got)
		}
	})
}

// Whoever is done leaves nothing behind.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(cancel, stop func()){
		"the CancelFunc":                     func(_, stop func()) { stop() },
		"the CancelFunc, called twice":       func(_, stop func()) { stop(); stop() },
		"the end of the context that it had": func(cancel, _ func()) { cancel() },
		"both":                               func(cancel, stop func()) { cancel(); stop() },
	} {
		kit.Bubble(t, "O16 after "+name+" nothing is asked, and the goroutine ends", func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{})
			parent, cancel := context.WithCancel(h.load(h.edit("", user("ann"))))
			ctx, stop := h.mine.Watch(parent)
			h.store.Calls()
			end(cancel, stop)
			synctest.Wait()
			if ctx.Err() == nil || errors.Is(context.Cause(ctx), sessions.ErrGone) {
				t.Errorf("the context: %v", context.Cause(ctx))
			}
			h.store.WantCalls(t, "it", "")
			time.Sleep(5 * interval)
			h.store.WantCalls(t, "it", "")
			cancel() // a goroutine that is left in the bubble fails the test
		})
	}

	kit.Bubble(t, "O16 a watch that ends during a call of the store leaves nothing", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		token := h.edit("", user("ann"))
		ctx, stop := h.watch(token)
		g := h.store.At("after LoadMany")
		g.Wait()
		stop()
		again, stop := h.watch(token)
		defer stop()
		g.Open()
		wantGoingOn(t, again, 5*interval)
		h.verb(token, "Destroy")
		wantEnd(t, again, interval)
		if errors.Is(context.Cause(ctx), sessions.ErrGone) {
			t.Error("the first watch has ended by its session, want its CancelFunc")
		}
	})

	t.Run("O16 watches, cancellations, renewals and ends at once are safe", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{WatchInterval: 50 * time.Millisecond})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				token := h.edit("", func(a *account) { a.User, a.Note = "ann", strings.Repeat("n", 2000) })
				var left []context.Context
				for range 50 {
					ctx, stop := h.mine.Watch(h.load(token))
					_, stop2 := h.mine.Watch(ctx)
					token = kit.Verb(t, h.mine, token, "Renew")
					go stop()
					left = append(left, ctx)
					if len(left)%2 == 0 {
						stop2()
					} else {
						defer stop2()
					}
				}
				ctx, stop := h.mine.Watch(h.load(token))
				defer stop()
				if err := ctx.Err(); err != nil {
					t.Errorf("the watch: %v", err)
				}
				h.verb(token, "Destroy")
				wantEnd(t, ctx, 20*time.Second)
				for _, ctx := range left {
					<-ctx.Done()
				}
			})
		}
		all.Wait()
	})
}

// Not beside other tests, because it looks at the heap of all.
func TestMemory(t *testing.T) {
	t.Run("O16 a hundred thousand watches, one after the other, leave no memory", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		_, stop := h.watch(h.edit("", user("bob"))) // the goroutine runs all the time
		defer stop()
		parent := h.load(h.edit("", user("ann")))
		memory := func() uint64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapObjects
		}
		before := memory()
		for range 100_000 {
			_, stop := h.mine.Watch(parent)
			stop()
		}
		if after := memory(); after > before+50_000 {
			t.Errorf("%d objects on the heap, and %d before", after, before)
		}
	})
}
