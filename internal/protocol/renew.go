package protocol

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A renewal gives the session a new token: the record is stored under the new key, and the old record is swapped for a
// mark that names it.
//
// The swap decides which token is valid. After a crash before it the old token is valid and nobody knows the new
// record's token. The new token is sent to the client only after the swap. Only one renewal can win: each mark
// names a different new key.
//
// Where the old and the new key are in one slot, because both are of sessions that their owner's index lists, all of it
// is one step. Otherwise the record is stored first, as a copy. If its owner's index is to list it, the copy lives as
// long as a mark and is not listed, unless that reserves its place; a third step, after the swap, confirms it: the copy
// becomes the session, and is listed. If the copy is not there any more, the session has ended: the store has evicted it,
// or somebody who has followed the mark has ended it. So it has if it began before its owner's sessions were revoked. A
// user who signs in gets a session of their own then. After a crash between the two neither token is valid.
type renewal struct {
	next   *underToken // the record under its new key
	stored bool        // as a copy that no mark names yet
	// markUnanswered says that the swap for the mark was sent, and that no answer has told yet that it failed:
	// next may have taken the record's place.
	markUnanswered bool
}

// renew runs all steps of a renewal. If another write came first, done is false, and other is what that has stored.
func (r *renewal) renew(ctx context.Context, s *Session, found *Found, rec record.Record, late func() bool) (mark []byte, done bool, other []byte, err error) {
	if s.engine.entryOf(&found.Record, s.Key).index != "" && bytes.Equal(rec.Owner, found.Record.Owner) {
		r.deleteCopy(ctx, s)
		if r.next, err = s.engine.underNewToken(rec); err != nil {
			return nil, false, nil, err
		}
		return r.swapForMark(ctx, s, found)
	}
	if err = r.storeCopy(ctx, s, rec); err != nil {
		return nil, false, nil, err
	}
	if late() {
		return nil, false, nil, s.outOfTime()
	}
	if mark, done, other, err = r.swapForMark(ctx, s, found); done {
		err = r.confirm(ctx, s)
	}
	return mark, done && err == nil, other, err
}

// storeAsCopy stores the record of a renewal in several steps. With [ErrExists] it returns what is under the key.
func (s *Session) storeAsCopy(ctx context.Context, c *underToken) (current []byte, err error) {
	e := s.engine
	if !e.reserves(c) {
		return s.storeUnlisted(ctx, c, e.copyTTL(&c.Record, c.key))
	}
	p := e.placement(e.entryOf(&c.Record, c.key), c.key, &c.Found, markTTL)
	answer, err := s.placeWithinLimit(ctx, c.Record.Owner, p)
	return answer.Current, err
}

// reserves tells whether the copy reserves a place within the limit of its owner.
func (e *Engine) reserves(c *underToken) bool {
	return e.MaxPerOwner > 0 && e.RejectAtLimit && e.entryOf(&c.Record, c.key).index != ""
}

// copyTTL is how long a copy lives that is not confirmed.
func (e *Engine) copyTTL(rec *record.Record, key string) time.Duration {
	if e.entryOf(rec, key).index != "" {
		return markTTL
	}
	return e.TTL(rec) // it needs no confirmation
}

// confirm makes the copy the session, for as long as that lives, and lists it. It is on condition of the copy, for one
// that arrives late must bring nothing back.
func (r *renewal) confirm(ctx context.Context, s *Session) error {
	e, c := s.engine, r.next
	at, ttl := e.entryOf(&c.Record, c.key), e.TTL(&c.Record)
	if at.index == "" {
		return nil
	}
	if ttl <= 0 {
		return s.NoteEnded()
	}
	saving := e.SaveContext(ctx) // nothing is left to give up for: the old token is not valid any more
	defer saving.Stop()
	ctx = saving
	p := e.placement(at, c.key, &c.Found, ttl)
	p.New, p.NewData, p.NewTTL = "", nil, 0
	p.Old, p.OldPrefix, p.OldData, p.OldTTL = c.key, c.Raw[:c.Record.Prefix], c.Raw, ttl
	for lost := 0; ; lost++ {
		var err error
		if e.reserves(c) { // it counts already
			_, err = e.store.Place(ctx, s.app, p)
		} else {
			_, err = s.placeWithinLimit(ctx, c.Record.Owner, p)
		}
		switch {
		case unanswered(err) && lost < 2 && ctx.Err() == nil:
			continue
		case errors.Is(err, ErrNotFound):
			r.markUnanswered = false // what is left of the copy is of no use
			return s.NoteEnded()
		}
		return maybeStored(err)
	}
}

// storeCopy stores rec as a copy, or in place of the copy that is there.
func (r *renewal) storeCopy(ctx context.Context, s *Session, rec record.Record) error {
	e, c := s.engine, r.next
	if c == nil || !r.stored || !bytes.Equal(c.Record.Owner, rec.Owner) {
		r.deleteCopy(ctx, s)
		created, err := s.createUnderNewToken(ctx, rec, (*Session).storeAsCopy)
		if err == nil {
			r.next, r.stored = created, true
		}
		return err
	}
	name := e.writeName()
	rec.AddWrite(name)
	raw, rec, err := e.Seal(rec)
	if err != nil {
		return err
	}
	ttl := e.copyTTL(&rec, c.key)
	if ttl <= 0 {
		return s.NoteEnded()
	}
	found, err := e.store.CompareAndSwap(ctx, s.app, c.key, c.Raw[:c.Record.Prefix], raw, ttl)
	if errors.Is(err, ErrConflict) {
		if current, openErr := e.Layout.Open(found); openErr == nil && current.HasWrite(name) {
			err = nil // only the reply was lost
		}
	}
	switch {
	case err == nil:
		r.next = &underToken{c.token, c.key, Found{Raw: raw, Record: rec}}
	case errors.Is(err, ErrNotFound): // the store has evicted it
		r.next, r.stored = nil, false
		return r.storeCopy(ctx, s, rec)
	}
	return err
}

// deleteCopy deletes the copy that no mark will name. If that fails, the copy expires.
func (r *renewal) deleteCopy(ctx context.Context, s *Session) {
	if r.stored {
		saving := s.engine.SaveContext(ctx)
		defer saving.Stop()
		ctx = saving
		if s.engine.reserves(r.next) {
			_, _ = s.remove(ctx, r.next.key, nil, &r.next.Record)
		} else {
			_ = s.engine.store.Delete(ctx, s.app, r.next.key)
		}
	}
	r.next, r.stored = nil, false
}

// swapForMark swaps the old record for the mark and returns the mark, or the data that another write has
// stored there. The mark keeps the names of the record's writes: a writer whose reply was lost still finds
// its name here, and its change is in the new record.
func (r *renewal) swapForMark(ctx context.Context, s *Session, found *Found) (mark []byte, done bool, other []byte, err error) {
	e, c := s.engine, r.next
	rec := record.Record{ID: c.Record.ID, Writes: found.Record.Writes, Created: time.Now(), Successor: []byte(c.key)}
	if len(c.Record.Writes[0]) > 0 {
		rec.AddWrite(c.Record.Writes[0])
	}
	mark, err = e.Layout.Seal(rec) // nil for a Layout without marks: then the old record is deleted
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, false, nil, err
	}
	r.markUnanswered = true
	var lostErr error // of a swap that may have been applied
	for lost := 0; ; lost++ {
		other, err = r.swap(ctx, s, found, mark)
		switch {
		case err == nil:
			return mark, true, nil, nil
		case unanswered(err) && lost < 2 && ctx.Err() == nil:
			lostErr = err
			continue // the answer to a second swap tells
		case unanswered(err):
			return nil, false, nil, maybeStored(err)
		case lostErr != nil && errors.Is(err, ErrUnavailable): // this one was refused, which tells nothing of the first
			return nil, false, nil, maybeStored(lostErr)
		}
		r.markUnanswered = false
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, false, nil, s.NoteEnded()
		case !errors.Is(err, ErrConflict):
			return nil, false, nil, err
		}
		if current, err := e.Layout.Open(other); err == nil && string(current.Successor) == c.key {
			return other, true, nil, nil // it is our own mark, and only the reply was lost
		}
		return nil, false, other, nil
	}
}

// swap puts the mark in the old record's place, and does with the indexes what belongs to the same step.
func (r *renewal) swap(ctx context.Context, s *Session, found *Found, mark []byte) (other []byte, err error) {
	e := s.engine
	prefix, from := found.Raw[:found.Record.Prefix], e.entryOf(&found.Record, s.Key)
	if from.index == "" {
		return e.store.CompareAndSwap(ctx, s.app, s.Key, prefix, mark, markTTL)
	}
	p := record.Placement{Index: from.index}
	if !r.stored { // the new record takes the old one's place
		ttl := e.TTL(&r.next.Record)
		if ttl <= 0 {
			return nil, ErrNotFound // its time has run out meanwhile
		}
		p = e.placement(e.entryOf(&r.next.Record, r.next.key), r.next.key, &r.next.Found, ttl)
	}
	p.Old, p.OldPrefix, p.OldData, p.OldTTL, p.Remove = s.Key, prefix, mark, markTTL, from.member
	answer, err := e.store.Place(ctx, s.app, p)
	if errors.Is(err, ErrExists) {
		err = errDrawnAgain
	} else if err == nil && !r.stored {
		e.listed.note(r.next.key)
	}
	return answer.Current, err
}
