package sessions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/typedsessions/sessions/internal/deadline"
)

// load is steps 1 to 4 of a request: from candidate tokens to a session. An
// unknown token leaves no trace: it is neither adopted nor cleared.
func (m *core) load(parent context.Context, tokens []string, passive bool) (*session, error) {
	s := &session{Context: parent, m: m}
	s.lock("load")
	defer s.release()
	var ctx *deadline.Context
	var valid []string
	for i, token := range tokens[:min(len(tokens), maxCandidates)] {
		remembered, known, ok := m.Layout.Parse(token)
		if !ok || slices.Contains(tokens[:i], token) {
			continue
		}
		if ctx == nil {
			ctx = s.loading.Start(parent, m.budget)
			defer ctx.Stop()
		}
		touch := m.timeout[class(remembered)].idle
		if passive || !known {
			touch = 0
		}
		found, err := s.open(ctx, token, touch, known || passive)
		if err != nil {
			return nil, err
		}
		if found {
			valid = append(valid, s.key)
		}
	}
	if len(valid) > 1 {
		s.event(EventTwoSessions, nil)
		trail := append(s.trail, valid...)
		s.forget()
		s.trail = trail
	}
	return s, nil
}

// open loads the record of one token into s. Whatever is wrong with the record
// itself is reported and gives a fresh session.
func (s *session) open(ctx context.Context, token string, touch time.Duration, touched bool) (bool, error) {
	m := s.m
	key := m.Layout.Key(m.Realm, token)
	raw, left, err := m.store.Load(ctx, key, touch)
	switch err = s.check(err); {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	now := time.Now()
	rec, live, err := m.read(raw)
	t := m.timeout[class(rec.Remembered)]
	switch {
	case rec.Successor != nil && now.Sub(rec.Created) >= markTTL,
		(err == nil || !rec.Created.IsZero()) && t.ttl(&rec, now) <= 0:
		// On sight, readable or not, or replays of the token would keep it alive.
		if _, err := m.store.CompareAndSwap(ctx, key, raw[:rec.Prefix], nil, 0); s.check(err) == nil && rec.Successor == nil {
			s.about(&rec, EventExpired, nil)
		}
		return false, nil
	case rec.Successor != nil:
		s.trail, s.renewed = append(s.trail, string(rec.Successor)), true
		return false, nil
	case err != nil:
		return false, s.unreadable(&rec, key, err)
	}
	if !touched && (t.idle > 0 || rec.Idle > 0) {
		touch = t.ttl(&rec, now)
		var again []byte
		again, left, err = m.store.Load(ctx, key, touch)
		if err = s.check(err); err == nil && !bytes.Equal(again, raw) { // written between the two
			raw = again
			rec, live, err = m.read(raw)
		}
		switch {
		case errors.Is(err, ErrNotFound), err == nil && rec.Successor != nil:
			return false, nil
		case err != nil:
			return false, s.unreadable(&rec, key, err)
		}
	}
	if touch > 0 && left != touch {
		s.event(EventTouchSkipped, nil)
	}
	s.token, s.key, s.stored, s.live = token, key, true, live
	rec.ID = idOf(&rec, key)
	s.adopt(raw, rec, encoded{m.codecOf(&rec), rec.Payload}, left)
	if rec.Idle > 0 {
		t.idle = rec.Idle
	}
	if left != touch && t.idle > left {
		s.seen = s.seen.Add(left - t.idle)
	}
	return true, nil
}

// unreadable reports a record that cannot be read and leaves it to Destroy. It
// is no error for the visitor, other than a newer build's.
func (s *session) unreadable(rec *Record, key string, err error) error {
	if _, ok := errors.AsType[*DecodeError](err); !ok {
		return err
	}
	s.about(rec, EventUndecodable, err)
	s.trail = append(s.trail, key)
	return nil
}

// idOf is a record's ID, and for a format that has none, the same each time: of
// a hash of the key, for the key may be the token.
func idOf(rec *Record, key string) []byte {
	if len(rec.ID) > 0 {
		return rec.ID
	}
	return []byte(uuid.NewHash(sha256.New(), uuid.Nil, []byte(key), 8).String())
}

// read opens a stored record and decodes T, in the order in which a broken or
// hostile one does the least harm: size, header, version, structure, T.
func (m *core) read(raw []byte) (Record, any, error) {
	rec, err := m.Layout.Open(raw)
	fail := func(path string, err error) (Record, any, error) {
		return rec, nil, &DecodeError{ID: string(rec.ID), Path: path, Err: err}
	}
	switch {
	case err != nil:
		rec = Record{ID: rec.ID} // half a header decides nothing
		return fail("header", err)
	case rec.Successor != nil:
		return rec, nil, nil
	case len(raw) > m.MaxSize:
		return fail("", fmt.Errorf("%w: %d bytes, MaxSize is %d", ErrTooLarge, len(raw), m.MaxSize))
	case rec.Version > 0:
		return rec, nil, fmt.Errorf("%w: version %d", ErrNewerVersion, rec.Version)
	}
	codec := m.codecOf(&rec)
	if codec == nil {
		return fail("codec", fmt.Errorf("no codec named %.20q: set Config.Codec", rec.Codec))
	}
	live := m.blank()
	if err := codec.Unmarshal(rec.Payload, live); err != nil {
		return fail(pathOf(err), err)
	}
	return rec, live, nil
}

// pathOf finds the field that a decoder complains about.
func pathOf(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Path() string
	}](err); ok {
		return e.Path()
	}
	return ""
}

// seal writes a record and reads it back, for its prefix and its views.
func (m *core) seal(r Record) ([]byte, Record, error) {
	raw, err := m.Layout.Seal(r)
	if err != nil {
		return nil, r, fmt.Errorf("sessions: Layout: %w", err)
	}
	if len(raw) > m.MaxSize {
		return nil, r, fmt.Errorf("%w: %d bytes, MaxSize is %d", ErrTooLarge, len(raw), m.MaxSize)
	}
	if r, err = m.Layout.Open(raw); err != nil {
		return nil, r, fmt.Errorf("sessions: Layout: it cannot open what it sealed: %w", err)
	}
	return raw, r, nil
}
