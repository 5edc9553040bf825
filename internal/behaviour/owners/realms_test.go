package owners_test

import (
	"context"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// staff is another T, whose users may have the names of session's.
type staff struct {
	Name string `json:"name"`
	Rank int    `json:"rank"`
}

func (s *staff) SessionOwner() string { return s.Name }

// begin signs a user in and returns the token.
func begin[T any](t testing.TB, m *sessions.Manager[T], user func(*T)) string {
	t.Helper()
	return signInAs(t, m, "", user)
}

// signInAs signs a user in who comes with a token.
func signInAs[T any](t testing.TB, m *sessions.Manager[T], token string, user func(*T)) string {
	t.Helper()
	return kit.MustRequest(t, m, token, func(ctx context.Context) error {
		user(m.FromContext(ctx))
		return m.SignIn(ctx)
	})
}

// Two Managers with a T each on one store: by their Realms a user of the one is nobody to the other.
func TestTwoManagers(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for name, shared := range map[string]bool{"another Realm": false, "the same Realm": true} {
			realm := "office"
			if shared {
				realm = "shop"
			}
			managers := func(t *testing.T, d *devices, limit int) (*manager, *sessions.Manager[staff]) {
				store := &kit.Store{Store: d.raw}
				return kit.New[session](t, store, sessions.Config{Codec: d.codec, Realm: "shop", MaxPerOwner: limit}),
					kit.New[staff](t, store, sessions.Config{Codec: d.codec, Realm: realm, MaxPerOwner: limit})
			}
			ann := func(s *session) { s.User = "ann" }
			annOfStaff := func(s *staff) { s.Name = "ann" }

			row("O1 O3 O4 ann's sessions of another T in "+name+" are hers there alone, unless the Realm is the same", func(t *testing.T, d *devices) {
				shop, office := managers(t, d, 0)
				token, other := begin(t, shop, ann), begin(t, office, annOfStaff)
				want := 1
				if shared {
					want = 2
				}
				infos, err := shop.SessionsOf(t.Context(), "ann")
				if len(infos) != want || err != nil {
					t.Errorf("the shop lists %d, %v", len(infos), err)
				}
				theirs, err := office.SessionsOf(t.Context(), "ann")
				kit.Must(t, err)
				if !shared {
					kit.WantErr(t, "Revoke", shop.Revoke(t.Context(), "ann", theirs[0].ID), sessions.ErrNotFound)
				}
				if n, err := shop.RevokeAll(t.Context(), "ann"); n != want || err != nil {
					t.Errorf("RevokeAll has ended %d, %v", n, err)
				}
				if kit.Alive(t, shop, token) || kit.Alive(t, office, other) == shared {
					t.Errorf("alive are the shop's: %t, and the office's: %t", kit.Alive(t, shop, token), kit.Alive(t, office, other))
				}
			})
			row("O13 UpdateAll leaves the sessions of another T in "+name+" alone", func(t *testing.T, d *devices) {
				shop, office := managers(t, d, 0)
				token, other := begin(t, shop, ann), begin(t, office, annOfStaff)
				kit.Must(t, shop.UpdateAll(t.Context(), "ann", count))
				kit.Must(t, office.UpdateAll(t.Context(), "ann", func(s *staff) error { s.Rank += 10; return nil }))
				if s := kit.Stored(t, shop, token); s != (session{User: "ann", Views: 1}) {
					t.Errorf("the shop's is %+v", s)
				}
				if s := kit.Stored(t, office, other); s != (staff{"ann", 10}) {
					t.Errorf("the office's is %+v", s)
				}
			})
			row("O9 a limit counts the sessions of another T only in the same Realm: "+name, func(t *testing.T, d *devices) {
				shop, office := managers(t, d, 2)
				first, second, want := begin(t, shop, ann), begin(t, office, annOfStaff), 3
				if shared {
					want = 2
				}
				third, live := begin(t, office, annOfStaff), 0
				for _, alive := range []bool{kit.Alive(t, shop, first), kit.Alive(t, office, second), kit.Alive(t, office, third)} {
					if alive {
						live++
					}
				}
				if live != want {
					t.Errorf("%d sessions are alive, want %d", live, want)
				}
			})
		}
	})
}
