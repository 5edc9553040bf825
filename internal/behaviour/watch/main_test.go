package watch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// account is a T that knows whose it is.
type account struct {
	User string `json:"user"`
	Note string `json:"note,omitempty"`
}

func (a *account) SessionOwner() string { return a.User }

// visit is a T that does not.
type visit struct {
	User string `json:"user"`
	Note string `json:"note,omitempty"`
}

const interval = 2 * time.Second // Config.WatchInterval's default

// A host is two processes on one store. What happens to a session happens in the other one; the steps of mine, which
// watches, are seen and can be failed.
type host[T any] struct {
	t           testing.TB
	mine, other *sessions.Manager[T]
	store       *kit.Store // mine
	inner       sessions.Store
	events      *kit.Events // of mine
}

func newHost[T any](t testing.TB, inner sessions.Store, cfg sessions.Config, edit ...func(*kit.Store)) *host[T] {
	t.Helper()
	h := &host[T]{t: t, inner: inner, store: &kit.Store{Store: inner}, events: &kit.Events{}}
	for _, f := range edit {
		f(h.store)
	}
	h.other = kit.New[T](t, inner, cfg)
	cfg.OnEvent = h.events.On
	h.mine = kit.New[T](t, h.store, cfg)
	return h
}

// noOwners makes mine ask for each key by itself.
func noOwners(s *kit.Store) { s.NoOwners = true }

// edit is a request of the other process that changes T. It returns the token from then on.
func (h *host[T]) edit(token string, f func(*T)) string {
	h.t.Helper()
	return kit.Edit(h.t, h.other, token, f)
}

// verb is a request of the other process that calls a verb.
func (h *host[T]) verb(token, verb string) string {
	h.t.Helper()
	return kit.Verb(h.t, h.other, token, verb)
}

// revokeOthers is a request of the other process that ends all other sessions of its user.
func (h *host[T]) revokeOthers(token string) {
	h.t.Helper()
	kit.MustRequest(h.t, h.other, token, func(ctx context.Context) error {
		_, err := h.other.RevokeOthers(ctx)
		return err
	})
}

// load begins a request of mine. It does not end by itself.
func (h *host[T]) load(token string) context.Context {
	h.t.Helper()
	ctx, err := h.mine.Load(context.Background(), token)
	kit.Must(h.t, err)
	return ctx
}

// watch watches the session of a token in a request of mine.
func (h *host[T]) watch(token string) (ctx context.Context, stop func()) {
	h.t.Helper()
	ctx, stop = h.mine.Watch(h.load(token))
	if err := context.Cause(ctx); err != nil {
		h.t.Fatalf("the watch is over from the start: %v", err)
	}
	h.store.Calls()
	return ctx, stop
}

// user is for edit: it signs a user in.
func user(name string) func(*account) { return func(a *account) { a.User = name } }

// wantEnd fails the test if the watch does not end within this time, by the end of its session. It returns how long
// that took.
func wantEnd(t testing.TB, ctx context.Context, within time.Duration) time.Duration {
	t.Helper()
	began, timer := time.Now(), time.NewTimer(within+1) // after what happens just then
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		t.Errorf("the watch goes on %v later", within)
		return within
	}
	if err := context.Cause(ctx); !errors.Is(err, sessions.ErrGone) || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("the watch ended by %v (%v), want ErrGone", err, ctx.Err())
	}
	return time.Since(began)
}

// wantGoingOn fails the test if the watch ends in this time.
func wantGoingOn(t testing.TB, ctx context.Context, during time.Duration) {
	t.Helper()
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		t.Errorf("the watch has ended: %v", context.Cause(ctx))
	case <-timer.C:
	}
}

// Stores of mine.
var stores = []struct {
	name string
	asks string // what is asked for the records
	edit func(*kit.Store)
}{
	{"an OwnerStore", "LoadMany", func(*kit.Store) {}},
	{"a Store", "Load", noOwners},
}
