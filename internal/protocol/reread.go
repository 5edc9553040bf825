package protocol

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reread makes the record that is under the session's key now the Session's, and restarts the idle timeout.
func (s *Session) Reread(ctx context.Context) error {
	found, left, _, err := s.reread(ctx)
	if err == nil {
		s.app.Adopt()
		s.Adopt(&found, left)
	}
	return err
}

// Touch restarts the idle timeout. That the store can read but not touch for the moment is an error.
func (s *Session) Touch(ctx context.Context) error {
	_, left, touched, err := s.reread(ctx)
	if err != nil {
		return err
	}
	s.Expires = time.Now().Add(left)
	if !touched {
		return fmt.Errorf("%w: it reads, but restarts no expiry for the moment", ErrUnavailable)
	}
	s.LastSeen = time.Now()
	return nil
}

// reread loads, decodes and touches by the record's own idle timeout. Another program may have changed that: then it
// is touched once more, by what is found.
func (s *Session) reread(ctx context.Context) (found Found, left time.Duration, touched bool, err error) {
	e, rec := s.engine, s.Record
	for range 2 {
		touch := e.TTL(&rec)
		if touch <= 0 {
			return found, 0, false, s.End()
		}
		if e.idle(&rec) == 0 {
			touch = 0
		}
		var raw []byte
		raw, left, err = s.fetch(ctx, touch)
		if err == nil {
			found, err = s.inspect(raw)
		}
		if err == nil {
			err = s.app.Decode(found.Record)
		}
		touched = touch == 0 || left == touch
		if err != nil || found.Record.Idle == rec.Idle {
			break
		}
		rec = found.Record
	}
	if !touched && err == nil {
		s.app.Notice(Notice{Kind: TouchSkipped})
	}
	return found, left, touched, err
}

// fetch loads what is under the session's key now. If nothing is there, the session has ended.
func (s *Session) fetch(ctx context.Context, touch time.Duration) ([]byte, time.Duration, error) {
	raw, left, err := s.engine.store.Load(ctx, s.app, s.Key, touch)
	if errors.Is(err, ErrNotFound) {
		err = s.End()
	}
	return raw, left, err
}

// inspect reads the header of what is under the session's key now. A mark there means that the session was
// renewed elsewhere: under this token it has ended.
func (s *Session) inspect(raw []byte) (Found, error) {
	rec, err := s.engine.open(raw)
	if err == nil && rec.IsMark() {
		err = s.End()
	}
	return Found{Raw: raw, Record: rec}, err
}
