package watch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// What docs/live-connections.md shows.

type shop struct {
	m    *sessions.Manager[account]
	news chan string
}

func (s *shop) subscribe(context.Context, string) <-chan string { return s.news }

// events sends a user's news as an event stream, until the session ends.
func (s *shop) events(w http.ResponseWriter, r *http.Request) {
	ctx, stop := s.m.Watch(r.Context())
	defer stop()
	if ctx.Err() != nil { // there is no session
		w.WriteHeader(http.StatusNoContent) // with this status an EventSource does not try again
		return
	}
	user := s.m.FromContext(ctx).User
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	for news := s.subscribe(ctx, user); ; {
		if rc.Flush() != nil {
			return
		}
		select {
		case n := <-news:
			fmt.Fprintf(w, "data: %s\n\n", n)
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), sessions.ErrGone) {
				fmt.Fprint(w, "event: signed-out\ndata:\n\n")
			}
			return
		}
	}
}

// poll answers with the next news, or that there is none yet, or that the session has ended.
func (s *shop) poll(w http.ResponseWriter, r *http.Request) {
	ctx, stop := s.m.Watch(r.Context())
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case n := <-s.subscribe(ctx, s.m.FromContext(ctx).User):
		fmt.Fprint(w, n)
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), sessions.ErrGone) {
			http.Error(w, "signed out", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// socket answers the messages of a WebSocket, until the session ends.
func (s *shop) socket(w http.ResponseWriter, r *http.Request) {
	user := s.m.FromContext(r.Context()).User
	conn, err := upgrade(w, r) // as your WebSocket library has it
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, stop := s.m.Watch(r.Context())
	defer stop()
	context.AfterFunc(ctx, func() { conn.Close() }) // ends the Read below
	for {
		message, err := conn.Read()
		if err != nil {
			return
		}
		_ = s.m.Touch(ctx) // what the user does is activity
		if conn.Write(answer(user, message)) != nil {
			return
		}
	}
}

// A socket is as much of a WebSocket as is needed here.
type socket struct {
	messages chan string // which the client has sent
	answers  chan string
	closed   chan struct{}
	once     sync.Once
}

var errClosed = errors.New("closed")

func (c *socket) Close() { c.once.Do(func() { close(c.closed) }) }

func (c *socket) Read() (string, error) {
	select {
	case m := <-c.messages:
		return m, nil
	case <-c.closed:
		return "", errClosed
	}
}

func (c *socket) Write(text string) error {
	select {
	case c.answers <- text:
		return nil
	case <-c.closed:
		return errClosed
	}
}

type socketKey struct{}

func upgrade(_ http.ResponseWriter, r *http.Request) (*socket, error) {
	return r.Context().Value(socketKey{}).(*socket), nil
}

func answer(user, message string) string { return user + " says " + message }

// What the page shows is what is tested here.
func TestLiveConnectionsPage(t *testing.T) {
	source, err := os.ReadFile("live_test.go")
	kit.Must(t, err)
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "live-connections.md"))
	kit.Must(t, err)
	for _, name := range []string{"events", "poll", "socket"} {
		_, body, _ := strings.Cut(string(source), "\nfunc (s *shop) "+name+"(")
		body, _, _ = strings.Cut(body, "\n}\n")
		if len(body) < 100 || !strings.Contains(string(page), "\nfunc (s *shop) "+name+"("+body+"\n}\n") {
			t.Errorf("docs/live-connections.md and %s in live_test.go differ", name)
		}
	}
}

func TestLiveConnections(t *testing.T) {
	t.Parallel()
	// begin serves a request of this user, and returns what comes of it.
	begin := func(h *host[account], f http.HandlerFunc, ctx context.Context, token string) (body io.Reader, status <-chan int) {
		done, r := make(chan int, 1), kit.With(token, "/").WithContext(ctx)
		in, out := io.Pipe()
		go func() {
			w := &pipe{header: http.Header{}, body: out}
			h.mine.Handler(f).ServeHTTP(w, r)
			out.Close()
			done <- w.status
		}()
		return in, done
	}

	kit.Bubble(t, "O15 an event stream tells the news and then the end, and is no activity", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{IdleTimeout: time.Minute})
		s := &shop{h.mine, make(chan string)}
		body, status := begin(h, s.events, context.Background(), h.edit("", user("ann")))
		ended := make(chan struct{})
		go func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case now := <-tick.C:
					select {
					case s.news <- now.String():
					case <-ended:
					}
				case <-ended:
					return
				}
			}
		}()
		began := time.Now()
		got, err := io.ReadAll(body)
		close(ended)
		if n := strings.Count(string(got), "data: "); err != nil || n < 58 || !strings.HasSuffix(string(got), "\n\nevent: signed-out\ndata:\n\n") {
			t.Errorf("%d news, %v, and it ends with %q", n, err, got[max(0, len(got)-40):])
		}
		if took := time.Since(began); <-status != 200 || took < time.Minute || took > time.Minute+interval {
			t.Errorf("it has ended after %v, want IdleTimeout", took)
		}
	})

	kit.Bubble(t, "O15 an event stream of nobody is none", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		body, status := begin(h, (&shop{m: h.mine}).events, context.Background(), "")
		if got, _ := io.ReadAll(body); len(got) > 0 || <-status != 204 {
			t.Errorf("it answers %q", got)
		}
	})

	kit.Bubble(t, "O15 a long poll tells the news, that there is none, and the end", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{})
		s := &shop{h.mine, make(chan string, 1)}
		token := h.edit("", user("ann"))
		for _, tt := range []struct {
			act  func()
			want int
		}{
			{func() { s.news <- "news" }, 200},
			{func() {}, 204},
			{func() { h.verb(token, "Destroy") }, 401},
			{func() {}, 401},
		} {
			_, status := begin(h, func(w http.ResponseWriter, r *http.Request) {
				rec := &pipe{header: http.Header{}}
				s.poll(rec, r)
				w.WriteHeader(rec.status)
			}, context.Background(), token)
			synctest.Wait()
			tt.act()
			if got := <-status; got != tt.want {
				t.Errorf("it answers %d, want %d", got, tt.want)
			}
		}
	})

	kit.Bubble(t, "O15 a WebSocket answers until the session ends, and keeps it alive until then", func(t *testing.T) {
		h := newHost[account](t, kit.Memory(), sessions.Config{IdleTimeout: time.Minute})
		token := h.edit("", user("ann"))
		c := &socket{make(chan string), make(chan string), make(chan struct{}), sync.Once{}}
		_, status := begin(h, (&shop{m: h.mine}).socket, context.WithValue(context.Background(), socketKey{}, c), token)
		for range 5 {
			time.Sleep(50 * time.Second)
			c.messages <- "hello"
			if got := <-c.answers; got != "ann says hello" {
				t.Errorf("it answers %q", got)
			}
		}
		h.verb(token, "Destroy")
		<-c.closed
		<-status
	})
}

// A pipe is a ResponseWriter whose body is read while the handler runs, or by nobody.
type pipe struct {
	header http.Header
	body   io.Writer
	status int
}

func (p *pipe) Header() http.Header { return p.header }
func (p *pipe) Flush()              { p.WriteHeader(http.StatusOK) }

func (p *pipe) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

func (p *pipe) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	if p.body == nil {
		return len(b), nil
	}
	return p.body.Write(b)
}
