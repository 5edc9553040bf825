package sessions_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// A step is what one request's handler does.
type step func(w http.ResponseWriter, r *http.Request, s *Session)

type stepKey struct{}

// site is a Manager in front of a handler that does what the request says.
type site struct {
	t      *testing.T
	m      *sessions.Manager[Session]
	store  sessions.Store
	events *recorder
	h      http.Handler
}

func newSite(t *testing.T, store sessions.Store, cfg sessions.Config) *site {
	t.Helper()
	s := &site{t: t, store: store, events: new(recorder)}
	cfg.OnEvent, cfg.Logger = s.events.on, slog.New(slog.DiscardHandler)
	var err error
	if s.m, err = sessions.New[Session](store, cfg); err != nil {
		t.Fatal(err)
	}
	s.h = s.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(stepKey{}).(step)(w, r, sessions.FromContext[Session](r.Context()))
	}))
	return s
}

// client keeps cookies as a browser does, and the two headers.
type client struct {
	*site
	jar     *cookiejar.Jar
	headers http.Header
}

func (s *site) client() *client {
	jar, _ := cookiejar.New(nil)
	return &client{s, jar, http.Header{}}
}

// clone is another one with the same token.
func (c *client) clone() *client {
	c2 := c.site.client()
	c2.headers = c.headers.Clone()
	cookies := c.jar.Cookies(appURL)
	for _, k := range cookies {
		k.Path, k.Secure = "/", true
	}
	c2.jar.SetCookies(appURL, cookies)
	return c2
}

var appURL = &url.URL{Scheme: "https", Host: "example.com", Path: "/app/"}

var sessionHeaders = []string{"X-Session-Id", "X-Session-Proof"}

func (c *client) do(f step) *http.Response {
	r := httptest.NewRequest("GET", appURL.String(), nil)
	r = r.WithContext(context.WithValue(r.Context(), stepKey{}, f))
	for _, k := range c.jar.Cookies(appURL) {
		r.AddCookie(k)
	}
	for _, name := range sessionHeaders {
		if v := c.headers.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	res := w.Result()
	c.jar.SetCookies(appURL, res.Cookies())
	for _, name := range sessionHeaders {
		if v := res.Header.Get(name); v != "" {
			c.headers.Set(name, v)
		}
	}
	return res
}

// token is what the response told the client, if anything.
func tokenSent(res *http.Response) string {
	return strings.Join(res.Header["Set-Cookie"], "\n") + res.Header.Get("X-Session-Id")
}

// views is what the client's session holds: -1 if it has none.
func (c *client) views() int {
	n := -1
	c.do(func(_ http.ResponseWriter, r *http.Request, s *Session) {
		if !c.m.Info(r.Context()).New {
			n = s.Views
		}
	})
	return n
}

func set(n int) step {
	return func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = n }
}

func (s *site) status(res *http.Response, want int) {
	s.t.Helper()
	if res.StatusCode != want {
		s.t.Errorf("status %d, want %d", res.StatusCode, want)
	}
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// kept says what a seam should carry and does not.
func kept(t *testing.T, kept bool, format string, args ...any) {
	t.Helper()
	if !kept {
		t.Errorf("the seam does not carry it: "+format, args...)
	}
}
