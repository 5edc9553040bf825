package writing_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestLateChange(t *testing.T) {
	t.Parallel()
	begin := func(w http.ResponseWriter) {
		io.WriteString(w, "first byte")
		http.NewResponseController(w).Flush()
	}
	// late is an App whose handler changes the session after the first byte.
	late := func(t *testing.T, via kit.Via) *kit.App {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin(w)
			a.FromContext(r.Context()).Views = 2
		}))
		return a
	}
	kit.EachVia(t, "W6 a change after the first byte is saved when the handler returns", func(t *testing.T, via kit.Via) {
		a := late(t, via)
		token := a.Seed(1)
		res := a.Browser().As(token).Get("/")
		a.Server().Close()
		if got := a.Views(token); res.Text != "first byte" || got != 2 {
			t.Errorf("%q, %d views", res.Text, got)
		}
		a.WantEvents(t, sessions.EventSaved, sessions.EventLateUse)
		if got := a.Log.Take(); len(got) != 1 || !strings.Contains(got[0], "look at it before") {
			t.Errorf("log %q, want one line of the late look", got)
		}
	})

	kit.EachVia(t, "W6 a new session after the first byte is an event and a log line, and nothing is stored", func(t *testing.T, via kit.Via) {
		a := late(t, via)
		res := a.Browser().Get("/")
		a.Server().WantQuiet()
		if res.StatusCode != 200 || res.Text != "first byte" || len(res.SetCookies()) > 0 {
			t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
		}
		a.WantCalls(t, "it", "")
		if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventLateChange || !errors.Is(events[0].Err, sessions.ErrCommitted) {
			t.Errorf("events %v, want one LateChange of ErrCommitted", events)
		}
		lines := a.Log.Take()
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "level=WARN ") || !strings.Contains(lines[0], "too late") || !strings.Contains(lines[0], "Save") {
			t.Errorf("log %q, want one warning with the remedy", lines)
		}
	})

	for _, tc := range []struct {
		verb   string
		stored bool
	}{{"Save", false}, {"Renew", false}, {"Renew", true}, {"SignIn", false}, {"SignIn", true}} {
		t.Run(fmt.Sprintf("W6 %s after the first byte is ErrCommitted and leaves all as it was, stored is %t", tc.verb, tc.stored), func(t *testing.T) {
			a, token := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{}), ""
			if tc.stored {
				token = a.Seed(1)
			}
			a.Root = handler(a, func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				begin(w)
				a.Store.Calls()
				s.Views++
				kit.WantErr(t, tc.verb, kit.Call(a.Manager, r.Context(), tc.verb), sessions.ErrCommitted)
				s.Views--
				a.WantCalls(t, tc.verb, "")
			})
			a.Browser().As(token).Get("/")
			a.Server().WantQuiet()
			a.WantCalls(t, "the handler's return", "")
			if tc.stored && a.Views(token) != 1 {
				t.Error("the old token is no longer good")
			}
		})
	}

	t.Run("W6 Destroy after the first byte still deletes", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begin(w)
			kit.OK(t, a.Destroy(r.Context()))
		}))
		res := a.Browser().As(token).Get("/")
		a.Server().WantQuiet()
		if got := a.Views(token); len(res.SetCookies()) > 0 || got != 0 {
			t.Errorf("%v, %d views", res.SetCookies(), got)
		}
		a.WantEvents(t, sessions.EventDestroyed, sessions.EventLateUse)
	})

	kit.EachConnection(t, "W6 what an event stream changed is saved though its client hung up", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		returned := make(chan struct{})
		stream := handler(a, func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			w.Header().Set("Content-Type", "text/event-stream")
			for s.Views = 2; ; s.Views++ {
				fmt.Fprintf(w, "data: %d\n\n", s.Views)
				http.NewResponseController(w).Flush()
				if s.Views == 3 {
					<-r.Context().Done()
					s.Views = 4
					return
				}
			}
		})
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			stream.ServeHTTP(w, r)
		})
		ctx, cancel := context.WithCancel(t.Context())
		b := a.Browser().As(token)
		res, err := b.Send(b.Request("GET", "/").WithContext(ctx))
		kit.Must(t, err)
		body := bufio.NewReader(res.Body)
		for range 4 { // two events
			_, err := body.ReadString('\n')
			kit.Must(t, err)
		}
		cancel()
		res.Body.Close()
		<-returned
		if got := a.Views(token); got != 4 {
			t.Errorf("%d views, want 4", got)
		}
	})
}
