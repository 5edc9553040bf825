// Package kit is what the packages beside it test the library with: a Manager
// behind a server, browsers that send requests to it, a store whose steps can be
// parked, counted and failed, and what a test compares responses and records with.
//
// A test of a promise usually opens an [App], takes a [Browser] of it, and lets
// that visit:
//
//	a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
//	b := a.Browser()
//	b.Edit(func(s *kit.Session) { s.Views++ })
//	a.WantCalls(t, "the first change", "Create")
//
// What only one of those packages needs lies in that package.
package kit

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// Session is the T of most tests. It is somebody's exactly if it has an Owner, which is another thing than its UserID.
type Session struct {
	Owner  string            `json:"owner,omitempty"`
	UserID string            `json:"user_id"`
	Views  int               `json:"views"`
	Flash  string            `json:"flash,omitempty"`
	Cart   []Item            `json:"cart"`
	Prefs  map[string]int    `json:"prefs"`
	Tags   map[string]string `json:"tags"`
}

// SessionOwner makes it Owned.
func (s *Session) SessionOwner() string { return s.Owner }

// Item is in the Cart of a [Session].
type Item struct {
	SKU string `json:"sku"`
	Qty int    `json:"qty"`
}

// Full is a session with something in every field, but for an [Owner].
func Full() Session {
	return Session{
		Owner: Owner, UserID: "u1", Views: 3, Flash: "saved",
		Cart:  []Item{{"a", 1}, {"b", 2}},
		Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8},
		Tags:  map[string]string{"t1": "x", "t2": "y"},
	}
}

// New is a Manager. Its log is discarded unless cfg has a Logger.
func New[T any](t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[T] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if s, ok := store.(*Store); ok {
		store = s.WithOwners()
	}
	m, err := sessions.New[T](store, cfg)
	Must(t, err)
	return m
}

// Load begins a request without HTTP; Commit ends it.
func Load[T any](t testing.TB, m *sessions.Manager[T], tokens ...string) (context.Context, *T) {
	t.Helper()
	ctx, err := m.Load(t.Context(), tokens...)
	Must(t, err)
	return ctx, m.FromContext(ctx)
}

// Commit ends a request that [Load] has begun, or a part of it, with this outcome
// if one is given.
func Commit[T any](t testing.TB, m *sessions.Manager[T], ctx context.Context, want ...sessions.OutcomeKind) sessions.Outcome {
	t.Helper()
	o, err := m.Commit(ctx)
	Must(t, err)
	if len(want) > 0 && o.Kind != want[0] {
		t.Errorf("the outcome is %v, want %v", o.Kind, want[0])
	}
	return o
}

// Request is a whole request without HTTP: Load, f, Commit.
func Request[T any](ctx context.Context, m *sessions.Manager[T], token string, f func(context.Context) error) (sessions.Outcome, error) {
	ctx, err := m.Load(ctx, token)
	if err != nil {
		return sessions.Outcome{}, err
	}
	if err := f(ctx); err != nil {
		o, _ := m.Commit(ctx)
		return o, err
	}
	return m.Commit(ctx)
}

// MustRequest is [Request] with the token that the client has afterwards.
func MustRequest[T any](t testing.TB, m *sessions.Manager[T], token string, f func(context.Context) error) string {
	t.Helper()
	o, err := Request(t.Context(), m, token, f)
	Must(t, err)
	return after(o, token)
}

// after is the token of a client that had this one before.
func after(o sessions.Outcome, token string) string {
	switch o.Kind {
	case sessions.OutcomeCreated, sessions.OutcomeRenewed:
		return o.Token.Reveal()
	}
	return token
}

// Put is for [Request]: it makes UserID v. A session that begins with it is the [Owner]'s.
func Put(m *sessions.Manager[Session], v string) func(context.Context) error {
	return func(ctx context.Context) error {
		s := m.FromContext(ctx)
		if m.Info(ctx).New {
			s.Owner = Owner
		}
		s.UserID = v
		return nil
	}
}

// Edit is [MustRequest] that changes T. The token "" is a new session's.
// It is for any goroutine: an error fails the test and does not end it.
func Edit[T any](t testing.TB, m *sessions.Manager[T], token string, edit func(*T)) string {
	t.Helper()
	o, err := Request(context.Background(), m, token, func(ctx context.Context) error {
		edit(m.FromContext(ctx))
		return nil
	})
	OK(t, err)
	return after(o, token)
}

// Verb is [MustRequest] that calls a verb, as [Call] names them.
func Verb[T any](t testing.TB, m *sessions.Manager[T], token, verb string) string {
	t.Helper()
	return MustRequest(t, m, token, func(ctx context.Context) error { return Call(m, ctx, verb) })
}

// Stored is what a token finds; to find nothing fails the test.
func Stored[T any](t testing.TB, m *sessions.Manager[T], token string) T {
	t.Helper()
	ctx, s := Load(t, m, token)
	if m.Info(ctx).New {
		t.Fatal("there is no session")
	}
	return *s
}

// Alive reports whether one of the tokens finds a session. It counts as activity.
func Alive[T any](t testing.TB, m *sessions.Manager[T], tokens ...string) bool {
	t.Helper()
	ctx, _ := Load(t, m, tokens...)
	return !m.Info(ctx).New
}

// Views are those of the session that the tokens find, 0 if they find none.
func Views(t testing.TB, m *sessions.Manager[Session], tokens ...string) int {
	t.Helper()
	_, s := Load(t, m, tokens...)
	return s.Views
}

// Call runs the method of m that verb names: Save, Reload, Touch, Renew, SignIn,
// Remember (a SignIn with Remembered), Reauthenticate, Destroy or Commit.
func Call[T any](m *sessions.Manager[T], ctx context.Context, verb string) error {
	switch verb {
	case "Save":
		return m.Save(ctx)
	case "Reload":
		return m.Reload(ctx)
	case "Touch":
		return m.Touch(ctx)
	case "Renew":
		return m.Renew(ctx)
	case "SignIn":
		return m.SignIn(ctx)
	case "Remember":
		return m.SignIn(ctx, sessions.Remembered)
	case "Reauthenticate":
		return m.Reauthenticate(ctx)
	case "Destroy":
		return m.Destroy(ctx)
	case "Commit":
		_, err := m.Commit(ctx)
		return err
	}
	panic("no such verb: " + verb)
}

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// OK fails the test if err is not nil. It is for any goroutine.
func OK(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// WantErr fails the test if err is not want; what is what returned it.
func WantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// ErrName is the name of the error that a caller branches on, "ok" for nil.
func ErrName(err error) string {
	if err == nil {
		return "ok"
	}
	for name, sentinel := range map[string]error{
		"ErrUnavailable": sessions.ErrUnavailable, "ErrNewerVersion": sessions.ErrNewerVersion,
		"ErrConflict": sessions.ErrConflict, "ErrGone": sessions.ErrGone, "ErrTooLarge": sessions.ErrTooLarge,
		"ErrCommitted": sessions.ErrCommitted, "ErrNoSession": sessions.ErrNoSession, "ErrOwnerLimit": sessions.ErrOwnerLimit,
	} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	return err.Error()
}

// Within fails the test if f has not returned after a time that only a
// deadlock takes.
func Within(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("deadlock:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// Contain runs f to its end, be it a panic or a Goexit, and returns then.
func Contain(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}
