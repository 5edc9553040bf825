package writing_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestFlush(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		desc  string
		flush func(w http.ResponseWriter) error
	}{
		{"Flush", func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil }},
		{"ResponseController.Flush", func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }},
	} {
		kit.EachConnection(t, "W2 "+tc.desc+" before any Write sends the cookie while the handler runs", func(t *testing.T, via kit.Via) {
			a, g := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), kit.NewGate()
			a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
				kit.OK(t, tc.flush(w))
				g.Pass()
			})
			b := a.Browser()
			res, err := b.Send(b.Request("GET", "/"))
			kit.Must(t, err)
			defer res.Body.Close()
			g.Wait()
			if token := kit.TokenOf(res.Header); a.Views(token) != 1 {
				t.Errorf("%d views with token %q, want 1", a.Views(token), token)
			}
			g.Open()
			a.Server().WantQuiet()
		})
		t.Run("W2 "+tc.desc+" through a Recorder", func(t *testing.T) {
			a, w := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{}), httptest.NewRecorder()
			change(a, func(w http.ResponseWriter, _ *http.Request) { kit.OK(t, tc.flush(w)) }).ServeHTTP(w, kit.With("", "/"))
			if h := w.Result().Header; !w.Flushed || a.Views(kit.TokenOf(h)) != 1 {
				t.Errorf("flushed is %t, header %v", w.Flushed, kit.Masked(h))
			}
		})
	}

	kit.EachVia(t, "W2 a writer that cannot flush says so, and the response is still to come", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = http.TimeoutHandler(change(a, func(w http.ResponseWriter, r *http.Request) {
			kit.WantErr(t, "Flush", http.NewResponseController(w).Flush(), http.ErrNotSupported)
			kit.OK(t, a.SignIn(r.Context())) // the header is within reach again
			w.WriteHeader(202)
			io.WriteString(w, "hello")
		}), time.Hour, "")
		if res := a.Browser().Get("/"); res.StatusCode != 202 || res.Text != "hello" || len(res.SetCookies()) != 1 || views(a, res) != 1 {
			t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
		}
		a.WantEvents(t, sessions.EventCreated, sessions.EventSignedIn)
		a.Server().WantQuiet()
	})

	kit.EachVia(t, "W2 an error of the save reaches whoever flushes", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		failWrites(a, sessions.ErrUnavailable)
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			kit.WantErr(t, "Flush", http.NewResponseController(w).Flush(), sessions.ErrUnavailable)
		})
		if res := a.Browser().Get("/"); res.StatusCode != 503 {
			t.Errorf("status %d, want 503", res.StatusCode)
		}
		a.Server().WantQuiet()
	})
}

func TestFirstByte(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 1<<20) // more than every buffer
	for _, tc := range []struct {
		desc  string
		write func(w http.ResponseWriter)
	}{
		{"a byte and a flush", func(w http.ResponseWriter) {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
		}},
		{"a flush alone", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }},
		{"more than every buffer", func(w http.ResponseWriter) { w.Write(large) }},
		{"io.Copy of more than every buffer", func(w http.ResponseWriter) { io.Copy(w, struct{ io.Reader }{bytes.NewReader(large)}) }},
	} {
		kit.EachConnection(t, "W10 whoever has seen the header finds the change, by "+tc.desc, func(t *testing.T, via kit.Via) {
			a, g := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), kit.NewGate()
			a.Handle("/change", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
				s.Views++
				tc.write(w)
				g.Pass()
			})
			a.Handle("/read", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) { fmt.Fprint(w, s.Views) })
			b := a.Browser().As(a.Seed(1))
			res, err := b.Send(b.Request("GET", "/change"))
			kit.Must(t, err)
			defer res.Body.Close()
			if got := b.Get("/read").Text; got != "2" { // the handler of /change has not returned
				t.Errorf("the next request reads %q, want 2", got)
			}
			go io.Copy(io.Discard, res.Body) // lets the large ones end
			g.Wait()
			g.Open()
			a.Server().WantQuiet()
		})
	}
}
