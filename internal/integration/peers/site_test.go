package peers_test

import (
	"fmt"
	"net/http"
	"strings"
)

// Other sites, whose requests come without the cookie (SameSite=Lax), and shared caches.

// crossSite sends a request that another site's page makes. The browser withholds the cookie, and the answer's
// cookies are its to keep or to drop.
func (b *browser) crossSite(method, path, mode, dest string) answer {
	r, err := http.NewRequest(method, b.url+path, nil)
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", mode)
	r.Header.Set("Sec-Fetch-Dest", dest)
	return newBrowser(b.t, b.url, b.transport).send(r)
}

// foreignForm is the answer of a payment provider, say: a form that its page posts. The browser shows the answer
// and keeps its cookies.
func foreignForm(w *world) error {
	b := w.visitor()
	a := b.crossSite(http.MethodPost, "/set?k=Lang&v=de", "navigate", "document")
	if a.err != nil {
		w.t.Fatal(a.err)
	}
	b.jar.SetCookies(b.site(), (&http.Response{Header: a.header}).Cookies())
	return has(b, "User", "ann")
}

// foreignImage is an address of this site in another one's page, whose cookies the browser drops.
func foreignImage(w *world) error {
	b := w.visitor()
	if a := b.crossSite(http.MethodGet, "/set?k=Lang&v=foreign", "no-cors", "image"); a.err != nil {
		w.t.Fatal(a.err)
	}
	if n := w.holding("foreign"); n > 0 {
		return fmt.Errorf("%d record(s) that nobody has the cookie of", n)
	}
	return nil
}

// sharedCache plays T9 with a page that says when it was modified, but not who may keep it. A shared cache may then
// guess for how long it does (RFC 9111, section 4.2.2), unless the answer says private or no-store.
func sharedCache(path string) func(w *world) error {
	return func(w *world) error {
		a := w.visitor().get(path + "?k=User")
		if a.err != nil || !strings.Contains(a.body, "ann") || a.header.Get("Last-Modified") == "" {
			w.t.Fatalf("no page of ann's: %s", a)
		}
		said := a.header.Values("Cache-Control")
		for directive := range strings.SplitSeq(strings.Join(said, ","), ",") {
			if d := strings.TrimSpace(directive); d == "private" || d == "no-store" {
				return nil
			}
		}
		return fmt.Errorf("a shared cache may keep it: Cache-Control %q", said)
	}
}
