package kit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// A Store decorates another one: it counts the calls and remembers what was
// written, and a test can park or fail each of its steps. A step is named like
// "before CompareAndSwap" or "after Load".
//
// A Store with its inner one set is ready for use: &kit.Store{Store: kit.Memory()}.
type Store struct {
	sessions.Store

	// Before and After are run at each operation, if they are set. An error of
	// Before keeps the operation from happening, one of After hides that it has
	// happened.
	Before, After func(op, key string) error

	// NoOwners makes it a store that keeps no index of a user's sessions, whatever the inner one can.
	NoOwners bool

	// ByStep gives a Place the name of what nobody's session needs in its place, as an [Owner] does.
	ByStep bool

	// NoTouch makes it a store that for the moment can only read, as a replica
	// can: Load leaves the expiry alone.
	NoTouch bool

	mu      sync.Mutex
	calls   []call
	written []string // keys
	ttls    []time.Duration
	gates   map[string]*Gate
	faults  map[string]error
}

type call struct{ op, key string }

// Calls returns the operations asked for since the last Calls, in order, as in
// "Load CompareAndSwap". It leaves out Relist, which a process asks for once a minute.
func (s *Store) Calls() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []string
	for _, c := range s.calls {
		if c.op != "Relist" {
			ops = append(ops, c.op)
		}
	}
	s.calls = nil
	return strings.Join(ops, " ")
}

// WantCalls compares Calls; what is what made them.
func (s *Store) WantCalls(t testing.TB, what, want string) {
	t.Helper()
	if got := s.Calls(); got != want {
		t.Errorf("store calls for %s: %q, want %q", what, got, want)
	}
}

// Keys returns the keys of the operations op since the last Calls, in order.
func (s *Store) Keys(op string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, c := range s.calls {
		if c.op == op {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// TTLs returns how long each write since the last TTLs was to be kept.
func (s *Store) TTLs() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	ttls := s.ttls
	s.ttls = nil
	return ttls
}

// Left are the records still there of all that were ever written: sessions, and
// marks of renewals.
func (s *Store) Left(t testing.TB) (live, marks int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.written)
	s.written = slices.Compact(s.written)
	s.wantExact(t, Owner, s.written)
	for _, key := range s.written {
		data, _, err := s.Store.Load(context.Background(), key, 0)
		switch {
		case errors.Is(err, sessions.ErrNotFound):
		case err != nil:
			t.Fatal(err)
		case IsMark(string(data)):
			marks++
		default:
			live++
		}
	}
	return live, marks
}

// At parks the next operation that comes to the step, until the gate is opened.
func (s *Store) At(step string) *Gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gates == nil {
		s.gates = map[string]*Gate{}
	}
	g := NewGate()
	s.gates[step] = g
	return g
}

// Fail lets every operation fail with err at these steps until Heal; without
// any, before each operation.
func (s *Store) Fail(err error, steps ...string) {
	if len(steps) == 0 {
		for _, op := range []string{"Load", "Create", "CompareAndSwap", "Delete", "LoadMany", "Members", "Place", "Relist", "Revoke", "End"} {
			steps = append(steps, "before "+op)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults = map[string]error{}
	}
	for _, step := range steps {
		s.faults[step] = err
	}
}

// Heal ends what Fail has begun.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Timeout is the inner store's, or so long that a parked operation is not slow.
func (s *Store) Timeout() time.Duration {
	if inner, ok := s.Store.(interface{ Timeout() time.Duration }); ok {
		return inner.Timeout()
	}
	return time.Minute
}

// Validate is the inner store's.
func (s *Store) Validate() error {
	if inner, ok := s.Store.(interface{ Validate() error }); ok {
		return inner.Validate()
	}
	return nil
}

// reach is what happens at a step.
func (s *Store) reach(when, op, key string, hook func(op, key string) error) error {
	var err error
	if hook != nil {
		err = hook(op, key)
	}
	step := when + " " + op
	s.mu.Lock()
	g, fault := s.gates[step], s.faults[step]
	delete(s.gates, step)
	s.mu.Unlock()
	if g != nil {
		g.Pass()
	}
	if err == nil {
		err = fault
	}
	return err
}

func (s *Store) do(op, key string, f func() error) error {
	s.mu.Lock()
	s.calls = append(s.calls, call{op, key})
	s.mu.Unlock()
	if err := s.reach("before", op, key, s.Before); err != nil {
		return err
	}
	err := f()
	if lost := s.reach("after", op, key, s.After); lost != nil {
		return lost
	}
	return err
}

func (s *Store) wrote(key string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written, s.ttls = append(s.written, key), append(s.ttls, ttl)
}

// Load is the inner store's.
func (s *Store) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	if s.NoTouch {
		touch = 0
	}
	err = s.do("Load", key, func() (err error) {
		data, left, err = s.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

// Create is the inner store's.
func (s *Store) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.do("Create", key, func() error {
		s.wrote(key, ttl)
		return s.Store.Create(ctx, key, data, ttl)
	})
}

// CompareAndSwap is the inner store's.
func (s *Store) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	err = s.do("CompareAndSwap", key, func() (err error) {
		if data != nil {
			s.wrote(key, ttl)
		}
		current, err = s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

// Delete is the inner store's.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do("Delete", key, func() error { return s.Store.Delete(ctx, key) })
}

// An ownerStore is a Store whose inner one is an OwnerStore.
type ownerStore struct {
	*Store
	owners sessions.OwnerStore
}

// WithOwners is s as the store of a Manager: an OwnerStore if the inner store is one.
func (s *Store) WithOwners() sessions.Store {
	inner := s.Store
	if store, ok := inner.(*Store); ok {
		inner = store.WithOwners()
	}
	if owners, ok := inner.(sessions.OwnerStore); ok && !s.NoOwners {
		return ownerStore{s, owners}
	}
	return s
}

// OwnerTimeout is the longest Timeout that New allows for an Owned T.
const OwnerTimeout = 4 * time.Second

// Timeout is the Store's, as far as that is allowed.
func (s ownerStore) Timeout() time.Duration { return min(s.Store.Timeout(), OwnerTimeout) }

// LoadMany is the inner store's.
func (s ownerStore) LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error) {
	err = s.do("LoadMany", strings.Join(keys, " "), func() (err error) {
		data, left, err = s.owners.LoadMany(ctx, keys, first)
		return err
	})
	return data, left, err
}

// Members is the inner store's.
func (s ownerStore) Members(ctx context.Context, index string) (members []string, err error) {
	err = s.do("Members", index, func() (err error) {
		members, err = s.owners.Members(ctx, index)
		return err
	})
	return members, err
}

// Place is the inner store's. Its key is the old one, or else the new one, or else the index. With an [Owner], or
// ByStep, the step has the name of what nobody's session needs there.
func (s ownerStore) Place(ctx context.Context, p sessions.Placement) (placed sessions.Placed, err error) {
	op := "Place"
	if Owner != "" || s.ByStep {
		op = StepOf(p)
	}
	err = s.do(op, cmp.Or(p.Old, p.New, p.Index), func() (err error) {
		if p.New != "" {
			s.wrote(p.New, p.NewTTL)
		}
		if p.OldData != nil {
			s.wrote(p.Old, p.OldTTL)
		}
		placed, err = s.owners.Place(ctx, p)
		return err
	})
	return placed, err
}

// StepOf is the operation that nobody's session needs in the place of a Placement.
func StepOf(p sessions.Placement) string {
	switch {
	case p.Old != "":
		return "CompareAndSwap"
	case p.New != "":
		return "Create"
	}
	return "Place"
}

// Relist is the inner store's.
func (s ownerStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return s.do("Relist", key, func() error { return s.owners.Relist(ctx, index, key, prefix, member, created, ttl) })
}

// Revoke is the inner store's.
func (s ownerStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return s.do("Revoke", index, func() error { return s.owners.Revoke(ctx, index, at, ttl) })
}

// End is the inner store's.
func (s ownerStore) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	err = s.do("End", strings.Join(keys, " "), func() (err error) {
		ended, err = s.owners.End(ctx, index, members, keys)
		return err
	})
	return ended, err
}

// A Gate parks whoever passes it: the test waits until somebody has come, acts,
// and opens it.
type Gate struct {
	reached, opened chan struct{}
}

// NewGate is a closed gate for one to pass.
func NewGate() *Gate { return &Gate{make(chan struct{}), make(chan struct{})} }

// Pass parks the caller until Open.
func (g *Gate) Pass() {
	close(g.reached)
	<-g.opened
}

// Reached is closed when somebody stands at the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Wait returns when somebody stands at the gate.
func (g *Gate) Wait() { <-g.reached }

// Open lets him go on.
func (g *Gate) Open() { close(g.opened) }

// Memory is an empty MemoryStore.
func Memory() sessions.Store { return &sessions.MemoryStore{} }

// Immortal is a MemoryStore that never lets anything expire, as one whose clock
// stands still.
func Immortal() sessions.Store { return &immortal{} }

type immortal struct{ sessions.MemoryStore }

const century = 100 * 365 * 24 * time.Hour

func (s *immortal) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := s.MemoryStore.Load(ctx, key, 0)
	if touch > 0 {
		left = touch
	}
	return data, left, err
}

func (s *immortal) Create(ctx context.Context, key string, data []byte, _ time.Duration) error {
	return s.MemoryStore.Create(ctx, key, data, century)
}

func (s *immortal) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, _ time.Duration) ([]byte, error) {
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, century)
}

func (s *immortal) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	p.IndexTTL, p.OldTTL, p.NewTTL = century, century, century
	return s.MemoryStore.Place(ctx, p)
}
