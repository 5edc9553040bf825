package watch_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// As docs/live-connections.md has it: Shutdown of a server waits for its streams, and ends none.
func TestShutdown(t *testing.T) {
	t.Parallel()
	t.Run("O15 a stream whose watch is stopped when the server shuts down ends then, and not as one of a session that has ended", func(t *testing.T) {
		s := struct{ m *sessions.Manager[account] }{kit.New[account](t, kit.Memory(), sessions.Config{})}
		site := httptest.NewUnstartedServer(nil)
		server := site.Config
		closing, closeStreams := context.WithCancel(context.Background())
		server.RegisterOnShutdown(closeStreams)
		cause := make(chan error, 1)
		server.Handler = s.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, stop := s.m.Watch(r.Context())
			defer stop()
			defer context.AfterFunc(closing, stop)()
			_, err := w.Write([]byte("on\n"))
			kit.OK(t, err)
			kit.OK(t, http.NewResponseController(w).Flush())
			<-ctx.Done()
			cause <- context.Cause(ctx)
		}))
		site.Start()
		defer site.Close()

		ask, err := http.NewRequestWithContext(t.Context(), "GET", site.URL, nil)
		kit.Must(t, err)
		ask.Header = kit.With(kit.Edit(t, s.m, "", user("ann")), "/").Header
		res, err := site.Client().Do(ask)
		kit.Must(t, err)
		defer res.Body.Close()
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "on\n" {
			t.Fatalf("the stream begins with %q, %v", line, err)
		}
		grace, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		kit.Must(t, server.Shutdown(grace))
		if err := <-cause; !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrGone) {
			t.Errorf("the cause is %v", err)
		}
	})
}
