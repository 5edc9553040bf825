package express_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

const quarter = 15 * time.Minute

func TestRotation(t *testing.T) {
	const older = "the old secret"
	old, signedAnew := signed("connect.sid", sid, older), signed("connect.sid", sid, secret)
	for _, row := range []struct {
		name    string
		secrets []string
		rolling bool
		cookie  string
		f       handler
		want    string // the cookie sent
	}{
		{"the new one second: read", []string{older, secret}, false, signedAnew, nothing, ""},
		{"the new one second: signed by the old one", []string{older, secret}, false, signedAnew, view, old},
		{"the new one first: read", []string{secret, older}, false, old, nothing, ""},
		{"the new one first: signed anew when it is sent", []string{secret, older}, false, old, view, signedAnew},
		{"the new one first: signed anew by a rolling cookie", []string{secret, older}, true, old, nothing, signedAnew},
	} {
		t.Run("R16 "+row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{Secrets: row.secrets, Rolling: row.rolling, Cookie: express.Cookie{MaxAge: quarter}})
			p.put(sid, nodeDoc("900000", `,"views":7`), 900)
			views := -1
			res := p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) { views = c.Views; row.f(w, r, c) }, row.cookie)
			sent := ""
			if lines := p.lines(res); len(lines) > 0 {
				sent = pair(lines[0])
			}
			if views != 7 || sent != row.want {
				t.Errorf("%d views, sent %q, want 7 and %q", views, sent, row.want)
			}
		})
	}
	t.Run("R16 a secret that is gone is not taken", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
			if c.Views != 0 {
				t.Errorf("%d views", c.Views)
			}
		}, old)
	})
}

// What depends on whether the request is secure.
func TestSecure(t *testing.T) {
	plain := func(header ...string) *http.Request {
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		for _, v := range header {
			r.Header.Add("X-Forwarded-Proto", v)
		}
		return r
	}
	tls := func() *http.Request { return httptest.NewRequest("GET", "https://example.com/", nil) }
	auto := express.Cookie{Secure: express.Auto, SameSite: express.Auto}
	secure := express.Cookie{Secure: express.True}
	for _, row := range []struct {
		name  string
		o     express.Options
		r     *http.Request
		attrs string // of the cookie; "-": none is sent
	}{
		{"Auto over TLS", express.Options{Cookie: auto}, tls(), "; Path=/; HttpOnly; Secure; SameSite=None"},
		{"Auto over plain HTTP", express.Options{Cookie: auto}, plain(), "; Path=/; HttpOnly; SameSite=Lax"},
		{"Auto behind a proxy that is not believed", express.Options{Cookie: auto}, plain("https"), "; Path=/; HttpOnly; SameSite=Lax"},
		{"Auto behind a proxy", express.Options{Cookie: auto, Proxy: true}, plain("https"), "; Path=/; HttpOnly; Secure; SameSite=None"},
		{"Auto behind a proxy that got plain HTTP", express.Options{Cookie: auto, Proxy: true}, plain("http"), "; Path=/; HttpOnly; SameSite=Lax"},
		{"the first of two proxies counts", express.Options{Cookie: auto, Proxy: true}, plain("HTTPS , http"), "; Path=/; HttpOnly; Secure; SameSite=None"},
		{"and not the second", express.Options{Cookie: auto, Proxy: true}, plain("http, https"), "; Path=/; HttpOnly; SameSite=Lax"},
		{"shouted Auto", express.Options{Cookie: express.Cookie{Secure: "AUTO", SameSite: "Auto"}}, plain(), "; Path=/; HttpOnly; SameSite=Lax"},
		{"Secure over TLS", express.Options{Cookie: secure}, tls(), "; Path=/; HttpOnly; Secure"},
		{"Secure over plain HTTP", express.Options{Cookie: secure}, plain(), "-"},
		{"Secure behind a proxy that is not believed", express.Options{Cookie: secure}, plain("https"), "-"},
		{"Secure behind a proxy", express.Options{Cookie: secure, Proxy: true}, plain("https"), "; Path=/; HttpOnly; Secure"},
		{"Secure, and SameSite Auto, over TLS", express.Options{Cookie: express.Cookie{Secure: express.True, SameSite: express.Auto}}, tls(), "; Path=/; HttpOnly; Secure; SameSite=None"},
		{"Secure, and SameSite Auto, over plain HTTP", express.Options{Cookie: express.Cookie{Secure: express.True, SameSite: express.Auto}}, plain(), "-"},
		{"shouted", express.Options{Cookie: express.Cookie{Secure: "TRUE", HttpOnly: "FALSE", Partitioned: "True", SameSite: "STRICT", Priority: "HIGH"}}, tls(), "; Path=/; Secure; Partitioned; Priority=High; SameSite=Strict"},
		{"all False", express.Options{Cookie: express.Cookie{Secure: "False", HttpOnly: "False", Partitioned: "False", SameSite: "False"}}, tls(), "; Path=/"},
	} {
		t.Run("R4 "+row.name, func(t *testing.T) {
			p := newPlace(t, row.o)
			res := p.send(row.r, view)
			got := "-"
			for _, line := range p.lines(res) {
				got = strings.TrimPrefix(line, pair(line))
			}
			if got != row.attrs {
				t.Errorf("sent %q, want %q", got, row.attrs)
			}
			if keys := p.keys(); len(keys) != 1 {
				t.Errorf("stored: %q", keys)
			}
		})
	}

	t.Run("T12 a Secure cookie that is not sent is one line of the log", func(t *testing.T) {
		p := newPlace(t, express.Options{Cookie: secure, Rolling: true})
		p.put(sid, `{"cookie":{"originalMaxAge":900000,"expires":null,"secure":true,"path":"/"},"views":7}`, 900)
		for range 3 {
			p.send(plain(), view)
			p.send(plain(), view, mine(""))
		}
		const want = "express: a Secure cookie was not sent, for its request came over plain HTTP: serve HTTPS, or set Options.Proxy if a proxy in front does and sets X-Forwarded-Proto"
		if log := p.logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, want) {
			t.Errorf("the log says %s", log)
		}
	})

	t.Run("R15 the stored cookie decides, not the configured one", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, `{"cookie":{"originalMaxAge":900000,"expires":null,"secure":true,"path":"/"},"views":7}`, 900)
		if lines := p.lines(p.send(plain(), view, mine(""))); len(lines) > 0 {
			t.Errorf("sent %q", lines)
		}
	})

	t.Run("L10 Destroy expires it on plain HTTP all the same", func(t *testing.T) {
		p := newPlace(t, express.Options{Cookie: secure})
		p.put(sid, nodeDoc("900000", ""), 900)
		if lines := p.lines(p.send(plain(), p.do(p.Destroy), mine(""))); len(lines) != 1 {
			t.Errorf("sent %q", lines)
		}
	})
}

func TestPath(t *testing.T) {
	o := express.Options{Cookie: express.Cookie{Path: "/app"}, SaveUninitialized: true, Rolling: true}
	for _, row := range []struct {
		target  string
		covered bool
	}{
		{"/app", true},
		{"/app/", true},
		{"/app?x=1", true},
		{"/app/deep/er", true},
		{"/application", true}, // as in Node
		{"/", false},
		{"/App", false},
		{"/ap", false},
		{"/?/app", false},
		{"/other/app", false},
		{"http://example.com/app", true},
		{"http://example.com/other", false},
		{"/%61pp", false}, // as it was sent
	} {
		t.Run(fmt.Sprintf("L16 below /app? %s: %v", row.target, row.covered), func(t *testing.T) {
			p := newPlace(t, o)
			p.put(sid, nodeDoc("900000", `,"views":7`), 900)
			r := httptest.NewRequest("GET", row.target, nil)
			r.Header.Set("Cookie", mine(""))
			w := httptest.NewRecorder()
			found, views := false, 0
			p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var c *cart
				if c, found = sessions.Lookup[cart](r.Context()); found {
					views = c.Views
				}
				p.FromContext(r.Context()).Views++
			})).ServeHTTP(w, r)
			stored := strings.Contains(p.doc(sid), `"views":8`)
			if found != row.covered || stored != row.covered || len(p.lines(w.Result())) > 0 != row.covered || found && views != 7 {
				t.Errorf("found %v (%d views), stored %v, sent %q", found, views, stored, w.Result().Header["Set-Cookie"])
			}
			if keys := p.keys(); len(keys) != 1 {
				t.Errorf("keys %q", keys)
			}
		})
	}

	t.Run("L16 Options.Skip is asked about those that are left", func(t *testing.T) {
		var asked []string
		skip := o
		skip.Skip = func(r *http.Request) bool {
			asked = append(asked, r.URL.Path)
			return r.URL.Path == "/app/static"
		}
		p := newPlace(t, skip)
		for _, path := range []string{"/", "/app/static", "/app"} {
			p.send(httptest.NewRequest("GET", path, nil), view)
		}
		if !slices.Equal(asked, []string{"/app/static", "/app"}) || len(p.keys()) != 1 {
			t.Errorf("asked %q, stored %q", asked, p.keys())
		}
	})
}

func TestHeader(t *testing.T) {
	p := newPlace(t, express.Options{Cookie: express.Cookie{MaxAge: quarter}})
	p.put(sid, nodeDoc("900000", `,"views":7`), 900)
	header := func(t *testing.T, res *http.Response, name string, want ...string) {
		t.Helper()
		same(t, name, res.Header[name], want)
	}

	t.Run("T9 the handler's own Set-Cookie lines stay, those with a similar name too", func(t *testing.T) {
		res := p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) {
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "connect.sid2=x")
			c.Views++
			p.ok(p.Renew(r.Context()))
			w.Header().Add("Set-Cookie", "b=2")
			c.Views++
			p.ok(p.Renew(r.Context()))
			w.Header().Add("Set-Cookie", "c=3")
		}, mine(""))
		cookie, _ := p.cookieOf(res)
		var names []string
		for _, line := range res.Header["Set-Cookie"] {
			names = append(names, pair(line))
		}
		if want := []string{"a=1", "connect.sid2=x", "b=2", "c=3", cookie}; !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
	})
	p.put(sid, nodeDoc("900000", `,"views":7`), 900)

	t.Run("T9 Vary and Cache-Control of a response that used the session", func(t *testing.T) {
		res := p.ask(nothing, mine(""))
		header(t, res, "Vary", "Cookie")
		header(t, res, "Cache-Control", "private")
	})
	t.Run("T10 and of one that carries the cookie", func(t *testing.T) {
		res := p.ask(func(w http.ResponseWriter, _ *http.Request, c *cart) {
			w.Header().Set("Cache-Control", "public, max-age=60, s-maxage=60")
			w.Header().Set("Vary", "Accept, cookie")
			c.Views++
		}, mine(""))
		header(t, res, "Vary", "Accept, cookie")
		header(t, res, "Cache-Control", "max-age=60, no-store")
	})
	t.Run("T9 and of one that used nothing", func(t *testing.T) {
		w := httptest.NewRecorder()
		p.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		header(t, w.Result(), "Vary")
		header(t, w.Result(), "Cache-Control")
	})

	for _, rolling := range []bool{false, true} {
		t.Run(fmt.Sprintf("W3 103 Early Hints carry no cookie, the response does, rolling %v", rolling), func(t *testing.T) {
			o := p.o
			o.Rolling = rolling
			p := p.beside(o)
			p.put(sid, nodeDoc("900000", `,"views":7`), 900)
			srv := httptest.NewServer(p.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				p.FromContext(r.Context()).Views++
				io.WriteString(w, "hello")
			})))
			defer srv.Close()
			var hints []textproto.MIMEHeader
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				hints = append(hints, h)
				return nil
			}})
			r, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
			p.ok(err)
			r.Header.Set("Cookie", mine(""))
			res, err := srv.Client().Do(r)
			p.ok(err)
			res.Body.Close()
			if len(hints) != 1 || hints[0].Get("Set-Cookie") != "" || hints[0].Get("Link") == "" {
				t.Errorf("hints %q", hints)
			}
			if cookie, _ := p.cookieOf(res); cookie != mine("") || !strings.Contains(p.doc(sid), `"views":8`) {
				t.Errorf("sent %q, stored %s", cookie, p.doc(sid))
			}
		})
	}
}

func TestDestroyExpiresTheCookie(t *testing.T) {
	const gone = "connect.sid=; "
	const never = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
	configured := express.Cookie{Path: "/", Domain: "configured.example.com", SameSite: express.Lax}
	for _, row := range []struct {
		name, doc, want string
	}{
		{
			"with the stored path, domain and flags", `{"cookie":{"originalMaxAge":900000,"expires":null,"secure":true,"httpOnly":true,"domain":"example.com","path":"/app","sameSite":"none"}}`,
			gone + "Domain=example.com; Path=/app; " + never + "; HttpOnly; Secure; SameSite=None",
		},
		{"of a session of the browser's", `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}`, gone + "Path=/; " + never + "; HttpOnly"},
		{"of a document that cannot be read", "views|i:1;", gone + "Domain=configured.example.com; Path=/; " + never + "; HttpOnly; SameSite=Lax"},
		{"of one without a cookie object", `{"views":1}`, gone + "Domain=configured.example.com; Path=/; " + never + "; HttpOnly; SameSite=Lax"},
		{
			"of one with another T", `{"cookie":{"originalMaxAge":900000,"expires":null,"httpOnly":true,"domain":"example.com","path":"/app"},"views":"seven"}`,
			gone + "Domain=example.com; Path=/app; " + never + "; HttpOnly",
		},
	} {
		t.Run("L10 R15 "+row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: configured, OnUndecodable: sessions.UndecodableReadOnly})
			p.put(sid, row.doc, 900)
			res := p.ask(p.do(p.Destroy), mine(""))
			same(t, "Set-Cookie", res.Header["Set-Cookie"], []string{row.want})
			if keys := p.keys(); len(keys) > 0 {
				t.Errorf("keys left: %q", keys)
			}
		})
	}
	t.Run("L11 and what was never stored expires none", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		if lines := p.ask(p.do(p.Destroy)).Header["Set-Cookie"]; len(lines) > 0 {
			t.Errorf("sent %q", lines)
		}
	})
	t.Run("L11 and what the same request has begun expires none, whoever wrote the line of that name", func(t *testing.T) {
		p := newPlace(t, express.Options{Cookie: express.Cookie{MaxAge: quarter}})
		const nodes = "connect.sid=s%3Aof-node.xyz; Path=/"
		for _, want := range [][]string{nil, {nodes}} {
			res := p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) {
				c.Views = 1
				p.ok(p.Save(r.Context()))
				p.ok(p.Destroy(r.Context()))
				for _, line := range want { // of a response that is passed on
					w.Header().Add("Set-Cookie", line)
				}
			})
			same(t, "Set-Cookie", res.Header["Set-Cookie"], want)
		}
	})
	t.Run("L11 writing after it starts a new session", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		res := p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			p.ok(p.Destroy(r.Context()))
			c.Note = "bye"
		}, mine(""))
		if _, now := p.cookieOf(res); now == sid || !slices.Equal(p.keys(), []string{"sess:" + now}) || strings.Contains(p.doc(now), "7") {
			t.Errorf("the cookie has %s, stored are %q", now, p.keys())
		}
	})
	t.Run("L13 whatever the verbs, there is one cookie", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		res := p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			for _, verb := range []func(context.Context) error{p.Save, p.Renew, p.Destroy, p.Save, p.Renew} {
				c.Views++
				p.ok(verb(r.Context()))
			}
		})
		if _, now := p.cookieOf(res); !slices.Equal(p.keys(), []string{"sess:" + now}) {
			t.Errorf("the cookie has %s, stored are %q", now, p.keys())
		}
	})
}
