package node_test

import "testing"

// TestPolls signs users in while a page of theirs polls a Go route: nobody ends up with the sid of before.
func TestPolls(t *testing.T) {
	const users = 1000
	o := article(quarter)
	o.Rolling = true
	p := newWorld(t).pair(t, "10", o)
	for _, row := range []struct {
		name  string
		at    *site
		route string
	}{
		{"L25 a sign-in in Go", p.gopher, "POST /signin"},
		{"L25 a sign-in in Node", p.node, "POST /renew"},
	} {
		t.Run(row.name, func(t *testing.T) {
			lost := 0
			for range users {
				b := p.browser(t)
				b.ask(p.gopher, "GET /count")
				release := b.hold(p.gopher, "")
				b.ask(row.at, row.route)
				release()
				if b.ask(p.gopher, "GET /read").views(t) != 1 {
					lost++
				}
			}
			if lost > 0 {
				t.Errorf("%d of %d users are signed out again", lost, users)
			}
		})
	}
}
