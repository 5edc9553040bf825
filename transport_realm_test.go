package sessions_test

import (
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestRealm(t *testing.T) {
	t.Run("T11 managers of two realms on one prefix refuse each other's tokens", func(t *testing.T) {
		eachRealmStore(t, func(t *testing.T, store sessions.Store) {
			users := newDesk(t, store, sessions.Config{Realm: "users"})
			admins := newDesk(t, store, sessions.Config{Realm: "admins"})
			plain := newDesk(t, store, sessions.Config{})
			tokens := map[string]desk{users.seed(1): users, admins.seed(2): admins, plain.seed(3): plain}
			views := map[desk]int{users: 1, admins: 2, plain: 3}
			for token, owner := range tokens {
				for d, n := range views {
					want := 0
					if d == owner {
						want = n
					}
					if got := d.views(token); got != want {
						t.Errorf("%d views, want %d", got, want)
					}
				}
			}
			for token, owner := range tokens {
				for d := range views {
					if d == owner {
						continue
					}
					res := d.ask(viewOnce, cookieName+"="+token)
					if got := tokenOf(res.Header); got == "" || got == token || owner.views(token) != views[owner] {
						t.Errorf("a foreign token and a write gave %q, and the session there %d views", got, owner.views(token))
					}
				}
			}
		})
	})
	t.Run("T11 a realm cannot be made to end in another's token", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		_, err := sessions.New[Session](store, sessions.Config{Realm: "users\x00s"})
		if err == nil || !strings.Contains(err.Error(), "Config.Realm") {
			t.Errorf("got %v, want an error that names Config.Realm", err)
		}
	})
	t.Run("T11 managers of one realm share sessions", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		a, b := newDesk(t, store, sessions.Config{Realm: "users"}), newDesk(t, store, sessions.Config{Realm: "users"})
		if got := b.views(a.seed(7)); got != 7 {
			t.Errorf("%d views, want 7", got)
		}
	})
}

func eachRealmStore(t *testing.T, f func(t *testing.T, store sessions.Store)) {
	t.Run("memory", func(t *testing.T) { f(t, &sessions.MemoryStore{}) })
	t.Run("miniredis", func(t *testing.T) { f(t, redisStore(miniClient(t))) })
}
