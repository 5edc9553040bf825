package merging_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// unanswered is a verb of here one swap of which gets no reply, whether it is
// applied or not: the one after the first skip ones.
func (p *pair[T]) unanswered(t *testing.T, skip int, applied bool, verb func() error) {
	t.Helper()
	lose := func(op, _ string) error {
		if op != "CompareAndSwap" {
			return nil
		}
		if skip--; skip != -1 {
			return nil
		}
		return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	}
	if applied {
		p.store.After = lose
	} else {
		p.store.Before = lose
	}
	if err := verb(); !errors.Is(err, sessions.ErrUnavailable) {
		t.Fatalf("%v, want ErrUnavailable", err)
	}
	p.store.Before, p.store.After = nil, nil
}

var whether = map[string]bool{"that was applied": true, "that was not applied": false}

// A save that was applied, though nobody answered, meets itself when the
// request tries again.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	eachOnRedis(t, func(t *testing.T, s setup) {
		start := func(t *testing.T, policy sessions.ConflictPolicy) (*pair[kit.Session], context.Context, *kit.Session) {
			p := open(t, s, sessions.Config{OnConflict: policy}, ann)
			ctx, live := p.load(t, nil)
			live.Views, live.Prefs["c"] = 2, 3
			p.unanswered(t, 0, true, func() error { return p.here.Save(ctx) })
			return p, ctx, live
		}
		for name, policy := range policies {
			for _, row := range []struct{ verb, name string }{
				{"Save", "C12 C10 a save that is tried again after ErrUnavailable does not conflict with itself, "},
				{"Renew", "C12 C10 nor does a Renew after it, "},
			} {
				t.Run(row.name+name, func(t *testing.T) {
					p, ctx, _ := start(t, policy)
					kit.Must(t, kit.Call(p.here, ctx, row.verb))
					for _, e := range p.events.Take() {
						if policy != sessions.ConflictLastWrite && (e.Kind == sessions.EventConflict || e.Kind == sessions.EventMerged) {
							t.Errorf("event %v %v %v", e.Kind, e.Fields, e.Err)
						}
					}
					p.token = p.tokenAfter(t, ctx, row.verb)
					if got := p.stored(t); got.Views != 2 || got.Prefs["c"] != 3 {
						t.Errorf("stored is %+v", got)
					}
				})
			}
		}
		theirs := func(s *kit.Session) { s.Flash = "theirs" }
		t.Run("C10 C7 a save tried again after ErrUnavailable keeps what another one has saved since", func(t *testing.T) {
			p, ctx, live := start(t, sessions.ConflictMerge)
			p.edit(t, theirs)
			kit.Must(t, p.here.Save(ctx))
			if got := p.stored(t); got.Views != 2 || got.Flash != "theirs" || live.Flash != "theirs" {
				t.Errorf("stored is %+v, *T %+v", got, *live)
			}
		})
		t.Run("C12 C10 what another one has saved since is a conflict", func(t *testing.T) {
			p, ctx, _ := start(t, sessions.ConflictReject)
			p.edit(t, theirs)
			kit.WantErr(t, "Save", p.here.Save(ctx), sessions.ErrConflict)
		})
	})
}

// What a request has sent and nobody has answered may be what is stored now: it
// is not another one's.
func TestUnansweredIsMine(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s setup) {
		start := func(t *testing.T, policy sessions.ConflictPolicy) (*pair[kit.Session], context.Context, *kit.Session) {
			p := open(t, s, sessions.Config{OnConflict: policy}, ann)
			ctx, live := p.load(t, nil)
			live.Views = 2
			p.unanswered(t, 0, true, func() error { return p.here.Save(ctx) })
			p.events.Take()
			return p, ctx, live
		}
		for _, row := range []struct {
			name, verb, flash string
			edit              func(*kit.Session) // of another one, meanwhile
			stored            string             // the Flash
		}{
			{"C10 L13 a value set back after ErrUnavailable is set back in the store", "Save", "", nil, ""},
			{"C10 C7 a value set back beside another change is set back too", "Save", "tried again", nil, "tried again"},
			{"C10 C7 a value set back is set back by Renew too", "Renew", "", nil, ""},
			{"C10 C7 a value set back is set back, and what another one has saved since stays", "Save", "", func(s *kit.Session) { s.Flash = "theirs" }, "theirs"},
		} {
			t.Run(row.name, func(t *testing.T) {
				p, ctx, live := start(t, sessions.ConflictMerge)
				if row.edit != nil {
					p.edit(t, row.edit)
				}
				live.Views, live.Flash = 1, row.flash
				kit.Must(t, kit.Call(p.here, ctx, row.verb))
				p.token = p.tokenAfter(t, ctx, row.verb)
				got := p.stored(t)
				if got.Views != 1 || got.Flash != row.stored {
					t.Errorf("the request has set 1, stored is %+v", got)
				}
				want(t, "*T", *live, got)
				p.store.Calls()
				kit.Must(t, p.here.Save(ctx))
				p.store.WantCalls(t, "a third save", "")
			})
		}
		t.Run("C10 C12 a save tried again with more in it is no conflict", func(t *testing.T) {
			p, ctx, live := start(t, sessions.ConflictReject)
			live.Flash = "tried again"
			kit.Must(t, p.here.Save(ctx))
			p.wantEvents(t, sessions.EventSaved)
		})
		for name, policy := range map[string]sessions.ConflictPolicy{"merged": sessions.ConflictMerge, "overwritten": sessions.ConflictLastWrite} {
			t.Run("C10 C8 of oneself, no conflict is told of where it is "+name, func(t *testing.T) {
				p, ctx, live := start(t, policy)
				live.Views = 3
				kit.Must(t, p.here.Save(ctx))
				p.wantEvents(t, sessions.EventSaved)
			})
		}
		t.Run("C10 after Reload there is nothing in doubt", func(t *testing.T) {
			p, ctx, live := start(t, sessions.ConflictMerge)
			kit.Must(t, p.here.Reload(ctx))
			if live.Views != 2 {
				t.Errorf("*T is %+v", *live)
			}
			p.store.Calls()
			kit.Must(t, p.here.Save(ctx))
			p.store.WantCalls(t, "a save without a change", "")
			p.edit(t, func(s *kit.Session) { s.Views = 9 })
			live.Flash = "mine"
			kit.Must(t, p.here.Save(ctx))
			if got := p.stored(t); got.Views != 9 || got.Flash != "mine" {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C10 C7 what was not applied after all is saved by trying again, or left", func(t *testing.T) {
			for _, views := range []int{1, 2, 3} {
				p := open(t, s, sessions.Config{}, ann)
				ctx, live := p.load(t, nil)
				live.Views = 2
				p.unanswered(t, 0, false, func() error { return p.here.Save(ctx) })
				p.edit(t, func(s *kit.Session) { s.Flash = "theirs" })
				live.Views = views
				kit.Must(t, p.here.Save(ctx))
				if got := p.stored(t); got.Views != views || got.Flash != "theirs" {
					t.Errorf("with %d tried again, stored is %+v", views, got)
				}
			}
		})
		for name, applied := range whether {
			t.Run("C10 L13 a value set back after an unanswered Update "+name+" is set back in the store", func(t *testing.T) {
				p := open(t, s, sessions.Config{}, ann)
				ctx, live := p.load(t, nil)
				live.UserID = "bob"
				p.unanswered(t, 0, applied, func() error {
					return p.here.Update(ctx, func(s *kit.Session) error { s.Views++; return nil })
				})
				live.UserID = "ann"
				kit.Must(t, p.here.Save(ctx))
				if got := p.stored(t).UserID; got != "ann" || live.UserID != "ann" {
					t.Errorf("Save = nil, stored is %q, *T has %q", got, live.UserID)
				}
			})
		}
	})
}
