package node_test

import (
	"strings"
	"testing"

	"github.com/typedsessions/sessions/express"
)

// TestReplacedCookie migrates an app and its Go service to another cookie, while the browser has the one from before.
func TestReplacedCookie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type cookie = express.Cookie
	for _, row := range []struct {
		name          string
		before, after cookie
	}{
		{"a Domain is added", cookie{}, cookie{Domain: "example.com"}},
		{"a Domain is taken away", cookie{Domain: "example.com"}, cookie{}},
		{"another Domain", cookie{Domain: ".example.com"}, cookie{Domain: "shop.example.com"}},
		{"the same Domain with a dot", cookie{Domain: ".example.com"}, cookie{Domain: "example.com"}},
		{"a Path is taken away", cookie{Path: "/app"}, cookie{}},
	} {
		o := express.Options{Secrets: []string{"keyboard cat"}, Rolling: true, Proxy: true, Cookie: row.before}
		o.Cookie.MaxAge = quarter
		beforeNode, beforeGo := w.startNode(t, inNode("10", o)), w.startGo(t, o)
		o.Cookie = row.after
		o.Cookie.MaxAge = quarter
		node, gopher := w.startNode(t, inNode("10", o)), w.startGo(t, o)
		visit := func(t *testing.T, first *site) *browser {
			b := w.browser(t)
			b.scheme, b.host = "https", "shop.example.com"
			b.ask(first, "GET /count")
			if row.before.Path == "" {
				b.ask(node, "GET /count") // and it keeps its cookie
				b.ask(gopher, "GET /read")
				if n := len(b.values(first)); n != 1 {
					t.Fatalf("before the sign-in there are %d cookies", n)
				}
			}
			return b
		}
		for _, first := range []*site{beforeNode, beforeGo} {
			t.Run("L26 "+row.name+", begun in "+first.name+", signed in by Go", func(t *testing.T) {
				b := visit(t, first)
				at := *gopher
				at.path = first.path
				b.ask(&at, "POST /signin", `{"flash": "hello"}`)
				sid := b.sid(first) // which fails if there are two
				for _, s := range []*site{node, gopher} {
					if a := b.ask(s, "GET /read"); a.ID != sid || b.sid(s) != sid || string(a.Session["flash"]) != `"hello"` {
						t.Errorf("%s finds %s", s.name, a.Session)
					}
				}
				if keys := w.keys(t); len(keys) != 1 {
					t.Errorf("keys left: %q", keys)
				}
				b.ask(gopher, "POST /destroy")
				if left := b.values(first); len(left) > 0 {
					t.Errorf("after Destroy the browser has %q", left)
				}
			})
		}
	}

	t.Run("L26 a Domain is added, and the session of before is over", func(t *testing.T) {
		o := express.Options{Secrets: []string{"keyboard cat"}, Cookie: cookie{MaxAge: quarter}}
		before := w.startNode(t, inNode("10", o))
		o.Cookie.Domain = "example.com"
		p := w.pair(t, "10", o)
		b := w.browser(t)
		b.host = "shop.example.com"
		b.ask(before, "GET /count")
		if err := w.redis.Del(t.Context(), before.prefix+b.sid(before)).Err(); err != nil {
			t.Fatal(err)
		}
		b.ask(p.gopher, "POST /signin", `{"flash": "hello"}`)
		sid := b.sid(before) // which fails if there are two
		if a := b.ask(p.node, "GET /count"); a.ID != sid || string(a.Session["flash"]) != `"hello"` {
			t.Errorf("Node finds %s", a.Session)
		}
	})

	// What Node does, which the guide tells.
	t.Run("L26 Node's regenerate leaves the cookie from before, and then does not find its session; Go does", func(t *testing.T) {
		o := express.Options{Secrets: []string{"keyboard cat"}, Rolling: true, Cookie: cookie{MaxAge: quarter}}
		before := w.startGo(t, o)
		o.Cookie.Domain = "example.com"
		p := w.pair(t, "10", o)
		b := w.browser(t)
		b.host = "shop.example.com"
		b.ask(before, "GET /count")
		a := b.ask(p.node, "POST /renew")
		if values := b.values(p.node); len(a.setCookie) != 1 || !strings.Contains(a.setCookie[0], "Domain=") || len(values) != 2 {
			t.Errorf("Node sends %q, and the browser has %d cookies", a.setCookie, len(values))
		}
		if got := b.ask(p.gopher, "GET /read").views(t); got != 1 {
			t.Errorf("Go finds %d views, want 1", got)
		}
		if got := b.ask(p.node, "GET /read").views(t); got != 0 {
			t.Errorf("Node finds %d views: say in the guide that it reads on", got)
		}
	})
}
