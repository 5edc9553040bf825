package writing_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// dial is a connection for HTTP/1.1 by hand.
func dial(t *testing.T, s *kit.Server) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	kit.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHijack(t *testing.T) {
	t.Parallel()
	// upgrade serves one hijacked request and returns what came on the connection.
	upgrade := func(t *testing.T, a *kit.App, token string, before, after http.HandlerFunc) string {
		srv := kit.NewServer(t, kit.HTTP1, a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			before(w, r)
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			after(w, r)
			fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\n")
			w.Header().Write(buf)
			fmt.Fprintf(buf, "\r\n")
			buf.Flush()
		})))
		conn := dial(t, srv)
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: %s=%s\r\n\r\n", kit.CookieName, token)
		got, err := io.ReadAll(conn)
		kit.OK(t, err)
		srv.WantQuiet()
		return string(got)
	}
	set := func(n int) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[kit.Session](r.Context()).Views = n }
	}

	t.Run("W4 a new session is saved before the hand-over, and its cookie is there for the upgrader to send", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		got := upgrade(t, a, "", set(1), func(w http.ResponseWriter, _ *http.Request) {
			a.WantCalls(t, "the hand-over", "Create")
			if n := a.Views(kit.TokenOf(w.Header())); n != 1 {
				t.Errorf("at the hand-over the header's token gives %d views, want 1", n)
			}
			a.Store.Calls()
		})
		if strings.Count(got, "Set-Cookie: "+kit.CookieName) != 1 {
			t.Errorf("the connection got %q", kit.TokenShape.ReplaceAllString(got, "TOKEN"))
		}
		a.WantCalls(t, "what came after it", "")
	})

	t.Run("W4 after the hand-over nothing is saved by itself, Save does", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		upgrade(t, a, token, set(2), set(3))
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
		upgrade(t, a, token, func(http.ResponseWriter, *http.Request) {}, func(w http.ResponseWriter, r *http.Request) {
			set(4)(w, r)
			kit.OK(t, a.Save(r.Context()))
			set(5)(w, r)
		})
		if got := a.Views(token); got != 4 {
			t.Errorf("%d views, want 4", got)
		}
	})

	t.Run("W4 after the hand-over no verb touches the header", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		upgrade(t, a, token, set(2), func(w http.ResponseWriter, r *http.Request) {
			before := w.Header().Clone()
			kit.WantErr(t, "Renew", a.Renew(r.Context()), sessions.ErrCommitted)
			kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrCommitted)
			kit.OK(t, a.Destroy(r.Context()))
			set(3)(w, r)
			kit.WantErr(t, "Save of a new session", a.Save(r.Context()), sessions.ErrCommitted)
			if after := w.Header(); !reflect.DeepEqual(after, before) {
				t.Errorf("header:\nbefore %v\n after %v", kit.Masked(before), kit.Masked(after))
			}
		})
		if got := a.Views(token); got != 0 {
			t.Errorf("%d views after Destroy", got)
		}
	})

	t.Run("W4 a save that fails keeps the connection and answers", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		failWrites(a, sessions.ErrUnavailable)
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			kit.WantErr(t, "Hijack", err, sessions.ErrUnavailable)
		})
		if res := a.Browser().Get("/"); res.StatusCode != 503 || res.Text != "Service Unavailable\n" {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
		a.Server().WantQuiet()
	})

	for _, via := range []kit.Via{kit.HTTP2, kit.InProcess} { // the proxy's backend speaks HTTP/1.1, which can be hijacked
		t.Run("W4 where there is nothing to hijack the handler can still answer, "+via.String(), func(t *testing.T) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			a.Root = change(a, func(w http.ResponseWriter, r *http.Request) {
				_, _, err := http.NewResponseController(w).Hijack()
				kit.WantErr(t, "Hijack", err, http.ErrNotSupported)
				a.FromContext(r.Context()).Views++
				kit.OK(t, a.SignIn(r.Context())) // the header is within reach again
				http.Error(w, "no upgrade", http.StatusUpgradeRequired)
			})
			if res := a.Browser().Get("/"); res.StatusCode != 426 || views(a, res) != 2 {
				t.Errorf("%d, %d views", res.StatusCode, views(a, res))
			}
		})
	}

	kit.EachConnection(t, "W4 deadlines and full duplex pass through", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = change(a, func(w http.ResponseWriter, r *http.Request) {
			rc, later := http.NewResponseController(w), time.Now().Add(time.Hour)
			kit.OK(t, errors.Join(rc.SetReadDeadline(later), rc.SetWriteDeadline(later)))
			if err := rc.EnableFullDuplex(); err != nil && r.ProtoMajor == 1 {
				t.Error(err)
			}
			a.WantCalls(t, "them", "") // they do not begin the response
		})
		if res := a.Browser().Get("/"); views(a, res) != 1 {
			t.Error("not saved")
		}
	})
}
