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
// The error is [ErrGone] if it cannot know whether the session lives on: a mark, which tells where a renewed
// session is, lives as long as markTTL. A request that took longer and finds nothing may come too late to see
// one.
func (s *Session) Destroy(ctx context.Context) (had bool, err error) {
	maybeRenewed := false // to a key that nobody can find out any more
	// They are deleted first: after an error the session itself must still be there.
	for _, key := range s.destroyKeys.keys {
		found, err := s.erase(ctx, key, nil)
		if err != nil {
			return false, err
		}
		maybeRenewed = maybeRenewed || !found && time.Since(s.destroyKeys.since) >= markTTL
	}
	if s.Stored() {
		found, err := s.erase(ctx, s.Key, s.Raw[:s.Record.Prefix])
		if err != nil {
			return false, err
		}
		maybeRenewed = maybeRenewed || !found && time.Since(s.InStoreAt) >= markTTL
	}
	if maybeRenewed {
		return false, ErrGone
	}
	return s.Stored() || s.destroyKeys.keys != nil, nil
}

// Discard deletes the record that Create has stored, whose token was given to nobody.
func (s *Session) Discard(ctx context.Context) error {
	_, err := s.erase(ctx, s.Key, s.Raw[:s.Record.Prefix])
	return err
}

// erase deletes whatever is under key, also other data than was loaded. If that is a mark, erase goes on with
// the key that the mark names, through any number of marks. Each deletion has a condition, because one
// without would delete a mark and let the renewed session live. If prefix is nil, erase loads the record
// first.
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
			prefix = append([]byte{}, current...) // deleted although unreadable; never nil, which would load it again
		case rec.IsMark():
			key, prefix = string(rec.Successor), nil
		default:
			prefix = current[:rec.Prefix]
		}
	}
}
