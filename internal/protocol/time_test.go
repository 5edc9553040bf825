package protocol_test

import (
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// What is written can be forgotten by the store in time, and what is never answered is given up in time.
func TestOutOfTime(t *testing.T) {
	b := []compose{edit("b")}
	const step = 300 * time.Millisecond
	overtaken := events{"swap old *": slow(step, saves("x")), "mark old *": slow(step, saves("x")), "swap new *": slow(step)}
	for _, row := range []writeRow{
		// Another process always comes first. A save gives up when the next try would come too late.
		{
			name: "C11 a save that others keep overtaking", only: "save", compose: b, happens: overtaken, overtaken: true,
			result: "ErrConflict", notices: "OutOfTime", left: "old=a", took: timeout - 2*step, within: 2 * step,
		},
		{
			name: "C11 an Update that others keep overtaking", only: "update", compose: b, happens: overtaken, overtaken: true,
			result: "ErrConflict", notices: "OutOfTime", left: "old=a", took: 2 * timeout, within: step,
		},
		{
			name: "C11 a renewal that others keep overtaking drops its copy", only: "save", compose: []compose{renew("b")}, happens: overtaken, overtaken: true,
			result: "ErrConflict", notices: "OutOfTime", left: "old=a", took: timeout - 2*step, within: 2 * step,
		},
		{
			name: "C11 a save has a deadline", only: "save", compose: b, until: timeout / 2, happens: overtaken,
			result: "ErrConflict", commands: "swap old", notices: "OutOfTime", left: "old=ax", took: step, within: roundTrip,
		},
		{
			name: "C11 an Update is tried until its deadline", only: "update", compose: b, until: timeout / 2, happens: overtaken,
			result: "ErrConflict", commands: "swap old, swap old", notices: "OutOfTime", given: "a ax*", left: "old=axx", took: 2 * step, within: 2 * roundTrip,
		},
		{
			name: "C11 an Update with a later deadline", only: "update", compose: b, until: time.Minute, happens: overtaken, overtaken: true,
			result: "ErrConflict", notices: "OutOfTime", left: "old=a", took: 2 * timeout, within: step,
		},
		{
			name: "C11 an Update whose deadline passes at the first try", only: "update", compose: b, until: roundTrip, happens: overtaken,
			result: "ErrConflict", commands: "swap old", notices: "OutOfTime", left: "old=ax", took: step, within: roundTrip,
		},
		{
			name: "C11 a newer copy that is stored when the time is up is dropped", only: "save", compose: []compose{renew("b")},
			happens: events{"mark old": slow(timeout/4, saves("x")), "swap new": slow(timeout)},
			result:  "ErrConflict", commands: "create new, mark old, swap new, drop new", notices: "OutOfTime", given: "a ax*", left: "old=ax",
			took: timeout * 5 / 4, within: 10 * roundTrip,
		},
		{
			name: "F10 a copy that takes all the time is no conflict", only: "save", compose: []compose{renew("b")}, happens: events{"create new": slow(timeout)},
			result: "ErrUnavailable unknown", commands: "create new, mark old", notices: "Unavailable first", left: "new=ab old=a", took: timeout, within: 10 * roundTrip,
		},

		// The store is slow.
		{
			name: "F10 the store hangs", compose: b, happens: events{"swap old": hangs},
			result: "ErrUnavailable unknown unconfirmed", commands: "swap old", notices: "Unavailable first", left: "old=a", took: timeout,
		},
		{
			name: "F10 a save has one time for all its steps", only: "save", compose: []compose{lasting(timeout/2, edit("b"))}, happens: events{"swap old": hangs},
			result: "ErrUnavailable unknown unconfirmed", commands: "swap old", notices: "Unavailable first", left: "old=a", took: timeout,
		},
		{
			name: "F10 a function does not take the time of the steps", only: "update", compose: []compose{lasting(2*timeout, edit("b"))},
			commands: "swap old", left: "old=ab", took: 2 * timeout, within: roundTrip,
		},
		{
			name: "F10 nor that of the look behind a refusal", only: "update", compose: []compose{lasting(2*timeout, refuses)},
			result: "refused", commands: "load old", left: "old=a", took: 2 * timeout, within: roundTrip,
		},
		{
			name: "F10 nor that of the look after a pause", only: "update", compose: []compose{edit("b"), edit("b"), lasting(timeout/4, edit("b"))}, happens: events{"swap old": slow(timeout/5, saves("x")), "swap old #2": slow(timeout/5, saves("y")), "load old": slow(timeout - roundTrip)},
			commands: "swap old, swap old, load old, swap old", given: "a ax* axy*", left: "old=axyb", took: timeout, within: timeout,
		},
		{
			name: "a copy is dropped when the time is up, too", only: "save", compose: []compose{renew("b"), lasting(2*timeout, fails(errCompose))},
			happens: events{"mark old": before(saves("x"))}, result: "cannot compose", commands: "create new, mark old, drop new", given: "a ax*", left: "old=ax",
			took: 2 * timeout, within: 10 * roundTrip,
		},
	} {
		row.run(t)
	}
}

// Every key has the time to live that its record has.
func TestTTL(t *testing.T) {
	for _, row := range []struct {
		name   string
		stored rec
		do     func(fx *fixture, s *protocol.Session) error
		want   string
	}{
		{"L4 a load", rec{payload: "a"}, none, "old 30m0s"},
		{"L7 a save", rec{payload: "a"}, writes(edit("b")), "old 30m0s"},
		{"L6 L7 a save before the end of the Lifetime", rec{payload: "a", age: lifetime - time.Minute}, writes(edit("b")), "old 59.999s"},
		{"L9 a save that gives it a timeout of its own", rec{payload: "a"}, writes(idleOf(time.Hour)), "old 1h0m0s"},
		{"L9 a save of one that has a timeout of its own", rec{payload: "a", idle: time.Hour}, writes(edit("b")), "old 1h0m0s"},
		{"L12 a renewal, whose mark lives ten seconds", rec{payload: "a"}, writes(renew("b")), "new 29m59.999s, old 10s"},
		{"L6 L12 a renewal keeps the Lifetime", rec{payload: "a", age: lifetime - time.Minute}, writes(renew("b")), "new 59.998s, old 10s"},
		{"L9 L12 a renewal that makes it a remembered one", rec{payload: "a"}, writes(remember), "new+r 239h59m59.999s, old 10s"},
		{"L1 a new one", rec{payload: "a"}, creates(false), "new 30m0s, old 29m59.999s"},
		{"L9 a new remembered one", rec{payload: "a"}, creates(true), "new+r 240h0m0s, old 29m59.999s"},
	} {
		inBubble(t, row.name, layout{}, map[string]rec{"old": row.stored}, func(fx *fixture) {
			s := fx.loaded()
			fx.want("error", name(row.do(fx, s)), "ok")
			fx.want("TTLs", fx.ttls(), row.want)
			if off := fx.engine.TTL(&s.Record) - time.Until(s.Expires); off != 0 {
				fx.t.Errorf("TTL is %v off", off)
			}
			if off := fx.entries[s.Key].expires.Sub(s.Expires); off.Abs() > roundTrip {
				fx.t.Errorf("Expires is %v off", off)
			}
			if s.LastSeen != s.InStoreAt || time.Since(s.InStoreAt) != 0 {
				fx.t.Errorf("in the store at %v, seen at %v, now is %v", s.InStoreAt, s.LastSeen, time.Now())
			}
		})
	}
}

func none(*fixture, *protocol.Session) error { return nil }

func writes(c compose) func(fx *fixture, s *protocol.Session) error {
	return func(fx *fixture, s *protocol.Session) error {
		_, err := s.Write(fx.ctx, protocol.Change{Composer: &composer{steps: []compose{c}}})
		return err
	}
}

func creates(remembered bool) func(fx *fixture, s *protocol.Session) error {
	return func(fx *fixture, s *protocol.Session) error {
		return s.Create(fx.ctx, record.Record{ID: []byte("id"), Created: time.Now(), Remembered: remembered})
	}
}
