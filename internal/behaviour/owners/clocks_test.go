package owners_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A host whose clock is ahead of the others' by so long: each time that it writes is later than it thinks, and each one
// that it reads is earlier.
type (
	aheadStore struct {
		sessions.OwnerStore
		by time.Duration
	}
	aheadLayout struct {
		sessions.DefaultLayout
		by time.Duration
	}
)

func (s aheadStore) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	p.Created = p.Created.Add(s.by)
	return s.OwnerStore.Place(ctx, p)
}

func (s aheadStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return s.OwnerStore.Relist(ctx, index, key, prefix, member, created.Add(s.by), ttl)
}

func (s aheadStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return s.OwnerStore.Revoke(ctx, index, at.Add(s.by), ttl)
}

func (l aheadLayout) Seal(r sessions.Record) ([]byte, error) {
	return l.DefaultLayout.Seal(l.moved(r, l.by))
}

func (l aheadLayout) Open(stored []byte) (sessions.Record, error) {
	r, err := l.DefaultLayout.Open(stored)
	return l.moved(r, -l.by), err
}

func (aheadLayout) moved(r sessions.Record, by time.Duration) sessions.Record {
	for _, at := range []*time.Time{&r.Created, &r.Authenticated} {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	return r
}

// What holds where two hosts' clocks are minutes apart, whichever of them does what. What does not is in
// docs/users-sessions.md and docs/concurrency.md.
func TestClocks(t *testing.T) {
	t.Parallel()
	ann := func(s *session) { s.User = "ann" }
	for _, by := range []time.Duration{3 * time.Minute, -3 * time.Minute} {
		row := func(name string, f func(t *testing.T, m, ahead *manager, store sessions.OwnerStore)) {
			kit.EachBubble(t, fmt.Sprint(name, ", by ", by), func(t *testing.T, c sessions.Codec) {
				store := &sessions.MemoryStore{}
				f(t, kit.New[session](t, store, sessions.Config{Codec: c}),
					kit.New[session](t, aheadStore{store, by}, sessions.Config{Codec: c, Layout: aheadLayout{by: by}}), store)
			})
		}
		wantAlive := func(t *testing.T, want bool, token string, ms ...*manager) {
			t.Helper()
			for _, m := range ms {
				if got := kit.Alive(t, m, token); got != want {
					t.Errorf("a session is alive: %t, want %t", got, want)
				}
			}
		}
		row("O1 O6 sign-in, renewal and list of a host with another clock agree", func(t *testing.T, m, ahead *manager, _ sessions.OwnerStore) {
			token, old := begin(t, m, ann), begin(t, ahead, ann)
			renewed := kit.Verb(t, ahead, kit.Verb(t, m, old, "Renew"), "Renew")
			time.Sleep(2 * time.Minute)
			for _, m := range []*manager{m, ahead} {
				infos, err := m.SessionsOf(t.Context(), "ann")
				if len(infos) != 2 || err != nil || time.Since(infos[0].LastSeenAt) != 2*time.Minute {
					t.Errorf("it lists %+v, %v", infos, err)
				}
			}
			wantAlive(t, true, token, m, ahead)
			wantAlive(t, true, renewed, m, ahead)
			wantAlive(t, false, old, m, ahead)
		})
		row("O3 RevokeAll of a host with another clock ends all sessions, and none that begins later", func(t *testing.T, m, ahead *manager, _ sessions.OwnerStore) {
			token := begin(t, m, ann)
			if n, err := ahead.RevokeAll(t.Context(), "ann"); n != 1 || err != nil {
				t.Errorf("it has ended %d, %v", n, err)
			}
			wantAlive(t, false, token, m, ahead)
			visitors := kit.Edit(t, m, "", func(s *session) { s.Views++ })
			bobs := begin(t, m, func(s *session) { s.User = "bob" })
			for _, later := range []string{begin(t, m, ann), kit.Edit(t, m, visitors, ann), signInAs(t, m, bobs, ann)} {
				later = kit.Verb(t, ahead, kit.Verb(t, m, later, "Renew"), "Renew")
				time.Sleep(2 * time.Minute) // both look whether it is listed
				wantAlive(t, true, later, m, ahead)
			}
		})
		row("O10 a session that the index has lost ends after a RevokeAll of the host that is ahead", func(t *testing.T, m, ahead *manager, store sessions.OwnerStore) {
			behind, first := m, ahead
			if by < 0 {
				behind, first = ahead, m
			}
			token := begin(t, behind, ann)
			(&devices{t: t, raw: store}).loseIndex("ann")
			time.Sleep(time.Minute)
			_, err := first.RevokeAll(t.Context(), "ann")
			kit.Must(t, err)
			wantAlive(t, false, token, m, ahead)
		})
		row("O15 a watch of a host with another clock goes on at a renewal, and ends at a revocation", func(t *testing.T, m, ahead *manager, _ sessions.OwnerStore) {
			token := begin(t, m, ann)
			ctx, _ := kit.Load(t, ahead, token)
			watched, stop := ahead.Watch(ctx)
			defer stop()
			kit.Verb(t, m, token, "Renew")
			time.Sleep(time.Minute)
			if watched.Err() != nil {
				t.Errorf("a renewal has ended it: %v", context.Cause(watched))
			}
			_, err := m.RevokeAll(t.Context(), "ann")
			kit.Must(t, err)
			time.Sleep(3 * time.Second)
			kit.WantErr(t, "the watch", context.Cause(watched), sessions.ErrGone)
		})
	}
}
