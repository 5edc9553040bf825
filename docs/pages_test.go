package docs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

// concurrency.md: what belongs together is one field.
func TestFieldsThatMustAgree(t *testing.T) {
	type Address struct{ Street, Zip, City string }
	type Session struct {
		Lang    string  `json:"lang"`
		Address Address `json:"address"` // street, zip and city stay together
	}
	m := sessionstest.New[Session](t, sessions.Config{})
	token := begin(t, m, Session{})
	first, second := load(t, m, token), load(t, m, token)
	m.FromContext(first).Address = Address{"Main Street 1", "12345", "Springfield"}
	m.FromContext(second).Address.City = "Shelbyville"
	m.FromContext(second).Lang = "de"
	for _, ctx := range []context.Context{first, second} {
		if err := m.Save(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := *m.FromContext(load(t, m, token)), (Session{"de", Address{City: "Shelbyville"}}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCoupons(t *testing.T) {
	type Session struct{ Coupons int }
	errNoCoupon := errors.New("no coupon is left")
	m := sessionstest.New[Session](t, sessions.Config{})
	token := begin(t, m, Session{Coupons: 1})
	redeem := func(ctx context.Context) error {
		err := m.Update(ctx, func(s *Session) error {
			if s.Coupons == 0 {
				return errNoCoupon // comes back unchanged; nothing is written
			}
			s.Coupons--
			return nil
		})
		return err
	}
	first, second := load(t, m, token), load(t, m, token)
	if err := redeem(first); err != nil {
		t.Error(err)
	}
	if err := redeem(second); err != errNoCoupon {
		t.Errorf("the second one: %v", err)
	}
}

// beyond-http.md: a call that is no HTTP.
func TestLoadAndCommit(t *testing.T) {
	type Session struct{ Views int }
	m := sessionstest.New[Session](t, sessions.Config{})
	var sent string
	send, forget := func(token string) { sent = token }, func() { sent = "" }
	call := func(ctx context.Context, token string) error {
		ctx, err := m.Load(ctx, token) // an unknown token is no error; on an error ctx is unchanged
		if err != nil {
			return err
		}
		sessions.FromContext[Session](ctx).Views++
		outcome, err := m.Commit(ctx) // the outcome counts with an error too
		switch outcome.Kind {
		case sessions.OutcomeCreated, sessions.OutcomeRenewed:
			send(outcome.Token.Reveal()) // the client presents this token from now on
		case sessions.OutcomeDestroyed:
			forget()
		}
		return err
	}
	for range 2 {
		if err := call(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.FromContext(load(t, m, sent)).Views; got != 2 {
		t.Errorf("%d views, want 2", got)
	}
}

type Login struct {
	State    string `json:"state"`
	Verifier string `json:"verifier"`
}

// cookies.md: an answer that another site posts carries no Lax cookie.
func TestFormPost(t *testing.T) {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Session](store, sessions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	logins, err := sessions.New[Login](store, sessions.Config{
		Realm: "login", Lifetime: 10 * time.Minute,
		Transport: sessions.Cookie{Name: "__Host-Http-login", SameSite: http.SameSiteNoneMode},
	})
	if err != nil {
		t.Fatal(err)
	}
	login := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Login](r.Context()).State = "drawn"
	})
	callback := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if l := sessions.FromContext[Login](ctx); l.State == "" || l.State != r.FormValue("state") {
			http.Error(w, "this sign-in was not begun here", http.StatusForbidden)
			return
		}
		sessions.FromContext[Session](ctx).UserID = "ann"
		if err := errors.Join(logins.Destroy(ctx), m.SignIn(ctx)); err != nil {
			t.Error(err)
		}
	})
	mux := http.NewServeMux()
	mux.Handle("GET /login", logins.Handler(login))                   // draws State and Verifier
	mux.Handle("POST /callback", logins.Handler(m.Handler(callback))) // compares State

	stranger := httptest.NewRecorder()
	mux.ServeHTTP(stranger, httptest.NewRequest("POST", "https://example.com/callback?state=", nil))
	if stranger.Code != http.StatusForbidden {
		t.Errorf("without the cookie: %d", stranger.Code)
	}
	begun := httptest.NewRecorder()
	mux.ServeHTTP(begun, httptest.NewRequest("GET", "https://example.com/login", nil))
	r := httptest.NewRequest("POST", "https://example.com/callback?state=drawn", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	for _, c := range begun.Result().Cookies() {
		r.AddCookie(c)
	}
	done := httptest.NewRecorder()
	mux.ServeHTTP(done, r)
	if cookies := done.Result().Cookies(); done.Code != http.StatusOK || len(cookies) != 2 {
		t.Errorf("%d with %v", done.Code, cookies)
	}
}

// live-connections.md: a stream is no activity.
func TestStreamsArePassive(t *testing.T) {
	cfg := sessions.Config{
		Passive: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/live/") },
	}
	if !cfg.Passive(httptest.NewRequest("GET", "/live/news", nil)) || cfg.Passive(httptest.NewRequest("GET", "/", nil)) {
		t.Error("it names other requests")
	}
}

// users-sessions.md: a limit, and a password that has changed during the sign-in.
func TestLimit(t *testing.T) {
	s := &site{sessionstest.New[Session](t, sessions.Config{MaxPerOwner: 3, OnOwnerLimit: sessions.Reject})}
	m := s.m
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Session](r.Context()).UserID = "ann"
		switch err := m.SignIn(r.Context()); {
		case errors.Is(err, sessions.ErrOwnerLimit):
			http.Error(w, "you are signed in on three devices: sign out on one of them", http.StatusConflict)
			return
		case err != nil:
			t.Error(err)
		}
	}))
	for i, want := range []int{200, 200, 200, 409} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "https://example.com/", nil))
		if w.Code != want {
			t.Errorf("sign-in %d: %d, want %d", i+1, w.Code, want)
		}
	}
}

func TestCredentialsThatChange(t *testing.T) {
	type User struct {
		ID      string
		Version int
	}
	version := 1
	var meanwhile func()
	checkPassword := func(*http.Request) User {
		defer meanwhile()
		return User{"ann", version}
	}
	credentialsVersion := func(string) int { return version }
	m := sessionstest.New[Session](t, sessions.Config{})
	signIn := func(r *http.Request) error {
		s := sessions.FromContext[Session](r.Context())
		user := checkPassword(r)
		s.UserID = user.ID
		err := m.SignIn(r.Context())
		if err == nil && credentialsVersion(user.ID) != user.Version {
			err = m.Destroy(r.Context())
		}
		return err
	}
	for want, change := range map[int]func(){1: func() {}, 0: func() { version++ }} {
		meanwhile = change
		ctx := load(t, m, "")
		if err := signIn(httptest.NewRequest("POST", "/", nil).WithContext(ctx)); err != nil {
			t.Fatal(err)
		}
		list, err := m.SessionsOf(t.Context(), "ann")
		if err != nil || len(list) != want {
			t.Errorf("%d sessions, want %d; %v", len(list), want, err)
		}
		if _, err := m.RevokeAll(t.Context(), "ann"); err != nil {
			t.Error(err)
		}
	}
}

// begin stores a session, and returns its token.
func begin[T any](t *testing.T, m *sessions.Manager[T], value T) string {
	t.Helper()
	ctx := load(t, m, "")
	*m.FromContext(ctx) = value
	if err := m.SignIn(ctx); err != nil {
		t.Fatal(err)
	}
	o, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o.Token.Reveal()
}

func load[T any](t *testing.T, m *sessions.Manager[T], token string) context.Context {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}
