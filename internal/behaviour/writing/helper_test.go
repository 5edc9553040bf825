package writing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// looks are what a goroutine beside the handler may do with the session.
var looks = map[string]func(a *kit.App, ctx context.Context) error{
	"FromContext": func(_ *kit.App, ctx context.Context) error {
		_ = sessions.FromContext[kit.Session](ctx).UserID
		return nil
	},
	"Lookup":               func(_ *kit.App, ctx context.Context) error { sessions.Lookup[kit.Session](ctx); return nil },
	"the Manager's":        func(a *kit.App, ctx context.Context) error { _ = a.FromContext(ctx).UserID; return nil },
	"the Manager's Lookup": func(a *kit.App, ctx context.Context) error { a.Lookup(ctx); return nil },
	"Update": func(a *kit.App, ctx context.Context) error {
		return a.Update(ctx, func(*kit.Session) error { return nil })
	},
	"FromContext and Touch": func(a *kit.App, ctx context.Context) error { _ = a.FromContext(ctx).UserID; return a.Touch(ctx) },
	"FromContext three times": func(a *kit.App, ctx context.Context) error {
		a.FromContext(ctx)
		a.FromContext(ctx)
		a.FromContext(ctx)
		return nil
	},
}

// passed is a context whose deadline has passed, and later one whose deadline is far away.
func passed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Now().Add(-time.Second))
}

func later(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Minute)
}

// A helper is a goroutine that the handler starts with a context of its own. Once it has returned it costs nothing.
func TestHelperThatHasReturned(t *testing.T) {
	t.Parallel()
	for name, look := range looks {
		for _, stored := range []bool{true, false} {
			what := fmt.Sprintf("W12 W10 a helper that called %s, whose deadline has passed, and that has returned, costs no change: stored is %t", name, stored)
			kit.EachStack(t, what, func(t *testing.T, s kit.Stack) {
				a, token := s.App(t, sessions.Config{}), ""
				if stored {
					token = a.Seed(1)
				}
				a.Mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
					var helpers sync.WaitGroup
					for range 3 {
						ctx, cancel := passed(r.Context())
						defer cancel()
						helpers.Go(func() { _ = look(a, ctx) }) // an Update is out of time
					}
					helpers.Wait()
					a.FromContext(r.Context()).Views = 2 // the login
					io.WriteString(w, "ok")
				})
				res := a.Browser().As(token).Get("/")
				if !stored {
					token = kit.TokenOf(res.Header)
				}
				if got := a.Views(token); res.StatusCode != 200 || got != 2 {
					t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, got)
				}
				if kinds := a.Events.Kinds(); slices.Contains(kinds, sessions.EventLateChange) {
					t.Errorf("events %v", kinds)
				}
				if lines := a.Log.Take(); len(lines) > 0 {
					t.Errorf("log %q", lines)
				}
			})
		}

		kit.EachConnection(t, "W12 F3 a helper that called "+name+", whose deadline is a minute away, costs no change when the client hangs up", func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			token, started := a.Seed(1), make(chan struct{})
			var returned <-chan struct{}
			a.Root, returned = returning(a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var helpers sync.WaitGroup
				ctx, cancel := later(r.Context())
				defer cancel()
				helpers.Go(func() { kit.OK(t, look(a, ctx)) })
				helpers.Wait()
				close(started)
				<-r.Context().Done()
				a.FromContext(r.Context()).Views = 2
				io.WriteString(w, "ok")
			})))
			hangUp(t, a.Browser().As(token), started)
			<-returned
			if got := a.Views(token); got != 2 {
				t.Errorf("%d views, want 2", got)
			}
			if kinds := a.Events.Kinds(); slices.Contains(kinds, sessions.EventLateChange) {
				t.Errorf("events %v", kinds)
			}
		})
	}

	kit.EachBubble(t, "W12 W10 a handler of http.TimeoutHandler that was done just in time costs no change though its deadline passes during the answer", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
		token := a.Seed(1)
		inside := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.FromContext(r.Context()).Views = 2
			io.WriteString(w, "in time")
		}), time.Second, "too slow")
		a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inside.ServeHTTP(slowly{w}, r) }))
		if res := a.Browser().As(token).Get("/"); res.StatusCode != 200 || res.Text != "in time" || a.Views(token) != 2 {
			t.Errorf("%d %q, %d views", res.StatusCode, res.Text, a.Views(token))
		}
		a.WantEvents(t, sessions.EventSaved)
	})
}

// Not parallel, because it measures memory.
func TestManyHelpers(t *testing.T) {
	t.Run("W12 a request that lasts does not keep what it notes of the goroutines that have returned", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		held := func() int {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			before := held()
			for range 20000 { // messages of a WebSocket
				ctx, cancel := later(r.Context())
				var message sync.WaitGroup
				message.Go(func() { _ = a.FromContext(ctx).UserID })
				message.Wait()
				cancel()
			}
			if more := held() - before; more > 300<<10 {
				t.Errorf("%d bytes are held", more)
			}
		})), kit.With(a.Seed(1), "/"))
	})
}

// slowly takes a minute to begin the response.
type slowly struct{ http.ResponseWriter }

func (s slowly) WriteHeader(code int) {
	time.Sleep(time.Minute)
	s.ResponseWriter.WriteHeader(code)
}

// Whoever still runs may be writing to T: the race detector and the map itself watch.
func TestHelperThatStillRuns(t *testing.T) {
	t.Parallel()
	const returns, waits, writes = "returns", "waits", "writes" // to the end of the test
	type helper struct {
		derive func(context.Context) (context.Context, context.CancelFunc)
		then   string
	}
	for desc, helpers := range map[string][]helper{
		"alone":                            {{passed, writes}},
		"waiting for something":            {{passed, waits}},
		"after one that has returned":      {{passed, returns}, {passed, writes}},
		"before one that has returned":     {{passed, writes}, {passed, returns}},
		"before one with a later deadline": {{passed, writes}, {later, returns}},
		"after one with a later deadline":  {{later, waits}, {passed, writes}},
	} {
		kit.EachStack(t, "W12 a helper whose deadline has passed and that still runs, "+desc+": T is left alone, and an event and the log tell", func(t *testing.T, s kit.Stack) {
			a := s.App(t, sessions.Config{})
			token, end := a.Seed(1), make(chan struct{})
			var running sync.WaitGroup
			a.Mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views = 2
				for _, h := range helpers {
					ctx, cancel := h.derive(r.Context())
					defer cancel()
					looked := make(chan struct{})
					running.Go(func() {
						s := a.FromContext(ctx)
						if h.then == writes {
							s.Prefs = map[string]int{}
						}
						close(looked)
						switch h.then {
						case returns:
							return
						case waits:
							<-end
							return
						}
						for n := 0; ; n++ {
							s.Prefs[fmt.Sprint("key", n%100)] = n
							select {
							case <-end:
								return
							default:
							}
						}
					})
					<-looked
				}
				defer running.Wait()
				io.WriteString(w, "ok")
				http.NewResponseController(w).Flush()
				close(end)
			})
			if res := a.Browser().As(token).Get("/"); res.StatusCode != 200 || res.Text != "ok" {
				t.Errorf("%d %q", res.StatusCode, res.Text)
			}
			a.Server().Close()
			a.WantCalls(t, "it", "Load")
			wantLateChange(t, a, context.DeadlineExceeded)
			if got := a.Views(token); got != 1 {
				t.Errorf("%d views, want 1", got)
			}
		})
	}

	kit.EachConnection(t, "W12 a helper that still runs when the client has hung up: the event names no deadline", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token, started, end := a.Seed(1), make(chan struct{}), make(chan struct{})
		var running sync.WaitGroup
		var returned <-chan struct{}
		a.Root, returned = returning(a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := later(r.Context())
			defer cancel()
			running.Go(func() {
				a.FromContext(ctx).Views = 2
				close(started)
				<-end
			})
			<-r.Context().Done()
			io.WriteString(w, "ok")
		})))
		hangUp(t, a.Browser().As(token), started)
		<-returned
		close(end)
		running.Wait()
		a.WantCalls(t, "it", "Load")
		wantLateChange(t, a, context.Canceled)
	})

	// abandoning is a timeout middleware of somebody else's.
	abandoning := func(next http.Handler, began <-chan struct{}) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := passed(r.Context())
			defer cancel()
			go next.ServeHTTP(&discarding{header: http.Header{}}, r.WithContext(ctx))
			<-began
			<-ctx.Done()
			http.Error(w, "too slow", http.StatusServiceUnavailable)
		})
	}
	kit.EachVia(t, "W12 any timeout middleware: T is left alone after its deadline, also behind a helper that looked by the handler's own context", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token, began, over := a.Seed(1), make(chan struct{}), make(chan struct{})
		var returned <-chan struct{}
		a.Root, returned = returning(a.Manager.Handler(abandoning(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(over)
			var helpers sync.WaitGroup
			helpers.Go(func() { _ = a.FromContext(r.Context()).UserID })
			helpers.Wait()
			s := a.FromContext(r.Context())
			changeUntil(s, began, returned)
		}), began)))
		res := a.Browser().As(token).Get("/")
		<-over
		if res.StatusCode != 503 || res.Text != "too slow\n" {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
		a.WantCalls(t, "it", "Load")
		wantLateChange(t, a, context.DeadlineExceeded)
	})
}

// wantLateChange checks that a late change is told once, and that its cause is the end of a context by want.
func wantLateChange(t *testing.T, a *kit.App, want error) {
	t.Helper()
	events := a.Events.Take()
	if len(events) != 1 {
		t.Errorf("%d events, want one", len(events))
	}
	for _, e := range events {
		other := context.DeadlineExceeded
		if want == other {
			other = context.Canceled
		}
		if e.Kind != sessions.EventLateChange || !errors.Is(e.Err, want) || errors.Is(e.Err, other) {
			t.Errorf("event %v with %v, want a late change with %v", e.Kind, e.Err, want)
		}
	}
	lines := a.Log.Take()
	if len(lines) == 0 || !strings.Contains(lines[0], "too late") || !strings.Contains(lines[0], want.Error()) {
		t.Errorf("log %q, want %v", lines, want)
	}
}

// discarding is the writer of a handler that was given up.
type discarding struct{ header http.Header }

func (d *discarding) Header() http.Header         { return d.header }
func (d *discarding) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarding) WriteHeader(int)             {}
