package sessions_test

import (
	"context"
	"errors"
	"testing"

	"github.com/typedsessions/sessions"
)

// Destroy ends what every token of the request stands for, the ones that it
// could not use among them, or it says that it did not.
func TestDestroyFollowsEveryToken(t *testing.T) {
	visitor := func(t *testing.T, m *sessions.Manager[Session]) string {
		t.Helper()
		return mustRequest(t, m, "", put(m, "ann"))
	}
	renewed := func(t *testing.T, m *sessions.Manager[Session], token string) string {
		t.Helper()
		return mustRequest(t, m, token, func(ctx context.Context) error { return m.Renew(ctx) })
	}

	t.Run("L10 a Destroy that fails behind the token of a renewed session leaves the request's own one alive", func(t *testing.T) {
		store := &stepStore{Store: memory()}
		m := mustNew(t, store, sessions.Config{})
		old, own := visitor(t, m), visitor(t, m)
		after := renewed(t, m, old)
		ctx, err := m.Load(t.Context(), old, own)
		must(t, err)
		store.before = func(op, _ string) error {
			if op == "Load" { // which Destroy needs to follow the mark
				return sessions.ErrUnavailable
			}
			return nil
		}
		if err := m.Destroy(ctx); !errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("Destroy = %v, want ErrUnavailable", err)
		}
		store.before = nil
		if !alive(t, m, own) {
			t.Error("Destroy has failed, and yet the session is dead")
		}
		must(t, m.Destroy(ctx))
		if alive(t, m, own) || alive(t, m, after) {
			t.Errorf("after the next Destroy: its own lives %t, the renewed one %t", alive(t, m, own), alive(t, m, after))
		}
	})

	t.Run("T4 C16 two valid tokens and one renewed moments ago: Destroy ends all three sessions", func(t *testing.T) {
		m := mustNew(t, memory(), sessions.Config{})
		old, first, second := visitor(t, m), visitor(t, m), visitor(t, m)
		after := renewed(t, m, old)
		ctx, err := m.Load(t.Context(), old, first, second)
		must(t, err)
		must(t, m.Destroy(ctx))
		for name, token := range map[string]string{"the first": first, "the second": second, "the renewed": after} {
			if alive(t, m, token) {
				t.Errorf("%s session lives on", name)
			}
		}
	})
}
