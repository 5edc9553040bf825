package protocol

import (
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/deadline"
	"github.com/typedsessions/sessions/internal/record"
)

// A Session is one session as one request knows it. It is not safe for concurrent use. The zero value must
// be given its Engine and Application by [Session.Init].
type Session struct {
	engine *Engine
	app    Application

	// The record as it was loaded or last written. Key is empty exactly if nothing is stored.
	Token  string
	Key    string
	Raw    []byte
	Record record.Record // its fields are views into Raw

	// What is known of its time. All three are zero if nothing is stored.
	KnownAt  time.Time // when the record was in the store for certain
	LastSeen time.Time // the last touch or write
	Expires  time.Time // when the store will forget it

	// What has happened to it elsewhere.
	Gone    bool // it has ended
	Renewed bool // a token of the request was renewed by another request, at most markTTL ago

	stale   staleTokens
	loading deadline.Context // here, because a load then needs no allocation for it
}

// Found is a record as it is in the store.
type Found struct {
	Raw    []byte
	Record record.Record
	// Known says that it is what the Session has loaded or written last, nobody else's.
	Known bool
}

// Init prepares the zero Session.
func (s *Session) Init(e *Engine, app Application) { s.engine, s.app = e, app }

// Stored tells whether the store has a record of the session, as far as is known.
func (s *Session) Stored() bool { return s.Key != "" }

// Over tells whether the session has ended elsewhere. So it has for a token that was renewed while the
// request was on its way: a session created now would send a cookie that replaces the renewed one in the
// browser. Only a sign-in may do that.
func (s *Session) Over() bool { return s.Gone || s.Renewed && !s.Stored() }

// ID returns the session's ID. One that is not stored yet is drawn at the first call, unless the Layout
// derives it from the key.
func (s *Session) ID() []byte {
	if len(s.Record.ID) == 0 && s.engine.IDOf == nil {
		s.Record.ID = []byte(uuid.NewString())
	}
	return s.Record.ID
}

// TTL is how long the session's record may stay in the store from now on.
func (s *Session) TTL() time.Duration { return s.engine.TTL(&s.Record) }

// Adopt makes a record that is in the store under Key the session's.
func (s *Session) Adopt(f *Found, left time.Duration) {
	s.Raw, s.Record = f.Raw, f.Record
	s.engine.identify(&s.Record, s.Key)
	if len(s.Record.ID) == 0 {
		s.Record.ID = []byte(Digest(s.Key))
	}
	s.KnownAt = time.Now()
	s.LastSeen, s.Expires = s.KnownAt, s.KnownAt.Add(left)
}

// Forget makes it a session that nobody has stored.
func (s *Session) Forget() {
	s.Token, s.Key, s.Raw, s.Record = "", "", nil, record.Record{}
	s.KnownAt, s.LastSeen, s.Expires = time.Time{}, time.Time{}, time.Time{}
	s.Gone, s.Renewed, s.stale = false, false, staleTokens{}
}

// End notes that the session has ended elsewhere.
func (s *Session) End() error {
	if !s.Gone {
		s.Gone = true
		s.app.Notice(Notice{Kind: Gone, Err: ErrGone})
	}
	return ErrGone
}

// staleTokens are keys behind the request's tokens that it cannot use: where a renewed session lives now, a
// record that cannot be read, each of two valid sessions. Destroy ends what is there.
type staleTokens struct {
	keys  []string
	since time.Time // when a session was known to be under the first of them
}

func (t *staleTokens) add(key string, at time.Time) {
	t.keys = append(t.keys, key)
	if t.since.IsZero() || at.Before(t.since) {
		t.since = at
	}
}
