package express_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// storedCookie is a document with these members in its cookie, in place of the path.
func storedCookie(members string) string {
	return strings.Replace(nodeDoc("null", `,"views":7`), `"path":"/"`, members, 1)
}

// sent are the Set-Cookie lines of the session, with "new" for the value of one that has a sid.
func (p *place) sent(res *http.Response) []string {
	lines := p.lines(res)
	for i, line := range lines {
		if sid := sidIn(line); sid != "" {
			_, attrs, _ := strings.Cut(line, "; ")
			lines[i] = "new; " + attrs
		}
	}
	return lines
}

func (p *place) signIn(ctx context.Context) error { return p.SignIn(ctx) }

func (p *place) change(ctx context.Context) error {
	p.FromContext(ctx).Views++
	return nil
}

// end is a destroy of Node's meanwhile.
func (p *place) end(ctx context.Context) error { return p.node.Del(ctx, "sess:"+sid).Err() }

// tooLarge is a SignIn that fails.
func (p *place) tooLarge(_ http.ResponseWriter, r *http.Request, c *cart) {
	c.Note = strings.Repeat("x", 5<<20)
	if err := p.SignIn(r.Context()); !errors.Is(err, sessions.ErrTooLarge) {
		p.t.Errorf("SignIn: %v", err)
	}
}

// expiry is the line that expires a cookie with these attributes before and after Expires.
func expiry(before, after string) string {
	return "connect.sid=; " + before + "Expires=Thu, 01 Jan 1970 00:00:00 GMT" + after
}

// The cookie of before a sign-in is expired where the new one does not replace it. What the browser takes for one
// cookie is sent once.
func TestReplacedCookie(t *testing.T) {
	domain := express.Cookie{Domain: "example.com"}
	const inDomain = "new; Domain=example.com; Path=/; HttpOnly"
	secure := express.Cookie{Secure: express.True}
	chips := express.Cookie{Secure: express.True, Partitioned: express.True}
	for _, row := range []struct {
		name   string
		stored string // members of the cookie
		cookie express.Cookie
		want   []string
	}{
		{"a Domain is added", `"path":"/"`, domain, []string{expiry("Path=/; ", "; HttpOnly"), inDomain}},
		{"a Domain is taken away", `"path":"/","domain":"example.com"`, express.Cookie{}, []string{expiry("Domain=example.com; Path=/; ", "; HttpOnly"), "new; Path=/; HttpOnly"}},
		{"another Domain", `"path":"/","domain":"shop.example.com"`, domain, []string{expiry("Domain=shop.example.com; Path=/; ", "; HttpOnly"), inDomain}},
		{"a Domain with a dot and in capitals", `"path":"/","domain":".Example.COM"`, domain, []string{inDomain}},
		{"a Domain that no cookie can have", `"path":"/","domain":"exa mple"`, express.Cookie{}, []string{"new; Path=/; HttpOnly"}},
		{"a Domain that is null", `"path":"/","domain":null`, express.Cookie{}, []string{"new; Path=/; HttpOnly"}},
		{"another Path", `"path":"/shop"`, express.Cookie{}, []string{expiry("Path=/shop; ", "; HttpOnly"), "new; Path=/; HttpOnly"}},
		{"a Path that no cookie can have, so that it is the default", `"path":"/a;b"`, express.Cookie{}, []string{expiry("", "; HttpOnly"), "new; Path=/; HttpOnly"}},
		{"no Path", `"x":1`, express.Cookie{}, []string{"new; Path=/; HttpOnly"}},
		{"Partitioned is added", `"path":"/","secure":true`, chips, []string{expiry("Path=/; ", "; HttpOnly; Secure"), "new; Path=/; HttpOnly; Secure; Partitioned"}},
		{"Partitioned is taken away", `"path":"/","secure":true,"partitioned":true`, secure, []string{expiry("Path=/; ", "; HttpOnly; Secure; Partitioned"), "new; Path=/; HttpOnly; Secure"}},
		{"Partitioned false is none", `"path":"/","secure":true,"partitioned":false`, secure, []string{"new; Path=/; HttpOnly; Secure"}},
		{"other flags make no other cookie", `"path":"/","secure":true,"sameSite":"lax","priority":"low"`, express.Cookie{}, []string{"new; Path=/; HttpOnly"}},
	} {
		t.Run("L26 "+row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: row.cookie})
			p.put(sid, storedCookie(row.stored), 900)
			same(t, "SignIn sends", p.sent(p.ask(p.do(p.signIn), mine(""))), row.want)
		})
	}

	old := `"path":"/"`
	expiredToo := expiry("Domain=example.com; Path=/; ", "; HttpOnly")
	for _, row := range []struct {
		name string
		f    func(p *place) handler
		want []string
	}{
		{"SignIn with Remembered", func(p *place) handler {
			return p.do(func(ctx context.Context) error { return p.SignIn(ctx, sessions.Remembered) })
		}, []string{expired, "new; Domain=example.com; Path=/; Expires; HttpOnly"}},
		{"SignIn twice", func(p *place) handler { return p.do(p.signIn, p.signIn) }, []string{expired, inDomain}},
		{"SignIn, then Renew and a save", func(p *place) handler { return p.do(p.signIn, p.Renew, p.change, p.Save) }, []string{expired, inDomain}},
		{"SignIn, then Destroy", func(p *place) handler { return p.do(p.signIn, p.Destroy) }, []string{expired, expiredToo}},
		{"SignIn, Destroy and a new session", func(p *place) handler { return p.do(p.signIn, p.Destroy, p.change) }, []string{expired, inDomain}},
		{"Destroy, then SignIn", func(p *place) handler { return p.do(p.Destroy, p.signIn) }, []string{expired, inDomain}},
		{"Destroy, then a change", func(p *place) handler { return p.do(p.Destroy, p.change) }, []string{expired, inDomain}},
		{"Destroy twice, then a change", func(p *place) handler { return p.do(p.Destroy, p.Destroy, p.change) }, []string{expired, inDomain}},
		{"Destroy alone", func(p *place) handler { return p.do(p.Destroy) }, []string{expired}},
		{"Renew keeps the cookie", func(p *place) handler { return p.do(p.Renew) }, []string{"new; Path=/; HttpOnly"}},
		{"a change keeps the cookie", func(p *place) handler { return p.do(p.change) }, nil},
		{"SignIn over a session that has ended meanwhile", func(p *place) handler { return p.do(p.end, p.signIn) }, []string{expired, inDomain}},
		{"Renew over a session that has ended meanwhile", func(p *place) handler {
			return p.do(func(ctx context.Context) error {
				p.ok(p.end(ctx))
				if err := p.Renew(ctx); !errors.Is(err, sessions.ErrGone) {
					t.Errorf("Renew: %v", err)
				}
				return nil
			})
		}, nil},
		{"a SignIn that fails", func(p *place) handler { return p.tooLarge }, nil},
		{"a SignIn that fails, then one that succeeds", func(p *place) handler {
			return func(w http.ResponseWriter, r *http.Request, c *cart) {
				p.tooLarge(w, r, c)
				c.Note = ""
				p.ok(p.signIn(r.Context()))
			}
		}, []string{expired, inDomain}},
	} {
		t.Run("L26 "+row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: domain})
			p.put(sid, storedCookie(old), 900)
			got := p.sent(p.ask(row.f(p), mine("")))
			for i := range got {
				if before, rest, ok := strings.Cut(got[i], "Expires="); ok && strings.HasPrefix(got[i], "new") {
					_, after, _ := strings.Cut(rest, ";")
					got[i] = before + "Expires;" + after
				}
			}
			same(t, "it sends", got, row.want)
		})
	}

	for name, f := range map[string]func(m *sessions.Manager[owned], r *http.Request, user string){
		"a save from nobody to an owner": func(m *sessions.Manager[owned], r *http.Request, user string) {
			m.FromContext(r.Context()).UserID = user
		},
		"an Update from nobody to an owner": func(m *sessions.Manager[owned], r *http.Request, user string) {
			_ = m.Update(r.Context(), func(o *owned) error { o.UserID = user; return nil })
		},
	} {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("L26 L20 %s; ended meanwhile: %t", name, ended), func(t *testing.T) {
				p := newPlace(t, express.Options{Cookie: domain})
				p.put(sid, storedCookie(old), 900)
				m, err := express.New[owned](p.node, p.o)
				p.ok(err)
				r := httptest.NewRequest("GET", "https://example.com/", nil)
				r.Header.Set("Cookie", mine(""))
				w := httptest.NewRecorder()
				m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if ended {
						p.ok(p.end(r.Context()))
					}
					f(m, r, "u1")
				})).ServeHTTP(w, r)
				same(t, "it sends", p.sent(w.Result()), []string{expired, inDomain})
			})
		}
	}

	for name, f := range map[string]func(p *place) handler{
		"a change": func(p *place) handler { return p.do(p.change) },
		"SignIn":   func(p *place) handler { return p.do(p.signIn) },
	} {
		t.Run("L26 "+name+" over a document that does not fit T", func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: domain, OnUndecodable: sessions.UndecodableFresh})
			p.put(sid, strings.Replace(storedCookie(old), `7`, `"7"`, 1), 900)
			same(t, "it sends", p.sent(p.ask(f(p), mine(""))), []string{expired, inDomain})
		})
	}

	t.Run("L26 L21 of two sessions with equal attributes the cookie is expired once", func(t *testing.T) {
		const other = "another-30qlM1_IsOHh71RAyPYw"
		p := newPlace(t, express.Options{Cookie: domain})
		p.put(sid, storedCookie(old), 900)
		p.put(other, storedCookie(old), 900)
		res := p.ask(p.do(p.signIn), mine("")+"; "+signed("connect.sid", other, secret))
		same(t, "SignIn sends", p.sent(res), []string{expired, inDomain})
	})

	// The browser has a cookie whose session is over, and whose attributes nobody knows any more.
	for _, row := range []struct {
		name   string
		cookie express.Cookie
		f      func(p *place) handler
		brings string
		want   []string
	}{
		{"SignIn", domain, func(p *place) handler { return p.do(p.signIn) }, mine(""), []string{expired, inDomain}},
		{"a change", domain, func(p *place) handler { return p.do(p.change) }, mine(""), []string{expired, inDomain}},
		{"a change, and Destroy", domain, func(p *place) handler { return p.do(p.change, p.Save, p.Destroy) }, mine(""), []string{expired}},
		{"SignIn of a visitor without one", domain, func(p *place) handler { return p.do(p.signIn) }, "a=b", []string{inDomain}},
		{"SignIn where there is no Domain", express.Cookie{}, func(p *place) handler { return p.do(p.signIn) }, mine(""), []string{"new; Path=/; HttpOnly"}},
		{"SignIn over a session beside it", domain, func(p *place) handler { return p.do(p.signIn) }, mine("") + "; " + signed("connect.sid", "stored", secret), []string{expired, inDomain}},
		{"Renew of a session beside it", domain, func(p *place) handler { return p.do(p.Renew) }, mine("") + "; " + signed("connect.sid", "stored", secret), []string{expired, inDomain}},
		{"SignIn over a session, and nothing beside it", domain, func(p *place) handler { return p.do(p.signIn) }, signed("connect.sid", "stored", secret), []string{inDomain}},
	} {
		t.Run("L26 "+row.name+", with the cookie of a session that is over", func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: row.cookie})
			p.put("stored", storedCookie(`"path":"/","domain":"example.com"`), 900)
			same(t, "it sends", p.sent(p.ask(row.f(p), row.brings)), row.want)
		})
	}

	t.Run("L26 where the new cookie cannot be sent the old one stays", func(t *testing.T) {
		p := newPlace(t, express.Options{Cookie: express.Cookie{Secure: express.True, Domain: "example.com"}})
		p.put(sid, storedCookie(old), 900)
		res := p.send(httptest.NewRequest("GET", "http://example.com/", nil), p.do(p.signIn), mine(""))
		same(t, "SignIn sends", p.sent(res), nil)
	})
}
