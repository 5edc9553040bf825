package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// The sessions of a user are listed in an index, which is in the same slot as their keys. So the index and a session
// change in one step, and the index is exact: what it lists and the store has is alive, and nothing else is, except
// for an index that the store has lost. What reads it is in list.go.

const (
	// indexMargin is how much longer than a session its index lives: longer than relistInterval.
	indexMargin = 2 * time.Minute
	// pruneFrom is how many entries an index may have before those of ended sessions are looked for. Without a limit
	// nobody else does so when a user signs in.
	pruneFrom = 8
)

// Misplaced tells whether the session belongs to an owner whose sessions are listed, but is not where it could be: T has
// become Owned, or names its owner differently. It is listed from its next renewal on.
func (s *Session) Misplaced(owner string) bool {
	return s.engine.Owners != nil && owner != "" && s.Stored() && !s.engine.Listed(s.Key, owner)
}

// placement begins a step that puts a record under a new key.
func (e *Engine) placement(at entry, key string, f *Found, ttl time.Duration) record.Placement {
	return record.Placement{
		Index: at.index, IndexTTL: ttl + indexMargin,
		New: key, NewData: f.Raw, NewTTL: ttl, Add: at.member, Created: f.Record.Created,
	}
}

// placeWithinLimit runs a step that adds a session, and sees that its owner has no more than MaxPerOwner. What the limit
// takes into account must be known before the step, and the step fails if that has changed: then it is run again. What a
// failed step says of the index is used at once every other time: after a pause it would be out of date.
func (s *Session) placeWithinLimit(ctx context.Context, owner []byte, p record.Placement) (record.Placed, error) {
	e := s.engine
	p.Limit, p.Reject = e.MaxPerOwner, e.RejectAtLimit
	began := time.Now()
	for try := 1; ; try++ {
		sent := time.Now()
		placed, err := e.store.Place(ctx, s.app, p)
		switch {
		case p.Limit > 0 && errors.Is(err, ErrConflict):
			pause := time.Duration(0)
			if try%2 == 0 {
				pause = rand.N(max(minPause, min(time.Since(began), e.Timeout/16)))
			}
			if !pauseFor(ctx, pause, time.Since(sent)) {
				return placed, s.outOfTime()
			}
			if p.Members, err = s.makeRoom(ctx, owner, p, placed.Members); err == nil {
				p.Keys = keysOf(p.Members, p.Index)
				continue
			}
			return placed, err
		case err != nil:
			return placed, err
		}
		e.listed.note(cmp.Or(p.New, p.Old))
		s.noteEnded(Evicted, owner, p.Index, placed.Ended)
		if p.Limit == 0 && placed.Count >= pruneFrom && placed.Count&(placed.Count-1) == 0 { // now and then
			s.prune(ctx, p.Index)
		}
		return placed, nil
	}
}

// makeRoom returns the members of an index that one step can take into account. If there are more, because there was
// no limit before, those of ended sessions leave the index first, and then the oldest ones end.
func (s *Session) makeRoom(ctx context.Context, owner []byte, p record.Placement, members []string) ([]string, error) {
	if len(members) <= MaxChunk {
		return members, nil
	}
	s.prune(ctx, p.Index)
	members, err := s.engine.store.Members(ctx, s.app, p.Index)
	if err != nil || len(members) <= MaxChunk {
		return members, err
	}
	if p.Reject {
		return nil, ErrOwnerLimit
	}
	oldest := members[:len(members)-p.Limit]
	for chunk := range chunks(oldest) {
		ended, err := s.engine.store.End(ctx, s.app, p.Index, chunk, keysOf(chunk, p.Index))
		if err != nil {
			return nil, err
		}
		s.noteEnded(Evicted, owner, p.Index, ended)
	}
	return members[len(oldest):], nil
}

// prune takes the entries of ended sessions off an index. If that fails, they stay until somebody else does it.
func (s *Session) prune(ctx context.Context, index string) {
	members, err := s.engine.store.Members(ctx, s.app, index)
	for chunk := range chunks(members) {
		if err != nil {
			return
		}
		_, err = s.engine.store.Place(ctx, s.app, record.Placement{Index: index, Members: chunk, Keys: keysOf(chunk, index)})
	}
}

// noteEnded gives notice of sessions that were ended.
func (s *Session) noteEnded(kind NoticeKind, owner []byte, index string, members []string) {
	for _, m := range members {
		id, key, _ := record.ReadMember(m, record.Tag(index))
		s.engine.listed.forget(key)
		s.noticeRecord(kind, record.Record{ID: []byte(id), Owner: owner}, nil)
	}
}

// relist sees that the session under a key, which has been read or written, is on the index of its owner: the store may
// have lost the index. A process does so once a minute for each session. [ErrGone] says that the session was ended for
// its owner while it was not listed, or has ended since. If it has been written or renewed since, that is left to the next
// look: a mark must not be listed.
func (s *Session) relist(ctx context.Context, key string, f *Found, left time.Duration) error {
	if s.engine.Owners == nil || len(f.Record.Owner) == 0 || s.engine.listed.recently(key) {
		return nil
	}
	err := s.relistNow(ctx, key, f, left)
	switch {
	case errors.Is(err, ErrGone):
		return err
	case err != nil && !errors.Is(err, ErrConflict) && ctx.Err() == nil: // who hangs up must not put it off
		s.engine.listed.lookAfter(key, relistPause)
	}
	return nil // of an outage there is notice, and the session was read
}

// relistNow is relist at any time and with every error: [ErrConflict] says that the session has been written or renewed
// since. What cannot be listed under its key is no error.
func (s *Session) relistNow(ctx context.Context, key string, f *Found, left time.Duration) error {
	e, rec := s.engine, &f.Record
	at := e.entryOf(rec, key)
	if at.index == "" {
		return nil
	}
	left = min(left, math.MaxInt64-indexMargin) // it may never expire
	err := e.store.Relist(ctx, s.app, at.index, key, f.Raw[:rec.Prefix], at.member, rec.Created, left+indexMargin)
	switch {
	case err == nil:
		e.listed.note(key)
	case errors.Is(err, ErrGone):
		s.noticeRecord(Revoked, *rec, nil)
		err = errRevoked
	case errors.Is(err, ErrNotFound):
		err = ErrGone
	}
	return err
}

var errRevoked = fmt.Errorf("%w: it was revoked while it was not listed", ErrGone)

// remove deletes the record under a key if its value begins with prefix, and takes it off the index. rec is the record as
// it was read.
func (s *Session) remove(ctx context.Context, key string, prefix []byte, rec *record.Record) (current []byte, err error) {
	at := s.engine.entryOf(rec, key)
	if at.index == "" {
		return s.engine.store.CompareAndDelete(ctx, s.app, key, prefix)
	}
	placed, err := s.engine.store.Place(ctx, s.app, record.Placement{Index: at.index, Old: key, OldPrefix: prefix, Remove: at.member})
	return placed.Current, err
}

// pauseFor returns false if there is no time for a pause and what is to follow.
func pauseFor(ctx context.Context, d, next time.Duration) bool {
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= d+next {
		return false
	}
	time.Sleep(d)
	return true
}
