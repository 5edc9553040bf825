package sessions_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/typedsessions/sessions"
)

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
		{"a redirect", "", nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", http.StatusSeeOther) }, 303, "<a href=\"/next\">See Other</a>.\n\n"},
		{"http.Error", "", nil, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }, 418, "no\n"},
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
