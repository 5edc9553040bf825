package sessions

import (
	"context"
	"errors"
	"fmt"
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
	return m.do(ctx, "update", func(ctx context.Context, s *session) error {
		return s.update(ctx, &change{until: until, fn: func() error { return fn(s.value(ctx).(*T)) }})
	})
}

func (s *session) update(ctx context.Context, c *change) (err error) {
	if s.over() {
		return s.end()
	}
	if c.mine, c.changed, err = s.changed(); err != nil {
		return err
	}
	if s.stored {
		return s.write(ctx, c)
	}
	if s.sent {
		return ErrCommitted
	}
	defer s.putBack(c)
	if _, err = s.call(c, c.mine); err != nil {
		return err
	}
	if c.mine, c.changed, err = s.changed(); err != nil {
		return err
	}
	if c.changed || s.m.SaveUninitialized {
		err = s.create(ctx, c.mine, s.newRecord())
	}
	if err == nil {
		c.before = nil
	}
	return err
}

// A callersError carries the error of Update's function through the library,
// which gives it back as it was.
type callersError struct{ err error }

func (e *callersError) Error() string { return e.err.Error() }

func refused(err error) bool {
	_, ok := errors.AsType[*callersError](err)
	return ok
}

// call calls Update's function on *T with the content of payload, decoded
// afresh, and returns what has become of it.
func (s *session) call(c *change, payload encoded) (encoded, error) {
	m, fresh := s.m, c.met.live
	if fresh == nil {
		fresh = m.blank()
		if err := payload.codec.Unmarshal(payload.data, fresh); err != nil {
			return payload, fmt.Errorf("sessions: %s does not decode as it was encoded: %w", m.name, err)
		}
	}
	s.look.Lock()
	if c.before == nil {
		c.before = m.blank()
		m.assign(c.before, s.live)
	}
	m.assign(s.live, fresh)
	s.look.Unlock()
	c.met.live = nil

	by := goroutine()
	s.inside.Store(&by)
	defer s.inside.Store(nil)
	if err := c.fn(); err != nil {
		return payload, &callersError{err}
	}
	s.look.Lock()
	defer s.look.Unlock()
	return m.encodeBy(payload.codec, nil, s.live)
}

// putBack undoes what an Update that has failed did to *T.
func (s *session) putBack(c *change) {
	if c.before != nil {
		s.put(c.before)
		c.before = nil
	}
}
