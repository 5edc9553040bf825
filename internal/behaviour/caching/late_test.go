package caching_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestLateLook(t *testing.T) {
	t.Parallel()
	begin := func(w http.ResponseWriter) {
		io.WriteString(w, "page")
		http.NewResponseController(w).Flush()
	}
	look := func(a *kit.App, r *http.Request) { _ = a.FromContext(r.Context()).UserID }
	for _, stored := range []bool{true, false} {
		kit.EachVia(t, fmt.Sprintf("T9 a first look after the first byte is one event a request and one log line a route, stored is %t", stored), func(t *testing.T, via kit.Via) {
			a, token := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), ""
			want := []string(nil)
			if stored {
				token, want = a.Seed(1), []string{"private"}
			}
			for _, pattern := range []string{"GET /users/{id}", "/carts/{id}"} {
				a.Mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
					begin(w)
					look(a, r)
					look(a, r)
					begin(w)
				})
			}
			b := a.Browser().As(token)
			for _, path := range []string{"/users/1", "/users/2", "/carts/1", "/carts/2"} {
				res := b.Get(path)
				if got := res.Header["Cache-Control"]; fmt.Sprint(got) != fmt.Sprint(want) || res.Header["Vary"] != nil {
					t.Errorf("%s: Cache-Control %q, Vary %q", path, got, res.Header["Vary"])
				}
			}
			a.Server().WantQuiet()
			late := sessions.EventLateUse
			a.WantEvents(t, late, late, late, late)
			lines := a.Log.Take()
			if len(lines) != 2 || !strings.Contains(lines[0], `route="GET /users/{id}"`) || !strings.Contains(lines[1], `route="GET /carts/{id}"`) {
				t.Errorf("log %q, want a line for each route", lines)
			}
		})
	}

	for _, tc := range []struct {
		desc string
		f    func(a *kit.App, w http.ResponseWriter, r *http.Request)
	}{
		{"a look before it", func(a *kit.App, w http.ResponseWriter, r *http.Request) { look(a, r); begin(w); look(a, r) }},
		{"a verb before it", func(a *kit.App, w http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.Touch(r.Context()))
			begin(w)
			look(a, r)
		}},
		{"no look", func(_ *kit.App, w http.ResponseWriter, _ *http.Request) { begin(w) }},
		{"a look without a response", func(a *kit.App, _ http.ResponseWriter, r *http.Request) { look(a, r) }},
		{"a look after a 103", func(a *kit.App, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			look(a, r)
			begin(w)
		}},
	} {
		kit.EachVia(t, "T9 no event: "+tc.desc, func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tc.f(a, w, r) }))
			a.Browser().As(token).Get("/")
			a.Server().WantQuiet()
			a.WantEvents(t)
		})
	}

	t.Run("T9 no event: a look after a Hijack, where there is nothing to keep", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		token, over := a.Seed(1), make(chan struct{})
		inner := a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			look(a, r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}))
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(over)
			inner.ServeHTTP(w, r)
		})
		a.Browser().As(token).Get("/")
		<-over
		a.WantEvents(t)
	})
}
