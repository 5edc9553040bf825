package protocol

import (
	"context"
	"errors"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A renewal gives the session a new token in two steps: it stores a copy under the new key, then it swaps the
// old record for a mark that names the copy.
//
// The swap decides which token is valid. After a crash before it the old token is valid and nobody knows the
// copy's token. The new token is sent to the client only after the swap. Only one renewal can win: each mark
// names a different new key.
type renewal struct {
	copy *pendingCopy // the record under the new key, if there is one
	// markUnanswered says that the swap for the mark was sent, and that no answer has told yet that it failed:
	// the copy may have taken the record's place. It implies a copy.
	markUnanswered bool
}

// A pendingCopy is the record under the new key, as long as no mark names it.
type pendingCopy struct {
	token, key string
	Found
}

// storeCopy stores rec under a new key, or in place of the copy that is there.
func (r *renewal) storeCopy(ctx context.Context, s *Session, rec record.Record) error {
	e, c := s.engine, r.copy
	if c == nil {
		token, key, created, err := s.createUnderNewToken(ctx, rec)
		if err == nil {
			r.copy = &pendingCopy{token, key, created}
		}
		return err
	}
	name := e.writeName()
	rec.AddWrite(name)
	raw, rec, err := e.Seal(rec)
	if err != nil {
		return err
	}
	found, err := e.store.CompareAndSwap(ctx, s.app, c.key, c.Raw[:c.Record.Prefix], raw, e.TTL(&rec))
	if errors.Is(err, ErrConflict) {
		if current, openErr := e.Layout.Open(found); openErr == nil && current.HasWrite(name) {
			err = nil // only the reply was lost
		}
	}
	switch {
	case err == nil:
		r.copy = &pendingCopy{c.token, c.key, Found{Raw: raw, Record: rec}}
	case errors.Is(err, ErrNotFound): // the store has evicted it
		r.copy = nil
		return r.storeCopy(ctx, s, rec)
	}
	return err
}

// deleteCopy deletes the copy that no mark will name. If that fails, the copy expires.
func (r *renewal) deleteCopy(ctx context.Context, s *Session) {
	if r.copy != nil {
		ctx, cancel := s.engine.SaveContext(ctx)
		defer cancel()
		_ = s.engine.store.Delete(ctx, s.app, r.copy.key)
		r.copy = nil
	}
}

// swapForMark swaps the old record for the mark and returns the mark, or the data that another write has
// stored there. The mark keeps the names of the record's writes: a writer whose reply was lost still finds
// its name here, and its change is in the copy.
func (r *renewal) swapForMark(ctx context.Context, s *Session, found *Found) (mark []byte, done bool, other []byte, err error) {
	e, c := s.engine, r.copy
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
		other, err = e.store.CompareAndSwap(ctx, s.app, s.Key, found.Raw[:found.Record.Prefix], mark, markTTL)
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
