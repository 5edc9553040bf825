package sessions_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/typedsessions/sessions"
)

// A meddler is a store on which something happens at a step of an operation.
type meddler struct {
	stepStore
	step string // "before CompareAndSwap"
	left int    // how many times yet
	act  func()
	busy bool
}

func meddling(store sessions.Store) *meddler {
	m := &meddler{stepStore: stepStore{Store: store}}
	hook := func(when string) func(op, key string) error {
		return func(op, _ string) error {
			if m.step == when+" "+op && m.left > 0 && !m.busy {
				m.left--
				m.busy = true
				m.act()
				m.busy = false
			}
			return nil
		}
	}
	m.before, m.after = hook("before"), hook("after")
	return m
}

// at lets act happen at the next n times that a step is reached.
func (m *meddler) at(step string, n int, act func()) { m.step, m.left, m.act = step, n, act }

type mergeVerb struct {
	name string
	call func(*sessions.Manager[mergeWide], context.Context) error
}

var mergeRenewals = []mergeVerb{
	{"Renew", (*sessions.Manager[mergeWide]).Renew},
	{"SignIn", func(m *sessions.Manager[mergeWide], ctx context.Context) error { return m.SignIn(ctx) }},
}

// A renewal has several steps, and at each another process may save under the
// old token. Nothing of that is lost: it has been merged when the swap goes
// through, or it finds that the token is dead.
func TestMergeRenew(t *testing.T) {
	steps := []string{"after Load", "before Create", "after Create", "before CompareAndSwap"}
	edits := map[string]func(*mergeWide){
		"with a change":    func(s *mergeWide) { s.F01 = "mine" },
		"without a change": func(*mergeWide) {},
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		if one {
			return // in one process they take turns
		}
		for _, verb := range mergeRenewals {
			for _, step := range steps {
				for how, edit := range edits {
					t.Run(fmt.Sprintf("C7 %s %s takes in what another process saves %s", verb.name, how, step), func(t *testing.T) {
						spy := &spyStore{Store: store}
						m := meddling(spy)
						p := newMergePair(t, m, sessions.Config{Codec: codec}, other, false, func(s *mergeWide) { s.F00, s.F40 = "base", "base" })
						theirs := func() { mergeEdit(t, p.there, p.token, func(s *mergeWide) { s.F02, s.F40 = "theirs", "" }) }
						m.at(step, 1, theirs)
						ctx, err := p.here.Load(t.Context(), p.token)
						must(t, err)
						id := p.here.Info(ctx).ID
						mergeEvents(p.events)
						s := p.here.FromContext(ctx)
						edit(s)
						must(t, verb.call(p.here, ctx))

						want := mergeWide{F00: "base", F02: "theirs"}
						edit(&want)
						if *s != want {
							t.Errorf("*T is %+v, want %+v", *s, want)
						}
						token := p.renewed(t, ctx)
						if got := mergeStored(t, p.there, token); got != want {
							t.Errorf("stored is %+v, want %+v", got, want)
						}
						if got := p.here.Info(ctx).ID; got != id {
							t.Errorf("the ID is %s, was %s", got, id)
						}
						s.F03 = "later"
						must(t, p.here.Save(ctx))
						want.F03 = "later"
						if got := mergeStored(t, p.there, token); got != want {
							t.Errorf("after a later save stored is %+v, want %+v", got, want)
						}
						if live, marks := spy.left(t); live != 1 || marks != 1 {
							t.Errorf("%d records and %d marks", live, marks)
						}
					})
				}
			}

			t.Run("C7 "+verb.name+" takes in what five others save, one after the other", func(t *testing.T) {
				spy := &spyStore{Store: store}
				m := meddling(spy)
				p := newMergePair(t, m, sessions.Config{Codec: codec}, other, false, func(s *mergeWide) { s.F00 = "base" })
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				n := 0
				m.at("before CompareAndSwap", 9, func() { // four of them are of the copy
					if n < 5 {
						n++
						mergeEdit(t, p.there, p.token, func(s *mergeWide) { s.field(10 + n).SetString("theirs") })
					}
				})
				s := p.here.FromContext(ctx)
				s.F01 = "mine"
				must(t, verb.call(p.here, ctx))
				token := p.renewed(t, ctx)
				want := mergeWide{F00: "base", F01: "mine", F11: "theirs", F12: "theirs", F13: "theirs", F14: "theirs", F15: "theirs"}
				if got := mergeStored(t, p.there, token); got != want || *s != want {
					t.Errorf("stored is %+v, *T %+v, want %+v", got, *s, want)
				}
				if live, marks := spy.left(t); live != 1 || marks != 1 {
					t.Errorf("%d records and %d marks", live, marks)
				}
			})

			t.Run("C8 "+verb.name+" and another save of one field keep the later one's, and tell", func(t *testing.T) {
				m := meddling(store)
				p := newMergePair(t, m, sessions.Config{Codec: codec}, other, false, func(s *mergeWide) { s.F00 = "base" })
				m.at("before CompareAndSwap", 1, func() { mergeEdit(t, p.there, p.token, func(s *mergeWide) { s.F01, s.F02 = "theirs", "theirs" }) })
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				mergeEvents(p.events)
				s := p.here.FromContext(ctx)
				s.F01 = "mine"
				must(t, verb.call(p.here, ctx))
				if s.F01 != "mine" || s.F02 != "theirs" {
					t.Errorf("*T is %+v", *s)
				}
				kind := map[string]sessions.EventKind{"Renew": sessions.EventRenewed, "SignIn": sessions.EventSignedIn}[verb.name]
				var got []string
				for _, e := range mergeEvents(p.events) {
					got = append(got, fmt.Sprint(e.Kind, e.Fields))
				}
				if want := fmt.Sprint([]string{"conflict [F01]", "merged [F02]", kind.String() + " []"}); fmt.Sprint(got) != want {
					t.Errorf("events %q, want %s", got, want)
				}
			})
		}

		t.Run("C7 a save takes in what five others save, one after the other", func(t *testing.T) {
			m := meddling(store)
			p := newMergePair(t, m, sessions.Config{Codec: codec}, other, false, func(s *mergeWide) { s.F00 = "base" })
			ctx, err := p.here.Load(t.Context(), p.token)
			must(t, err)
			n := 0
			m.at("before CompareAndSwap", 5, func() {
				n++
				mergeEdit(t, p.there, p.token, func(s *mergeWide) { s.field(10 + n).SetString("theirs") })
			})
			s := p.here.FromContext(ctx)
			s.F01 = "mine"
			must(t, p.here.Save(ctx))
			want := mergeWide{F00: "base", F01: "mine", F11: "theirs", F12: "theirs", F13: "theirs", F14: "theirs", F15: "theirs"}
			if got := mergeStored(t, p.there, p.token); got != want || *s != want {
				t.Errorf("stored is %+v, *T %+v, want %+v", got, *s, want)
			}
			s.F02 = "later"
			must(t, p.here.Save(ctx))
			want.F02 = "later"
			if got := mergeStored(t, p.there, p.token); got != want {
				t.Errorf("after a later save stored is %+v, want %+v", got, want)
			}
		})
	})
}
