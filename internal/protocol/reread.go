package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Reread makes the record that is under the session's key now the Session's, and restarts the idle timeout.
func (s *Session) Reread(ctx context.Context) error {
	found, left, touched, err := s.rereadForVerb(ctx)
	if err != nil {
		return err
	}
	s.app.Adopt()
	s.Adopt(&found, left)
	s.Touched = touched
	return nil
}

// Touch restarts the idle timeout. If the store can read but not touch for the moment, that is an error.
func (s *Session) Touch(ctx context.Context) error {
	_, left, touched, err := s.rereadForVerb(ctx)
	if err != nil {
		return err
	}
	if s.noteTouch(left, touched); !touched {
		return fmt.Errorf("%w: it reads, but restarts no expiry for the moment", ErrUnavailable)
	}
	return nil
}

// BeginLook tells whether [Session.Look] has to look at the record before the response header is written: the token
// does not say by which timeout it is touched, and the request has touched it, or is to. From then on Touched is true
// when a write or Look has found the session under its token.
func (s *Session) BeginLook() bool {
	due := s.byRecord && s.Stored() && (s.lookDue || s.Touched)
	if due {
		s.Touched = false
	}
	return due
}

// Look restarts the idle timeout, unless a write has done so since BeginLook. If it finds that the session has
// ended, Gone is set, and notice of that is given when a change is dropped. Of any other failure the response need not
// know: only Touched stays false.
func (s *Session) Look(ctx context.Context) {
	if s.Touched || s.Gone {
		return
	}
	_, left, touched, err := s.reread(ctx, false)
	switch {
	case err == nil:
		s.noteTouch(left, touched)
	case errors.Is(err, ErrGone):
		s.Gone = true
	}
	s.lookDue = false
}

// noteTouch notes that the store will forget the session after left, and that its idle timeout was restarted, now or
// within the Interval.
func (s *Session) noteTouch(left time.Duration, touched bool) {
	now := time.Now()
	s.Expires = now.Add(left)
	if s.Touched = touched; touched {
		s.LastSeen = now
		timeouts := s.engine.Timeouts(s.Record.Remembered)
		if ttl := timeouts.TTL(&s.Record, now); timeouts.IsRecent(left, ttl) {
			s.LastSeen = now.Add(left - ttl)
		}
	}
}

// IdleUntil is when the store will forget the session, if a look that is to touch it does so.
func (s *Session) IdleUntil() time.Time {
	end := s.Expires
	if s.lookDue {
		if touched := s.LastSeen.Add(s.engine.Timeouts(s.Record.Remembered).TTL(&s.Record, s.LastSeen)); touched.After(end) {
			end = touched
		}
	}
	return end
}

// rereadForVerb is reread of a record that the application decodes. If the session has ended, there is notice of that.
func (s *Session) rereadForVerb(ctx context.Context) (found Found, left time.Duration, touched bool, err error) {
	found, left, touched, err = s.reread(ctx, true)
	if err == nil {
		err = s.app.Decode(found.Record)
	}
	return found, left, touched, s.noteIfGone(err)
}

// reread loads the session's record and reads its header, and touches it by the idle timeout that the Session knows.
// If another program has changed that, the record is touched once more, by the one that was found. Where the token
// does not say by which timeout, an expiry is never shortened: the other program may not touch at all. Without always, a
// record that was touched within the Interval is not touched.
func (s *Session) reread(ctx context.Context, always bool) (found Found, left time.Duration, touched bool, err error) {
	e, rec := s.engine, s.Record
	left = time.Until(s.Expires)
	restarted := false // left is what a touch of ours has set
	for try := 1; ; try++ {
		ttl := e.TTL(&rec)
		if ttl <= 0 {
			return found, 0, false, ErrGone
		}
		touch := ttl
		recent := !always && !restarted && e.Timeouts(rec.Remembered).IsRecent(left, ttl)
		if e.idle(&rec) == 0 || recent || s.byRecord && !restarted && ttl < left {
			touch = 0
		}
		var raw []byte
		raw, left, err = s.fetch(ctx, touch)
		if restarted = touch > 0 && left == touch; left <= 0 { // the store does not say: then at most that
			left = ttl
		}
		if err == nil && bytes.Equal(raw, s.Raw) {
			found = Found{Raw: raw, Record: s.Record}
		} else if err == nil {
			found, err = s.openUnlessMark(raw)
			if found.Record.IsMark() && restarted {
				s.restoreMark(ctx, s.Key, &found.Record)
			}
		}
		if err == nil {
			err = s.relist(ctx, s.Key, &found, left)
		}
		if touched = touch == 0 || restarted; err != nil || found.Record.Idle == rec.Idle || try == 2 {
			break
		}
		rec = found.Record
	}
	if !touched && err == nil {
		s.app.Notice(Notice{Kind: TouchSkipped})
	}
	return found, left, touched, err
}
