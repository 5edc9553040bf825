package sessions_test

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
)

// dial is a connection for HTTP/1.1 by hand.
func (f *front) dial() net.Conn {
	f.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(f.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

func TestHijackOfAManager(t *testing.T) {
	// upgrade serves one hijacked request and returns what came on the connection.
	upgrade := func(t *testing.T, b *bench, token string, before, after func(w http.ResponseWriter, r *http.Request)) string {
		f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		})), false)
		conn := f.dial()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: %s=%s\r\n\r\n", cookieName, token)
		got, err := io.ReadAll(conn)
		if err != nil {
			t.Error(err)
		}
		f.quiet()
		return string(got)
	}
	change := func(n int) func(_ http.ResponseWriter, r *http.Request) {
		return func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[Session](r.Context()).Views = n }
	}
	t.Run("W4 a new session is saved before the hand-over, and its cookie is there for the upgrader to send", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		got := upgrade(t, b, "", change(1), func(w http.ResponseWriter, _ *http.Request) {
			b.wantOps(t, "Create")
			if n := b.views(tokenOf(w.Header())); n != 1 {
				t.Errorf("at the hand-over the header's token gives %d views, want 1", n)
			}
			b.ops.take()
		})
		if strings.Count(got, "Set-Cookie: "+cookieName) != 1 {
			t.Errorf("the connection got %q", tokenShape.ReplaceAllString(got, "TOKEN"))
		}
		b.wantOps(t)
	})
	t.Run("W4 after the hand-over nothing is saved by itself, Save does", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		upgrade(t, b, token, change(2), change(3))
		if got := b.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
		upgrade(t, b, token, func(http.ResponseWriter, *http.Request) {}, func(w http.ResponseWriter, r *http.Request) {
			change(4)(w, r)
			if err := b.Save(r.Context()); err != nil {
				t.Error(err)
			}
			change(5)(w, r)
		})
		if got := b.views(token); got != 4 {
			t.Errorf("%d views, want 4", got)
		}
	})
	t.Run("W4 after the hand-over no verb touches the header", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		upgrade(t, b, token, change(2), func(w http.ResponseWriter, r *http.Request) {
			before := w.Header().Clone()
			for _, err := range []error{b.Renew(r.Context()), b.SignIn(r.Context())} {
				if !errors.Is(err, sessions.ErrCommitted) {
					t.Errorf("got %v, want ErrCommitted", err)
				}
			}
			if err := b.Destroy(r.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			change(3)(w, r)
			if err := b.Save(r.Context()); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("Save of a new session: got %v, want ErrCommitted", err)
			}
			if after := w.Header(); !reflect.DeepEqual(after, before) {
				t.Errorf("header:\nbefore %v\n after %v", masked(before), masked(after))
			}
		})
		if got := b.views(token); got != 0 {
			t.Errorf("%d views after Destroy", got)
		}
	})
	t.Run("W4 a save that fails keeps the connection and answers", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		b.failing(sessions.ErrUnavailable)
		f := openFront(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Hijack returned %v, want ErrUnavailable", err)
			}
		}), false)
		if res := f.get("/", ""); res.StatusCode != 503 || res.body != "Service Unavailable\n" {
			t.Errorf("%d %q", res.StatusCode, res.body)
		}
		f.quiet()
	})
	eachFront(t, false, "W4 where there is nothing to hijack the handler can still answer", func(t *testing.T, k frontKind) {
		if k.name == "HTTP 1.1" || k.name == "ReverseProxy" {
			return // the proxy's backend speaks HTTP/1.1 too
		}
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack returned %v", err)
			}
			b.FromContext(r.Context()).Views++
			http.Error(w, "no upgrade", http.StatusUpgradeRequired)
		}))
		if res := f.get("/", ""); res.StatusCode != 426 || b.views(tokenOf(res.Header)) != 2 {
			t.Errorf("%d, %d views", res.StatusCode, b.views(tokenOf(res.Header)))
		}
	})
	eachFront(t, true, "W4 deadlines and full duplex pass through", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			soon := time.Now().Add(time.Hour)
			if err := errors.Join(rc.SetReadDeadline(soon), rc.SetWriteDeadline(soon)); err != nil {
				t.Error(err)
			}
			if err := rc.EnableFullDuplex(); err != nil && r.ProtoMajor == 1 {
				t.Error(err)
			}
			b.wantOps(t) // no door
		}))
		if res := f.get("/", ""); b.views(tokenOf(res.Header)) != 1 {
			t.Error("not saved")
		}
	})
}
