package sessions_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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

// discard is for managers whose log is not the point.
var discard = slog.New(slog.DiscardHandler)

// A stack is one way through everything between T and the wire.
type stack struct {
	codec sessions.Codec
	http1 bool
}

// eachStack runs a test with both codecs over HTTP/1.1 and HTTP/2, on a server with TLS.
func eachStack(t *testing.T, f func(t *testing.T, s stack)) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Run("HTTP1", func(t *testing.T) { f(t, stack{c, true}) })
		t.Run("HTTP2", func(t *testing.T) { f(t, stack{c, false}) })
	})
}

// app is a server on a MemoryStore whose calls are counted.
func (s stack) app(t testing.TB, cfg sessions.Config) (*app, *calls) {
	store, log := counted(&sessions.MemoryStore{})
	cfg.Codec = s.codec
	return newApp(t, store, cfg), log
}

// browser is a client that speaks the stack's HTTP.
func (s stack) browser(a *app) *browser {
	b := a.browser()
	tr := b.c.Transport.(*http.Transport).Clone()
	b.c.Transport = tr
	if s.http1 {
		tr.ForceAttemptHTTP2 = false
		tr.TLSNextProto = nil
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(true)
	}
	a.t.Cleanup(tr.CloseIdleConnections)
	return b
}

var visits atomic.Int64

// visit lets f handle one request of b.
func (b *browser) visit(f func(w http.ResponseWriter, r *http.Request, s *Session)) answer {
	b.a.t.Helper()
	path := fmt.Sprintf("/visit/%d", visits.Add(1))
	b.a.handle(path, f)
	return b.get(path)
}

// do1 runs a verb and fails the test if it fails.
func do1(t testing.TB, verb func(context.Context) error, ctx context.Context) {
	t.Helper()
	if err := verb(ctx); err != nil {
		t.Error(err)
	}
}

// as is a browser that presents this token and nothing else.
func (b *browser) as(token string) *browser {
	c := b.clone()
	c.c.Transport = b.c.Transport
	jar := b.a.browser().c.Jar
	jar.SetCookies(b.request("/").URL, []*http.Cookie{{Name: "__Host-session", Value: token, Path: "/", Secure: true}})
	c.c.Jar = jar
	return c
}

// peek is the session that the server sees for b: a copy of T and its Info.
func (b *browser) peek() (s Session, i sessions.Info) {
	b.a.t.Helper()
	b.visit(func(_ http.ResponseWriter, r *http.Request, live *Session) {
		s, i = *live, b.a.m.Info(r.Context())
	})
	return s, i
}

// full is a session with something in every field.
func full() Session {
	return Session{
		UserID: "u1", Views: 3, Flash: "saved",
		Cart:  []Item{{"a", 1}, {"b", 2}},
		Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8},
		Tags:  map[string]string{"t1": "x", "t2": "y"},
	}
}

// mustGet is get with an answer that the test presupposes.
func (b *browser) mustGet(path, want string) {
	b.a.t.Helper()
	if a := b.get(path); a.StatusCode != 200 || a.body != want {
		b.a.t.Fatalf("%s: %d %q, want %q", path, a.StatusCode, a.body, want)
	}
}
