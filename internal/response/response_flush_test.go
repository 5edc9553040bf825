package response_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A plain writer has nothing but the three methods.
type plain struct{ rec *httptest.ResponseRecorder }

func (p plain) Header() http.Header         { return p.rec.Header() }
func (p plain) Write(b []byte) (int, error) { return p.rec.Write(b) }
func (p plain) WriteHeader(code int)        { p.rec.WriteHeader(code) }

func TestFlush(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("W2 the client has the header while the handler runs, HTTP/2 is %t", http2), func(t *testing.T) {
			seen := make(chan struct{})
			srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				<-seen
			}), http2)
			res, err := srv.Client().Get(srv.URL)
			close(seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(res).header.Get("Set-Cookie"); got != cookie {
				t.Errorf("got cookie %q", got)
			}
		})
	}

	t.Run("W2 a flush error reaches the caller", func(t *testing.T) {
		want := errors.New("broken pipe")
		c := &committer{}
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				if err := http.NewResponseController(w).Flush(); err != want {
					t.Errorf("got %v, want %v", err, want)
				}
			}
		})(flushError{httptest.NewRecorder(), want}, nil)
		if n := c.commits.Load(); n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
	})

	t.Run("W2 an inner writer that cannot flush still has its response to give", func(t *testing.T) {
		rec := httptest.NewRecorder()
		c := &committer{}
		views := 0
		c.commit = func() error { rec.Header().Set("Views", fmt.Sprint(views)); return nil }
		wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("got %v, want ErrNotSupported", err)
			}
			if c.w.Started() {
				t.Error("Started, though nothing has gone out")
			}
			views = 7
			http.Error(w, "no", http.StatusForbidden)
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) || !c.w.Started() {
				t.Errorf("after the response: %v, Started is %t", err, c.w.Started())
			}
		})(plain{rec}, nil)
		got := read(rec.Result())
		if got.status != 403 || got.body != "no\n" || got.header.Get("Views") != "7" {
			t.Errorf("got %+v", got)
		}
	})
}

type flushError struct {
	http.ResponseWriter
	err error
}

func (f flushError) FlushError() error { return f.err }
