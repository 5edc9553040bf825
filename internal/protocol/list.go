package protocol

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A Member is a session of a user, as the index of the user's sessions or a mark has it.
type Member struct {
	ID, Key string

	// What is under Key.
	Found
	Err      error     // why it cannot be read; if that is the header, Record has the ID alone
	LastSeen time.Time // the last touch or write; zero if that cannot be known
	Expires  time.Time // when the store will forget it

	entry string // on the index; empty if it was not found there
}

// maxPasses is how often an index is read whose sessions are renewed meanwhile.
const maxPasses = 32

// ListOf returns the sessions of an owner that are alive, in no order; the Session is of no account. One that is renewed
// meanwhile is found where it is then.
func (s *Session) ListOf(ctx context.Context, owner string) ([]Member, error) {
	members, err := s.members(ctx, owner)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, owner, members)
}

// List is ListOf for the Session's owner. If the index lacks the Session, it is put there again, and the list, which has
// it, comes with [ErrIncomplete]. If the Session has ended, the error is [ErrGone].
func (s *Session) List(ctx context.Context, owner string) ([]Member, error) {
	id := string(s.Record.ID)
	members, err := s.members(ctx, owner)
	if err != nil {
		return nil, err
	}
	listed := has(members, id)
	if !listed {
		members = append(members, Member{ID: id, Key: s.Key})
	}
	alive, err := s.open(ctx, owner, members)
	switch {
	case err != nil:
		return nil, err
	case !has(alive, id):
		return nil, s.NoteEnded()
	case listed:
		return alive, nil
	}
	if err = s.relistOwn(ctx); err != nil {
		return nil, err
	}
	return alive, ErrIncomplete
}

func has(members []Member, id string) bool {
	return slices.ContainsFunc(members, func(m Member) bool { return m.ID == id })
}

// relistOwn puts the Session on its owner's index again. If it is renewed meanwhile, the renewal does so.
func (s *Session) relistOwn(ctx context.Context) error {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	found := Found{Raw: s.Raw, Record: s.Record}
	for {
		err := s.relistNow(ctx, s.Key, &found, time.Until(s.Expires))
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return s.noteIfGone(err)
		}
		raw, _, err := s.fetch(ctx, 0)
		if err == nil {
			found, err = s.openUnlessMark(raw)
		}
		switch {
		case found.Record.IsMark():
			return nil
		case err != nil:
			return s.noteIfGone(err)
		}
	}
}

// members reads the index of an owner.
func (s *Session) members(ctx context.Context, owner string) ([]Member, error) {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	index, tag := s.engine.indexOf(owner)
	entries, err := s.engine.store.Members(ctx, s.app, index)
	members := make([]Member, 0, len(entries))
	for _, entry := range entries {
		if id, key, ok := record.ReadMember(entry, tag); ok {
			members = append(members, Member{ID: id, Key: key, entry: entry})
		}
	}
	return members, err
}

// open reads the records of members, follows marks, and returns those that are alive and the owner's. Whole records are
// read: a Layout may need them to open a header, and up to some kilobytes that is no slower.
func (s *Session) open(ctx context.Context, owner string, members []Member) (alive []Member, err error) {
	e := s.engine
	var absent []string
	seen := map[string]bool{} // keys
	for marks := 0; len(members) > 0 && marks <= maxMarks; marks++ {
		data, left, err := s.loadMany(ctx, members)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		var renewed []Member
		for i, m := range members {
			seen[m.Key] = true
			if data[i] == nil {
				if m.entry != "" {
					absent = append(absent, m.entry)
				}
				continue
			}
			m.Raw = data[i]
			m.Record, m.Err = e.openRecord(m.Raw)
			rec := &m.Record
			switch {
			case errors.Is(m.Err, ErrNotFound):
			case m.Err != nil && rec.Created.IsZero(): // the header cannot be read
				alive = append(alive, m)
			case rec.IsMark():
				if next := string(rec.Successor); !seen[next] {
					renewed = append(renewed, Member{ID: m.ID, Key: next})
				}
			case e.TTL(rec) > 0 && string(rec.Owner) == owner:
				m.setTimes(now, left[i], e.idle(rec), e.TTL(rec))
				alive = append(alive, m)
			}
		}
		members = renewed
	}
	s.forgetAbsent(ctx, owner, absent)
	return alive, nil
}

// setTimes sets LastSeen and Expires by what the store says is left.
func (m *Member) setTimes(now time.Time, left, idle, ttl time.Duration) {
	if left <= 0 { // the store does not say: then at most that
		m.Expires = now.Add(ttl)
		return
	}
	m.Expires = now.Add(left)
	if idle > 0 {
		m.LastSeen = now.Add(min(left-idle, 0))
	}
}

func (s *Session) loadMany(ctx context.Context, members []Member) ([][]byte, []time.Duration, error) {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.Key
	}
	return s.engine.store.LoadMany(ctx, s.app, keys, 0)
}

// forgetAbsent takes entries off an index under whose keys there is nothing. The store looks again. If that fails, the
// next list does it.
func (s *Session) forgetAbsent(ctx context.Context, owner string, entries []string) {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	index, _ := s.engine.indexOf(owner)
	for chunk := range chunks(entries) {
		_, _ = s.engine.store.Place(ctx, s.app, record.Placement{Index: index, Members: chunk, Keys: keysOf(chunk, index)})
	}
}

// EndOthers is EndAll for the Session's owner, without the sessions of its own ID. The Session is put on the index
// before, if it is not there: otherwise it would count as one that the index has lost.
func (s *Session) EndOthers(ctx context.Context, owner string) (n int, err error) {
	id := string(s.Record.ID)
	members, err := s.members(ctx, owner)
	if err == nil && !has(members, id) {
		err = s.relistOwn(ctx)
	}
	if err != nil {
		return 0, err
	}
	return s.EndAll(ctx, owner, id)
}

// EndAll ends the sessions of an owner, without those of one ID, which may be empty, and returns how many the store had.
// The index keeps the time, so that those that it has lost end when they are met.
func (s *Session) EndAll(ctx context.Context, owner, but string) (n int, err error) {
	if err := s.noteRevocation(ctx, owner); err != nil {
		return 0, err
	}
	return s.end(ctx, owner, func(id string) bool { return id != but })
}

// EndOne ends the session of an owner that has the ID, and returns how many the store had.
func (s *Session) EndOne(ctx context.Context, owner, id string) (n int, err error) {
	return s.end(ctx, owner, func(other string) bool { return other == id })
}

// noteRevocation has the index keep the time until every session that is alive now has been met or has expired.
func (s *Session) noteRevocation(ctx context.Context, owner string) error {
	e := s.engine
	saving := e.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	index, _ := e.indexOf(owner)
	ttl := max(e.Plain.Lifetime, e.Plain.Touch(), e.Remember.Lifetime, e.Remember.Touch())
	return e.store.Revoke(ctx, s.app, index, time.Now(), ttl+indexMargin)
}

// end ends the sessions that are listed when it begins and that which chooses, also those that are renewed meanwhile: they
// have the same ID under another key. A session that begins meanwhile stays. After an error, another end finishes it.
func (s *Session) end(ctx context.Context, owner string, which func(id string) bool) (n int, err error) {
	var chosen map[string]bool // by ID
	for range maxPasses {
		members, err := s.members(ctx, owner)
		if err != nil {
			return n, err
		}
		if chosen == nil {
			chosen = map[string]bool{}
			for _, m := range members {
				chosen[m.ID] = which(m.ID)
			}
		}
		var entries []string
		for _, m := range members {
			if chosen[m.ID] {
				entries = append(entries, m.entry)
			}
		}
		ended, err := s.endListed(ctx, owner, entries)
		n += ended
		if err != nil || ended == len(entries) { // the others had ended, or are under another key now
			return n, err
		}
	}
	return n, fmt.Errorf("%w: the sessions were renewed again and again", ErrConflict)
}

// endListed ends the sessions that are still on the index, and returns how many the store had.
func (s *Session) endListed(ctx context.Context, owner string, entries []string) (n int, err error) {
	index, _ := s.engine.indexOf(owner)
	for chunk := range chunks(entries) {
		ended, err := s.endChunk(ctx, index, chunk)
		if err != nil {
			return n, err
		}
		s.noteEnded(Revoked, []byte(owner), index, ended)
		n += len(ended)
	}
	return n, nil
}

func (s *Session) endChunk(ctx context.Context, index string, entries []string) ([]string, error) {
	saving := s.engine.SaveContext(ctx)
	defer saving.Stop()
	ctx = saving
	return s.engine.store.End(ctx, s.app, index, entries, keysOf(entries, index))
}

// Attach makes a Member of a list the Session's record, as a load by its token does, which nobody here knows.
func (s *Session) Attach(m *Member) {
	s.Key = m.Key
	s.Adopt(&m.Found, time.Until(m.Expires))
	if m.entry != "" {
		s.engine.listed.note(m.Key)
	}
}
