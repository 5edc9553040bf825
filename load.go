package sessions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"runtime"
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
		trail, since := append(s.trail, valid...), s.since
		if since.IsZero() {
			since = time.Now()
		}
		s.forget()
		s.trail, s.since = trail, since
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
	at, err := m.read(raw)
	rec := &at.rec
	m.identify(rec, key)
	t := m.timeout[class(rec.Remembered)]
	switch {
	case rec.Successor != nil && now.Sub(rec.Created) >= markTTL,
		(err == nil || !rec.Created.IsZero()) && t.ttl(rec, now) <= 0:
		// On sight, readable or not, or replays of the token would keep it alive.
		if _, err := m.store.CompareAndSwap(ctx, key, raw[:rec.Prefix], nil, 0); s.check(err) == nil && rec.Successor == nil {
			s.about(rec, EventExpired, nil)
		}
		return false, nil
	case rec.Successor != nil:
		s.follow(string(rec.Successor), rec.Created)
		s.renewed = true
		return false, nil
	case err != nil:
		return false, s.leave(rec, key, err)
	}
	if !touched && (t.idle > 0 || rec.Idle > 0) {
		touch = t.ttl(rec, now)
		var again []byte
		again, left, err = m.store.Load(ctx, key, touch)
		if err = s.check(err); err == nil && !bytes.Equal(again, raw) { // written between the two
			at, err = m.read(again)
			m.identify(rec, key)
			t = m.timeout[class(rec.Remembered)]
			if other := t.ttl(rec, now); err == nil && rec.Successor == nil && other > 0 && other != touch {
				touch = other
				_, left, err = m.store.Load(ctx, key, touch)
				err = s.check(err)
			}
		}
		switch {
		case errors.Is(err, ErrNotFound), err == nil && rec.Successor != nil:
			return false, nil
		case err != nil:
			return false, s.leave(rec, key, err)
		}
	}
	if touch > 0 && left != touch {
		s.event(EventTouchSkipped, nil)
	}
	s.token, s.key, s.stored, s.live = token, key, true, at.live
	s.adopt(&at, left)
	if rec.Idle > 0 {
		t.idle = rec.Idle
	}
	if left != touch && t.idle > left {
		s.seen = s.seen.Add(left - t.idle)
	}
	return true, nil
}

// leave reports a record that cannot be read and leaves it to Destroy. It is no
// error for the visitor, other than a newer build's.
func (s *session) leave(rec *Record, key string, err error) error {
	if _, ok := errors.AsType[*DecodeError](err); !ok {
		return err
	}
	s.about(rec, EventUndecodable, err)
	s.follow(key, time.Now())
	s.rec.Attrs = rec.Attrs // by which Destroy takes back what the client has
	return nil
}

// follow leaves a key to Destroy, where a session was at that time.
func (s *session) follow(key string, at time.Time) {
	s.trail = append(s.trail, key)
	if s.since.IsZero() || at.Before(s.since) {
		s.since = at
	}
}

// An identifier is a Layout whose format calls a session by its key.
type identifier interface{ ID(key string) string }

func (m *core) identify(rec *Record, key string) {
	if l, ok := m.Layout.(identifier); ok && len(rec.ID) == 0 {
		rec.ID = []byte(l.ID(key))
	}
}

// idOf is a record's ID, and for a format that has none what the Layout calls
// it, or a hash of the key, the same each time: the key may be the token.
func (m *core) idOf(rec *Record, key string) []byte {
	if m.identify(rec, key); len(rec.ID) > 0 {
		return rec.ID
	}
	return []byte(digest(key))
}

func digest(key string) string {
	return uuid.NewHash(sha256.New(), uuid.Nil, []byte(key), 8).String()
}

// read opens a stored record and decodes T, in the order in which a broken or
// hostile one does the least harm: size, header, version, structure, T.
func (m *core) read(raw []byte) (at stored, err error) {
	at.raw = raw
	at.rec, err = m.peek(raw)
	if err != nil || at.rec.Successor != nil {
		return at, err
	}
	rec := &at.rec
	codec := m.codecOf(rec)
	if codec == nil {
		return at, unreadable(rec, "codec", fmt.Errorf("no codec named %.20q: set Config.Codec", rec.Codec))
	}
	at.live = m.blank()
	at.base = encoded{codec: codec, data: rec.Payload}
	if rec.Version == m.version {
		at.base.own = m.alone(rec)
		err = codec.Unmarshal(rec.Payload, at.live)
	} else if err = m.upgradeFrom(rec.Version, encoded{codec: codec, data: rec.Payload}, at.live); err == nil {
		at.base, err = m.encodeBy(m.Codec, nil, at.live)
	}
	if err != nil {
		return at, unreadable(rec, pathOf(err), err)
	}
	at.base.owner = m.owner(at.live)
	return at, nil
}

// peek reads what is before T.
func (m *core) peek(raw []byte) (Record, error) {
	rec, err := m.Layout.Open(raw)
	switch {
	case err != nil:
		rec = Record{ID: rec.ID} // half a header decides nothing
		return rec, unreadable(&rec, "header", err)
	case rec.Successor != nil:
		return rec, nil
	case len(raw) > m.MaxSize:
		return rec, unreadable(&rec, "", fmt.Errorf("%w: %d bytes, MaxSize is %d", ErrTooLarge, len(raw), m.MaxSize))
	case rec.Version > m.version:
		return rec, fmt.Errorf("%w: it has version %d, this build's %s has %d", ErrNewerVersion, rec.Version, m.name, m.version)
	}
	return rec, nil
}

func unreadable(rec *Record, path string, err error) error {
	return &DecodeError{ID: string(rec.ID), Path: path, Err: err}
}

// upgradeFrom lets a fresh T make itself of an older version's data. A panic is
// an error as any other: a stored record must not bring down each request of
// its visitor.
func (m *core) upgradeFrom(version int, old encoded, live any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("UpgradeSession from version %d panics with a %T", version, p) // which may hold what it stumbled over
			if bug, ok := p.(runtime.Error); ok {
				err = fmt.Errorf("%w: %w", err, bug)
			}
		}
	}()
	err = live.(Versioned).UpgradeSession(version, func(v any) error {
		if p := reflect.ValueOf(v); p.Kind() != reflect.Pointer || p.IsNil() {
			return fmt.Errorf("sessions: UpgradeSession decodes into a %T: give it a pointer", v)
		}
		return old.codec.Unmarshal(old.data, v)
	})
	if err != nil {
		err = fmt.Errorf("UpgradeSession from version %d: %w", version, err)
	}
	return err
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
