package sessions

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
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
	indexes memoryIndexes
}

var _ OwnerStore = (*MemoryStore)(nil)

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
	s.store(key, memoryEntry{data, now.Add(ttl)}, now)
	return nil
}

// store stores under a key that may be new.
func (s *MemoryStore) store(key string, e memoryEntry, now time.Time) {
	if len(s.entries) >= s.sweepAt {
		s.sweep(now)
	}
	s.entries[key] = e
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
	s.indexes.sweep(now)
}

// memoryIndexes are the indexes of a MemoryStore, by key.
type memoryIndexes map[string]*memoryIndex

// A memoryIndex is one that has members, or a time of revocation.
type memoryIndex struct {
	created map[string]int64 // by member, in milliseconds
	revoked int64            // in milliseconds; never: not
	expires time.Time
}

const never = math.MinInt64

func (x *memoryIndex) isNone(now time.Time) bool {
	return !now.Before(x.expires) || len(x.created) == 0 && x.revoked == never
}

// at returns the index under key. If there is none, and ttl > 0, it is made; otherwise an empty one is returned, which
// is not kept.
func (m *memoryIndexes) at(key string, now time.Time, ttl time.Duration) *memoryIndex {
	x, ok := (*m)[key]
	if !ok || x.isNone(now) {
		x = &memoryIndex{created: map[string]int64{}, revoked: never}
	}
	if end := now.Add(ttl); ttl > 0 {
		if *m == nil {
			*m = memoryIndexes{}
		}
		(*m)[key] = x
		if end.After(x.expires) {
			x.expires = end
		}
	}
	return x
}

func (m memoryIndexes) sweep(now time.Time) {
	maps.DeleteFunc(m, func(_ string, x *memoryIndex) bool { return x.isNone(now) })
}

// members are all but those left out, in their order, and never nil.
func (x *memoryIndex) members(without ...string) []string {
	all := slices.AppendSeq([]string{}, maps.Keys(x.created))
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(x.created[a], x.created[b]), cmp.Compare(a, b))
	})
	return slices.DeleteFunc(all, func(m string) bool { return slices.Contains(without, m) })
}

// LoadMany implements [OwnerStore].
func (s *MemoryStore) LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	data, left = make([][]byte, len(keys)), make([]time.Duration, len(keys))
	for i, key := range keys {
		if e, rest, ok := s.load(key, 0); ok {
			n := len(e.data)
			if first > 0 {
				n = min(n, first)
			}
			data[i], left[i] = append([]byte{}, e.data[:n]...), rest
		}
	}
	return data, left, nil
}

// Members implements [OwnerStore].
func (s *MemoryStore) Members(ctx context.Context, index string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.indexes.at(index, time.Now(), 0).members(), nil
}

// Place implements [OwnerStore].
func (s *MemoryStore) Place(ctx context.Context, p Placement) (placed Placed, err error) {
	if err := cmp.Or(ctx.Err(), p.validate()); err != nil {
		return placed, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	has := func(key string) bool {
		_, ok := s.unexpired(key, now)
		return ok
	}
	if old, ok := s.unexpired(p.Old, now); p.Old != "" && !ok {
		return placed, ErrNotFound
	} else if p.Old != "" && !bytes.HasPrefix(old.data, p.OldPrefix) {
		placed.Current = bytes.Clone(old.data)
		return placed, ErrConflict
	}
	if e, ok := s.unexpired(p.New, now); p.New != "" && ok {
		placed.Current = bytes.Clone(e.data)
		return placed, ErrExists
	}
	x := s.indexes.at(p.Index, now, 0)
	if _, listed := x.created[p.Remove]; !listed && p.Old != "" && p.Add != "" && p.Created.UnixMilli() <= x.revoked {
		return placed, ErrNotFound
	}
	if p.Limit > 0 {
		if listed := x.members(p.Add, p.Remove); !slices.Equal(listed, p.Members) {
			placed.Members = listed
			return placed, ErrConflict
		}
	}
	var live []int
	for i, key := range p.Keys {
		if has(key) {
			live = append(live, i)
		}
	}
	over := 0
	if p.Limit > 0 {
		over = min(max(len(live)+1-p.Limit, 0), len(live))
	}
	if over > 0 && p.Reject {
		return placed, ErrOwnerLimit
	}
	if p.Add != "" {
		x = s.indexes.at(p.Index, now, p.IndexTTL)
	}
	for i, member := range p.Members {
		if !has(p.Keys[i]) {
			delete(x.created, member)
		}
	}
	for _, i := range live[:over] {
		delete(s.entries, p.Keys[i])
		delete(x.created, p.Members[i])
		placed.Ended = append(placed.Ended, p.Members[i])
	}
	delete(x.created, p.Remove)
	if p.Add != "" {
		x.created[p.Add] = p.Created.UnixMilli()
	}
	if p.New != "" {
		s.store(p.New, memoryEntry{bytes.Clone(p.NewData), now.Add(p.NewTTL)}, now)
	}
	if p.OldData != nil {
		e := s.entries[p.Old]
		if e.data = bytes.Clone(p.OldData); p.OldTTL > 0 {
			e.expires = now.Add(p.OldTTL)
		}
		s.entries[p.Old] = e
	} else if p.Old != "" {
		delete(s.entries, p.Old)
	}
	placed.Count = len(x.created)
	return placed, nil
}

// Relist implements [OwnerStore].
func (s *MemoryStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("sessions: relist: ttl %v is not positive", ttl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e, ok := s.unexpired(key, now); !ok {
		return ErrNotFound
	} else if !bytes.HasPrefix(e.data, prefix) {
		return ErrConflict
	}
	x := s.indexes.at(index, now, 0)
	if _, listed := x.created[member]; !listed && created.UnixMilli() <= x.revoked {
		delete(s.entries, key)
		return ErrGone
	}
	x = s.indexes.at(index, now, ttl)
	x.created[member] = created.UnixMilli()
	return nil
}

// Revoke implements [OwnerStore].
func (s *MemoryStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ttl <= 0 {
		return fmt.Errorf("sessions: revoke: ttl %v is not positive", ttl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.indexes.at(index, time.Now(), ttl)
	x.revoked = max(x.revoked, at.UnixMilli())
	return nil
}

// End implements [OwnerStore].
func (s *MemoryStore) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	x := s.indexes.at(index, now, 0)
	for i, member := range members {
		if _, listed := x.created[member]; !listed {
			continue
		}
		if _, ok := s.unexpired(keys[i], now); ok {
			ended = append(ended, member)
		}
		delete(s.entries, keys[i])
		delete(x.created, member)
	}
	return ended, nil
}
