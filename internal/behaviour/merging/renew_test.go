package merging_test

import (
	"fmt"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Another process may save under the old token while a renewal is under way.
// Nothing of that is lost: it has been merged when the swap goes through, or it
// finds that the token is dead. internal/protocol has the steps.
func TestRenew(t *testing.T) {
	t.Parallel()
	edits := map[string]func(*wide){
		"with a change":    func(s *wide) { s.F01 = "mine" },
		"without a change": func(*wide) {},
	}
	eachOnRedis(t, func(t *testing.T, s setup) {
		if s.one {
			return // in one process they take turns
		}
		for _, verb := range []string{"Renew", "SignIn"} {
			for how, edit := range edits {
				t.Run(fmt.Sprintf("C7 %s %s takes in what another process saves before its claim", verb, how), func(t *testing.T) {
					p := open(t, s, sessions.Config{}, func(s *wide) { s.F00, s.F40 = "base", "base" })
					p.meanwhile("before CompareAndSwap", 1, func() { p.edit(t, func(s *wide) { s.F02, s.F40 = "theirs", "" }) })
					ctx, live := p.load(t, nil)
					id := p.here.Info(ctx).ID
					edit(live)
					kit.Must(t, p.call(ctx, verb, nil))

					merged := wide{F00: "base", F02: "theirs"}
					edit(&merged)
					want(t, "*T", *live, merged)
					p.token = p.tokenAfter(t, ctx, verb)
					want(t, "stored", p.stored(t), merged)
					want(t, "the ID", p.here.Info(ctx).ID, id)
					live.F03 = "later"
					kit.Must(t, p.here.Save(ctx))
					merged.F03 = "later"
					want(t, "after a later save stored", p.stored(t), merged)
					p.wantLeft(t, 1, 1)
				})
			}

			t.Run("C8 "+verb+" and another save of one field keep the later one's, and tell", func(t *testing.T) {
				p := open(t, s, sessions.Config{}, wideBase)
				ctx, live := p.load(t, nil)
				p.meanwhile("before CompareAndSwap", 1, func() { p.edit(t, func(s *wide) { s.F01, s.F02 = "theirs", "theirs" }) })
				live.F01 = "mine"
				kit.Must(t, p.call(ctx, verb, nil))
				want(t, "*T", *live, wide{F00: "base", F01: "mine", F02: "theirs"})
				var got []string
				for _, e := range p.events.Take() {
					got = append(got, fmt.Sprint(e.Kind, e.Fields))
				}
				kind := map[string]sessions.EventKind{"Renew": sessions.EventRenewed, "SignIn": sessions.EventSignedIn}[verb]
				want(t, "the list of events", got, []string{"conflict [F01]", "merged [F02]", kind.String() + " []"})
			})
		}
	})

	// Others save before each of so many swaps: a renewal swaps the record of
	// its copy too.
	for verb, swaps := range map[string]int{"Renew": 9, "Save": 5} {
		kit.EachBubble(t, "C7 "+verb+" takes in what five others save, one after the other", func(t *testing.T, c sessions.Codec) {
			p := open(t, setup{kit.Memory(), c, c, false}, sessions.Config{}, wideBase)
			ctx, live := p.load(t, nil)
			n := 0
			p.meanwhile("before CompareAndSwap", swaps, func() {
				if n++; n <= 5 {
					p.edit(t, func(s *wide) { s.field(10 + n).SetString("theirs") })
				}
			})
			live.F01 = "mine"
			kit.Must(t, p.call(ctx, verb, nil))
			merged := wide{F00: "base", F01: "mine", F11: "theirs", F12: "theirs", F13: "theirs", F14: "theirs", F15: "theirs"}
			p.token = p.tokenAfter(t, ctx, verb)
			want(t, "stored", p.stored(t), merged)
			want(t, "*T", *live, merged)
			if verb == "Save" {
				live.F02 = "later"
				kit.Must(t, p.here.Save(ctx))
				merged.F02 = "later"
				want(t, "after a later save stored", p.stored(t), merged)
				p.wantLeft(t, 1, 0)
			} else {
				p.wantLeft(t, 1, 1)
			}
		})
	}
}
