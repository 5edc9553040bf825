package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// markTTL is how long the mark of a renewal stands under the old token's key.
const markTTL = 10 * time.Second

// renew gives the session a new token in two steps: store a copy under the new
// key, then swap the old record for a mark that names it. The swap decides. A
// crash before it leaves the old token valid and a copy that nobody can reach;
// after it the new one is valid, and it leaves the process only now. Nobody
// else can win the swap too: marks of two renewals differ.
func (s *session) renew(ctx context.Context, change func(*Record), kind EventKind) error {
	m := s.m
	if s.sent {
		return ErrCommitted
	}
	mine, changed, err := s.changed()
	if err != nil {
		return err
	}
	if s.ttl(&s.rec) <= 0 {
		return s.write(ctx, mine, changed) // which ends it
	}
	next := s.rec
	payload, err := s.payload(&s.rec, mine)
	if err != nil {
		return err
	}
	next.Codec, next.Payload = []byte(payload.codec.Name()), payload.data
	change(&next)
	token, key, raw, next, err := s.mint(ctx, next)
	if err != nil {
		return err
	}
	mark, err := m.Layout.Seal(Record{
		ID: next.ID, Writes: next.Writes, Created: time.Now(), Successor: []byte(key),
	})
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for {
		other, err := s.claim(ctx, mark, key)
		if err != nil {
			return err
		}
		if other == nil {
			break
		}
		s.raw, s.rec = other.raw, other.rec
		twin := current{raw, next}
		if twin, payload, err = s.catchUp(ctx, key, twin, payload, mine, changed); err != nil {
			_ = s.check(m.store.Delete(ctx, key))
			return err
		}
		raw, next = twin.raw, twin.rec
	}
	s.token, s.key, s.wrote = token, key, true
	next.ID = idOf(&next, key)
	s.adopt(raw, next, payload, s.ttl(&next))
	s.outcome = OutcomeRenewed
	s.event(kind, nil)
	return nil
}

// current is a record as it is stored.
type current struct {
	raw []byte
	rec Record
}

// catchUp brings what somebody has saved meanwhile into the copy under key. What
// this request has changed is the later save, but for fields unknown to T;
// otherwise theirs goes along.
func (s *session) catchUp(ctx context.Context, key string, twin current, payload, mine encoded, changed bool) (current, encoded, error) {
	next := twin.rec
	next.Codec, next.Payload = s.rec.Codec, s.rec.Payload
	if changed {
		var err error
		if payload, err = s.payload(&s.rec, mine); err != nil {
			return twin, payload, err
		}
		if bytes.Equal(payload.data, twin.rec.Payload) {
			return twin, payload, nil
		}
		next.Codec, next.Payload = []byte(payload.codec.Name()), payload.data
	}
	raw, next, err := s.m.seal(next)
	if err == nil {
		_, err = s.m.store.CompareAndSwap(ctx, key, twin.raw[:twin.rec.Prefix], raw, s.ttl(&next))
		err = s.check(err)
	}
	return current{raw, next}, payload, err
}

// claim swaps the old record for the mark, or returns the data that has taken
// its place. Whoever loses to another renewal deletes his copy.
func (s *session) claim(ctx context.Context, mark []byte, key string) (*current, error) {
	for lost := 0; ; lost++ {
		found, err := s.m.store.CompareAndSwap(ctx, s.key, s.raw[:s.rec.Prefix], mark, markTTL)
		switch err = s.check(err); {
		case err == nil:
			return nil, nil
		case errors.Is(err, ErrUnavailable) && lost < 2 && ctx.Err() == nil:
			continue // it may have been applied: asking again tells
		case errors.Is(err, ErrUnavailable):
			return nil, err // nobody knows; the copy may be all that is left
		}
		var c current
		switch {
		case errors.Is(err, ErrNotFound):
			err = s.end()
		case errors.Is(err, ErrConflict):
			c.raw = found
			c.rec, _, err = s.m.read(found)
			switch {
			case err != nil:
			case string(c.rec.Successor) == key:
				return nil, nil // the reply to our own claim was lost
			case c.rec.Successor != nil:
				err = s.end()
			case ctx.Err() != nil:
				err = ErrConflict
			default:
				s.event(EventConflict, nil)
				return &c, nil
			}
		}
		_ = s.check(s.m.store.Delete(ctx, key)) // or it expires
		return nil, err
	}
}

// destroy ends everything that the request's tokens stand for: its session, and
// what it could not use, a session that had been renewed, one that cannot be
// read, or the two of which it carried one too many.
func (s *session) destroy(ctx context.Context) error {
	for _, key := range s.trail { // first: until its own is gone, the session lives
		if _, err := s.erase(ctx, key, nil); err != nil {
			return err
		}
	}
	missed := false
	if s.stored {
		found, err := s.erase(ctx, s.key, s.raw[:s.rec.Prefix])
		if err != nil {
			return err
		}
		// A mark would have told where it went, if there was one, but marks end.
		missed = !found && time.Since(s.asOf) >= markTTL
	}
	if missed {
		s.event(EventGone, ErrGone)
		s.forget()
		return ErrGone
	}
	if s.stored || s.trail != nil {
		s.event(EventDestroyed, nil)
		s.outcome, s.void = OutcomeDestroyed, s.token
	}
	s.wrote = true // SaveUninitialized is not asked again: the end was asked for
	attrs := s.rec.Attrs
	s.forget()
	s.rec.Attrs = attrs // the Transport takes back what it sent by them
	return nil
}

// erase deletes whatever is under key: other data than was loaded, or, through
// any number of marks, the session that it was renewed to. A blind deletion
// would erase a mark and let the renewed session live. A nil prefix is unknown.
func (s *session) erase(ctx context.Context, key string, prefix []byte) (found bool, err error) {
	for ; ; found = true {
		var current []byte
		if prefix == nil {
			if current, _, err = s.m.store.Load(ctx, key, 0); err == nil {
				err = ErrConflict
			}
		} else {
			current, err = s.m.store.CompareAndSwap(ctx, key, prefix, nil, 0)
		}
		switch err = s.check(err); {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrNotFound):
			return found, nil
		case !errors.Is(err, ErrConflict):
			return found, err
		case ctx.Err() != nil:
			return found, ErrConflict
		}
		rec, err := s.m.Layout.Open(current)
		switch {
		case err != nil:
			prefix = append([]byte{}, current...) // unreadable, and to be deleted all the same; nil would be unknown
		case rec.Successor != nil:
			key, prefix = string(rec.Successor), nil
		default:
			prefix = current[:rec.Prefix]
		}
	}
}

// reload reads the record again, and with it restarts the idle timeout.
func (s *session) reload(ctx context.Context) error {
	if !s.stored {
		s.forget()
		return nil
	}
	raw, rec, live, left, _, err := s.again(ctx)
	if err != nil {
		return err
	}
	s.m.assign(s.live, live)
	s.adopt(raw, rec, encoded{s.m.codecOf(&rec), rec.Payload}, left)
	return nil
}

// touch restarts the idle timeout and leaves *T alone.
func (s *session) touch(ctx context.Context) error {
	if !s.stored {
		return nil
	}
	_, _, _, left, touched, err := s.again(ctx)
	if err != nil {
		return err
	}
	s.until = time.Now().Add(left)
	if !touched {
		return fmt.Errorf("%w: it reads, but restarts no expiry for the moment", ErrUnavailable)
	}
	s.seen = time.Now()
	return nil
}

// again loads what is under the session's key now, and touches it if the store can.
func (s *session) again(ctx context.Context) (raw []byte, rec Record, live any, left time.Duration, touched bool, err error) {
	touch := s.ttl(&s.rec)
	if touch <= 0 {
		return nil, rec, nil, 0, false, s.end()
	}
	if s.m.timeout[class(s.rec.Remembered)].idle == 0 && s.rec.Idle == 0 {
		touch = 0
	}
	raw, left, err = s.m.store.Load(ctx, s.key, touch)
	if err = s.check(err); err == nil {
		rec, live, err = s.m.read(raw)
	}
	if touched = touch == 0 || left == touch; !touched && err == nil {
		s.event(EventTouchSkipped, nil)
	}
	if errors.Is(err, ErrNotFound) || err == nil && rec.Successor != nil {
		err = s.end()
	}
	return raw, rec, live, left, touched, err
}
