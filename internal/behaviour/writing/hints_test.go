package writing_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// withHints is a Get that keeps the headers of the 1xx responses.
func withHints(b *kit.Browser) (kit.Response, []http.Header) {
	var mu sync.Mutex
	var hints []http.Header
	r := b.Request("GET", "/")
	res := b.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
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
	t.Parallel()
	for _, tc := range []struct {
		desc  string
		steps string   // of the handler
		want  []string // the final response's cookies
	}{
		{"a change after it", "hint change", []string{kit.CookieSent}},
		{"a change before it", "change hint", []string{kit.CookieSent}},
		{"a verb before it", "change Save hint", []string{kit.CookieSent}},
		{"a verb before it and one after", "change SignIn hint Renew", []string{kit.CookieSent}},
		{"two of them around a verb", "hint change Save hint", []string{kit.CookieSent}},
		{"a verb and a cookie of the handler's", "cookie change Save hint", []string{"own=x", kit.CookieSent}},
	} {
		kit.EachConnection(t, "W3 103 carries no session cookie, 200 does, with "+tc.desc, func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			a.Root = a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for step := range strings.FieldsSeq(tc.steps) {
					switch step {
					case "hint":
						w.Header().Set("Link", "</a.css>; rel=preload")
						w.WriteHeader(http.StatusEarlyHints)
					case "change":
						a.FromContext(r.Context()).Views = 1
					case "cookie":
						http.SetCookie(w, &http.Cookie{Name: "own", Value: "x"})
					default:
						kit.OK(t, kit.Call(a.Manager, r.Context(), step))
					}
				}
				io.WriteString(w, "hello")
			}))
			res, hints := withHints(a.Browser())
			if sent := strings.Count(tc.steps, "hint"); len(hints) != sent {
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
			if got := kit.Masked(res.Header)["Set-Cookie"]; res.StatusCode != 200 || !slices.Equal(got, tc.want) {
				t.Errorf("%d with cookies %q, want %q", res.StatusCode, got, tc.want)
			}
			if got := views(a, res); got != 1 {
				t.Errorf("%d views, want 1", got)
			}
			a.Server().WantQuiet()
		})
	}

	kit.EachConnection(t, "W3 a hint commits nothing", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			a.WantCalls(t, "the hint", "")
		})
		withHints(a.Browser())
		a.WantCalls(t, "the response", "Create")
	})

	kit.EachConnection(t, "W3 a save that fails after a hint still has its error response", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		failWrites(a, sessions.ErrUnavailable)
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(200)
			w.WriteHeader(http.StatusEarlyHints)
		})
		if res, _ := withHints(a.Browser()); res.StatusCode != 503 || len(res.SetCookies()) > 0 {
			t.Errorf("%d %v, want 503 without a cookie", res.StatusCode, kit.Masked(res.Header))
		}
	})

	t.Run("W3 101 is a final status: it commits and carries the cookie", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{})
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "x")
			w.WriteHeader(http.StatusSwitchingProtocols)
			a.WantCalls(t, "the 101", "Create")
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			buf.WriteString("theirs now")
			buf.Flush()
		})
		conn := dial(t, a.Server())
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		buf := bufio.NewReader(conn)
		res, err := http.ReadResponse(buf, nil)
		kit.Must(t, err)
		rest, _ := io.ReadAll(buf)
		if res.StatusCode != 101 || a.Views(kit.TokenOf(res.Header)) != 1 || string(rest) != "theirs now" {
			t.Errorf("%d %v, then %q", res.StatusCode, kit.Masked(res.Header), rest)
		}
	})
}
