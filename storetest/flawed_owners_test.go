package storetest_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestOwnerStore(t *testing.T) {
	t.Parallel()
	runFlawed(t, func(s *flawed) sessions.Store { return ownerStore{s} })
}

// The flaws that an OwnerStore may have, as flaws.
var ownerFlaws = []flaw{
	{"", ""},

	{"LoadMany leaves out what is not there", "S9 S13 S17 S19 S20 S21 S23"},
	{"LoadMany gives an empty value for nothing", "S13 S17"},
	{"LoadMany gives nil for an empty value", "S17"},
	{"LoadMany restarts expiries", "S17 S19"},
	{"LoadMany says nothing of what is left", "S17"},
	{"LoadMany mixes up the keys", "S17"},
	{"LoadMany takes a thousand keys", "S17"},
	{"LoadMany shares bytes", "S17"},
	{"LoadMany cuts a byte too much", "S17"},
	{"LoadMany cuts without first", "S17"},

	{"Members has the newest first", "S12 S13 S18 S19 S20 S21 S22 S23"},
	{"Members goes by bytes alone", "S18 S19 S20 S23"},
	{"Members has equal scores in any order", "S18 S20"},
	{"Members has the time noted", "S13 S18 S20 S21 S22 S23"},
	{"Members of nothing is ErrNotFound", "S13 S18 S19 S20 S21 S22 S23 S24"},

	{"Place adds before it looks", "S9 S12 S19 S20 S21 S23 S24"},
	{"Place works in two steps", "S19 S20 S24"},
	{"Place overwrites", "S9 S19"},
	{"Place has no Current", "S19"},
	{"Place ignores OldPrefix", "S9 S19"},
	{"Place creates Old", "S19 S24"},
	{"Place looks for New before Old", "S9 S19"},
	{"Place tells of the index before the value", "S19"},
	{"Place with OldTTL 0 restarts the expiry", "S19"},
	{"Place with nil OldData stores an empty value", "S19"},
	{"Place with empty OldData deletes", "S19"},
	{"Place does not store OldData", "S9 S19"},
	{"Place leaves Remove", "S13 S18 S19 S20 S23 S24"},
	{"Place does not list Add", "S12 S13 S18 S19 S20 S21 S22 S23 S24"},
	{"Place keeps the score of Add", "S18 S19"},
	{"Place goes by the time that Revoke has noted for new sessions too", "S13 S23"},
	{"Place does not go by the time that Revoke has noted", "S19 S23"},
	{"Place takes off no dead members", "S19"},
	{"Place takes off live members", "S19 S20"},
	{"Place miscounts", "S18 S19 S20"},
	{"Place counts the time noted", "S18 S20"},
	{"Place keeps the bytes handed in", "S9"},
	{"Place takes a ttl of 0", "S21"},

	{"Limit knows no Members", "S19 S20"},
	{"Limit knows Members in any order", "S20"},
	{"Limit has no Members", "S19 S20"},
	{"Limit has nil Members of an empty index", "S20"},
	{"Limit knows Remove", "S19 S20"},
	{"Limit is one too many", "S20"},
	{"Limit is one too few", "S19 S20"},
	{"Limit evicts the newest", "S20"},
	{"Limit evicts off the index alone", "S20"},
	{"Limit counts the dead", "S20"},
	{"Limit tells of the dead", "S20"},
	{"Limit tells of none", "S20"},
	{"Limit evicts under Reject", "S19 S20"},
	{"Limit rejects always", "S20"},
	{"Limit prunes under Reject", "S20"},

	{"an index never expires", "S21 S23"},
	{"an index expires as it was told last", "S21 S23"},
	{"an index is never kept for longer", "S21"},

	{"Relist lists the dead", "S22"},
	{"Relist does not list", "S21 S22 S23 S24"},
	{"Relist ignores the prefix", "S22"},
	{"Relist scores by now", "S21 S22 S23"},
	{"Relist ignores the time noted", "S23"},
	{"Relist refuses listed members too", "S22 S23"},
	{"Relist leaves what was revoked", "S23"},
	{"Relist works in two steps", "S22 S23 S24"},
	{"Relist takes a ttl of 0", "S21"},

	{"Revoke forgets a later time", "S23"},
	{"Revoke keeps the first time", "S23"},
	{"Revoke spares its own millisecond", "S23"},
	{"the time noted goes with the last member", "S23"},
	{"Revoke ends its next millisecond", "S23"},
	{"Revoke takes all members off", "S12 S18 S19 S20 S21 S22 S23"},
	{"Revoke takes a ttl of 0", "S21"},

	{"End ends what is not listed", "S24"},
	{"End leaves the values", "S21 S22 S24"},
	{"End leaves the members", "S13 S19 S21 S22 S24"},
	{"End tells of the dead", "S21 S24"},
	{"End tells of none", "S13 S19 S21 S22 S23 S24"},
	{"End works in two steps", "S24"},
	{"End takes a thousand members", "S24"},
	{"End stops at a member that is not listed", "S19 S24"},

	{"indexes ignore the context", "S12"},
	{"indexes ignore the prefix", "S13"},
	{"indexes leave a goroutine behind", "S14"},
}

func TestOwnerFlaws(t *testing.T) {
	t.Parallel()
	if os.Getenv(flawsEnv) != "" {
		for _, tc := range ownerFlaws {
			t.Run(tc.flaw, func(t *testing.T) {
				runFlawed(t, func(s *flawed) sessions.Store { return flawedOwners{ownerStore{s}, tc.flaw} })
			})
		}
		return
	}
	testFlaws(t, ownerFlaws)
}

// A flawedOwners is an OwnerStore with one flaw, or none. It does something else before or after the flawless one.
type flawedOwners struct {
	ownerStore
	flaw string
}

func (s flawedOwners) has(flaw string) bool { return s.flaw == flaw }

// in is the context and the store that a call uses.
func (s flawedOwners) in(ctx context.Context) (context.Context, ownerStore) {
	inner := s.ownerStore
	if s.has("indexes leave a goroutine behind") {
		go func() { <-s.quit }()
	}
	if s.has("indexes ignore the context") {
		ctx = context.WithoutCancel(ctx)
	}
	if s.has("indexes ignore the prefix") {
		inner = ownerStore{&flawed{server: s.server, prefix: "a:"}}
	}
	return ctx, inner
}

// before is an index as it is now.
func (s flawedOwners) before(index string) *ownerIndex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.indexes[s.key(index)]; x != nil && time.Now().Before(x.expires) {
		return &ownerIndex{maps.Clone(x.created), x.noted, x.expires}
	}
	return &ownerIndex{}
}

// value is what is under a key.
func (s flawedOwners) value(key string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(s.key(key))
}

func (s flawedOwners) copy() ownerStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &server{entries: maps.Clone(s.entries), indexes: map[string]*ownerIndex{}, quit: s.quit}
	for key, x := range s.indexes {
		c.indexes[key] = &ownerIndex{maps.Clone(x.created), x.noted, x.expires}
	}
	return ownerStore{&flawed{server: c, prefix: s.prefix}}
}

// twoSteps works on a copy, which it then puts in the place of what there is.
func (s flawedOwners) twoSteps(f func(c ownerStore) error) error {
	c := s.copy()
	time.Sleep(time.Millisecond)
	err := f(c)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.server.entries, s.server.indexes = c.entries, c.indexes
	}
	return err
}

// change does something to an index in a step of its own.
func (s flawedOwners) change(index string, f func(x *ownerIndex)) {
	_ = s.on(context.Background(), index, 1, func(x *ownerIndex) error { f(x); return nil })
}

func (s flawedOwners) LoadMany(ctx context.Context, keys []string, first int) ([][]byte, []time.Duration, error) {
	ctx, inner := s.in(ctx)
	if s.has("LoadMany mixes up the keys") {
		keys = slices.Sorted(slices.Values(keys))
	}
	data, left, err := inner.LoadMany(ctx, keys, 0)
	for i := range data {
		if n := min(first, len(data[i])); first > 0 {
			data[i] = data[i][:n:n]
		}
		switch {
		case s.has("LoadMany gives an empty value for nothing") && data[i] == nil:
			data[i] = []byte{}
		case s.has("LoadMany gives nil for an empty value") && len(data[i]) == 0:
			data[i] = nil
		case s.has("LoadMany restarts expiries") && data[i] != nil:
			_, _, _ = s.Load(ctx, keys[i], 3*time.Hour)
		case s.has("LoadMany says nothing of what is left"):
			left[i] = 0
		case s.has("LoadMany shares bytes") && data[i] != nil:
			data[i] = s.entries[s.key(keys[i])].data
		case s.has("LoadMany takes a thousand keys") && i >= 1000:
			data[i] = nil
		case s.has("LoadMany cuts a byte too much") && first > 0:
			data[i] = data[i][:max(len(data[i])-1, 0)]
		case s.has("LoadMany cuts without first"):
			data[i] = data[i][:min(len(data[i]), 2)]
		}
	}
	if s.has("LoadMany leaves out what is not there") {
		data = slices.DeleteFunc(data, func(d []byte) bool { return d == nil })
	}
	return data, left, err
}

func (s flawedOwners) Members(ctx context.Context, index string) (members []string, err error) {
	ctx, inner := s.in(ctx)
	members, err = inner.Members(ctx, index)
	switch {
	case s.has("Members has the newest first"):
		slices.Reverse(members)
	case s.has("Members goes by bytes alone"):
		slices.Sort(members)
	case s.has("Members has equal scores in any order"):
		s.change(index, func(x *ownerIndex) {
			slices.Reverse(members)
			slices.SortStableFunc(members, func(a, b string) int { return x.created[a].Compare(x.created[b]) })
		})
	case s.has("Members has the time noted"):
		s.change(index, func(x *ownerIndex) {
			if !x.noted.IsZero() {
				members = append(members, "")
			}
		})
	case s.has("Members of nothing is ErrNotFound") && len(members) == 0 && err == nil:
		err = sessions.ErrNotFound
	}
	return members, err
}

func (s flawedOwners) Place(ctx context.Context, p sessions.Placement) (placed sessions.Placed, err error) {
	ctx, inner := s.in(ctx)
	old, isOld := s.value(p.Old)
	there, _ := s.value(p.New)
	before, given := s.before(p.Index), p
	switch s.flaw {
	case "Place adds before it looks":
		if p.Add != "" && p.IndexTTL > 0 {
			s.change(p.Index, func(x *ownerIndex) { x.created[p.Add] = p.Created; x.keep(p.IndexTTL) })
		}
	case "Place works in two steps":
		err = s.twoSteps(func(c ownerStore) error { placed, err = c.Place(ctx, p); return err })
		return placed, err
	case "Place overwrites":
		_ = s.Delete(ctx, p.New)
	case "Place ignores OldPrefix":
		p.OldPrefix = nil
	case "Place creates Old":
		if p.Old != "" && !isOld && ctx.Err() == nil {
			_ = s.Create(ctx, p.Old, p.OldPrefix, time.Hour)
		}
	case "Place looks for New before Old":
		if p.New != "" && there.data != nil {
			return sessions.Placed{Current: there.data}, sessions.ErrExists
		}
	case "Place with OldTTL 0 restarts the expiry":
		if p.OldTTL == 0 {
			p.OldTTL = time.Hour
		}
	case "Place with nil OldData stores an empty value":
		if p.Old != "" && p.OldData == nil {
			p.OldData = []byte{}
		}
	case "Place with empty OldData deletes":
		if len(p.OldData) == 0 {
			p.OldData = nil
		}
	case "Place does not store OldData":
		if p.OldData != nil {
			p.OldData = old.data
		}
	case "Place leaves Remove":
		p.Remove = ""
	case "Place does not list Add":
		p.Add = ""
	case "Place keeps the score of Add":
		if created, ok := before.created[p.Add]; ok {
			p.Created = created
		}
	case "Place goes by the time that Revoke has noted for new sessions too":
		if p.Old == "" && p.Add != "" && before.revoked(p.Add, p.Created) {
			return placed, sessions.ErrNotFound
		}
	case "Place does not go by the time that Revoke has noted":
		s.change(p.Index, func(x *ownerIndex) { x.noted = time.Time{} })
	case "Place takes off no dead members":
		if p.Limit == 0 {
			p.Members, p.Keys = nil, nil
		}
	case "Place takes a ttl of 0":
		p.IndexTTL, p.NewTTL, p.OldTTL = max(p.IndexTTL, 1), max(p.NewTTL, 1), max(p.OldTTL, 0)
	case "Limit knows no Members":
		if p.Limit > 0 {
			p.Members, p.Keys = nil, nil
			for _, m := range before.members(p.Add, p.Remove) {
				p.Members, p.Keys = append(p.Members, m), append(p.Keys, "{tag}"+m)
			}
		}
	case "Limit knows Members in any order":
		if sorted := slices.Sorted(slices.Values(p.Members)); p.Limit > 0 && slices.Equal(sorted, slices.Sorted(maps.Keys(before.created))) {
			p.Members, p.Keys = before.members(), nil
			for _, m := range p.Members {
				p.Keys = append(p.Keys, "{tag}"+m)
			}
		}
	case "Limit knows Remove":
		if p.Limit > 0 && p.Remove != "" {
			p.Members = slices.DeleteFunc(before.members(p.Add), func(m string) bool { return m == p.Remove })
			p.Keys = p.Keys[:min(len(p.Keys), len(p.Members))]
			if len(p.Keys) != len(p.Members) {
				return placed, sessions.ErrConflict
			}
		}
	case "Limit is one too many":
		if p.Limit > 0 {
			p.Limit++
		}
	case "Limit is one too few":
		if p.Limit > 1 {
			p.Limit--
		}
	case "Limit evicts under Reject":
		p.Reject = false
	case "Limit rejects always":
		p.Reject = p.Limit > 0
	case "Place tells of the index before the value":
		if p.Limit > 0 && p.New != "" && there.data != nil && !slices.Equal(before.members(p.Add, p.Remove), p.Members) {
			return sessions.Placed{Members: before.members(p.Add, p.Remove)}, sessions.ErrConflict
		}
	case "Limit counts the dead":
		if p.Limit > 0 && !p.Reject && len(p.Members)+1 > p.Limit {
			for _, key := range p.Keys {
				_ = s.Create(ctx, key, nil, time.Hour)
			}
		}
	case "Limit evicts the newest":
		if p.Limit > 0 && slices.Equal(p.Members, before.members(p.Add, p.Remove)) {
			p.Members, p.Keys = slices.Clone(p.Members), slices.Clone(p.Keys)
			slices.Reverse(p.Members)
			slices.Reverse(p.Keys)
			s.change(p.Index, func(x *ownerIndex) {
				for m, c := range x.created {
					x.created[m] = time.Unix(0, 0).Add(-c.Sub(time.Unix(0, 0)))
				}
			})
			defer s.change(p.Index, func(x *ownerIndex) {
				for m, c := range x.created {
					if m != p.Add || err != nil {
						x.created[m] = time.Unix(0, 0).Add(-c.Sub(time.Unix(0, 0)))
					}
				}
			})
		}
	}
	if p.IndexTTL > 0 && p.Add != "" {
		p.IndexTTL = s.indexTTL(p.Index, p.IndexTTL)
	}
	placed, err = inner.Place(ctx, p)
	s.afterPlace(given, before, &placed, &err)
	return placed, err
}

func (s flawedOwners) afterPlace(p sessions.Placement, before *ownerIndex, placed *sessions.Placed, err *error) {
	switch s.flaw {
	case "Place has no Current":
		placed.Current = nil
	case "Place takes off live members":
		if *err == nil {
			s.change(p.Index, func(x *ownerIndex) {
				for _, m := range p.Members {
					delete(x.created, m)
				}
			})
		}
	case "Place miscounts":
		placed.Count = len(before.created)
	case "Place counts the time noted":
		if !before.noted.IsZero() {
			placed.Count++
		}
	case "Place keeps the bytes handed in":
		s.mu.Lock()
		if e, ok := s.entries[s.key(p.New)]; ok && *err == nil {
			e.data = p.NewData
			s.entries[s.key(p.New)] = e
		}
		s.mu.Unlock()
	case "Limit has no Members":
		placed.Members = nil
	case "Limit has nil Members of an empty index":
		if len(placed.Members) == 0 {
			placed.Members = nil
		}
	case "Limit tells of none":
		placed.Ended = nil
	case "Limit tells of the dead":
		if p.Limit > 0 && *err == nil {
			placed.Ended = slices.DeleteFunc(before.members(p.Add, p.Remove), func(m string) bool { return slices.Contains(s.before(p.Index).members(), m) })
		}
	case "Limit evicts off the index alone":
		for _, m := range placed.Ended {
			_ = s.Create(context.Background(), "{tag}"+m, []byte(m), time.Hour)
		}
	case "Limit prunes under Reject":
		if *err == sessions.ErrOwnerLimit {
			s.change(p.Index, func(x *ownerIndex) {
				maps.DeleteFunc(x.created, func(m string, _ time.Time) bool { _, ok := s.find(s.key("{tag}" + m)); return !ok })
			})
		}
	case "an index is never kept for longer":
		if len(before.created) > 0 {
			s.change(p.Index, func(x *ownerIndex) { x.expires = before.expires })
		}
	}
}

func (s flawedOwners) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	ctx, inner := s.in(ctx)
	before := s.before(index)
	value, there := s.value(key)
	scored := created
	switch s.flaw {
	case "Relist lists the dead":
		if !there && ctx.Err() == nil && ttl > 0 {
			s.change(index, func(x *ownerIndex) { x.created[member] = created; x.keep(ttl) })
		}
	case "Relist ignores the prefix":
		prefix = nil
	case "Relist scores by now":
		scored = time.Now()
	case "Relist ignores the time noted":
		s.change(index, func(x *ownerIndex) { x.noted = time.Time{} })
	case "Relist refuses listed members too":
		if !before.noted.IsZero() && !created.After(before.noted) && bytes.HasPrefix(value.data, prefix) {
			_ = s.Delete(ctx, key)
			return sessions.ErrGone
		}
	case "Relist works in two steps":
		return s.twoSteps(func(c ownerStore) error { return c.Relist(ctx, index, key, prefix, member, created, ttl) })
	case "Relist takes a ttl of 0":
		ttl = max(ttl, 1)
	}
	err := inner.Relist(ctx, index, key, prefix, member, scored, s.indexTTL(index, ttl))
	switch {
	case s.has("Relist does not list") && err == nil:
		s.change(index, func(x *ownerIndex) { delete(x.created, member) })
	case s.has("Relist leaves what was revoked") && err == sessions.ErrGone:
		_ = s.Create(ctx, key, value.data, time.Hour)
	case s.has("an index is never kept for longer") && len(before.created) > 0:
		s.change(index, func(x *ownerIndex) { x.expires = before.expires })
	}
	return err
}

func (s flawedOwners) Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error {
	ctx, inner := s.in(ctx)
	before := s.before(index)
	switch s.flaw {
	case "Revoke forgets a later time":
		if ctx.Err() == nil {
			s.change(index, func(x *ownerIndex) { x.noted = time.Time{} })
		}
	case "Revoke keeps the first time":
		if !before.noted.IsZero() {
			at = before.noted
		}
	case "Revoke spares its own millisecond":
		at = at.Add(-time.Millisecond)
	case "Revoke ends its next millisecond":
		at = at.Add(time.Millisecond)
	case "Revoke takes all members off":
		s.change(index, func(x *ownerIndex) { clear(x.created) })
	case "Revoke takes a ttl of 0":
		ttl = max(ttl, 1)
	}
	err := inner.Revoke(ctx, index, at, s.indexTTL(index, ttl))
	if s.has("an index is never kept for longer") && len(before.created) > 0 {
		s.change(index, func(x *ownerIndex) { x.expires = before.expires })
	}
	return err
}

func (s flawedOwners) End(ctx context.Context, index string, members, keys []string) (ended []string, err error) {
	ctx, inner := s.in(ctx)
	before, values := s.before(index), s.copy()
	switch s.flaw {
	case "End ends what is not listed":
		for i := range keys {
			_ = s.Delete(ctx, keys[i])
		}
		ended, err = values.End(ctx, index, members, keys)
		s.change(index, func(x *ownerIndex) {
			maps.DeleteFunc(x.created, func(m string, _ time.Time) bool { return err == nil && slices.Contains(members, m) })
		})
		return ended, err
	case "End works in two steps":
		err = s.twoSteps(func(c ownerStore) error { ended, err = c.End(ctx, index, members, keys); return err })
		return ended, err
	case "End takes a thousand members":
		members, keys = members[:min(len(members), 1000)], keys[:min(len(keys), 1000)]
	case "End stops at a member that is not listed":
		for i, m := range members {
			if _, ok := before.created[m]; !ok {
				members, keys = members[:i], keys[:i]
				break
			}
		}
	}
	ended, err = inner.End(ctx, index, members, keys)
	switch {
	case s.has("End tells of none"):
		ended = nil
	case s.has("End tells of the dead") && err == nil:
		ended = slices.DeleteFunc(slices.Clone(members), func(m string) bool { _, ok := before.created[m]; return !ok })
	case s.has("End leaves the values") && err == nil:
		for i := range keys {
			if v, ok := values.find(s.key(keys[i])); ok {
				_ = s.Create(ctx, keys[i], v.data, time.Hour)
			}
		}
	case s.has("End leaves the members"):
		s.change(index, func(x *ownerIndex) { maps.Copy(x.created, before.created) })
	case s.has("the time noted goes with the last member"):
		s.change(index, func(x *ownerIndex) {
			if len(x.created) == 0 {
				x.noted = time.Time{}
			}
		})
	}
	return ended, err
}

// indexTTL is what an index gets that is given ttl.
func (s flawedOwners) indexTTL(index string, ttl time.Duration) time.Duration {
	switch {
	case s.has("an index never expires"):
		return ttl * 10000
	case s.has("an index expires as it was told last") && ttl > 0:
		s.change(index, func(x *ownerIndex) {
			if len(x.created) > 0 {
				x.expires = time.Now().Add(1)
			}
		})
	}
	return ttl
}
