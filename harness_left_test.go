package sessions_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What is left here of the suites that have moved to internal/behaviour/races and
// merging is used by the tests of Update.

// contended is a store where somebody else always gets there first.
type contended struct {
	sessions.MemoryStore
	write func(ctx context.Context)
	delay time.Duration
	busy  bool
}

func (s *contended) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if !s.busy && s.write != nil {
		s.busy = true
		s.write(context.WithoutCancel(ctx))
		s.busy = false
	}
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if !s.busy && s.write != nil {
		time.Sleep(s.delay)
	}
	return current, err
}

// lostThenParked loses the reply to the first command of its kind, and parks the
// repetition before the server gets it.
func lostThenParked(g *redistest.Gate) func(n int) redistest.Action {
	return func(n int) redistest.Action {
		switch n {
		case 1:
			return redistest.DropReply
		case 2:
			return redistest.Before(g)
		}
		return redistest.Pass
	}
}

func bubbled(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
