package protocol

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedsessions/sessions/internal/deadline"
	"github.com/typedsessions/sessions/internal/record"
)

// A Session is one session as one request knows it. It is not safe for concurrent use. The zero value must be
// given its Engine and Application by [Session.Init].
type Session struct {
	engine *Engine
	app    Application

	// The record as it was loaded or last written. Token and Key are both set or both empty; they are empty
	// exactly if nothing is stored.
	Token  string
	Key    string
	Raw    []byte
	Record record.Record // its fields are views into Raw; it may hold ID or Attrs while nothing is stored

	// What is known of its time. All three are zero if nothing is stored.
	InStoreAt time.Time // when the record was in the store for certain
	LastSeen  time.Time // the last touch or write
	Expires   time.Time // when the store will forget it

	// What has happened to it elsewhere.
	Gone             bool // it has ended; Key may be set all the same
	RenewedElsewhere bool // a token of the request was renewed by another request, at most markTTL ago

	seenMarks   []seenMark // in this order
	destroyKeys destroyKeys
	refused     []refused
	loadContext deadline.Context // here, because a load then needs no allocation for it
}

// Found is a record as it is in the store.
type Found struct {
	Raw    []byte
	Record record.Record
	// Own says that it is what the Session has loaded or written last, and no other request's write.
	Own bool
}

// Init gives the zero Session its Engine and Application.
func (s *Session) Init(e *Engine, app Application) { s.engine, s.app = e, app }

// Stored tells whether the store has a record of the session, as far as is known.
func (s *Session) Stored() bool { return s.Key != "" }

// HasEnded tells whether the session has ended elsewhere. A session whose token was renewed while the request
// was on its way counts as ended too: a session created now would send a cookie that replaces the renewed one
// in the browser. Only a sign-in may do that.
func (s *Session) HasEnded() bool { return s.Gone || s.RenewedElsewhere && !s.Stored() }

// ID returns the session's ID. One that is not stored yet is drawn at the first call, unless the Layout
// derives it from the key.
func (s *Session) ID() []byte {
	if len(s.Record.ID) == 0 {
		s.Record.ID = s.engine.NewID()
	}
	return s.Record.ID
}

// Adopt makes a record that is in the store under Key the session's.
func (s *Session) Adopt(f *Found, left time.Duration) {
	s.Raw, s.Record = f.Raw, f.Record
	s.engine.setIDFromKey(&s.Record, s.Key)
	if len(s.Record.ID) == 0 {
		s.Record.ID = []byte(HashID(s.Key))
	}
	s.InStoreAt = time.Now()
	s.LastSeen, s.Expires = s.InStoreAt, s.InStoreAt.Add(left)
}

// Reset makes it a new session, of which nothing is stored.
func (s *Session) Reset() {
	s.Token, s.Key, s.Raw, s.Record = "", "", nil, record.Record{}
	s.InStoreAt, s.LastSeen, s.Expires = time.Time{}, time.Time{}, time.Time{}
	s.Gone, s.RenewedElsewhere, s.seenMarks, s.destroyKeys, s.refused = false, false, nil, destroyKeys{}, nil
}

// NoteEnded notes that the session has ended elsewhere.
func (s *Session) NoteEnded() error {
	if !s.Gone {
		s.Gone = true
		s.app.Notice(Notice{Kind: Gone, Err: ErrGone})
	}
	return ErrGone
}

// fetch loads what is under the session's key now. If nothing is there, the session has ended.
func (s *Session) fetch(ctx context.Context, touch time.Duration) ([]byte, time.Duration, error) {
	raw, left, err := s.engine.store.Load(ctx, s.app, s.Key, touch)
	if errors.Is(err, ErrNotFound) {
		err = s.NoteEnded()
	}
	return raw, left, err
}

// openUnlessMark reads the header of what is under the session's key now. A mark there means that the session
// was renewed elsewhere: under this token it has ended.
func (s *Session) openUnlessMark(raw []byte) (Found, error) {
	rec, err := s.engine.openRecord(raw)
	if err == nil && rec.IsMark() {
		s.noteMark(s.Key, &rec)
		err = s.NoteEnded()
	}
	return Found{Raw: raw, Record: rec}, err
}

// markTTL is how long a mark stands under the old token's key.
const markTTL = 10 * time.Second

// A seenMark is a mark that the request has found in the store, which keeps it until the deadline unless it evicts
// keys.
type seenMark struct {
	key      string
	deadline time.Time
}

func (s *Session) noteMark(key string, mark *record.Record) {
	s.seenMarks = append(s.seenMarks, seenMark{key, mark.Created.Add(markTTL)})
}

// destroyKeys are the keys that Destroy also ends, beside the Session's: behind the request's tokens, but of
// no use to it. Such is the key where a renewed session lives now, that of a record that cannot be read, and
// that of each of two valid sessions.
type destroyKeys struct {
	keys []string
	// since is the earliest time at which a session was known to be under one of them. It is zero exactly if
	// keys is empty.
	since time.Time
}

// A refused is one of two valid sessions that the request carried. Nobody can tell which of them is the user's.
type refused struct {
	key    string
	prefix []byte // of the record as it was loaded
	attrs  any
}

func (k *destroyKeys) add(key string, at time.Time) {
	k.keys = append(k.keys, key)
	if k.since.IsZero() || at.Before(k.since) {
		k.since = at
	}
}

// remove takes out a key under which nothing is left to destroy.
func (k *destroyKeys) remove(key string) {
	k.keys = slices.DeleteFunc(k.keys, func(other string) bool { return other == key })
	if len(k.keys) == 0 {
		*k = destroyKeys{}
	}
}
