package peers_test

import (
	"errors"
	"fmt"
	"net/http"
)

// A sign-in is a proof of who the user is, whatever has become of the session from before.

// anonymous is a browser whose session nobody has signed in to yet.
func (w *world) anonymous() *browser {
	w.t.Helper()
	b := w.browser()
	b.must("/set?k=Theme&v=plain")
	return b
}

func twoSignIns(w *world) error {
	b := w.anonymous()
	first, second := b.clone(), b.clone()
	for _, v := range []*visit{w.park(first, "/signin?v=ann"), w.park(second, "/signin?v=ann")} {
		if a := w.finish(v); a.status != 200 {
			return fmt.Errorf("one of two sign-ins answers %s", a)
		}
	}
	if first.read("User") != "ann" || second.read("User") != "ann" {
		return errors.New("the cookie of one of two sign-ins is refused")
	}
	return nil
}

func signInAfterSignOut(w *world) error {
	b := w.anonymous()
	old, tab := b.clone(), b.clone()
	slow := w.park(tab, "/signin?v=ann")
	b.must("/signout")
	if a := w.finish(slow); a.status != 200 {
		return fmt.Errorf("the sign-in answers %s", a)
	}
	if old.read("User") == "ann" {
		return errors.New("the cookie from before the sign-out is the user's")
	}
	return has(tab, "User", "ann")
}

// signInBesideAnother plays L21: eve's cookie is sent before the visitor's own, as an older one is, or one with a
// longer Path (RFC 6265, section 5.4).
func signInBesideAnother(w *world) error {
	eve := w.browser()
	eve.must("/set?k=User&v=eve")
	b := w.anonymous()
	b.transport = before{eve.cookies(), b.transport}
	b.must("/signin?v=ann")
	return has(b, "User", "ann")
}

// before sends a cookie before those of the browser.
type before struct {
	cookie string
	http.RoundTripper
}

func (t before) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	cookies := t.cookie
	if own := r.Header.Get("Cookie"); own != "" {
		cookies += "; " + own
	}
	r.Header.Set("Cookie", cookies)
	return t.RoundTripper.RoundTrip(r)
}
