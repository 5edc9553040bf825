package protocol

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/deadline"
	"github.com/typedsessions/sessions/internal/record"
)

// MaxCandidates is how many tokens of one request are tried.
const MaxCandidates = 4

// Load finds the session of the first valid token. An unknown token leaves no trace: it is neither adopted
// nor cleared. Two tokens that stand for two valid sessions give neither. A passive load does not restart
// the idle timeout.
func (s *Session) Load(parent context.Context, tokens []string, passive bool) error {
	e := s.engine
	var ctx *deadline.Context
	var valid [MaxCandidates]string
	n := 0
	for i, token := range tokens[:min(len(tokens), MaxCandidates)] {
		remembered, known, ok := e.Layout.Parse(token)
		if !ok || slices.Contains(tokens[:i], token) {
			continue
		}
		if ctx == nil {
			ctx = s.loading.Start(parent, e.Timeout)
			defer ctx.Stop()
		}
		touch := e.Timeouts(remembered).Idle
		if passive || !known {
			touch = 0
		}
		found, err := s.open(ctx, token, touch, known || passive)
		if err != nil {
			return err
		}
		if found {
			valid[n] = s.Key
			n++
		}
	}
	if n > 1 {
		s.app.Notice(Notice{Kind: TwoSessions})
		stale := s.stale
		s.Forget()
		for _, key := range valid[:n] {
			stale.add(key, time.Now())
		}
		s.stale = stale
	}
	return nil
}

// open loads the record of one token. Whatever is wrong with the record itself is reported and means that
// nothing was found. If the token does not say by which timeout to touch, touched is false and the record
// is touched by the timeout found in it.
func (s *Session) open(ctx context.Context, token string, touch time.Duration, touched bool) (bool, error) {
	e := s.engine
	key := e.Layout.Key(e.Realm, token)
	raw, left, err := e.store.Load(ctx, s.app, key, touch)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	now := time.Now()
	rec, err := e.open(raw)
	timeouts := e.Timeouts(rec.Remembered)
	switch {
	case rec.IsMark() && now.Sub(rec.Created) >= markTTL,
		!rec.IsMark() && (err == nil || !rec.Created.IsZero()) && timeouts.TTL(&rec, now) <= 0:
		// It is deleted now, readable or not: otherwise repeated use of the token would keep it alive.
		e.identify(&rec, key)
		if _, err := e.store.CompareAndDelete(ctx, s.app, key, raw[:rec.Prefix]); err == nil && !rec.IsMark() {
			s.noticeRecord(Expired, rec, nil)
		}
		return false, nil
	case rec.IsMark():
		s.stale.add(string(rec.Successor), rec.Created)
		s.Renewed = true
		return false, nil
	}
	if err == nil {
		err = s.app.Decode(rec)
	}
	e.identify(&rec, key)
	if err != nil {
		return false, s.unreadable(rec, key, err)
	}
	if !touched && (timeouts.Idle > 0 || rec.Idle > 0) {
		touch = timeouts.TTL(&rec, now)
		var again []byte
		again, left, err = e.store.Load(ctx, s.app, key, touch)
		if err == nil && !bytes.Equal(again, raw) { // it was written between the two
			raw = again
			var bad error
			if rec, bad = e.open(raw); bad == nil && !rec.IsMark() {
				bad = s.app.Decode(rec)
			}
			e.identify(&rec, key)
			if bad != nil {
				return false, s.unreadable(rec, key, bad)
			}
			timeouts = e.Timeouts(rec.Remembered)
			if other := timeouts.TTL(&rec, now); !rec.IsMark() && other > 0 && other != touch {
				touch = other
				_, left, err = e.store.Load(ctx, s.app, key, touch)
			}
		}
		switch {
		case errors.Is(err, ErrNotFound), err == nil && rec.IsMark():
			return false, nil
		case err != nil:
			return false, err
		}
	}
	if touch > 0 && left != touch {
		s.app.Notice(Notice{Kind: TouchSkipped})
	}
	s.Token, s.Key = token, key
	s.app.Adopt()
	s.Adopt(&Found{Raw: raw, Record: rec}, left)
	if rec.Idle > 0 {
		timeouts.Idle = rec.Idle
	}
	if left != touch && timeouts.Idle > left {
		s.LastSeen = s.LastSeen.Add(left - timeouts.Idle)
	}
	return true, nil
}

// unreadable reports a record that cannot be read and leaves it to Destroy. It is no error for the visitor,
// unless a newer build wrote the record.
func (s *Session) unreadable(rec record.Record, key string, err error) error {
	if errors.Is(err, ErrNewerVersion) {
		return err
	}
	s.noticeRecord(Undecodable, rec, err)
	s.stale.add(key, time.Now())
	s.Record.Attrs = rec.Attrs // by which Destroy takes back what the client has
	return nil
}

// noticeRecord tells of a record that is not the Session's.
func (s *Session) noticeRecord(kind NoticeKind, rec record.Record, err error) {
	s.app.Notice(Notice{Kind: kind, Record: &rec, Err: err})
}
