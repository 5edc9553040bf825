package node_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/express"
)

// TestAttributes has different settings on the two sides. What a session began
// with stays (R15), or the browser would have two cookies.
func TestAttributes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type cookie = express.Cookie
	for _, tt := range []struct {
		name         string
		node, gopher cookie
		begun        [2]string // the line of a session that began in Node, and in Go; "" for none
	}{
		{
			"sameSite",
			cookie{SameSite: express.Lax},
			cookie{SameSite: express.Strict},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly; SameSite=Lax", "connect.sid; Path=/; Expires; HttpOnly; SameSite=Strict"},
		},
		{
			"sameSite true, and none",
			cookie{SameSite: express.True},
			cookie{},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly; SameSite=Strict", "connect.sid; Path=/; Expires; HttpOnly"},
		},
		{
			"sameSite false, and auto",
			cookie{SameSite: express.False},
			cookie{SameSite: express.Auto, Secure: express.Auto},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly", "connect.sid; Path=/; Expires; HttpOnly; Secure; SameSite=None"},
		},
		{
			"domain in Node",
			cookie{Domain: "example.com"},
			cookie{},
			[2]string{"connect.sid; Domain=example.com; Path=/; Expires; HttpOnly", "connect.sid; Path=/; Expires; HttpOnly"},
		},
		{
			"domain in Go",
			cookie{},
			cookie{Domain: "example.com"},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly", "connect.sid; Domain=example.com; Path=/; Expires; HttpOnly"},
		},
		{
			"domains",
			cookie{Domain: ".example.com"},
			cookie{Domain: "shop.example.com"},
			[2]string{"connect.sid; Domain=.example.com; Path=/; Expires; HttpOnly", "connect.sid; Domain=shop.example.com; Path=/; Expires; HttpOnly"},
		},
		{
			// The cookie of a session that began in Go is not for Node's path.
			"a path in Go",
			cookie{},
			cookie{Path: "/app"},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly", ""},
		},
		{
			"a path in Node",
			cookie{Path: "/app"},
			cookie{},
			[2]string{"connect.sid; Path=/app; Expires; HttpOnly", "connect.sid; Path=/; Expires; HttpOnly"},
		},
		{
			"httpOnly, priority",
			cookie{HttpOnly: express.False, Priority: express.High},
			cookie{Priority: express.Low},
			[2]string{"connect.sid; Path=/; Expires; Priority=High", "connect.sid; Path=/; Expires; HttpOnly; Priority=Low"},
		},
		{
			"secure, partitioned",
			cookie{Secure: express.True, Partitioned: express.True},
			cookie{Secure: express.Auto, Partitioned: express.False},
			[2]string{"connect.sid; Path=/; Expires; HttpOnly; Secure; Partitioned", "connect.sid; Path=/; Expires; HttpOnly; Secure"},
		},
	} {
		t.Run("R4 R15 "+tt.name, func(t *testing.T) {
			o := express.Options{Secrets: []string{"keyboard cat"}, Rolling: true, Proxy: true}
			o.Cookie = tt.node
			o.Cookie.MaxAge = quarter
			node := w.startNode(t, inNode("10", o))
			o.Cookie = tt.gopher
			o.Cookie.MaxAge = quarter
			gopher := w.startGo(t, o)
			if node.path != "/" { // what Go serves below /, it serves there too
				gopher.path = node.path
			}
			for i, first := range []*site{node, gopher} {
				if tt.begun[i] == "" {
					continue
				}
				t.Run("begun in "+first.name, func(t *testing.T) {
					b := w.browser(t)
					b.scheme, b.host = "https", "shop.example.com"
					w.keepAttributes(t, b, first, []*site{node, gopher}, tt.begun[i])
				})
			}
		})
	}
}

func (w *world) keepAttributes(t *testing.T, b *browser, first *site, both []*site, line string) {
	t.Helper()
	b.ask(first, "GET /count").sends(t, line, quarter)
	sid := b.sid(first)
	attributes := func() string {
		object := w.lives(t, first, sid, quarter).object
		_, after, _ := strings.Cut(object, `Z",`) // the age and the expires before it may differ
		return after
	}
	was, views := attributes(), 1
	for range 2 {
		for _, at := range both {
			for _, route := range []string{"GET /read", "GET /count", "POST /save"} {
				a := b.ask(at, route, `{"flash": "`+time.Now().String()+`"}`)
				if route == "GET /count" {
					views++
				}
				a.sends(t, line, quarter)
				if a.views(t) != views || b.sid(at) != sid {
					t.Errorf("%s: %s: %d views under %s, want %d under %s", at.name, route, a.views(t), b.sid(at), views, sid)
				}
				if now := attributes(); now != was {
					t.Errorf("%s: %s: the cookie was …%s, and is …%s", at.name, route, was, now)
				}
			}
		}
	}
	gopher := both[1]
	b.ask(gopher, "POST /renew").sends(t, line, quarter)
	w.dead(t, first, sid)
	sid = b.sid(gopher)
	if now := attributes(); now != was {
		t.Errorf("Go renewed the cookie from …%s to …%s", was, now)
	}
	b.ask(both[0], "GET /read").sends(t, line, quarter)
	b.ask(gopher, "POST /destroy")
	if left := b.values(gopher); len(left) > 0 {
		t.Errorf("after Go has destroyed the session the browser has %q", left)
	}
}

// TestSecure compares whether each side sends the cookie, and how, behind a
// proxy and not.
func TestSecure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name  string
		o     express.Options
		trust bool // Express trusts it, and express-session was not asked
	}{
		{"secure, behind a proxy", express.Options{Proxy: true, Cookie: express.Cookie{Secure: express.True, SameSite: express.None}}, false},
		{"secure, and no proxy to trust", express.Options{Cookie: express.Cookie{Secure: express.True}}, false},
		{"auto, behind a proxy", express.Options{Proxy: true, Cookie: express.Cookie{Secure: express.Auto, SameSite: express.Auto}}, false},
		{"auto, and no proxy to trust", express.Options{Cookie: express.Cookie{Secure: express.Auto, SameSite: express.Auto}}, false},
		{"secure, Express trusts the proxy", express.Options{Proxy: true, Cookie: express.Cookie{Secure: express.True}}, true},
		{"not secure, behind a proxy", express.Options{Proxy: true}, false},
	} {
		t.Run("R4 "+tt.name, func(t *testing.T) {
			o := tt.o
			o.Secrets, o.SaveUninitialized, o.Rolling = []string{"keyboard cat"}, true, true
			gopher := w.startGo(t, o)
			o.Proxy = o.Proxy && !tt.trust
			a := inNode("10", o)
			a.TrustProxy = tt.trust
			node := w.startNode(t, a)
			for _, proto := range []string{"", "http", "https", "HTTPS", " https ", "https, http", "http, https", "httpsx", "https,"} {
				if tt.trust && proto == "HTTPS" {
					continue // Express goes by the case, express-session does not
				}
				header := http.Header{"X-Forwarded-Proto": {proto}}
				if proto == "" {
					header = nil
				}
				// Each side begins a session, the other one finds it.
				for i, first := range []*site{node, gopher} {
					var lines []string
					b := w.browser(t)
					b.scheme = "http"
					value := ""
					for n, at := range []*site{first, []*site{gopher, node}[i], first} {
						h := header.Clone()
						if value != "" {
							if h == nil {
								h = http.Header{}
							}
							h["Cookie"] = []string{value}
						}
						a, err := b.send(at, "GET /count", "", h)
						if err != nil || a.status != http.StatusOK {
							t.Fatalf("%s: %d, %v", at.name, a.status, err)
						}
						line := "none"
						if len(a.setCookie) > 0 {
							line, _ = a.sent(t)
							value, _, _ = strings.Cut(a.setCookie[0], ";")
						}
						lines = append(lines, line)
						if got := a.views(t); value != "" && got != n+1 {
							t.Errorf("proto %q, begun in %s: %s has %d views, want %d", proto, first.name, at.name, got, n+1)
						}
					}
					secure := tt.o.Proxy && (strings.EqualFold(strings.TrimSpace(proto), "https") || strings.HasPrefix(proto, "https,"))
					if want := lineBehind(tt.o.Cookie, secure); lines[0] != want || lines[1] != want || lines[2] != want {
						t.Errorf("proto %q, begun in %s: %q, want %s", proto, first.name, lines, want)
					}
				}
			}
		})
	}

	t.Run("R4 a browser that comes over both", func(t *testing.T) {
		p := w.pair(t, "10", express.Options{
			Secrets: []string{"keyboard cat"}, Rolling: true, Proxy: true, Cookie: express.Cookie{Secure: express.True},
		})
		b := p.browser(t)
		b.host = "shop.example.com" // 127.0.0.1 is safe without
		for n, at := range []*site{p.node, p.gopher, p.node, p.gopher} {
			b.scheme = "https"
			if got := b.ask(at, "GET /count").views(t); got != n+1 {
				t.Errorf("%s: %d views over HTTPS, want %d", at.name, got, n+1)
			}
			b.scheme = "http" // has no cookie then, and gets none
			if a := b.ask(at, "GET /count"); a.views(t) != 1 || a.setCookie != nil {
				t.Errorf("%s: %d views over HTTP, Set-Cookie %q", at.name, a.views(t), a.setCookie)
			}
		}
	})
}

// lineBehind is what express-session's documentation says of the cookie.
func lineBehind(c express.Cookie, secure bool) string {
	line := "connect.sid; Path=/; HttpOnly"
	switch {
	case c.Secure == express.True && !secure:
		return "none"
	case c.Secure == express.True || c.Secure == express.Auto && secure:
		line += "; Secure"
	}
	switch {
	case c.SameSite == express.None || c.SameSite == express.Auto && secure:
		line += "; SameSite=None"
	case c.SameSite == express.Auto:
		line += "; SameSite=Lax"
	}
	return line
}
