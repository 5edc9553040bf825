package sessions_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/typedsessions/sessions"
)

// upload is a request with a file of n bytes.
func (f *front) upload(n int) *http.Request {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("name", "x")
	part, err := form.CreateFormFile("file", "a.bin")
	if err != nil {
		f.t.Fatal(err)
	}
	part.Write(make([]byte, n))
	form.Close()
	r := f.request("POST", "/upload/7", "")
	r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

func TestUpload(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		size  int
		parse func(r *http.Request) error
	}{
		{"a small limit", 1 << 20, func(r *http.Request) error { return r.ParseMultipartForm(1 << 10) }},
		{"FormFile's 32 MB", 33 << 20, func(r *http.Request) error {
			file, _, err := r.FormFile("file")
			if err != nil {
				return err
			}
			return file.Close()
		}},
	} {
		eachFront(t, true, "W11 an upload over "+tc.desc+" leaves no file, and outer middleware sees r.Pattern", func(t *testing.T, k frontKind) {
			if tc.size > 32<<20 && k.name != "HTTP 2" {
				return // once is enough
			}
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			b := newBench(t, sessions.Config{})
			mux := http.NewServeMux()
			mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
				if err := tc.parse(r); err != nil {
					t.Error(err)
				}
				if files, _ := os.ReadDir(dir); len(files) != 1 {
					t.Errorf("%d files while the handler runs, want one", len(files))
				}
				b.FromContext(r.Context()).Flash = r.FormValue("name")
			})
			seen := make(chan *http.Request, 1)
			f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b.Handler(mux).ServeHTTP(w, r)
				seen <- r
			}))
			res := f.do(f.upload(tc.size))
			f.close()
			r := <-seen
			if res.StatusCode != 200 || len(res.setCookies()) != 1 {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if r.Pattern != "POST /upload/{id}" || r.MultipartForm == nil || r.Form.Get("name") != "x" || r.PostForm.Get("name") != "x" {
				t.Errorf("outside: Pattern %q, form %v %v", r.Pattern, r.Form, r.PostForm)
			}
			if files, _ := os.ReadDir(dir); len(files) != 0 {
				t.Errorf("%d files left", len(files))
			}
		})
	}
	eachFront(t, true, "W11 nor does one whose handler panics", func(t *testing.T, k frontKind) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		b := newBench(t, sessions.Config{})
		mux := http.NewServeMux()
		mux.HandleFunc("POST /upload/{id}", func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1 << 10); err != nil {
				t.Error(err)
			}
			if files, _ := os.ReadDir(dir); len(files) != 1 {
				t.Errorf("%d files while the handler runs, want one", len(files))
			}
			panic("boom")
		})
		f := k.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p == nil || r.Pattern != "POST /upload/{id}" {
					t.Errorf("recovered %v, Pattern %q", p, r.Pattern)
				}
			}()
			b.Handler(mux).ServeHTTP(w, r)
		}))
		f.do(f.upload(1 << 20))
		f.close()
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("%d files left", len(files))
		}
	})
	t.Run("W11 a request that Skip leaves out, and one wrapped twice, show their Pattern too", func(t *testing.T) {
		for desc, cfg := range map[string]sessions.Config{
			"twice": {}, "skipped": {Skip: func(*http.Request) bool { return true }},
		} {
			b := newBench(t, cfg)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			b.Handler(b.Handler(mux)).ServeHTTP(httptest.NewRecorder(), r)
			if r.Pattern != "GET /{$}" {
				t.Errorf("%s: Pattern %q outside", desc, r.Pattern)
			}
		}
	})
}
