package seams_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/storetest"
)

// mapStore is a foreign Store.
type mapStore struct {
	mu sync.Mutex
	m  map[string]mapValue
}

type mapValue struct {
	data []byte
	end  time.Time
}

func (s *mapStore) get(key string) (mapValue, bool) {
	v, ok := s.m[key]
	return v, ok && time.Now().Before(v.end)
}

func (s *mapStore) put(key string, data []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errors.New("no ttl")
	}
	if s.m == nil {
		s.m = map[string]mapValue{}
	}
	s.m[key] = mapValue{bytes.Clone(data), time.Now().Add(ttl)}
	return nil
}

func (s *mapStore) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.get(key)
	switch {
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case !ok:
		return nil, 0, sessions.ErrNotFound
	case touch > 0:
		v.end = time.Now().Add(touch)
		s.m[key] = v
	}
	return bytes.Clone(v.data), time.Until(v.end), nil
}

func (s *mapStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.get(key); ok || ctx.Err() != nil {
		return cmp.Or(ctx.Err(), sessions.ErrExists)
	}
	return s.put(key, data, ttl)
}

func (s *mapStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.get(key)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, sessions.ErrNotFound
	case !bytes.HasPrefix(v.data, prefix):
		return bytes.Clone(v.data), sessions.ErrConflict
	case data == nil:
		delete(s.m, key)
		return nil, nil
	}
	return nil, s.put(key, data, ttl)
}

func (s *mapStore) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil {
		delete(s.m, key)
	}
	return ctx.Err()
}

func TestForeignStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Options{
		New:       func(*testing.T) sessions.Store { return new(mapStore) },
		Neighbour: func(*testing.T) sessions.Store { return new(mapStore) },
		Wrap:      synctest.Test,
	})
}
