package writing_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// change is a's Handler of next, after a change of the session.
func change(a *kit.App, next http.HandlerFunc) http.Handler {
	return a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.FromContext(r.Context()).Views++
		next(w, r)
	}))
}

// handler is a's Handler of f, for which it looks the session up at once.
func handler(a *kit.App, f func(w http.ResponseWriter, r *http.Request, s *kit.Session)) http.Handler {
	return a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, a.FromContext(r.Context())) }))
}

// failWrites lets every write of a's store fail with err.
func failWrites(a *kit.App, err error) { a.Store.Fail(err, "before Create", "before CompareAndSwap") }

// end deletes what a has loaded, as another process does.
func end(t *testing.T, a *kit.App) {
	for _, key := range a.Store.Keys("Load") {
		kit.OK(t, a.Store.Store.Delete(context.Background(), key))
	}
}

// hangUp sends a request and gives it up when started is closed.
func hangUp(t *testing.T, b *kit.Browser, started <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-started
		cancel()
	}()
	if res, err := b.Send(b.Request("GET", "/").WithContext(ctx)); err == nil {
		res.Body.Close()
	}
}

// proxy is a ReverseProxy to a server that f answers for.
func proxy(t *testing.T, f http.HandlerFunc) http.HandlerFunc {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	target, err := url.Parse(srv.URL)
	kit.Must(t, err)
	return (&httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0),
	}).ServeHTTP
}

var files = fstest.MapFS{"a.txt": {Data: []byte(strings.Repeat("0123456789", 1000)), ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}

func serveFile(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "a.txt") }

// views are those of the session whose token the response sends.
func views(a *kit.App, res kit.Response) int { return a.Views(kit.TokenOf(res.Header)) }
