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

// A pendingCopy is the record under the new key, which nobody knows yet.
type pendingCopy struct {
	token, key string
	Found
}

// prepareCopy stores rec under a new key, or brings the copy that is there up to date.
func (w *writing) prepareCopy(ctx context.Context, rec record.Record) error {
	s, e := w.s, w.s.engine
	c := w.copied
	if c == nil {
		token, key, created, err := s.mint(ctx, rec)
		if err == nil {
			w.copied = &pendingCopy{token, key, created}
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
	if err == nil {
		w.copied = &pendingCopy{c.token, c.key, Found{Raw: raw, Record: rec}}
	}
	return err
}

// dropCopy deletes a copy that nobody will reach. If that fails, the copy expires.
func (w *writing) dropCopy(ctx context.Context) {
	if w.copied != nil {
		ctx, cancel := w.s.engine.Detach(ctx)
		defer cancel()
		_ = w.s.engine.store.Delete(ctx, w.s.app, w.copied.key)
		w.copied = nil
	}
}

// claim swaps the old record for the mark, or returns the data that another write has stored there. The
// mark keeps the names of the record's writes: what they wrote has gone along.
func (w *writing) claim(ctx context.Context, found *Found) (done bool, other []byte, err error) {
	s, e, c := w.s, w.s.engine, w.copied
	rec := record.Record{ID: c.Record.ID, Writes: found.Record.Writes, Created: time.Now(), Successor: []byte(c.key)}
	if len(c.Record.Writes[0]) > 0 {
		rec.AddWrite(c.Record.Writes[0])
	}
	mark, err := e.Layout.Seal(rec)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return false, nil, err
	}
	w.claimUnanswered = true
	for lost := 0; ; lost++ {
		other, err = e.store.CompareAndSwap(ctx, s.app, s.Key, found.Raw[:found.Record.Prefix], mark, markTTL)
		switch {
		case err == nil:
			w.stored.Raw = mark
			return true, nil, nil
		case errors.Is(err, ErrUnavailable) && lost < 2 && ctx.Err() == nil:
			continue // it may have been applied: asking again tells
		case errors.Is(err, ErrUnavailable):
			return false, nil, unsure(err)
		}
		w.claimUnanswered = false
		switch {
		case errors.Is(err, ErrNotFound):
			return false, nil, s.End()
		case !errors.Is(err, ErrConflict):
			return false, nil, err
		}
		if rec, err := e.Layout.Open(other); err == nil && string(rec.Successor) == c.key {
			w.stored.Raw = other
			return true, nil, nil // the reply to our own claim was lost
		}
		return false, other, nil
	}
}
