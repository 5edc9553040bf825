package protocol

import (
	"context"
	"errors"
	"time"
)

// Destroy deletes everything that the request's tokens stand for: its session, and what it could not use,
// which is a session that had been renewed, a record that cannot be read, or each of two valid sessions. It
// reports whether there was anything to delete.
//
// It is [ErrGone] where it cannot know: a mark that would tell where a session went lives as long as
// markTTL, so a request that took longer and finds nothing may have missed one.
func (s *Session) Destroy(ctx context.Context) (had bool, err error) {
	missed := false
	for _, key := range s.stale.keys { // they come first: until its own record is deleted, the session lives
		found, err := s.erase(ctx, key, nil)
		if err != nil {
			return false, err
		}
		missed = missed || !found && time.Since(s.stale.since) >= markTTL
	}
	if s.Stored() {
		found, err := s.erase(ctx, s.Key, s.Raw[:s.Record.Prefix])
		if err != nil {
			return false, err
		}
		missed = missed || !found && time.Since(s.KnownAt) >= markTTL
	}
	if missed {
		return false, ErrGone
	}
	return s.Stored() || s.stale.keys != nil, nil
}

// erase deletes whatever is under key, also other data than was loaded, and, through any number of marks,
// the session that it was renewed to. A deletion without a condition would delete a mark and let the renewed
// session live. A nil prefix is unknown.
func (s *Session) erase(ctx context.Context, key string, prefix []byte) (found bool, err error) {
	e := s.engine
	for ; ; found = true {
		var current []byte
		if prefix == nil {
			if current, _, err = e.store.Load(ctx, s.app, key, 0); err == nil {
				err = ErrConflict
			}
		} else {
			current, err = e.store.CompareAndDelete(ctx, s.app, key, prefix)
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrNotFound):
			return found, nil
		case !errors.Is(err, ErrConflict):
			return found, err
		case ctx.Err() != nil:
			return found, ErrConflict
		}
		rec, err := e.Layout.Open(current)
		switch {
		case err != nil:
			prefix = append([]byte{}, current...) // unreadable, and deleted all the same; nil would be unknown
		case rec.IsMark():
			key, prefix = string(rec.Successor), nil
		default:
			prefix = current[:rec.Prefix]
		}
	}
}
