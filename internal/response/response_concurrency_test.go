package response_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/response"
)

// A guarded writer counts who reaches it while a commit runs.
type guarded struct {
	*httptest.ResponseRecorder
	mu         sync.Mutex // a Recorder is for one goroutine
	committing atomic.Bool
	early      atomic.Int32
	committed  atomic.Bool
}

func (g *guarded) touch() func() {
	if g.committing.Load() || !g.committed.Load() {
		g.early.Add(1)
	}
	g.mu.Lock()
	return g.mu.Unlock
}

func (g *guarded) Write(p []byte) (int, error) {
	defer g.touch()()
	return g.ResponseRecorder.Write(p)
}

func (g *guarded) WriteString(s string) (int, error) {
	defer g.touch()()
	return g.ResponseRecorder.WriteString(s)
}

func (g *guarded) WriteHeader(code int) {
	defer g.touch()()
	g.ResponseRecorder.WriteHeader(code)
}

func (g *guarded) Flush() {
	defer g.touch()()
	g.ResponseRecorder.Flush()
}

func TestConcurrency(t *testing.T) {
	doors := []func(w *response.Writer) error{
		func(w *response.Writer) error { _, err := w.Write([]byte("a")); return err },
		func(w *response.Writer) error { _, err := w.WriteString("a"); return err },
		func(w *response.Writer) error { w.WriteHeader(200); return w.Err() },
		func(w *response.Writer) error { return w.FlushError() },
		func(w *response.Writer) error { w.Flush(); return w.Err() },
		func(w *response.Writer) error { w.Finish(); return w.Err() },
		func(w *response.Writer) error { _, err := w.ReadFrom(strings.NewReader("a")); return err },
	}
	for _, want := range []error{nil, errSave} {
		t.Run(fmt.Sprintf("W12 of many doors one commits and the others wait, error is %v", want), func(t *testing.T) {
			for range 50 {
				g := &guarded{ResponseRecorder: httptest.NewRecorder()}
				c := &committer{rw: g}
				var arrived atomic.Int32
				c.commit = func() error {
					g.committing.Store(true)
					for int(arrived.Load()) < len(doors) { // the others are on their way
						runtime.Gosched()
					}
					for range 100 {
						runtime.Gosched()
					}
					g.committed.Store(true)
					g.committing.Store(false)
					return want
				}
				c.w = new(response.Writer).Init(g, c)
				var wg sync.WaitGroup
				for _, door := range doors {
					wg.Go(func() {
						arrived.Add(1)
						if err := door(c.w); err != want {
							t.Errorf("got %v, want %v", err, want)
						}
					})
				}
				wg.Wait()
				if c.commits.Load() != 1 || g.early.Load() != 0 || !c.w.Started() {
					t.Fatalf("%d commits, %d calls before the end of it", c.commits.Load(), g.early.Load())
				}
				if want != nil && (g.Code != 503 || g.Body.String() != errorBody || c.fails.Load() != 1) {
					t.Fatalf("got %d %q after %d answers", g.Code, g.Body, c.fails.Load())
				}
			}
		})
	}

	t.Run("W12 http.TimeoutHandler inside", func(t *testing.T) {
		for _, late := range []bool{false, true} {
			c := &committer{}
			release := make(chan struct{})
			d, status := time.Hour, 200
			if late {
				d, status = time.Millisecond, 503
			}
			var wrote sync.WaitGroup
			wrote.Add(1)
			inner := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer wrote.Done()
				if late {
					<-release
				}
				fmt.Fprint(w, "page")
			}), d, "late")
			got := request(t, serve(t, wrap(c, inner.ServeHTTP), false), "GET")
			close(release)
			wrote.Wait()
			if got.status != status || got.header.Get("Set-Cookie") != cookie || c.commits.Load() != 1 {
				t.Errorf("late is %t: got %+v after %d commits", late, got, c.commits.Load())
			}
		}
	})

	t.Run("W12 http.TimeoutHandler outside", func(t *testing.T) {
		for _, late := range []bool{false, true} {
			c := &committer{}
			d, status := time.Hour, 200
			if late {
				d, status = time.Millisecond, 503
			}
			done := make(chan struct{})
			handler := wrap(c, func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
					t.Errorf("Flush: %v", err)
				}
				if late {
					<-r.Context().Done()
					if r.Context().Err() != context.DeadlineExceeded {
						t.Errorf("got %v", r.Context().Err())
					}
				}
				fmt.Fprint(w, "page")
			})
			outer := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done)
				handler(w, r)
			}), d, "late")
			got := request(t, serve(t, outer, false), "GET")
			<-done
			if got.status != status || (got.header.Get("Set-Cookie") == cookie) == late {
				t.Errorf("late is %t: got %+v", late, got)
			}
		}
	})
}
