package response_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

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

// demanding is a writer as echo's: its Flush panics if that of the inner one is missing.
type demanding struct{ http.ResponseWriter }

func (d demanding) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d demanding) Flush() {
	if err := http.NewResponseController(d.ResponseWriter).Flush(); err != nil {
		panic(err)
	}
}

func TestFailedCommitWithoutFlush(t *testing.T) {
	t.Run("W7 the error response is not flushed where the innermost writer cannot, because some writers panic then", func(t *testing.T) {
		for _, flushes := range []bool{false, true} {
			rec := httptest.NewRecorder()
			c := &committer{err: errSave}
			var rw http.ResponseWriter = struct{ http.ResponseWriter }{rec}
			if flushes {
				rw = rec
			}
			wrap(c, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })(demanding{rw}, nil)
			if rec.Code != 503 || rec.Body.String() != errorBody || rec.Flushed != flushes {
				t.Errorf("flushes %t: %d %q, flushed %t", flushes, rec.Code, rec.Body, rec.Flushed)
			}
		}
	})
}
