package node_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/express"
)

// A rawBrowser keeps the one cookie that it was sent last, whatever its name: net/http's client takes none with
// such names, and browsers do (internal/integration/browser).
type rawBrowser struct {
	*browser
	cookie string
}

func (b *rawBrowser) ask(s *site, route string) answer {
	b.t.Helper()
	header := http.Header{}
	if b.cookie != "" {
		header["Cookie"] = []string{"a=1; " + b.cookie + "; b=2"}
	}
	a, err := b.send(s, route, "", header)
	if err != nil || a.status != http.StatusOK {
		b.t.Fatalf("%s: %s: %d, %s, %v", s.name, route, a.status, a.Error, err)
	}
	for _, line := range a.setCookie {
		if !strings.HasPrefix(line, s.cookie+"=") {
			b.t.Errorf("%s: Set-Cookie %q, want one named %s", s.name, line, s.cookie)
		}
		b.cookie, _, _ = strings.Cut(line, ";")
	}
	return a
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(name string) express.Options {
		return express.Options{Name: name, Secrets: []string{"keyboard cat"}, Cookie: express.Cookie{MaxAge: quarter}}
	}
	for _, name := range []string{"test::name", "express:sess", `a/b "c"`, "a@b[0](1),c"} {
		a := inNode("10", with(name))
		a.Sessions = "express-session-1.17"
		node, gopher := w.startNode(t, a), w.startGo(t, with(name))
		for _, both := range [][]*site{{node, gopher}, {gopher, node}} {
			t.Run("R18 "+name+", begun in "+both[0].name, func(t *testing.T) {
				b := &rawBrowser{browser: w.browser(t)}
				for n := 1; n <= 4; n++ {
					at := both[(n-1)%2]
					if got := b.ask(at, "GET /count").views(t); got != n {
						t.Errorf("%s has %d views, want %d", at.name, got, n)
					}
				}
				before := b.cookie
				if b.ask(gopher, "POST /signin"); b.cookie == before || b.ask(node, "GET /read").views(t) != 4 {
					t.Errorf("after Go's sign-in the cookie is %s, and was %s", b.cookie, before)
				}
				if b.ask(gopher, "POST /destroy"); b.cookie != name+"=" {
					t.Errorf("after Go's Destroy the cookie is %s", b.cookie)
				}
			})
		}
	}
	for _, version := range []string{"express-session-1.18", "express-session"} { // package cookie 0.7 in both
		t.Run("R18 a name that "+version+" does not write: its visitor gets no cookie, or no answer", func(t *testing.T) {
			a := inNode("10", with("test::name"))
			a.Sessions = version
			got, err := w.browser(t).send(w.startNode(t, a), "GET /count", "", nil)
			if err == nil && got.status == http.StatusOK && len(got.setCookie) > 0 {
				t.Errorf("it sends %q", got.setCookie)
			}
		})
	}
}
