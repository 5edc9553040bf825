package writing_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Not every deadline is TimeoutHandler's. A handler that has set one itself is
// its own goroutine: what it leaves in T when it answers or returns is final,
// and the client that reads 200 may rely on it.
func TestOwnDeadline(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		f    func(a *kit.App, w http.ResponseWriter, r *http.Request)
	}{
		{"W12 W10 a handler whose own deadline has passed has its change saved", func(a *kit.App, w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond) // of a query, say
			defer cancel()
			s := a.FromContext(ctx)
			<-ctx.Done()
			s.Views, s.Flash = 2, "the database is slow today"
			io.WriteString(w, "ok")
		}},
		{"W12 W10 middleware that only sets a deadline, as chi's Timeout, loses no change", func(a *kit.App, w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond)
			defer cancel()
			func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				a.FromContext(r.Context()).Views = 2
				io.WriteString(w, "ok")
			}(w, r.WithContext(ctx))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tc.f(a, w, r) }))
			if res := a.Browser().As(token).Get("/"); res.StatusCode != 200 || a.Views(token) != 2 {
				t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, a.Views(token))
			}
		})
	}

	t.Run("W12 F3 a handler with a context of its own loses nothing when the client hangs up", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		token, started := a.Seed(1), make(chan struct{})
		var returned <-chan struct{}
		a.Root, returned = returning(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			s := a.FromContext(ctx)
			close(started)
			<-ctx.Done()
			s.Views = 2
		})))
		hangUp(t, a.Browser().As(token), started)
		<-returned
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})

	t.Run("W12 F3 a worker that looked under a context of its own costs no change when the client hangs up", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		ctx, cancel := context.WithCancel(t.Context())
		kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			group, done := context.WithCancel(r.Context()) // as errgroup.WithContext
			var workers sync.WaitGroup
			workers.Go(func() { _ = a.FromContext(group).UserID })
			workers.Wait()
			done()
			a.FromContext(r.Context()).Views = 2
			cancel()
		})), kit.With(token, "/").WithContext(ctx))
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}
