package peers_test

import (
	"errors"
	"fmt"
)

// A renewal gives the session a new token. Slow requests that were loaded by
// the old one are still on their way.

func slowAfterRenewal(w *world) error {
	b := w.visitor()
	old := b.clone()
	slow := w.park(b.clone(), "/set?k=Theme&v=dark")
	b.must("/renew")
	w.finish(slow)
	switch {
	case old.read("User") != "":
		return errors.New("the old token is valid again")
	case b.read("User") != "ann":
		return errors.New("the new token is not")
	}
	return nil
}

// cookieAfterRenewal plays C14 with what the slow request does.
func cookieAfterRenewal(path string) func(w *world) error {
	return func(w *world) error {
		b := w.visitor()
		slow := w.park(b, path)
		b.must("/renew")
		if c := w.finish(slow).header["Set-Cookie"]; len(c) > 0 {
			return errors.New("the slow response overwrites the browser's new cookie")
		}
		return nil
	}
}

func twoRenewals(w *world) error {
	b := w.visitor()
	other := b.clone()
	slow := w.park(other, "/renew")
	b.must("/renew")
	w.finish(slow)
	if n := w.holding("ann"); n != 1 {
		return fmt.Errorf("%d sessions of the user", n)
	}
	if b.read("User") != "ann" && other.read("User") != "ann" {
		return errors.New("nobody has the token of the session")
	}
	return nil
}

func renewed(w *world) error {
	b := w.visitor()
	old := b.clone()
	b.must("/renew")
	switch {
	case old.read("User") != "":
		return errors.New("the old token is still valid")
	case b.read("User") != "ann":
		return errors.New("the data is gone")
	}
	return nil
}

func renewalFails(w *world) error {
	b := w.visitor()
	old := b.clone()
	w.refuse()
	b.get("/renew")
	w.mend()
	if old.read("User") != "ann" && b.read("User") != "ann" {
		return errors.New("neither the old token nor the new one is valid")
	}
	return nil
}
