package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

// unanswer lets the swap after the next skip ones get no reply, whether it is
// applied or not.
func unanswer(store *stepStore, skip int, applied bool) {
	lose := func(op, _ string) error {
		if op != "CompareAndSwap" {
			return nil
		}
		if skip--; skip >= 0 {
			return nil
		}
		store.before, store.after = nil, nil
		return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	}
	if applied {
		store.after = lose
	} else {
		store.before = lose
	}
}

func wantUnanswered(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, sessions.ErrUnavailable) {
		t.Fatalf("%v, want ErrUnavailable", err)
	}
}

// A save that was merged with another one's and then not answered has taken
// theirs along: that is not this request's to take back.
func TestDoubtOfAMerge(t *testing.T) {
	verbs := map[string]func(*sessions.Manager[Session], context.Context) error{
		"Save": (*sessions.Manager[Session]).Save, "Renew": (*sessions.Manager[Session]).Renew,
		"SignIn": func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) },
		"Update": func(m *sessions.Manager[Session], ctx context.Context) error {
			return m.Update(ctx, func(s *Session) error { s.UserID = "bob"; return nil })
		},
	}
	states := []struct {
		name           string
		applied, later bool // later: there is another write after it
	}{
		{"that was applied", true, false},
		{"that was not applied", false, false},
		{"that was applied and written over", true, true},
		{"that was not applied and come too late for", false, true},
	}
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		for _, state := range states {
			for name, verb := range verbs {
				t.Run("C7 C10 after an unanswered merge "+state.name+", "+name+" keeps what others have set and what this request has", func(t *testing.T) {
					store := &stepStore{Store: memory()}
					p := newMergePair(t, store, sessions.Config{Codec: codec}, other, one, mergeAnn)
					ctx := p.meet(t, func(s *Session) { s.Views = 5 })
					unanswer(store, 1, state.applied)
					s := p.here.FromContext(ctx)
					s.Flash = "mine"
					wantUnanswered(t, p.here.Save(ctx))
					wantCalls(t, p.calls, "a save that meets another", "CompareAndSwap CompareAndSwap")
					if state.later {
						mergeEdit(t, p.there, p.token, func(s *Session) { s.Tags = map[string]string{"later": "x"} })
					}
					must(t, verb(p.here, ctx))
					token := p.token
					if name == "Renew" || name == "SignIn" {
						token = p.renewed(t, ctx)
					}
					got := mergeStored(t, p.there, token)
					if got.Views != 5 || got.Flash != "mine" || (got.Tags["later"] == "x") != state.later {
						t.Errorf("stored is %+v: others have set 5 views, this request has not touched them", got)
					}
					if !mergeEqual(t, got, *s) {
						t.Errorf("*T is %+v, stored %+v", *s, got)
					}
				})
			}
		}
	})
}

func TestDoubtOfASum(t *testing.T) {
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		for name, applied := range map[string]bool{"that was applied": true, "that was not applied": false} {
			t.Run("C7 C10 an unanswered merge "+name+" is tried again, and a MergeSession that adds up counts each change once", func(t *testing.T) {
				store := &stepStore{Store: memory()}
				p := newMergePair(t, store, sessions.Config{Codec: codec}, other, one, mergeTen)
				ctx := p.meet(t, func(s *mergeTally) { s.Total += 5 })
				unanswer(store, 1, applied)
				p.here.FromContext(ctx).Total++
				wantUnanswered(t, p.here.Save(ctx))
				must(t, p.here.Save(ctx))
				if got := mergeStored(t, p.there, p.token).Total; got != 16 {
					t.Errorf("the total is %d after 10, 5 more there and 1 more here, want 16", got)
				}
			})
		}
	})
}

func TestTwoDoubts(t *testing.T) {
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		for name, policy := range map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject} {
			t.Run("C10 C12 of two unanswered saves the first was applied: the third stores what *T holds, and conflicts with nobody, "+name, func(t *testing.T) {
				store := &stepStore{Store: memory()}
				p := newMergePair(t, store, sessions.Config{Codec: codec, OnConflict: policy}, other, one, mergeAnn)
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				s := p.here.FromContext(ctx)
				s.Views = 2
				unanswer(store, 0, true)
				wantUnanswered(t, p.here.Save(ctx))
				s.Views = 1
				unanswer(store, 0, false)
				wantUnanswered(t, p.here.Save(ctx))
				must(t, p.here.Save(ctx))
				if got := mergeStored(t, p.there, p.token).Views; got != 1 || s.Views != 1 {
					t.Errorf("stored are %d views, *T has %d, want 1", got, s.Views)
				}
			})
		}
	})
}

func TestRejectSelf(t *testing.T) {
	updateBubble(t, "C10 C12 an unanswered save that the writer before has met is still this request's own, and no conflict", func(t *testing.T, c sessions.Codec) {
		store := &stepStore{Store: memory()}
		m := mustNew(t, store, sessions.Config{Codec: c, OnConflict: sessions.ConflictReject})
		token := mustRequest(t, m, "", put(m, "ann"))
		mine, err := m.Load(t.Context(), token)
		must(t, err)
		before, err := m.Load(t.Context(), token)
		must(t, err)
		unanswer(store, 0, true)
		m.FromContext(mine).UserID = "bob"
		wantUnanswered(t, m.Save(mine))

		g := newGate()
		store.before = func(op, _ string) error {
			store.before = nil
			g.pass()
			return nil
		}
		first, second := make(chan error, 1), make(chan error, 1)
		m.FromContext(before).Views = 7
		go func() { first <- m.Save(before) }()
		g.wait()
		m.FromContext(mine).Views = 3
		go func() { second <- m.Save(mine) }()
		synctest.Wait() // until it is its turn
		g.open()
		if err := <-first; !errors.Is(err, sessions.ErrConflict) {
			t.Errorf("the writer before = %v, want ErrConflict", err)
		}
		must(t, <-second)
		if got := mergeStored(t, m, token); got.UserID != "bob" || got.Views != 3 {
			t.Errorf("stored is %+v", got)
		}
	})
}

func TestUpdateUnansweredThenRevert(t *testing.T) {
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		for name, applied := range map[string]bool{"that was applied": true, "that was not applied": false} {
			t.Run("C10 L13 a value set back after an unanswered Update "+name+" is set back in the store", func(t *testing.T) {
				store := &stepStore{Store: memory()}
				p := newMergePair(t, store, sessions.Config{Codec: codec}, other, one, mergeAnn)
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				s := p.here.FromContext(ctx)
				s.UserID = "bob"
				unanswer(store, 0, applied)
				wantUnanswered(t, p.here.Update(ctx, func(s *Session) error { s.Views++; return nil }))
				s.UserID = "ann"
				must(t, p.here.Save(ctx))
				if got := mergeStored(t, p.there, p.token).UserID; got != "ann" || s.UserID != "ann" {
					t.Errorf("Save = nil, stored is %q, *T has %q", got, s.UserID)
				}
			})
		}
	})
}
