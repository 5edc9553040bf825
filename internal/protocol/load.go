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

// Load finds the session of the first valid token. An unknown token is not accepted as a new session's, and
// its cookie is not cleared. Two tokens that stand for two valid sessions give neither. A passive load does
// not restart the idle timeout.
func (s *Session) Load(parent context.Context, tokens []string, passive bool) error {
	e := s.engine
	var ctx *deadline.Context
	var validKeys [MaxCandidates]string
	n := 0
	for i, token := range tokens[:min(len(tokens), MaxCandidates)] {
		remembered, known, ok := e.Layout.Parse(token)
		if !ok || slices.Contains(tokens[:i], token) {
			continue
		}
		if ctx == nil {
			ctx = s.loadContext.Start(parent, e.Timeout)
			defer ctx.Stop()
		}
		// The touch is the idle timeout alone; the Lifetime is checked when the record is opened.
		touch := e.Timeouts(remembered).Idle
		if passive || !known {
			touch = 0
		}
		found, err := s.loadToken(ctx, token, touch, known || passive)
		if err != nil {
			return err
		}
		if found {
			validKeys[n] = s.Key
			n++
		}
	}
	if n > 1 {
		s.app.Notice(Notice{Kind: TwoSessions})
		keys := s.destroyKeys
		s.Reset()
		for _, key := range validKeys[:n] {
			keys.add(key, time.Now())
		}
		s.destroyKeys = keys
	}
	return nil
}

// loadToken loads the record of one token and makes it the Session's. Whatever is wrong with the record
// itself is reported and means that nothing was found. If the token does not say by which timeout to touch,
// touched is false and the record is touched by the timeout found in it.
func (s *Session) loadToken(ctx context.Context, token string, touch time.Duration, touched bool) (bool, error) {
	e := s.engine
	key := e.Layout.Key(e.Realm, token)
	raw, left, err := e.store.Load(ctx, s.app, key, touch)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			if n := e.unknown.add(); n > 0 {
				s.app.Notice(Notice{Kind: ManyUnknown, Count: n})
			}
		}
		return false, unlessMissing(err)
	}
	rec, valid, err := s.read(ctx, key, raw)
	if !valid {
		return false, err
	}
	if !touched && e.idle(&rec) > 0 {
		now, firstRaw := time.Now(), raw
		touch = e.Timeouts(rec.Remembered).TTL(&rec, now)
		if raw, left, err = e.store.Load(ctx, s.app, key, touch); err != nil {
			return false, unlessMissing(err)
		}
		if !bytes.Equal(raw, firstRaw) { // it was written between the two
			if rec, valid, err = s.read(ctx, key, raw); !valid {
				return false, err
			}
			if ttl := e.Timeouts(rec.Remembered).TTL(&rec, now); ttl != touch {
				touch = ttl
				if _, left, err = e.store.Load(ctx, s.app, key, touch); err != nil {
					return false, unlessMissing(err)
				}
			}
		}
	}
	if touch > 0 && left != touch {
		s.app.Notice(Notice{Kind: TouchSkipped})
	}
	s.Token, s.Key = token, key
	s.app.Adopt()
	s.Adopt(&Found{Raw: raw, Record: rec}, left)
	if idle := e.idle(&rec); left != touch && idle > left {
		s.LastSeen = s.LastSeen.Add(left - idle)
	}
	return true, nil
}

// read opens and decodes what is under a key. It is valid if it is a session's record whose time is not up
// and which can be read. If it is not, it is deleted, noted for Destroy, or reported; an error is one for the
// visitor.
func (s *Session) read(ctx context.Context, key string, raw []byte) (rec record.Record, valid bool, err error) {
	e := s.engine
	rec, err = e.openRecord(raw)
	dated := !rec.Created.IsZero() // or the header could not be read, and nothing is known yet
	switch {
	case dated && e.timeIsUp(&rec):
		s.expire(ctx, key, raw, rec)
		return rec, false, nil
	case rec.IsMark():
		s.destroyKeys.add(string(rec.Successor), rec.Created)
		s.RenewedElsewhere = true
		return rec, false, nil
	}
	if err == nil {
		err = s.app.Decode(rec)
	}
	if err == nil && !dated && e.timeIsUp(&rec) {
		s.expire(ctx, key, raw, rec)
		return rec, false, nil
	}
	e.setIDFromKey(&rec, key)
	if err != nil {
		return rec, false, s.unreadable(rec, key, err)
	}
	return rec, true, nil
}

// timeIsUp tells whether a mark or a record has stood for its time.
func (e *Engine) timeIsUp(rec *record.Record) bool {
	if rec.IsMark() {
		return time.Since(rec.Created) >= markTTL
	}
	return e.TTL(rec) <= 0
}

// expire deletes a record whose time is up, readable or not: otherwise repeated use of the token would keep it
// alive.
func (s *Session) expire(ctx context.Context, key string, raw []byte, rec record.Record) {
	s.engine.setIDFromKey(&rec, key)
	if _, err := s.engine.store.CompareAndDelete(ctx, s.app, key, raw[:rec.Prefix]); err == nil && !rec.IsMark() {
		s.noticeRecord(Expired, rec, nil)
	}
}

// unlessMissing is the error of a load, except that a missing key is none.
func unlessMissing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// unreadable reports a record that cannot be read and leaves it to Destroy. It is no error for the visitor,
// unless a newer build wrote the record.
func (s *Session) unreadable(rec record.Record, key string, err error) error {
	if rec.Version > s.engine.Version && errors.Is(err, ErrNewerVersion) {
		return err
	}
	s.noticeRecord(Undecodable, rec, err)
	s.destroyKeys.add(key, time.Now())
	s.Record.Attrs = rec.Attrs // by them the Transport takes back what the client has, after a Destroy
	return nil
}

// noticeRecord gives notice of a record that is not the Session's.
func (s *Session) noticeRecord(kind NoticeKind, rec record.Record, err error) {
	s.app.Notice(Notice{Kind: kind, Record: &rec, Err: err})
}
