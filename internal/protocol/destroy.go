package protocol

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// maxMarks is how many marks Destroy follows for one token. There are more only if a session was renewed more
// often within markTTL, or if a mark leads back to itself.
const maxMarks = 32

// Destroy deletes everything that the request's tokens stand for: its session, and what it could not use,
// which is a session that had been renewed, a record that cannot be read, or each of two valid sessions. It
// reports whether there was anything to delete.
//
// The error is [ErrGone] if it cannot know whether the session lives on, because a mark would tell where: a
// request that took longer than a mark lives and finds nothing may come too late to see one, and a store that
// has evicted one mark may have evicted another. It is ErrGone also if there are too many marks.
func (s *Session) Destroy(ctx context.Context) (had bool, err error) {
	ended := true
	// They are deleted first: after an error the session itself must still be there.
	for _, key := range s.destroyKeys.keys {
		known, err := s.erase(ctx, key, nil, nil, s.destroyKeys.since)
		if err != nil {
			return false, err
		}
		ended = ended && known
	}
	if s.Stored() {
		known, err := s.erase(ctx, s.Key, s.Raw[:s.Record.Prefix], &s.Record, s.InStoreAt)
		if err != nil {
			return false, err
		}
		ended = ended && known
	}
	if !ended {
		return false, ErrGone
	}
	return s.Destroys(), nil
}

// Destroys tells whether there is anything that Destroy would delete.
func (s *Session) Destroys() bool { return s.Stored() || s.destroyKeys.keys != nil }

// EndRefused ends the valid sessions that the request carried and could not use, for a user who has just proved
// who they are: otherwise the browser would send both cookies again, and no sign-in would help. It returns their
// Attrs. Whatever else is behind their keys by now stays: behind a mark is the session of another sign-in.
func (s *Session) EndRefused(ctx context.Context) (attrs []any, err error) {
	if len(s.refused) == 0 {
		return nil, nil
	}
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	for _, r := range s.refused {
		if err := s.eraseRecord(ctx, r.key, r.prefix, r.record); err != nil {
			return nil, err
		}
		s.destroyKeys.remove(r.key)
	}
	attrs = s.RefusedAttrs()
	s.refused = nil
	return attrs, nil
}

// RefusedAttrs are the Attrs of the valid sessions that the request carried and could not use.
func (s *Session) RefusedAttrs() (attrs []any) {
	for _, r := range s.refused {
		attrs = append(attrs, r.record.Attrs)
	}
	return attrs
}

// eraseRecord deletes the record under key, also if it is a newer one, but no mark and nothing that cannot be read.
func (s *Session) eraseRecord(ctx context.Context, key string, prefix []byte, rec record.Record) error {
	for {
		current, err := s.remove(ctx, key, prefix, &rec)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case !errors.Is(err, ErrConflict):
			return err
		}
		if rec, err = s.engine.Layout.Open(current); err != nil || rec.IsMark() {
			return nil
		}
		if ctx.Err() != nil {
			return ErrConflict
		}
		prefix = current[:rec.Prefix]
	}
}

// Discard deletes the record that Create has stored, whose token was given to nobody.
func (s *Session) Discard(ctx context.Context) error {
	return s.eraseRecord(ctx, s.Key, s.Raw[:s.Record.Prefix], s.Record)
}

// erase deletes whatever is under key, also other data than was loaded. If that is a mark, erase goes on with
// the key that the mark names. Each deletion has a condition, because one without would delete a mark and let
// the renewed session live. If prefix is nil, erase loads the record first. since is when a session was known
// to be under key. Without an error, ended tells whether it has ended for certain. rec is the record that prefix is of.
func (s *Session) erase(ctx context.Context, key string, prefix []byte, rec *record.Record, since time.Time) (ended bool, err error) {
	e := s.engine
	marks := 0
	for found := false; ; found = true {
		var current []byte
		if prefix == nil {
			if current, _, err = e.store.Load(ctx, s.app, key, 0); err == nil {
				err = ErrConflict
			}
		} else {
			current, err = s.remove(ctx, key, prefix, rec)
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrNotFound) && !found && time.Since(since) >= markTTL:
			return false, nil
		case errors.Is(err, ErrNotFound):
			return s.seenMarkStands(ctx)
		case !errors.Is(err, ErrConflict):
			return false, err
		case ctx.Err() != nil:
			return false, ErrConflict
		}
		opened, err := e.Layout.Open(current)
		rec = &opened
		switch {
		case errors.Is(err, ErrNotFound): // what is there says that nothing is
			return s.seenMarkStands(ctx)
		case err != nil:
			rec = &record.Record{}
			prefix = append([]byte{}, current...) // deleted although unreadable; never nil, which would load it again
		case rec.IsMark() && marks == maxMarks:
			return false, nil
		case rec.IsMark():
			marks++
			s.noteMark(key, rec)
			key, prefix = string(rec.Successor), nil
		default:
			prefix = current[:rec.Prefix]
		}
	}
}

// seenMarkStands tells whether the first mark that the request has seen, and that is not past its deadline, is
// still there. It is true if there is no such mark.
func (s *Session) seenMarkStands(ctx context.Context) (bool, error) {
	i := slices.IndexFunc(s.seenMarks, func(m seenMark) bool { return time.Now().Before(m.deadline) })
	if i < 0 {
		return true, nil
	}
	_, _, err := s.engine.store.Load(ctx, s.app, s.seenMarks[i].key, 0)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
