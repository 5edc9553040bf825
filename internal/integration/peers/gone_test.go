package peers_test

import "errors"

// Signed out is signed out: a slow request is parked with its session loaded,
// the visitor signs out, and the slow one goes on.

// slowAfterSignOut plays C1 with what the slow request does.
func slowAfterSignOut(path string) func(w *world) error {
	return func(w *world) error {
		b := w.visitor()
		old := b.clone()
		slow := w.park(b.clone(), path)
		b.must("/signout")
		w.finish(slow)
		if old.read("User") == "ann" {
			return errors.New("the cookie from before the sign-out is valid again")
		}
		return nil
	}
}

func signOutBeforeWrite(w *world) error {
	b := w.visitor()
	old, elsewhere := b.clone(), b.clone().at(w.second())
	write := w.hold(isWrite)
	slow := w.start(b, "/set?k=Theme&v=dark")
	w.wait(write.Reached(), "the slow request's write")
	elsewhere.must("/signout")
	write.Open()
	w.finish(slow)
	if old.read("User") == "ann" {
		return errors.New("the cookie from before the sign-out is valid again")
	}
	return nil
}

func signedInAgain(w *world) error {
	b := w.visitor()
	slow := w.park(b, "/set?k=Theme&v=dark")
	b.must("/signout")
	w.finish(slow)
	if b.read("User") == "ann" {
		return errors.New("the slow response's cookie signs the visitor in again")
	}
	return nil
}

func signOutDuringRenewal(w *world) error {
	b := w.visitor()
	elsewhere := b.clone().at(w.second())
	write := w.hold(isWrite)
	renewal := w.start(b, "/renew")
	w.wait(write.Reached(), "the renewal's write")
	elsewhere.must("/signout")
	write.Open()
	w.finish(renewal)
	if w.holding("ann") > 0 || b.read("User") == "ann" {
		return errors.New("the renewal's session lives on")
	}
	return nil
}

func signOutWithOldToken(w *world) error {
	b := w.visitor()
	slow := w.park(b.clone(), "/signout")
	b.must("/renew")
	w.finish(slow)
	if b.read("User") == "ann" {
		return errors.New("the renewed session lives on")
	}
	return nil
}

func startAnew(w *world) error {
	b := w.visitor()
	old := b.clone()
	if a := b.get("/restart?k=User&v=bob"); a.err != nil || a.status != 200 {
		return errors.New("answered " + a.String())
	}
	switch {
	case old.read("User") != "":
		return errors.New("the old cookie belongs to the new session")
	case b.read("User") != "bob":
		return errors.New("the new session is not there")
	case b.read("Theme") != "":
		return errors.New("the new session holds a field of the old one")
	}
	return nil
}

func adoptGoneToken(w *world) error {
	b := w.visitor()
	planted, thief := b.clone(), b.clone()
	b.must("/signout")
	planted.must("/set?k=User&v=eve")
	if thief.read("User") == "eve" {
		return errors.New("a token that belonged to no session opens the next visitor's")
	}
	return nil
}
