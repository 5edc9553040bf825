package node_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/express"
)

// article is the configuration of a well-known article, and so of many an app.
func article(maxAge time.Duration) express.Options {
	return express.Options{
		Name: "sid", Secrets: []string{"keyboard cat"}, Prefix: "myapp:",
		Rolling: true, SaveUninitialized: true, NewID: newID,
		Cookie: express.Cookie{MaxAge: maxAge},
	}
}

const quarter = 15 * time.Minute

// A share is one configuration on both sides.
type share struct {
	*pair
	stack
	length time.Duration // of a session after a request
	line   string        // of its cookies
}

// TestShared plays on every stack, two at a time on two cores.
func TestShared(t *testing.T) {
	w := newWorld(t)
	for _, stack := range stacks {
		for _, maxAge := range []time.Duration{quarter, 0} {
			s := &share{stack: stack, length: 24 * time.Hour, line: "sid; Path=/; HttpOnly"}
			if maxAge > 0 {
				s.length, s.line = maxAge, "sid; Path=/; Expires; HttpOnly"
			}
			t.Run(fmt.Sprintf("%s, maxAge %v", stack.name, maxAge), func(t *testing.T) {
				t.Parallel()
				own := *w
				if stack.major() == 3 {
					own.slack = time.Second
				}
				s.pair = own.pair(t, stack.name, article(maxAge))
				for _, first := range s.both() {
					second := s.other(first)
					from := func(name string, test func(t *testing.T, first, second *site)) {
						t.Run(name+", "+first.name+" before "+second.name, func(t *testing.T) { test(t, first, second) })
					}
					from("R1 R4 R5 R14 counting in turn", s.counting)
					from("R14 a touch restarts the expiry, and a read stores nothing", s.touching)
					from("R10 R12 R13 values survive", s.values)
					from("R10 a flash is read and deleted", s.flashing)
					from("L12 renew", s.renewing)
					from("L11 regenerate", s.regenerating)
					from("L12 Node regenerates, Go signs in", s.signingIn)
					from("L10 T2 destroy", s.destroying)
					from("R9 touches, then explicit saves", s.saving)
				}
				t.Run("R10 Go writes what it has changed", s.foreign)
				if maxAge > 0 {
					t.Run("R9 the trap is there: Node does not save with a past expires", s.trap)
				}
				t.Run("R14 whole seconds", s.rounding)
			})
		}
	}
}

func (s *share) counting(t *testing.T, first, second *site) {
	b := s.browser(t)
	var value string
	for n := 1; n <= 20; n++ {
		a := b.ask([]*site{second, first}[n%2], "GET /count")
		if got := a.views(t); got != n {
			t.Errorf("%s: views %d, want %d", a.By, got, n)
		}
		a.sends(t, s.line, s.length)
		sid := b.sid(first)
		if n == 1 {
			value = b.values(first)[0]
		}
		if got := b.values(first)[0]; got != value {
			t.Errorf("%s: the cookie is now %s, want %s", a.By, got, value)
		}
		if a.ID != sid && (a.By == "node" || n > 1) { // Go has none before it is stored
			t.Errorf("%s: the sid is %q, want %q", a.By, a.ID, sid)
		}
		if r := s.lives(t, first, sid, s.length); string(r.fields["views"]) != fmt.Sprint(n) {
			t.Errorf("%s: stored are %s views, want %d", a.By, r.fields["views"], n)
		}
	}
}

func (s *share) touching(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(first, "GET /count")
	sid := b.sid(first)
	for _, route := range []string{"GET /read", "POST /touch"} {
		for _, at := range []*site{first, second} {
			before := s.stored(t, at, sid)
			if err := s.redis.Expire(t.Context(), at.prefix+sid, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			b.ask(at, route).sends(t, s.line, s.length)
			// With rolling fastify stores what it has read.
			if after := s.lives(t, at, sid, s.length); after.raw != before.raw && (at == s.gopher || s.Framework != "fastify") {
				t.Errorf("%s: %s: it was %s, and is %s", at.name, route, before.raw, after.raw)
			}
		}
	}
}

// flashing sets a member on one side, which the other one shows and deletes.
func (s *share) flashing(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(s.node, "POST /set", nodes)
	before := s.stored(t, first, b.sid(first)).fields
	b.ask(first, "POST /set", `{"flash": "saved"}`)
	if a := b.ask(second, "POST /set", `{"flash": null}`); a.Session["flash"] != nil {
		t.Errorf("%s: the flash is still %s", second.name, a.Session["flash"])
	}
	after := s.stored(t, first, b.sid(first)).fields
	if !maps.EqualFunc(after, before, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Errorf("after the flash there is\n%s, want\n%s", after, before)
	}
	if a := b.ask(first, "GET /read"); a.Session["flash"] != nil {
		t.Errorf("%s: it has been shown, and is there again: %s", first.name, a.Session["flash"])
	}
}

// signingIn goes on with what Node has regenerated, and Node with that.
func (s *share) signingIn(t *testing.T, first, _ *site) {
	b := s.browser(t)
	b.ask(first, "GET /count")
	for _, step := range []struct {
		at          *site
		route, body string
	}{
		{s.node, "POST /regenerate", ""},
		{s.node, "POST /set", `{"prefs": {"theme": "dark"}}`}, // fastify sends no cookie of an empty one
		{s.gopher, "POST /signin", `{"flash": "hello"}`},
		{s.node, "POST /regenerate", ""},
		{s.gopher, "POST /signin", `{"flash": "hello"}`},
	} {
		sid, renews := b.sid(first), step.route != "POST /set"
		b.ask(step.at, step.route, step.body).sends(t, s.line, s.length)
		if renews {
			s.dead(t, first, sid)
		}
		if now := b.sid(first); (now != sid) != renews {
			t.Errorf("%s: %s: the sid was %q and is %q", step.at.name, step.route, sid, now)
		}
		s.lives(t, first, b.sid(first), s.length)
	}
	if a := b.ask(s.node, "GET /read"); string(a.Session["flash"]) != `"hello"` || len(a.Session) != 1 {
		t.Errorf("node: the session is %s", a.Session)
	}
}

// What the other side must not change by a byte. Node's numbers are those that
// it keeps itself.
const (
	nodes = `{
		"prefs": {"theme": "dark", "deep": {"er": [[[1, {"a": null, "b": [true, false]}]]]}},
		"numbers": [9007199254740992, 123456789012345680000, 1.5e300, -1.5e-300, 0.1, 1e21, -1],
		"text": "é漢🍪\u2028\u2029</script>&amp;\u0000\b\f\u007f\"\\ \ud800",
		"empty": [{}, [], "", null, false, 0],
		"7": "integer-like names come first", "a.b": 1, "Views": "not views"
	}`
	gos = `{
		"account": {"id": "9007199254740993", "name": "Zoë </script>&\u2028\u2029\b\f\u007f\"\\ 🍪", "roles": ["admin", ""]},
		"cart": [{"sku": "漢", "count": 2}, {"sku": "", "count": -1}],
		"notes": {"b": "2", "a": "1"}, "flash": "hello", "rate": 1.5e300
	}`
)

func (s *share) values(t *testing.T, first, second *site) {
	b := s.browser(t)
	given := map[*site]string{s.node: nodes, s.gopher: gos}
	b.ask(first, "POST /set", given[first])
	mine := s.stored(t, first, b.sid(first)).fields
	b.ask(second, "POST /set", given[second])
	all := s.stored(t, first, b.sid(first)).fields
	for name, value := range mine {
		if got := string(all[name]); got != string(value) {
			t.Errorf("%s wrote %s: %s, %s made it %s", first.name, name, value, second.name, got)
		}
	}
	if want := 7 + 5; len(all) != want {
		t.Errorf("there are %d fields, want %d: %s", len(all), want, slices.Sorted(maps.Keys(all)))
	}
	// And so on: whoever writes next writes the same.
	for n, at := range []*site{first, second, first, second} {
		for _, route := range []string{"GET /count", "POST /save", "POST /renew"} {
			b.ask(at, route)
			now := s.stored(t, at, b.sid(at)).fields
			delete(now, "views")
			if !maps.EqualFunc(now, all, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
				t.Errorf("%s: after %s number %d there is\n%s, want\n%s", at.name, route, n, now, all)
			}
		}
	}
	// What only Go can keep, until Node writes (R12).
	r := s.stored(t, first, b.sid(first))
	exact := strings.Replace(r.raw, `"numbers":[`, `"numbers":[9007199254740993,1.0,-0,1E400,`, 1)
	s.put(t, first, b.sid(first), exact)
	b.ask(s.gopher, "GET /count")
	if got := s.stored(t, first, b.sid(first)).fields["numbers"]; !strings.HasPrefix(string(got), "[9007199254740993,1.0,-0,1E400,") {
		t.Errorf("Go changed the numbers to %s", got)
	}
	b.ask(s.node, "GET /count")
	if got := s.stored(t, first, b.sid(first)).fields["numbers"]; !strings.HasPrefix(string(got), "[9007199254740992,1,0,null,") {
		t.Errorf("Node made of the numbers %s", got)
	}
}

// Go does not touch a field that it knows and has not changed, whatever T would
// make of it. Of one that it has changed only what T has is left.
func (s *share) foreign(t *testing.T) {
	b := s.browser(t)
	b.ask(s.node, "POST /set", `{"account": {"id": "1", "name": "", "roles": [], "more": {"n": 9007199254740992}}, "flash": "", "rate": 0, "Rate": 0, "cart": []}`)
	before := s.stored(t, s.node, b.sid(s.node)).fields
	for _, route := range []string{"GET /read", "GET /count", "POST /update", "POST /renew", "POST /signin"} {
		b.ask(s.gopher, route)
		after := s.stored(t, s.node, b.sid(s.node)).fields
		delete(after, "views")
		if !maps.EqualFunc(after, before, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("Go: %s: there was %s, and is %s", route, before, after)
		}
	}
	b.ask(s.gopher, "POST /set", `{"account": {"id": "1", "name": "Go", "roles": []}}`)
	after := s.stored(t, s.node, b.sid(s.node)).fields
	if got := string(after["account"]); got != `{"id":"1","name":"Go","roles":[]}` || string(after["flash"]) != `""` || string(after["cart"]) != `[]` {
		t.Errorf("Go has changed the account, and there is %s", after)
	}
}

// put replaces what is stored, and only that.
func (w *world) put(t *testing.T, s *site, sid, document string) {
	t.Helper()
	if err := w.redis.Set(t.Context(), s.prefix+sid, document, redis.KeepTTL).Err(); err != nil {
		t.Fatal(err)
	}
}

// stranger is a browser that has the cookie of another, from before.
func (s *share) stranger(t *testing.T, value string) *browser {
	b := s.browser(t)
	b.client.Jar.SetCookies(b.url(s.node, "/"), []*http.Cookie{{Name: "sid", Value: value, Path: "/"}})
	return b
}

func (s *share) renewing(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(first, "POST /set", map[string]string{"node": nodes, "go": gos}[first.name])
	fields := s.stored(t, first, b.sid(first)).fields
	for _, at := range []*site{first, second} {
		old, sid := b.values(at)[0], b.sid(at)
		b.ask(at, "POST /renew").sends(t, s.line, s.length)
		if b.sid(at) == sid {
			t.Errorf("%s: the sid is the one from before", at.name)
		}
		s.dead(t, at, sid)
		if now := s.lives(t, at, b.sid(at), s.length).fields; len(now) != len(fields) {
			t.Errorf("%s renewed %s to %s", at.name, fields, now)
		}
		for _, at := range []*site{first, second} {
			if a := b.ask(at, "GET /read"); a.ID != b.sid(at) {
				t.Errorf("%s: the sid is %q, want %q", at.name, a.ID, b.sid(at))
			}
			stranger := s.stranger(t, old)
			if a := stranger.ask(at, "GET /count"); a.views(t) != 1 || len(a.Session) != 1 || stranger.sid(at) == sid {
				t.Errorf("%s: the old cookie finds %s under the sid %s", at.name, a.Session, a.ID)
			}
		}
		s.dead(t, at, sid)
	}
}

func (s *share) regenerating(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(first, "POST /set", map[string]string{"node": nodes, "go": gos}[first.name])
	for _, at := range []*site{second, first} {
		sid := b.sid(at)
		if a := b.ask(at, "POST /regenerate"); len(a.Session) != 0 {
			t.Errorf("%s: the new session has %s", at.name, a.Session)
		}
		s.dead(t, at, sid)
		for n, at := range []*site{first, second} {
			if a := b.ask(at, "GET /count"); a.views(t) != n+1 || len(a.Session) != 1 {
				t.Errorf("%s: the new session has %s, want %d views", at.name, a.Session, n+1)
			}
		}
		if b.sid(at) == sid {
			t.Errorf("%s: the sid is the one from before", at.name)
		}
	}
}

const expired = "sid=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"

func (s *share) destroying(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(second, "GET /count")
	b.ask(first, "GET /count")
	value, sid := b.values(first)[0], b.sid(first)
	a := b.ask(first, "POST /destroy")
	if a.Session != nil {
		t.Errorf("%s: the session is %s", a.By, a.Session)
	}
	s.dead(t, first, sid)
	// Node leaves the cookie, Go does not.
	switch got := strings.Join(a.setCookie, "\n"); {
	case first == s.gopher && (got != expired || b.sid(first) != ""):
		t.Errorf("go: Set-Cookie: %q, want %q; the browser has %q", got, expired, b.values(first))
	case first == s.node && (got != "" || b.sid(first) != sid):
		t.Errorf("node: Set-Cookie: %q; the browser has %q", got, b.values(first))
	}
	for _, at := range []*site{second, first} {
		stranger := s.stranger(t, value)
		if a := stranger.ask(at, "GET /count"); a.views(t) != 1 {
			t.Errorf("%s: the destroyed session has %d views", at.name, a.views(t)-1)
		}
		if stranger.sid(at) == sid {
			t.Errorf("%s adopts a sid that is not stored", at.name)
		}
	}
	s.dead(t, first, sid)
}

var past = `"2001-02-03T04:05:06.789Z"`

// age moves the stored expires into the past, where that of a session is that
// was touched and not changed for longer than its maxAge.
func (s *share) age(t *testing.T, sid string) (aged bool) {
	t.Helper()
	r := s.stored(t, s.node, sid)
	if r.Cookie.Expires == nil {
		return false
	}
	var c struct{ Expires json.RawMessage }
	if err := json.Unmarshal([]byte(r.object), &c); err != nil {
		t.Fatal(err)
	}
	s.put(t, s.node, sid, strings.Replace(r.raw, string(c.Expires), past, 1))
	return true
}

func (s *share) saving(t *testing.T, first, second *site) {
	b := s.browser(t)
	b.ask(first, "GET /count")
	sid := b.sid(first)
	for range 20 {
		b.ask(first, "GET /read")
		b.ask(second, "GET /read")
	}
	aged := s.Framework != "fastify" && s.age(t, sid)
	for range 3 {
		b.ask(first, "GET /read")
		b.ask(second, "GET /read")
	}
	r := s.lives(t, first, sid, s.length)
	if aged && !strings.Contains(r.object, past) {
		t.Errorf("a touch made of the cookie %s", r.object)
	}
	b.ask(s.gopher, "POST /save", `{"flash": "saved"}`)
	r = s.lives(t, first, sid, s.length)
	if aged && time.Until(*r.Cookie.Expires) < s.length-3*time.Second {
		t.Errorf("Go saved the cookie %s, which is about to expire or has", r.object)
	}
	b.ask(s.node, "POST /save", `{"more": 1}`)
	s.lives(t, first, sid, s.length)
	b.ask(s.gopher, "POST /save", `{"flash": null}`)
	s.lives(t, first, sid, s.length)
	if a := b.ask(s.node, "GET /count"); a.views(t) != 2 || string(a.Session["more"]) != "1" || a.Session["flash"] != nil {
		t.Errorf("the session is %s", a.Session)
	}
}

// What was last saved longer than its maxAge ago and only touched since has a
// past expires. Node deletes it when it saves it, connect-redis 3 and 4 fail,
// and fastify deletes it already when it loads it.
func (s *share) trap(t *testing.T) {
	b := s.browser(t)
	b.ask(s.gopher, "GET /count")
	sid := b.sid(s.node)
	s.age(t, sid)
	a, err := b.send(s.node, "POST /save", `{"more": 1}`, nil)
	if failed := a.status == http.StatusInternalServerError; err != nil || failed != (s.major() < 5) {
		t.Errorf("%d %s, %v", a.status, a.Error, err)
	} else if !failed {
		s.dead(t, s.node, sid)
	}
}

// A session keeps the maxAge it is given when it begins. The tenth of a second
// is for Node, which takes a millisecond off at times.
func (s *share) rounding(t *testing.T) {
	b := s.browser(t)
	b.ask(s.node, "POST /maxage?ms=100100")
	sid, length := b.sid(s.node), 101*time.Second
	s.lives(t, s.node, sid, length)
	for _, at := range []*site{s.gopher, s.node, s.gopher} {
		for _, route := range []string{"GET /read", "GET /count", "POST /save"} {
			b.ask(at, route).sends(t, "sid; Path=/; Expires; HttpOnly", length)
			s.lives(t, at, sid, length)
		}
	}
}
