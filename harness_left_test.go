package sessions_test

import (
	"context"
	"testing"
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

// mergePair is a session that two processes, or one, have a request of.
type mergePair[T any] struct {
	here, there *sessions.Manager[T]
	events      *recorder // of here
	calls       *calls    // of here
	token       string
	store       sessions.Store
}

// newMergePair stores base, by there. With one process it is here and there.
func newMergePair[T any](t *testing.T, store sessions.Store, cfg sessions.Config, there sessions.Codec, one bool, base func(*T)) *mergePair[T] {
	t.Helper()
	p := &mergePair[T]{events: &recorder{}, store: store}
	var counting *stepStore
	counting, p.calls = counted(store)
	cfg.OnEvent = p.events.on
	p.here = newManager[T](t, counting, cfg)
	if p.there = p.here; !one {
		cfg.Codec, cfg.OnEvent = there, nil
		p.there = newManager[T](t, store, cfg)
	}
	ctx, err := p.there.Load(t.Context())
	must(t, err)
	base(p.there.FromContext(ctx))
	o, err := p.there.Commit(ctx)
	must(t, err)
	p.token = o.Token.Reveal()
	return p
}

// mergeEdit is one request.
func mergeEdit[T any](t testing.TB, m *sessions.Manager[T], token string, edit func(*T)) {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	if err != nil {
		t.Error(err)
		return
	}
	edit(m.FromContext(ctx))
	if _, err := m.Commit(ctx); err != nil {
		t.Error(err)
	}
}

// mergeStored is what a token finds.
func mergeStored[T any](t testing.TB, m *sessions.Manager[T], token string) T {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	if err != nil {
		t.Fatal(err)
	}
	if m.Info(ctx).New {
		t.Fatal("there is no session")
	}
	return *m.FromContext(ctx)
}

// mergeTally merges itself: what both have counted adds up.
type mergeTally struct {
	Total int            `json:"total"`
	Seen  map[string]int `json:"seen"`
	Note  string         `json:"note"`
}

// mergeSpy is asked first. The tests that set it do not run in parallel.
var mergeSpy func(mine, base, theirs *mergeTally) error

func (s *mergeTally) MergeSession(base, theirs *mergeTally) error {
	if mergeSpy != nil {
		if err := mergeSpy(s, base, theirs); err != nil {
			return err
		}
	}
	s.Total += theirs.Total - base.Total
	for k, n := range theirs.Seen {
		if s.Seen == nil {
			s.Seen = map[string]int{}
		}
		s.Seen[k] += n - base.Seen[k]
	}
	return nil
}

func spyOnMerge(t *testing.T, spy func(mine, base, theirs *mergeTally) error) {
	mergeSpy = spy
	t.Cleanup(func() { mergeSpy = nil })
}

func mergeTen(s *mergeTally) { s.Total, s.Seen, s.Note = 10, map[string]int{"a": 1, "b": 1}, "base" }
