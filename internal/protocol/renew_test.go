package protocol_test

import (
	"testing"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// A renewal stores a copy and swaps the old record for a mark that names it. A row is one Write that asks for
// a new token; the session was loaded as "a" under the key old.
func TestRenew(t *testing.T) {
	foreign := layout{foreign: true}
	b := []compose{renew("b")}
	noMark := layout{seal: func(r record.Record) error {
		if r.IsMark() {
			return errBroken
		}
		return nil
	}}
	for _, row := range []writeRow{
		{name: "L12", compose: b, result: "ok renewed", commands: "create new, mark old", left: "new=ab old>new"},
		{name: "L12 no marks", layout: foreign, compose: b, result: "ok renewed", commands: "create new, delete old", left: "new=ab"},
		{name: "L12 remembered from now on", compose: []compose{remember}, result: "ok renewed", commands: "create new+r, mark old", left: "new+r=a old>new+r"},

		// The copy.
		{
			name: "C10 the copy is applied twice", compose: b, happens: events{"create new": repeated()},
			result: "ok renewed", commands: "create new, load new, mark old", left: "new=ab old>new",
		},
		{
			name: "L12 the reply to the copy is lost", compose: b, happens: events{"create new": lost},
			result: "ErrUnavailable unknown", commands: "create new", notices: "Unavailable first", left: "new=ab old=a",
		},
		{
			name: "L12 the copy is not stored", compose: b, happens: events{"create new": notApplied},
			result: "ErrUnavailable unknown", commands: "create new", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "F5 the copy is refused", compose: b, happens: events{"create new": full},
			result: "ErrUnavailable refused", commands: "create new", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "an error of no type, and there is no copy", compose: b, happens: events{"create new": broken},
			result: "an error of no type", commands: "create new", left: "old=a",
		},
		{name: "K7 the copy is too large", compose: []compose{renew(large)}, result: "ErrTooLarge", left: "old=a"},

		// The swap for the mark.
		{
			name: "C5 the swap for the mark is applied twice", compose: b, happens: events{"mark old": repeated()},
			result: "ok renewed", commands: "create new, mark old", left: "new=ab old>new",
		},
		{
			name: "C5 the reply to the swap for the mark is lost: it is asked again", compose: b, happens: events{"mark old": lost},
			result: "ok renewed", commands: "create new, mark old, mark old", notices: "Unavailable first", left: "new=ab old>new",
		},
		{
			name: "C5 two replies to the swap for the mark are lost", compose: b, happens: events{"mark old": lost, "mark old #2": lost},
			result: "ok renewed", commands: "create new, mark old, mark old, mark old", notices: "Unavailable first, Unavailable", left: "new=ab old>new",
		},
		{
			name: "C5 no reply to the swap for the mark comes: the copy stays, it may be the only record", compose: b, happens: events{"mark old *": lost},
			result: "ErrUnavailable unknown", commands: "create new, mark old, mark old, mark old", notices: "Unavailable first, Unavailable, Unavailable", left: "new=ab old>new",
		},
		{
			name: "L12 the swap for the mark is not applied: the old token is valid", compose: b, happens: events{"mark old *": notApplied},
			result: "ErrUnavailable unknown", commands: "create new, mark old, mark old, mark old", notices: "Unavailable first, Unavailable, Unavailable", left: "new=ab old=a",
		},
		{
			name: "F5 the swap for the mark is refused: it is not asked again, and the copy is deleted", compose: b, happens: events{"mark old": full},
			result: "ErrUnavailable refused", commands: "create new, mark old, drop new", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "F5 C5 the reply to the swap for the mark is lost, and the next one refused: the copy stays, it may be the only record", compose: b, happens: events{"mark old": lost, "mark old #2": full},
			result: "ErrUnavailable unknown", commands: "create new, mark old, mark old", notices: "Unavailable first, Unavailable first", left: "new=ab old>new", // of two causes
		},
		{
			name: "F10 the swap for the mark hangs: it is not asked again when the time is up", compose: b, happens: events{"mark old": hangs},
			result: "ErrUnavailable unknown", commands: "create new, mark old", notices: "Unavailable first", left: "new=ab old=a", took: timeout,
		},
		{
			name: "L12 the swap for the mark is not applied the first time", compose: b, happens: events{"mark old": notApplied},
			result: "ok renewed", commands: "create new, mark old, mark old", notices: "Unavailable first", left: "new=ab old>new",
		},
		{
			name: "C5 the swap for the mark is not applied, and another process writes before it is asked again", compose: b, happens: events{"mark old": notApplied, "mark old #2": before(saves("x"))},
			result: "ok renewed", commands: "create new, mark old, mark old, swap new, mark old", notices: "Unavailable first",
			given: "a ax*", left: "new=axb old>new",
		},
		{
			name: "C15 the swap for the mark is applied, and the session ended before it is asked again", compose: b, happens: events{"mark old": lost, "mark old #2": before(ends)},
			result: "ok renewed", commands: "create new, mark old, mark old", notices: "Unavailable first", left: "old>new",
		},
		{
			name: "C15 the swap for the mark is not applied, and the session ended before it is asked again", compose: b, happens: events{"mark old": notApplied, "mark old #2": before(ends)},
			result: "ErrGone", commands: "create new, mark old, mark old, drop new", notices: "Unavailable first, Gone",
		},
		{
			name: "an error of no type drops the copy", compose: b, happens: events{"mark old": broken},
			result: "an error of no type", commands: "create new, mark old, drop new", left: "old=a",
		},
		{
			name: "the Layout does not seal a mark", layout: noMark, compose: b,
			result: "an error of no type", commands: "create new, drop new", left: "old=a",
		},
		{
			name: "L12 no marks: the deletion that is applied twice ends the session, for nothing tells whose it was", layout: foreign, compose: b, happens: events{"delete old": repeated()},
			result: "ErrGone", commands: "create new, delete old, drop new", notices: "Gone",
		},
		{
			name: "L12 no marks: so does the one whose reply is lost", layout: foreign, compose: b, happens: events{"delete old": lost},
			result: "ErrGone", commands: "create new, delete old, delete old, drop new", notices: "Unavailable first, Gone",
		},

		// Another process comes first.
		{
			name: "C4 written before the copy: that goes along", compose: b, happens: events{"create new": before(saves("x"))},
			result: "ok renewed", commands: "create new, mark old, swap new, mark old", given: "a ax*", left: "new=axb old>new",
		},
		{
			name: "C5 renewed before the copy", compose: b, happens: events{"create new": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "create new, mark old, drop new", notices: "Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C15 ended before the copy", compose: b, happens: events{"create new": before(ends)},
			result: "ErrGone", commands: "create new, mark old, drop new", notices: "Gone",
		},
		{
			name: "C4 written before the swap for the mark: that goes along", compose: b, happens: events{"mark old": before(saves("x"))},
			result: "ok renewed", commands: "create new, mark old, swap new, mark old", given: "a ax*", left: "new=axb old>new",
		},
		{
			name: "C4 written before the deletion, no marks", layout: foreign, compose: b, happens: events{"delete old": before(saves("x"))},
			result: "ok renewed", commands: "create new, delete old, swap new, delete old", given: "a ax*", left: "new=axb",
		},
		{
			name: "C4 written before each of two such swaps", compose: b, happens: events{"mark old": before(saves("x")), "mark old #2": before(saves("y"))},
			result: "ok renewed", commands: "create new, mark old, swap new, mark old, load old, swap new, mark old", given: "a ax* axy*", left: "new=axyb old>new",
		},
		{
			name: "C5 renewed before the swap for the mark: the copy is dropped", compose: b, happens: events{"mark old": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "create new, mark old, drop new", notices: "Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C5 renewed before the deletion, no marks", layout: foreign, compose: b, happens: events{"delete old": before(renews("old", "theirs"))},
			result: "ErrGone", commands: "create new, delete old, drop new", notices: "Gone", left: "theirs=a",
		},
		{
			name: "C5 renewed, and the copy cannot be dropped", compose: b, happens: events{"mark old": before(renews("old", "theirs")), "drop new": notApplied},
			result: "ErrGone", commands: "create new, mark old, drop new", notices: "Gone, Unavailable first", left: "new=ab old>theirs theirs=a",
		},
		{
			name: "C15 ended before the swap for the mark", compose: b, happens: events{"mark old": before(ends)},
			result: "ErrGone", commands: "create new, mark old, drop new", notices: "Gone",
		},
		{
			name: "C15 ended after a conflict", compose: b, happens: events{"mark old": before(saves("x")), "mark old #2": before(ends)},
			result: "ErrGone", commands: "create new, mark old, swap new, mark old, drop new", notices: "Gone", given: "a ax*",
		},
		{
			name: "K6 unreadable before the swap for the mark", compose: b, happens: events{"mark old": before(puts("old", raw("x")))},
			result: "unreadable header", commands: "create new, mark old, drop new", left: `old="x"`,
		},

		// The copy is brought up to date.
		{
			name: "C10 the newer copy is applied twice", compose: b, happens: events{"mark old": before(saves("x")), "swap new": repeated()},
			result: "ok renewed", commands: "create new, mark old, swap new, mark old", given: "a ax*", left: "new=axb old>new",
		},
		{
			name: "C5 the reply to the newer copy is lost", compose: b, happens: events{"mark old": before(saves("x")), "swap new": lost},
			result: "ErrUnavailable", commands: "create new, mark old, swap new", notices: "Unavailable first", given: "a ax*", left: "new=axb old=ax",
		},
		{
			name: "K7 the newer copy is too large", compose: []compose{renew("b"), renew(large)}, happens: events{"mark old": before(saves("x"))},
			result: "ErrTooLarge", commands: "create new, mark old, drop new", given: "a ax*", left: "old=ax",
		},
		{
			name: "F6 the copy has been evicted", compose: b, happens: events{"mark old": before(saves("x"), expires("new"))},
			result: "ok renewed", commands: "create new, mark old, swap new, create newer, mark old", given: "a ax*", left: "newer=axb old>newer",
		},
		{
			name: "C4 no new token is wanted for what another process has written", compose: []compose{renew("b"), edit("c")}, happens: events{"mark old": before(saves("x"))},
			commands: "create new, mark old, drop new, swap old", given: "a ax*", left: "old=axc",
		},
		{
			name: "C4 a new token is wanted only for what another process has written", compose: []compose{edit("b"), renew("c")}, happens: events{"swap old": before(saves("x"))},
			result: "ok renewed", commands: "swap old, create new, mark old", given: "a ax*", left: "new=axc old>new",
		},
		{
			name: "C4 what another process has written is kept: the copy is dropped", compose: []compose{renew("b"), keep}, happens: events{"mark old": before(saves("x"))},
			result: "ok kept", commands: "create new, mark old, drop new", given: "a ax*", left: "old=ax",
		},
		{
			name: "Compose fails on what another process has written: the copy is dropped", compose: []compose{renew("b"), fails(errCompose)}, happens: events{"mark old": before(saves("x"))},
			result: "cannot compose", commands: "create new, mark old, drop new", given: "a ax*", left: "old=ax",
		},
		{
			name: "C9 a function refuses what another process has written: the copy is dropped", compose: []compose{renew("b"), refuses}, happens: events{"mark old": before(saves("x"))},
			result: "refused", commands: "create new, mark old, drop new", given: "a ax*", left: "old=ax",
		},
	} {
		row.run(t)
	}
}

// remember makes it a remembered session.
func remember(found protocol.Found) (protocol.Proposal, error) {
	found.Record.Remembered = true
	return protocol.Proposal{Record: found.Record, NewToken: true}, nil
}
