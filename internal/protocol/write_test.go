package protocol_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// A writeRow is one Write of a session that was loaded as "a" under the key old. It is run as a save and as
// an Update, which has a function, unless it is only one of them.
type writeRow struct {
	name    string
	only    string // save or update
	layout  layout
	stored  rec // a, if it is zero
	compose []compose
	until   time.Duration
	happens events

	result   string // ok, if it is empty
	commands string
	notices  string
	given    string        // what Compose was called with, a if it is empty
	left     string        // what is stored
	took     time.Duration // at least, if it is not zero
	within   time.Duration // this much longer at the most

	// overtaken: how often it is tried depends on pauses of random length. What is stored has nothing of it.
	overtaken bool
}

func (row writeRow) run(t *testing.T) {
	t.Helper()
	if row.stored == (rec{}) {
		row.stored.payload = "a"
	}
	for _, kind := range []string{"save", "update"} {
		if row.only != "" && row.only != kind {
			continue
		}
		inBubble(t, row.name+", "+kind, row.layout, map[string]rec{"old": row.stored}, func(fx *fixture) {
			s := fx.loaded()
			fx.events = maps.Clone(row.happens)
			c := &composer{steps: row.compose}
			change := protocol.Change{Composer: c, RunsFunction: kind == "update"}
			began := time.Now()
			if row.until > 0 {
				change.Until = began.Add(row.until)
			}
			result, err := s.Write(fx.ctx, change)
			if took := time.Since(began); row.took > 0 && (took < row.took || took > row.took+row.within) {
				fx.t.Errorf("it took %v, want %v and %v more at the most", took, row.took, row.within)
			}
			fx.want("result", resultOf(result, err), cmp.Or(row.result, "ok"))
			fx.want("notices", fx.app.take(), row.notices)
			fx.end()
			if row.overtaken {
				fx.want("stored", strings.TrimRight(fx.memory.String(), "x"), row.left)
				return
			}
			fx.want("commands", fx.take(), row.commands)
			fx.want("given to Compose", strings.Join(c.given, " "), cmp.Or(row.given, "a"))
			fx.want("stored", fx.memory.String(), row.left)
			if errors.Is(err, protocol.ErrGone) != s.Gone {
				fx.t.Errorf("%v, and Gone is %t", err, s.Gone)
			}
			if err == nil && !result.Kept {
				fx.want("the session", string(s.Record.Payload), c.made)
			}
		})
	}
}

func resultOf(r protocol.Result, err error) string {
	text := name(err)
	if r.Renewed {
		text += " renewed"
	}
	if r.Kept {
		text += " kept"
	}
	if r.Unconfirmed.Name != nil {
		text += " unconfirmed"
	}
	return text
}

func TestWrite(t *testing.T) {
	foreign := layout{foreign: true}
	b := []compose{edit("b")}
	for _, row := range []writeRow{
		{name: "L13", compose: b, commands: "swap old", left: "old=ab"},
		{name: "C7 kept as it is", compose: []compose{keep}, result: "ok kept", left: "old=a"},
		{name: "L13 no names of writes", layout: foreign, compose: b, commands: "swap old", left: "old=ab"},

		// Another process is quicker.
		{
			name: "C7 written before the swap", compose: b, happens: events{"swap old": before(saves("x"))},
			commands: "swap old, swap old", given: "a ax*", left: "old=axb",
		},
		{
			name: "C7 written before the swap, no names of writes", layout: foreign, compose: b, happens: events{"swap old": before(saves("x"))},
			commands: "swap old, swap old", given: "a ax*", left: "old=axb",
		},
		{
			name: "C7 written before the swap, and nothing is left to do", compose: []compose{edit("b"), keep}, happens: events{"swap old": before(saves("x"))},
			result: "ok kept", commands: "swap old", given: "a ax*", left: "old=ax",
		},
		{
			name: "C9 written before each of two swaps: the third tries on what is there after a pause", compose: b,
			happens:  events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "load old": before(saves("z"))},
			commands: "swap old, swap old, load old, swap old", given: "a ax* axyz*", left: "old=axyzb",
		},
		{
			name: "C2 ended before the swap", compose: b, happens: events{"swap old": before(ends)},
			result: "ErrGone", commands: "swap old", notices: "Gone",
		},
		{
			name: "C2 ended between a conflict and the next swap", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(ends)},
			result: "ErrGone", commands: "swap old, swap old", notices: "Gone", given: "a ax*",
		},
		{
			name: "C2 ended during the pause", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y"), ends)},
			result: "ErrGone", commands: "swap old, swap old", notices: "Gone", given: "a ax*",
		},
		{
			name: "C2 ended before the look after the pause", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "load old": before(ends)},
			result: "ErrGone", commands: "swap old, swap old, load old", notices: "Gone", given: "a ax*",
		},
		{
			name: "C2 ended before the third swap", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "swap old #3": before(ends)},
			result: "ErrGone", commands: "swap old, swap old, load old, swap old", notices: "Gone", given: "a ax* axy*",
		},
		{
			name: "C1 ended after the swap, before its reply", compose: b, happens: events{"swap old": after(ends)},
			commands: "swap old",
		},
		{
			name: "C1 expired before the swap", compose: b, happens: events{"swap old": before(expires("old"))},
			result: "ErrGone", commands: "swap old", notices: "Gone",
		},
		{
			name: "C4 renewed before the swap", compose: b, happens: events{"swap old": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "swap old", notices: "Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C4 renewed after the swap, before its reply", compose: b, happens: events{"swap old": after(renews("old", "theirs"))},
			commands: "swap old", left: "old>theirs theirs=ab",
		},
		{
			name: "C4 renewed between a conflict and the next swap", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "swap old, swap old, load old", notices: "Gone", given: "a ax*", left: "old>theirs theirs=ax",
		},
		{
			name: "C4 renewed before the look after the pause", compose: b,
			happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "load old": before(renews("old", "theirs"))},
			result:  "ErrGone", commands: "swap old, swap old, load old", notices: "Gone", given: "a ax*", left: "old>theirs theirs=axy",
		},
		{
			name: "C4 renewed before the third swap", compose: b,
			happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "swap old #3": before(renews("old", "theirs"))},
			result:  "ErrGone", commands: "swap old, swap old, load old, swap old, load old", notices: "Gone", given: "a ax* axy*", left: "old>theirs theirs=axy",
		},
		{
			name: "C4 K4 renewed before the swap by a newer build", compose: b, happens: events{"swap old": before(puts("old", rec{successor: "theirs", version: 2, by: "them.1"}))},
			result: "ErrGone", commands: "swap old", notices: "Gone", left: "old>theirs",
		},
		{
			name: "K6 unreadable before the swap", compose: b, happens: events{"swap old": before(puts("old", raw("x")))},
			result: "unreadable header", commands: "swap old", left: `old="x"`,
		},
		{
			name: "C1 K11 what stands for no session is there before the swap", layout: layout{open: standsForNothing}, compose: b, happens: events{"swap old": before(puts("old", raw("nothing")))},
			result: "ErrGone", commands: "swap old", notices: "Gone", left: `old="nothing"`,
		},
		{
			name: "K4 of a newer version before the swap", compose: b, happens: events{"swap old": before(puts("old", rec{payload: "x", version: 2, by: "them.1"}))},
			result: "ErrNewerVersion", commands: "swap old", left: "old=x",
		},
		{
			name: "K7 too large before the swap", compose: b, happens: events{"swap old": before(puts("old", rec{payload: large, by: "them.1"}))},
			result: "unreadable  ErrTooLarge", commands: "swap old", left: "old=large",
		},

		// The reply is lost, and the client of the store sends the command again.
		{name: "C10 applied twice", compose: b, happens: events{"swap old": repeated()}, commands: "swap old", left: "old=ab"},
		{
			name: "C10 applied, written by another process, repeated", compose: b, happens: events{"swap old": repeated(saves("x"))},
			commands: "swap old", left: "old=abx",
		},
		{
			name: "C10 applied, written sixty times by seven other processes, repeated", compose: b, happens: events{"swap old": repeated(savesBy(7, 60, "x"))},
			commands: "swap old", left: "old=large",
		},
		{
			name: "C10 applied, written by eight other processes, repeated: it is forgotten", compose: b, happens: events{"swap old": repeated(savesBy(8, 8, "x"))},
			commands: "swap old, swap old", given: "a abxxxxxxxx*", left: "old=abxxxxxxxxb",
		},
		{
			name: "C10 applied, renewed, repeated", compose: b, happens: events{"swap old": repeated(renews("old", "theirs"))},
			commands: "swap old", left: "old>theirs theirs=ab",
		},
		{
			name: "C10 applied, renewed twice, repeated", compose: b, happens: events{"swap old": repeated(renews("old", "theirs"), renews("theirs", "last"))},
			commands: "swap old", left: "last=ab old>theirs theirs>last",
		},
		{
			name: "C10 applied, written, renewed, and written under the new token, repeated", compose: b, happens: events{"swap old": repeated(saves("x"), renews("old", "theirs"), savesAt("theirs", "y"))},
			commands: "swap old", left: "old>theirs theirs=abxy",
		},
		{
			name: "C1 applied, ended, repeated", compose: b, happens: events{"swap old": repeated(ends)},
			result: "ErrGone", commands: "swap old", notices: "Gone",
		},
		{
			name: "C10 applied, unreadable, repeated", compose: b, happens: events{"swap old": repeated(puts("old", raw("x")))},
			result: "unreadable header", commands: "swap old", left: `old="x"`,
		},
		{
			name: "C10 applied twice, no names of writes: equal bytes are as good", only: "save", layout: foreign, compose: b,
			happens: events{"swap old": repeated()}, commands: "swap old", left: "old=ab",
		},
		{
			name: "C10 applied twice, no names of writes: another one's may be equal", only: "update", layout: foreign, compose: b,
			happens: events{"swap old": repeated()}, commands: "swap old, swap old", given: "a ab*", left: "old=abb",
		},
		{
			name: "C9 another process writes equal bytes, no names of writes", only: "update", layout: foreign, compose: b,
			happens: events{"swap old": before(saves("b"))}, commands: "swap old, swap old", given: "a ab*", left: "old=abb",
		},
		{
			name: "C10 applied, written by another process, repeated, no names of writes", layout: foreign, compose: b,
			happens: events{"swap old": repeated(saves("x"))}, commands: "swap old, swap old", given: "a abx*", left: "old=abxb",
		},

		// The caller learns nothing.
		{
			name: "C10 the reply is lost", compose: b, happens: events{"swap old": lost},
			result: "ErrUnavailable unknown unconfirmed", commands: "swap old", notices: "Unavailable first", left: "old=ab",
		},
		{
			name: "F2 the store does not answer", compose: b, happens: events{"swap old": notApplied},
			result: "ErrUnavailable unknown unconfirmed", commands: "swap old", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "F5 the store refuses: nothing is stored", compose: b, happens: events{"swap old": full},
			result: "ErrUnavailable refused", commands: "swap old", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "C10 the reply to the second try is lost", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": lost},
			result: "ErrUnavailable unknown unconfirmed", commands: "swap old, swap old", notices: "Unavailable first", given: "a ax*", left: "old=axb",
		},
		{
			name: "F2 the store does not answer after the pause", compose: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "load old": notApplied},
			result: "ErrUnavailable", commands: "swap old, swap old, load old", notices: "Unavailable first", given: "a ax*", left: "old=axy",
		},
		{
			name: "an error of no type", compose: b, happens: events{"swap old": broken}, result: "an error of no type", commands: "swap old", left: "old=a",
		},

		// It cannot be done.
		{name: "Compose fails", compose: []compose{fails(errCompose)}, result: "cannot compose", left: "old=a"},
		{
			name: "Compose fails on what another process has written", compose: []compose{edit("b"), fails(errCompose)}, happens: events{"swap old": before(saves("x"))},
			result: "cannot compose", commands: "swap old", given: "a ax*", left: "old=ax",
		},
		{name: "K7 too large", compose: []compose{edit(large)}, result: "ErrTooLarge", left: "old=a"},
		{
			name: "the Layout does not seal it", layout: layout{seal: func(record.Record) error { return errBroken }}, compose: b,
			result: "sessions: Layout: an error of no type", left: "old=a",
		},
		{
			name: "L6 L7 past its Lifetime", stored: rec{payload: "a", age: lifetime - timeout/4}, compose: b, happens: events{"swap old": slow(timeout/4, saves("x"))},
			result: "ErrGone", commands: "swap old, delete old", notices: "Expired, Gone",
		},
		{
			name: "L6 L17 past its Lifetime, and another session is there when it is deleted", stored: rec{payload: "a", age: lifetime - timeout/4}, compose: b,
			happens: events{"swap old": slow(timeout/4, saves("x")), "delete old": before(puts("old", rec{payload: "y", by: "them.9"}))},
			result:  "ErrGone", commands: "swap old, delete old", notices: "Expired, Gone", left: "old=y",
		},
		{
			name: "L7 past its Lifetime when Compose returns", stored: rec{payload: "a", age: lifetime - time.Minute}, compose: []compose{lasting(time.Minute, edit("b"))},
			result: "ErrGone", notices: "Gone", left: "old=a",
		},
		{
			name: "L9 Compose gives it another timeout", compose: []compose{idleOf(time.Hour)}, commands: "swap old", left: "old=a",
		},

		// A function refuses what it is given.
		{name: "C9 it refuses what is stored", compose: []compose{refuses}, result: "refused", commands: "load old", left: "old=a"},
		{
			name: "C9 it refuses what is no longer stored", compose: []compose{refuses, edit("b")}, happens: events{"load old": before(saves("x"))},
			commands: "load old, swap old", given: "a ax*", left: "old=axb",
		},
		{
			name: "C9 it refuses both", compose: []compose{refuses}, happens: events{"load old": before(saves("x"))},
			result: "refused", commands: "load old", given: "a ax*", left: "old=ax",
		},
		{
			name: "C9 it refuses what a conflict has shown", compose: []compose{edit("b"), refuses}, happens: events{"swap old": before(saves("x"))},
			result: "refused", commands: "swap old", given: "a ax*", left: "old=ax",
		},
		{
			name: "C1 it refuses what has ended", compose: []compose{refuses}, happens: events{"load old": before(ends)},
			result: "ErrGone", commands: "load old", notices: "Gone",
		},
		{
			name: "C4 it refuses what was renewed", compose: []compose{refuses}, happens: events{"load old": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "load old", notices: "Gone", left: "old>theirs theirs=a",
		},
		{
			name: "K6 it refuses what is unreadable now", compose: []compose{refuses}, happens: events{"load old": before(puts("old", raw("x")))},
			result: "unreadable header", commands: "load old", left: `old="x"`,
		},
		{
			name: "F2 it refuses, and the store does not answer", compose: []compose{refuses}, happens: events{"load old": notApplied},
			result: "ErrUnavailable", commands: "load old", notices: "Unavailable first", left: "old=a",
		},
	} {
		row.run(t)
	}

	inBubble(t, "F3 a client that hangs up does not stop it", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		s := fx.loaded()
		ctx, cancel := context.WithCancel(fx.ctx)
		cancel()
		_, err := s.Write(ctx, protocol.Change{Composer: &composer{steps: b}})
		fx.want("Write", name(err), "ok")
		fx.want("stored", fx.memory.String(), "old=ab")
	})
}

// idleOf gives the record an idle timeout of its own.
func idleOf(d time.Duration) compose {
	return func(found protocol.Found) (p protocol.Proposal, err error) {
		p.Record = found.Record
		p.Record.Idle = d
		return p, nil
	}
}

// A write that was not answered is found again later, by its name.
func TestUnconfirmed(t *testing.T) {
	for _, row := range []struct {
		name     string
		happens  event
		then     []act
		in, last bool
	}{
		{name: "C10 it was applied", happens: lost, in: true, last: true},
		{name: "C10 it was applied, and another process has written", happens: lost, then: []act{saves("x")}, in: true},
		{name: "C10 it was not applied", happens: notApplied},
		{name: "C10 it was not applied, and another process has written", happens: notApplied, then: []act{saves("x")}},
		{name: "C10 it was applied and forgotten", happens: lost, then: []act{savesBy(8, 8, "x")}},
	} {
		inBubble(t, row.name, layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
			s := fx.loaded()
			fx.events = events{"swap old": row.happens}
			result, err := s.Write(fx.ctx, protocol.Change{Composer: &composer{steps: []compose{edit("b")}}})
			fx.want("result", resultOf(result, err), "ErrUnavailable unknown unconfirmed")
			fx.want("name", string(result.Unconfirmed.Name), "me.1")
			fx.others(row.then)
			found := protocol.Found{Raw: fx.entries["old"].data}
			found.Record, err = fx.layout.Open(found.Raw)
			fx.want("Open", name(err), "ok")
			if in, last := result.Unconfirmed.In(&found), result.Unconfirmed.Last(&found); in != row.in || last != row.last {
				fx.t.Errorf("in what is stored: %t, just that: %t; want %t, %t", in, last, row.in, row.last)
			}
		})
	}
}
