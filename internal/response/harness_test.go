package response_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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

	commits, fails, interims, status atomic.Int32
}

func (c *committer) Commit(status int) error {
	c.commits.Add(1)
	c.status.Store(int32(status))
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

func (c *committer) Reopen() {}
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
		c.rw, c.w = rw, new(response.Writer).Init(rw, c)
		next(c.w, r)
		c.w.Finish()
		if !c.w.Started() {
			panic("not Started after Finish")
		}
	}
}

// A result is a response as the client has it. Lines of the server's log fail the test: "superfluous
// response.WriteHeader call" is one.
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

type onlyReader struct{ io.Reader }

func testFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(name, []byte(strings.Repeat("page\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
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
