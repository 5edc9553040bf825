package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/typedsessions/sessions/internal/queue"
	"github.com/typedsessions/sessions/internal/record"
)

// A Change is one write of a stored session.
type Change struct {
	// Composer makes the record to be stored.
	Composer Composer
	// RunsFunction says that Compose calls a function of the application's, as an Update does. That may take
	// long, so each step has the time of a save instead of all together, and the change may be tried for
	// twice as long.
	RunsFunction bool
	// KeepsTime says that the store forgets the record when it would have done so anyway. It needs Owners, and a
	// Proposal without NewToken.
	KeepsTime bool
	// Until is when to give up, if it is not zero.
	Until time.Time
}

// A Composer makes the record to store from the one that is stored.
type Composer interface {
	// Compose is called with what the Session has loaded, or with what another request has stored. It is
	// called once more each time another write came first. An error ends the write and changes nothing.
	Compose(found Found) (Proposal, error)
}

// A Proposal is what Compose wants to have stored.
type Proposal struct {
	// Record replaces the one that was found. The Engine sets its Writes.
	Record record.Record
	// NewToken stores it under a new token: the session is renewed.
	NewToken bool
	// Keep says that the record that was found stays: nothing is written.
	Keep bool
}

// A Refusal is an error of the function that Compose has called. The function may have refused a record that
// is out of date, so Write looks whether another one is stored now, and then calls Compose with that.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }

// A Result tells what has become of a write.
type Result struct {
	// Renewed says that the session has a new token.
	Renewed bool
	// Kept says that nothing was written, because Compose said Keep.
	Kept bool
	// Unconfirmed is the write that was sent and not answered, in place of the record; it may be stored. It
	// is the zero Unconfirmed if there is none.
	Unconfirmed Unconfirmed
}

// Unconfirmed is a write that was sent and not answered.
type Unconfirmed struct{ Name, Raw []byte }

// In tells whether the write is in a record that was found later.
func (u *Unconfirmed) In(f *Found) bool { return f.Record.HasWrite(u.Name) }

// Last tells whether a record that was found later is just what the write has stored.
func (u *Unconfirmed) Last(f *Found) bool { return bytes.Equal(f.Raw, u.Raw) }

// Write stores a change in place of the record that is there, under a new token if the Proposal asks for one.
// If another write came first, Compose is called again. If the session has ended, it stays ended. On success
// the Session has what was written as its record.
//
// The writers of one session in this process take turns. Each hands to the next what it has written, so that
// the next one needs one command as well. Since a process has one write of a session on its way at a time,
// one entry in the record is enough to recognise that write when its reply is lost.
func (s *Session) Write(ctx context.Context, c Change) (result Result, err error) {
	e, key := s.engine, s.Key
	last, err := e.queue.Enter(key, 2*e.Timeout, c.Until)
	switch {
	case errors.Is(err, queue.ErrBusy):
		return result, s.outOfTime()
	case err != nil:
		s.app.Notice(Notice{Kind: Unavailable, Err: err}) // of a writer before, the only error that is handed on
		return result, err
	}
	w := pendingWrite{s: s, Change: c, began: time.Now(), name: e.writeName()}
	wrote := false
	defer func() {
		var waitersErr error
		if errors.Is(err, ErrUnavailable) && !w.composeFailed {
			waitersErr = fmt.Errorf("%w, as another request of this session has just found; nothing was sent", ErrUnavailable)
		}
		e.queue.Leave(key, last, wrote, waitersErr)
	}()
	// After a panic too, but not after a swap for the mark that was not answered, or that a confirmation has followed:
	// the copy may be the only record.
	defer func() {
		if !wrote && !w.markUnanswered && (w.composeFailed || !unanswered(err)) {
			w.deleteCopy(ctx, s)
		}
	}()

	found := Found{Raw: s.Raw, Record: s.Record, Own: true}
	readInThisWrite := false // found was
	// What the writer before has left is newer than what was loaded, unless the loaded record has its write.
	// Without names of writes in the record only the swap can tell.
	if last != nil && len(s.Record.Writes[0]) > 0 && !bytes.Equal(last, s.Raw) {
		handed, err := s.openUnlessMark(last)
		if err != nil {
			return result, s.noteIfGone(err)
		}
		if !s.Record.HasWrite(handed.Record.Writes[0]) {
			found = handed
		}
	}
	saving := e.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	for try := 1; ; try++ {
		done, other, err := w.attempt(ctx, &found, try)
		switch {
		case done && w.result.Kept:
			return w.result, nil
		case done:
			last, wrote = w.written.Raw, true
			w.adopt()
			// If it has ended since, it was written all the same.
			if errors.Is(s.relist(ctx, s.Key, &Found{Raw: s.Raw, Record: s.Record}, time.Until(s.Expires)), errRevoked) {
				return w.result, s.NoteEnded()
			}
			return w.result, nil
		case err == nil: // another write came first
			last = other
			other, err = w.retry(ctx, other, try)
		case !readInThisWrite && isRefusal(err):
			other, err = w.recheck(ctx, err, &found)
		}
		if err == nil {
			last, readInThisWrite = other, true
			found, err = s.openUnlessMark(other)
		}
		if err != nil {
			return w.result, s.noteIfGone(err)
		}
	}
}

// A pendingWrite is a write that has begun and is not done.
type pendingWrite struct {
	s *Session
	Change
	began time.Time
	name  []byte // of this write

	// written is what the write has left under the session's old key. It is valid only when the write is
	// done. For a renewal only Raw is set: the mark.
	written Found
	// keptUntil is how long another program has wanted the store to keep the session, if the write must not shorten it.
	keptUntil time.Time

	renewal // what the write has done to give the session a new token

	lastRoundTrip time.Duration // what the last attempt took
	// composeFailed says that the last error came from Compose, so waiting writers need not fail. It is true
	// while Compose runs, because Compose may panic.
	composeFailed bool
	result        Result
}

// attempt stores the change in place of found. If it is not done, it returns what another write has stored
// there.
func (w *pendingWrite) attempt(ctx context.Context, found *Found, try int) (done bool, other []byte, err error) {
	s, e := w.s, w.s.engine
	began := time.Now()
	if e.TTL(&found.Record) <= 0 {
		s.app.Notice(Notice{Kind: Expired})
		_, _ = s.remove(ctx, s.Key, found.Raw[:found.Record.Prefix], &found.Record) // it expires soon anyway
		return false, nil, s.NoteEnded()
	}
	w.composeFailed = true
	p, err := w.Composer.Compose(*found)
	if err != nil {
		return false, nil, err
	}
	w.composeFailed = false
	if p.Keep {
		w.result.Kept = true
		return true, nil, nil
	}
	ctx, cancel := w.stepContext(ctx)
	defer cancel()
	defer func() { w.lastRoundTrip = time.Since(began) }()
	if !p.NewToken {
		w.deleteCopy(ctx, s)
		return w.swap(ctx, found, p.Record)
	}
	w.written.Raw, done, other, err = w.renew(ctx, s, found, p.Record, func() bool { return try > 1 && ctx.Err() != nil })
	return done, other, err
}

// stepContext returns a context with the time of one step. A save has one time for all of them; in an Update
// the function takes some of it, so each step has its own.
func (w *pendingWrite) stepContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if !w.RunsFunction {
		return ctx, func() {}
	}
	saving := w.s.engine.SaveContext(ctx)
	return saving, saving.Stop
}

// timeLimit is how long the change is tried.
func (w *pendingWrite) timeLimit() time.Duration {
	if w.RunsFunction {
		return 2 * w.s.engine.Timeout
	}
	return w.s.engine.Timeout
}

// swap writes rec in place of found. If it finds other data, it looks for its own name there: only the reply
// may have been lost. Otherwise another write came first. A CompareAndSwap never creates a record, so a
// session that has ended stays ended.
func (w *pendingWrite) swap(ctx context.Context, found *Found, rec record.Record) (done bool, other []byte, err error) {
	s, e := w.s, w.s.engine
	rec.AddWrite(w.name)
	next := &w.written
	if next.Raw, next.Record, err = e.Seal(rec); err != nil {
		return false, nil, err
	}
	ttl := e.TTL(&next.Record)
	if ttl <= 0 { // its time ran out while Compose was running
		return false, nil, s.NoteEnded()
	}
	w.keptUntil = time.Time{}
	if s.byRecord && e.idle(&found.Record) == e.idle(&s.Record) {
		w.keptUntil = s.Expires
	}
	other, err = w.replace(ctx, found, max(ttl, time.Until(w.keptUntil)))
	switch {
	case err == nil:
		return true, nil, nil
	case errors.Is(err, ErrNotFound):
		return false, nil, s.NoteEnded()
	case unanswered(err):
		w.result.Unconfirmed = Unconfirmed{Name: w.name, Raw: next.Raw}
		return false, nil, maybeStored(err)
	case !errors.Is(err, ErrConflict):
		return false, nil, err
	}
	current, err := e.Layout.Open(other)
	// Without names of writes in the record, equal bytes are as good. But two Updates may write equal bytes.
	if err == nil && current.HasWrite(w.name) || !w.RunsFunction && bytes.Equal(other, next.Raw) {
		return true, nil, nil
	}
	return false, other, nil
}

// replace is the swap for what is written, which the store then forgets after ttl.
func (w *pendingWrite) replace(ctx context.Context, found *Found, ttl time.Duration) (other []byte, err error) {
	s, e := w.s, w.s.engine
	prefix := found.Raw[:found.Record.Prefix]
	if !w.KeepsTime {
		return e.store.CompareAndSwap(ctx, s.app, s.Key, prefix, w.written.Raw, ttl)
	}
	p := record.Placement{Old: s.Key, OldPrefix: prefix, OldData: w.written.Raw}
	p.Index, _ = e.indexOf(string(found.Record.Owner))
	placed, err := e.store.Place(ctx, s.app, p)
	return placed.Current, err
}

// adopt makes what was written the session's.
func (w *pendingWrite) adopt() {
	s, found := w.s, &w.written
	if w.next != nil {
		s.Token, s.Key, found = w.next.token, w.next.key, &w.next.Found
		w.result.Renewed, w.keptUntil = true, time.Time{}
	}
	s.Adopt(found, max(s.engine.TTL(&found.Record), time.Until(w.keptUntil)))
	s.Touched = true
}

// recheck returns what is stored now, because what the function has refused may be out of date. If it is not,
// recheck returns the refusal.
func (w *pendingWrite) recheck(ctx context.Context, refusal error, found *Found) ([]byte, error) {
	saving := w.s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	raw, _, err := w.s.fetch(ctx, 0)
	w.composeFailed = err == nil && bytes.Equal(raw, found.Raw)
	if w.composeFailed {
		err = refusal
	}
	return raw, err
}

// retry returns the data that the next attempt replaces: what was found, and from the second time on what is
// there after a pause. Pauses begin at a round trip, grow, and are drawn at random, so that each process
// finds a moment when nobody else writes. A writer that has used half of its time pauses no more, and so
// comes before those that have just begun.
func (w *pendingWrite) retry(ctx context.Context, found []byte, try int) ([]byte, error) {
	end := w.began.Add(w.timeLimit())
	if !w.Until.IsZero() && w.Until.Before(end) {
		end = w.Until
	}
	pause := time.Duration(0)
	if try > 1 && time.Since(w.began) < w.timeLimit()/2 {
		pause = rand.N(min(max(w.lastRoundTrip, minPause)<<min(try-1, 10), w.s.engine.Timeout/16))
	}
	need := pause
	if !w.RunsFunction {
		need += w.lastRoundTrip
		if pause > 0 {
			need += w.lastRoundTrip
		}
	}
	if time.Until(end) <= need {
		return found, w.s.outOfTime()
	}
	if pause == 0 {
		return found, nil
	}
	time.Sleep(pause)
	ctx, cancel := w.stepContext(ctx)
	defer cancel()
	found, _, err := w.s.fetch(ctx, 0)
	return found, err
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
	return ok
}
