// Package sessionstest is for the tests of a program that uses package sessions: it answers requests with a ready T, without
// Redis, and tells what became of the session.
//
//	func TestRemove(t *testing.T) {
//		m := sessionstest.New[Session](t, sessions.Config{})
//		app := newApp(m) // its routes, wrapped with m.Handler
//
//		ann := sessionstest.NewClient(t, m, app, &Session{UserID: "ann", Cart: []string{"pear"}})
//		got := ann.Do(httptest.NewRequest("POST", "/remove?item=pear", nil))
//		if got.Code != http.StatusSeeOther || !got.Saved || len(got.Session.Cart) != 0 {
//			t.Errorf("%d, saved %t, cart %q", got.Code, got.Saved, got.Session.Cart)
//		}
//	}
//
// A [Client] keeps its cookies, so a sign-in and the page after it are two calls of [Client.Do].
//
// Nothing here waits or runs in the background, and time is [time.Now]. So a test of an expiry runs in a bubble of
// testing/synctest: call [New] and [NewClient] in it, and let time pass by time.Sleep. Tests that run in parallel may share
// a Manager, because each Client has a session of its own.
//
// The Manager may be any, such as one that the program's constructor has made on a [sessions.MemoryStore]. One of package
// express needs a Redis, for example miniredis, and so no bubble.
//
// For tests through a real server or a browser there is [Cookie]. A cookie jar sends a Secure cookie to https addresses
// alone: use httptest.NewTLSServer.
package sessionstest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// New returns a Manager on a [sessions.MemoryStore] of its own. cfg is best the program's; the test fails by a mistake in it
// or in T. Without a Logger the log is the test's.
func New[T any](tb testing.TB, cfg sessions.Config) *sessions.Manager[T] {
	tb.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	m, err := sessions.New[T](&sessions.MemoryStore{}, cfg)
	if err != nil {
		tb.Fatalf("sessionstest: no Manager by this Config: %v", err)
	}
	return m
}

// A Client sends requests to a handler in this process, as one browser does. It keeps each cookie by its name, and the token
// of a [sessions.HeaderToken], until a response takes it back: Path, Domain, Secure, SameSite and Max-Age play no part. It is
// safe for concurrent use.
type Client[T any] struct {
	m       *sessions.Manager[T]
	handler http.Handler

	mu   sync.Mutex
	kept credentials
}

// NewClient returns a client of h, in which requests reach m.Handler. It has the session s, as if it had just called
// [sessions.Manager.SignIn] with opts; with nil it is a visitor without a session. A session that has not signed in is made
// by a request to a handler. The test fails if s cannot be stored.
func NewClient[T any](tb testing.TB, m *sessions.Manager[T], h http.Handler, s *T, opts ...sessions.SignInOption) *Client[T] {
	tb.Helper()
	c := &Client[T]{m: m, handler: h}
	if s != nil {
		c.kept.keep(signIn(tb, m, *s, opts))
	}
	return c
}

// Cookie stores a session as NewClient does and returns its cookie, as the response of a sign-in sends it: for
// [http.Request.AddCookie], a cookie jar or a real browser. The test fails if the Manager uses no cookies.
func Cookie[T any](tb testing.TB, m *sessions.Manager[T], s T, opts ...sessions.SignInOption) *http.Cookie {
	tb.Helper()
	cookies := signIn(tb, m, s, opts).Cookies()
	if len(cookies) == 0 {
		tb.Fatalf("sessionstest: this Manager's Transport sends no cookie: use NewClient")
	}
	return cookies[len(cookies)-1]
}

// signIn is the response of a sign-in with s.
func signIn[T any](tb testing.TB, m *sessions.Manager[T], s T, opts []sessions.SignInOption) *http.Response {
	tb.Helper()
	w := httptest.NewRecorder()
	var err error
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		*m.FromContext(r.Context()) = s
		err = m.SignIn(r.Context(), opts...)
	})).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	if err != nil {
		tb.Fatalf("sessionstest: the session cannot be stored by a sign-in at GET https://example.com/: %v", err)
	}
	return w.Result()
}

// A Result is the response to a request, and what became of the session: what is stored after the request, compared with
// before. Of requests that change one session at the same time, each may find it Saved.
type Result[T any] struct {
	*httptest.ResponseRecorder

	Session T // as the next request gets it: what is stored, or a fresh T if there is no session
	// Info is the Session's. With New there is no session. It is zero if nothing can be said, because Config.Skip names
	// the request or the session cannot be loaded.
	Info sessions.Info

	Saved     bool // what is stored is another T than before, or there was no session before
	Renewed   bool // the client has a session by another token, and the one from before is refused: after SignIn and Renew
	Destroyed bool // the session from before has ended, and the client has no other one
}

// Do lets the handler answer r, which is made by [httptest.NewRequest], with the cookies that the client has, and tells
// what became of the session. A cookie or a token that r carries already goes before the client's. Redirects are not
// followed. A panic of the handler goes on. There is no Hijack.
//
// Do loads the session before and after the request, by the same path and header. That saves nothing, leaves no trace in the
// response, and is activity of the session unless Config.Skip or Passive names the request. Config.ErrorHandler and OnEvent are
// told of these loads too: a test of these two calls the handler with a [Cookie].
func (c *Client[T]) Do(r *http.Request) *Result[T] {
	r = r.Clone(r.Context())
	c.mu.Lock()
	c.kept.present(r)
	c.mu.Unlock()
	sent := r.Clone(context.WithoutCancel(r.Context())) // h may change r
	sent.Body = http.NoBody

	before, infoBefore := c.load(sent)
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	res := w.Result()
	c.mu.Lock()
	c.kept.keep(res)
	c.mu.Unlock()

	got := &Result[T]{ResponseRecorder: w}
	got.Session, got.Info = c.load(after(sent, res))
	_, old := c.load(sent)
	had, has, valid := stored(infoBefore), stored(got.Info), stored(old)
	got.Saved = has && (!had || !reflect.DeepEqual(before, got.Session))
	got.Renewed = had && has && !valid
	got.Destroyed = had && !has && !valid && !old.RenewedElsewhere
	return got
}

func stored(i sessions.Info) bool { return i.Current && !i.New }

// load returns the session that a request gets.
func (c *Client[T]) load(r *http.Request) (s T, info sessions.Info) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
	}()
	c.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if live, ok := c.m.Lookup(r.Context()); ok {
			s, info = *live, c.m.Info(r.Context())
		}
		panic(http.ErrAbortHandler) // so that nothing is saved, neither by SaveUninitialized nor by Rewrite
	})).ServeHTTP(httptest.NewRecorder(), r)
	return s, info
}
