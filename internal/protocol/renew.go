package protocol

import (
	"context"
	"errors"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A renewal gives the session a new token in two steps: it stores a copy under the new key, then it swaps
// the old record for a mark that names the copy. The swap decides. A crash before it leaves the old token
// valid, and a copy that nobody can reach; after it the new token is valid, and it leaves the process only
// then. Only one renewal can win: each mark names a different new key.

// markTTL is how long a mark stands under the old token's key.
const markTTL = 10 * time.Second

// A renewal is on its way from one token to another.
type renewal struct {
	copied *pendingCopy // the record under the new key, if there is one
	// claimUnanswered says that nobody knows whether the copy has taken the record's place.
	claimUnanswered bool
}

// A pendingCopy is the record under the new key, which nobody knows yet.
type pendingCopy struct {
	token, key string
	Found
}

// prepare stores rec under a new key, or brings the copy that is there up to date.
func (r *renewal) prepare(ctx context.Context, s *Session, rec record.Record) error {
	e, c := s.engine, r.copied
	if c == nil {
		token, key, created, err := s.mint(ctx, rec)
		if err == nil {
			r.copied = &pendingCopy{token, key, created}
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
		if there, bad := e.Layout.Open(found); bad == nil && there.HasWrite(name) {
			err = nil // only the reply was lost
		}
	}
	switch {
	case err == nil:
		r.copied = &pendingCopy{c.token, c.key, Found{Raw: raw, Record: rec}}
	case errors.Is(err, ErrNotFound): // the store has evicted it
		r.copied = nil
		return r.prepare(ctx, s, rec)
	}
	return err
}

// drop deletes a copy that nobody will reach. If that fails, the copy expires.
func (r *renewal) drop(ctx context.Context, s *Session) {
	if r.copied != nil {
		ctx, cancel := s.engine.Detach(ctx)
		defer cancel()
		_ = s.engine.store.Delete(ctx, s.app, r.copied.key)
		r.copied = nil
	}
}

// claim swaps the old record for the mark and returns the mark, or the data that another write has stored
// there. The mark keeps the names of the record's writes: what they wrote has gone along.
func (r *renewal) claim(ctx context.Context, s *Session, found *Found) (mark []byte, done bool, other []byte, err error) {
	e, c := s.engine, r.copied
	rec := record.Record{ID: c.Record.ID, Writes: found.Record.Writes, Created: time.Now(), Successor: []byte(c.key)}
	if len(c.Record.Writes[0]) > 0 {
		rec.AddWrite(c.Record.Writes[0])
	}
	mark, err = e.Layout.Seal(rec) // nil for a Layout without marks: then the old record is deleted
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, false, nil, err
	}
	r.claimUnanswered = true
	for lost := 0; ; lost++ {
		other, err = e.store.CompareAndSwap(ctx, s.app, s.Key, found.Raw[:found.Record.Prefix], mark, markTTL)
		switch {
		case err == nil:
			return mark, true, nil, nil
		case errors.Is(err, ErrUnavailable) && lost < 2 && ctx.Err() == nil:
			continue // it may have been applied: asking again tells
		case errors.Is(err, ErrUnavailable):
			return nil, false, nil, unsure(err)
		}
		r.claimUnanswered = false
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, false, nil, s.End()
		case !errors.Is(err, ErrConflict):
			return nil, false, nil, err
		}
		if there, err := e.Layout.Open(other); err == nil && string(there.Successor) == c.key {
			return other, true, nil, nil // the reply to our own claim was lost
		}
		return nil, false, other, nil
	}
}
