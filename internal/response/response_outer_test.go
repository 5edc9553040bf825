package response_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/response"
)

// What stands in the header before the Writer begins is an outer middleware's, and describes what that makes of
// whatever response comes.
func TestOuterHeaders(t *testing.T) {
	outer := http.Header{
		"Content-Encoding": {"br"}, "Content-Language": {"de", "en"}, "Cache-Control": {"no-store"}, "Expires": {"0"},
		"Set-Cookie": {"theirs=1"}, "Trailer": {"Server-Timing"}, "etag": {`"1"`}, "Content-Length": {"9999"},
	}
	handlers := map[string]func(h http.Header){
		"leaves them alone": func(http.Header) {},
		"sets others": func(h http.Header) {
			for name := range h {
				if name != "Set-Cookie" {
					h[name] = []string{"mine"}
				}
			}
		},
		"adds to them":          func(h http.Header) { h.Add("Content-Language", "fr"); h.Add("Cache-Control", "public") },
		"writes into them":      func(h http.Header) { h["Content-Language"][0] = "fr"; h["Cache-Control"][0] = "public" },
		"deletes them":          func(h http.Header) { clear(h); h["Set-Cookie"] = []string{"theirs=1"} },
		"sets some of its own":  func(h http.Header) { h.Set("Etag", "mine"); h.Set("Location", "/mine") },
		"empties one of theirs": func(h http.Header) { h["Content-Encoding"] = nil },
	}
	for desc, handler := range handlers {
		for _, tr := range transports {
			t.Run("W14 "+tr.name+": they are as they were after a failed commit of a handler that "+desc, func(t *testing.T) {
				c := &committer{err: errSave, fail: func(w http.ResponseWriter) { w.WriteHeader(503); fmt.Fprint(w, errorBody) }}
				var got http.Header
				inner := wrap(c, func(w http.ResponseWriter, _ *http.Request) {
					handler(w.Header())
					fmt.Fprint(w, "page")
				})
				tr.do(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for name, lines := range outer {
						w.Header()[name] = slices.Clone(lines)
					}
					inner(w, r)
					got = w.Header().Clone()
				}), "GET")
				want := outer.Clone()
				delete(want, "Content-Length") // it was never true
				if !maps.EqualFunc(got, want, slices.Equal) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}

	// compressing is the wrapper of the textbooks. It announces its encoding first and takes back no Content-Length.
	compressing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Add("Vary", "Accept-Encoding")
			gz := gzip.NewWriter(w)
			defer gz.Close()
			next.ServeHTTP(&zipped{w, gz}, r)
		})
	}
	for desc, fail := range map[string]func(w http.ResponseWriter){
		"http.Error": func(w http.ResponseWriter) { http.Error(w, "save failed", http.StatusServiceUnavailable) },
		"a Content-Length": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "12")
			w.WriteHeader(503)
			fmt.Fprint(w, errorBody)
		},
		"a type and no status":       func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/x"); fmt.Fprint(w, errorBody) },
		"a status alone":             func(w http.ResponseWriter) { w.WriteHeader(503) },
		"a panic, recovered inside":  func(http.ResponseWriter) { panic("hook") },
		"a page of many kilobytes":   func(w http.ResponseWriter) { w.WriteHeader(503); fmt.Fprint(w, strings.Repeat("sorry ", 5000)) },
		"an encoding of its own too": func(w http.ResponseWriter) { w.Header().Add("Content-Encoding", "x"); w.WriteHeader(503) },
	} {
		for _, tr := range transports {
			t.Run("W14 "+tr.name+": an error response behind a compressing wrapper arrives whole, with "+desc, func(t *testing.T) {
				want := httptest.NewRecorder()
				func() {
					defer func() { _ = recover() }()
					fail(want)
				}()
				c := &committer{err: errSave, fail: fail}
				got := tr.do(t, compressing(wrap(c, func(w http.ResponseWriter, _ *http.Request) {
					defer func() { _ = recover() }()
					w.Header().Set("Content-Type", "image/png")
					fmt.Fprint(w, "page")
				})), "GET")
				encoding := got.header.Get("Content-Encoding")
				if encoding == "gzip" { // http.Transport takes it away with what it has decoded
					z, err := gzip.NewReader(strings.NewReader(got.body))
					if err != nil {
						t.Fatalf("%+v: %v", got, err)
					}
					body, err := io.ReadAll(z)
					if err != nil {
						t.Errorf("%+v: %v", got, err)
					}
					got.body = string(body)
				}
				if got.body != want.Body.String() || got.err != nil || got.header.Get("Content-Length") != "" || got.header.Get("Vary") != "Accept-Encoding" {
					t.Errorf("got %+v, want %q", got, want.Body)
				}
			})
		}
	}

	t.Run("W14 where nothing is set outside nothing is allocated for it", func(t *testing.T) {
		rec := httptest.NewRecorder()
		rec.Header().Set("X-Frame-Options", "DENY")
		w := new(response.Writer)
		if n := testing.AllocsPerRun(100, func() { w.Init(rec, nil) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

type zipped struct {
	http.ResponseWriter
	io.Writer
}

func (z *zipped) Write(p []byte) (int, error) { return z.Writer.Write(p) }
