package docs_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/sessionstest"
)

type Session struct {
	UserID string `json:"user_id"`
	Role   string `json:"role"`
	Views  int    `json:"views"`
}

func (s *Session) SessionOwner() string { return s.UserID } // "" is nobody

// A site is what the handlers of the README belong to.
type site struct {
	m *sessions.Manager[Session]
}

// checkPassword is what a program has of its own.
func checkPassword(r *http.Request) (userID string, ok bool) {
	return r.FormValue("name"), r.FormValue("password") == "right"
}

func (s *site) signIn(w http.ResponseWriter, r *http.Request) {
	userID, ok := checkPassword(r)
	if !ok {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	sessions.FromContext[Session](r.Context()).UserID = userID
	if err := s.m.SignIn(r.Context()); err != nil { // a new token; the old one is refused
		sessions.DefaultErrorHandler(w, r, err) // 503 if Redis does not answer
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *site) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.m.Destroy(r.Context()); err != nil && !errors.Is(err, sessions.ErrGone) {
		http.Error(w, "you may still be signed in: please try again", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// devices lists the sessions of the caller's user, the one that was active last first.
func (s *site) devices(w http.ResponseWriter, r *http.Request) {
	list, err := s.m.Sessions(r.Context())
	if err != nil && !errors.Is(err, sessions.ErrIncomplete) { // which comes with a list
		sessions.DefaultErrorHandler(w, r, err)
		return
	}
	for _, device := range list {
		fmt.Fprintln(w, device.ID, device.Label, device.LastSeenAt, device.Current)
	}
}

// signOutDevice ends one of them. An ID that is another user's is ErrNotFound, and nobody (an empty userID) another error: put
// it behind your check that somebody is signed in.
func (s *site) signOutDevice(w http.ResponseWriter, r *http.Request) {
	userID := sessions.FromContext[Session](r.Context()).UserID
	err := s.m.Revoke(r.Context(), userID, r.FormValue("id"))
	if err != nil && !errors.Is(err, sessions.ErrNotFound) {
		sessions.DefaultErrorHandler(w, r, err)
		return
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}

func (s *site) view(w http.ResponseWriter, r *http.Request) {
	m := s.m
	err := m.Update(r.Context(), func(s *Session) error {
		s.Views++ // exact, whatever else is going on
		return nil
	})
	if err != nil {
		sessions.DefaultErrorHandler(w, r, err)
	}
}

// newSite returns the README's handlers behind a Manager.
func newSite(t *testing.T, cfg sessions.Config) (*site, http.Handler) {
	t.Helper()
	s := &site{sessionstest.New[Session](t, cfg)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.HandleFunc("GET /devices", s.devices)
	mux.HandleFunc("POST /devices", s.signOutDevice)
	mux.HandleFunc("POST /view", s.view)
	return s, s.m.Handler(mux)
}

// do sends a request, and wants this status.
func do(t *testing.T, c *sessionstest.Client[Session], method, path string, want int) *sessionstest.Result[Session] {
	t.Helper()
	got := c.Do(httptest.NewRequest(method, "https://example.com"+path, nil))
	if got.Code != want {
		t.Errorf("%s %s: %d, want %d", method, path, got.Code, want)
	}
	return got
}

func TestReadmeSignsInAndOut(t *testing.T) {
	s, h := newSite(t, sessions.Config{})
	c := sessionstest.NewClient(t, s.m, h, nil)
	if got := do(t, c, "POST", "/signin?name=ann&password=wrong", http.StatusUnauthorized); got.Saved {
		t.Error("a wrong password stores a session")
	}
	if got := do(t, c, "POST", "/signin?name=ann&password=right", http.StatusSeeOther); got.Session.UserID != "ann" {
		t.Errorf("after the sign-in: %+v", got.Session)
	}
	if got := do(t, c, "POST", "/view", http.StatusOK); got.Session.Views != 1 {
		t.Errorf("after a view: %+v", got.Session)
	}
	if got := do(t, c, "POST", "/signout", http.StatusSeeOther); !got.Destroyed {
		t.Error("the sign-out leaves a session")
	}
	do(t, c, "POST", "/signout", http.StatusSeeOther)
}

func TestReadmeListsDevices(t *testing.T) {
	s, h := newSite(t, sessions.Config{})
	phone := sessionstest.NewClient(t, s.m, h, &Session{UserID: "ann"})
	laptop := sessionstest.NewClient(t, s.m, h, &Session{UserID: "ann"})
	eve := sessionstest.NewClient(t, s.m, h, &Session{UserID: "eve"})
	page := do(t, laptop, "GET", "/devices", http.StatusOK)
	if lines := strings.Count(page.Body.String(), "\n"); lines != 2 || !strings.Contains(page.Body.String(), page.Info.ID) {
		t.Errorf("the page has\n%s", page.Body)
	}
	id := do(t, phone, "GET", "/devices", http.StatusOK).Info.ID
	do(t, eve, "POST", "/devices?id="+id, http.StatusSeeOther)
	if do(t, phone, "GET", "/devices", http.StatusOK).Info.New {
		t.Error("another user has ended it")
	}
	do(t, laptop, "POST", "/devices?id="+id, http.StatusSeeOther)
	if got := do(t, phone, "GET", "/devices", http.StatusOK); !got.Info.New || got.Body.Len() > 0 {
		t.Errorf("it is alive: %s", got.Body)
	}
}

func TestReadmeSharesWithExpress(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	m, err := express.New[Session](rdb, express.Options{
		Secrets: []string{"keyboard cat"},
		Rolling: true,
		Cookie:  express.Cookie{MaxAge: 15 * time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Session](r.Context()).Views++
	})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "connect.sid=s%3A") {
		t.Errorf("the cookie is %q", got)
	}
}
