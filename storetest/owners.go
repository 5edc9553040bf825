package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

// An ownerSubject is a store that is an OwnerStore. Its index and keys have the same braces.
type ownerSubject struct {
	*subject
	sessions.OwnerStore
}

// withOwners makes a check of an OwnerStore one of a Store, which other stores skip.
func withOwners(check func(*ownerSubject)) func(*subject) {
	return func(s *subject) {
		owners, ok := s.Store.(sessions.OwnerStore)
		if !ok {
			s.Skip("the store is no OwnerStore")
		}
		check(&ownerSubject{s, owners})
	}
}

const index = "{tag}o"

func key(member string) string { return "{tag}" + member }

func keys(members ...string) (keys []string) {
	for _, m := range members {
		keys = append(keys, key(m))
	}
	return keys
}

// at is a time of creation.
func at(seconds int) time.Time {
	return time.Date(2026, 1, 2, 3, 4, seconds, 0, time.UTC)
}

// signIn is the Placement of a new session: its member, and its value.
func signIn(member string, created time.Time) sessions.Placement {
	return sessions.Placement{
		Index: index, IndexTTL: time.Hour, New: key(member), NewData: []byte(member), NewTTL: time.Hour,
		Add: member, Created: created,
	}
}

// renewal is the Placement that replaces a session by another one, and leaves a mark.
func renewal(from, to string, created time.Time) sessions.Placement {
	p := signIn(to, created)
	p.Old, p.OldPrefix, p.OldData, p.OldTTL, p.Remove = key(from), []byte(from), []byte("mark"), time.Minute, from
	return p
}

// limited is a sign-in at a limit, to which these members are known.
func limited(member string, created time.Time, limit int, members ...string) sessions.Placement {
	p := signIn(member, created)
	p.Limit, p.Members, p.Keys = limit, members, keys(members...)
	return p
}

func (s *ownerSubject) place(what string, p sessions.Placement) sessions.Placed {
	s.Helper()
	placed, err := s.Place(s.Context(), p)
	if err != nil {
		s.Fatalf("Place of %s: %v", what, err)
	}
	return placed
}

// notPlaced checks that a Place fails, and that nothing has changed: the index, and the values of its members.
func (s *ownerSubject) notPlaced(what string, p sessions.Placement, want error) sessions.Placed {
	s.Helper()
	members := s.members()
	look := append(keys(members...), p.Keys...)
	if p.Old != "" {
		look = append(look, p.Old)
	}
	if p.New != "" {
		look = append(look, p.New)
	}
	before := s.loadMany(look...)
	placed, err := s.Place(s.Context(), p)
	what = "Place of " + what
	if want == nil {
		s.wantRefused(what, err)
	} else {
		s.wantErr(what, err, want)
	}
	if now := s.members(); !slices.Equal(now, members) {
		s.Errorf("%s failed, and the index, which was %q, is %q", what, members, now)
	}
	if now := s.loadMany(look...); !slices.Equal(now, before) {
		s.Errorf("%s failed, and of %q, which was %q, there is %q", what, look, before, now)
	}
	return placed
}

// start signs in some members, a second after each other.
func (s *ownerSubject) start(members ...string) {
	s.Helper()
	for i, m := range members {
		s.place(m, signIn(m, at(i)))
	}
}

func (s *ownerSubject) members() []string {
	s.Helper()
	members, err := s.Members(s.Context(), index)
	if err != nil {
		s.Fatalf("Members: %v", err)
	}
	return members
}

// listed checks what the index has.
func (s *ownerSubject) listed(want ...string) {
	s.Helper()
	if got := s.members(); !slices.Equal(got, want) {
		s.Errorf("Members = %q, want %q", got, want)
	}
}

// loadMany returns what there is under keys; "nothing" for nil.
func (s *ownerSubject) loadMany(keys ...string) (values []string) {
	s.Helper()
	data, _, err := s.LoadMany(s.Context(), keys, 0)
	if err != nil || len(data) != len(keys) {
		s.Fatalf("LoadMany of %d keys: %d values, %v", len(keys), len(data), err)
	}
	for _, d := range data {
		if d == nil {
			values = append(values, "nothing")
		} else {
			values = append(values, fmt.Sprintf("%q", d))
		}
	}
	return values
}

func (s *ownerSubject) counts(what string, got, want int) {
	s.Helper()
	if got != want {
		s.Errorf("%s says that the index has %d members, want %d", what, got, want)
	}
}

// relistErr puts a member on the index whose value begins with it.
func (s *ownerSubject) relistErr(member string, created time.Time, ttl time.Duration) error {
	return s.Relist(s.Context(), index, key(member), []byte(member), member, created, ttl)
}

func (s *ownerSubject) relist(member string, created time.Time, ttl time.Duration) {
	s.Helper()
	if err := s.relistErr(member, created, ttl); err != nil {
		s.Fatalf("Relist(%s): %v", member, err)
	}
}

func (s *ownerSubject) revoke(at time.Time, ttl time.Duration) {
	s.Helper()
	if err := s.Revoke(s.Context(), index, at, ttl); err != nil {
		s.Fatalf("Revoke(%v): %v", at, err)
	}
}

// end checks whom an End says to have ended.
func (s *ownerSubject) end(members []string, want ...string) {
	s.Helper()
	ended, err := s.End(s.Context(), index, members, keys(members...))
	if err != nil || !slices.Equal(ended, want) {
		s.Errorf("End(%q) = %q, %v, want %q", members, ended, err, want)
	}
}

func checkLoadMany(s *ownerSubject) {
	s.create("{a}1", "one", time.Hour)
	s.create("two", "\x00\xff", 2*time.Hour)
	s.create("{b}3", "", time.Hour)
	s.create("late", "v", time.Minute)
	s.advance(10 * time.Minute)
	for range 2 { // the second sees whether the first has touched
		look := []string{"two", "none", "{b}3", "{a}1", "late"}
		data, left, err := s.LoadMany(s.Context(), look, 0)
		if err != nil || len(data) != len(look) || len(left) != len(look) {
			s.Fatalf("LoadMany(%q): %d values, %d times, %v", look, len(data), len(left), err)
		}
		for i, want := range []struct {
			data []byte
			left time.Duration
		}{{[]byte("\x00\xff"), 110 * time.Minute}, {}, {[]byte{}, 50 * time.Minute}, {[]byte("one"), 50 * time.Minute}, {}} {
			if !bytes.Equal(data[i], want.data) || (data[i] == nil) != (want.data == nil) {
				s.Errorf("LoadMany: under %s is %s, want %s", look[i], show(data[i]), show(want.data))
			}
			if want.data != nil && !s.about(left[i], want.left) {
				s.Errorf("LoadMany: %s has %v left, want %v", look[i], left[i], want.left)
			}
			clobber(data[i])
		}
	}
	if data, left, err := s.LoadMany(s.Context(), nil, 0); len(data)+len(left) > 0 || err != nil {
		s.Errorf("LoadMany of no keys: %d values, %d times, %v", len(data), len(left), err)
	}
}

func checkLoadManyCut(s *ownerSubject) {
	const long = "0123456789"
	s.create("long", long, time.Hour)
	s.create("empty", "", time.Hour)
	for _, first := range []int{1, 4, len(long), 100} {
		data, left, err := s.LoadMany(s.Context(), []string{"none", "long", "empty"}, first)
		if err != nil || len(data) != 3 {
			s.Fatalf("LoadMany: %d values, %v", len(data), err)
		}
		if data[0] != nil || data[2] == nil || len(data[2]) > 0 {
			s.Errorf("LoadMany with first %d: nothing is %s, want nil; an empty value is %s", first, show(data[0]), show(data[2]))
		}
		if got := string(data[1]); !strings.HasPrefix(long, got) || len(got) < min(first, len(long)) || !s.about(left[1], time.Hour) {
			s.Errorf("LoadMany with first %d: %q with %v left, want at least as many bytes of %q", first, got, left[1], long)
		}
	}
}

// many are more than a store may take in one step.
const many = 2500

func checkLoadManyMany(s *ownerSubject) {
	look, want := make([]string, many), make([]string, many)
	for i := range look {
		look[i], want[i] = fmt.Sprintf("{%d}k", i), "nothing"
		if i%100 == 99 {
			s.create(look[i], look[i], time.Hour)
			want[i] = fmt.Sprintf("%q", look[i])
		}
	}
	if got := s.loadMany(look...); !slices.Equal(got, want) {
		s.Errorf("LoadMany of %d keys has mixed up or lost some", many)
	}
}

func checkMembers(s *ownerSubject) {
	s.listed()
	long := strings.Repeat("\xff", 64)
	order := []string{"z", "\x00", "a", "a\x00", "aa", "b", "é", "\xff", long, "10", "9", "y"}
	times := []time.Time{time.UnixMilli(-5)}
	for range order[1:9] {
		times = append(times, at(0))
	}
	times = append(times, at(0).Add(time.Millisecond), at(1), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	for i := range order {
		i = (i*5 + 3) % len(order) // in another order
		s.counts("Place", s.place(order[i], sessions.Placement{Index: index, IndexTTL: time.Hour, Add: order[i], Created: times[i]}).Count, len(s.members()))
	}
	s.listed(order...)
	s.revoke(at(0), time.Hour)
	s.listed(order...) // the time is none
	s.place("a member again", sessions.Placement{Index: index, IndexTTL: time.Hour, Add: "z", Created: at(9)})
	s.listed(append(append(slices.Clone(order[1:11]), "z"), "y")...)
	for i, m := range order {
		count := s.place("what takes one off", sessions.Placement{Index: index, Remove: m}).Count
		s.counts("Place", count, len(order)-1-i)
	}
	s.listed()
	if other, err := s.Members(s.Context(), "{tag}other"); len(other) > 0 || err != nil {
		s.Errorf("Members of another index: %q, %v", other, err)
	}
}

func checkIndexExpiry(s *ownerSubject) {
	for name, lengthen := range map[string]func(ttl time.Duration){
		"Place": func(ttl time.Duration) {
			s.place("b", sessions.Placement{Index: index, IndexTTL: ttl, Add: "b", Created: at(1)})
		},
		"Relist": func(ttl time.Duration) { s.relist("b", at(1), ttl) },
		"Revoke": func(ttl time.Duration) { s.revoke(at(0), ttl) },
	} {
		lasts := func(d time.Duration, want ...string) {
			s.Helper()
			s.advance(d - time.Minute)
			if got := s.members(); !slices.Equal(got, want) {
				s.Errorf("%s: the index has %q a minute before its time is up, want %q", name, got, want)
			}
			s.advance(2 * time.Minute)
			if got := s.members(); len(got) > 0 {
				s.Errorf("%s: the index has %q when its time is up", name, got)
			}
		}
		first := func(ttl time.Duration) {
			s.place("a", sessions.Placement{Index: index, IndexTTL: ttl, Add: "a", Created: at(0)})
			s.delete(key("b"))
			s.place("b", sessions.Placement{Index: index, IndexTTL: ttl, New: key("b"), NewData: []byte("b"), NewTTL: 10 * time.Hour, Add: "b", Created: at(1)})
		}
		first(time.Hour)
		lengthen(10 * time.Minute) // shorter
		lasts(time.Hour, "a", "b")
		first(time.Hour)
		lengthen(400 * 24 * time.Hour) // longer
		lasts(400*24*time.Hour, "a", "b")
		first(2 * time.Hour)
		s.advance(time.Hour)
		lengthen(90 * time.Minute) // longer than what is left
		s.end([]string{"a"})       // leaves it
		lasts(90*time.Minute, "b")
	}
	s.place("a", sessions.Placement{Index: index, IndexTTL: time.Nanosecond, Add: "a", Created: at(0)})
	s.advance(2 * time.Second)
	s.listed()
}

func checkIndexTTL(s *ownerSubject) {
	s.start("a")
	for _, ttl := range []time.Duration{0, -1} {
		p := signIn("b", at(1))
		p.IndexTTL = ttl
		s.notPlaced(fmt.Sprintf("a member with an IndexTTL of %v", ttl), p, nil)
		p = signIn("b", at(1))
		p.NewTTL = ttl
		s.notPlaced(fmt.Sprintf("a value with a NewTTL of %v", ttl), p, nil)
		s.wantRefused(fmt.Sprintf("Relist with a ttl of %v", ttl), s.relistErr("a", at(0), ttl))
		s.wantRefused(fmt.Sprintf("Revoke with a ttl of %v", ttl), s.Revoke(s.Context(), index, at(5), ttl))
	}
	p := renewal("a", "b", at(0))
	p.OldTTL = -1
	s.notPlaced("an OldTTL of -1", p, nil)
	s.end([]string{"a"}, "a")
	s.create(key("a"), "a", time.Hour)
	s.relist("a", at(4), time.Hour) // nothing was noted
}

func checkEnd(s *ownerSubject) {
	s.start("a", "b", "c", "d")
	s.create(key("unlisted"), "v", time.Hour)
	s.delete(key("c"))
	s.end([]string{"d", "unlisted", "none", "c", "a"}, "d", "a")
	s.listed("b")
	s.missing(key("a"))
	s.missing(key("d"))
	s.holds(key("b"), "b")
	s.holds(key("unlisted"), "v")
	s.end([]string{"d", "c", "a"})
	s.end(nil)
	s.create(key("a"), "again", time.Hour)
	s.end([]string{"a"})
	s.holds(key("a"), "again")
	if ended, err := s.End(s.Context(), "{tag}other", []string{"b"}, keys("b")); len(ended) > 0 || err != nil {
		s.Errorf("End on another index: %q, %v", ended, err)
	}
	s.holds(key("b"), "b")
	s.end([]string{"b"}, "b")
	s.listed()
}

func checkEndMany(s *ownerSubject) {
	var all, some []string
	for i := range many {
		all = append(all, fmt.Sprintf("m%04d", i))
		if i%500 == 499 {
			some = append(some, all[i])
		}
	}
	s.start(some...)
	s.end(all, some...)
	s.listed()
	for _, m := range some {
		s.missing(key(m))
	}
}

func checkRelist(s *ownerSubject) {
	s.wantErr("Relist without a value", s.relistErr("b", at(1), time.Hour), sessions.ErrNotFound)
	s.listed()
	s.create(key("b"), "b, and more", 2*time.Hour)
	s.relist("b", at(1), time.Hour) // the index was lost
	s.listed("b")
	s.create(key("a"), "a\x00\xff", 2*time.Hour)
	s.relist("a", at(0), time.Hour)
	s.relist("a", at(0), time.Hour) // it is there
	s.listed("a", "b")
	s.holdsFor(key("a"), "a\x00\xff", 2*time.Hour)
	s.revoke(at(5), time.Hour)
	s.relist("b", at(1), time.Hour) // it is there
	s.holds(key("b"), "b, and more")

	s.create(key("mark"), "mark", time.Hour)
	for _, prefix := range []string{"x", "Mark", "ark", "mark, and more", "mark\x00"} {
		for _, created := range []time.Time{at(1), at(9)} {
			err := s.Relist(s.Context(), index, key("mark"), []byte(prefix), "mark", created, time.Hour)
			s.wantErr(fmt.Sprintf("Relist with another prefix, %q", prefix), err, sessions.ErrConflict)
		}
	}
	s.holds(key("mark"), "mark")
	s.listed("a", "b")
	if err := s.Relist(s.Context(), index, key("mark"), nil, "mark", at(9), time.Hour); err != nil {
		s.Errorf("Relist with a nil prefix: %v; want it to fit any value", err)
	}
	s.listed("a", "b", "mark")

	s.delete(key("a"))
	s.wantErr("Relist of a member whose value has gone", s.relistErr("a", at(9), time.Hour), sessions.ErrNotFound)
	s.missing(key("a"))
	s.create(key("c"), "c", time.Minute)
	s.advance(2 * time.Minute)
	s.wantErr("Relist of what has expired", s.relistErr("c", at(9), time.Hour), sessions.ErrNotFound)
	err := s.Relist(s.Context(), index, key("c"), nil, "c", at(9), time.Hour)
	s.wantErr("Relist of what has expired, with a nil prefix", err, sessions.ErrNotFound)
	s.create(key("old"), "old", time.Hour)
	if err := s.Relist(s.Context(), "{tag}fresh", key("old"), nil, "old", time.Time{}, time.Hour); err != nil {
		s.Errorf("Relist of the oldest of all, where nothing was noted: %v", err)
	}
}

func checkRevoke(s *ownerSubject) {
	gone := func(what, member string, created time.Time) {
		s.Helper()
		s.create(key(member), member, time.Hour)
		s.wantErr("Relist of "+what, s.relistErr(member, created, time.Minute), sessions.ErrGone)
		s.missing(key(member))
	}
	noted := at(3).Add(500 * time.Millisecond)
	s.revoke(noted, time.Hour)
	s.listed()
	gone("what was created before the time noted", "a", at(0))
	gone("what was created at the time noted", "b", noted)
	s.create(key("c"), "c", time.Hour)
	s.relist("c", noted.Add(time.Millisecond), time.Hour)
	s.listed("c")

	s.start("d") // created before, and listed since
	s.relist("d", at(0), time.Hour)
	s.revoke(at(1), time.Hour) // an earlier one
	gone("what was created before the later of two times", "e", at(2))
	s.revoke(at(20), time.Hour) // a later one
	gone("what was created before the later of two times", "f", at(10))
	s.listed("d", "c")
	s.holds(key("d"), "d")

	s.end([]string{"c", "d"}, "c", "d")
	gone("what was created before the time noted, and the index has no members", "g", at(10))
	s.advance(30 * time.Minute)
	gone("what was created before the time noted, half an hour later", "h", at(10))
	s.advance(31 * time.Minute)
	s.create(key("i"), "i", time.Hour)
	s.relist("i", at(10), time.Hour) // the index's time was up
}

func checkRevokedPlace(s *ownerSubject) {
	s.start("a", "b")
	s.revoke(at(5), time.Hour)
	s.place("the renewal of a session that is listed", renewal("a", "a2", at(0)))
	s.listed("a2", "b")

	s.create(key("u"), "u", time.Hour)
	for _, created := range []time.Time{at(4), at(5)} {
		placed := s.notPlaced("the renewal of one that is not listed, and was created before the time noted", renewal("u", "u2", created), sessions.ErrNotFound)
		if placed.Current != nil {
			s.Errorf("Place: ErrNotFound with Current %s", show(placed.Current))
		}
	}
	s.holds(key("u"), "u")
	unnamed := renewal("u", "u2", at(5))
	unnamed.Remove = ""
	s.notPlaced("the same without a Remove", unnamed, sessions.ErrNotFound)
	s.place("the renewal of one that was created later", renewal("u", "u2", at(6)))
	s.place("a sign-in whose creation is not after the time", signIn("c", at(3)))
	s.place("a mark without a member", sessions.Placement{Index: index, Old: key("c"), OldPrefix: []byte("c"), OldData: []byte("mark"), OldTTL: time.Minute, Remove: "c", Created: at(3)})
	s.listed("a2", "b", "u2")
}

func checkOwnerContext(s *ownerSubject) {
	s.start("a", "b")
	ctx := cancelled(s.Context())
	_, _, loaded := s.LoadMany(ctx, keys("a"), 0)
	_, listed := s.Members(ctx, index)
	_, placed := s.Place(ctx, renewal("a", "a2", at(0)))
	relisted := s.Relist(ctx, index, key("a"), nil, "a", at(9), time.Hour)
	revoked := s.Revoke(ctx, index, at(20), time.Hour)
	_, ended := s.End(ctx, index, []string{"a"}, keys("a"))
	for what, err := range map[string]error{
		"LoadMany": loaded, "Members": listed, "Place": placed, "Relist": relisted, "Revoke": revoked, "End": ended,
	} {
		s.wantErr(what+" with a cancelled context", err, context.Canceled)
	}
	s.listed("a", "b")
	s.holds(key("a"), "a")
	s.missing(key("a2"))
	s.create(key("c"), "c", time.Hour)
	s.relist("c", at(10), time.Hour) // no time was noted
}

func checkOwnerNeighbour(s *ownerSubject) {
	if s.neighbour == nil {
		s.Skip("Options.Neighbour is nil")
	}
	store, ok := s.neighbour(s.T).(sessions.OwnerStore)
	if !ok {
		s.Fatalf("the neighbour is no OwnerStore")
	}
	other := *s.subject
	other.Store = store
	n := &ownerSubject{&other, store}

	s.start("a", "b")
	n.listed()
	if got := n.loadMany(key("a")); got[0] != "nothing" {
		s.Errorf("LoadMany by the neighbour: %s", got)
	}
	n.revoke(at(9), time.Hour)
	n.start("a", "c")
	n.place("a renewal", renewal("c", "b", at(20)))
	s.listed("a", "b")
	s.holds(key("b"), "b")
	n.end([]string{"a", "b"}, "a", "b")
	s.listed("a", "b")
	s.holds(key("a"), "a")
	s.create(key("u"), "u", time.Hour)
	s.relist("u", at(5), time.Hour)
	s.end([]string{"a"}, "a")
	n.listed()
}

func checkOwnerGoroutines(s *ownerSubject) {
	s.leavesNoGoroutines(func(ctx context.Context) {
		for _, ctx := range []context.Context{ctx, cancelled(ctx)} {
			s.Place(ctx, signIn("a", at(0)))
			s.Place(ctx, renewal("a", "b", at(0)))
			s.Place(ctx, renewal("a", "b", at(0)))
			s.LoadMany(ctx, keys("a", "b"), 1)
			s.Members(ctx, index)
			s.Relist(ctx, index, key("b"), nil, "b", at(0), time.Hour)
			s.Revoke(ctx, index, at(0), time.Hour)
			s.End(ctx, index, []string{"a", "b"}, keys("a", "b"))
			s.Delete(ctx, key("a"))
		}
	})
}
