package node_test

import (
	"cmp"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// A remembered row is code of Node's, and how long the session lasts from then
// on: 0 is for one that is over, and browser for one whose cookie ends with the
// browser.
type remembered struct {
	code    string
	options string // "", rolling, resave or "no maxAge"; else it is 15 minutes
	length  time.Duration
	browser bool
	// What the answer to the code itself says, if that is something else:
	// Redis' expiry, which is then Node's to shorten, and whether it has a cookie.
	first  time.Duration
	silent bool

	gopher string // a route of Go's instead, to a session that Node has given 30 days
}

const (
	day  = 24 * time.Hour
	user = "req.session.user = 7; "
)

var rememberedRows = []remembered{
	{code: user + "req.session.cookie.maxAge = 30 * day", length: month},
	{code: user + "req.session.cookie.maxAge = 30 * day", options: "rolling", length: month},
	{code: user + "req.session.cookie.maxAge = 30 * day", options: "resave", length: month},
	{code: user + "req.session.cookie.maxAge = 30 * day", options: "no maxAge", length: month},
	{code: "req.session.cookie.maxAge = 30 * day; await regenerate(); " + user, length: quarter},
	{code: "await regenerate(); " + user + "req.session.cookie.maxAge = 30 * day", length: month},
	{code: "await regenerate(); " + user + "await save(); req.session.cookie.maxAge = 30 * day", length: month},
	{code: "await regenerate(); " + user + "req.session.cookie.maxAge = 30 * day; await save()", length: month},
	{code: "const before = req.session; req.session.cookie.maxAge = 30 * day; await regenerate(); Object.assign(req.session, before)", length: month},
	{code: user + "req.session.cookie.expires = new Date(Date.now() + 30 * day)", length: month},
	{code: user + "req.session.cookie.maxAge = new Date(Date.now() + 30 * day)", length: month},
	{code: user + "req.session.cookie.originalMaxAge = 30 * day", length: month},
	{code: user + "req.session.cookie.maxAge = 3650 * day", length: 3650 * day},
	{code: user + "req.session.cookie.expires = false", length: day, browser: true},
	{code: user + "req.session.cookie.expires = null", length: day, browser: true, silent: true},
	{code: user + "req.session.cookie.maxAge = null", length: day, browser: true, silent: true},
	{code: user + "req.session.cookie.maxAge = false", length: day, browser: true},
	{code: user + "req.session.cookie.maxAge = undefined", length: day, browser: true, silent: true},
	{code: "await regenerate(); " + user + "req.session.cookie.maxAge = null", length: day, browser: true},
	{code: user + "req.session.cookie.maxAge = null", options: "rolling", length: day, browser: true},
	{code: "req.session.cookie.maxAge = 30 * day", length: quarter, first: month, silent: true},
	{code: "req.session.cookie.maxAge = 30 * day", options: "rolling", length: quarter, first: month},
	{code: "req.session.cookie.maxAge = 30 * day", options: "resave", length: month, silent: true},
	{code: "req.session.cookie.maxAge = 30 * day; await save()", length: month, silent: true},
	{code: user + "req.session.cookie.maxAge = 0", length: 0},
	{code: user + "req.session.cookie.expires = new Date(0)", length: 0},
	{code: "m.Renew(ctx)", gopher: "POST /renew", length: month},
	{code: "m.Renew(ctx)", gopher: "POST /renew", options: "no maxAge", length: month},
	{code: "m.SignIn(ctx)", gopher: "POST /signin", length: quarter},
	{code: "m.SignIn(ctx, sessions.Remembered)", gopher: "POST /signin?remember=1", length: month},
	{code: "m.SignIn(ctx, sessions.Remembered)", gopher: "POST /signin?remember=1", options: "no maxAge", length: month},
}

// The ways in which an Express app remembers somebody, or does not, each tried:
// Go reads, writes and reads again, then Node.
func TestRememberMe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc, err := os.ReadFile("../../../docs/express-recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	pairs := map[string]*pair{}
	for _, options := range []string{"", "rolling", "resave", "no maxAge"} {
		o := common()
		o.Name, o.Prefix = "sid"+options[:min(2, len(options))], options+":"
		o.Rolling, o.Resave = options == "rolling", options == "resave"
		if options == "no maxAge" {
			o.Cookie.MaxAge = 0
		}
		pairs[options] = w.pair(t, "10", o)
	}
	for _, row := range rememberedRows {
		t.Run("R7 R14 R15 "+strings.TrimSpace(row.options+" "+row.code), func(t *testing.T) {
			if !row.in(string(doc)) {
				t.Error("docs/express-recipes.md has no such row")
			}
			p := pairs[row.options]
			b := w.browser(t)
			b.ask(p.node, "GET /count")
			node := row.code
			if row.gopher != "" {
				node = user + "req.session.cookie.maxAge = 30 * day"
			}
			code, err := json.Marshal(map[string]string{"code": node})
			if err != nil {
				t.Fatal(err)
			}
			a := b.ask(p.node, "POST /run", string(code))
			if row.gopher != "" {
				a = b.ask(p.gopher, row.gopher)
			}
			if row.length == 0 {
				if r := w.stored(t, p.node, b.sid(p.node)); r != nil {
					t.Errorf("stored is %s", r.raw)
				}
				for _, at := range p.both() {
					if a := b.ask(at, "GET /read"); len(a.Session) != 0 {
						t.Errorf("%s finds %s", at.name, a.Session)
					}
				}
				return
			}
			w.lives(t, p.node, b.sid(p.node), cmp.Or(row.first, row.length))
			p.sendsFor(t, a, !row.silent, cmp.Or(row.first, row.length), row.browser)
			kept := max(row.first, row.length) // Go shortens nothing
			for n, visit := range []struct {
				at     *site
				route  string
				writes bool
			}{
				{p.gopher, "GET /read", false},
				{p.gopher, "GET /count", true},
				{p.gopher, "GET /read", false},
				{p.gopher, "POST /update", true},
				{p.node, "GET /read", false},
				{p.node, "GET /count", true},
				{p.gopher, "GET /read", false},
				{p.gopher, "POST /renew", true},
				{p.node, "GET /read", false},
			} {
				if visit.at == p.node {
					kept = row.length
				}
				a := b.ask(visit.at, visit.route)
				r := w.lives(t, visit.at, b.sid(visit.at), kept)
				rolling := row.options == "rolling"
				p.sendsFor(t, a, rolling || visit.route == "POST /renew" || visit.writes && (!row.browser || strings.Contains(row.code, "false")), row.length, row.browser)
				if left := time.Until(a.IdleUntil); visit.at == p.gopher && (left > kept || left < kept-3*time.Second) {
					t.Errorf("%d: Go says that it lasts for %v, want %v", n, left, kept)
				}
				if row.browser != (r.Cookie.OriginalMaxAge == nil) || row.browser != (r.Cookie.Expires == nil) {
					t.Errorf("%d: %s: %s: stored is the cookie %s", n, visit.at.name, visit.route, r.object)
				}
				if left := time.Duration(0); visit.writes && !row.browser {
					if left = time.Until(*r.Cookie.Expires); left > row.length || left < row.length-3*time.Second {
						t.Errorf("%d: %s: %s: stored is that it expires in %v, want %v", n, visit.at.name, visit.route, left, row.length)
					}
				}
			}
		})
	}
}

// sendsFor checks whether there is a cookie, and how long it lasts.
func (p *pair) sendsFor(t *testing.T, a answer, sent bool, length time.Duration, browser bool) {
	t.Helper()
	switch {
	case !sent && a.setCookie != nil:
		t.Errorf("%s: Set-Cookie: %q, want none", a.By, a.setCookie)
	case sent && browser:
		a.sends(t, p.node.cookie+"; Path=/; HttpOnly; SameSite=Lax", 0)
	case sent:
		a.sends(t, p.node.cookie+"; Path=/; Expires; HttpOnly; SameSite=Lax", length)
	}
}

// in says that the document's table has the row, maybe with others that end alike.
func (r remembered) in(doc string) bool {
	what := map[time.Duration]string{0: "over", quarter: "15 minutes", day: "`TTL`", month: "30 days", 3650 * day: "10 years"}[r.length]
	if r.browser {
		what += ", and the cookie ends with the browser"
	}
	if r.first != 0 {
		what += "; 30 days until Node's next request"
	}
	if r.silent {
		what += "; no cookie is sent"
	}
	code := "`" + strings.TrimSuffix(strings.ReplaceAll(r.code, "req.session.", "s."), "; ") + "`"
	for line := range strings.Lines(doc) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 && strings.Contains(cells[1], code) && strings.TrimSpace(cells[3]) == what &&
			(strings.TrimSpace(cells[2]) == r.options || strings.Contains(cells[2], cmp.Or(r.options, "none"))) {
			return true
		}
	}
	return false
}
