package protocol_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// signsIn: another process stores a session of ann's.
func signsIn(o *owned, name string) act { return func(*fixture) { o.seed("ann", name) } }

// A session of an owner begins in one step, with its entry on the index.
func TestOwnersCreate(t *testing.T) {
	for _, row := range []struct {
		name    string
		limit   int
		reject  bool
		seeds   string
		draws   string // new, newer and newest, if it is empty
		happens func(o *owned) events

		err      string // ok, if it is empty
		commands string
		notices  string
		left     string
		listed   string
	}{
		{name: "O6", commands: "place new +new", left: "new=a", listed: "new"},
		{name: "O6 beside others, with no limit", seeds: "a b", commands: "place new +new", left: "a=a b=a new=a", listed: "a b new"},
		{
			name: "C10 the client has lost the reply and sends it again", happens: at("place new +new", repeated()),
			commands: "place new +new", left: "new=a", listed: "new",
		},
		{
			name: "O8 the reply is lost: it is taken back", happens: at("place new +new", lost),
			commands: "place new +new, place !new -new, place newer +newer", notices: "Unavailable first", left: "newer=a", listed: "newer",
		},
		{
			name: "O8 it is not applied", happens: at("place new +new", notApplied),
			commands: "place new +new, place !new -new, place newer +newer", notices: "Unavailable first", left: "newer=a", listed: "newer",
		},
		{
			name: "O8 the reply is lost each time", happens: at("place new +new", lost, "place newer +newer", lost, "place newest +newest", lost),
			err:      "ErrUnavailable unknown",
			commands: "place new +new, place !new -new, place newer +newer, place !newer -newer, place newest +newest, place !newest -newest",
			notices:  "Unavailable first, Unavailable, Unavailable",
		},
		{
			name: "O8 nor is it answered that it is taken back", happens: at("place new +new", lost, "place !new -new", notApplied),
			err: "ErrUnavailable unknown", commands: "place new +new, place !new -new", notices: "Unavailable first, Unavailable", left: "new=a", listed: "new",
		},
		{
			name: "O8 the reply does not come in time", happens: at("place new +new", hangs),
			err: "ErrUnavailable unknown", commands: "place new +new", notices: "Unavailable first",
		},
		{
			name: "F5 the store refuses", happens: at("place new +new", full),
			err: "ErrUnavailable refused", commands: "place new +new", notices: "Unavailable first",
		},
		{name: "an error of no type", happens: at("place new +new", broken), err: "an error of no type", commands: "place new +new"},
		{
			name: "T1 the token that is drawn has been given away", seeds: "a", draws: "a new",
			commands: "place a +a, place new +new", left: "a=a new=a", listed: "a new",
		},
		{name: "T1 it is drawn again and again", seeds: "a", draws: "a a a new", err: "ErrExists", commands: "place a +a, place a +a, place a +a", left: "a=a", listed: "a"},

		// The limit.
		{name: "O9 the first of one", limit: 1, commands: "place new +new", left: "new=a", listed: "new"},
		{
			name: "O9 the oldest ends", limit: 2, seeds: "a b",
			commands: "place new +new, place new +new with 2", notices: "Evicted a", left: "b=a new=a", listed: "b new",
		},
		{
			name: "O9 the oldest ones end", limit: 1, seeds: "a b c",
			commands: "place new +new, place new +new with 3", notices: "Evicted a, Evicted b, Evicted c", left: "new=a", listed: "new",
		},
		{
			name: "O9 under the limit", limit: 3, seeds: "a b",
			commands: "place new +new, place new +new with 2", left: "a=a b=a new=a", listed: "a b new",
		},
		{
			name: "O9 one that has ended takes no place", limit: 2, seeds: "a b", happens: before0(func(o *owned) { o.lose("b") }),
			commands: "place new +new, place new +new with 2", left: "a=a new=a", listed: "a new",
		},
		{
			name: "O9 Reject", limit: 2, reject: true, seeds: "a b",
			err: "ErrOwnerLimit", commands: "place new +new, place new +new with 2", left: "a=a b=a", listed: "a b",
		},
		{
			name: "O9 Reject, and one has ended", limit: 2, reject: true, seeds: "a b", happens: before0(func(o *owned) { o.lose("a") }),
			commands: "place new +new, place new +new with 2", left: "b=a new=a", listed: "b new",
		},
		{
			name: "O9 another one signs in between", limit: 2, seeds: "a b",
			happens:  func(o *owned) events { return events{"place new +new with 2": before(signsIn(o, "c"))} },
			commands: "place new +new, place new +new with 2, place new +new with 3", notices: "Evicted a, Evicted b", left: "new=a c=a", listed: "new c",
		},
		{
			name: "O8 the reply is lost, and has ended the oldest one", limit: 2, seeds: "a b", happens: at("place new +new with 2", lost),
			commands: "place new +new, place new +new with 2, place !new -new, place newer +newer, place newer +newer with 1",
			notices:  "Unavailable first", left: "b=a newer=a", listed: "b newer",
		},
	} {
		ownedRow(t, row.name, row.limit, row.reject, func(o *owned) {
			o.seed("ann", strings.Fields(row.seeds)...)
			if row.happens != nil {
				o.events = row.happens(o)
			}
			if row.draws != "" {
				o.draws = strings.Fields(row.draws)
			}
			s := o.session()
			err := s.Create(o.ctx, o.header("new", "ann"))
			if row.err == "" {
				row.err = "ok"
			}
			o.want("Create", name(err), row.err)
			if stored := s.Stored(); stored != (err == nil) {
				o.t.Errorf("stored: %t", stored)
			}
			o.want("commands", o.take(), row.commands)
			o.want("notices", o.notices(), row.notices)
			o.wantLeft(row.left, row.listed)
		})
	}
}

// at is a row's events, of commands and what happens at them.
func at(pairs ...any) func(*owned) events {
	return func(*owned) events {
		all := events{}
		for i := 0; i < len(pairs); i += 2 {
			switch e := pairs[i+1].(type) {
			case event:
				all[pairs[i].(string)] = e
			case func(*fixture, context.Context, func() error) error:
				all[pairs[i].(string)] = e
			}
		}
		return all
	}
}

// before0 is what has happened before the row begins.
func before0(do func(o *owned)) func(*owned) events {
	return func(o *owned) events { do(o); return nil }
}

// lose has the store forget a session of ann's.
func (o *owned) lose(name string) {
	_ = o.store.inner.Delete(context.Background(), o.keyOf(name, "ann"))
}

// The limit is enforced on what is listed. If that changes again and again, there is an end to it.
func TestOwnersLimitRaces(t *testing.T) {
	others := func(o *owned, pause time.Duration) *int {
		n := new(int)
		o.events = events{}
		for i := range 500 {
			o.events[fmt.Sprint("place new +new with ", i, " *")] = before(func(*fixture) {
				*n++
				o.seed("ann", fmt.Sprint("c", *n))
				time.Sleep(pause)
			})
		}
		return n
	}
	ownedRow(t, "O9 others sign in until the time is up", 2, false, func(o *owned) {
		o.seed("ann", "a", "b")
		n := others(o, time.Millisecond)
		began := time.Now()
		o.want("Create", name(o.session().Create(o.ctx, o.header("new", "ann"))), "ErrConflict")
		if took := time.Since(began); took < timeout*9/10 || took > timeout {
			o.t.Errorf("it took %v", took)
		}
		o.want("notices", o.notices(), "OutOfTime")
		if *n < 5 || *n > 300 {
			o.t.Errorf("tried %d times", *n)
		}
	})
	ownedRow(t, "O9 others sign in, and it is tried until they are done", 2, false, func(o *owned) {
		o.seed("ann", "a", "b")
		others(o, time.Millisecond)
		for i := 10; i < 500; i++ {
			delete(o.events, fmt.Sprint("place new +new with ", i, " *"))
		}
		o.want("Create", name(o.session().Create(o.ctx, o.header("new", "ann"))), "ok")
		o.want("listed", o.listed("ann"), "new c8")
	})
}

// An index may have more entries than one step takes: there was no limit before.
func TestOwnersMany(t *testing.T) {
	many := func(o *owned, n int) {
		for i := range n {
			o.seed("ann", fmt.Sprint("s", i))
		}
		o.app.take()
	}
	const over = protocol.MaxChunk + 5
	for _, row := range []struct {
		name    string
		reject  bool
		ended   int // of them
		happens events

		err      string
		commands string
		evicted  int
		listed   int
	}{
		{
			name: "O9 the oldest ones end", err: "ok",
			commands: "place new +new, members, place with 1000, place with 5, members, end 1000, end 3, place new +new with 2",
			evicted:  over - 1, listed: 2,
		},
		{
			name: "O9 most have ended", ended: over - 1, err: "ok",
			commands: "place new +new, members, place with 1000, place with 5, members, place new +new with 1",
			listed:   2,
		},
		{
			name: "O9 Reject", reject: true, err: "ErrOwnerLimit",
			commands: "place new +new, members, place with 1000, place with 5, members", listed: over,
		},
		{
			name: "the index is not answered", happens: events{"members": notApplied, "members #2": notApplied}, err: "ok",
			commands: "place new +new, members, members, place !new -new, place newer +newer, members, place with 1000, place with 5, members, end 1000, end 3, place newer +newer with 2",
			evicted:  over - 1, listed: 2,
		},
		{
			name: "the ends are not answered", happens: events{"end 1000": broken}, err: "an error of no type",
			commands: "place new +new, members, place with 1000, place with 5, members, end 1000", listed: over,
		},
		{
			name: "what has ended is not taken off", happens: events{"place with 1000": broken}, err: "ok",
			commands: "place new +new, members, place with 1000, members, end 1000, end 3, place new +new with 2", evicted: over - 1, listed: 2,
		},
	} {
		ownedRow(t, row.name, 2, row.reject, func(o *owned) {
			many(o, over)
			for i := range row.ended {
				o.lose(fmt.Sprint("s", i))
			}
			o.events = row.happens
			err := o.session().Create(o.ctx, o.header("new", "ann"))
			o.want("Create", name(err), row.err)
			o.want("commands", o.take(), row.commands)
			if n := strings.Count(o.notices(), "Evicted"); n != row.evicted {
				o.t.Errorf("%d were evicted, want %d", n, row.evicted)
			}
			if n := len(strings.Fields(o.listed("ann"))); n != row.listed {
				o.t.Errorf("%d are listed, want %d", n, row.listed)
			}
		})
	}
}

// Without a limit nothing looks at the entries of sessions that have ended, so a sign-in does so now and then.
func TestOwnersPrune(t *testing.T) {
	for _, row := range []struct {
		seeds    int
		happens  events
		commands string
		listed   string
	}{
		{6, nil, "place new +new", "(s0) (s1) s2 s3 s4 s5 new"},
		{7, nil, "place new +new, members, place with 8", "s2 s3 s4 s5 s6 new"},
		{8, nil, "place new +new", "(s0) (s1) s2 s3 s4 s5 s6 s7 new"},
		{7, events{"members": notApplied}, "place new +new, members", "(s0) (s1) s2 s3 s4 s5 s6 new"},
		{7, events{"place with 8": notApplied}, "place new +new, members, place with 8", "(s0) (s1) s2 s3 s4 s5 s6 new"},
	} {
		ownedRow(t, fmt.Sprint("O5 ", row.seeds, " and one more: ", row.commands), 0, false, func(o *owned) {
			for i := range row.seeds {
				o.seed("ann", fmt.Sprint("s", i))
			}
			o.lose("s0")
			o.lose("s1")
			o.events = row.happens
			o.want("Create", name(o.session().Create(o.ctx, o.header("new", "ann"))), "ok")
			o.want("commands", o.take(), row.commands)
			o.want("listed", o.listed("ann"), row.listed)
		})
	}
}
