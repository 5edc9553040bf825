package writing_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"testing"

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
