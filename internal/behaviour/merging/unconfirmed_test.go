package merging_test

import (
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A save that was merged with another one's and then not answered has taken
// theirs along: that is not this request's to take back.
func TestUnconfirmedMerge(t *testing.T) {
	t.Parallel()
	states := []struct {
		name           string
		applied, later bool // later: there is another write after it
	}{
		{"that was applied", true, false},
		{"that was not applied", false, false},
		{"that was applied and written over", true, true},
		{"that was not applied and come too late for", false, true},
	}
	each(t, func(t *testing.T, s setup) {
		for _, state := range states {
			for _, verb := range []string{"Save", "Renew", "SignIn", "Update"} {
				t.Run("C7 C10 after an unanswered merge "+state.name+", "+verb+" keeps what others have set and what this request has", func(t *testing.T) {
					p := open(t, s, sessions.Config{}, ann)
					ctx, live := p.load(t, func(s *kit.Session) { s.Views = 5 })
					live.Flash = "mine"
					p.unanswered(t, 1, state.applied, func() error { return p.here.Save(ctx) })
					p.store.WantCalls(t, "a save that meets another", "CompareAndSwap CompareAndSwap")
					if state.later {
						p.edit(t, func(s *kit.Session) { s.Tags = map[string]string{"later": "x"} })
					}
					kit.Must(t, p.call(ctx, verb, func(s *kit.Session) { s.UserID = "bob" }))
					p.token = p.tokenAfter(t, ctx, verb)
					got := p.stored(t)
					if got.Views != 5 || got.Flash != "mine" || (got.Tags["later"] == "x") != state.later {
						t.Errorf("stored is %+v: others have set 5 views, this request has not touched them", got)
					}
					want(t, "*T", *live, got)
				})
			}
		}
		for name, applied := range whether {
			t.Run("C7 C10 an unanswered merge "+name+" is tried again, and a MergeSession that adds up counts each change once", func(t *testing.T) {
				p := open(t, s, sessions.Config{}, ten)
				ctx, live := p.load(t, func(s *tally) { s.Total += 5 })
				live.Total++
				p.unanswered(t, 1, applied, func() error { return p.here.Save(ctx) })
				kit.Must(t, p.here.Save(ctx))
				if got := p.stored(t).Total; got != 16 {
					t.Errorf("the total is %d after 10, 5 more there and 1 more here, want 16", got)
				}
			})
		}
	})
}

func TestTwoUnconfirmedSaves(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s setup) {
		for name, policy := range policies {
			t.Run("C10 C12 of two unanswered saves the first was applied: the third stores what *T holds, and conflicts with nobody, "+name, func(t *testing.T) {
				p := open(t, s, sessions.Config{OnConflict: policy}, ann)
				ctx, live := p.load(t, nil)
				live.Views = 2
				p.unanswered(t, 0, true, func() error { return p.here.Save(ctx) })
				live.Views = 1
				p.unanswered(t, 0, false, func() error { return p.here.Save(ctx) })
				kit.Must(t, p.here.Save(ctx))
				if got := p.stored(t).Views; got != 1 || live.Views != 1 {
					t.Errorf("stored are %d views, *T has %d, want 1", got, live.Views)
				}
			})
		}
	})

	kit.EachBubble(t, "C10 C12 an unanswered save that the writer before has met is still this request's own, and no conflict", func(t *testing.T, c sessions.Codec) {
		p := open(t, setup{kit.Memory(), c, c, true}, sessions.Config{OnConflict: sessions.ConflictReject}, ann)
		mine, my := p.load(t, nil)
		before, their := p.load(t, nil)
		my.UserID = "bob"
		p.unanswered(t, 0, true, func() error { return p.here.Save(mine) })

		their.Views, my.Views = 7, 3
		p.inTurn(t,
			func() { kit.WantErr(t, "the writer before", p.here.Save(before), sessions.ErrConflict) },
			func() { kit.OK(t, p.here.Save(mine)) },
		)
		if got := p.stored(t); got.UserID != "bob" || got.Views != 3 {
			t.Errorf("stored is %+v", got)
		}
	})
}
