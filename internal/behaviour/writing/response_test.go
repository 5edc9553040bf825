package writing_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Whatever a handler begins its response by, the change made before is saved,
// and the cookie is in the header.
func TestBeginningOfTheResponse(t *testing.T) {
	t.Parallel()
	file := string(files["a.txt"].Data)
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	copied := func(r func() io.Reader) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, r()) }
	}
	nothing := func(http.ResponseWriter, *http.Request) {}
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
		{"WriteString", "", nil, body("hello"), 200, "hello"},
		{"Fprintf", "", nil, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "hello") }, 200, "hello"},
		{"WriteHeader", "", nil, status(202), 202, ""},
		{"204", "", nil, status(204), 204, ""},
		{"304", "", nil, status(304), 304, ""},
		{"a redirect", "", nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", http.StatusSeeOther) }, 303, "<a href=\"/next\">See Other</a>.\n\n"},
		{"http.Error", "", nil, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }, 418, "no\n"},
		{"http.NotFound", "", nil, http.NotFound, 404, "404 page not found\n"},
		{"a file", "", nil, serveFile, 200, file},
		{"a part of a file", "", http.Header{"Range": {"bytes=0-3"}}, serveFile, 206, "0123"},
		{"a range that is not there", "", http.Header{"Range": {"bytes=20000-"}}, serveFile, 416, "invalid range: failed to overlap\n"},
		{"a file not modified", "", http.Header{"If-Modified-Since": {"Fri, 02 Jan 2026 03:04:05 GMT"}}, serveFile, 304, ""},
		{"ServeContent", "", nil, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader("content"))
		}, 200, "content"},
		{"io.Copy", "", nil, copied(func() io.Reader { return strings.NewReader("copied") }), 200, "copied"},
		{"io.Copy of more than a buffer", "", nil, copied(func() io.Reader { return struct{ io.Reader }{strings.NewReader(file)} }), 200, file},
		{"io.Copy of nothing", "", nil, copied(func() io.Reader { return strings.NewReader("") }), 200, ""},
		{"no write", "", nil, nothing, 200, ""},
		{"HEAD and no write", "HEAD", nil, nothing, 200, ""},
		{"HEAD of a file", "HEAD", nil, serveFile, 200, ""},
		{"Content-Length before Write", "", nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Write([]byte("hello"))
		}, 200, "hello"},
		{"Flush alone", "", nil, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, ""},
		{"Flush, then Write", "", nil, func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			w.Write([]byte("hello"))
		}, 200, "hello"},
		{"a ReverseProxy inside", "", nil, proxy(t, func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "x"})
			io.WriteString(w, "proxied")
		}), 200, "proxied"},
		{"http.TimeoutHandler inside", "", nil, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sessions.FromContext[kit.Session](r.Context()).Flash = "in time"
			http.SetCookie(w, &http.Cookie{Name: "own", Value: "x"})
			io.WriteString(w, "in time")
		}), time.Hour, "").ServeHTTP, 200, "in time"},
		{"http.MaxBytesHandler and StripPrefix inside", "", nil, http.MaxBytesHandler(http.StripPrefix("/", body("stripped")), 10).ServeHTTP, 200, "stripped"},
	} {
		kit.EachVia(t, "W1 W9 the cookie is there with "+tc.desc, func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			a.Root = change(a, tc.f)
			b := a.Browser()
			visit := func() kit.Response {
				r := b.Request(tc.method, "/")
				maps.Copy(r.Header, tc.header)
				return b.Do(r)
			}
			res := visit()
			if res.StatusCode != tc.status || res.Text != tc.body {
				t.Errorf("got %d %.40q, want %d %.40q", res.StatusCode, res.Text, tc.status, tc.body)
			}
			if got := res.SetCookies(); len(got) != 1 || kit.TokenShape.ReplaceAllString(got[0], "TOKEN") != kit.CookieSent {
				t.Fatalf("Set-Cookie %q, want one", got)
			}
			token := kit.TokenOf(res.Header)
			if got := a.Views(token); got != 1 {
				t.Errorf("%d views stored, want 1", got)
			}

			// The second time it needs no cookie.
			if res = visit(); len(res.SetCookies()) > 0 || a.Views(token) != 2 {
				t.Errorf("the second time: Set-Cookie %q, %d views", res.SetCookies(), a.Views(token))
			}
			a.Server().WantQuiet()
		})
	}
}

// countingWriter counts the special ways in which it is written to.
type countingWriter struct {
	*httptest.ResponseRecorder
	readFrom, writeString int
}

func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	w.readFrom++
	return io.Copy(struct{ io.Writer }{w.ResponseRecorder}, r)
}

func (w *countingWriter) WriteString(s string) (int, error) {
	w.writeString++
	return w.ResponseRecorder.WriteString(s)
}

func TestInnerWriter(t *testing.T) {
	t.Parallel()
	t.Run("W5 the inner writer's ReadFrom and WriteString serve, after the save", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
		body := strings.Repeat("x", 10_000)
		change(a, func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("no io.ReaderFrom")
			}
			if n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(body)}); n != int64(len(body)) || err != nil {
				t.Errorf("copied %d, %v", n, err)
			}
			io.WriteString(w, "y")
		}).ServeHTTP(w, kit.With("", "/"))
		if w.readFrom == 0 || w.writeString == 0 || w.Body.String() != body+"y" {
			t.Errorf("%d ReadFrom, %d WriteString, %d bytes", w.readFrom, w.writeString, w.Body.Len())
		}
		if got := a.Views(kit.TokenOf(w.Result().Header)); got != 1 {
			t.Errorf("%d views stored, want 1", got)
		}
	})
}
