package node_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// A stack is what an app in Node is made of, by the names in package.json.
type stack struct {
	name         string
	ConnectRedis string `json:"connectRedis"`
	Client       string `json:"client"`
	Framework    string `json:"framework"`
	Sessions     string `json:"sessions"`
	works        string // as docs/from-express.md says it
}

// stacks are each major of connect-redis with the clients its time had. From 7
// on it has the Store of the newest express-session, so that the older ones run
// with those before. TestShared plays on all of them, and the table in
// docs/from-express.md has them in this order.
var stacks = []stack{
	{"10", "connect-redis", "redis", "express", "express-session", "unchanged"},
	{"9", "connect-redis-9", "redis", "express", "express-session", "unchanged"},
	{"8", "connect-redis-8", "redis-4", "express", "express-session", "unchanged"},
	{"8 ioredis", "connect-redis-8", "ioredis", "express", "express-session", "unchanged"},
	{"7", "connect-redis-7", "redis-4", "express-4", "express-session", "unchanged"},
	{"7 ioredis", "connect-redis-7", "ioredis", "express-4", "express-session", "unchanged"},
	{"6", "connect-redis-6", "redis-4", "express-4", "express-session-1.18", "unchanged, with `legacyMode: true`"},
	{"6 ioredis", "connect-redis-6", "ioredis", "express-4", "express-session-1.18", "unchanged"},
	{"6 redis 3", "connect-redis-6", "redis-3", "express-4", "express-session-1.17", "unchanged"},
	{"5", "connect-redis-5", "redis-3", "express-4", "express-session-1.17", "unchanged"},
	{"4", "connect-redis-4", "redis-3", "express-4", "express-session-1.17", "unchanged"},
	{"3", "connect-redis-3", "redis-2", "express-4", "express-session-1.17", "unchanged; Node's expiry is up to a second shorter"},
	{"3 ioredis", "connect-redis-3", "ioredis", "express-4", "express-session-1.17", "unchanged; Node's expiry is up to a second shorter"},
	{"fastify", "connect-redis", "redis", "fastify", "@fastify/session", "with `cookiePrefix: \"s:\"` and [what fastify does otherwise](#fastify)"},
}

func stackNamed(name string) stack {
	i := slices.IndexFunc(stacks, func(s stack) bool { return s.name == name })
	if i < 0 {
		return stack{}
	}
	return stacks[i]
}

// major is connect-redis'.
func (s stack) major() int {
	n := 10
	_, _ = fmt.Sscanf(s.ConnectRedis, "connect-redis-%d", &n)
	return n
}

// TestTraps has the pairs of versions that do not fit, and the options that the
// two sides take otherwise, as docs/from-express.md warns of them.
func TestTraps(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name          string
		store, client string
		sessions      string
		ttl           time.Duration
		test          func(t *testing.T, p *pair, b *browser)
	}{
		{"connect-redis 10 with redis 4 sets no expiry, and Go leaves it so", "connect-redis", "redis-4", "express-session", 0, noExpiry},
		{"connect-redis 9 with redis 4 sets no expiry, and Go leaves it so", "connect-redis-9", "redis-4", "express-session", 0, noExpiry},
		{"connect-redis 10 with ioredis cannot save", "connect-redis", "ioredis", "express-session", 0, noSave},
		{"connect-redis 9 with ioredis cannot save", "connect-redis-9", "ioredis", "express-session", 0, noSave},
		{"connect-redis 8 with redis 5 cannot list, but requests work", "connect-redis-8", "redis", "express-session", 0, noList},
		{"connect-redis 3 takes its ttl for the maxAge", "connect-redis-3", "redis-2", "express-session-1.17", time.Minute, twoExpiries},
		{"express-session 1.17 drops Priority and Partitioned when it saves", "connect-redis-6", "redis-3", "express-session-1.17", 0, noPriority},
	} {
		t.Run("R14 R15 "+tt.name, func(t *testing.T) {
			t.Parallel()
			o := express.Options{Secrets: []string{"keyboard cat"}, Prefix: t.Name(), TTL: tt.ttl, Proxy: true}
			o.Cookie = express.Cookie{MaxAge: quarter, Secure: express.True, Priority: express.High, Partitioned: express.True}
			a := inNode("10", o)
			a.stack = stack{ConnectRedis: tt.store, Client: tt.client, Framework: "express", Sessions: tt.sessions}
			p := &pair{w, w.startNode(t, a), w.startGo(t, o)}
			b := w.browser(t)
			b.scheme = "https"
			tt.test(t, p, b)
		})
	}
}

func noExpiry(t *testing.T, p *pair, b *browser) {
	b.ask(p.node, "GET /count")
	if r := p.stored(t, p.node, b.sid(p.node)); r == nil || r.left >= 0 {
		t.Fatalf("Node has stored %+v, want no expiry", r)
	}
	if got := b.ask(p.gopher, "GET /read").views(t); got != 1 {
		t.Errorf("Go finds %d views, want 1", got)
	}
	if r := p.stored(t, p.node, b.sid(p.node)); r == nil || r.left >= 0 {
		t.Errorf("then there is %+v, want no expiry", r)
	}
}

func noSave(t *testing.T, p *pair, b *browser) {
	if a, err := b.send(p.node, "POST /save", `{"views": 1}`, nil); err != nil || a.status != http.StatusInternalServerError {
		t.Errorf("it saves: %d, %v", a.status, err)
	}
	b.ask(p.gopher, "GET /count")
	if got := b.ask(p.node, "GET /read").views(t); got != 1 {
		t.Errorf("Node reads %d views of Go's session, want 1", got)
	}
}

func noList(t *testing.T, p *pair, b *browser) {
	for n := range 4 {
		at := p.both()[n%2]
		if got := b.ask(at, "GET /count").views(t); got != n+1 {
			t.Errorf("%s: %d views, want %d", at.name, got, n+1)
		}
	}
	if a, err := b.send(p.node, "GET /ids", "", nil); err != nil || a.status != http.StatusInternalServerError {
		t.Errorf("it lists: %d, %v", a.status, err)
	}
}

func twoExpiries(t *testing.T, p *pair, b *browser) {
	b.ask(p.node, "GET /count")
	for range 2 {
		for at, want := range map[*site]time.Duration{p.node: time.Minute, p.gopher: quarter} {
			b.ask(at, "GET /read")
			p.lives(t, at, b.sid(at), want)
		}
	}
}

func noPriority(t *testing.T, p *pair, b *browser) {
	b.ask(p.gopher, "GET /count")
	for _, want := range []bool{true, false} {
		r := p.stored(t, p.node, b.sid(p.node))
		for _, member := range []string{`"priority":"high"`, `"partitioned":true`} {
			if got := strings.Contains(r.object, member); got != want {
				t.Errorf("%s has %s: %t, want %t", r.object, member, got, want)
			}
		}
		b.ask(p.node, "GET /count")
	}
}

// TestFastifyDiffers has what @fastify/session does otherwise than
// express-session, as docs/from-express.md says it.
func TestFastifyDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := express.Options{Secrets: []string{"keyboard cat"}, Rolling: true, Cookie: express.Cookie{MaxAge: quarter}}
	inExpress := w.startNode(t, inNode("10", o))
	p := w.pair(t, "fastify", o)
	s := &share{pair: p, stack: stackNamed("fastify"), length: quarter}

	t.Run("R1 R4 R15 it counts beside Express and Go", func(t *testing.T) {
		b := w.browser(t)
		for n := range 12 {
			// Each comes behind each other one.
			at := []*site{p.node, inExpress, p.gopher, p.node, p.gopher, inExpress}[n%6]
			a := b.ask(at, "GET /count")
			if got := a.views(t); got != n+1 {
				t.Errorf("request %d: %s: %d views, want %d", n, at.name, got, n+1)
			}
			a.sends(t, "connect.sid; Path=/; Expires; HttpOnly", quarter)
			w.lives(t, at, b.sid(at), quarter)
		}
	})
	t.Run("R9 it ends what was only read for longer than its maxAge, unless Go has Resave", func(t *testing.T) {
		o := o
		o.Resave = true
		resave := w.startGo(t, o)
		for _, reader := range []*site{inExpress, p.gopher, resave} {
			b := w.browser(t)
			b.ask(p.gopher, "GET /count")
			sid := b.sid(p.node)
			s.age(t, sid)
			b.ask(reader, "GET /read")
			if got, want := b.ask(p.node, "GET /read").views(t) == 1, reader == resave; got != want {
				t.Errorf("after a read in %s the session lives in fastify: %t, want %t", reader.name, got, want)
			}
			if reader != resave {
				w.dead(t, p.node, sid)
			}
		}
	})
	t.Run("R14 without rolling its reads do not restart the expiry", func(t *testing.T) {
		o := o
		o.Rolling = false
		resting := w.startNode(t, inNode("fastify", o))
		b := w.browser(t)
		b.ask(p.gopher, "GET /count")
		sid := b.sid(p.node)
		for _, step := range []struct {
			at    *site
			route string
			want  time.Duration
		}{{resting, "GET /read", time.Minute}, {resting, "GET /count", quarter}, {p.node, "GET /read", quarter}} {
			if err := w.redis.Expire(t.Context(), "sess:"+sid, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			b.ask(step.at, step.route)
			w.lives(t, step.at, sid, step.want)
		}
	})
	t.Run("R10 with rolling a read stores the session as it was loaded", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.gopher, "GET /count")
		before := w.stored(t, p.node, b.sid(p.node)).raw
		b.ask(p.node, "GET /read")
		if after := w.stored(t, p.node, b.sid(p.node)).raw; after == before {
			t.Errorf("a read left %s as it was", after)
		}
	})
	t.Run("L11 regenerating leaves the old session, and takes the cookie from an empty one", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.gopher, "GET /count")
		sid := b.sid(p.node)
		b.ask(p.node, "POST /regenerate?leave=1")
		w.lives(t, p.node, sid, quarter)
		if got := b.values(p.node); got != nil {
			t.Errorf("the browser has %q", got)
		}
	})
	t.Run("R16 a read takes away the cookie that an older secret has signed, unless it saves what is uninitialized", func(t *testing.T) {
		o := o
		o.Secrets = []string{"new", "keyboard cat"}
		for _, o.SaveUninitialized = range []bool{false, true} {
			rotated := w.startNode(t, inNode("fastify", o))
			for _, route := range []string{"GET /read", "GET /count"} {
				b := w.browser(t)
				b.ask(p.gopher, "GET /count")
				sid := b.sid(p.node)
				b.ask(rotated, route)
				if got, want := len(b.values(p.node)) > 0, o.SaveUninitialized || route == "GET /count"; got != want {
					t.Errorf("saveUninitialized=%t: %s: the browser has the cookie: %t, want %t", o.SaveUninitialized, route, got, want)
				}
				w.lives(t, p.node, sid, quarter)
			}
		}
	})
	t.Run("R11 it has names of its own, and no Priority", func(t *testing.T) {
		b := w.browser(t)
		b.ask(p.gopher, "GET /count")
		sid := b.sid(p.node)
		raw := strings.Replace(w.stored(t, p.node, sid).raw, `"httpOnly"`, `"priority":"high","httpOnly"`, 1)
		w.put(t, p.node, sid, strings.Replace(raw, `"views"`, `"sessionId":"1","encryptedSessionId":"1","views"`, 1))
		b.ask(p.node, "GET /count")
		if got := w.stored(t, p.node, sid).raw; strings.Contains(got, "priority") || strings.Contains(got, "sessionId") || strings.Contains(got, "encryptedSessionId") {
			t.Errorf("fastify keeps them: %s", got)
		}
		w.put(t, p.node, sid, strings.Replace(raw, `"views"`, `"regenerate":1,"views"`, 1)) // hides the method
		if a, err := b.send(p.node, "POST /regenerate", "", nil); err != nil || a.status != http.StatusInternalServerError {
			t.Errorf("it regenerates: %d, %v", a.status, err)
		}
	})
}
