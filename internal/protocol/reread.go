package protocol

import (
	"context"
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

// Touch restarts the idle timeout. If the store can read but not touch for the moment, that is an error.
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

// reread loads and decodes the session's record, and touches it by the idle timeout that the Session knows.
// If another program has changed that, the record is touched once more, by the one that was found.
func (s *Session) reread(ctx context.Context) (found Found, left time.Duration, touched bool, err error) {
	e, rec := s.engine, s.Record
	for range 2 {
		touch := e.TTL(&rec)
		if touch <= 0 {
			return found, 0, false, s.NoteEnded()
		}
		if e.idle(&rec) == 0 {
			touch = 0
		}
		var raw []byte
		raw, left, err = s.fetch(ctx, touch)
		touched = touch == 0 || left == touch
		if err == nil {
			found, err = s.openUnlessMark(raw)
			if found.Record.IsMark() && touch > 0 && touched {
				s.restoreMark(ctx, s.Key, &found.Record)
			}
		}
		if err == nil {
			err = s.app.Decode(found.Record)
		}
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
