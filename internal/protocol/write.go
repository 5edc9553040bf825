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

// A Change is what one write brings into a stored session.
type Change struct {
	// Composer makes the record to be stored.
	Composer Composer
	// RunsFunction says that Compose calls a function of the application's, as an Update does. That may
	// take its time, so each step has the time of a save instead of all together, the change may be tried
	// for twice as long, and what the function refuses is checked on what is stored now.
	RunsFunction bool
	// Until is when to give up, if it is not zero.
	Until time.Time
}

// A Composer makes of what is stored what is to be stored in its place.
type Composer interface {
	// Compose is called with what the Session has loaded, or with what another request has stored; again
	// each time another write has come in between. An error ends the write and changes nothing.
	Compose(found Found) (Proposal, error)
}

// A Proposal is what Compose wants to have stored.
type Proposal struct {
	// Record replaces the one that was found. Its Writes are the Engine's business.
	Record record.Record
	// NewToken stores it under a new token: the session is renewed.
	NewToken bool
	// Keep says that what was found is as it should be: nothing is written.
	Keep bool
}

// A Refusal is an error of the function that Compose has called, about what it was given.
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

// Write brings a change into the store in place of the record that is there, under a new token where the
// Proposal asks for one. Where another write has come in between, Compose is asked again; where the session
// has ended, it stays ended. On success the Session goes by what was written.
//
// The writers of one session in this process take turns. Each hands to the next what it has written, so
// that the next one needs one command as well. And a process with one write on its way at a time needs one
// entry in the record to recognise that write by when its reply is lost.
func (s *Session) Write(ctx context.Context, c Change) (result Result, err error) {
	e, key := s.engine, s.Key
	last, err := e.queue.Enter(key, 2*e.Timeout, c.Until)
	switch {
	case errors.Is(err, queue.ErrBusy):
		return result, s.outOfTime()
	case err != nil:
		return result, e.store.check(s.app, replacing, err)
	}
	w := writing{s: s, Change: c, began: time.Now(), name: e.writeName()}
	written := false
	defer func() {
		var down error
		if errors.Is(err, ErrUnavailable) && !w.composeFailed {
			down = fmt.Errorf("%w, as another request of this session has just found; nothing was sent", ErrUnavailable)
		}
		e.queue.Leave(key, last, written, down)
	}()
	defer func() { // after a panic too, but not where the pending copy may be all there is
		if !written && !w.claimUnanswered && (w.composeFailed || !errors.Is(err, ErrUnavailable)) {
			w.drop(ctx, s)
		}
	}()

	found := Found{Raw: s.Raw, Record: s.Record, Known: true}
	current := false // found was read during this very write
	// What the writer before has left is newer than what was loaded, unless the loaded record has its write.
	// A Layout without names of writes cannot tell: there the swap does.
	if last != nil && len(s.Record.Writes[0]) > 0 && !bytes.Equal(last, s.Raw) {
		handed, err := s.inspect(last)
		if err != nil {
			return result, err
		}
		if !s.Record.HasWrite(handed.Record.Writes[0]) {
			found = handed
		}
	}
	ctx, cancel := e.Detach(ctx)
	defer cancel()
	for try := 1; ; try++ {
		done, other, err := w.attempt(ctx, &found, try)
		switch {
		case done && w.result.Kept:
			return w.result, nil
		case done:
			last, written = w.stored.Raw, true
			w.adopt()
			return w.result, nil
		case err == nil: // another write came first
			last = other
			other, err = w.retry(ctx, other, try)
		case !current && isRefusal(err):
			other, err = w.recheck(ctx, err, &found)
		}
		if err == nil {
			last, current = other, true
			found, err = s.inspect(other)
		}
		if err != nil {
			return w.result, err
		}
	}
}

// writing is one write on its way.
type writing struct {
	s *Session
	Change
	began time.Time
	name  []byte // of this write

	stored Found // what the write has left under the session's old key, once it is done

	renewal // what it has done to give the session a new token

	lastRoundTrip time.Duration // what the last attempt took
	composeFailed bool          // the last error came from Compose, so waiting writers need not fail
	result        Result
}

// attempt brings the change into the store in place of found. If it is not done, it returns what another
// write has stored there.
func (w *writing) attempt(ctx context.Context, found *Found, try int) (done bool, other []byte, err error) {
	s, e := w.s, w.s.engine
	sent := time.Now()
	if e.TTL(&found.Record) <= 0 {
		s.app.Notice(Notice{Kind: Expired})
		_, _ = e.store.CompareAndDelete(ctx, s.app, s.Key, found.Raw[:found.Record.Prefix]) // it expires soon anyway
		return false, nil, s.End()
	}
	w.composeFailed = true // also if it panics
	p, err := w.Composer.Compose(*found)
	if err != nil {
		return false, nil, err
	}
	w.composeFailed = false
	if p.Keep {
		w.result.Kept = true
		return true, nil, nil
	}
	ctx, cancel := w.stepTime(ctx)
	defer cancel()
	defer func() { w.lastRoundTrip = time.Since(sent) }()
	if !p.NewToken {
		w.drop(ctx, s)
		return w.swap(ctx, found, p.Record)
	}
	if err = w.prepare(ctx, s, p.Record); err != nil {
		return false, nil, err
	}
	if try > 1 && ctx.Err() != nil {
		return false, nil, s.outOfTime()
	}
	w.stored.Raw, done, other, err = w.claim(ctx, s, found)
	return done, other, err
}

// stepTime is the time of one step. A save has one time for all of them; in an Update the function takes
// some of it, so each step has its own.
func (w *writing) stepTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if !w.RunsFunction {
		return ctx, func() {}
	}
	return w.s.engine.Detach(ctx)
}

// timeLimit is how long the change is tried.
func (w *writing) timeLimit() time.Duration {
	if w.RunsFunction {
		return 2 * w.s.engine.Timeout
	}
	return w.s.engine.Timeout
}

// swap writes rec in place of found. What it finds there instead is another process's write: its own is
// recognised by its name, if only its reply was lost.
func (w *writing) swap(ctx context.Context, found *Found, rec record.Record) (done bool, other []byte, err error) {
	s, e := w.s, w.s.engine
	rec.AddWrite(w.name)
	next := &w.stored
	if next.Raw, next.Record, err = e.Seal(rec); err != nil {
		return false, nil, err
	}
	ttl := e.TTL(&next.Record)
	if ttl <= 0 { // its time ran out while Compose was running
		return false, nil, s.End()
	}
	other, err = e.store.CompareAndSwap(ctx, s.app, s.Key, found.Raw[:found.Record.Prefix], next.Raw, ttl)
	switch {
	case err == nil:
		return true, nil, nil
	case errors.Is(err, ErrNotFound):
		return false, nil, s.End()
	case errors.Is(err, ErrUnavailable):
		w.result.Unconfirmed = Unconfirmed{Name: w.name, Raw: next.Raw}
		return false, nil, unsure(err)
	case !errors.Is(err, ErrConflict):
		return false, nil, err
	}
	there, err := e.Layout.Open(other)
	// Where records have no names of writes, equal bytes are as good; but two Updates may write equal bytes.
	if err == nil && there.HasWrite(w.name) || !w.RunsFunction && bytes.Equal(other, next.Raw) {
		return true, nil, nil
	}
	return false, other, nil
}

// adopt makes what was written the session's.
func (w *writing) adopt() {
	s, stored := w.s, &w.stored
	if w.copied != nil {
		s.Token, s.Key, stored = w.copied.token, w.copied.key, &w.copied.Found
		w.result.Renewed = true
	}
	s.Adopt(stored, s.engine.TTL(&stored.Record))
}

// recheck returns what is stored now, or the refusal if that is what the function has refused: what the
// request had loaded may be out of date.
func (w *writing) recheck(ctx context.Context, refusal error, found *Found) ([]byte, error) {
	ctx, cancel := w.s.engine.Detach(ctx)
	defer cancel()
	raw, _, err := w.s.fetch(ctx, 0)
	w.composeFailed = err == nil && bytes.Equal(raw, found.Raw)
	if w.composeFailed {
		err = refusal
	}
	return raw, err
}

// minPause is the shortest pause that is worth a timer.
const minPause = 100 * time.Microsecond

// retry returns what to try on: what was found, and from the second time on what is there after a pause.
// Pauses begin at a round trip, grow, and are drawn at random, so that of several processes each gets in
// between the others. A writer that has used half of its time pauses no more, and so comes before those that
// have just begun.
func (w *writing) retry(ctx context.Context, found []byte, try int) ([]byte, error) {
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
	ctx, cancel := w.stepTime(ctx)
	defer cancel()
	found, _, err := w.s.fetch(ctx, 0)
	return found, err
}

// outOfTime is the end of a writer whose time is up.
func (s *Session) outOfTime() error {
	s.app.Notice(Notice{Kind: OutOfTime, Err: ErrConflict})
	return ErrConflict
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
	return ok
}
