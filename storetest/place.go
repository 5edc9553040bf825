package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/typedsessions/sessions"
)

func checkPlaceNew(s *ownerSubject) {
	s.counts("Place", s.place("a", signIn("a", at(0))).Count, 1)
	s.holdsFor(key("a"), "a", time.Hour)
	p := signIn("b", at(1))
	p.NewTTL = 2 * time.Hour
	s.counts("Place", s.place("b", p).Count, 2)
	s.holdsFor(key("b"), "b", 2*time.Hour)
	s.listed("a", "b")

	for _, data := range []string{"a", "other"} { // it has the same bytes, or others
		p := signIn("a", at(9))
		p.NewData = []byte(data)
		if placed := s.notPlaced("a key that is there", p, sessions.ErrExists); string(placed.Current) != "a" {
			s.Errorf("Place: ErrExists with Current %s, want what is there", show(placed.Current))
		}
		s.holdsFor(key("a"), "a", time.Hour)
	}
	p = signIn("a", at(9))
	p.New, p.NewData, p.NewTTL = "", nil, 0
	s.counts("Place of a member that is listed", s.place("a", p).Count, 2)
	s.holdsFor(key("a"), "a", time.Hour)
	s.listed("b", "a") // its score is the new one

	s.place("a value without a member", sessions.Placement{Index: index, New: key("copy"), NewData: []byte("\x00\xff"), NewTTL: time.Minute})
	s.holdsFor(key("copy"), "\x00\xff", time.Minute)
	s.listed("b", "a")
	s.place("an empty value", sessions.Placement{Index: index, New: key("empty"), NewTTL: time.Minute})
	s.holds(key("empty"), "")
	s.advance(2 * time.Minute)
	s.place("what has expired", sessions.Placement{Index: index, New: key("copy"), NewData: []byte("again"), NewTTL: time.Minute})
	s.holds(key("copy"), "again")
}

func checkPlaceOld(s *ownerSubject) {
	s.start("a", "b")
	s.counts("Place of a renewal", s.place("a renewal", renewal("a", "a2", at(0))).Count, 2)
	s.holdsFor(key("a"), "mark", time.Minute)
	s.holdsFor(key("a2"), "a2", time.Hour)
	s.listed("a2", "b")

	old := func(prefix string, data []byte, ttl time.Duration, remove string) sessions.Placement {
		return sessions.Placement{Index: index, Old: key("b"), OldPrefix: []byte(prefix), OldData: data, OldTTL: ttl, Remove: remove}
	}
	s.advance(10 * time.Minute)
	s.place("other data with its expiry", old("b", []byte("b, and more"), 0, ""))
	s.holdsFor(key("b"), "b, and more", 50*time.Minute)
	s.place("any prefix", old("", []byte{}, 0, ""))
	s.holdsFor(key("b"), "", 50*time.Minute)
	s.place("empty data", old("", []byte("\x00b\xff"), 3*time.Hour, ""))
	s.holdsFor(key("b"), "\x00b\xff", 3*time.Hour)
	s.listed("a2", "b")
	s.counts("Place of an end", s.place("an end", old("\x00b", nil, 0, "b")).Count, 1)
	s.missing(key("b"))
	s.listed("a2")

	s.place("a copy", sessions.Placement{Index: index, New: key("c"), NewData: []byte("c"), NewTTL: time.Minute})
	confirmed := sessions.Placement{
		Index: index, IndexTTL: 10 * time.Hour, Old: key("c"), OldPrefix: []byte("c"), OldData: []byte("c"), OldTTL: time.Hour, Add: "c", Created: at(2),
		Members: []string{"a2"}, Keys: []string{key("a2")}, Limit: 2,
	}
	for range 2 { // the second one is a repeated send
		s.counts("Place of a copy that becomes a session", s.place("a confirmation", confirmed).Count, 2)
		s.holdsFor(key("c"), "c", time.Hour)
		s.listed("a2", "c")
	}
	s.counts("Place of its end", s.place("its end", sessions.Placement{Index: index, Old: key("c"), Remove: "c"}).Count, 1)
	s.notPlaced("a confirmation of what has ended", confirmed, sessions.ErrNotFound)
	s.listed("a2")
	s.counts("Place of what is not on it", s.place("a removal", sessions.Placement{Index: index, Remove: "b"}).Count, 1)
}

func checkPlaceConditions(s *ownerSubject) {
	s.start("a", "b")
	for prefix, current := range map[string]string{"x": "b", "b and more": "b", "B": "b"} {
		p := renewal("b", "b2", at(1))
		p.OldPrefix = []byte(prefix)
		if placed := s.notPlaced("another prefix", p, sessions.ErrConflict); string(placed.Current) != current || placed.Members != nil {
			s.Errorf("Place: ErrConflict with Current %s and Members %q, want %s and nil", show(placed.Current), placed.Members, current)
		}
		p.OldData = nil
		s.notPlaced("an end with another prefix", p, sessions.ErrConflict)
	}
	none := renewal("none", "b2", at(1))
	for _, prefix := range []string{"none", ""} {
		none.OldPrefix = []byte(prefix)
		if placed := s.notPlaced("nothing to renew", none, sessions.ErrNotFound); placed.Current != nil {
			s.Errorf("Place: ErrNotFound with Current %s", show(placed.Current))
		}
	}

	// All conditions fail but for those before one: its error it is.
	s.revoke(at(5), time.Hour)
	s.create(key("u"), "u", time.Hour)
	all := renewal("u", "a", at(1))
	all.Limit, all.Reject = 1, true
	all.OldPrefix = []byte("x")
	s.notPlaced("another prefix, and more", all, sessions.ErrConflict)
	all.OldPrefix = []byte("u")
	s.notPlaced("a key that is there, and more", all, sessions.ErrExists)
	all.New, all.Add = key("u2"), "u2"
	s.notPlaced("one that was revoked, and more", all, sessions.ErrNotFound)
	all.Created = at(6)
	if placed := s.notPlaced("another index, and more", all, sessions.ErrConflict); !slices.Equal(placed.Members, []string{"a", "b"}) || placed.Current != nil {
		s.Errorf("Place: ErrConflict with Members %q and Current %s", placed.Members, show(placed.Current))
	}
	all.Members, all.Keys = []string{"a", "b"}, keys("a", "b")
	s.notPlaced("one too many", all, sessions.ErrOwnerLimit)
	all.Limit = 3
	s.place("what fails in nothing", all)

	s.create(key("late"), "late", time.Minute)
	s.advance(2 * time.Minute)
	s.notPlaced("the renewal of what has expired", renewal("late", "late2", at(9)), sessions.ErrNotFound)
}

func checkPlacePrunes(s *ownerSubject) {
	s.start("a", "b", "c", "d")
	s.delete(key("b"))
	s.delete(key("d"))
	p := signIn("e", at(9))
	p.Members = []string{"d", "c", "none", "a"}
	p.Keys = keys(p.Members...)
	placed := s.place("members some of which have no value", p)
	s.counts("Place", placed.Count, 4)
	if len(placed.Ended) > 0 {
		s.Errorf("Place without a Limit has ended %q", placed.Ended)
	}
	s.listed("a", "b", "c", "e") // b was not asked about
	s.holds(key("a"), "a")
	s.holds(key("c"), "c")
}

func checkPlaceSharing(s *ownerSubject) {
	s.start("a")
	p := renewal("a", "a2", at(0))
	s.place("a renewal", p)
	if string(p.OldPrefix) != "a" || string(p.NewData) != "a2" || string(p.OldData) != "mark" {
		s.Errorf("Place changed its arguments to %q, %q and %q", p.OldPrefix, p.OldData, p.NewData)
	}
	clobber(p.OldPrefix)
	clobber(p.OldData)
	clobber(p.NewData)
	s.holds(key("a"), "mark")
	s.holds(key("a2"), "a2")
	clobber(s.notPlaced("a key that is there", signIn("a2", at(0)), sessions.ErrExists).Current)
	clobber(s.notPlaced("another prefix", renewal("a", "a3", at(0)), sessions.ErrConflict).Current)
	s.holds(key("a2"), "a2")
	s.holds(key("a"), "mark")
}

func checkLimitMembers(s *ownerSubject) {
	conflict := func(what string, p sessions.Placement, want ...string) {
		s.Helper()
		placed := s.notPlaced(what, p, sessions.ErrConflict)
		if !slices.Equal(placed.Members, want) || placed.Members == nil || placed.Current != nil {
			s.Errorf("Place of %s: ErrConflict with Members %q (nil: %t) and Current %s, want %q", what, placed.Members, placed.Members == nil, show(placed.Current), want)
		}
	}
	conflict("a member of nothing", limited("n", at(9), 9, "a"))
	s.start("a", "b", "c")
	conflict("no members", limited("n", at(9), 9), "a", "b", "c")
	conflict("one less", limited("n", at(9), 9, "a", "c"), "a", "b", "c")
	conflict("one more", limited("n", at(9), 9, "a", "b", "c", "d"), "a", "b", "c")
	conflict("another one", limited("n", at(9), 9, "a", "B", "c"), "a", "b", "c")
	conflict("another order", limited("n", at(9), 9, "b", "a", "c"), "a", "b", "c")
	s.revoke(at(1), time.Hour) // its time is no member
	p := renewal("b", "n", at(2))
	p.Limit, p.Members, p.Keys = 9, []string{"a"}, keys("a")
	conflict("the members but Remove", p, "a", "c")
	p.Members, p.Keys = []string{"a", "c"}, keys("a", "c")
	s.counts("Place", s.place("a renewal", p).Count, 3)
	s.listed("a", "c", "n")
	p = limited("n", at(2), 9, "a", "c") // Add is on it already
	p.New, p.NewData, p.NewTTL = "", nil, 0
	s.counts("Place", s.place("a member that is on it", p).Count, 3)
}

func checkLimitEvicts(s *ownerSubject) {
	evicts := func(what string, p sessions.Placement, count int, want ...string) {
		s.Helper()
		placed := s.place(what, p)
		s.counts("Place of "+what, placed.Count, count)
		if !slices.Equal(placed.Ended, want) {
			s.Errorf("Place of %s has ended %q, want %q", what, placed.Ended, want)
		}
		for _, m := range want {
			s.missing(key(m))
		}
		for _, m := range s.members() {
			s.holds(key(m), m)
		}
	}
	s.start("a", "b", "c")
	evicts("a fourth of four", limited("d", at(3), 4, "a", "b", "c"), 4)
	evicts("a fifth of four", limited("e", at(4), 4, "a", "b", "c", "d"), 4, "a")
	evicts("a further one of two", limited("f", at(5), 2, "b", "c", "d", "e"), 2, "b", "c", "d")
	evicts("the only one, and it is older", limited("g", at(-9), 1, "e", "f"), 1, "e", "f")
	s.listed("g")
	evicts("one that is older than the one it takes the place of", limited("h", at(-99), 1, "g"), 1, "g")

	// What has gone by itself takes no room.
	evicts("one more", limited("i", at(5), 3, "h"), 2)
	evicts("one more", limited("j", at(6), 3, "h", "i"), 3)
	s.delete(key("h"))
	evicts("a third beside one that has gone", limited("k", at(7), 3, "h", "i", "j"), 3)
	s.listed("i", "j", "k")
	s.delete(key("j"))
	evicts("a second of two beside one that has gone", limited("l", at(8), 2, "i", "j", "k"), 2, "i")
	s.listed("k", "l")

	// A renewal needs no room.
	p := renewal("k", "m", at(7))
	p.Limit, p.Members, p.Keys = 2, []string{"l"}, keys("l")
	evicts("a renewal", p, 2)
	s.listed("m", "l")
}

func checkLimitRejects(s *ownerSubject) {
	rejecting := func(p sessions.Placement) sessions.Placement {
		p.Reject = true
		return p
	}
	s.start("a", "b", "c")
	for _, limit := range []int{1, 2, 3} {
		s.notPlaced("one too many", rejecting(limited("d", at(3), limit, "a", "b", "c")), sessions.ErrOwnerLimit)
	}
	s.place("one that there is room for", rejecting(limited("d", at(3), 4, "a", "b", "c")))
	s.delete(key("b"))
	s.notPlaced("one too many beside one that has gone", rejecting(limited("e", at(4), 3, "a", "b", "c", "d")), sessions.ErrOwnerLimit)
	placed := s.place("one in the place of one that has gone", rejecting(limited("e", at(4), 4, "a", "b", "c", "d")))
	s.counts("Place", placed.Count, 4)
	s.listed("a", "c", "d", "e")
	p := renewal("c", "f", at(2))
	p.Limit, p.Members, p.Keys = 4, []string{"a", "d", "e"}, keys("a", "d", "e")
	s.place("a renewal", rejecting(p))
	s.listed("a", "f", "d", "e")
}

func checkLimitMany(s *ownerSubject) {
	var members []string
	for i := range 1000 {
		m := fmt.Sprintf("%04d%044d", i, i)
		members = append(members, m)
		s.place("one of many", sessions.Placement{Index: index, IndexTTL: time.Hour, Add: m, Created: at(i)})
	}
	s.create(key(members[7]), members[7], time.Hour)
	s.create(key(members[8]), members[8], time.Hour)
	placed := s.place("one among many", limited("n", at(1000), 2, members...))
	s.counts("Place", placed.Count, 2)
	if !slices.Equal(placed.Ended, members[7:8]) {
		s.Errorf("Place has ended %q, want the first one with a value", placed.Ended)
	}
	s.listed(members[8], "n")
}

func checkConcurrentLimit(s *ownerSubject) {
	const rounds, writers = 10, 8
	for round := range rounds {
		idx := fmt.Sprintf("{tag}o%d", round)
		name := func(i int) string { return fmt.Sprintf("%d-%d", round, i) }
		placedAs := func(i int, members ...string) sessions.Placement {
			p := limited(name(i), at(i), 2, members...)
			p.Index, p.Reject = idx, round%2 == 1
			return p
		}
		s.place("the first", placedAs(writers))
		placed, errs := make([]sessions.Placed, writers), make([]error, writers)
		together(writers, func(i int) {
			placed[i], errs[i] = s.Place(s.Context(), placedAs(i, name(writers)))
		})
		winner := s.oneWinner("Place", errs, sessions.ErrConflict)
		want := []string{name(winner), name(writers)}
		for i := range placed {
			if i != winner && !slices.Equal(placed[i].Members, want) {
				s.Errorf("Place lost to %s and has Members %q, want %q", name(winner), placed[i].Members, want)
			}
			if i != winner {
				s.missing(key(name(i)))
			}
		}
		if got, err := s.Members(s.Context(), idx); !slices.Equal(got, want) || err != nil {
			s.Errorf("afterwards Members = %q, %v, want %q", got, err, want)
		}
	}
}

func checkConcurrentRenewal(s *ownerSubject) {
	const rounds, writers = 10, 8
	for round := range rounds {
		from := fmt.Sprint("from", round)
		to := func(i int) string { return fmt.Sprintf("to%d-%d", round, i) }
		s.place("a session", signIn(from, at(0)))
		placed, errs := make([]sessions.Placed, writers), make([]error, writers)
		together(writers, func(i int) {
			p := renewal(from, to(i), at(0))
			p.OldData = []byte(to(i))
			placed[i], errs[i] = s.Place(s.Context(), p)
		})
		winner := s.oneWinner("Place", errs, sessions.ErrConflict)
		s.holds(key(from), to(winner))
		s.end([]string{from, to(winner)}, to(winner))
		for i := range placed {
			if i != winner && string(placed[i].Current) != to(winner) {
				s.Errorf("Place lost to %s and has Current %s", to(winner), show(placed[i].Current))
			}
			if i != winner {
				s.missing(key(to(i)))
			}
		}
		s.listed()
	}
}

func checkRaceEnd(s *ownerSubject) {
	for round := range 50 {
		from, to, other := fmt.Sprint("from", round), fmt.Sprint("to", round), fmt.Sprint("other", round)
		s.place("a session", signIn(from, at(0)))
		s.create(key(other), other, time.Hour)
		var ended [2][]string
		var ends [2]error
		var renewed, relisted error
		together(4, func(i int) {
			switch i = (i + round) % 4; i { // each is first at times
			case 0, 1:
				ended[i], ends[i] = s.End(s.Context(), index, []string{from, other}, keys(from, other))
			case 2:
				_, renewed = s.Place(s.Context(), renewal(from, to, at(0)))
			case 3:
				relisted = s.relistErr(other, at(0), time.Hour)
			}
		})
		if ends[0] != nil || ends[1] != nil {
			s.Fatalf("End beside others: %v, %v", ends[0], ends[1])
		}
		endings := append(ended[0], ended[1]...)
		switch {
		case renewed == nil:
			s.holds(key(to), to)
			if slices.Contains(endings, from) {
				s.Errorf("End has ended %q, and its renewal has begun %q", from, to)
			}
			s.end([]string{to}, to)
		default:
			if !slices.Contains(endings, from) {
				s.Errorf("no End has ended %q, and it cannot be renewed", from)
			}
			s.wantErr("the renewal beside an End", renewed, sessions.ErrNotFound)
			s.missing(key(to))
			s.missing(key(from))
		}
		// The Relist is before an End, which then ends it, or after both.
		if relisted != nil {
			s.Fatalf("Relist beside an End of what is not listed: %v", relisted)
		}
		if slices.Contains(endings, other) {
			s.missing(key(other))
		} else {
			s.end([]string{other}, other)
		}
		slices.Sort(endings)
		if n := len(endings); n != len(slices.Compact(endings)) {
			s.Errorf("two Ends have both ended the same one: %q", endings)
		}
		s.listed()
	}
}

func checkRaceRelist(s *ownerSubject) {
	for round := range 50 {
		m := fmt.Sprint("m", round)
		s.place("a session", signIn(m, at(0)))
		var ended []string
		var err, relisted error
		together(2, func(i int) {
			if (i+round)%2 == 0 {
				ended, err = s.End(s.Context(), index, []string{m}, keys(m))
			} else {
				relisted = s.relistErr(m, at(0), time.Hour)
			}
		})
		if err != nil || !slices.Equal(ended, []string{m}) {
			s.Fatalf("End beside a Relist = %q, %v, want %s ended", ended, err, m)
		}
		if relisted != nil {
			s.wantErr("Relist beside an End", relisted, sessions.ErrNotFound)
		}
		s.missing(key(m))
		s.listed()
	}
}

func checkRaceRevoke(s *ownerSubject) {
	for round := range 50 {
		m := fmt.Sprint("m", round)
		idx := fmt.Sprintf("{tag}o%d", round)
		s.create(key(m), m, time.Hour)
		var errs [3]error
		together(3, func(i int) {
			switch i = (i + round) % 3; i {
			case 0:
				errs[i] = s.Revoke(s.Context(), idx, at(5), time.Hour)
			case 1:
				errs[i] = s.Revoke(s.Context(), idx, at(1), time.Hour)
			case 2:
				errs[i] = s.Relist(s.Context(), idx, key(m), nil, m, at(3), time.Hour)
			}
		})
		if errs[0] != nil || errs[1] != nil {
			s.Fatalf("Revoke beside a Relist: %v, %v", errs[0], errs[1])
		}
		members, err := s.Members(s.Context(), idx)
		if err != nil {
			s.Fatalf("Members: %v", err)
		}
		if errs[2] == nil { // it is listed, so that who has revoked finds it
			if !slices.Equal(members, []string{m}) {
				s.Errorf("Relist before a Revoke, and Members = %q", members)
			}
			s.holds(key(m), m)
		} else {
			s.wantErr("Relist beside a Revoke", errs[2], sessions.ErrGone)
			s.missing(key(m))
			if len(members) > 0 {
				s.Errorf("Relist after a Revoke, and Members = %q", members)
			}
		}
		late := m + "late"
		s.create(key(late), late, time.Hour)
		err = s.Relist(s.Context(), idx, key(late), nil, late, at(3), time.Hour)
		s.wantErr("Relist after two Revokes", err, sessions.ErrGone)
	}
}
