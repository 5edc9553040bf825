package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// markTTL is how long the mark of a renewal stands under the old token's key.
const markTTL = 10 * time.Second

// A renewal gives the session a new token in two steps: store a copy under the
// new key, then swap the old record for a mark that names it. The swap decides.
// A crash before it leaves the old token valid and a copy that nobody can
// reach; after it the new one is valid, and it leaves the process only now.
// Nobody else can win the swap too: marks of two renewals differ.

// copied is the record under the new key.
type copied struct {
	token, key string
	stored
}

// renewal is what a write does to the header if it comes with a new token. A
// new owner has signed in, whether or not the handler says so; a session that
// is nobody's any more was not authenticated.
func (s *session) renewal(c *change, owner string) (func(*Record), EventKind) {
	switch {
	case !s.m.owned || owner == s.base.owner || c.kind == EventSignedIn:
		return c.renew, c.kind
	case owner == "":
		return func(r *Record) { r.Authenticated = time.Time{} }, EventRenewed
	}
	return signIn(s.began, nil), EventSignedIn
}

// signIn is what a sign-in does to the header.
func signIn(now time.Time, opts []SignInOption) func(*Record) {
	return func(r *Record) {
		r.Created, r.Authenticated = now, now
		r.Remembered = slices.Contains(opts, Remembered)
		r.Idle, r.Attrs = 0, nil // the Transport's to choose again
	}
}

// copy stores payload under a new key, or brings the copy there up to date.
func (s *session) copy(ctx context.Context, c *change, at *stored, payload encoded, renew func(*Record)) error {
	if s.sent {
		return ErrCommitted
	}
	rec := at.rec
	renew(&rec)
	s.m.fill(&rec, payload)
	twin := c.twin
	if twin == nil {
		token, key, fresh, err := s.mint(ctx, rec)
		if err == nil {
			fresh.base = payload
			c.twin = &copied{token, key, fresh}
		}
		return err
	}
	nonce := s.m.nonce()
	rec.Writes, rec.Label = pushWrite(at.rec.Writes, nonce), twin.rec.Label
	if rec.Attrs == nil {
		rec.Attrs = twin.rec.Attrs
	}
	raw, rec, err := s.m.seal(rec)
	if err != nil {
		return err
	}
	found, err := s.m.store.CompareAndSwap(ctx, twin.key, twin.raw[:twin.rec.Prefix], raw, s.ttl(&rec))
	if err = s.check(err); errors.Is(err, ErrConflict) {
		if there, bad := s.m.Layout.Open(found); bad == nil && wrote(&there, nonce) {
			err = nil // only the reply was lost
		}
	}
	if err == nil {
		c.twin = &copied{twin.token, twin.key, stored{raw: raw, rec: rec, base: payload}}
	}
	return err
}

// drop deletes a copy that nobody will reach.
func (s *session) drop(ctx context.Context, c *change) {
	if c.twin != nil {
		ctx, cancel := s.detach(ctx)
		defer cancel()
		_ = s.check(s.m.store.Delete(ctx, c.twin.key)) // or it expires
		c.twin = nil
	}
}

// claim swaps the old record for the mark, or returns the data that has taken
// its place. The mark keeps who has written the record: what they wrote has
// gone along.
func (s *session) claim(ctx context.Context, c *change, at *stored) (mark, found []byte, err error) {
	twin := c.twin
	mark, err = s.m.Layout.Seal(Record{
		ID: twin.rec.ID, Writes: pushWrite(at.rec.Writes, twin.rec.Writes[0]), Created: time.Now(), Successor: []byte(twin.key),
	})
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, nil, err
	}
	c.claiming = true
	for lost := 0; ; lost++ {
		found, err = s.m.store.CompareAndSwap(ctx, s.key, at.raw[:at.rec.Prefix], mark, markTTL)
		switch err = s.check(err); {
		case err == nil:
			return mark, nil, nil
		case errors.Is(err, ErrUnavailable) && lost < 2 && ctx.Err() == nil:
			continue // it may have been applied: asking again tells
		case errors.Is(err, ErrUnavailable):
			return nil, nil, unsure(err)
		}
		c.claiming = false
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, nil, s.end()
		case !errors.Is(err, ErrConflict):
			return nil, nil, err
		}
		if rec, err := s.m.Layout.Open(found); err == nil && string(rec.Successor) == twin.key {
			return found, nil, nil // the reply to our own claim was lost
		}
		return nil, found, nil
	}
}

// destroy ends everything that the request's tokens stand for: its session, and
// what it could not use, a session that had been renewed, one that cannot be
// read, or the two of which it carried one too many.
func (s *session) destroy(ctx context.Context) error {
	// A mark would tell where a session went that is not found, but marks end.
	missed := false
	for _, key := range s.trail { // first: until its own is gone, the session lives
		found, err := s.erase(ctx, key, nil)
		if err != nil {
			return err
		}
		missed = missed || !found && time.Since(s.since) >= markTTL
	}
	if s.stored {
		found, err := s.erase(ctx, s.key, s.raw[:s.rec.Prefix])
		if err != nil {
			return err
		}
		missed = missed || !found && time.Since(s.asOf) >= markTTL
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
	at, left, _, err := s.again(ctx)
	if err != nil {
		return err
	}
	s.put(at.live)
	s.adopt(&at, left)
	return nil
}

// touch restarts the idle timeout and leaves *T alone.
func (s *session) touch(ctx context.Context) error {
	if !s.stored {
		return nil
	}
	_, left, touched, err := s.again(ctx)
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

// again loads what is under the session's key now, and touches it if the store
// can: by the record's own idle timeout, which another program may have changed.
func (s *session) again(ctx context.Context) (at stored, left time.Duration, touched bool, err error) {
	rec := s.rec
	for range 2 {
		touch := s.ttl(&rec)
		if touch <= 0 {
			return at, 0, false, s.end()
		}
		if s.m.timeout[class(rec.Remembered)].idle == 0 && rec.Idle == 0 {
			touch = 0
		}
		var raw []byte
		raw, left, err = s.fetch(ctx, touch)
		if err == nil {
			at, err = s.meet(raw)
		}
		touched = touch == 0 || left == touch
		if err != nil || at.rec.Idle == rec.Idle {
			break
		}
		rec = at.rec
	}
	if !touched && err == nil {
		s.event(EventTouchSkipped, nil)
	}
	return at, left, touched, err
}

// fetch loads what is under the session's key now. Nothing there is its end.
func (s *session) fetch(ctx context.Context, touch time.Duration) ([]byte, time.Duration, error) {
	raw, left, err := s.m.store.Load(ctx, s.key, touch)
	if err = s.check(err); errors.Is(err, ErrNotFound) {
		err = s.end()
	}
	return raw, left, err
}
