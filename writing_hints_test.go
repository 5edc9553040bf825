package sessions_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// withHints sends r and keeps the headers of the 1xx responses.
func (f *front) withHints(r *http.Request) (answer, []http.Header) {
	f.t.Helper()
	var mu sync.Mutex
	var hints []http.Header
	res := f.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			hints = append(hints, http.Header(h).Clone())
			return nil
		},
	})))
	mu.Lock()
	defer mu.Unlock()
	return res, hints
}

func TestEarlyHints(t *testing.T) {
	link := http.Header{"Link": {"</a.css>; rel=preload"}}
	for _, tc := range []struct {
		desc string
		f    func(t *testing.T, b *bench, w http.ResponseWriter, r *http.Request, hint func())
		want []string // the final response's cookies
	}{
		{"a change after it", func(_ *testing.T, b *bench, _ http.ResponseWriter, r *http.Request, hint func()) {
			hint()
			b.FromContext(r.Context()).Views = 1
		}, []string{cookieSent}},
		{"a change before it", func(_ *testing.T, b *bench, _ http.ResponseWriter, r *http.Request, hint func()) {
			b.FromContext(r.Context()).Views = 1
			hint()
		}, []string{cookieSent}},
		{"a verb before it", func(t *testing.T, b *bench, _ http.ResponseWriter, r *http.Request, hint func()) {
			b.FromContext(r.Context()).Views = 1
			if err := b.Save(r.Context()); err != nil {
				t.Error(err)
			}
			hint()
		}, []string{cookieSent}},
		{"a verb before it and one after", func(t *testing.T, b *bench, _ http.ResponseWriter, r *http.Request, hint func()) {
			b.FromContext(r.Context()).Views = 1
			if err := b.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			hint()
			if err := b.Renew(r.Context()); err != nil {
				t.Error(err)
			}
		}, []string{cookieSent}},
		{"two of them around a verb", func(t *testing.T, b *bench, _ http.ResponseWriter, r *http.Request, hint func()) {
			hint()
			b.FromContext(r.Context()).Views = 1
			if err := b.Save(r.Context()); err != nil {
				t.Error(err)
			}
			hint()
		}, []string{cookieSent}},
		{"a verb and a cookie of the handler's", func(t *testing.T, b *bench, w http.ResponseWriter, r *http.Request, hint func()) {
			http.SetCookie(w, &http.Cookie{Name: "own", Value: "x"})
			b.FromContext(r.Context()).Views = 1
			if err := b.Save(r.Context()); err != nil {
				t.Error(err)
			}
			hint()
		}, []string{"own=x", cookieSent}},
	} {
		eachFront(t, true, "W3 103 carries no session cookie, 200 does, with "+tc.desc, func(t *testing.T, k frontKind) {
			b, sent := newBench(t, sessions.Config{}), 0
			f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tc.f(t, b, w, r, func() {
					maps.Copy(w.Header(), link)
					w.WriteHeader(http.StatusEarlyHints)
					sent++
				})
				io.WriteString(w, "hello")
			})))
			res, hints := f.withHints(f.request("GET", "/", ""))
			if len(hints) != sent || sent == 0 {
				t.Fatalf("%d hints arrived of %d", len(hints), sent)
			}
			for _, h := range hints {
				for _, l := range h["Set-Cookie"] {
					if strings.Contains(l, "session") {
						t.Errorf("the hint has %q", l)
					}
				}
				if h.Get("Link") == "" {
					t.Errorf("the hint has lost its Link: %v", h)
				}
			}
			if got := masked(res.Header)["Set-Cookie"]; res.StatusCode != 200 || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%d with cookies %q, want %q", res.StatusCode, got, tc.want)
			}
			if got := b.views(tokenOf(res.Header)); got != 1 {
				t.Errorf("%d views, want 1", got)
			}
			f.quiet()
		})
	}
	eachFront(t, true, "W3 a hint commits nothing", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			b.wantOps(t)
		}))
		f.withHints(f.request("GET", "/", ""))
		b.wantOps(t, "Create")
	})
	eachFront(t, true, "W3 a save that fails after a hint still has its error response", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		b.failing(sessions.ErrUnavailable)
		f := k.open(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(200)
			w.WriteHeader(http.StatusEarlyHints)
		}))
		res, _ := f.withHints(f.request("GET", "/", ""))
		if res.StatusCode != 503 || len(res.setCookies()) > 0 {
			t.Errorf("%d %v, want 503 without a cookie", res.StatusCode, res.Header)
		}
	})
	t.Run("W3 101 is a final status: it commits and carries the cookie", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		f := openFront(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "x")
			w.WriteHeader(http.StatusSwitchingProtocols)
			b.wantOps(t, "Create")
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			buf.WriteString("theirs now")
			buf.Flush()
		}), false)
		conn := f.dial()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		buf := bufio.NewReader(conn)
		res, err := http.ReadResponse(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(buf)
		if res.StatusCode != 101 || b.views(tokenOf(res.Header)) != 1 || string(rest) != "theirs now" {
			t.Errorf("%d %v, then %q", res.StatusCode, res.Header, rest)
		}
	})
}
