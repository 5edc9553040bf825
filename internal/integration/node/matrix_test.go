package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// A script is a browser's requests, and where the two sides may differ in what
// they send (see the decisions of package express, which has the whole table).
var script = []struct {
	route, body string
	// Node's is none, Go's expires the cookie.
	destroys bool
	// Node stores the new, empty session and sends its sid. To Go it begins with
	// the first change, so that one sends it if Go has regenerated.
	empty, after bool
}{
	{route: "GET /read"},
	{route: "POST /touch"},
	{route: "GET /count"},
	{route: "GET /read"},
	{route: "POST /touch"},
	{route: "GET /count"},
	{route: "POST /save", body: `{"flash": "1"}`},
	{route: "GET /read"},
	{route: "POST /set", body: `{"flash": "1"}`}, // which it is
	{route: "POST /set", body: `{"flash": null}`},
	{route: "POST /renew"},
	{route: "GET /read"},
	{route: "POST /regenerate", empty: true},
	{route: "GET /count", after: true},
	{route: "POST /destroy", destroys: true},
	{route: "GET /read"},
	{route: "GET /count"},
	{route: "GET /read"},
}

// TestMatrix plays the script twice, with Node and Go in turn, so that each has
// every step once. Both answer it alike.
func TestMatrix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 16 {
		o := express.Options{
			Secrets: []string{"keyboard cat"}, Prefix: fmt.Sprintf("%d:", i),
			Resave: i&1 > 0, Rolling: i&2 > 0, SaveUninitialized: i&4 > 0,
		}
		line, length := "connect.sid; Path=/; HttpOnly", 24*time.Hour
		if i&8 > 0 {
			o.Cookie.MaxAge = quarter
			line, length = "connect.sid; Path=/; Expires; HttpOnly", quarter
		}
		name := fmt.Sprintf("R4 R9 R14 resave=%t rolling=%t saveUninitialized=%t maxAge=%v", o.Resave, o.Rolling, o.SaveUninitialized, o.Cookie.MaxAge)
		t.Run(name, func(t *testing.T) {
			p := w.pair(t, "10", o)
			sent := [2][]answer{}
			for first := range 2 {
				b := p.browser(t)
				for n, step := range script {
					a := b.ask(p.both()[(first+n)%2], step.route, step.body)
					sent[first] = append(sent[first], a)
					p.consistent(t, b, a, step.route, length)
				}
			}
			for n, step := range script {
				node, gopher := sent[n%2][n], sent[1-n%2][n]
				switch {
				case step.destroys:
					if node.setCookie != nil || len(gopher.setCookie) != 1 || !strings.HasPrefix(gopher.setCookie[0], "connect.sid=; Path=/; Expires=Thu, 01 Jan 1970") {
						t.Errorf("%d: %s: Set-Cookie: node %q, go %q", n, step.route, node.setCookie, gopher.setCookie)
					}
					continue
				case step.empty:
					node.sends(t, line, length)
					if len(gopher.setCookie) != 1 || !strings.HasPrefix(gopher.setCookie[0], "connect.sid=;") {
						t.Errorf("%d: %s: Set-Cookie: go %q", n, step.route, gopher.setCookie)
					}
				case step.after:
					node.sends(t, line, length)
					if got, want := len(gopher.setCookie) > 0, o.Rolling || o.Cookie.MaxAge > 0; got != want {
						t.Errorf("%d: %s: Set-Cookie: go %q", n, step.route, gopher.setCookie)
					}
				case len(node.setCookie) != len(gopher.setCookie):
					t.Errorf("%d: %s: Set-Cookie: node %q, go %q", n, step.route, node.setCookie, gopher.setCookie)
				case node.setCookie != nil:
					node.sends(t, line, length)
					gopher.sends(t, line, length)
				}
				if got, want := gopher.views(t), node.views(t); got != want {
					t.Errorf("%d: %s: views: node %d, go %d", n, step.route, want, got)
				}
			}
		})
	}
}

// consistent says that the browser has the sid of what is stored, if something
// is, and that nothing else is.
func (p *pair) consistent(t *testing.T, b *browser, a answer, route string, length time.Duration) {
	t.Helper()
	r := (*record)(nil)
	if sid := b.sid(p.node); sid != "" {
		r = p.stored(t, p.node, sid)
	}
	if r == nil {
		if len(a.Session) > 0 {
			t.Errorf("%s: %s: the handler saw %s, and the browser has no session", a.By, route, a.Session)
		}
		return
	}
	if r.left > length || r.left < length-time.Second {
		t.Errorf("%s: %s: Redis keeps the session for %v, want %v", a.By, route, r.left, length)
	}
	if got, want := string(a.Session["views"]), string(r.fields["views"]); got != want {
		t.Errorf("%s: %s: the handler saw %s views, stored are %s", a.By, route, got, want)
	}
}
