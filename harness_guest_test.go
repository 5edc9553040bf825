package sessions_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

func newManager[T any](t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[T] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = discard
	}
	m, err := sessions.New[T](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A guest is a client without a network: for a synctest bubble. Its jar
// keeps what it is given until it is taken back, whatever its Max-Age: no
// client has to throw a cookie away.
type guest struct {
	t   testing.TB
	m   *sessions.Manager[Session]
	jar map[string]string
}

func newGuest(t testing.TB, m *sessions.Manager[Session]) *guest {
	return &guest{t, m, map[string]string{}}
}

// clone is another client with the same cookies.
func (v *guest) clone() *guest { return &guest{v.t, v.m, maps.Clone(v.jar)} }

func (v *guest) token() string {
	for _, value := range v.jar {
		return value
	}
	return ""
}

// raw lets f handle one request.
func (v *guest) raw(f http.HandlerFunc) *http.Response {
	r := httptest.NewRequest("GET", "https://example.test/", nil)
	for name, value := range v.jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	v.m.Handler(f).ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(v.jar, c.Name)
		} else {
			v.jar[c.Name] = c.Value
		}
	}
	return res
}

// visit is raw with a look at the session.
func (v *guest) visit(f func(ctx context.Context, s *Session)) *http.Response {
	return v.raw(func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), v.m.FromContext(r.Context())) })
}

// look only reads, and gives a copy.
func (v *guest) look() (s Session, i sessions.Info) {
	v.visit(func(ctx context.Context, live *Session) { s, i = *live, v.m.Info(ctx) })
	return s, i
}

// alive says whether the guest's session is there; it counts as activity.
func (v *guest) alive() bool {
	_, i := v.look()
	return !i.New
}

func (v *guest) login() *guest {
	v.visit(func(_ context.Context, s *Session) { s.UserID = "u1" })
	if v.token() == "" {
		v.t.Fatal("no cookie for a new session")
	}
	return v
}

// bubble runs a test with both codecs, each with a store and a guest of its own,
// in a synctest bubble.
func bubble(t *testing.T, name string, store func() sessions.Store, cfg sessions.Config, f func(t *testing.T, v *guest)) {
	t.Run(name, func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) {
				cfg := cfg
				cfg.Codec = c
				f(t, newGuest(t, newManager[Session](t, store(), cfg)))
			})
		})
	})
}
