package storetest_test

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/typedsessions/sessions"
)

// An ownerStore is a third party's Store that has become an OwnerStore by what follows.
type ownerStore struct{ *flawed }

type ownerIndex struct {
	created map[string]time.Time
	noted   time.Time
	expires time.Time
}

// on runs f with the index that is there, or a new one that is kept if f adds to it.
func (s ownerStore) on(ctx context.Context, index string, ttl time.Duration, f func(x *ownerIndex) error) error {
	if ttl <= 0 {
		return errOther
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	x := s.indexes[s.key(index)]
	if x == nil || !time.Now().Before(x.expires) {
		x = &ownerIndex{created: map[string]time.Time{}}
		s.indexes[s.key(index)] = x
	}
	return f(x)
}

func (x *ownerIndex) keep(ttl time.Duration) {
	if end := time.Now().Add(ttl); end.After(x.expires) {
		x.expires = end
	}
}

func (x *ownerIndex) members(without ...string) []string {
	members := slices.AppendSeq([]string{}, maps.Keys(x.created))
	slices.SortFunc(members, func(a, b string) int { return cmp.Or(x.created[a].Compare(x.created[b]), cmp.Compare(a, b)) })
	return slices.DeleteFunc(members, func(m string) bool { return slices.Contains(without, m) })
}

func (x *ownerIndex) revoked(member string, created time.Time) bool {
	_, listed := x.created[member]
	return !listed && !x.noted.IsZero() && !created.After(x.noted)
}

func (s ownerStore) LoadMany(ctx context.Context, keys []string, _ int) (data [][]byte, left []time.Duration, err error) {
	for _, key := range keys {
		d, l, err := s.Load(ctx, key, 0)
		if err != nil && err != sessions.ErrNotFound {
			return nil, nil, err
		}
		data, left = append(data, d), append(left, l)
	}
	return data, left, nil
}

func (s ownerStore) Members(ctx context.Context, index string) (members []string, err error) {
	err = s.on(ctx, index, 1, func(x *ownerIndex) error { members = x.members(); return nil })
	return members, err
}

func (s ownerStore) Place(ctx context.Context, p sessions.Placement) (placed sessions.Placed, err error) {
	if p.Add != "" && p.IndexTTL <= 0 || p.New != "" && p.NewTTL <= 0 || p.OldTTL < 0 {
		return placed, errOther
	}
	err = s.on(ctx, p.Index, 1, func(x *ownerIndex) error {
		old, isOld := s.find(s.key(p.Old))
		there, isThere := s.find(s.key(p.New))
		room := p.Limit - 1
		for _, key := range p.Keys {
			if _, ok := s.find(s.key(key)); ok {
				room--
			}
		}
		switch {
		case p.Old != "" && !isOld:
			return sessions.ErrNotFound
		case p.Old != "" && !bytes.HasPrefix(old.data, p.OldPrefix):
			placed.Current = bytes.Clone(old.data)
			return sessions.ErrConflict
		case p.New != "" && isThere:
			placed.Current = bytes.Clone(there.data)
			return sessions.ErrExists
		case p.Old != "" && p.Add != "" && x.revoked(p.Remove, p.Created):
			return sessions.ErrNotFound
		case p.Limit > 0 && !slices.Equal(x.members(p.Add, p.Remove), p.Members):
			placed.Members = x.members(p.Add, p.Remove)
			return sessions.ErrConflict
		case p.Limit > 0 && p.Reject && room < 0:
			return sessions.ErrOwnerLimit
		}
		for i, member := range p.Members {
			if _, ok := s.find(s.key(p.Keys[i])); !ok {
				delete(x.created, member)
			} else if p.Limit > 0 && room < 0 {
				room++
				delete(s.entries, s.key(p.Keys[i]))
				delete(x.created, member)
				placed.Ended = append(placed.Ended, member)
			}
		}
		delete(x.created, p.Remove)
		if p.Add != "" {
			x.created[p.Add] = p.Created.Truncate(time.Millisecond)
			x.keep(p.IndexTTL)
		}
		if p.New != "" {
			s.entries[s.key(p.New)] = entry{append([]byte{}, p.NewData...), time.Now().Add(p.NewTTL)}
		}
		if p.Old != "" {
			if p.OldTTL > 0 {
				old.expires = time.Now().Add(p.OldTTL)
			}
			s.entries[s.key(p.Old)] = entry{bytes.Clone(p.OldData), old.expires}
			if p.OldData == nil {
				delete(s.entries, s.key(p.Old))
			}
		}
		placed.Count = len(x.created)
		return nil
	})
	return placed, err
}

func (s ownerStore) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return s.on(ctx, index, ttl, func(x *ownerIndex) error {
		e, ok := s.find(s.key(key))
		switch {
		case !ok:
			return sessions.ErrNotFound
		case !bytes.HasPrefix(e.data, prefix):
			return sessions.ErrConflict
		case x.revoked(member, created):
			delete(s.entries, s.key(key))
			return sessions.ErrGone
		}
		x.created[member] = created.Truncate(time.Millisecond)
		x.keep(ttl)
		return nil
	})
}

func (s ownerStore) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	return s.on(ctx, index, ttl, func(x *ownerIndex) error {
		if at.After(x.noted) {
			x.noted = at
		}
		x.keep(ttl)
		return nil
	})
}

func (s ownerStore) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	err = s.on(ctx, index, 1, func(x *ownerIndex) error {
		for i, member := range members {
			if _, listed := x.created[member]; !listed {
				continue
			}
			if _, ok := s.find(s.key(keys[i])); ok {
				ended = append(ended, member)
			}
			delete(s.entries, s.key(keys[i]))
			delete(x.created, member)
		}
		return nil
	})
	return ended, err
}
