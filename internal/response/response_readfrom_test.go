package response_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

// A fast writer notes by which methods it was reached.
type fast struct {
	*httptest.ResponseRecorder
	calls []string
}

func (f *fast) ReadFrom(src io.Reader) (int64, error) {
	f.calls = append(f.calls, "ReadFrom")
	if _, ok := src.(interface{ Fd() uintptr }); !ok {
		f.calls = append(f.calls, "of no file")
	}
	return io.Copy(f.Body, src)
}

func (f *fast) WriteString(s string) (int, error) {
	f.calls = append(f.calls, "WriteString")
	return f.ResponseRecorder.WriteString(s)
}

type notifier struct {
	ch <-chan bool
}

func (n notifier) CloseNotify() <-chan bool  { return n.ch }
func (notifier) Header() http.Header         { return http.Header{} }
func (notifier) Write(p []byte) (int, error) { return len(p), nil }
func (notifier) WriteHeader(int)             {}

func TestReaderFrom(t *testing.T) {
	page := strings.Repeat("page\n", 1000)

	t.Run("W5 ReadFrom and WriteString of the inner writer serve, after the commit", func(t *testing.T) {
		f, err := os.Open(testFile(t))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		inner := &fast{ResponseRecorder: httptest.NewRecorder()}
		c := &committer{}
		c.commit = func() error { inner.calls = append(inner.calls, "commit"); return nil }
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "a")
			if n, err := io.Copy(w, f); n != 5000 || err != nil {
				t.Errorf("copied %d: %v", n, err)
			}
		})(inner, nil)
		if want := []string{"commit", "WriteString", "ReadFrom"}; !slices.Equal(inner.calls, want) {
			t.Errorf("got calls %v, want %v", inner.calls, want)
		}
		if got := inner.Body.String(); got != "a"+page {
			t.Errorf("got a body of %d bytes", len(got))
		}
	})

	t.Run("W5 CloseNotify is the inner writer's, and nothing is ever sent where that has none", func(t *testing.T) {
		notify := func(w http.ResponseWriter, _ *http.Request) <-chan bool {
			return w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
		}
		for _, inner := range []http.ResponseWriter{notifier{ch: make(chan bool)}, httptest.NewRecorder()} {
			var got <-chan bool
			wrap(&committer{}, func(w http.ResponseWriter, r *http.Request) { got = notify(w, r) })(inner, nil)
			if n, ok := inner.(notifier); ok && got != n.ch || !ok && got != nil {
				t.Errorf("%T: got %v", inner, got)
			}
		}
	})

	t.Run("W5 a wrapper without ReadFrom sees the body, whatever is behind its Unwrap", func(t *testing.T) {
		inner := &fast{ResponseRecorder: httptest.NewRecorder()}
		wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, onlyReader{strings.NewReader(page)}); n != 5000 || err != nil {
				t.Errorf("copied %d: %v", n, err)
			}
		})(upper{inner}, nil)
		if got := inner.Body.String(); got != strings.ToUpper(page) || inner.calls != nil {
			t.Errorf("got %d bytes by %v", len(got), inner.calls)
		}
	})

	t.Run("W5 a source that fails at once leaves the handler free to answer", func(t *testing.T) {
		for _, tr := range transports {
			views := 0
			c := &committer{}
			c.commit = func() error { c.rw.Header().Set("Views", fmt.Sprint(views)); return nil }
			got := tr.do(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
				if n, err := io.Copy(w, onlyReader{errReader{}}); n != 0 || err != io.ErrUnexpectedEOF {
					t.Errorf("copied %d: %v", n, err)
				}
				views = 7
				http.Error(w, "no source", http.StatusBadGateway)
			}), "GET")
			if got.status != 502 || got.body != "no source\n" || got.header.Get("Views") != "7" {
				t.Errorf("%s: got %+v", tr.name, got)
			}
		}
	})
}

type upper struct{ f *fast }

func (u upper) Header() http.Header         { return u.f.Header() }
func (u upper) WriteHeader(code int)        { u.f.WriteHeader(code) }
func (u upper) Write(p []byte) (int, error) { return u.f.Write(bytes.ToUpper(p)) }
func (u upper) Unwrap() http.ResponseWriter { return u.f }

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
