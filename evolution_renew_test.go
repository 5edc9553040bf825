package sessions_test

import (
	"context"
	"testing"

	"github.com/typedsessions/sessions"
)

// What this build does not know is never this request's change: a field that a
// newer build has saved meanwhile stays, whoever saves later.
func TestForeignFieldsMeanwhile(t *testing.T) {
	type Newer struct {
		Session
		Added string `json:"added"`
	}
	for _, verb := range []struct {
		name string
		call func(*sessions.Manager[Session], context.Context) error
	}{
		{"Save", (*sessions.Manager[Session]).Save},
		{"Renew", (*sessions.Manager[Session]).Renew},
		{"SignIn", func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }},
	} {
		for what, views := range map[string]int{"with a change": 5, "without one": 1} {
			t.Run("K3 a field that a newer build saves before the "+verb.name+" of an older one "+what+" stays", func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					store := memory()
					m := newManager[Session](t, store, sessions.Config{Codec: c})
					newer := newManager[Newer](t, store, sessions.Config{Codec: c})
					token := mustRequest(t, m, "", func(ctx context.Context) error {
						m.FromContext(ctx).Views = 1
						return nil
					})
					ctx, err := m.Load(t.Context(), token)
					must(t, err)
					other, err := newer.Load(t.Context(), token)
					must(t, err)
					newer.FromContext(other).Added = "kept"
					_, err = newer.Commit(other)
					must(t, err)

					m.FromContext(ctx).Views = views
					must(t, verb.call(m, ctx))
					o, err := m.Commit(ctx)
					must(t, err)
					then, err := newer.Load(t.Context(), o.Token.Reveal())
					must(t, err)
					if got := newer.FromContext(then); got.Added != "kept" || got.Views != views {
						t.Errorf("%q and %d views, want kept and %d", got.Added, got.Views, views)
					}
				})
			})
		}
	}
}
