package response_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions/internal/response"
)

// A framework keeps the Writer and uses it after the handler has returned or panicked.
func TestRelease(t *testing.T) {
	page := func(w http.ResponseWriter) {
		w.Header().Set("Kept", "1")
		if _, ok := w.(*response.Writer).Unwrap().(*httptest.ResponseRecorder); !ok { // it would take 103 for the final status
			w.WriteHeader(103)
		}
		w.WriteHeader(418)
		fmt.Fprint(w, "a")
		io.WriteString(w, "b")
		io.Copy(w, onlyReader{strings.NewReader("c")})
		w.(http.Flusher).Flush()
	}
	// released is the handler after which a framework answers by the Writer it has kept.
	released := func(c *committer, handler func(w http.ResponseWriter), later func(w http.ResponseWriter)) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			c.rw, c.w = rw, new(response.Writer).Init(rw, c)
			func() {
				defer c.w.Release()
				defer func() { _ = recover() }()
				handler(c.w)
				c.w.Finish()
			}()
			later(c.w)
		}
	}
	panics := func(http.ResponseWriter) { panic("handler") }

	for _, tr := range transports {
		t.Run("W13 "+tr.name+": after a panic all calls are passed on, and nothing is committed", func(t *testing.T) {
			c := &committer{}
			got := tr.do(t, released(c, panics, page), "GET")
			if got.status != 418 || got.body != "abc" || got.header.Get("Kept") != "1" || got.header.Get("Set-Cookie") != "" {
				t.Errorf("got %+v", got)
			}
			if c.commits.Load() != 0 || c.interims.Load() != 0 || c.w.Err() != nil {
				t.Errorf("%d commits, %d interims, Err is %v", c.commits.Load(), c.interims.Load(), c.w.Err())
			}
		})

		t.Run("W13 "+tr.name+": after the handler has returned a framework may still answer, by the header that was committed", func(t *testing.T) {
			c := &committer{}
			got := tr.do(t, released(c, func(http.ResponseWriter) {}, page), "GET")
			if got.status != 418 || got.body != "abc" || got.header.Get("Set-Cookie") != cookie || c.commits.Load() != 1 {
				t.Errorf("got %+v after %d commits", got, c.commits.Load())
			}
		})

		for _, end := range []func(http.ResponseWriter){
			func(http.ResponseWriter) {},
			func(w http.ResponseWriter) { fmt.Fprint(w, "a"); panic("handler") },
		} {
			t.Run("W13 "+tr.name+": nothing is appended to the error response of a failed commit", func(t *testing.T) {
				c := &committer{err: errSave}
				got := tr.do(t, released(c, end, func(w http.ResponseWriter) {
					page(w)
					if _, err := w.Write([]byte("a")); err != errSave {
						t.Errorf("Write: %v", err)
					}
				}), "GET")
				if got.status != 503 || got.body != errorBody || got.header.Get("Kept") != "" || c.commits.Load() != 1 {
					t.Errorf("got %+v after %d commits", got, c.commits.Load())
				}
			})
		}

		for hook, c := range map[string]*committer{
			"Commit": {commit: func() error { panic("hook") }},
			"Fail":   {err: errSave, fail: func(w http.ResponseWriter) { fmt.Fprint(w, "half"); panic("hook") }},
		} {
			t.Run("W13 "+tr.name+": after a panic of "+hook+" the framework answers", func(t *testing.T) {
				got := tr.do(t, released(c, func(w http.ResponseWriter) { fmt.Fprint(w, "page") }, page), "GET")
				if got.status != 418 || got.body != "abc" || c.commits.Load() != 1 {
					t.Errorf("got %+v after %d commits", got, c.commits.Load())
				}
			})
		}
	}

	t.Run("W13 a connection can be taken over after it", func(t *testing.T) {
		c := &committer{}
		srv := serve(t, released(c, panics, func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 299 mine\r\nContent-Length: 0\r\n\r\n")
		}), false)
		if got := request(t, srv, "GET"); got.status != 299 || c.commits.Load() != 0 {
			t.Errorf("got %+v after %d commits", got, c.commits.Load())
		}
	})

	t.Run("W13 it waits for the commit of another goroutine, and for none after it", func(t *testing.T) {
		in, out := make(chan struct{}), make(chan struct{})
		var late sync.WaitGroup
		over := false // the race detector watches
		c := &committer{commit: func() error {
			close(in)
			<-out
			if over {
				return errors.New("a commit after Release")
			}
			return nil
		}}
		transports[2].do(t, released(c, func(w http.ResponseWriter) {
			late.Go(func() { fmt.Fprint(w, "a") })
			<-in
			late.Go(func() { close(out) })
			panic("handler")
		}, func(http.ResponseWriter) {
			over = true
			late.Wait()
		}), "GET")
		if c.w.Err() != nil || c.commits.Load() != 1 {
			t.Errorf("%v, %d commits", c.w.Err(), c.commits.Load())
		}
	})
}
