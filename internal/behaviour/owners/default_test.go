package owners_test

import (
	"crypto/rand"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// guest has an owner from the beginning, and a new one each time.
type guest struct {
	Owner string `json:"owner"`
	Views int    `json:"views"`
}

func (g *guest) SessionDefaults()     { g.Owner = "guest " + rand.Text() }
func (g *guest) SessionOwner() string { return g.Owner }

func TestDefault(t *testing.T) {
	t.Parallel()
	t.Run("L8 L12 an owner that SessionDefaults draws is the session's, and neither storing it nor saving more is a sign-in", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			events := &kit.Events{}
			m := kit.New[guest](t, kit.Memory(), sessions.Config{Codec: c, SaveUninitialized: true, OnEvent: events.On})
			ctx, g := kit.Load(t, m)
			owner := g.Owner
			token := kit.Commit(t, m, ctx, sessions.OutcomeCreated).Token.Reveal()
			events.Want(t, sessions.EventCreated)
			g.Views++
			kit.Must(t, m.Save(ctx))
			events.Want(t, sessions.EventSaved)
			later, s := kit.Load(t, m, token)
			for what, got := range map[string]string{"Info": m.Info(ctx).Owner, "the record": m.Info(later).Owner, "T": s.Owner} {
				if got != owner {
					t.Errorf("%s has the owner %q, want %q", what, got, owner)
				}
			}
			if at := m.Info(later).AuthenticatedAt; !at.IsZero() {
				t.Errorf("nobody has proved who they are, and AuthenticatedAt is %v", at)
			}
			s.Owner = "ann"
			if o := kit.Commit(t, m, later, sessions.OutcomeRenewed); o.Info.AuthenticatedAt.IsZero() {
				t.Error("ann has signed in, and AuthenticatedAt is zero")
			}
		})
	})
}
