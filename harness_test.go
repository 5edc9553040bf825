package sessions_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// Session is the T of most tests.
type Session struct {
	UserID string            `json:"user_id"`
	Views  int               `json:"views"`
	Flash  string            `json:"flash,omitempty"`
	Cart   []Item            `json:"cart"`
	Prefs  map[string]int    `json:"prefs"`
	Tags   map[string]string `json:"tags"`
}

type Item struct {
	SKU string `json:"sku"`
	Qty int    `json:"qty"`
}

// eachCodec runs a test with both codecs.
func eachCodec(t *testing.T, f func(t *testing.T, c sessions.Codec)) {
	for _, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		t.Run(c.Name(), func(t *testing.T) { f(t, c) })
	}
}

// eachRedis runs a test on miniredis and on a real server, with a client that
// sees nothing but this test's keys.
func eachRedis(t *testing.T, f func(t *testing.T, rdb *redis.Client)) {
	t.Run("miniredis", func(t *testing.T) { f(t, miniClient(t)) })
	t.Run("redis", func(t *testing.T) { f(t, redistest.Start(t).Client(t)) })
}

func miniClient(t testing.TB) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

// redisStore is a RedisStore with the prefix that the tests look for.
func redisStore(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
}

// keys are the store's keys, with the prefix.
func keys(t testing.TB, rdb *redis.Client) []string {
	t.Helper()
	all, err := rdb.Keys(context.Background(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []sessions.Event
}

func (r *recorder) on(_ context.Context, e sessions.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// kinds returns the kinds of the events so far, in order, and forgets them.
func (r *recorder) kinds() []sessions.EventKind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []sessions.EventKind
	for _, e := range r.events {
		kinds = append(kinds, e.Kind)
	}
	r.events = nil
	return kinds
}

// app is a server with a session handler around a mux.
type app struct {
	t      testing.TB
	m      *sessions.Manager[Session]
	mux    *http.ServeMux
	srv    *httptest.Server
	events *recorder
}

// newApp serves a mux over TLS, so that the default cookie works, on HTTP/2 too.
// The log is discarded unless cfg has a Logger.
func newApp(t testing.TB, store sessions.Store, cfg sessions.Config) *app {
	t.Helper()
	a := &app{t: t, mux: http.NewServeMux(), events: &recorder{}}
	if cfg.OnEvent == nil {
		cfg.OnEvent = a.events.on
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.m = m
	a.srv = httptest.NewUnstartedServer(m.Handler(a.mux))
	a.srv.EnableHTTP2 = true
	a.srv.StartTLS()
	t.Cleanup(a.srv.Close)
	return a
}

// handle adds a route whose handler gets the live session.
func (a *app) handle(path string, f func(w http.ResponseWriter, r *http.Request, s *Session)) {
	a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		f(w, r, sessions.FromContext[Session](r.Context()))
	})
}

// browser is a client with a cookie jar of its own.
type browser struct {
	a *app
	c *http.Client
}

func (a *app) browser() *browser {
	jar, _ := cookiejar.New(nil)
	c := *a.srv.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{a, &c}
}

// clone is another tab of the browser: the same cookies as of now, in a jar of its own.
func (b *browser) clone() *browser {
	c := b.a.browser()
	u := b.request("/").URL
	c.c.Jar.SetCookies(u, b.cookies())
	return c
}

// cookies are the ones in the jar, with the flags that let them go out again.
func (b *browser) cookies() []*http.Cookie {
	cookies := b.c.Jar.Cookies(b.request("/").URL)
	for _, c := range cookies {
		c.Path, c.Secure = "/", true
	}
	return cookies
}

// token is the session token in the jar, "" if none.
func (b *browser) token() string {
	for _, c := range b.cookies() {
		if strings.HasSuffix(c.Name, "session") {
			return c.Value
		}
	}
	return ""
}

func (b *browser) request(path string) *http.Request {
	r, err := http.NewRequest("GET", b.a.srv.URL+path, nil)
	if err != nil {
		b.a.t.Fatal(err)
	}
	return r
}

// answer is a response that has been read to its end.
type answer struct {
	*http.Response
	body string
}

// setCookies are the response's lines for the session's cookie.
func (a answer) setCookies() []string {
	var lines []string
	for _, l := range a.Header["Set-Cookie"] {
		if name, _, _ := strings.Cut(l, "="); strings.HasSuffix(name, "session") {
			lines = append(lines, l)
		}
	}
	return lines
}

func (b *browser) do(r *http.Request) answer {
	b.a.t.Helper()
	res, err := b.c.Do(r)
	if err != nil {
		b.a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.a.t.Fatal(err)
	}
	return answer{res, string(body)}
}

func (b *browser) get(path string) answer {
	b.a.t.Helper()
	return b.do(b.request(path))
}

// start runs a request in the background; the channel gives its answer.
func (b *browser) start(path string) <-chan answer {
	done := make(chan answer, 1)
	go func() { done <- b.get(path) }()
	return done
}

// stepStore lets a test look at, fail, or park each operation of a store. The
// hooks get the operation's name; an error from before keeps it from happening,
// one from after hides that it has happened.
type stepStore struct {
	sessions.Store
	before, after func(op, key string) error
}

func (s *stepStore) Timeout() time.Duration { return time.Minute } // parked, not slow

func (s *stepStore) step(op, key string, f func() error) error {
	if s.before != nil {
		if err := s.before(op, key); err != nil {
			return err
		}
	}
	err := f()
	if s.after != nil {
		if lost := s.after(op, key); lost != nil {
			return lost
		}
	}
	return err
}

func (s *stepStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = s.step("Load", key, func() (err error) {
		data, left, err = s.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (s *stepStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.step("Create", key, func() error { return s.Store.Create(ctx, key, data, ttl) })
}

func (s *stepStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	err = s.step("CompareAndSwap", key, func() (err error) {
		current, err = s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (s *stepStore) Delete(ctx context.Context, key string) error {
	return s.step("Delete", key, func() error { return s.Store.Delete(ctx, key) })
}

// gate parks whoever passes it: the test waits until it has arrived, acts, and
// opens. An unarmed gate lets everybody through.
type gate struct {
	arrived, opened chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

// pass parks the caller until open.
func (g *gate) pass() {
	close(g.arrived)
	<-g.opened
}

func (g *gate) wait() { <-g.arrived }
func (g *gate) open() { close(g.opened) }

// discard is for managers whose log is not the point.
var discard = slog.New(slog.DiscardHandler)

// serve starts an app that was put together by hand.
func (a *app) serve(h http.Handler) {
	a.srv = httptest.NewUnstartedServer(h)
	a.srv.EnableHTTP2 = true
	a.srv.StartTLS()
	a.t.Cleanup(a.srv.Close)
}
