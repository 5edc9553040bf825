package peers_test

import (
	"fmt"
	"time"

	"github.com/typedsessions/sessions/internal/redistest"
)

// Redis applies a command and its reply gets lost, or it does not answer, or
// the client hangs up.

func lostReplyToCreate(w *world) error {
	b := w.browser()
	writes := w.onWrites(redistest.DropReply)
	a := b.get("/set?k=User&v=ann")
	if writes.Load() == 0 {
		w.t.Fatal("nothing was written")
	}
	if a.status != 200 {
		return fmt.Errorf("%d record(s) stored, and the visitor is told %s", w.holding("ann"), a)
	}
	if n := w.holding("ann"); n != 1 {
		return fmt.Errorf("%d records", n)
	}
	return has(b, "User", "ann")
}

func lostReplyToChange(w *world) error {
	b := w.visitor()
	writes := w.onWrites(redistest.DropReply)
	a := b.get("/set?k=Theme&v=dark")
	if writes.Load() == 0 {
		w.t.Fatal("nothing was written")
	}
	if a.status != 200 {
		return fmt.Errorf("the theme is %s, and the visitor is told %s", b.read("Theme"), a)
	}
	return has(b, "User", "ann", "Theme", "dark")
}

// lostReplyOvertaken parks the repetition, if there is one, until another
// server has written.
func lostReplyOvertaken(w *world) error {
	b := w.visitor()
	elsewhere := b.clone().at(w.second())
	again := redistest.NewGate()
	w.t.Cleanup(again.Open)
	w.onWrites(redistest.DropReply, redistest.Before(again))
	slow := w.start(b, "/set?k=Theme&v=dark")
	select {
	case <-again.Reached():
	case a := <-slow.answered: // it was not repeated
		if a.status != 200 {
			return fmt.Errorf("the visitor is told %s", a)
		}
		slow.answered <- a
	case <-time.After(deadlock):
		w.t.Fatal("neither an answer nor a repetition")
	}
	elsewhere.must("/set?k=Lang&v=de")
	again.Open()
	if a := w.finish(slow); a.status != 200 {
		return fmt.Errorf("the visitor is told %s", a)
	}
	return has(b, "User", "ann", "Theme", "dark", "Lang", "de")
}

func failedLoad(w *world) error {
	b := w.visitor()
	later := b.clone()
	w.each(isRead, redistest.Close)
	b.get("/set?k=Theme&v=dark")
	w.mend()
	return has(later, "User", "ann")
}

func hangUpBeforeSave(w *world) error {
	b := w.visitor()
	v := w.park(b, "/set?k=Theme&v=dark")
	w.abandon(v, v.open)
	return has(b, "User", "ann", "Theme", "dark")
}

func hangUpMidSave(w *world) error {
	b := w.visitor()
	write := w.hold(isWrite)
	v := w.start(b, "/set?k=Theme&v=dark")
	w.wait(write.Reached(), "the write")
	w.abandon(v, write.Open)
	return has(b, "User", "ann", "Theme", "dark")
}

// bounded is more than twice what an answer may take with a Timeout of 1 s,
// and less than what go-redis reads by default.
const bounded = 2500 * time.Millisecond

func everything([]string) bool { return true }

func hangingLoad(w *world) error {
	b := w.visitor()
	g := w.hold(everything)
	defer g.Open()
	_, err := w.within(w.start(b, "/read?k=User"), bounded)
	return err
}

func hangingSaves(w *world) error {
	b := w.visitor()
	var writers []*visit
	for range 10 {
		writers = append(writers, w.park(b.clone(), "/set?k=Theme&v=dark"))
	}
	g := w.hold(everything)
	defer g.Open()
	w.hall.openAll()
	end := time.Now().Add(bounded)
	for _, v := range writers {
		if _, err := w.within(v, time.Until(end)); err != nil {
			return fmt.Errorf("not all of ten writers are answered after %v", bounded)
		}
	}
	return nil
}
