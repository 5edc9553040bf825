package node_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A race has a browser with two requests on their way. The first is parked
// when it has loaded the session, made its change and not yet saved it.
type race struct {
	*pair
	b       *browser
	sid     string
	rolling bool
}

// holds compares what is stored with the names of fields, in order.
func (r *race) holds(t *testing.T, fields string) {
	t.Helper()
	rec := r.lives(t, r.node, r.sid, quarter)
	var got []string
	for _, name := range []string{"views", "a", "b", "flash", "rate"} {
		if v, ok := rec.fields[name]; ok {
			got = append(got, name+"="+string(v))
		}
	}
	if strings.Join(got, " ") != fields {
		t.Errorf("stored is %s, want %s", got, fields)
	}
}

func TestRaces(t *testing.T) {
	w := newWorld(t)
	for _, rolling := range []bool{false, true} {
		o := article(quarter)
		o.Rolling = rolling
		p := w.pair(t, "10", o)
		for _, tt := range []struct {
			name string
			test func(t *testing.T, r *race)
		}{
			{"C7 R10 Go parked, Node saves another field: both survive", goParkedNodeSaves},
			{"C8 Go parked, Node saves the same field: the later one, and the rest of the other", goParkedSameField},
			{"C1 Go parked, Node destroys: it stays destroyed", goParkedNodeDestroys},
			{"C4 Go parked, Node regenerates: the old one stays dead", goParkedNodeRegenerates},
			{"C9 Go parked, Node counts: an Update goes by what Node has counted", goParkedNodeCounts},
			{"C9 Updates in Go are exact beside Node's touches", updates},
			{"C6 Node parked without a change, Go saves: Go's stands", nodeParkedUnchangedGoSaves},
			{"C6 Node parked without a change, Go destroys: it stays destroyed", nodeParkedUnchangedGoDestroys},
			{"R10 documented loss: Node parked, Go saves another field: Node's document stands, Go's field is lost", nodeParkedGoSaves},
			{"R10 documented loss: Node parked, Go destroys: Node brings it back", nodeParkedGoDestroys},
			{"R10 documented loss: Node parked, Go renews: Node brings the old one back beside the new", nodeParkedGoRenews},
			{"L25 Go parked without a change, Node renews: the browser keeps the new sid", goParkedUnchangedNodeRenews},
			{"L25 Go parked without a change, Go signs in: the browser keeps the new sid", goParkedUnchangedGoSignsIn},
			{"R10 documented loss: Go parked, Node renews, Go destroys: the renewed one lives", goParkedNodeRenewsGoDestroys},
		} {
			for _, first := range p.both() {
				b := p.browser(t)
				t.Run(fmt.Sprintf("%s, rolling=%t, begun in %s", tt.name, rolling, first.name), func(t *testing.T) {
					b.t = t
					b.ask(first, "GET /count")
					tt.test(t, &race{p, b, b.sid(first), rolling})
				})
			}
		}
	}
}

func goParkedNodeSaves(t *testing.T, r *race) {
	release := r.b.hold(r.gopher, `{"flash": "go"}`)
	r.b.ask(r.node, "POST /set", `{"a": 1, "rate": 2}`)
	if a := release(); a.status != http.StatusOK {
		t.Errorf("Go's answer: %d %s", a.status, a.Error)
	}
	r.holds(t, `views=1 a=1 flash="go" rate=2`)
	if a := r.b.ask(r.node, "GET /count"); string(a.Session["flash"]) != `"go"` || a.views(t) != 2 {
		t.Errorf("Node sees %s", a.Session)
	}
}

func goParkedSameField(t *testing.T, r *race) {
	release := r.b.hold(r.gopher, `{"flash": "go"}`)
	r.b.ask(r.node, "POST /set", `{"a": 1, "flash": "node"}`)
	release()
	r.holds(t, `views=1 a=1 flash="go"`)
}

func goParkedNodeDestroys(t *testing.T, r *race) {
	before := len(r.keys(t)) - 1
	release := r.b.hold(r.gopher, `{"flash": "go"}`)
	r.b.ask(r.node, "POST /destroy")
	if a := release(); a.status != http.StatusConflict || a.setCookie != nil {
		t.Errorf("Go's answer: %d %s, Set-Cookie %q", a.status, a.Error, a.setCookie)
	}
	r.dead(t, r.node, r.sid)
	// A verb tells it to the handler.
	for _, verb := range []string{"save", "update", "renew", "touch"} {
		r.b = r.browser(t)
		r.b.ask(r.node, "GET /count")
		r.sid = r.b.sid(r.node)
		release = r.b.hold(r.gopher, `{"flash": "go"}`, verb)
		r.b.ask(r.node, "POST /destroy")
		if a := release(); a.status != http.StatusConflict || a.By != "go" || a.setCookie != nil {
			t.Errorf("%s: Go's answer: %d %s by %q, Set-Cookie %q", verb, a.status, a.Error, a.By, a.setCookie)
		}
		r.dead(t, r.node, r.sid)
		if keys := r.keys(t); len(keys) != before {
			t.Errorf("%s: there is %q", verb, keys)
		}
	}
	// A sign-in begins a session of its own (L20).
	r.b = r.browser(t)
	r.b.ask(r.node, "GET /count")
	r.sid = r.b.sid(r.node)
	release = r.b.hold(r.gopher, `{"flash": "go"}`, "signin")
	r.b.ask(r.node, "POST /destroy")
	if a := release(); a.status != http.StatusOK || a.By != "go" || a.setCookie == nil {
		t.Errorf("signin: Go's answer: %d %s by %q, Set-Cookie %q", a.status, a.Error, a.By, a.setCookie)
	}
	r.dead(t, r.node, r.sid)
	if own := r.b.sid(r.node); own == r.sid {
		t.Errorf("signin: the browser has %q, as before", own)
	}
	if a := r.b.ask(r.node, "GET /count"); string(a.Session["flash"]) != `"go"` {
		t.Errorf("signin: Node sees %s", a.Session)
	}
}

func goParkedNodeRegenerates(t *testing.T, r *race) {
	for _, route := range []string{"POST /regenerate", "POST /renew"} {
		old := r.sid
		release := r.b.hold(r.gopher, `{"flash": "go"}`)
		r.b.ask(r.node, route)
		r.sid = r.b.sid(r.node)
		if a := release(); a.status != http.StatusConflict || a.setCookie != nil {
			t.Errorf("%s: Go's answer: %d %s, Set-Cookie %q", route, a.status, a.Error, a.setCookie)
		}
		r.dead(t, r.node, old)
		if sid := r.b.sid(r.node); sid != r.sid || sid == old {
			t.Errorf("%s: the browser has the sid %q, want Node's new %q", route, sid, r.sid)
		}
		r.holds(t, "")
	}
}

func goParkedNodeCounts(t *testing.T, r *race) {
	release := r.b.hold(r.gopher, `{"flash": "go"}`, "update")
	for range 5 {
		r.b.ask(r.node, "GET /count")
	}
	if a := release(); a.views(t) != 7 {
		t.Errorf("Go's answer: %d %s, %s", a.status, a.Error, a.Session)
	}
	r.holds(t, `views=7 flash="go"`)
}

func nodeParkedGoSaves(t *testing.T, r *race) {
	release := r.b.hold(r.node, `{"a": 1}`)
	r.b.ask(r.gopher, "POST /save", `{"flash": "go"}`)
	r.b.ask(r.gopher, "POST /update")
	r.holds(t, `views=2 flash="go"`)
	if a := release(); a.status != http.StatusOK {
		t.Errorf("Node's answer: %d %s", a.status, a.Error)
	}
	r.holds(t, `views=1 a=1`)
}

func nodeParkedUnchangedGoSaves(t *testing.T, r *race) {
	release := r.b.hold(r.node, `{}`)
	r.b.ask(r.gopher, "POST /save", `{"flash": "go"}`)
	release()
	r.holds(t, `views=1 flash="go"`)
}

func nodeParkedGoDestroys(t *testing.T, r *race) {
	release := r.b.hold(r.node, `{"a": 1}`)
	r.b.ask(r.gopher, "POST /destroy")
	r.dead(t, r.node, r.sid)
	if sid := r.b.sid(r.node); sid != "" {
		t.Errorf("after Go has destroyed the session the browser has the sid %q", sid)
	}
	a := release()
	r.holds(t, `views=1 a=1`)
	if len(a.setCookie) != 1 || r.b.sid(r.node) != r.sid {
		t.Errorf("Node's answer: Set-Cookie %q, the browser has the sid %q", a.setCookie, r.b.sid(r.node))
	}
}

// The cookie of a rolling app comes back all the same; its sid is then unknown.
func nodeParkedUnchangedGoDestroys(t *testing.T, r *race) {
	release := r.b.hold(r.node, `{}`)
	r.b.ask(r.gopher, "POST /destroy")
	release()
	r.dead(t, r.node, r.sid)
	for _, at := range r.both() {
		if a := r.b.ask(at, "GET /read"); len(a.Session) > 0 || a.ID == r.sid {
			t.Errorf("%s finds %s under the sid %q", at.name, a.Session, a.ID)
		}
	}
}

func nodeParkedGoRenews(t *testing.T, r *race) {
	release := r.b.hold(r.node, `{"a": 1}`)
	r.b.ask(r.gopher, "POST /renew")
	renewed := r.b.sid(r.node)
	r.dead(t, r.node, r.sid)
	release()
	r.holds(t, `views=1 a=1`)
	r.sid = renewed
	r.holds(t, `views=1`)
}

func goParkedUnchangedNodeRenews(t *testing.T, r *race) {
	r.goParkedUnchanged(t, r.node, "POST /renew")
}

func goParkedUnchangedGoSignsIn(t *testing.T, r *race) {
	r.goParkedUnchanged(t, r.gopher, "POST /signin")
}

// The parked requests have read, saved, and restarted the expiry.
func (r *race) goParkedUnchanged(t *testing.T, at *site, route string) {
	for _, before := range []string{"", "save", "touch"} {
		release := r.b.hold(r.gopher, "")
		if before != "" {
			release = r.b.holdAfter(r.gopher, before, `{"flash": "go"}`)
		}
		r.b.ask(at, route)
		old, renewed := r.sid, r.b.sid(at)
		if a := release(); a.status != http.StatusOK || len(a.setCookie) > 0 {
			t.Errorf("%s: Go's answer: %d %s, Set-Cookie %q", before, a.status, a.Error, a.setCookie)
		}
		if sid := r.b.sid(at); sid != renewed || sid == old {
			t.Errorf("%s: the browser has the sid %q, want %q", before, sid, renewed)
		}
		r.dead(t, at, old)
		r.sid = renewed
		r.lives(t, at, renewed, quarter)
	}
}

func goParkedNodeRenewsGoDestroys(t *testing.T, r *race) {
	release := r.b.hold(r.gopher, "", "destroy")
	r.b.ask(r.node, "POST /renew")
	old, renewed := r.sid, r.b.sid(r.node)
	release()
	if values := r.b.values(r.node); len(values) > 0 {
		t.Errorf("Go has signed the browser out, which has %q", values)
	}
	r.dead(t, r.node, old)
	r.sid = renewed
	r.holds(t, "views=1")
}

func updates(t *testing.T, r *race) {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for i := range workers {
		for _, at := range r.both() {
			route := map[*site]string{r.node: "GET /read", r.gopher: "POST /update"}[at]
			if at == r.node && i%2 == 1 {
				route = "POST /touch"
			}
			wg.Go(func() {
				for range each {
					if a, err := r.b.send(at, route, "", nil); err != nil || a.status != http.StatusOK {
						t.Errorf("%s: %s: %d %s, %v", at.name, route, a.status, a.Error, err)
					}
				}
			})
		}
	}
	wg.Wait()
	r.holds(t, "views=201")
}
