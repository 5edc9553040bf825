package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// A failed save: the shape of the handler, and the one and only answer.
func TestFailedSave(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		maps.Copy(h, representation)
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
		{"a redirect", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/next", http.StatusSeeOther)
		}},
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
			http.Redirect(w, r, "/login", http.StatusSeeOther)
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
			http.Error(w, "please sign in", http.StatusUnauthorized)
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
