package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// A testCase is one rule of the contract.
type testCase struct {
	name  string
	why   string // what the rule is for: ends every failure message
	check func(s *subject)
}

// A subject is the store under test in one case. Data are strings here:
// checks compare them, and nothing can be shared by accident.
type subject struct {
	*testing.T
	sessions.Store
	why       string
	pass      func(t *testing.T, d time.Duration) // Options.Advance
	neighbour func(t *testing.T) sessions.Store   // Options.Neighbour; nil if there is none
	mark      time.Time                           // real time from here on is not in spent yet
	spent     time.Duration                       // real time of the case, Advance excluded
}

func (s *subject) Errorf(format string, args ...any) {
	s.Helper()
	s.T.Errorf("%s\n\twhy: %s", fmt.Sprintf(format, args...), s.why)
}

func (s *subject) Fatalf(format string, args ...any) {
	s.Helper()
	s.T.Fatalf("%s\n\twhy: %s", fmt.Sprintf(format, args...), s.why)
}

func (s *subject) advance(d time.Duration) {
	s.Helper()
	s.spent += time.Since(s.mark)
	s.pass(s.T, d)
	s.mark = time.Now()
}

func (s *subject) create(key, data string, ttl time.Duration) {
	s.Helper()
	if err := s.Create(s.Context(), key, []byte(data), ttl); err != nil {
		s.Fatalf("Create(%s, %s, %v): %v", show(key), show(data), ttl, err)
	}
}

func (s *subject) swap(key, prefix, data string, ttl time.Duration) {
	s.Helper()
	if _, err := s.CompareAndSwap(s.Context(), key, []byte(prefix), []byte(data), ttl); err != nil {
		s.Fatalf("CompareAndSwap(%s, %s, %s, %v): %v", show(key), show(prefix), show(data), ttl, err)
	}
}

func (s *subject) touch(key string, touch time.Duration) {
	s.Helper()
	_, left, err := s.Load(s.Context(), key, touch)
	if err != nil {
		s.Fatalf("Load(%s, %v): %v", show(key), touch, err)
	}
	if !s.about(left, touch) {
		s.Errorf("Load(%s, %v) says %v left", show(key), touch, left)
	}
}

func (s *subject) delete(key string) {
	s.Helper()
	if err := s.Delete(s.Context(), key); err != nil {
		s.Fatalf("Delete(%s): %v", show(key), err)
	}
}

// holds checks the value of key, and returns what it has left to live.
func (s *subject) holds(key, want string) (left time.Duration) {
	s.Helper()
	got, left, err := s.Load(s.Context(), key, 0)
	if err != nil {
		s.Fatalf("Load(%s, 0): %v, want %s", show(key), err, show(want))
	}
	if string(got) != want {
		s.Errorf("Load(%s, 0) = %s, want %s", show(key), show(got), show(want))
	}
	return left
}

// holdsFor checks the value of key and what it has left to live.
func (s *subject) holdsFor(key, want string, wantLeft time.Duration) {
	s.Helper()
	if left := s.holds(key, want); !s.about(left, wantLeft) {
		s.Errorf("Load(%s, 0) says %v left, want %v", show(key), left, wantLeft)
	}
}

func (s *subject) missing(key string) {
	s.Helper()
	data, left, err := s.Load(s.Context(), key, 0)
	if err == nil {
		s.Errorf("Load(%s, 0) = %s with %v left, want %q", show(key), show(data), left, sessions.ErrNotFound)
		return
	}
	s.wantErr("Load of a missing key", err, sessions.ErrNotFound)
}

// wantErr checks that err is want, and none of the contract's other errors.
func (s *subject) wantErr(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got error %v, want %q", what, err, want)
		return
	}
	for _, other := range sentinels {
		if other != want && errors.Is(err, other) {
			s.Errorf("%s: error %q is %q, want only %q", what, err, other, want)
		}
	}
}

// wantRefused checks that err is one, and none of those that callers branch on.
func (s *subject) wantRefused(what string, err error) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: no error", what)
	}
	for _, other := range sentinels {
		if errors.Is(err, other) {
			s.Errorf("%s: error %q is %q; it is the caller's mistake", what, err, other)
		}
	}
}

var sentinels = []error{sessions.ErrNotFound, sessions.ErrExists, sessions.ErrConflict, sessions.ErrUnavailable, sessions.ErrGone, sessions.ErrOwnerLimit}

// wantConflict checks that a CompareAndSwap lost against current.
func (s *subject) wantConflict(key, prefix string, data []byte, want string) {
	s.Helper()
	current, err := s.CompareAndSwap(s.Context(), key, []byte(prefix), data, time.Minute)
	s.wantErr(fmt.Sprintf("CompareAndSwap(%s, %s, %s) on %s", show(key), show(prefix), show(data), show(want)), err, sessions.ErrConflict)
	if errors.Is(err, sessions.ErrConflict) && string(current) != want {
		s.Errorf("CompareAndSwap(%s, %s, %s) returned %s with its error, want the current value %s", show(key), show(prefix), show(data), show(current), show(want))
	}
}

// about reports whether left is want to within a second, and the time that
// the case itself took on a clock that does not stand still.
func (s *subject) about(left, want time.Duration) bool {
	elapsed := s.spent + time.Since(s.mark)
	return want-elapsed-time.Second <= left && left <= want+time.Second
}

// show quotes a key or a value for a message.
func show[B string | []byte](b B) string {
	if b, ok := any(b).([]byte); ok && b == nil {
		return "nil"
	}
	if len(b) > 64 {
		return fmt.Sprintf("%q… (%d bytes)", string(b[:16]), len(b))
	}
	return fmt.Sprintf("%q", string(b))
}

// clobber overwrites b, as an owner of bytes may.
func clobber(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

func cancelled(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	cancel()
	return ctx
}
