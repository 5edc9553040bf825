package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestDefaultCookie(t *testing.T) {
	t.Run("T6 the default cookie is kept as it was meant, sent, and hidden from scripts", func(t *testing.T) {
		t.Parallel()
		b, a := newTab(t), newApp(t, nil)
		origin := b.serve("app", a.Handler(a.mux))
		b.visit(origin + "/in")
		c := b.cookies(origin)[kit.CookieName]
		if c == nil {
			t.Fatal("the browser has not kept it")
		}
		if !c.Secure || !c.HTTPOnly || !c.Session || c.Path != "/" || strings.HasPrefix(c.Domain, ".") || c.SameSite != network.CookieSameSiteLax {
			t.Errorf("kept %+v", c)
		}
		if got := b.visit(origin + "/who"); got != `"u1" 0` {
			t.Errorf("the next request is %s", got)
		}
		if got := eval[string](b, "document.cookie"); got != "" {
			t.Errorf("a script sees %d bytes of cookies", len(got))
		}
	})

	t.Run("T6 no script and no host of the domain can set the default cookie, in the place of one or before there is one", func(t *testing.T) {
		t.Parallel()
		for _, signedIn := range []bool{true, false} {
			b, a := newTab(t), newApp(t, nil)
			origin := b.serve("app", a.Handler(a.mux))
			if signedIn {
				b.visit(origin + "/in")
			}
			b.visit(origin + "/who")
			before := b.cookies(origin)[kit.CookieName]
			eval[string](b, `document.cookie = "`+kit.CookieName+`=evil; Path=/; Secure"`)
			eval[string](b, `document.cookie = "__HOST-HTTP-SESSION=evil; Path=/; Secure"`)
			eval[string](b, `document.cookie = "__Host-session=evil; Path=/; Secure"`)
			domain := strings.TrimPrefix(strings.TrimSuffix(origin, ":"+b.port), "https://")
			sibling := b.serveBeside("www", origin, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for _, name := range []string{kit.CookieName, "__Secure-evil"} {
					w.Header().Add("Set-Cookie", name+"=evil; Path=/; Domain="+domain+"; Secure; HttpOnly")
				}
				page(w, "sibling")
			}))
			b.visit(sibling)
			after := b.cookies(origin)
			if c := after[kit.CookieName]; signedIn != (c != nil) || c != nil && c.Value != before.Value {
				t.Errorf("signed in: %t; the cookie is another one", signedIn)
			}
			// Were it not for the prefix, each of the two would have been able to.
			if after["__Host-session"] == nil || after["__Secure-evil"] == nil || after["__HOST-HTTP-SESSION"] != nil {
				t.Errorf("the browser has kept %d cookies: the test shows nothing", len(after))
			}
		}
	})

	t.Run("T12 a Secure cookie is kept on plain HTTP from localhost and a loopback address, and from no other host", func(t *testing.T) {
		t.Parallel()
		for host, want := range map[string]string{"localhost": `"u1" 0`, "127.0.0.1": `"u1" 0`, "plain.test": `"" 0`} {
			b, a := newTab(t), newApp(t, nil)
			srv := httptest.NewServer(a.Handler(a.mux))
			t.Cleanup(srv.Close)
			origin := strings.Replace(srv.URL, "127.0.0.1", host, 1)
			b.visit(origin + "/in")
			if got := b.visit(origin + "/who"); got != want {
				t.Errorf("%s: the next request is %s, want %s", host, got, want)
			}
		}
	})
}
