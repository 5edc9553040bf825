package sessions

import (
	"context"
)

// Update changes the session as one atomic step, whoever else does so at the
// same time, in this process or another one: for counters, stocks, lists that
// grow, whatever is computed from what was there.
//
//	err := m.Update(ctx, func(s *Session) error {
//		s.Views++
//		return nil
//	})
//
// fn is given the live *T, with what is stored now and what this request has
// changed so far, merged as [Config].OnConflict says. What it leaves there is
// stored when Update returns nil, exactly once. Where another process has been quicker,
// fn is called again on what that one has stored: it may run any number of
// times, so it changes T alone, and forgets at each start what it counted
// outside. Work through its argument, not through a pointer into T from before:
// T is decoded afresh for each call, and its unexported fields and those tagged
// "-" are lost.
//
// If fn returns an error, nothing is written, *T is what it was before Update,
// and the error comes back unchanged; so it is for a panic, which goes on. What
// fn refuses is what is stored: where that is only what the request has loaded
// before, Update looks again, and asks fn once more if it has changed.
//
// Writers of one session in one process take turns, and one command is enough
// for each. Between processes each tries again after a pause of random length.
// Update neither waits nor tries again after the deadline of ctx, nor when for
// twice the store's Timeout nobody in this process has got anything written: that is
// [ErrConflict]. Like the other verbs it does not stop when ctx is cancelled. A session that was not
// stored is, if fn has changed T: that is [ErrCommitted] after the header has
// gone. The other errors are those of [Manager.Save]; after [ErrUnavailable]
// nobody knows whether it was stored, and calling Update again may do it twice.
//
// Update is safe to call from several goroutines of one request, as long as
// none of them uses *T otherwise meanwhile. fn must be quick, for others wait.
// In it the verbs return an error, and beginning the response panics; it must
// not wait for another goroutine that does either, nor update the same session
// through another context.
func (m *Manager[T]) Update(ctx context.Context, fn func(*T) error) error {
	until, _ := ctx.Deadline()
	return m.core.do(ctx, opUpdate, func(ctx context.Context, s *session) error {
		return s.update(ctx, &edit{s: s, until: until, fn: func() error { return fn(s.live.get(s.core, ctx, s).(*T)) }})
	})
}

// update runs an edit with a function in an atomic step. A session that is not stored is created, if the
// function has changed T.
func (s *session) update(ctx context.Context, e *edit) (err error) {
	if s.stored.Over() {
		return s.stored.End()
	}
	if e.mine, e.changed, err = s.encode(); err != nil {
		return err
	}
	if s.stored.Stored() {
		return s.write(ctx, e)
	}
	if s.sent {
		return ErrCommitted
	}
	defer e.putBack()
	e.payload = e.mine
	if err = e.call(); err != nil {
		return err
	}
	mine, changed, err := s.encode()
	if err != nil {
		return err
	}
	if changed || s.core.SaveUninitialized {
		err = s.create(ctx, mine, s.newRecord())
	}
	if err == nil {
		e.before = nil
	}
	return err
}
