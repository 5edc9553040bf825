package response_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/response"
)

func TestHijack(t *testing.T) {
	t.Run("W4 saved before the hand-over, the header is not touched after it", func(t *testing.T) {
		c := &committer{}
		done := make(chan struct{})
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if c.commits.Load() != 1 || !c.w.Started() {
				t.Errorf("%d commits, Started is %t", c.commits.Load(), c.w.Started())
			}
			fmt.Fprint(buf, "HTTP/1.1 418 teapot\r\nContent-Length: 0\r\n\r\n")
			buf.Flush()
			c.commit = func() error { panic("committed after the hand-over") }
			if _, err := w.Write([]byte("late")); err != http.ErrHijacked {
				t.Errorf("Write: %v", err)
			}
			if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
				t.Errorf("Hijack: %v", err)
			}
			if !c.w.Hijacked() {
				t.Error("no longer Hijacked after late calls")
			}
			close(done)
		}), false)
		// net/http itself logs a Write after Hijack
		var lines syncBuffer
		srv.Config.ErrorLog.SetOutput(&lines)
		if res := dial(t, srv); res.StatusCode != 418 || len(res.Header) != 1 {
			t.Errorf("got %d with %v", res.StatusCode, res.Header)
		}
		<-done
	})

	t.Run("W4 a refused hand-over leaves the response open", func(t *testing.T) {
		views := 0
		c := &committer{}
		c.commit = func() error { c.rw.Header().Set("Views", fmt.Sprint(views)); return nil }
		srv := serve(t, wrap(c, func(w http.ResponseWriter, _ *http.Request) {
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("got %v, want ErrUnsupported", err)
			}
			if c.w.Started() || c.w.Hijacked() {
				t.Error("Started or Hijacked, though nothing was handed over")
			}
			views = 7
			http.Error(w, "no websocket here", 400)
		}), true)
		got := request(t, srv, "GET")
		if got.status != 400 || got.header.Get("Views") != "7" {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("W4 no hand-over after a failed commit", func(t *testing.T) {
		srv := serve(t, wrap(&committer{err: errSave}, func(w http.ResponseWriter, _ *http.Request) {
			for range 2 {
				if _, _, err := w.(http.Hijacker).Hijack(); err != errSave {
					t.Errorf("got %v, want %v", err, errSave)
				}
			}
		}), false)
		if got := request(t, srv, "GET"); got.status != 503 || got.body != errorBody {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("W4 deadlines and full duplex pass through", func(t *testing.T) {
		for _, http2 := range []bool{false, true} {
			srv := serve(t, wrap(&committer{}, func(w http.ResponseWriter, _ *http.Request) {
				rc := http.NewResponseController(w)
				in := time.Now().Add(time.Hour)
				if err := errors.Join(rc.SetReadDeadline(in), rc.SetWriteDeadline(in), rc.EnableFullDuplex()); err != nil {
					t.Error(err)
				}
			}), http2)
			if got := request(t, srv, "GET"); got.status != 200 {
				t.Errorf("got %+v", got)
			}
		}
	})

	t.Run("W4 Push is passed on", func(t *testing.T) {
		if err := new(response.Writer).Init(httptest.NewRecorder(), nil).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Recorder: %v, want ErrNotSupported", err)
		}
		p := &pusher{ResponseWriter: httptest.NewRecorder()}
		if err := new(response.Writer).Init(p, nil).Push("/a.css", nil); err != nil || p.target != "/a.css" {
			t.Errorf("pushed %q: %v", p.target, err)
		}
	})
}

type pusher struct {
	http.ResponseWriter
	target string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error { p.target = target; return nil }
