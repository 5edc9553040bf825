package update_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// What Config.OnConflict says is of the plain changes of a request. fn works on
// what comes of them, and is called again as often as it takes.
func TestPolicies(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, c sessions.Codec, policy sessions.ConflictPolicy) *pair[kit.Session] {
		return newPair(t, kit.Memory(), sessions.Config{Codec: c, OnConflict: policy}, kit.Session{UserID: "ann", Views: 1})
	}
	row := func(name string, policy sessions.ConflictPolicy, f func(t *testing.T, p *pair[kit.Session])) {
		t.Run(name, func(t *testing.T) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, begin(t, c, policy)) })
		})
	}
	bob := func(s *kit.Session) { s.UserID, s.Views = "bob", s.Views+10 }

	for name, policy := range map[string]sessions.ConflictPolicy{
		"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
	} {
		row("C9 C12 an Update by a request without changes of its own counts on what others have stored: "+name, policy, func(t *testing.T, p *pair[kit.Session]) {
			ctx, _ := p.load()
			p.elsewhere(bob)
			newScript(p.store).acts["before CompareAndSwap 2"] = func() { p.elsewhere(bob) }
			kit.Must(t, p.mine.Update(ctx, viewed))
			p.want(kit.Session{UserID: "bob", Views: 22})
		})
	}

	row("C12 reject: an Update by a request whose changes meet another's is ErrConflict, and fn is not called", sessions.ConflictReject, func(t *testing.T, p *pair[kit.Session]) {
		ctx, s := p.load()
		s.Flash = "mine"
		calls := 0
		newScript(p.store).acts["before CompareAndSwap 1"] = func() { p.elsewhere(bob) }
		kit.WantErr(t, "Update", p.mine.Update(ctx, func(s *kit.Session) error { calls++; return viewed(s) }), sessions.ErrConflict)
		if calls != 1 || s.Flash != "mine" || s.Views != 1 {
			t.Errorf("%d calls of fn, want the one before the conflict; *T is %+v", calls, *s)
		}
		p.want(kit.Session{UserID: "bob", Views: 11})
	})

	row("C12 last write: an Update by a request with changes works on this request's T, as a whole", sessions.ConflictLastWrite, func(t *testing.T, p *pair[kit.Session]) {
		ctx, s := p.load()
		s.Flash = "mine"
		p.elsewhere(bob)
		kit.Must(t, p.mine.Update(ctx, viewed))
		p.want(kit.Session{UserID: "ann", Flash: "mine", Views: 2})
	})

	// One process writes and has no answer yet, another process writes, and a
	// request of the first one loads that: what the writer before then leaves to it
	// is older than what it has loaded.
	for _, verb := range []string{"save", "Update"} {
		for name, policy := range map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "reject": sessions.ConflictReject} {
			kit.EachBubble(t, "C12 "+name+": a "+verb+" is not in conflict with a write that it had loaded, whatever the writer before it in its process has left", func(t *testing.T, c sessions.Codec) {
				p := begin(t, c, policy)
				first, _ := p.load()
				var second context.Context
				one, two := p.inTurn(func() error { return p.mine.Update(first, viewed) }, func() {
					p.elsewhere(bob)
					ctx, s := p.load()
					second, s.Flash = ctx, "mine"
				}, func() error {
					if verb == "save" {
						return p.mine.Save(second)
					}
					return p.mine.Update(second, viewed)
				})
				kit.OK(t, one)
				kit.WantErr(t, verb, two, nil)
				want := kit.Session{UserID: "bob", Flash: "mine", Views: 12}
				if verb == "Update" {
					want.Views++
				}
				p.want(want)
			})
		}
	}
}

// merging adds Views up where two requests meet, unless the other one has a name
// that is refused.
type merging struct {
	Views int    `json:"views"`
	Name  string `json:"name"`
}

var refusals = map[string]error{"refused": io.EOF, "no rates": fmt.Errorf("rates: %w", sessions.ErrUnavailable)}

func (s *merging) MergeSession(base, theirs *merging) error {
	if err := refusals[theirs.Name]; err != nil {
		return err
	}
	s.Views += theirs.Views - base.Views
	if s.Name == base.Name {
		s.Name = theirs.Name
	}
	return nil
}

func TestMergeSession(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, c sessions.Codec) (*pair[merging], context.Context, *merging) {
		p := newPair(t, kit.Memory(), sessions.Config{Codec: c}, merging{Views: 1})
		ctx, s := p.load()
		return p, ctx, s
	}
	for _, row := range []struct {
		name, theirs string
		err          error
		live, stored merging // afterwards
	}{
		{"C9 fn works on what T's own MergeSession has made of the changes of two requests", "bob", nil, merging{112, "bob"}, merging{112, "bob"}},
		{
			"C9 an error of T's own MergeSession comes back unchanged from an Update, which stores nothing and puts *T back", "refused", io.EOF,
			merging{101, ""},
			merging{11, "refused"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				p, ctx, s := begin(t, c)
				s.Views += 100
				p.elsewhere(func(s *merging) { s.Views, s.Name = s.Views+10, row.theirs })
				if err := p.mine.Update(ctx, func(s *merging) error { s.Views++; return nil }); err != row.err {
					t.Errorf("Update = %v, want %v", err, row.err)
				}
				wantState(t, "*T", *s, row.live)
				p.want(row.stored)
			})
		})
	}

	kit.EachBubble(t, "C7 C9 a MergeSession whose error wraps ErrUnavailable does not end those who wait behind it", func(t *testing.T, c sessions.Codec) {
		p, first, s := begin(t, c)
		second, _ := p.load()
		s.Views = 11
		g := p.store.At("before CompareAndSwap")
		failed, done := make(chan error, 1), make(chan error, 1)
		go func() { failed <- p.mine.Save(first) }()
		g.Wait()
		p.elsewhere(func(s *merging) { s.Views, s.Name = 20, "no rates" })
		go func() { done <- p.mine.Update(second, func(s *merging) error { s.Views++; return nil }) }()
		synctest.Wait() // until it is its turn
		g.Open()
		kit.WantErr(t, "the save whose merge fails", <-failed, refusals["no rates"])
		kit.Must(t, <-done)
		p.want(merging{21, "no rates"})
	})
}
