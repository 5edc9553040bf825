package express_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/express"
)

// Names that package cookie took before its 0.7, and browsers keep, are taken; the rest is refused.
func TestNames(t *testing.T) {
	for _, name := range []string{
		"connect.sid", "test::name", "express:sess", "a/b", "a(b)", "a@b", "a[0]", "{a}", "<a>", `"a"`, `a"b`, "a,b", "a b", `a\b`, "a?b", "$a", "s%3A",
	} {
		t.Run("R18 "+name+" is written, found again, withheld and expired", func(t *testing.T) {
			p := newPlace(t, express.Options{Name: name, Cookie: express.Cookie{MaxAge: quarter}})
			cookie, sid := p.cookieOf(p.ask(view))
			crossSite := httptest.NewRequest("POST", "https://example.com/", nil)
			crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
			if res := p.send(crossSite.Clone(t.Context()), view); len(p.lines(res)) > 0 || len(p.keys()) != 1 {
				t.Errorf("without the cookie another site begins a session: %q, %q", p.lines(res), p.keys())
			}
			p.send(crossSite, view, "a=1;"+cookie+" ; b=2")
			if doc := p.doc(sid); !strings.Contains(doc, `"views":2`) {
				t.Errorf("stored is %s", doc)
			}
			want := name + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"
			same(t, "Destroy sends", p.lines(p.ask(p.do(p.Destroy), cookie)), []string{want})
		})
	}
	for _, name := range []string{"a=b", "=", "a;b", "a\tb", "a\nb", "a\x7f", "\x00", " a", "a ", "\ta", " ", "é", "a\xe9"} {
		t.Run(fmt.Sprintf("R18 New refuses %q", name), func(t *testing.T) {
			same(t, "New reports", tryNew[bare](t, express.Options{Name: name, Secrets: []string{secret}}), []string{
				fmt.Sprintf("express: Options.Name: %q is not a cookie name that comes back: use ASCII without control characters, ; and =, and no blank at either end", name),
			})
		})
	}
	t.Run("R18 New refuses a name that leaves no room for a sid", func(t *testing.T) {
		got := tryNew[bare](t, express.Options{Name: strings.Repeat("n", 4096), Secrets: []string{secret}})
		if len(got) != 1 || !strings.HasPrefix(got[0], "express: Options.Name, NewID: the cookie's name and value are 41") {
			t.Errorf("New reports %q", got)
		}
	})
}

// sidLengths are those of sids beyond the 200 bytes that every Store takes, up to what fits a cookie named connect.sid.
var sidLengths = []int{200, 201, 255, 1000, 2900, 3900}

func TestLongSids(t *testing.T) {
	for _, n := range sidLengths {
		t.Run(fmt.Sprintf("R18 Node's sid of %d bytes is read and written, not displaced", n), func(t *testing.T) {
			p := newPlace(t, express.Options{Cookie: express.Cookie{MaxAge: quarter}})
			long := strings.Repeat("x", n)
			p.put(long, nodeDoc("900000", `,"views":7`), 900)
			cookie := signed("connect.sid", long, secret)
			res := p.ask(view, cookie)
			if now, _ := p.cookieOf(res); now != cookie {
				t.Errorf("it goes on as %.80s…", now)
			}
			if doc := p.doc(long); !strings.Contains(doc, `"views":8`) || len(p.keys()) != 1 {
				t.Errorf("stored is %s, under %d keys", doc, len(p.keys()))
			}
		})
		t.Run(fmt.Sprintf("R18 NewID draws %d bytes", n), func(t *testing.T) {
			a, b, c := strings.Repeat("a", n), strings.Repeat("b", n), strings.Repeat("c", n)
			p := newPlace(t, express.Options{NewID: draws(a, b, c)})
			cookie, sid := p.cookieOf(p.ask(view))
			p.ask(view, cookie)
			if doc := p.doc(c); sid != c || !strings.Contains(doc, `"views":2`) {
				t.Errorf("stored is %s", doc)
			}
		})
	}
	t.Run("R18 a sid that no browser would keep is not given out", func(t *testing.T) {
		p := newPlace(t, express.Options{NewID: draws("a", "b", strings.Repeat("c", 4090))})
		p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			c.Views++
			if err := p.Save(r.Context()); err == nil || !strings.Contains(err.Error(), "browsers keep 4096") {
				t.Errorf("Save says %v", err)
			}
		})
		if keys := p.keys(); len(keys) > 0 {
			t.Errorf("%d keys", len(keys))
		}
	})
}

// draws are these sids one after the other, and none after the last.
func draws(sids ...string) func() (string, error) {
	return func() (string, error) {
		if len(sids) == 0 {
			return "", errors.New("there are no more sids")
		}
		sid := sids[0]
		sids = sids[1:]
		return sid, nil
	}
}
