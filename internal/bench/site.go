package bench

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/redis/go-redis/v9"
)

// A setting is what a subject is started with.
type setting struct {
	Redis string // its address
	Size  int    // of a session, in bytes of JSON, about
	Conns int    // how many connections to Redis there may be
}

// client is one as docs/redis.md recommends it, with a connection for each request in flight.
func (s setting) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Redis, ContextTimeoutEnabled: true, DialerRetries: 1, PoolSize: s.Conns})
}

// A subject is one way to keep a Shop in Redis.
type subject struct {
	name string
	open func(s setting) (site, error)
}

// A site answers requests.
type site interface {
	// caller returns a visitor who makes one request after another. Those who need a session have one of their own, or
	// take turns with the cookies given.
	caller(o op, cookies ...string) (caller, error)
	serve(l net.Listener) error
	close()
}

// A caller makes one request. It is used by one goroutine.
type caller func() error

// A netSite has a net/http handler for each op; none where it has no such thing.
type netSite struct {
	handlers map[op]http.Handler
	onClose  func()
}

func (s *netSite) close() { s.onClose() }

func (s *netSite) caller(o op, cookies ...string) (caller, error) {
	h := s.handlers[o]
	if h == nil {
		return nil, errors.ErrUnsupported
	}
	if len(cookies) == 0 && (o == read || o == changed) {
		cookie, err := s.visit()
		if err != nil {
			return nil, err
		}
		cookies = []string{cookie}
	}
	template := httptest.NewRequest("GET", "https://example.com"+o.path(), nil)
	sent := make([]string, 1)
	if len(cookies) > 0 {
		template.Header["Cookie"] = sent
	}
	w := &sink{header: http.Header{}}
	r, next := new(http.Request), 0
	return func() error {
		if len(cookies) > 0 {
			sent[0] = cookies[next]
			next = (next + 1) % len(cookies)
		}
		clear(w.header)
		w.status = 0
		*r = *template // a library may change it
		h.ServeHTTP(w, r)
		if w.status != http.StatusNoContent {
			return fmt.Errorf("status %d", w.status)
		}
		return nil
	}, nil
}

// visit begins a session and returns its cookie.
func (s *netSite) visit() (string, error) {
	w := httptest.NewRecorder()
	s.handlers[begun].ServeHTTP(w, httptest.NewRequest("GET", "https://example.com"+begun.path(), nil))
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		return "", fmt.Errorf("status %d and %d cookies instead of one", w.Code, len(cookies))
	}
	return cookies[0].Name + "=" + cookies[0].Value, nil
}

func (s *netSite) serve(l net.Listener) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, o := range ops {
			if h := s.handlers[o]; h != nil && r.URL.Path == o.path() {
				h.ServeHTTP(w, r)
				return
			}
		}
		http.NotFound(w, r)
	}))
}

// A sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (w *sink) Header() http.Header         { return w.header }
func (w *sink) Write(p []byte) (int, error) { return len(p), nil }
func (w *sink) WriteHeader(status int)      { w.status = status }

// answer ends a handler.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// check is what a handler does with the session that it has read.
func check(s *Shop) error {
	if s.UserID != userID {
		return fmt.Errorf("the session is another one, of %q", s.UserID)
	}
	return nil
}
