package node_test

import (
	"reflect"
	"testing"

	"github.com/typedsessions/sessions/express"
)

// TestCheck looks through what Node has stored, before a Go route is asked for any of it.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := article(quarter)
	p := w.pair(t, "10", o)
	check := func(t *testing.T, want express.Report) {
		t.Helper()
		got, err := express.Check[visit](t.Context(), w.redis, o)
		got.Largest = 0
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	const uuid = 36
	good, cart, rate := p.browser(t), p.browser(t), p.browser(t)
	good.ask(p.node, "POST /set", `{"views": 1, "passport": {"user": 7}, "flash": "saved"}`)
	cart.ask(p.node, "POST /set", `{"views": 2, "cart": "empty"}`)
	rate.ask(p.node, "POST /set", `{"views": 3, "rate": "1.5"}`)
	p.browser(t).ask(p.gopher, "GET /count")

	sids := []string{good.sid(p.node), cart.sid(p.node), rate.sid(p.node)}
	var before []*record
	for _, sid := range sids {
		before = append(before, p.stored(t, p.node, sid))
	}
	t.Run("K12 what does not fit is told by field, and stays as it is", func(t *testing.T) {
		check(t, express.Report{Sessions: 4, LongestID: uuid, Misfits: []express.Misfit{
			{Reason: `json: cannot decode field "cart": a string does not fit []node_test.item`, Sessions: 1, Example: sids[1][:4]},
			{Reason: `json: cannot decode field "rate": a string does not fit float64`, Sessions: 1, Example: sids[2][:4]},
		}})
		for i, sid := range sids {
			if after := p.stored(t, p.node, sid); after.raw != before[i].raw || after.left > before[i].left {
				t.Errorf("it was %+v, and is %+v", before[i], after)
			}
		}
	})
	t.Run("K12 when Node has mended it, both sides have every session", func(t *testing.T) {
		cart.ask(p.node, "POST /set", `{"cart": []}`)
		rate.ask(p.node, "POST /set", `{"rate": 1.5}`)
		check(t, express.Report{Sessions: 4, LongestID: uuid})
		for i, b := range []*browser{good, cart, rate} {
			for n, s := range []*site{p.gopher, p.node, p.gopher} {
				if got := b.ask(s, "GET /count").views(t); got != i+1+n+1 {
					t.Errorf("%s: views %d, want %d", s.name, got, i+1+n+1)
				}
			}
		}
		check(t, express.Report{Sessions: 4, LongestID: uuid})
	})
}
