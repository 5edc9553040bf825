package writing_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// representation are headers that describe a body, and caching.
var representation = http.Header{
	"Content-Type": {"text/html"}, "Content-Length": {"6"}, "Content-Encoding": {"identity"}, "Content-Language": {"en"},
	"Content-Range": {"bytes 0-5/6"}, "Content-Disposition": {"attachment"}, "Etag": {`"1"`}, "Last-Modified": {"Fri, 02 Jan 2026 03:04:05 GMT"},
	"Location": {"/secret"}, "Cache-Control": {"public, max-age=60"}, "Expires": {"Fri, 02 Jan 2026 03:04:05 GMT"}, "Accept-Ranges": {"bytes"},
}

// However a handler responds, a save that fails has one and the same answer.
func TestFailedSave(t *testing.T) {
	t.Parallel()
	proxied := proxy(t, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), representation)
		w.Header().Del("Location")
		io.WriteString(w, "theirs")
	})
	handlers := []struct {
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
		{"a file", func(_ *testing.T, w http.ResponseWriter, r *http.Request) { serveFile(w, r) }},
		{"io.Copy", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 5000))})
		}},
		{"Flush", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
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
		{"a ReverseProxy", func(_ *testing.T, w http.ResponseWriter, r *http.Request) { proxied(w, r) }},
		{"http.TimeoutHandler", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/css")
				io.WriteString(w, "secret")
			}), time.Hour, "").ServeHTTP(w, r)
		}},
	}
	unavailable := func(_ *testing.T, a *kit.App, _ *kit.Session) {
		failWrites(a, fmt.Errorf("secret host: %w", sessions.ErrUnavailable))
	}
	for _, tc := range []struct {
		desc   string
		stored bool
		fail   func(t *testing.T, a *kit.App, s *kit.Session)
		status int
		event  sessions.EventKind
	}{
		{"the store does not answer to a new session", false, unavailable, 503, sessions.EventUnavailable},
		{"the store does not answer to a stored one", true, unavailable, 503, sessions.EventUnavailable},
		{"the store has an error of its own", true, func(_ *testing.T, a *kit.App, _ *kit.Session) {
			failWrites(a, errors.New("secret password"))
		}, 500, sessions.EventFailed},
		{"the session is too large", true, func(_ *testing.T, _ *kit.App, s *kit.Session) { s.UserID = strings.Repeat("x", 1000) }, 500, sessions.EventFailed},
		{"the session has ended meanwhile", true, func(t *testing.T, a *kit.App, _ *kit.Session) { end(t, a) }, 409, sessions.EventGone},
	} {
		for _, h := range handlers {
			kit.EachVia(t, "W7 "+tc.desc+": exactly the error response, with "+h.desc, func(t *testing.T, via kit.Via) {
				a, token := kit.NewApp(t, via, kit.Memory(), sessions.Config{MaxSize: 1000}), ""
				if tc.stored {
					token = a.Seed(1)
				}
				a.Root = handler(a, func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
					s.Views = 2
					w.Header().Set("X-Request-Id", "7")
					tc.fail(t, a, s)
					defer func() { // ReverseProxy panics, and net/http's server recovers
						if p := recover(); p != nil && (via != kit.InProcess || p != http.ErrAbortHandler) {
							panic(p)
						}
					}()
					h.f(t, w, r)
				})
				body := http.StatusText(tc.status) + "\n"
				want := kit.Header("Cache-Control", "no-store", "Content-Length", fmt.Sprint(len(body)), "Content-Type", "text/plain; charset=utf-8",
					"X-Content-Type-Options", "nosniff", "Vary", "Cookie", "X-Request-Id", "7")
				if tc.status == 503 {
					want.Set("Retry-After", "1")
				}
				res := a.Browser().As(token).Get("/")
				if res.StatusCode != tc.status || res.Text != body {
					t.Errorf("got %d %q, want %d %q", res.StatusCode, res.Text, tc.status, body)
				}
				kit.WantHeader(t, res.Header, want)
				if len(res.Trailer) > 0 {
					t.Errorf("trailer %v", res.Trailer)
				}
				a.Server().WantQuiet()
				a.WantEvents(t, tc.event)
				if strings.Contains(res.Text+fmt.Sprint(res.Header), "secret") {
					t.Error("a secret got out")
				}
			})
		}
	}
}

// httputil.ReverseProxy panics with http.ErrAbortHandler when it cannot write
// on. Over HTTP/1.1 the error response has arrived by then, whole; over HTTP/2
// its end has not, and the client saw a broken stream instead of the 503.
func TestFailedSaveInReverseProxy(t *testing.T) {
	t.Parallel()
	t.Run("W7 W9 the error response arrives whole", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		failWrites(a, sessions.ErrUnavailable)
		a.Root = change(a, proxy(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "theirs") }))
		if res := a.Browser().Get("/"); res.StatusCode != 503 || res.Text != "Service Unavailable\n" {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
	})
}

func TestErrorHandler(t *testing.T) {
	t.Parallel()
	kit.EachVia(t, "W7 ErrorHandler gives the answer, on the handler's request", func(t *testing.T, via kit.Via) {
		var a *kit.App
		a = kit.NewApp(t, via, kit.Memory(), sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			kit.WantErr(t, "the save", err, sessions.ErrUnavailable)
			if got := a.FromContext(r.Context()).Views; got != 1 {
				t.Errorf("ErrorHandler reads %d views, want 1", got)
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(507)
			io.WriteString(w, `{"title":"try again"}`)
		}})
		failWrites(a, sessions.ErrUnavailable)
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "public")
			io.WriteString(w, "secret")
		})
		res := a.Browser().Get("/")
		if res.StatusCode != 507 || res.Text != `{"title":"try again"}` {
			t.Errorf("%d %q", res.StatusCode, res.Text)
		}
		kit.WantHeader(t, res.Header, kit.Header(append(kit.Used, "Content-Type", "application/problem+json", "Content-Length", "21")...))
		a.Server().WantQuiet()
	})

	t.Run("W7 ErrorHandler may end a session that is gone, and the answer takes the cookie back", func(t *testing.T) {
		var a *kit.App
		a = kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			kit.WantErr(t, "the save", err, sessions.ErrGone)
			kit.OK(t, a.Destroy(r.Context()))
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}})
		token := a.Seed(1)
		a.Root = change(a, func(w http.ResponseWriter, _ *http.Request) {
			end(t, a)
			io.WriteString(w, "secret")
		})
		res := a.Browser().As(token).Get("/")
		if got := res.SetCookies(); res.StatusCode != 303 || !slices.Equal(got, []string{kit.CookieExpired}) || res.Header.Get("Location") != "/login" {
			t.Errorf("%d %v, want a redirect with the cookie taken back", res.StatusCode, kit.Masked(res.Header))
		}
	})

	kit.EachVia(t, "W7 after Save has told of a failure the handler can answer for itself", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		a.Root = change(a, func(w http.ResponseWriter, r *http.Request) {
			end(t, a)
			kit.WantErr(t, "Save", a.Save(r.Context()), sessions.ErrGone)
			http.Error(w, "please sign in", http.StatusUnauthorized)
		})
		if res := a.Browser().As(token).Get("/"); res.StatusCode != 401 || res.Text != "please sign in\n" || len(res.SetCookies()) > 0 {
			t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
		}
		a.Server().WantQuiet()
	})
}

// compressors are middlewares that announce their encoding before they call next.
var compressors = map[string]func(next http.Handler) http.Handler{
	"of the textbooks, which takes back no Content-Length": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			gz := gzip.NewWriter(w)
			defer gz.Close()
			next.ServeHTTP(&zipping{w, gz}, r)
		})
	},
	"as gorilla's and gin's, which takes it back and flushes": func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			gz := gzip.NewWriter(w)
			defer gz.Close()
			next.ServeHTTP(&flushing{w, gz}, r)
		})
	},
}

type zipping struct {
	http.ResponseWriter
	gz *gzip.Writer
}

func (z *zipping) Write(p []byte) (int, error) { return z.gz.Write(p) }

type flushing struct {
	http.ResponseWriter
	gz *gzip.Writer
}

func (f *flushing) WriteHeader(code int) {
	f.Header().Del("Content-Length")
	f.ResponseWriter.WriteHeader(code)
}

func (f *flushing) Write(p []byte) (int, error) {
	f.Header().Del("Content-Length")
	return f.gz.Write(p)
}

func (f *flushing) Flush() {
	_ = f.gz.Flush()
	_ = http.NewResponseController(f.ResponseWriter).Flush()
}

func TestFailedSaveBehindACompressor(t *testing.T) {
	t.Parallel()
	for desc, compress := range compressors {
		kit.EachVia(t, "W14 the error response arrives whole behind a compressor "+desc, func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			failWrites(a, sessions.ErrUnavailable)
			compressed := compress(change(a, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "image/png")
				w.Header().Set("Content-Language", "fr")
				w.Header().Set("ETag", `"1"`)
				io.WriteString(w, "secret")
			}))
			a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "1"})
				w.Header().Set("Content-Language", "de")
				w.Header().Add("Vary", "Accept-Encoding")
				compressed.ServeHTTP(w, r)
			})
			b := a.Browser()
			r := b.Request("GET", "/")
			r.Header.Set("Accept-Encoding", "gzip") // so that nobody else decodes it
			res := b.Do(r)
			gz, err := gzip.NewReader(strings.NewReader(res.Text))
			kit.Must(t, err)
			body, err := io.ReadAll(gz)
			kit.OK(t, err)
			if res.StatusCode != 503 || string(body) != "Service Unavailable\n" || res.ContentLength == int64(len(body)) {
				t.Errorf("%d %q of %d bytes", res.StatusCode, body, res.ContentLength)
			}
			res.Header.Del("Content-Length") // the server's own, and true, where it is there
			kit.WantHeader(t, res.Header, kit.Header("Cache-Control", "no-store", "Content-Encoding", "gzip", "Content-Language", "de",
				"Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff", "Retry-After", "1",
				"Vary", "Accept-Encoding", "Vary", "Cookie", "Set-Cookie", "theirs=1"))
			a.Server().WantQuiet()
		})
	}
}
