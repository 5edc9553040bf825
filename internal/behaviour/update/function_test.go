package update_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// What an Update's function is given, and what is stored of what it leaves.
func TestFunction(t *testing.T) {
	t.Parallel()
	eachPair(t, "C9 Update stores what fn leaves in T, with one command, and *T holds it", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			if u != s {
				t.Error("fn gets another T than the handler")
			}
			u.Tags["c"] = "3"
			return count(u)
		}))
		p.store.WantCalls(t, "an Update", "CompareAndSwap")
		want := ann(2)
		want.Tags["c"] = "3"
		wantState(t, "*T", *s, want)
		p.want(want)
	})

	eachPair(t, "L19 fn gets T decoded afresh: what the other process took out of a map is not in it", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		p.elsewhere(func(s *state) {
			delete(s.Tags, "a")
			s.List = s.List[:1]
		})
		kit.Must(t, p.mine.Update(ctx, count))
		want := state{Views: 2, Name: "ann", Tags: map[string]string{"b": "2"}, List: []int{1}}
		wantState(t, "*T", *s, want)
		p.want(want)
	})

	eachPair(t, "L19 maps and slices that the handler holds from before are not what fn sees", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		tags, list := s.Tags, s.List
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			tags["a"], list[0] = "mine", 99
			if u.Tags["a"] != "1" || u.List[0] != 1 {
				t.Errorf("fn sees %+v through the handler's own map and slice", u)
			}
			return count(u)
		}))
		p.want(ann(2))
	})

	eachPair(t, "L19 fn sees what this request has changed before, merged into what is stored now, and both are saved with it", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		s.Tags["mine"] = "x"
		s.List = append(s.List, 3)
		p.elsewhere(func(s *state) { s.Name, s.Views = "bob", 10 })
		var seen state
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			seen = *u
			seen.Tags = maps.Clone(u.Tags)
			return count(u)
		}))
		want := state{Views: 10, Name: "bob", Tags: map[string]string{"a": "1", "b": "2", "mine": "x"}, List: []int{1, 2, 3}}
		wantState(t, "what fn sees", seen, want)
		want.Views++
		wantState(t, "*T", *s, want)
		p.want(want)
	})

	eachPair(t, "L19 each call of fn starts from what is stored then, not from what the last call left", func(t *testing.T, p *pair[state]) {
		ctx, _ := p.load()
		calls := 0
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			if calls++; calls <= 3 {
				p.elsewhere(func(s *state) { s.Views += 10 })
			}
			u.Tags[fmt.Sprint("call", calls)] = "x"
			u.List = append(u.List, calls)
			return count(u)
		}))
		if calls != 4 {
			t.Errorf("fn was called %d times, want 4", calls)
		}
		p.want(state{Views: 32, Name: "ann", Tags: map[string]string{"a": "1", "b": "2", "call4": "x"}, List: []int{1, 2, 4}})
	})

	eachPair(t, `L19 unexported fields and those tagged "-" do not outlive an Update`, func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		s.quiet, s.Note = 7, map[string]int{"n": 1}
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			if u.quiet != 0 || u.Note != nil {
				t.Errorf("fn sees %d, %v", u.quiet, u.Note)
			}
			return nil
		}))
		if s.quiet != 0 || s.Note != nil {
			t.Errorf("*T holds %d, %v", s.quiet, s.Note)
		}
	})

	eachPair(t, "C9 several Updates of one request are one command each, and go together with plain changes between them", func(t *testing.T, p *pair[state]) {
		ctx, s := p.load()
		for range 5 {
			kit.Must(t, p.mine.Update(ctx, count))
			s.List = append(s.List, s.Views)
		}
		p.commit(ctx)
		p.store.WantCalls(t, "five Updates and a save", "CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap CompareAndSwap")
		want := ann(6)
		want.List = []int{1, 2, 2, 3, 4, 5, 6}
		p.want(want)
	})

	eachPair(t, "L12 Update after Renew writes under the new token", func(t *testing.T, p *pair[state]) {
		ctx, _ := p.load()
		old, id := p.token, p.mine.Info(ctx).ID
		kit.Must(t, p.mine.Renew(ctx))
		kit.Must(t, p.mine.Update(ctx, count))
		if o := p.commit(ctx); o.Kind != sessions.OutcomeRenewed || p.token == old || o.Info.ID != id {
			t.Errorf("%v, same token %v, ID %s, was %s", o.Kind, p.token == old, o.Info.ID, id)
		}
		if kit.Alive(t, p.other, old) {
			t.Error("the old token finds a session")
		}
		p.want(ann(2))
	})

	eachPair(t, "L11 Update after Destroy starts a new session, with a token and an ID of its own", func(t *testing.T, p *pair[state]) {
		ctx, _ := p.load()
		old, id := p.token, p.mine.Info(ctx).ID
		kit.Must(t, p.mine.Destroy(ctx))
		kit.Must(t, p.mine.Update(ctx, func(u *state) error {
			wantState(t, "what fn sees of the session that was destroyed", *u, state{})
			return count(u)
		}))
		if o := p.commit(ctx); o.Kind != sessions.OutcomeCreated || p.token == old || o.Info.ID == id {
			t.Errorf("%v, same token %v, same ID %v", o.Kind, p.token == old, o.Info.ID == id)
		}
		if kit.Alive(t, p.other, old) {
			t.Error("the old token finds a session")
		}
		p.want(state{Views: 1})
	})
}
