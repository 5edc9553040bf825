package sessions_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/typedsessions/sessions"
)

// A front is one of the ways in which a handler meets its clients.
type front struct {
	t      testing.TB
	url    string
	client *http.Client // nil for a Recorder
	h      http.Handler
	log    *logBook // of the servers: nothing that is tested here belongs in it
	close  func()   // and wait for what is under way
}

type frontKind struct {
	name string
	real bool // with a connection
	open func(t testing.TB, h http.Handler) *front
}

var frontKinds = []frontKind{
	{"HTTP 1.1", true, func(t testing.TB, h http.Handler) *front { return openFront(t, h, false) }},
	{"HTTP 2", true, func(t testing.TB, h http.Handler) *front { return openFront(t, h, true) }},
	{"ReverseProxy", true, openProxied},
	{"Recorder", false, func(t testing.TB, h http.Handler) *front {
		return &front{t: t, h: h, url: "https://example.com", log: &logBook{}, close: func() {}}
	}},
}

func openFront(t testing.TB, h http.Handler, http2 bool) *front {
	f := &front{t: t, log: &logBook{}}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(f.log, "", 0)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f.url, f.close = srv.URL, srv.Close
	f.client = srv.Client()
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.client.Transport.(*http.Transport).DisableCompression = true
	return f
}

// openProxied has a proxy that speaks TLS before a server that does not.
func openProxied(t testing.TB, h http.Handler) *front {
	book := &logBook{}
	backend := httptest.NewUnstartedServer(h)
	backend.Config.ErrorLog = log.New(book, "", 0)
	backend.Start()
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := openFront(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}, true)
	front := f.close
	f.log, f.close = book, func() { front(); backend.Close() }
	return f
}

// eachFront runs a test on each way; on those with a connection only, where the
// promise is about one.
func eachFront(t *testing.T, realOnly bool, name string, f func(t *testing.T, k frontKind)) {
	for _, k := range frontKinds {
		if k.real || !realOnly {
			t.Run(name+", "+k.name, func(t *testing.T) { f(t, k) })
		}
	}
}

func (f *front) request(method, path, token string) *http.Request {
	r, err := http.NewRequest(method, f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Cookie", cookieName+"="+token)
	}
	return r
}

// send gives the response as soon as its header is there.
func (f *front) send(r *http.Request) (*http.Response, error) {
	if f.client != nil {
		return f.client.Do(r)
	}
	in := httptest.NewRequest(r.Method, r.URL.String(), r.Body)
	in.Header = r.Header
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, in.WithContext(r.Context()))
	return w.Result(), nil
}

func (f *front) do(r *http.Request) answer {
	f.t.Helper()
	res, err := f.send(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{res, string(body)}
}

func (f *front) get(path, token string) answer {
	f.t.Helper()
	return f.do(f.request("GET", path, token))
}

// quiet says that no server complained, of a superfluous WriteHeader above all.
func (f *front) quiet() {
	f.t.Helper()
	f.close()
	if lines := f.log.take(); len(lines) > 0 {
		f.t.Errorf("the server logged %q", lines)
	}
}

// bench is a Manager, its store and its events.
type bench struct {
	desk
	ops    *opLog
	store  *stepStore
	events *recorder
	log    *logBook
}

func newBench(t testing.TB, cfg sessions.Config) *bench {
	b := &bench{events: &recorder{}, log: &logBook{}}
	ops, store := newOpLog()
	b.ops, b.store = ops, store.(*stepStore)
	if cfg.OnEvent == nil {
		cfg.OnEvent = b.events.on
	}
	cfg.Logger = b.log.logger()
	b.desk = newDesk(t, store, cfg)
	return b
}

// seeded is seed, with the store's and the recorder's memory cleared.
func (b *bench) seeded(views int) string {
	b.t.Helper()
	token := b.seed(views)
	b.ops.take()
	b.events.kinds()
	return token
}

func (b *bench) wantEvents(t *testing.T, want ...sessions.EventKind) {
	t.Helper()
	if got := b.events.kinds(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func (b *bench) wantOps(t *testing.T, want ...string) {
	t.Helper()
	if got := b.ops.take(); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("store calls %v, want %v", got, want)
	}
}

// failing lets every write of the store fail with err.
func (b *bench) failing(err error) {
	before := b.store.before
	b.store.before = func(op, key string) error {
		if op == "Create" || op == "CompareAndSwap" {
			return errors.Join(before(op, key), err)
		}
		return before(op, key)
	}
}

// bump changes the session and hands on.
func (b *bench) bump(next http.HandlerFunc) http.Handler {
	return b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.FromContext(r.Context()).Views++
		next(w, r)
	}))
}

var someFile = fstest.MapFS{"a.txt": {Data: []byte(strings.Repeat("0123456789", 1000)), ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}

func serveSome(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, someFile, "a.txt") }

func TestDoorsOfAManager(t *testing.T) {
	fileBody := string(someFile["a.txt"].Data)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "x"})
		io.WriteString(w, "from elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	target, _ := url.Parse(elsewhere.URL)
	for _, tc := range []struct {
		desc   string
		method string
		header http.Header
		f      http.HandlerFunc
		status int
		body   string
	}{
		{"Write", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }, 200, "hello"},
		{"an empty Write", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) }, 200, ""},
		{"WriteString", "", nil, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 200, "hello"},
		{"Fprintf", "", nil, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello") }, 200, "hello"},
		{"WriteHeader", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, 202, ""},
		{"204", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		{"304", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, ""},
		{"a redirect", "", nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", 303) }, 303, "<a href=\"/next\">See Other</a>.\n\n"},
		{"http.Error", "", nil, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 418) }, 418, "no\n"},
		{"http.NotFound", "", nil, http.NotFound, 404, "404 page not found\n"},
		{"a file", "", nil, serveSome, 200, fileBody},
		{"a part of a file", "", http.Header{"Range": {"bytes=0-3"}}, serveSome, 206, "0123"},
		{"a range that is not there", "", http.Header{"Range": {"bytes=20000-"}}, serveSome, 416, "invalid range: failed to overlap\n"},
		{"a file not modified", "", http.Header{"If-Modified-Since": {"Fri, 02 Jan 2026 03:04:05 GMT"}}, serveSome, 304, ""},
		{"ServeContent", "", nil, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("content"))
		}, 200, "content"},
		{"io.Copy", "", nil, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, strings.NewReader("copied")) }, 200, "copied"},
		{"io.Copy of more than a buffer", "", nil, func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, struct{ io.Reader }{strings.NewReader(fileBody)})
		}, 200, fileBody},
		{"io.Copy of nothing", "", nil, func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, strings.NewReader("")) }, 200, ""},
		{"no write", "", nil, func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"HEAD and no write", "HEAD", nil, func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"HEAD of a file", "HEAD", nil, serveSome, 200, ""},
		{"Content-Length before Write", "", nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Write([]byte("hello"))
		}, 200, "hello"},
		{"Flush alone", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, ""},
		{"Flush, then Write", "", nil, func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			w.Write([]byte("hello"))
		}, 200, "hello"},
		{"a ReverseProxy inside", "", nil, (&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}).ServeHTTP, 200, "from elsewhere"},
		{"http.TimeoutHandler inside", "", nil, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Flash = "in time"
			http.SetCookie(w, &http.Cookie{Name: "own", Value: "x"})
			io.WriteString(w, "in time")
		}), time.Hour, "").ServeHTTP, 200, "in time"},
		{"http.MaxBytesHandler and StripPrefix inside", "", nil, http.MaxBytesHandler(http.StripPrefix("/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "stripped")
		})), 10).ServeHTTP, 200, "stripped"},
	} {
		eachFront(t, false, "W1 W9 the cookie is there with "+tc.desc, func(t *testing.T, k frontKind) {
			b := newBench(t, sessions.Config{})
			f := k.open(t, b.bump(tc.f))
			r := f.request(tc.method, "/", "")
			maps.Copy(r.Header, tc.header)
			res := f.do(r)
			if res.StatusCode != tc.status || res.body != tc.body {
				t.Errorf("got %d %.40q, want %d %.40q", res.StatusCode, res.body, tc.status, tc.body)
			}
			if got := res.setCookies(); len(got) != 1 || tokenShape.ReplaceAllString(got[0], "TOKEN") != cookieSent {
				t.Fatalf("Set-Cookie %q, want one", got)
			}
			token := tokenOf(res.Header)
			if got := b.views(token); got != 1 {
				t.Errorf("%d views stored, want 1", got)
			}
			b.ops.take()

			// The second time it needs no cookie.
			r = f.request(tc.method, "/", token)
			maps.Copy(r.Header, tc.header)
			if res = f.do(r); len(res.setCookies()) > 0 || b.views(token) != 2 {
				t.Errorf("the second time: Set-Cookie %q, %d views", res.setCookies(), b.views(token))
			}
			f.quiet()
		})
	}
}

func TestFlushOfAManager(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		flush func(w http.ResponseWriter) error
	}{
		{"Flush", func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil }},
		{"ResponseController.Flush", func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }},
	} {
		eachFront(t, true, "W2 "+tc.desc+" before any Write sends the cookie while the handler runs", func(t *testing.T, k frontKind) {
			b, g := newBench(t, sessions.Config{}), newGate()
			f := k.open(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
				if err := tc.flush(w); err != nil {
					t.Error(err)
				}
				g.pass()
			}))
			res, err := f.send(f.request("GET", "/", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			g.wait()
			if got := b.views(tokenOf(res.Header)); got != 1 {
				t.Errorf("%d views with token %q, want 1", got, tokenOf(res.Header))
			}
			g.open()
			f.quiet()
		})
		t.Run("W2 "+tc.desc+" through a Recorder", func(t *testing.T) {
			b := newBench(t, sessions.Config{})
			w := httptest.NewRecorder()
			b.bump(func(w http.ResponseWriter, _ *http.Request) {
				if err := tc.flush(w); err != nil {
					t.Error(err)
				}
			}).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
			if !w.Flushed || b.views(tokenOf(w.Result().Header)) != 1 {
				t.Errorf("flushed is %t, header %v", w.Flushed, w.Result().Header)
			}
		})
	}
	eachFront(t, false, "W2 a writer that cannot flush says so, and the response is still to come", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, http.TimeoutHandler(b.bump(func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Flush returned %v, want http.ErrNotSupported", err)
			}
			w.WriteHeader(202)
			io.WriteString(w, "hello")
		}), time.Hour, ""))
		res := f.get("/", "")
		if res.StatusCode != 202 || res.body != "hello" || len(res.setCookies()) != 1 || b.views(tokenOf(res.Header)) != 1 {
			t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
		}
		b.wantEvents(t, sessions.EventCreated)
		f.quiet()
	})
	eachFront(t, false, "W2 an error of the save reaches whoever flushes", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		b.failing(sessions.ErrUnavailable)
		f := k.open(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Flush returned %v, want ErrUnavailable", err)
			}
		}))
		if res := f.get("/", ""); res.StatusCode != 503 {
			t.Errorf("status %d, want 503", res.StatusCode)
		}
		f.quiet()
	})
}

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
			t.Skip("there is") // the proxy's backend speaks HTTP/1.1
		}
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(w http.ResponseWriter, r *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack returned %v", err)
			}
			b.FromContext(r.Context()).Views++
			http.Error(w, "no upgrade", 426)
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

// plainWriter counts the special ways in which it is written to.
type plainWriter struct {
	*httptest.ResponseRecorder
	readFrom, writeString int
}

func (w *plainWriter) ReadFrom(r io.Reader) (int64, error) {
	w.readFrom++
	return io.Copy(struct{ io.Writer }{w.ResponseRecorder}, r)
}

func (w *plainWriter) WriteString(s string) (int, error) {
	w.writeString++
	return w.ResponseRecorder.WriteString(s)
}

func TestWriterToOfAManager(t *testing.T) {
	t.Run("W5 the inner writer's ReadFrom and WriteString serve, after the save", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		w := &plainWriter{ResponseRecorder: httptest.NewRecorder()}
		body := strings.Repeat("x", 10_000)
		b.bump(func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("no io.ReaderFrom")
			}
			if n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(body)}); n != int64(len(body)) || err != nil {
				t.Errorf("copied %d, %v", n, err)
			}
			io.WriteString(w, "y")
		}).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
		if w.readFrom == 0 || w.writeString == 0 || w.Body.String() != body+"y" {
			t.Errorf("%d ReadFrom, %d WriteString, %d bytes", w.readFrom, w.writeString, w.Body.Len())
		}
		if b.views(tokenOf(w.Result().Header)) != 1 {
			t.Error("not saved")
		}
	})
}

func TestLateChange(t *testing.T) {
	first := func(w http.ResponseWriter) {
		io.WriteString(w, "first byte")
		http.NewResponseController(w).Flush()
	}
	eachFront(t, false, "W6 a change after the first byte is saved when the handler returns", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			b.FromContext(r.Context()).Views = 2
		})))
		res := f.get("/", token)
		f.close()
		if res.body != "first byte" || b.views(token) != 2 {
			t.Errorf("%q, %d views", res.body, b.views(token))
		}
		b.wantEvents(t, sessions.EventSaved)
		if got := b.log.take(); len(got) > 0 {
			t.Errorf("log %q", got)
		}
	})
	eachFront(t, false, "W6 a new session after the first byte is an event and a log line, and nothing is stored", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			b.FromContext(r.Context()).Views = 2
		})))
		res := f.get("/", "")
		f.quiet()
		if res.StatusCode != 200 || res.body != "first byte" || len(res.setCookies()) > 0 {
			t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
		}
		b.wantOps(t)
		b.events.mu.Lock()
		events := slices.Clone(b.events.events)
		b.events.mu.Unlock()
		if len(events) != 1 || events[0].Kind != sessions.EventLateChange || !errors.Is(events[0].Err, sessions.ErrCommitted) {
			t.Errorf("events %v, want one LateChange of ErrCommitted", events)
		}
		lines := b.log.take()
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "level=WARN ") || !strings.Contains(lines[0], "too late") || !strings.Contains(lines[0], "Save") {
			t.Errorf("log %q, want one warning with the remedy", lines)
		}
	})
	for _, tc := range []struct {
		desc string
		verb func(b *bench, ctx context.Context) error
	}{
		{"Save", func(b *bench, ctx context.Context) error { return b.Save(ctx) }},
		{"Renew", func(b *bench, ctx context.Context) error { return b.Renew(ctx) }},
		{"SignIn", func(b *bench, ctx context.Context) error { return b.SignIn(ctx) }},
	} {
		for _, stored := range []bool{false, true} {
			if stored && tc.desc == "Save" {
				continue
			}
			t.Run(fmt.Sprintf("W6 %s after the first byte is ErrCommitted and leaves all as it was, stored is %t", tc.desc, stored), func(t *testing.T) {
				b, token := newBench(t, sessions.Config{}), ""
				if stored {
					token = b.seeded(1)
				}
				f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := b.FromContext(r.Context())
					first(w)
					b.ops.take()
					s.Views++
					if err := tc.verb(b, r.Context()); !errors.Is(err, sessions.ErrCommitted) {
						t.Errorf("got %v, want ErrCommitted", err)
					}
					s.Views--
					b.wantOps(t)
				})), true)
				f.get("/", token)
				f.quiet()
				b.wantOps(t)
				if stored && b.views(token) != 1 {
					t.Error("the old token is no longer good")
				}
			})
		}
	}
	t.Run("W6 Destroy after the first byte still deletes", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first(w)
			if err := b.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		})), true)
		res := f.get("/", token)
		f.quiet()
		if len(res.setCookies()) > 0 || b.views(token) != 0 {
			t.Errorf("%v, %d views", res.setCookies(), b.views(token))
		}
		b.wantEvents(t, sessions.EventDestroyed)
	})
	eachFront(t, true, "W6 what an event stream changed is saved though its client hung up", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned := make(chan struct{})
		stream := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for n := 2; ; n++ {
				b.FromContext(r.Context()).Views = n
				fmt.Fprintf(w, "data: %d\n\n", n)
				http.NewResponseController(w).Flush()
				if n == 3 {
					<-r.Context().Done()
					b.FromContext(r.Context()).Views = 4
					return
				}
			}
		}))
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			stream.ServeHTTP(w, r)
		}))
		ctx, hangUp := context.WithCancel(t.Context())
		res, err := f.send(f.request("GET", "/", token).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(res.Body)
		for range 4 { // two events
			if _, err := body.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		hangUp()
		res.Body.Close()
		<-returned
		if got := b.views(token); got != 4 {
			t.Errorf("%d views, want 4", got)
		}
	})
}

// A failed save: the shape of the handler, and the one and only answer.
func TestFailedSave(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, lines := range representation {
			h[name] = lines
		}
		h.Del("Location")
		io.WriteString(w, "theirs")
	}))
	t.Cleanup(elsewhere.Close)
	target, _ := url.Parse(elsewhere.URL)

	shapes := []struct {
		desc string
		f    func(t *testing.T, w http.ResponseWriter, r *http.Request)
	}{
		{"Write", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			if n, err := io.WriteString(w, "secret"); n != 0 || err == nil {
				t.Errorf("Write returned %d, %v", n, err)
			}
		}},
		{"all representation headers", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), representation)
			w.WriteHeader(201)
			io.WriteString(w, "secret")
		}},
		{"a preset Content-Length", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "6")
			io.WriteString(w, "secret")
		}},
		{"WriteHeader after WriteHeader", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.WriteHeader(500)
		}},
		{"no write", func(*testing.T, http.ResponseWriter, *http.Request) {}},
		{"204", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
		{"304", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(304)
		}},
		{"a redirect", func(_ *testing.T, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", 303) }},
		{"http.Error", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { http.Error(w, "other", 404) }},
		{"a file", func(_ *testing.T, w http.ResponseWriter, r *http.Request) { serveSome(w, r) }},
		{"io.Copy", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 5000))})
		}},
		{"Flush", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "secret")
		}},
		{"an event stream, which ends at its first error", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for range 1000 {
				if _, err := io.WriteString(w, "data: secret\n\n"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
			t.Error("the stream never saw an error")
		}},
		{"an event stream that flushes first", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			if _, err := io.WriteString(w, "data: secret\n\n"); err == nil {
				t.Error("the next Write saw no error")
			}
		}},
		{"headers and trailers set after it", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "secret")
			w.Header().Set("X-Sum", "1")
			w.Header().Set("X-Late", "1")
			w.Header().Set(http.TrailerPrefix+"X-Other", "1")
		}},
		{"a ReverseProxy", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			(&httputil.ReverseProxy{
				Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
				ErrorLog: log.New(io.Discard, "", 0),
			}).ServeHTTP(w, r)
		}},
		{"http.TimeoutHandler", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/css")
				io.WriteString(w, "secret")
			}), time.Hour, "").ServeHTTP(w, r)
		}},
	}
	for _, tc := range []struct {
		desc   string
		cfg    sessions.Config
		stored bool
		fail   func(t *testing.T, b *bench, ctx context.Context)
		status int
		header http.Header
		body   string
		events []sessions.EventKind
	}{
		{
			"the store does not answer to a new session",
			sessions.Config{},
			false,
			func(_ *testing.T, b *bench, _ context.Context) {
				b.failing(fmt.Errorf("secret host: %w", sessions.ErrUnavailable))
			},
			503,
			http.Header{"Retry-After": {"1"}},
			"Service Unavailable\n",
			[]sessions.EventKind{sessions.EventUnavailable},
		},
		{
			"the store does not answer to a stored one",
			sessions.Config{},
			true,
			func(_ *testing.T, b *bench, _ context.Context) {
				b.failing(fmt.Errorf("secret host: %w", sessions.ErrUnavailable))
			},
			503,
			http.Header{"Retry-After": {"1"}},
			"Service Unavailable\n",
			[]sessions.EventKind{sessions.EventUnavailable},
		},
		{
			"the store has an error of its own",
			sessions.Config{},
			true,
			func(_ *testing.T, b *bench, _ context.Context) { b.failing(errors.New("secret password")) },
			500,
			http.Header{},
			"Internal Server Error\n",
			[]sessions.EventKind{sessions.EventFailed},
		},
		{
			"the session is too large",
			sessions.Config{MaxSize: 1000},
			true,
			func(_ *testing.T, b *bench, ctx context.Context) {
				b.FromContext(ctx).UserID = strings.Repeat("x", 1000)
			},
			500,
			http.Header{},
			"Internal Server Error\n",
			[]sessions.EventKind{sessions.EventFailed},
		},
		{
			"the session has ended meanwhile",
			sessions.Config{},
			true,
			func(t *testing.T, b *bench, ctx context.Context) {
				for _, key := range b.ops.keysOf("Load") {
					if err := b.store.Store.Delete(ctx, key); err != nil {
						t.Error(err)
					}
				}
			},
			409,
			http.Header{},
			"Conflict\n",
			[]sessions.EventKind{sessions.EventGone},
		},
	} {
		for _, shape := range shapes {
			eachFront(t, false, "W7 "+tc.desc+": exactly the error response, with "+shape.desc, func(t *testing.T, k frontKind) {
				if shape.desc == "a ReverseProxy" && k.name == "HTTP 2" {
					t.Skip("see TestFailedSaveInReverseProxyOverHTTP2")
				}
				b, token := newBench(t, tc.cfg), ""
				if tc.stored {
					token = b.seeded(1)
				}
				f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b.FromContext(r.Context()).Views = 2
					w.Header().Set("X-Request-Id", "7")
					tc.fail(t, b, r.Context())
					defer func() { // ReverseProxy's, as net/http's server does it
						if p := recover(); p != nil && (k.real || p != http.ErrAbortHandler) {
							panic(p)
						}
					}()
					shape.f(t, w, r)
				})))
				want := http.Header{
					"Cache-Control": {"no-store"}, "Content-Length": {fmt.Sprint(len(tc.body))}, "Content-Type": {"text/plain; charset=utf-8"},
					"X-Content-Type-Options": {"nosniff"}, "Vary": {"Cookie"}, "X-Request-Id": {"7"},
				}
				maps.Copy(want, tc.header)
				res := f.get("/", token)
				if res.StatusCode != tc.status || res.body != tc.body {
					t.Errorf("got %d %q, want %d %q", res.StatusCode, res.body, tc.status, tc.body)
				}
				wantMasked(t, res.Header, want)
				if len(res.Trailer) > 0 {
					t.Errorf("trailer %v", res.Trailer)
				}
				f.quiet()
				b.wantEvents(t, tc.events...)
				if strings.Contains(res.body+fmt.Sprint(res.Header), "secret") {
					t.Error("a secret got out")
				}
			})
		}
	}

	eachFront(t, false, "W7 ErrorHandler gives the answer, on the handler's request", func(t *testing.T, k frontKind) {
		var b *bench
		b = newBench(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, sessions.ErrUnavailable) || b.FromContext(r.Context()).Views != 1 {
				t.Errorf("ErrorHandler got %v", err)
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(507)
			io.WriteString(w, `{"title":"try again"}`)
		}})
		b.failing(sessions.ErrUnavailable)
		f := k.open(t, b.bump(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public")
			io.WriteString(w, "secret")
		}))
		res := f.get("/", "")
		if res.StatusCode != 507 || res.body != `{"title":"try again"}` {
			t.Errorf("%d %q", res.StatusCode, res.body)
		}
		wantMasked(t, res.Header, http.Header{
			"Content-Type": {"application/problem+json"}, "Content-Length": {"21"}, "Vary": {"Cookie"}, "Cache-Control": {"private"},
		})
		f.quiet()
	})
	t.Run("W7 ErrorHandler may end a session that is gone, and the answer takes the cookie back", func(t *testing.T) {
		var b *bench
		b = newBench(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, sessions.ErrGone) {
				t.Errorf("ErrorHandler got %v", err)
			}
			if err := b.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
			http.Redirect(w, r, "/login", 303)
		}})
		token := b.seeded(1)
		f := openFront(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.FromContext(r.Context()).Views = 2
			for _, key := range b.ops.keysOf("Load") {
				b.store.Store.Delete(r.Context(), key)
			}
			io.WriteString(w, "secret")
		})), true)
		res := f.get("/", token)
		if got := res.setCookies(); res.StatusCode != 303 || !slices.Equal(got, []string{cookieEnded}) || res.Header.Get("Location") != "/login" {
			t.Errorf("%d %v, want a redirect with the cookie taken back", res.StatusCode, res.Header)
		}
	})
	eachFront(t, false, "W7 after Save has told of a failure the handler can answer for itself", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.bump(func(w http.ResponseWriter, r *http.Request) {
			for _, key := range b.ops.keysOf("Load") {
				b.store.Store.Delete(r.Context(), key)
			}
			if err := b.Save(r.Context()); !errors.Is(err, sessions.ErrGone) {
				t.Errorf("Save returned %v, want ErrGone", err)
			}
			http.Error(w, "please sign in", 401)
		}))
		if res := f.get("/", token); res.StatusCode != 401 || res.body != "please sign in\n" || len(res.setCookies()) > 0 {
			t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
		}
		f.quiet()
	})
}

// representation are the headers that describe a body, and caching.
var representation = http.Header{
	"Content-Type": {"text/html"}, "Content-Length": {"6"}, "Content-Encoding": {"identity"}, "Content-Language": {"en"},
	"Content-Range": {"bytes 0-5/6"}, "Content-Disposition": {"attachment"}, "Etag": {`"1"`}, "Last-Modified": {"Fri, 02 Jan 2026 03:04:05 GMT"},
	"Location": {"/secret"}, "Cache-Control": {"public, max-age=60"}, "Expires": {"Fri, 02 Jan 2026 03:04:05 GMT"}, "Accept-Ranges": {"bytes"},
}

func TestPanicOfAHandler(t *testing.T) {
	// recovering answers for a panic and hands its value out.
	recovering := func(next http.Handler, caught chan<- any) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				p := recover()
				caught <- p
				if p != nil {
					http.Error(w, "recovered", 500)
				}
			}()
			next.ServeHTTP(w, r)
		})
	}
	boom := errors.New("boom")
	for _, value := range []any{boom, "a string", http.ErrAbortHandler} {
		eachFront(t, false, fmt.Sprintf("W8 a panic of %v goes on and saves nothing", value), func(t *testing.T, k frontKind) {
			b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
			f := k.open(t, recovering(b.bump(func(http.ResponseWriter, *http.Request) { panic(value) }), caught))
			res := f.get("/", "")
			if got := <-caught; got != value {
				t.Errorf("the panic went on as %v, want %v", got, value)
			}
			if res.StatusCode != 500 || res.body != "recovered\n" || len(res.setCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
			}
			b.wantOps(t)
			f.quiet()
		})
	}
	for _, tc := range []struct {
		desc string
		verb func(b *bench, ctx context.Context) error
		want int // views behind the cookie that the response sends
	}{
		{"Save", func(b *bench, ctx context.Context) error { return b.Save(ctx) }, 0},
		{"Renew", func(b *bench, ctx context.Context) error { return b.Renew(ctx) }, 2},
		{"SignIn", func(b *bench, ctx context.Context) error { return b.SignIn(ctx) }, 2},
		{"Destroy", func(b *bench, ctx context.Context) error { return b.Destroy(ctx) }, 0},
		{"Destroy and SignIn", func(b *bench, ctx context.Context) error { return errors.Join(b.Destroy(ctx), b.SignIn(ctx)) }, 0},
	} {
		for _, value := range []any{boom, http.ErrAbortHandler} {
			eachFront(t, false, fmt.Sprintf("W8 the cookie of %s survives a panic of %v, what came after it is not saved", tc.desc, value), func(t *testing.T, k frontKind) {
				b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
				old := b.seeded(1)
				f := k.open(t, recovering(b.bump(func(_ http.ResponseWriter, r *http.Request) {
					if err := tc.verb(b, r.Context()); err != nil {
						t.Error(err)
					}
					b.FromContext(r.Context()).Views = 99
					panic(value)
				}), caught))
				res := f.get("/", old)
				if got := <-caught; got != value || res.StatusCode != 500 {
					t.Errorf("%v, %d", got, res.StatusCode)
				}
				switch token := tokenOf(res.Header); {
				case tc.desc == "Save":
					if len(res.setCookies()) > 0 || b.views(old) != 2 {
						t.Errorf("cookies %q, %d views", res.setCookies(), b.views(old))
					}
				case tc.desc == "Destroy":
					if !slices.Equal(res.setCookies(), []string{cookieEnded}) || b.views(old) != 0 {
						t.Errorf("cookies %q, %d views", res.setCookies(), b.views(old))
					}
				default:
					if len(res.setCookies()) != 1 || token == "" || b.views(token) != tc.want || b.views(old) != 0 {
						t.Errorf("cookies %q, %d views, %d by the old token", res.setCookies(), b.views(token), b.views(old))
					}
				}
				f.quiet()
			})
		}
	}
	eachFront(t, true, "W8 without a recovery a panic ends the connection, and a change made before it is not saved", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		f := k.open(t, b.bump(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		if res, err := f.send(f.request("GET", "/", "")); err == nil && res.StatusCode != 502 { // the proxy's
			t.Errorf("got %d, want an error", res.StatusCode)
		}
		f.quiet()
		b.wantOps(t)
	})
	eachFront(t, false, "W8 a panic after the first byte saves nothing more", func(t *testing.T, k frontKind) {
		b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
		token := b.seeded(1)
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { caught <- recover() }()
			b.bump(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "first byte")
				b.FromContext(r.Context()).Views = 99
				panic(boom)
			}).ServeHTTP(w, r)
		}))
		f.get("/", token)
		if got := <-caught; got != boom || b.views(token) != 2 {
			t.Errorf("%v, %d views, want 2", got, b.views(token))
		}
		f.quiet()
	})
	t.Run("W8 a recovery inside leaves a handler like any other", func(t *testing.T) {
		b, caught := newBench(t, sessions.Config{}), make(chan any, 1)
		f := openFront(t, b.Handler(recovering(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b.FromContext(r.Context()).Flash = "sorry"
			panic(boom)
		}), caught)), true)
		if res := f.get("/", ""); res.StatusCode != 500 || len(res.setCookies()) != 1 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("W8 a sign-in whose response may not have arrived is told", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		ctx, hangUp := context.WithCancel(t.Context())
		r := httptest.NewRequest("GET", "https://example.com/", nil).WithContext(ctx)
		b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			hangUp()
			if err := b.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		b.wantEvents(t, sessions.EventCreated, sessions.EventSignedIn, sessions.EventUndelivered)
	})
}

func TestFirstByte(t *testing.T) {
	for _, tc := range []struct {
		desc string
		door func(w http.ResponseWriter)
	}{
		{"a byte and a flush", func(w http.ResponseWriter) {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
		}},
		{"a flush alone", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }},
		{"more than every buffer", func(w http.ResponseWriter) { w.Write(bytes.Repeat([]byte("x"), 1<<20)) }},
		{"io.Copy of more than every buffer", func(w http.ResponseWriter) {
			io.Copy(w, struct{ io.Reader }{bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20))})
		}},
	} {
		eachFront(t, true, "W10 whoever has seen the header finds the change, by "+tc.desc, func(t *testing.T, k frontKind) {
			b, g := newBench(t, sessions.Config{}), newGate()
			mux := http.NewServeMux()
			mux.HandleFunc("/change", func(w http.ResponseWriter, r *http.Request) {
				b.FromContext(r.Context()).Views++
				tc.door(w)
				g.pass()
			})
			mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, b.FromContext(r.Context()).Views) })
			f := k.open(t, b.Handler(mux))
			token := b.seeded(1)
			res, err := f.send(f.request("GET", "/change", token))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := f.get("/read", token).body; got != "2" { // the handler of /change has not returned
				t.Errorf("the next request reads %q, want 2", got)
			}
			go io.Copy(io.Discard, res.Body) // lets the large ones end
			g.wait()
			g.open()
			f.quiet()
		})
	}
}

// upload is a request with a file of n bytes.
func (f *front) upload(n int) *http.Request {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("name", "x")
	part, err := form.CreateFormFile("file", "a.bin")
	if err != nil {
		f.t.Fatal(err)
	}
	part.Write(make([]byte, n))
	form.Close()
	r := f.request("POST", "/upload/7", "")
	r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

func TestUpload(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		size  int
		parse func(r *http.Request) error
	}{
		{"a small limit", 1 << 20, func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }},
		{"FormFile's 32 MB", 33 << 20, func(r *http.Request) error {
			file, _, err := r.FormFile("file")
			if err != nil {
				return err
			}
			return file.Close()
		}},
	} {
		eachFront(t, true, "W11 an upload over "+tc.desc+" leaves no file, and outer middleware sees r.Pattern", func(t *testing.T, k frontKind) {
			if tc.size > 32<<20 && k.name != "HTTP 2" {
				t.Skip("once is enough")
			}
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			b := newBench(t, sessions.Config{})
			mux := http.NewServeMux()
			mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
				if err := tc.parse(r); err != nil {
					t.Error(err)
				}
				if files, _ := os.ReadDir(dir); len(files) != 1 {
					t.Errorf("%d files while the handler runs, want one", len(files))
				}
				b.FromContext(r.Context()).Flash = r.FormValue("name")
			})
			seen := make(chan *http.Request, 1)
			f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b.Handler(mux).ServeHTTP(w, r)
				seen <- r
			}))
			res := f.do(f.upload(tc.size))
			f.close()
			r := <-seen
			if res.StatusCode != 200 || len(res.setCookies()) != 1 {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if r.Pattern != "POST /upload/{id}" || r.MultipartForm == nil || r.Form.Get("name") != "x" || r.PostForm.Get("name") != "x" {
				t.Errorf("outside: Pattern %q, form %v %v", r.Pattern, r.Form, r.PostForm)
			}
			if files, _ := os.ReadDir(dir); len(files) != 0 {
				t.Errorf("%d files left", len(files))
			}
		})
	}
	eachFront(t, true, "W11 nor does one whose handler panics", func(t *testing.T, k frontKind) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		b := newBench(t, sessions.Config{})
		mux := http.NewServeMux()
		mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1 << 10); err != nil {
				t.Error(err)
			}
			if files, _ := os.ReadDir(dir); len(files) != 1 {
				t.Errorf("%d files while the handler runs, want one", len(files))
			}
			panic("boom")
		})
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p == nil || r.Pattern != "POST /upload/{id}" {
					t.Errorf("recovered %v, Pattern %q", p, r.Pattern)
				}
			}()
			b.Handler(mux).ServeHTTP(w, r)
		}))
		f.do(f.upload(1 << 20))
		f.close()
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("%d files left", len(files))
		}
	})
	t.Run("W11 a request that Skip leaves out, and one wrapped twice, show their Pattern too", func(t *testing.T) {
		for desc, cfg := range map[string]sessions.Config{
			"twice": {}, "skipped": {Skip: func(*http.Request) bool { return true }},
		} {
			b := newBench(t, cfg)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			b.Handler(b.Handler(mux)).ServeHTTP(httptest.NewRecorder(), r)
			if r.Pattern != "GET /{$}" {
				t.Errorf("%s: Pattern %q outside", desc, r.Pattern)
			}
		}
	})
}

func TestTimeoutHandler(t *testing.T) {
	// outliving runs a handler that goes on writing to a map in T, after its
	// TimeoutHandler has answered and until Handler has returned. It begins
	// with first. Encoding T meanwhile is a race, and the end of the process.
	type outcome struct {
		answer
		err error
	}
	outliving := func(t *testing.T, k frontKind, b *bench, token string, timeout time.Duration, hangUp bool,
		first func(w http.ResponseWriter, r *http.Request, s *Session), between func(next http.Handler) http.Handler,
	) outcome {
		t.Helper()
		over, returned := make(chan struct{}), make(chan struct{})
		started := make(chan struct{})
		h := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(over)
			s := b.FromContext(r.Context())
			if first != nil {
				first(w, r, s)
			}
			s.Prefs = map[string]int{}
			close(started)
			for n := 0; ; n++ {
				s.Prefs[fmt.Sprint("key", n%100)] = n
				select {
				case <-returned:
					return
				default:
				}
			}
		}), timeout, "too slow")
		if between != nil {
			h = between(h)
		}
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.Handler(h).ServeHTTP(w, r)
			close(returned)
		}))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if hangUp {
			go func() {
				<-started
				cancel()
			}()
		}
		var out outcome
		res, err := f.send(f.request("GET", "/", token).WithContext(ctx))
		if out.err = err; err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			out.answer = answer{res, string(body)}
		}
		<-over
		return out
	}
	const soon = 20 * time.Millisecond
	eachFront(t, false, "W12 inside, after its deadline: T is left alone and an event tells", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		res := outliving(t, k, b, token, soon, false, func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 2 }, nil)
		if res.err != nil || res.StatusCode != 503 || res.body != "too slow" || len(res.setCookies()) > 0 {
			t.Errorf("%v %d %q", res.err, res.StatusCode, res.body)
		}
		if kinds := b.events.kinds(); len(kinds) == 0 || slices.ContainsFunc(kinds, func(k sessions.EventKind) bool { return k != sessions.EventLateChange }) {
			t.Errorf("events %v, want late changes", kinds)
		}
		b.wantOps(t, "Load")
		if lines := b.log.take(); len(lines) == 0 || !strings.Contains(lines[0], "too late") {
			t.Errorf("log %q", lines)
		}
		if got := b.views(token); got != 1 {
			t.Errorf("%d views, want 1", got)
		}
	})
	eachFront(t, true, "W12 inside, when the client hangs up: T is left alone", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		outliving(t, k, b, token, time.Hour, true, func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 2 }, nil)
		b.wantOps(t, "Load")
	})
	eachFront(t, false, "W12 inside, after its deadline: T is left alone though middleware around it looks at the session once more", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		outliving(t, k, b, token, soon, false, nil, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				_ = b.FromContext(r.Context()).UserID // for the access log
			})
		})
		b.wantOps(t, "Load")
	})
	eachFront(t, false, "W12 inside, after its deadline: what a verb had completed is in the 503", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		old := b.seeded(1)
		res := outliving(t, k, b, old, soon, false, func(_ http.ResponseWriter, r *http.Request, s *Session) {
			s.Views = 2
			if err := b.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		}, nil)
		if res.err != nil {
			t.Fatal(res.err)
		}
		if token := tokenOf(res.Header); res.StatusCode != 503 || token == "" || b.views(token) != 2 || b.views(old) != 0 {
			t.Errorf("%d, %q, %d views and %d by the old token", res.StatusCode, res.setCookies(), b.views(tokenOf(res.Header)), b.views(old))
		}
	})
	eachFront(t, false, "W12 inside, after its deadline: verbs still work, but for those that need a cookie", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		done := make(chan struct{})
		returned := make(chan struct{})
		h := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer close(done)
			s := b.FromContext(r.Context())
			<-returned
			s.Views = 2
			if err := b.Save(r.Context()); err != nil {
				t.Errorf("Save: %v", err)
			}
			for _, err := range []error{b.Renew(r.Context()), b.SignIn(r.Context())} {
				if !errors.Is(err, sessions.ErrCommitted) {
					t.Errorf("got %v, want ErrCommitted", err)
				}
			}
			if got := b.views(token); got != 2 {
				t.Errorf("%d views after Save, want 2", got)
			}
			if err := b.Destroy(r.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			s.Views = 3
			if err := b.Save(r.Context()); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("Save of a new session: got %v, want ErrCommitted", err)
			}
		}), soon, "too slow")
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.Handler(h).ServeHTTP(w, r)
			close(returned)
		}))
		f.get("/", token)
		<-done
		if got := b.views(token); got != 0 {
			t.Errorf("%d views after Destroy", got)
		}
		f.quiet()
	})
	eachFront(t, false, "W12 outside, after its deadline: a change is saved, and a token that nobody got is told", func(t *testing.T, k frontKind) {
		for _, stored := range []bool{true, false} {
			b, token := newBench(t, sessions.Config{}), ""
			if stored {
				token = b.seeded(1)
			}
			answered, returned := make(chan struct{}), make(chan struct{})
			f := k.open(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				b.bump(func(w http.ResponseWriter, _ *http.Request) {
					<-answered
					if _, err := io.WriteString(w, "late"); !errors.Is(err, http.ErrHandlerTimeout) {
						t.Errorf("Write returned %v, want http.ErrHandlerTimeout", err)
					}
				}).ServeHTTP(w, r)
			}), soon, "too slow"))
			res := f.get("/", token)
			close(answered)
			<-returned
			if res.StatusCode != 503 || res.body != "too slow" || len(res.setCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.body, res.Header)
			}
			if stored {
				b.wantEvents(t, sessions.EventSaved)
			} else {
				b.wantEvents(t, sessions.EventCreated, sessions.EventUndelivered)
				if lines := b.log.take(); len(lines) != 1 {
					t.Errorf("log %q, want one line", lines)
				}
			}
			f.quiet()
		}
	})
	eachFront(t, true, "W12 outside, when the client hangs up: a change is saved", func(t *testing.T, k frontKind) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned, started := make(chan struct{}), make(chan struct{})
		f := k.open(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			b.bump(func(_ http.ResponseWriter, r *http.Request) {
				close(started)
				<-r.Context().Done()
			}).ServeHTTP(w, r)
		}), time.Hour, ""))
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-started
			hangUp()
		}()
		if res, err := f.send(f.request("GET", "/", token).WithContext(ctx)); err == nil {
			res.Body.Close()
		}
		<-returned
		if got := b.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}

// Not every deadline is TimeoutHandler's. A handler that has set one itself is
// its own goroutine: what it leaves in T when it answers or returns is final,
// and the client that reads 200 may rely on it.
func TestOwnDeadline(t *testing.T) {
	k := frontKinds[1]
	t.Run("W12 W10 a handler whose own deadline has passed has its change saved", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond) // of a query, say
			defer cancel()
			s := b.FromContext(ctx)
			<-ctx.Done()
			s.Views, s.Flash = 2, "the database is slow today"
			io.WriteString(w, "ok")
		})))
		if res := f.get("/", token); res.StatusCode != 200 || b.views(token) != 2 {
			t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, b.views(token))
		}
	})
	t.Run("W12 W10 middleware that only sets a deadline, as chi's Timeout, loses no change", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		f := k.open(t, b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Nanosecond)
			defer cancel()
			func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				b.FromContext(r.Context()).Views = 2
				io.WriteString(w, "ok")
			}(w, r.WithContext(ctx))
		})))
		if res := f.get("/", token); res.StatusCode != 200 || b.views(token) != 2 {
			t.Errorf("%d and %d views, want 200 and 2", res.StatusCode, b.views(token))
		}
	})
	t.Run("W12 F3 a handler with a context of its own loses nothing when the client hangs up", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		token := b.seeded(1)
		returned, started := make(chan struct{}), make(chan struct{})
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(returned)
			b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
				defer cancel()
				s := b.FromContext(ctx)
				close(started)
				<-ctx.Done()
				s.Views = 2
			})).ServeHTTP(w, r)
		}))
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-started
			hangUp()
		}()
		if res, err := f.send(f.request("GET", "/", token).WithContext(ctx)); err == nil {
			res.Body.Close()
		}
		<-returned
		if got := b.views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
}

// httputil.ReverseProxy panics with http.ErrAbortHandler when it cannot write
// on. Over HTTP/1.1 the error response has arrived by then, whole; over HTTP/2
// its end has not, and the client sees a broken stream instead of the 503.
func TestFailedSaveInReverseProxyOverHTTP2(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "theirs") }))
	t.Cleanup(elsewhere.Close)
	target, _ := url.Parse(elsewhere.URL)
	t.Run("W7 W9 the error response arrives whole", func(t *testing.T) {
		b := newBench(t, sessions.Config{})
		b.failing(sessions.ErrUnavailable)
		f := openFront(t, b.bump((&httputil.ReverseProxy{
			Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
			ErrorLog: log.New(io.Discard, "", 0),
		}).ServeHTTP), true)
		if res := f.get("/", ""); res.StatusCode != 503 || res.body != "Service Unavailable\n" {
			t.Errorf("%d %q", res.StatusCode, res.body)
		}
	})
}
