package sessions

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// MemoryStore is a [Store] in the memory of this process, for tests and development. Its zero value is
// ready; do not copy it after first use. It is safe for concurrent use, and goes by [time.Now], as in
// testing/synctest.
type MemoryStore struct {
	mu      sync.Mutex
	entries map[string]memoryEntry
	sweepAt int // the number of keys at which Create sweeps; at 0 it makes the map
}

// A memoryEntry's data is replaced, never written to: it can be read without
// the lock.
type memoryEntry struct {
	data    []byte
	expires time.Time
}

const memoryMinSweep = 64

// Load implements [Store].
func (s *MemoryStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	e, left, ok := s.load(key, touch)
	if !ok {
		return nil, 0, ErrNotFound
	}
	return bytes.Clone(e.data), left, nil
}

// Create implements [Store].
func (s *MemoryStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("sessions: create: ttl %v is not positive", ttl)
	}
	data = bytes.Clone(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if _, ok := s.unexpired(key, now); ok {
		return ErrExists
	}
	if len(s.entries) >= s.sweepAt {
		s.sweep(now)
	}
	s.entries[key] = memoryEntry{data, now.Add(ttl)}
	return nil
}

// CompareAndSwap implements [Store].
func (s *MemoryStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if data != nil && ttl <= 0 {
		return nil, fmt.Errorf("sessions: compare and swap: ttl %v is not positive", ttl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	e, ok := s.unexpired(key, now)
	switch {
	case !ok:
		return nil, ErrNotFound
	case !bytes.HasPrefix(e.data, prefix):
		return bytes.Clone(e.data), ErrConflict
	case data == nil:
		delete(s.entries, key)
	default:
		s.entries[key] = memoryEntry{bytes.Clone(data), now.Add(ttl)}
	}
	return nil, nil
}

// Delete implements [Store].
func (s *MemoryStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}

// load is Load under the lock; the copy is made outside it.
func (s *MemoryStore) load(key string, touch time.Duration) (e memoryEntry, left time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e, ok = s.unexpired(key, now); !ok {
		return e, 0, false
	}
	if touch > 0 {
		e.expires = now.Add(touch)
		s.entries[key] = e
	}
	return e, e.expires.Sub(now), true
}

func (s *MemoryStore) unexpired(key string, now time.Time) (memoryEntry, bool) {
	e, ok := s.entries[key]
	return e, ok && now.Before(e.expires)
}

// sweep keeps what is live in a new map: one that has only been deleted from
// never gives its memory back. It walks sweepAt keys, and at least half of
// those were created since the last sweep, so each Create pays for two.
func (s *MemoryStore) sweep(now time.Time) {
	kept := make(map[string]memoryEntry)
	for key, e := range s.entries {
		if now.Before(e.expires) {
			kept[key] = e
		}
	}
	s.entries = kept
	s.sweepAt = max(memoryMinSweep, 2*len(kept))
}
