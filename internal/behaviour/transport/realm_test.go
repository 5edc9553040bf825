package transport_test

import (
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestRealm(t *testing.T) {
	t.Parallel()
	t.Run("T11 managers of two realms on one prefix refuse each other's tokens", func(t *testing.T) {
		for name, newStore := range map[string]func(t *testing.T) sessions.Store{
			"memory":    func(*testing.T) sessions.Store { return kit.Memory() },
			"miniredis": func(t *testing.T) sessions.Store { return kit.RedisStore(kit.MiniRedis(t)) },
		} {
			t.Run(name, func(t *testing.T) {
				store := newStore(t)
				var apps []*kit.App
				var tokens []string
				for i, realm := range []string{"users", "admins", ""} {
					apps = append(apps, kit.NewApp(t, kit.InProcess, store, sessions.Config{Realm: realm}))
					tokens = append(tokens, apps[i].Seed(i+1))
				}
				for owner, token := range tokens {
					for i, a := range apps {
						if i == owner {
							continue
						}
						if got := a.Views(token); got != 0 {
							t.Errorf("%d views by a foreign token, want none", got)
						}
						if got := kit.TokenOf(a.Ask(change, pairs(token)).Header); got == "" || got == token {
							t.Errorf("a foreign token and a write gave %q", got)
						}
					}
					if got := apps[owner].Views(token); got != owner+1 {
						t.Errorf("%d views by the own token, want %d", got, owner+1)
					}
				}
			})
		}
	})

	t.Run("T11 a realm cannot be made to end in another's token", func(t *testing.T) {
		_, err := sessions.New[kit.Session](kit.Memory(), sessions.Config{Realm: "users\x00s"})
		if err == nil || !strings.Contains(err.Error(), "Config.Realm") {
			t.Errorf("got %v, want an error that names Config.Realm", err)
		}
	})

	t.Run("T11 managers of one realm share sessions", func(t *testing.T) {
		store := kit.Memory()
		a := kit.NewApp(t, kit.InProcess, store, sessions.Config{Realm: "users"})
		b := kit.NewApp(t, kit.InProcess, store, sessions.Config{Realm: "users"})
		if got := b.Views(a.Seed(7)); got != 7 {
			t.Errorf("%d views, want 7", got)
		}
	})
}
