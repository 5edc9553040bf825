package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// value returns the handler's *T and notes that somebody looks at it.
func (s *session) value(scope context.Context) any {
	s.look.Lock()
	defer s.look.Unlock()
	if s.live == nil {
		s.birth()
	}
	s.used = true
	// TimeoutHandler's context has a deadline, and ends after what the handler derives from it.
	if at, ok := scope.Deadline(); ok && at.After(s.ends) && scope.Done() != s.Done() {
		s.ends, s.by = at, goroutine()
	}
	return s.live
}

// notice notes that somebody looks at the session, if not at T.
func (s *session) notice() {
	s.look.Lock()
	defer s.look.Unlock()
	s.used = true
}

func (s *session) looked() bool {
	s.look.Lock()
	defer s.look.Unlock()
	return s.used
}

// new makes a fresh T.
func (m *core) new() any {
	v := m.blank()
	if d, ok := v.(Defaulted); ok {
		d.SessionDefaults()
	}
	return v
}

// birth makes a fresh T. look is held.
func (s *session) birth() {
	s.live = s.m.new()
	if s.m.defaulted {
		s.fresh, _ = s.m.Codec.Marshal(s.live) // New has seen it work
	}
}

// forget makes s a session that nobody has stored, with a fresh T under the
// pointer that the handler may hold.
func (s *session) forget() {
	s.token, s.key, s.trail, s.stored, s.renewed, s.gone, s.told, s.barred = "", "", nil, false, false, false, nil, nil
	s.raw, s.rec, s.base, s.doubt, s.since = nil, Record{}, encoded{}, nil, time.Time{}
	s.look.Lock()
	defer s.look.Unlock()
	s.fresh = nil
	if s.live != nil {
		live := s.live
		s.birth()
		s.m.assign(live, s.live)
		s.live = live
	}
}

// outlived says that the context in which *T was handed out is over while the
// goroutine that asked for it may still run: http.TimeoutHandler answers in the
// handler's stead and lets it go on. Encoding T then would be a data race, and
// with a map in T the end of the process. Where the same goroutine answers, it
// is its own deadline that has passed, and T is at rest. Once T is somebody
// else's it stays so, whoever looks at it later.
//
// look is held.
func (s *session) outlived() bool {
	if !s.ends.IsZero() && (!time.Now().Before(s.ends) || s.Err() != nil) {
		s.left = s.left || s.by != goroutine()
	}
	return s.left
}

var errLeft = errors.New("sessions: the handler goes on without its response")

// goroutine tells goroutines apart. It costs microseconds, so only those are
// asked whose context can end before the request's.
func goroutine() string {
	var buf [64]byte
	id, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte(" ["))
	return string(id) // "goroutine 18"
}

// Value makes a session findable in itself as a context.
func (s *session) Value(key any) any {
	if key == s.m.key || key == any(s.m) {
		return s
	}
	return s.Context.Value(key)
}

// String keeps the session's insides out of whatever prints a context.
func (s *session) String() string { return "sessions.Session" }

// Format is String for every verb, those that ask no Stringer among them.
func (s *session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
