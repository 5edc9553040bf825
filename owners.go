package sessions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Sessions lists the sessions of the user of ctx's stored session, the last active one first, with the current one
// marked: for a page of a user's devices (ASVS 5.0 7.5.2). Where nobody has signed in it lists none. [ErrIncomplete] comes with the
// list. Like all these verbs it needs an [Owned] T, an [OwnerStore] and an [OwnerLayout]; otherwise the error is
// [errors.ErrUnsupported]. An error says nothing of the caller's session, unless it is [ErrGone]. See docs/users-sessions.md.
func (m *Manager[T]) Sessions(ctx context.Context) ([]Info, error) { return m.core.sessions(ctx) }

// SessionsOf is Sessions for any user and any context, as of an administrator's page or a job.
func (m *Manager[T]) SessionsOf(ctx context.Context, owner string) ([]Info, error) {
	return m.core.sessionsOf(ctx, owner)
}

// Revoke ends one session of a user, by its [Info].ID. Of another user's, or one that has ended, it is [ErrNotFound].
// The caller's own session ends as by [Manager.Destroy].
func (m *Manager[T]) Revoke(ctx context.Context, owner, id string) error {
	return m.core.revoke(ctx, owner, id)
}

// RevokeOthers ends all sessions of the caller's user but the caller's, as after a change of password (ASVS 5.0
// 7.4.3), and returns how many there were. After an error call it again.
func (m *Manager[T]) RevokeOthers(ctx context.Context) (int, error) { return m.core.revokeOthers(ctx) }

// RevokeAll ends all sessions of a user, as when the account is closed (ASVS 5.0 7.4.2, 7.4.5), and returns how many
// there were. The caller's session, if it is that user's, ends last, as by [Manager.Destroy]. A sign-in whose proof was
// checked before may come after. After an error call it again.
func (m *Manager[T]) RevokeAll(ctx context.Context, owner string) (int, error) {
	return m.core.revokeAll(ctx, owner)
}

// UpdateAll changes all sessions of a user, each as [Manager.Update] does, and restarts no timeout: for roles. The
// caller's own is updated with what the request has changed. The first error of fn ends it, and comes back
// unchanged, as does a change of the owner; sessions that cannot be updated are errors too, joined when the others are done.
func (m *Manager[T]) UpdateAll(ctx context.Context, owner string, fn func(*T) error) error {
	return m.core.updateAll(ctx, owner, func(v any) error { return fn(v.(*T)) })
}

var (
	errNoOwner      = errors.New("sessions: the owner is empty, which is nobody: give the ID of a user, as SessionOwner does")
	errNoUser       = errors.New("sessions: RevokeOthers: nobody has signed in in this session")
	errNoSuch       = fmt.Errorf("%w: the user has no session of that ID", ErrNotFound)
	errOwnerChanged = errors.New("sessions: UpdateAll: the function has changed the owner of T: a session of another user begins with SignIn")
)

// listable is why a user's sessions cannot be listed.
func (m *core) listable(owner string) error {
	if m.unlisted == nil && owner == "" {
		return errNoOwner
	}
	return m.unlisted
}

// ownedBy returns the session of a context, if it is stored and that user's, and its ID.
func (m *core) ownedBy(ctx context.Context, owner string) (s *session, id string) {
	if s, _ = m.sessionOf(ctx); s == nil {
		return nil, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stored.Stored() || s.stored.Gone || s.base.Owner != owner {
		return nil, ""
	}
	return s, string(s.stored.Record.ID)
}

// without runs an operation with a session that is no request's: what happens is reported with the caller's context.
func (m *core) without(ctx context.Context, op *operation, run func(*session) error) error {
	s := new(session)
	s.init(ctx, m)
	s.begin(op.name)
	defer func() {
		s.mu.Unlock()
		for i := range s.events {
			s.events[i].Session.Current = false
		}
		m.report(ctx, s.events...)
	}()
	return run(s)
}

func (m *core) sessions(ctx context.Context) (infos []Info, err error) {
	if m.unlisted != nil {
		return nil, m.unlisted
	}
	err = m.runVerb(ctx, opSessions, func(ctx context.Context, s *session) error {
		switch {
		case s.stored.Gone:
			return s.stored.NoteEnded()
		case s.base.Owner == "":
			return nil
		}
		members, err := s.stored.List(ctx, s.base.Owner)
		infos = m.infosOf(members, s.base.Owner, string(s.stored.Record.ID))
		return err
	})
	return infos, err
}

func (m *core) sessionsOf(ctx context.Context, owner string) (infos []Info, err error) {
	if err := m.listable(owner); err != nil {
		return nil, err
	}
	_, current := m.ownedBy(ctx, owner)
	err = m.without(ctx, opSessionsOf, func(s *session) error {
		members, err := s.stored.ListOf(ctx, owner)
		infos = m.infosOf(members, owner, current)
		return err
	})
	return infos, err
}

// infosOf are the Infos of a user's sessions, the last active one first.
func (m *core) infosOf(members []protocol.Member, owner, current string) []Info {
	var infos []Info
	for i := range members {
		member := &members[i]
		info := m.infoOf(&member.Record)
		info.ID, info.Owner, info.Current = member.ID, owner, member.ID == current
		if !info.CreatedAt.IsZero() {
			info.LastSeenAt, info.IdleUntil = member.LastSeen, member.Expires
			if !info.ExpiresAt.IsZero() && info.ExpiresAt.Before(info.IdleUntil) {
				info.IdleUntil = info.ExpiresAt
			}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(b.LastSeenAt.Compare(a.LastSeenAt), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

func (m *core) revoke(ctx context.Context, owner, id string) error {
	if err := m.listable(owner); err != nil {
		return err
	}
	if s, current := m.ownedBy(ctx, owner); s != nil && id == current {
		return m.runVerb(ctx, opRevoke, withTimeout((*session).destroy))
	}
	return m.without(ctx, opRevoke, func(s *session) error {
		n, err := s.stored.EndOne(ctx, owner, id)
		if n == 0 && err == nil {
			err = errNoSuch
		}
		return err
	})
}

func (m *core) revokeOthers(ctx context.Context) (n int, err error) {
	if m.unlisted != nil {
		return 0, m.unlisted
	}
	err = m.runVerb(ctx, opRevokeOthers, func(ctx context.Context, s *session) error {
		switch {
		case s.stored.Gone:
			return s.stored.NoteEnded()
		case s.base.Owner == "":
			return errNoUser
		}
		owner := s.base.Owner
		if s.moves() { // later it would count as one that the index has lost
			if err = s.move(ctx); err != nil && !errors.Is(err, ErrOwnerLimit) {
				return err
			}
		}
		n, err = s.stored.EndOthers(ctx, owner)
		return err
	})
	return n, err
}

func (m *core) revokeAll(ctx context.Context, owner string) (n int, err error) {
	if err := m.listable(owner); err != nil {
		return 0, err
	}
	if s, _ := m.ownedBy(ctx, owner); s == nil {
		err = m.without(ctx, opRevokeAll, func(s *session) error {
			n, err = s.stored.EndAll(ctx, owner, "")
			return err
		})
		return n, err
	}
	err = m.runVerb(ctx, opRevokeAll, func(ctx context.Context, s *session) error {
		n, err = s.endAll(ctx, owner)
		return err
	})
	return n, err
}

// endAll ends all sessions of the session's owner, its own last: after an error the caller can ask again.
func (s *session) endAll(ctx context.Context, owner string) (n int, err error) {
	id := string(s.stored.Record.ID)
	if n, err = s.stored.EndAll(ctx, owner, id); err != nil {
		return n, err
	}
	switch err = withTimeout((*session).destroy)(ctx, s); {
	case err == nil:
		return n + 1, nil
	case errors.Is(err, ErrGone): // where it lives, if it does, the index says
		own, err := s.stored.EndOne(ctx, owner, id)
		return n + own, err
	}
	return n, err
}

// updateAll is what an UpdateAll has done so far.
type updateAll struct {
	*core
	owner string
	fn    func(any) error // fails if it changes the owner
	until time.Time       // for each session, if it is not zero
	done  map[string]bool // IDs
	errs  []error         // of sessions that cannot be updated
}

func (m *core) updateAll(ctx context.Context, owner string, fn func(any) error) error {
	if err := m.listable(owner); err != nil {
		return err
	}
	u := updateAll{core: m, owner: owner, done: map[string]bool{}, fn: func(v any) error {
		err := fn(v)
		if err == nil && m.typ.owner(v) != owner {
			err = errOwnerChanged
		}
		return err
	}}
	u.until, _ = ctx.Deadline()
	if s, id := m.ownedBy(ctx, owner); s != nil {
		if more, err := u.note(id, u.updateOwn(ctx)); !more {
			return err
		}
	}
	tried := map[string]bool{} // keys
	for again := true; again; {
		members, err := u.list(ctx)
		if err != nil {
			return errors.Join(append(u.errs, err)...)
		}
		again = false
		for i := range members {
			member := &members[i]
			if u.done[member.ID] || tried[member.Key] {
				continue
			}
			tried[member.Key] = true
			if more, err := u.note(member.ID, u.update(ctx, member)); !more {
				return err
			}
			again = again || !u.done[member.ID]
		}
	}
	return errors.Join(u.errs...)
}

// note notes what has become of one session. If there is no more to do, err is UpdateAll's.
func (u *updateAll) note(id string, result error) (more bool, err error) {
	if refusal, ok := errors.AsType[*protocol.Refusal](result); ok {
		return false, refusal.Err
	}
	if errors.Is(result, ErrGone) { // it has ended, or it is listed under another key
		return true, nil
	}
	u.done[id] = true
	if result != nil {
		u.errs = append(u.errs, fmt.Errorf("sessions: UpdateAll: session %s: %w", id, result))
	}
	if errors.Is(result, ErrUnavailable) {
		return false, errors.Join(u.errs...)
	}
	return true, nil
}

func (u *updateAll) list(ctx context.Context) (members []protocol.Member, err error) {
	err = u.without(ctx, opUpdateAll, func(s *session) error {
		members, err = s.stored.ListOf(ctx, u.owner)
		return err
	})
	return members, err
}

// updateOwn updates the session of the context, with what its request has made of T. That it has ended is not the
// verb's error.
func (u *updateAll) updateOwn(ctx context.Context) (err error) {
	var result error
	err = u.runVerb(ctx, opUpdateAll, func(ctx context.Context, s *session) error {
		result = s.update(ctx, u.edit(ctx, s))
		if errors.Is(result, ErrGone) {
			return nil
		}
		return result
	})
	return cmp.Or(result, err)
}

// update updates a session that is no request's.
func (u *updateAll) update(ctx context.Context, member *protocol.Member) error {
	return u.without(ctx, opUpdateAll, func(s *session) error {
		err := member.Err
		if err == nil {
			err = s.Decode(member.Record)
		}
		if _, unread := errors.AsType[*DecodeError](err); unread {
			s.Notice(protocol.Notice{Kind: protocol.Undecodable, Record: &member.Record, Err: err})
		}
		switch {
		case err != nil:
			return err
		case s.decoded.doc.Owner != u.owner: // T says so, whatever the header says: a build without SessionOwner has changed it
			return ErrGone
		}
		s.stored.Attach(member)
		s.Adopt()
		e := u.edit(ctx, s)
		e.mine, e.keepsTime = s.base, true
		err = s.saveEdit(ctx, e)
		if _, refused := errors.AsType[*protocol.Refusal](err); err != nil && !refused {
			s.noteFailure(opUpdateAll, err)
		}
		return err
	})
}

func (u *updateAll) edit(ctx context.Context, s *session) *edit {
	return &edit{s: s, until: u.until, fn: func() error { return u.fn(s.live.get(s.core, ctx, s)) }}
}
