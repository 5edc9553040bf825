package writing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// upload is a request with a file of n bytes.
func upload(t *testing.T, b *kit.Browser, n int) *http.Request {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("name", "x")
	part, err := form.CreateFormFile("file", "a.bin")
	kit.Must(t, err)
	part.Write(make([]byte, n))
	form.Close()
	r := b.Request("POST", "/upload/7")
	r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

// Not parallel: TMPDIR is the process's.
func TestUpload(t *testing.T) {
	// wantFiles sets TMPDIR and returns what counts the files there.
	wantFiles := func(t *testing.T) func(when string, want int) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		return func(when string, want int) {
			t.Helper()
			if files, _ := os.ReadDir(dir); len(files) != want {
				t.Errorf("%d files %s, want %d", len(files), when, want)
			}
		}
	}
	small := func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }
	for _, tc := range []struct {
		desc  string
		size  int
		parse func(r *http.Request) error
	}{
		{"a small limit", 1 << 20, small},
		{"FormFile's 32 MB", 33 << 20, func(r *http.Request) error {
			file, _, err := r.FormFile("file")
			if err != nil {
				return err
			}
			return file.Close()
		}},
	} {
		kit.EachConnection(t, "W11 an upload over "+tc.desc+" leaves no file, and outer middleware sees r.Pattern", func(t *testing.T, via kit.Via) {
			if tc.size > 32<<20 && via != kit.HTTP2 {
				return // once is enough
			}
			wantFiles := wantFiles(t)
			a, outer := kit.NewApp(t, via, kit.Memory(), sessions.Config{}), make(chan *http.Request, 1)
			a.Mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
				kit.OK(t, tc.parse(r))
				wantFiles("while the handler runs", 1)
				a.FromContext(r.Context()).Flash = r.FormValue("name")
			})
			inner := a.Root
			a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(w, r)
				outer <- r
			})
			b := a.Browser()
			res := b.Do(upload(t, b, tc.size))
			a.Server().Close()
			if res.StatusCode != 200 || len(res.SetCookies()) != 1 {
				t.Errorf("%d %v", res.StatusCode, kit.Masked(res.Header))
			}
			r := <-outer
			if r.Pattern != "POST /upload/{id}" || r.MultipartForm == nil || r.Form.Get("name") != "x" || r.PostForm.Get("name") != "x" {
				t.Errorf("outside: Pattern %q, form %v %v", r.Pattern, r.Form, r.PostForm)
			}
			wantFiles("afterwards", 0)
		})
	}

	kit.EachConnection(t, "W11 nor does one whose handler panics", func(t *testing.T, via kit.Via) {
		wantFiles := wantFiles(t)
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
			kit.OK(t, small(r))
			wantFiles("while the handler runs", 1)
			panic("boom")
		})
		inner := a.Root
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p == nil || r.Pattern != "POST /upload/{id}" {
					t.Errorf("recovered %v, Pattern %q", p, r.Pattern)
				}
			}()
			inner.ServeHTTP(w, r)
		})
		b := a.Browser()
		b.Do(upload(t, b, 1<<20))
		a.Server().Close()
		wantFiles("afterwards", 0)
	})

	t.Run("W11 a request that Skip leaves out, and one wrapped twice, show their Pattern too", func(t *testing.T) {
		for desc, cfg := range map[string]sessions.Config{
			"twice": {}, "skipped": {Skip: func(*http.Request) bool { return true }},
		} {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
			a.Mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
			r := kit.With("", "/")
			kit.Serve(a.Manager.Handler(a.Root), r)
			if r.Pattern != "GET /{$}" {
				t.Errorf("%s: Pattern %q outside", desc, r.Pattern)
			}
		}
	})
}

func TestPathValue(t *testing.T) {
	t.Parallel()
	patterns := map[string]struct{ path, a, rest string }{
		"GET /x/{a}":               {"/x/7", "7", ""},
		"/x/{a}/y/{rest...}":       {"/x/7%2F8/y/b/c", "7/8", "b/c"},
		"example.com/{a}/z/{$}":    {"/7/z/", "7", ""},
		"/w/{rest...}":             {"/w/", "", ""},
		"/none":                    {"/none", "", ""},
		"POST /only/{a}":           {"/only/1", "", ""}, // 405
		"/{a}/mine/{rest}/{other}": {"/1/mine/2/3", "1", "2"},
	}
	for pattern, want := range patterns {
		for desc, cfg := range map[string]sessions.Config{"served": {}, "skipped": {Skip: func(*http.Request) bool { return true }}} {
			t.Run("W11 outer middleware sees the values of "+pattern+" as without Handler, "+desc, func(t *testing.T) {
				a := kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
				mux := http.NewServeMux()
				mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { r.SetPathValue("set", "by the handler") })
				bare, got := kit.With("", want.path), kit.With("", want.path)
				kit.Serve(mux, bare)
				kit.Serve(a.Manager.Handler(mux), got)
				if bare.PathValue("a") != want.a || bare.PathValue("rest") != want.rest {
					t.Fatalf("the test is wrong: %q %q", bare.PathValue("a"), bare.PathValue("rest"))
				}
				for _, name := range []string{"a", "rest", "other", "$"} {
					if got.Pattern != bare.Pattern || got.PathValue(name) != bare.PathValue(name) {
						t.Errorf("%q: %s is %q, want %q and %q", got.Pattern, name, got.PathValue(name), bare.Pattern, bare.PathValue(name))
					}
				}
			})
		}
	}

	t.Run("W11 a mux outside keeps its own where nothing inside routes", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		mux := http.NewServeMux()
		var seen string
		h := a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.PathValue("a") }))
		mux.Handle("/{a}", h)
		r := kit.With("", "/7")
		kit.Serve(mux, r)
		if seen != "7" || r.PathValue("a") != "7" || r.Pattern != "/{a}" {
			t.Errorf("%q inside, %q outside, Pattern %q", seen, r.PathValue("a"), r.Pattern)
		}
	})
}

// A router sets PathValue's values in one of two ways; either way requests that were copied share them.
func TestPathValueOfAHandlerThatGoesOn(t *testing.T) {
	t.Parallel()
	for desc, route := range map[string]func(mux *http.ServeMux, h http.Handler){
		"http.ServeMux": func(mux *http.ServeMux, h http.Handler) { mux.Handle("/x/{id}", h) },
		"a router that calls SetPathValue, as chi's": func(mux *http.ServeMux, h http.Handler) {
			mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
				r.Pattern = "/x/{id}"
				r.SetPathValue("id", "7")
				h.ServeHTTP(w, r)
			})
		},
	} {
		t.Run("W12 W11 a handler that http.TimeoutHandler has given up reads the values undisturbed, which were set outside by "+desc, func(t *testing.T) {
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			begun, over := make(chan struct{}), make(chan struct{})
			mux := http.NewServeMux()
			route(mux, m.Handler(http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				defer close(over)
				close(begun)
				for range 100000 { // the race detector watches
					if r.PathValue("id") != "7" {
						t.Errorf("id is %q", r.PathValue("id"))
						return
					}
				}
			}), time.Hour, "")))
			go func() {
				<-begun
				cancel()
			}()
			kit.Serve(mux, kit.With("", "/x/7").WithContext(ctx))
			<-over
		})
	}
}

// Not parallel: TMPDIR is the process's.
func TestClonedRequest(t *testing.T) {
	for desc, clone := range map[string]func(r *http.Request) *http.Request{
		"Clone":       func(r *http.Request) *http.Request { return r.Clone(r.Context()) },
		"WithContext": func(r *http.Request) *http.Request { return r.WithContext(context.WithValue(r.Context(), t, 1)) },
		"a copy":      func(r *http.Request) *http.Request { c := *r; return &c },
	} {
		for _, parsed := range []bool{false, true} {
			kit.EachConnection(t, fmt.Sprintf("W11 middleware inside that hands on %s costs nothing more than without Handler, after parsing the form: %t", desc, parsed), func(t *testing.T, via kit.Via) {
				dir := t.TempDir()
				t.Setenv("TMPDIR", dir)
				// visit uploads a file and returns what the request outside has, and how many files are left.
				visit := func(around func(http.Handler) http.Handler, verb func(r *http.Request)) (outer *http.Request, files int) {
					a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
					a.Mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
						kit.OK(t, r.ParseMultipartForm(1<<10))
						if r.FormValue("name") != "x" || r.PathValue("id") != "7" {
							t.Errorf("inside: %v, id %q", r.Form, r.PathValue("id"))
						}
						verb(r)
					})
					cloning := around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if parsed {
							kit.OK(t, r.ParseMultipartForm(1<<10))
						}
						a.Mux.ServeHTTP(w, clone(r))
					}))
					seen := make(chan *http.Request, 1)
					a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						cloning.ServeHTTP(w, r)
						seen <- r
					})
					b := a.Browser()
					b.Do(upload(t, b, 1<<20))
					a.Server().Close()
					left, err := os.ReadDir(dir)
					kit.Must(t, err)
					for _, f := range left {
						kit.OK(t, os.Remove(dir+"/"+f.Name()))
					}
					return <-seen, len(left)
				}
				bare, bareFiles := visit(func(next http.Handler) http.Handler { return next }, func(*http.Request) {})
				m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
				got, gotFiles := visit(m.Handler, func(r *http.Request) {
					m.FromContext(r.Context()).Views = 7
					kit.OK(t, m.SignIn(r.Context()))
					if m.Info(r.Context()).New {
						t.Error("not signed in")
					}
				})
				if got.Pattern != bare.Pattern || got.PathValue("id") != bare.PathValue("id") || got.Form.Get("name") != bare.Form.Get("name") || (got.MultipartForm == nil) != (bare.MultipartForm == nil) {
					t.Errorf("outside: %q %q %v %v, want %q %q %v %v", got.Pattern, got.PathValue("id"), got.Form, got.MultipartForm != nil,
						bare.Pattern, bare.PathValue("id"), bare.Form, bare.MultipartForm != nil)
				}
				if gotFiles > bareFiles {
					t.Errorf("%d files are left, %d without Handler", gotFiles, bareFiles)
				}
			})
		}
	}
}
