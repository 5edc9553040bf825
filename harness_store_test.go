package sessions_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// stepStore lets a test look at, fail, or park each operation of a store. The
// hooks get the operation's name; an error from before keeps it from happening,
// one from after hides that it has happened.
type stepStore struct {
	sessions.Store
	before, after func(op, key string) error
}

func (s *stepStore) Timeout() time.Duration { return time.Minute } // parked, not slow

func (s *stepStore) step(op, key string, f func() error) error {
	if s.before != nil {
		if err := s.before(op, key); err != nil {
			return err
		}
	}
	err := f()
	if s.after != nil {
		if lost := s.after(op, key); lost != nil {
			return lost
		}
	}
	return err
}

func (s *stepStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = s.step("Load", key, func() (err error) {
		data, left, err = s.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (s *stepStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.step("Create", key, func() error { return s.Store.Create(ctx, key, data, ttl) })
}

func (s *stepStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	err = s.step("CompareAndSwap", key, func() (err error) {
		current, err = s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (s *stepStore) Delete(ctx context.Context, key string) error {
	return s.step("Delete", key, func() error { return s.Store.Delete(ctx, key) })
}

// calls are the operations that reached a store.
type calls struct {
	mu  sync.Mutex
	ops []string
}

func (c *calls) add(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, op)
}

// take returns the operations since the last take.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := strings.Join(c.ops, " ")
	c.ops = nil
	return ops
}

// counted is a store whose calls are kept.
func counted(store sessions.Store) (*stepStore, *calls) {
	log := &calls{}
	return &stepStore{Store: store, before: func(op, _ string) error {
		log.add(op)
		return nil
	}}, log
}

func wantCalls(t testing.TB, log *calls, what, want string) {
	t.Helper()
	if got := log.take(); got != want {
		t.Errorf("store calls for %s: %q, want %q", what, got, want)
	}
}

const century = 100 * 365 * 24 * time.Hour

// spyStore remembers every key that was ever created and every ttl asked for.
type spyStore struct {
	sessions.Store
	mu   sync.Mutex
	keys []string
	ttls []time.Duration
}

func (s *spyStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.note(key, ttl)
	return s.Store.Create(ctx, key, data, ttl)
}

func (s *spyStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if data != nil {
		s.note(key, ttl)
	}
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

func (s *spyStore) note(key string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.ttls = append(s.keys, key), append(s.ttls, ttl)
}

// left are the records still there: sessions, and marks of renewals.
func (s *spyStore) left(t testing.TB) (live, marks int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.keys)
	for _, key := range slices.Compact(s.keys) {
		data, _, err := s.Store.Load(context.Background(), key, 0)
		line, _, _ := bytes.Cut(data, []byte{'\n'})
		switch {
		case errors.Is(err, sessions.ErrNotFound):
		case err != nil:
			t.Fatal(err)
		case bytes.Contains(line, []byte(`"successor"`)):
			marks++
		default:
			live++
		}
	}
	return live, marks
}

func memory() sessions.Store { return &sessions.MemoryStore{} }

// opLog is a store that remembers what was asked of it, as "Load" or
// "Create key".
type opLog struct {
	sessions.Store
	mu  sync.Mutex
	ops []string
}

func newOpLog() (*opLog, sessions.Store) {
	c := &opLog{}
	c.Store = &sessions.MemoryStore{}
	return c, &stepStore{Store: c.Store, before: func(op, key string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ops = append(c.ops, op+" "+key)
		return nil
	}}
}

// take returns the operations so far, without their keys, and forgets them.
func (c *opLog) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := []string{}
	for _, op := range c.ops {
		op, _, _ = strings.Cut(op, " ")
		ops = append(ops, op)
	}
	c.ops = nil
	return ops
}

// keysOf returns the keys of the operations of one kind so far.
func (c *opLog) keysOf(kind string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for _, op := range c.ops {
		if op, key, _ := strings.Cut(op, " "); op == kind {
			keys = append(keys, key)
		}
	}
	return keys
}
