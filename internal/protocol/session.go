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
	LastSeen  time.Time // the last touch or write, or the load if a look is to touch it
	Expires   time.Time // when the store will forget it
	Touched   bool      // its idle timeout was restarted: since BeginLook, if that has been called

	byRecord bool // its token does not say by which timeout it is touched: the record does
	lookDue  bool // the load has left the touch to a look
	Asked    bool // a load has asked the store

	// What has happened to it elsewhere.
	Gone             bool // it has ended; Key may be set all the same
	endNoted         bool // the application has notice of that
	RenewedElsewhere bool // a token of the request was renewed by another request, at most markTTL ago

	// Unreadable is why the record that the request came with cannot be read. It is set only under
	// UnreadableReadOnly: nothing may be stored then, because its cookie would replace that record's.
	Unreadable error

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
	s.Touched, s.byRecord, s.lookDue, s.endNoted = false, false, false, false
	s.Gone, s.RenewedElsewhere, s.Unreadable = false, false, nil
	s.seenMarks, s.destroyKeys, s.refused = nil, destroyKeys{}, nil
}

// NoteEnded notes that the session has ended elsewhere, and gives notice of it once.
func (s *Session) NoteEnded() error {
	s.Gone = true
	if !s.endNoted {
		s.endNoted = true
		s.app.Notice(Notice{Kind: Gone, Err: ErrGone})
	}
	return ErrGone
}

// noteIfGone is NoteEnded for an error that says so.
func (s *Session) noteIfGone(err error) error {
	if errors.Is(err, ErrGone) {
		return s.NoteEnded()
	}
	return err
}

// noticeRecord gives notice of a record that is not the Session's.
func (s *Session) noticeRecord(kind NoticeKind, rec record.Record, err error) {
	s.app.Notice(Notice{Kind: kind, Record: &rec, Err: err})
}

// minPause is the shortest pause. Shorter pauses are not made: a timer costs as much.
const minPause = 100 * time.Microsecond

// outOfTime reports that a writer's time is over.
func (s *Session) outOfTime() error {
	s.app.Notice(Notice{Kind: OutOfTime, Err: ErrConflict})
	return ErrConflict
}

// fetch loads what is under the session's key now. If nothing is there, the session has ended: [ErrGone].
func (s *Session) fetch(ctx context.Context, touch time.Duration) ([]byte, time.Duration, error) {
	raw, left, err := s.engine.store.Load(ctx, s.app, s.Key, touch)
	if errors.Is(err, ErrNotFound) {
		err = ErrGone
	}
	return raw, left, err
}

// openUnlessMark reads the header of what is under the session's key now. A mark there means that the session
// was renewed elsewhere: under this token it has ended, [ErrGone]. So it has where the bytes say that nothing is stored.
func (s *Session) openUnlessMark(raw []byte) (Found, error) {
	rec, err := s.engine.openRecord(raw)
	switch {
	case errors.Is(err, ErrNotFound):
		err = ErrGone
	case err == nil && rec.IsMark():
		s.noteMark(s.Key, &rec)
		err = ErrGone
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
	prefix []byte        // of the record as it was loaded
	record record.Record // as it was loaded
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
