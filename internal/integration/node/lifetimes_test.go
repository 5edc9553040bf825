package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

const month = 30 * 24 * time.Hour

// visitAll makes requests of all kinds on both sides to a session and checks
// that it lasts for length after each, with the cookie that it began with.
// Node's renewal gives a session what the app is configured with, so only Go
// renews.
func (w *world) visitAll(t *testing.T, b *browser, node, gopher *site, length time.Duration, expires bool) {
	t.Helper()
	line := node.cookie + "; Path=/; HttpOnly"
	if expires {
		line = node.cookie + "; Path=/; Expires; HttpOnly"
	}
	views := b.ask(node, "GET /read").views(t)
	for _, at := range []*site{gopher, node, gopher, node} {
		for _, route := range []string{"GET /read", "GET /count", "GET /read", "POST /touch", "POST /save"} {
			a := b.ask(at, route, `{"flash": "`+time.Now().String()+`"}`)
			if route == "GET /count" {
				views++
			}
			if a.views(t) != views {
				t.Errorf("%s: %s: %d views, want %d", at.name, route, a.views(t), views)
			}
			a.sends(t, line, length)
			r := w.lives(t, at, b.sid(at), length)
			switch age := r.Cookie.OriginalMaxAge; {
			case !expires && (age != nil || r.Cookie.Expires != nil):
				t.Errorf("%s: %s: the session without a maxAge has the cookie %s", at.name, route, r.object)
			case expires && (age == nil || *age > length.Milliseconds() || *age < length.Milliseconds()-1000): // Node takes off a millisecond at times
				t.Errorf("%s: %s: the session of %v has the cookie %s", at.name, route, length, r.object)
			}
		}
		if at == gopher {
			b.ask(at, "POST /renew").sends(t, line, length)
			w.lives(t, at, b.sid(at), length)
		}
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := func(maxAge, ttl time.Duration) express.Options {
		o := article(maxAge)
		o.TTL = ttl
		return o
	}
	for _, tt := range []struct {
		name         string
		node, gopher express.Options
		length       [2]time.Duration // of a session that began in Node, and in Go
		expires      [2]bool
	}{
		{
			"both without maxAge", at(0, 0), at(0, 0),
			[2]time.Duration{24 * time.Hour, 24 * time.Hour},
			[2]bool{},
		},
		{
			"both without maxAge, with a ttl of connect-redis", at(0, 2*time.Hour), at(0, 2*time.Hour),
			[2]time.Duration{2 * time.Hour, 2 * time.Hour},
			[2]bool{},
		},
		{
			"a maxAge beats a ttl", at(quarter, 2*time.Hour), at(quarter, 2*time.Hour),
			[2]time.Duration{quarter, quarter},
			[2]bool{true, true},
		},
		{
			"Node without maxAge, Go with 15 minutes", at(0, 0), at(quarter, 0),
			[2]time.Duration{24 * time.Hour, quarter},
			[2]bool{false, true},
		},
		{
			"Node with 15 minutes, Go without maxAge", at(quarter, 0), at(0, 0),
			[2]time.Duration{quarter, 24 * time.Hour},
			[2]bool{true, false},
		},
		{
			"Node with 30 days, Go with 15 minutes", at(month, 0), at(quarter, 0),
			[2]time.Duration{month, quarter},
			[2]bool{true, true},
		},
		{
			"Node with 15 minutes, Go with 30 days", at(quarter, 0), at(month, 0),
			[2]time.Duration{quarter, month},
			[2]bool{true, true},
		},
	} {
		t.Run("R7 R8 R14 R15 "+tt.name, func(t *testing.T) {
			node, gopher := w.startNode(t, inNode("10", tt.node)), w.startGo(t, tt.gopher)
			for i, first := range []*site{node, gopher} {
				t.Run("begun in "+first.name, func(t *testing.T) {
					b := w.browser(t)
					b.ask(first, "GET /count")
					w.visitAll(t, b, node, gopher, tt.length[i], tt.expires[i])
				})
			}
		})
	}

	p := w.pair(t, "10", article(quarter))
	t.Run("R7 R14 a session that Node gives 30 days, beside the 15 minutes of others", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.node, fmt.Sprintf("POST /maxage?ms=%d", month.Milliseconds())) // a new session is stored with it
		w.visitAll(t, b, p.node, p.gopher, month, true)
	})
	t.Run("R7 R14 a session that Node takes the maxAge from", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.node, "POST /maxage")
		w.visitAll(t, b, p.node, p.gopher, 24*time.Hour, false)
	})
	t.Run("R7 R14 remembered in Go, and a sign-in without that", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.node, "GET /count")
		b.ask(p.gopher, "POST /signin?remember=1").sends(t, "sid; Path=/; Expires; HttpOnly", month)
		w.visitAll(t, b, p.node, p.gopher, month, true)
		b.ask(p.gopher, "POST /signin").sends(t, "sid; Path=/; Expires; HttpOnly", quarter)
		w.visitAll(t, b, p.node, p.gopher, quarter, true)
	})
	t.Run("R15 Node's renewal gives it Node's own", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.gopher, "POST /signin?remember=1", `{"flash": "hello"}`)
		b.ask(p.node, "POST /renew")
		w.visitAll(t, b, p.node, p.gopher, quarter, true)
	})

	o := article(quarter)
	o.Resave, o.Name, o.Prefix = true, "resave", "resave:"
	resave := w.pair(t, "10", o)
	t.Run("R7 R14 resave: Node gives it 30 days later", func(t *testing.T) {
		b := w.browser(t)
		b.ask(resave.gopher, "GET /count")
		b.ask(resave.node, fmt.Sprintf("POST /maxage?ms=%d", month.Milliseconds()))
		w.visitAll(t, b, resave.node, resave.gopher, month, true)
	})
}

// TestKeptForLonger has stores in Node that keep sessions for longer than their maxAge, and do not touch them: Go
// shortens no expiry, whether it reads, touches or saves.
func TestKeptForLonger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, store string
		options     map[string]any
		length      time.Duration // at least
	}{
		{"a store of one's own without touch", "own", nil, 7 * 24 * time.Hour},
		{"disableTTL", "connect-redis", map[string]any{"disableTTL": true}, 292 * 365 * 24 * time.Hour}, // what Go can say
	} {
		t.Run("L28 "+tt.name, func(t *testing.T) {
			w := newWorld(t)
			o := article(quarter)
			o.Prefix = ""
			a := inNode("10", o)
			a.ConnectRedis, a.StoreOptions = tt.store, tt.options
			node, gopher := w.startNode(t, a), w.startGo(t, o)
			b := w.browser(t)
			b.ask(node, "GET /count")
			sid := b.sid(node)
			for _, at := range []*site{node, gopher, gopher, node, gopher} {
				for _, route := range []string{"GET /read", "POST /touch", "GET /read", "GET /count", "POST /save", "GET /read"} {
					if a := b.ask(at, route, `{"flash": "hello"}`); a.ID != sid {
						t.Fatalf("%s: %s: the sid %q, want %q", at.name, route, a.ID, sid)
					}
					if left := w.stored(t, at, sid).left; left >= 0 && left < tt.length-time.Minute { // less than 0 is never
						t.Errorf("%s: %s: Redis keeps it for %v, want %v", at.name, route, left, tt.length)
					}
				}
			}
		})
	}
}
