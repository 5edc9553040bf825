package sessions

import (
	"context"
	"errors"

	"github.com/typedsessions/sessions/internal/document"
)

// Update changes the session in one atomic step, also beside other processes: for counters and whatever
// else depends on the value before.
//
// fn gets the live *T: what is stored now, merged with what this request has changed. It may be called
// several times, each time on a T decoded afresh, so it changes nothing but T, through its argument. What
// it leaves is stored exactly once when Update returns nil. If it returns an error or panics, nothing is
// written, *T is as before, and the error comes back unchanged. Verbs called in fn, or while it has been
// running for the store's Timeout, are [ErrConflict]; beginning the response there panics.
//
// Writers of one session take turns, so fn must be quick. [ErrConflict] means that ctx's deadline passed,
// or that nobody in this process could write for twice the store's Timeout. After [ErrUnavailable] the
// change may be stored: another call may do it twice. Several goroutines of one request may call Update
// while none uses *T otherwise.
func (m *Manager[T]) Update(ctx context.Context, fn func(*T) error) error {
	until, _ := ctx.Deadline()
	return m.core.runVerb(ctx, opUpdate, func(ctx context.Context, s *session) error {
		return s.update(ctx, &edit{s: s, until: until, fn: func() error { return fn(s.live.get(s.core, ctx, s).(*T)) }})
	})
}

// update runs an edit with a function in an atomic step. A session that is not stored is created, if the
// function has changed T. So is one that has ended, if the function signs somebody in.
func (s *session) update(ctx context.Context, e *edit) (err error) {
	mayWork := s.core.typ.owner != nil // on a session that has ended
	if s.stored.HasEnded() && !mayWork {
		return s.stored.NoteEnded()
	}
	if e.mine, e.changed, err = s.encodeAndCompare(nil); err != nil {
		return err
	}
	if s.stored.Stored() && !s.stored.Gone {
		if err = s.saveEdit(ctx, e); !errors.Is(err, ErrGone) || !mayWork {
			return err
		}
	}
	ended := s.stored.HasEnded()
	if err := s.createErr(); err != nil && !ended {
		return err
	}
	defer e.putBack()
	e.composed, e.merged = e.mine, document.Merged{}
	err = e.runFunction()
	var mine document.Document
	var changed bool
	if err == nil {
		mine, changed, err = s.encodeAndCompare(nil)
	}
	switch {
	case ended && (err != nil || !s.signsIn(mine)):
		return s.stored.NoteEnded()
	case err != nil:
		return err
	case ended:
		err = s.createSignedIn(ctx, nil)
	case changed || s.core.SaveUninitialized:
		err = s.create(ctx, mine, s.newRecord())
	}
	if err == nil {
		e.contentBefore = nil
	}
	return err
}
