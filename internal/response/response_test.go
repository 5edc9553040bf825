package response_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/response"
)

const (
	cookie    = "session=1"
	errorBody = "save failed\n"
)

var errSave = errors.New("save failed")

// A committer sends a cookie, or fails. Its fields replace what it does.
type committer struct {
	rw     http.ResponseWriter
	w      *response.Writer
	err    error
	commit func() error
	fail   func(http.ResponseWriter)

	commits, fails, interims atomic.Int32
}

func (c *committer) Commit() error {
	c.commits.Add(1)
	if c.w.Started() {
		panic("Started in Commit")
	}
	if c.commit != nil {
		return c.commit()
	}
	if c.err != nil {
		return c.err
	}
	c.rw.Header().Set("Set-Cookie", cookie)
	return nil
}

func (c *committer) Fail(w http.ResponseWriter, err error) {
	c.fails.Add(1)
	if c.w.Started() || !errors.Is(c.w.Err(), err) {
		panic("Started or no Err in Fail")
	}
	if c.fail != nil {
		c.fail(w)
		return
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

func (c *committer) Interim(h http.Header) func() {
	c.interims.Add(1)
	taken, ok := h["Set-Cookie"]
	if !ok {
		return nil
	}
	delete(h, "Set-Cookie")
	return func() { h["Set-Cookie"] = taken }
}

// wrap is what the Manager does around a handler.
func wrap(c *committer, next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		c.rw, c.w = rw, response.New(rw, c)
		next(c.w, r)
		c.w.Finish()
		if !c.w.Started() {
			panic("not Started after Finish")
		}
	}
}

// A result is a response as the client has it. Lines of the server's log fail
// the test: "superfluous response.WriteHeader call" is one.
type result struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

type transport struct {
	name string
	do   func(t *testing.T, h http.Handler, method string) result
}

var transports = []transport{
	{"HTTP/1.1", func(t *testing.T, h http.Handler, method string) result {
		return request(t, serve(t, h, false), method)
	}},
	{"HTTP/2", func(t *testing.T, h http.Handler, method string) result {
		return request(t, serve(t, h, true), method)
	}},
	{"Recorder", func(t *testing.T, h http.Handler, method string) result {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, "/", nil))
		return read(rec.Result())
	}},
}

func serve(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	t.Helper()
	var lines syncBuffer
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(&lines, "", 0)
	srv.EnableHTTP2 = http2
	if http2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(func() {
		srv.Close()
		if s := lines.String(); s != "" {
			t.Errorf("server logged: %s", s)
		}
	})
	return srv
}

func request(t *testing.T, srv *httptest.Server, method string) result {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if want := srv.EnableHTTP2; (res.ProtoMajor == 2) != want {
		t.Fatalf("got %s, HTTP/2 is %t", res.Proto, want)
	}
	return read(res)
}

func read(res *http.Response) result {
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	res.Header.Del("Date")
	return result{res.StatusCode, res.Header, string(body), err}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A plain writer has nothing but the three methods.
type plain struct{ rec *httptest.ResponseRecorder }

func (p plain) Header() http.Header         { return p.rec.Header() }
func (p plain) Write(b []byte) (int, error) { return p.rec.Write(b) }
func (p plain) WriteHeader(code int)        { p.rec.WriteHeader(code) }

type onlyReader struct{ io.Reader }

func testFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(name, []byte(strings.Repeat("page\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDoors(t *testing.T) {
	page := strings.Repeat("page\n", 1000)
	name := testFile(t)
	cases := []struct {
		desc   string
		door   http.HandlerFunc
		status int
		body   string
	}{
		{"W1 Write", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }, 200, "hello"},
		{"W1 Write of nothing", func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) }, 200, ""},
		{"W1 Write twice", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a"); fmt.Fprint(w, "b") }, 200, "ab"},
		{"W1 WriteHeader", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, 201, ""},
		{"W1 WriteHeader and Write", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); fmt.Fprint(w, "a") }, 202, "a"},
		{"W1 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, ""},
		{"W1 304", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, 304, ""},
		{"W1 redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "", http.StatusMultipleChoices) }, 300, "<a href=\"/\">Multiple Choices</a>.\n\n"},
		{"W1 http.Error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, 403, "no\n"},
		{"W1 ServeFile", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }, 200, page},
		{"W1 nothing", func(http.ResponseWriter, *http.Request) {}, 200, ""},
		{"W5 io.Copy", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, onlyReader{strings.NewReader(page)}) }, 200, page},
		{"W5 io.Copy of little", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, onlyReader{strings.NewReader("a")}) }, 200, "a"},
		{"W5 io.Copy of a file", func(w http.ResponseWriter, _ *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				panic(err)
			}
			defer f.Close()
			io.Copy(w, f)
		}, 200, page},
		{"W5 io.WriteString", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, 200, "hello"},
		{"W2 Flush", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, ""},
		{"W2 Flush and Write", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); fmt.Fprint(w, "a") }, 200, "a"},
		{"W2 ResponseController.Flush", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, 200, ""},
	}
	for _, tr := range transports {
		t.Run("W9 "+tr.name, func(t *testing.T) {
			for _, tc := range cases {
				t.Run(tc.desc, func(t *testing.T) {
					c := &committer{}
					got := tr.do(t, wrap(c, tc.door), "GET")
					if got.status != tc.status || got.body != tc.body || got.err != nil {
						t.Errorf("got %d %q %v, want %d %q", got.status, got.body, got.err, tc.status, tc.body)
					}
					if sent := got.header["Set-Cookie"]; !slices.Equal(sent, []string{cookie}) {
						t.Errorf("cookies sent: %q", sent)
					}
					if n := c.commits.Load(); n != 1 {
						t.Errorf("%d commits, want 1", n)
					}
					if c.w.Err() != nil || c.fails.Load() != 0 {
						t.Errorf("failed: %v", c.w.Err())
					}
				})
			}
		})
	}
}

func TestFlush(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("W2 the client has the header while the handler runs, HTTP/2 is %t", http2), func(t *testing.T) {
			seen := make(chan struct{})
			srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				<-seen
			}), http2)
			res, err := srv.Client().Get(srv.URL)
			close(seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(res).header.Get("Set-Cookie"); got != cookie {
				t.Errorf("got cookie %q", got)
			}
		})
	}

	t.Run("W2 a flush error reaches the caller", func(t *testing.T) {
		want := errors.New("broken pipe")
		c := &committer{}
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				if err := http.NewResponseController(w).Flush(); err != want {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		})(flushError{httptest.NewRecorder(), want}, nil)
		if n := c.commits.Load(); n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
	})

	t.Run("W2 an inner writer that cannot flush still has its response to give", func(t *testing.T) {
		rec := httptest.NewRecorder()
		c := &committer{}
		views := 0
		c.commit = func() error { rec.Header().Set("Views", fmt.Sprint(views)); return nil }
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("got %v, want ErrNotSupported", err)
			}
			if c.w.Started() {
				t.Error("Started, though nothing has gone out")
			}
			views = 7
			http.Error(w, "no", http.StatusForbidden)
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) || !c.w.Started() {
				t.Errorf("after the response: %v, Started is %t", err, c.w.Started())
			}
		})(plain{rec}, nil)
		got := read(rec.Result())
		if got.status != 403 || got.body != "no\n" || got.header.Get("Views") != "7" {
			t.Errorf("got %+v", got)
		}
	})
}

type flushError struct {
	http.ResponseWriter
	err error
}

func (f flushError) FlushError() error { return f.err }

func TestInterim(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("W3 103, a change, 200; HTTP/2 is %t", http2), func(t *testing.T) {
			c := &committer{}
			views := 0
			c.commit = func() error { c.rw.Header().Add("Set-Cookie", fmt.Sprint("views=", views)); return nil }
			srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a.css>")
				w.WriteHeader(103) // nothing to take out
				c.rw.Header().Set("Set-Cookie", cookie)
				w.WriteHeader(103)
				if c.commits.Load() != 0 || c.w.Started() {
					t.Error("103 has committed")
				}
				views = 7
				w.WriteHeader(200)
			}), http2)
			var interim []http.Header
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code != 103 {
						t.Errorf("got %d, want 103", code)
					}
					interim = append(interim, http.Header(h))
					return nil
				},
			})
			req, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got := read(res)
			link := http.Header{"Link": {"</a.css>"}}
			if len(interim) != 2 || !maps.EqualFunc(interim[0], link, slices.Equal) || !maps.EqualFunc(interim[1], link, slices.Equal) {
				t.Errorf("103 came with %v", interim)
			}
			if want := []string{cookie, "views=7"}; got.status != 200 || !slices.Equal(got.header["Set-Cookie"], want) {
				t.Errorf("got %d with %q, want %q", got.status, got.header["Set-Cookie"], want)
			}
		})
	}

	t.Run("W3 101 is a final status", func(t *testing.T) {
		c := &committer{}
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(101)
			if c.commits.Load() != 1 || !c.w.Started() {
				t.Error("101 has not committed")
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}), false)
		res := dial(t, srv)
		if res.StatusCode != 101 || res.Header.Get("Set-Cookie") != cookie {
			t.Errorf("got %d with %v", res.StatusCode, res.Header)
		}
	})

	t.Run("W3 a panic in a 1xx puts back what was taken out", func(t *testing.T) {
		rec := httptest.NewRecorder()
		c := &committer{rw: rec}
		c.w = response.New(panicky{rec}, c)
		rec.Header().Set("Set-Cookie", cookie)
		if got := recovered(func() { c.w.WriteHeader(103) }); got != "WriteHeader" {
			t.Errorf("recovered %v", got)
		}
		if got := rec.Header().Get("Set-Cookie"); got != cookie {
			t.Errorf("got cookie %q", got)
		}
	})

	t.Run("W3 after the header, and after a failure, 1xx changes nothing", func(t *testing.T) {
		for _, err := range []error{nil, errSave} {
			rec := httptest.NewRecorder()
			c := &committer{err: err}
			wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
				w.WriteHeader(103)
			})(rec, nil)
			if rec.Code == 103 || c.commits.Load() != 1 || c.interims.Load() != 0 {
				t.Errorf("got %d after %d commits, %d interims", rec.Code, c.commits.Load(), c.interims.Load())
			}
		}
	})
}

type panicky struct{ http.ResponseWriter }

func (panicky) WriteHeader(int) { panic("WriteHeader") }

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// dial sends a request by hand, for responses that http.Client would not show.
func dial(t *testing.T, srv *httptest.Server) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestHijack(t *testing.T) {
	t.Run("W4 saved before the hand-over, the header is not touched after it", func(t *testing.T) {
		c := &committer{}
		done := make(chan struct{})
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if c.commits.Load() != 1 || !c.w.Started() {
				t.Errorf("%d commits, Started is %t", c.commits.Load(), c.w.Started())
			}
			fmt.Fprint(buf, "HTTP/1.1 418 teapot\r\nContent-Length: 0\r\n\r\n")
			buf.Flush()
			c.commit = func() error { panic("committed after the hand-over") }
			if _, err := w.Write([]byte("late")); err != http.ErrHijacked {
				t.Errorf("Write: %v", err)
			}
			if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
				t.Errorf("Hijack: %v", err)
			}
			if !c.w.Hijacked() {
				t.Error("no longer Hijacked after late calls")
			}
			close(done)
		}), false)
		// net/http itself logs a Write after Hijack
		var lines syncBuffer
		srv.Config.ErrorLog.SetOutput(&lines)
		if res := dial(t, srv); res.StatusCode != 418 || len(res.Header) != 1 {
			t.Errorf("got %d with %v", res.StatusCode, res.Header)
		}
		<-done
	})

	t.Run("W4 a refused hand-over leaves the response open", func(t *testing.T) {
		views := 0
		c := &committer{}
		c.commit = func() error { c.rw.Header().Set("Views", fmt.Sprint(views)); return nil }
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("got %v, want ErrUnsupported", err)
			}
			if c.w.Started() || c.w.Hijacked() {
				t.Error("Started or Hijacked, though nothing was handed over")
			}
			views = 7
			http.Error(w, "no websocket here", 400)
		}), true)
		got := request(t, srv, "GET")
		if got.status != 400 || got.header.Get("Views") != "7" {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("W4 no hand-over after a failed commit", func(t *testing.T) {
		srv := serve(t, wrap(&committer{err: errSave}, func(w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				if _, _, err := w.(http.Hijacker).Hijack(); err != errSave {
					t.Errorf("got %v, want %v", err, errSave)
				}
			}
		}), false)
		if got := request(t, srv, "GET"); got.status != 503 || got.body != errorBody {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("W4 deadlines and full duplex pass through", func(t *testing.T) {
		for _, http2 := range []bool{false, true} {
			srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
				rc := http.NewResponseController(w)
				in := time.Now().Add(time.Hour)
				if err := errors.Join(rc.SetReadDeadline(in), rc.SetWriteDeadline(in), rc.EnableFullDuplex()); err != nil {
					t.Error(err)
				}
			}), http2)
			if got := request(t, srv, "GET"); got.status != 200 {
				t.Errorf("got %+v", got)
			}
		}
	})

	t.Run("W4 Push is passed on", func(t *testing.T) {
		if err := response.New(httptest.NewRecorder(), nil).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Recorder: %v, want ErrNotSupported", err)
		}
		p := &pusher{}
		if err := response.New(p, nil).Push("/a.css", nil); err != nil || p.target != "/a.css" {
			t.Errorf("pushed %q: %v", p.target, err)
		}
	})
}

type pusher struct {
	http.ResponseWriter
	target string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error { p.target = target; return nil }

// A fast writer notes by which methods it was reached.
type fast struct {
	*httptest.ResponseRecorder
	calls []string
}

func (f *fast) ReadFrom(src io.Reader) (int64, error) {
	f.calls = append(f.calls, "ReadFrom")
	if _, ok := src.(interface{ Fd() uintptr }); !ok {
		f.calls = append(f.calls, "of no file")
	}
	return io.Copy(f.Body, src)
}

func (f *fast) WriteString(s string) (int, error) {
	f.calls = append(f.calls, "WriteString")
	return f.ResponseRecorder.WriteString(s)
}

func TestReaderFrom(t *testing.T) {
	page := strings.Repeat("page\n", 1000)

	t.Run("W5 ReadFrom and WriteString of the inner writer serve, after the commit", func(t *testing.T) {
		f, err := os.Open(testFile(t))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		inner := &fast{ResponseRecorder: httptest.NewRecorder()}
		c := &committer{}
		c.commit = func() error { inner.calls = append(inner.calls, "commit"); return nil }
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a")
			if n, err := io.Copy(w, f); n != 5000 || err != nil {
				t.Errorf("copied %d: %v", n, err)
			}
		})(inner, nil)
		if want := []string{"commit", "WriteString", "ReadFrom"}; !slices.Equal(inner.calls, want) {
			t.Errorf("got calls %v, want %v", inner.calls, want)
		}
		if got := inner.Body.String(); got != "a"+page {
			t.Errorf("got a body of %d bytes", len(got))
		}
	})

	t.Run("W5 a wrapper without ReadFrom sees the body, whatever is behind its Unwrap", func(t *testing.T) {
		inner := &fast{ResponseRecorder: httptest.NewRecorder()}
		wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, onlyReader{strings.NewReader(page)}); n != 5000 || err != nil {
				t.Errorf("copied %d: %v", n, err)
			}
		})(upper{inner}, nil)
		if got := inner.Body.String(); got != strings.ToUpper(page) || inner.calls != nil {
			t.Errorf("got %d bytes by %v", len(got), inner.calls)
		}
	})

	t.Run("W5 a source that fails at once leaves the handler free to answer", func(t *testing.T) {
		for _, tr := range transports {
			views := 0
			c := &committer{}
			c.commit = func() error { c.rw.Header().Set("Views", fmt.Sprint(views)); return nil }
			got := tr.do(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				if n, err := io.Copy(w, onlyReader{errReader{}}); n != 0 || err != io.ErrUnexpectedEOF {
					t.Errorf("copied %d: %v", n, err)
				}
				views = 7
				http.Error(w, "no source", http.StatusBadGateway)
			}), "GET")
			if got.status != 502 || got.body != "no source\n" || got.header.Get("Views") != "7" {
				t.Errorf("%s: got %+v", tr.name, got)
			}
		}
	})
}

type upper struct{ f *fast }

func (u upper) Header() http.Header         { return u.f.Header() }
func (u upper) WriteHeader(code int)        { u.f.WriteHeader(code) }
func (u upper) Write(p []byte) (int, error) { return u.f.Write(bytes.ToUpper(p)) }
func (u upper) Unwrap() http.ResponseWriter { return u.f }

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestFailedCommit(t *testing.T) {
	h := func(w http.ResponseWriter) {
		for k, v := range map[string]string{
			"Content-Type": "image/png", "Content-Length": "3", "Content-Encoding": "gzip", "Content-Language": "de",
			"Content-Range": "bytes 0-2/3", "Content-Disposition": "attachment", "Content-Location": "/a", "Last-Modified": "now",
			"Accept-Ranges": "bytes", "Location": "/elsewhere", "Cache-Control": "public, max-age=3600", "Expires": "tomorrow",
			"Trailer": "Sum", http.TrailerPrefix + "Sum": "1", "X-Frame-Options": "DENY",
		} {
			w.Header().Set(k, v)
		}
		w.Header()["ETag"] = []string{`"1"`}
	}
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != errSave {
			t.Errorf("got %v, want %v", err, errSave)
		}
	}
	cases := []struct {
		desc string
		next func(t *testing.T, w http.ResponseWriter, r *http.Request)
	}{
		{"Write", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			n, err := w.Write([]byte("png"))
			if check(t, err); n != 0 {
				t.Errorf("wrote %d", n)
			}
		}},
		{"WriteString", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			_, err := io.WriteString(w, "png")
			check(t, err)
		}},
		{"WriteHeader and Write, twice", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				w.WriteHeader(200)
				_, err := w.Write([]byte("png"))
				check(t, err)
			}
		}},
		{"ReadFrom, of nothing too", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			_, err := io.Copy(w, onlyReader{strings.NewReader("png")})
			check(t, err)
			_, err = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
			check(t, err)
		}},
		{"Flush", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			check(t, http.NewResponseController(w).Flush())
		}},
		{"a header set afterwards", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.Header().Set("X-Late", "1")
			w.Header().Set(http.TrailerPrefix+"Sum", "1")
		}},
		{"a redirect", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/a", http.StatusFound)
		}},
		{"ServeContent", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			w.Header().Del("Content-Encoding")
			http.ServeContent(w, r, "a.png", time.Now(), strings.NewReader("png"))
		}},
		{"an SSE loop", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			n := 0
			for ; n < 10; n++ {
				if _, err := fmt.Fprint(w, "data: 1\n\n"); err != nil {
					break
				}
				w.(http.Flusher).Flush()
			}
			if n != 0 {
				t.Errorf("%d events were written", n)
			}
		}},
		{"nothing", func(*testing.T, http.ResponseWriter, *http.Request) {}},
	}
	for _, tr := range transports {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run("W7 "+tr.name+" "+method, func(t *testing.T) {
				for _, tc := range cases {
					t.Run(tc.desc, func(t *testing.T) {
						c := &committer{err: errSave}
						got := tr.do(t, wrap(c, func(w http.ResponseWriter, r *http.Request) {
							h(w)
							tc.next(t, w, r)
						}), method)
						want := http.Header{
							"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"12"}, "Retry-After": {"1"},
							"X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"DENY"},
						}
						if got.status != 503 || !maps.EqualFunc(got.header, want, slices.Equal) || got.err != nil {
							t.Errorf("got %d with %v %v, want 503 with %v", got.status, got.header, got.err, want)
						}
						if body := got.body; body != errorBody && (method == "GET" || body != "" && tr.name != "Recorder") {
							t.Errorf("got body %q, want %q", body, errorBody)
						}
						if c.commits.Load() != 1 || c.fails.Load() != 1 || c.w.Err() != errSave {
							t.Errorf("%d commits, %d answers, Err is %v", c.commits.Load(), c.fails.Load(), c.w.Err())
						}
					})
				}
			})
		}
	}

	t.Run("W7 behind ReverseProxy, which panics at the error", func(t *testing.T) {
		page := strings.Repeat("data: 1\n\n", 1000)
		backends := map[string]http.HandlerFunc{
			"a stream, flushed at each write": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				w.Header().Set("Trailer", "Sum")
				fmt.Fprint(w, page)
				w.Header().Set("Sum", "1")
			},
			"a known length, flushed by another goroutine": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(page)))
				fmt.Fprint(w, page)
			},
		}
		for desc, handler := range backends {
			target, err := url.Parse(serve(t, handler, false).URL)
			if err != nil {
				t.Fatal(err)
			}
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: time.Nanosecond}
			for range 20 {
				c := &committer{}
				got := request(t, serve(t, wrap(c, proxy.ServeHTTP), false), "GET")
				if got.status != 200 || got.body != page || got.err != nil || c.commits.Load() != 1 {
					t.Fatalf("%s: got %d, %d bytes, %v after %d commits", desc, got.status, len(got.body), got.err, c.commits.Load())
				}
				c = &committer{err: errSave}
				got = request(t, serve(t, wrap(c, proxy.ServeHTTP), false), "GET")
				if got.status != 503 || got.body != errorBody || got.err != nil || c.fails.Load() != 1 {
					t.Fatalf("%s: not saved: got %+v after %d answers", desc, got, c.fails.Load())
				}
			}
		}
	})

	t.Run("W7 the client has the error while the handler runs", func(t *testing.T) {
		for _, http2 := range []bool{false, true} {
			seen := make(chan struct{})
			srv := serve(t, wrap(&committer{err: errSave}, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "a")
				<-seen
			}), http2)
			res, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			body := make([]byte, len(errorBody))
			_, err = io.ReadFull(res.Body, body)
			close(seen)
			res.Body.Close()
			if string(body) != errorBody || err != nil {
				t.Errorf("got %q %v", body, err)
			}
		}
	})

	answers := []struct {
		desc   string
		fail   func(http.ResponseWriter)
		status int
		header http.Header
		body   string
	}{
		{"nothing", func(http.ResponseWriter) {}, 500, http.Header{"Content-Length": {"0"}}, ""},
		{"a body without a status", func(w http.ResponseWriter) { fmt.Fprint(w, "oops") }, 500, http.Header{"Content-Length": {"4"}, "Content-Type": {"text/plain; charset=utf-8"}}, "oops"},
		{"a status", func(w http.ResponseWriter) { w.WriteHeader(409) }, 409, http.Header{"Content-Length": {"0"}}, ""},
		{"statuses, of which the first final one counts", func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(409); w.WriteHeader(200) }, 409, http.Header{"Content-Length": {"0"}}, ""},
		{"a wrong length", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "99"); fmt.Fprint(w, "oops") }, 500, http.Header{"Content-Length": {"4"}, "Content-Type": {"text/plain; charset=utf-8"}}, "oops"},
		{"204", func(w http.ResponseWriter) { w.WriteHeader(204); fmt.Fprint(w, "oops") }, 204, http.Header{}, ""},
	}
	for _, tc := range answers {
		t.Run("W7 Fail answers with "+tc.desc, func(t *testing.T) {
			for _, tr := range transports[:2] {
				c := &committer{err: errSave, fail: tc.fail}
				got := tr.do(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }), "GET")
				if got.status != tc.status || !maps.EqualFunc(got.header, tc.header, slices.Equal) || got.body != tc.body || got.err != nil {
					t.Errorf("%s: got %+v, want %d %v %q", tr.name, got, tc.status, tc.header, tc.body)
				}
			}
		})
	}

	t.Run("W7 Fail that reaches for the handler's writer does not hang", func(t *testing.T) {
		for _, tr := range transports {
			c := &committer{err: errSave}
			c.fail = func(w http.ResponseWriter) {
				c.w.WriteHeader(103)
				c.w.WriteHeader(200)
				if _, err := c.w.Write([]byte("a")); err != errSave {
					t.Errorf("Write: %v", err)
				}
				if err := c.w.FlushError(); err != errSave {
					t.Errorf("Flush: %v", err)
				}
				if _, _, err := c.w.Hijack(); err != errSave {
					t.Errorf("Hijack: %v", err)
				}
				w.WriteHeader(503)
			}
			if got := tr.do(t, wrap(c, func(http.ResponseWriter, *http.Request) {}), "GET"); got.status != 503 || got.body != "" {
				t.Errorf("%s: got %+v", tr.name, got)
			}
		}
	})
}

func TestPanic(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		fmt.Fprint(w, "page")
	}
	recovering := func(next http.HandlerFunc, want any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if v := recover(); v != want {
					panic(fmt.Sprintf("recovered %v, want %v", v, want))
				}
				http.Error(w, "recovered", 500)
			}()
			next(w, r)
		}
	}

	t.Run("W8 a handler's panic commits nothing, what is in the header goes out with an outer recovery", func(t *testing.T) {
		for _, tr := range transports {
			c := &committer{}
			got := tr.do(t, recovering(wrap(c, func(http.ResponseWriter, *http.Request) {
				c.rw.Header().Set("Set-Cookie", "session=renewed")
				panic("handler")
			}), "handler"), "GET")
			if got.status != 500 || got.body != "recovered\n" || got.header.Get("Set-Cookie") != "session=renewed" {
				t.Errorf("%s: got %+v", tr.name, got)
			}
			if n := c.commits.Load(); n != 0 {
				t.Errorf("%s: %d commits", tr.name, n)
			}
		}
	})
	panics := []struct {
		desc  string
		make  func() *committer
		fails int32
	}{
		{"Commit", func() *committer { return &committer{commit: func() error { panic("hook") }} }, 0},
		{"Fail", func() *committer {
			return &committer{err: errSave, fail: func(w http.ResponseWriter) { fmt.Fprint(w, "half"); panic("hook") }}
		}, 1},
	}
	for _, p := range panics {
		t.Run("W7 "+p.desc+" panics, recovered outside", func(t *testing.T) {
			for _, tr := range transports {
				c := p.make()
				got := tr.do(t, recovering(wrap(c, page), "hook"), "GET")
				if got.status != 500 || got.body != "recovered\n" || c.commits.Load() != 1 || c.fails.Load() != p.fails {
					t.Errorf("%s: got %+v after %d commits, %d answers", tr.name, got, c.commits.Load(), c.fails.Load())
				}
			}
		})
		t.Run("W7 "+p.desc+" panics, recovered inside", func(t *testing.T) {
			for _, tr := range transports {
				c := p.make()
				got := tr.do(t, wrap(c, recovering(page, "hook")), "GET")
				want := http.Header{"Content-Length": {"0"}, "X-Content-Type-Options": {"nosniff"}}
				if p.fails > 0 {
					delete(want, "X-Content-Type-Options") // set after the failure
				}
				if got.status != 500 || got.body != "" || !maps.EqualFunc(got.header, want, slices.Equal) {
					t.Errorf("%s: got %+v, want %v", tr.name, got, want)
				}
				if c.commits.Load() != 1 || c.fails.Load() != p.fails || c.w.Err() == nil {
					t.Errorf("%s: %d commits, %d answers, Err is %v", tr.name, c.commits.Load(), c.fails.Load(), c.w.Err())
				}
			}
		})
	}
}

func TestSuperfluous(t *testing.T) {
	t.Run("W7 a second WriteHeader is net/http's to complain of", func(t *testing.T) {
		srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.WriteHeader(201)
		}), false)
		var lines syncBuffer
		srv.Config.ErrorLog.SetOutput(&lines)
		if got := request(t, srv, "GET"); got.status != 200 {
			t.Errorf("got %+v", got)
		}
		if got := lines.String(); !strings.Contains(got, "superfluous response.WriteHeader") {
			t.Errorf("logged %q", got)
		}
	})
}

// A guarded writer counts who reaches it while a commit runs.
type guarded struct {
	*httptest.ResponseRecorder
	mu         sync.Mutex // a Recorder is for one goroutine
	committing atomic.Bool
	early      atomic.Int32
	committed  atomic.Bool
}

func (g *guarded) touch() func() {
	if g.committing.Load() || !g.committed.Load() {
		g.early.Add(1)
	}
	g.mu.Lock()
	return g.mu.Unlock
}

func (g *guarded) Write(p []byte) (int, error) {
	defer g.touch()()
	return g.ResponseRecorder.Write(p)
}

func (g *guarded) WriteString(s string) (int, error) {
	defer g.touch()()
	return g.ResponseRecorder.WriteString(s)
}

func (g *guarded) WriteHeader(code int) {
	defer g.touch()()
	g.ResponseRecorder.WriteHeader(code)
}

func (g *guarded) Flush() {
	defer g.touch()()
	g.ResponseRecorder.Flush()
}

func TestConcurrency(t *testing.T) {
	doors := []func(w *response.Writer) error{
		func(w *response.Writer) error { _, err := w.Write([]byte("a")); return err },
		func(w *response.Writer) error { _, err := w.WriteString("a"); return err },
		func(w *response.Writer) error { w.WriteHeader(200); return w.Err() },
		func(w *response.Writer) error { return w.FlushError() },
		func(w *response.Writer) error { w.Flush(); return w.Err() },
		func(w *response.Writer) error { w.Finish(); return w.Err() },
		func(w *response.Writer) error { _, err := w.ReadFrom(strings.NewReader("a")); return err },
	}
	for _, want := range []error{nil, errSave} {
		t.Run(fmt.Sprintf("W12 of many doors one commits and the others wait, error is %v", want), func(t *testing.T) {
			for range 50 {
				g := &guarded{ResponseRecorder: httptest.NewRecorder()}
				c := &committer{rw: g}
				var arrived atomic.Int32
				c.commit = func() error {
					g.committing.Store(true)
					for int(arrived.Load()) < len(doors) { // the others are on their way
						runtime.Gosched()
					}
					for range 100 {
						runtime.Gosched()
					}
					g.committed.Store(true)
					g.committing.Store(false)
					return want
				}
				c.w = response.New(g, c)
				var wg sync.WaitGroup
				for _, door := range doors {
					wg.Go(func() {
						arrived.Add(1)
						if err := door(c.w); err != want {
							t.Errorf("got %v, want %v", err, want)
						}
					})
				}
				wg.Wait()
				if c.commits.Load() != 1 || g.early.Load() != 0 || !c.w.Started() {
					t.Fatalf("%d commits, %d calls before the end of it", c.commits.Load(), g.early.Load())
				}
				if want != nil && (g.Code != 503 || g.Body.String() != errorBody || c.fails.Load() != 1) {
					t.Fatalf("got %d %q after %d answers", g.Code, g.Body, c.fails.Load())
				}
			}
		})
	}

	t.Run("W12 http.TimeoutHandler inside", func(t *testing.T) {
		for _, late := range []bool{false, true} {
			c := &committer{}
			release := make(chan struct{})
			d, status := time.Hour, 200
			if late {
				d, status = time.Millisecond, 503
			}
			var wrote sync.WaitGroup
			wrote.Add(1)
			inner := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer wrote.Done()
				if late {
					<-release
				}
				fmt.Fprint(w, "page")
			}), d, "late")
			got := request(t, serve(t, wrap(c, inner.ServeHTTP), false), "GET")
			close(release)
			wrote.Wait()
			if got.status != status || got.header.Get("Set-Cookie") != cookie || c.commits.Load() != 1 {
				t.Errorf("late is %t: got %+v after %d commits", late, got, c.commits.Load())
			}
		}
	})

	t.Run("W12 http.TimeoutHandler outside", func(t *testing.T) {
		for _, late := range []bool{false, true} {
			c := &committer{}
			d, status := time.Hour, 200
			if late {
				d, status = time.Millisecond, 503
			}
			done := make(chan struct{})
			handler := wrap(c, func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
					t.Errorf("Flush: %v", err)
				}
				if late {
					<-r.Context().Done()
					if r.Context().Err() != context.DeadlineExceeded {
						t.Errorf("got %v", r.Context().Err())
					}
				}
				fmt.Fprint(w, "page")
			})
			outer := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				handler(w, r)
			}), d, "late")
			got := request(t, serve(t, outer, false), "GET")
			<-done
			if got.status != status || (got.header.Get("Set-Cookie") == cookie) == late {
				t.Errorf("late is %t: got %+v", late, got)
			}
		}
	})
}

// discard is the cheapest inner writer there is.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

type nothing struct{}

func (nothing) Commit() error                   { return nil }
func (nothing) Fail(http.ResponseWriter, error) {}
func (nothing) Interim(http.Header) func()      { return nil }

func BenchmarkWriter(b *testing.B) {
	var inner http.ResponseWriter = discard{http.Header{}}
	p := []byte("hello")
	b.Run("response", func(b *testing.B) { // New, the first Write, Finish
		b.ReportAllocs()
		for b.Loop() {
			w := response.New(inner, nothing{})
			w.Write(p)
			w.Finish()
		}
	})
	b.Run("write", func(b *testing.B) { // every further Write
		b.ReportAllocs()
		w := response.New(inner, nothing{})
		for b.Loop() {
			w.Write(p)
		}
	})
	b.Run("write/bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			inner.Write(p)
		}
	})
}
