package protocol_test

import (
	"cmp"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// The session was stored as "a" under the key old. A request loads it, does something, and looks when it answers.
func TestLook(t *testing.T) {
	unknown, foreign := layout{classless: true}, layout{foreign: true, classless: true}
	touch := func(fx *fixture, s *protocol.Session) { fx.want("Touch", name(s.Touch(fx.ctx)), "ok") }
	reread := func(fx *fixture, s *protocol.Session) { fx.want("Reread", name(s.Reread(fx.ctx)), "ok") }
	save := func(fx *fixture, s *protocol.Session) {
		fx.want("Write", fx.write(s, &composer{steps: []compose{edit("b")}}, false), "ok")
	}
	keeps := func(fx *fixture, s *protocol.Session) {
		fx.want("Write", fx.write(s, &composer{steps: []compose{keep}}, false), "ok kept")
	}
	for _, row := range []struct {
		name     string
		layout   layout
		stored   rec           // a, if it is zero
		kept     time.Duration // how long it stays in the store before, if not for the idle timeout
		passive  bool
		before   []func(*fixture, *protocol.Session) // the verbs before the commit
		then     []act                               // what happens after that
		commits  func(*fixture, *protocol.Session)   // what the commit does before the look
		happens  events
		readOnly bool

		commands string // all of them
		touched  bool
		gone     bool
		notices  string
		left     string
		ttl      time.Duration // of old; the idle timeout, if it is zero
	}{
		{name: "L4 L25 the touch of a load comes with the look", layout: unknown, commands: "load old, touch old", touched: true, left: "old=a"},
		{name: "L4 a class that is known is touched by the load, and there is no look", commands: "touch old", touched: true, left: "old=a", ttl: idle - time.Second},
		{name: "L16 a passive one", layout: unknown, passive: true, commands: "load old", left: "old=a", ttl: idle - time.Second - roundTrip},
		{name: "L16 L25 a passive one that a verb touches", layout: unknown, passive: true, before: one(touch), commands: "load old, touch old, touch old", touched: true, left: "old=a"},
		{name: "L16 L25 a passive one that a verb saves", layout: unknown, passive: true, before: one(save), commands: "load old, swap old, touch old", touched: true, left: "old=ab"},
		{name: "L16 a passive one that the commit saves", layout: unknown, passive: true, commits: save, commands: "load old, swap old", touched: true, left: "old=ab"},
		{name: "L25 a save by a verb", layout: unknown, before: one(save), commands: "load old, swap old, touch old", touched: true, left: "old=ab"},
		{name: "L25 a Reread", layout: unknown, before: one(reread), commands: "load old, touch old, touch old", touched: true, left: "old=a"},
		{name: "L25 a save by the commit is the look", layout: unknown, commits: save, commands: "load old, swap old", touched: true, left: "old=ab"},
		{name: "L25 a write of the commit that keeps what is there is none", layout: unknown, commits: keeps, commands: "load old, touch old", touched: true, left: "old=a"},
		{
			name: "L25 half of the time is left", layout: unknown, kept: idle/2 + roundTrip, commands: "load old, touch old", touched: true, left: "old=a",
		},
		{
			name: "L25 less than half of the time is left: the load touches too", layout: unknown, kept: idle / 2, commands: "load old, touch old, touch old", touched: true, left: "old=a",
		},

		{name: "L25 ended", layout: unknown, then: []act{ends}, commands: "load old, touch old", gone: true},
		{name: "L25 ended just before the look", layout: unknown, happens: events{"touch old": before(ends)}, commands: "load old, touch old", gone: true},
		{name: "L25 ended after a save by a verb", layout: unknown, before: one(save), then: []act{ends}, commands: "load old, swap old, touch old", gone: true},
		{name: "L25 C4 renewed", layout: unknown, then: []act{renews("old", "theirs")}, commands: "load old, touch old, touch old 9.999s", gone: true, left: "old>theirs theirs=a", ttl: markTTL - roundTrip},
		{name: "L25 C4 renewed, where there are no marks", layout: foreign, then: []act{renews("old", "theirs")}, commands: "load old, touch old", gone: true, left: "theirs=a"},
		{
			name: "L25 C4 C19 renewed, and the store cannot touch", layout: unknown, then: []act{renews("old", "theirs")}, readOnly: true,
			commands: "load old, touch old", gone: true, left: "old>theirs theirs=a",
		},
		{name: "L25 written meanwhile", layout: unknown, then: []act{saves("x")}, commands: "load old, touch old", touched: true, left: "old=ax"},
		{name: "L25 K6 it cannot be read any more", layout: foreign, then: []act{puts("old", raw("x"))}, commands: "load old, touch old", left: `old="x"`},
		{name: "L25 K6 it cannot be decoded any more", layout: unknown, then: []act{saves("?")}, commands: "load old, touch old", touched: true, left: "old=a?"},
		{name: "L25 F1 the store does not answer", layout: unknown, happens: events{"touch old": notApplied}, commands: "load old, touch old", notices: "Unavailable first", left: "old=a", ttl: idle - time.Second - 2*roundTrip},
		{name: "L25 the store cannot touch", layout: unknown, readOnly: true, commands: "load old, touch old", notices: "TouchSkipped", left: "old=a"},

		{name: "L28 it is kept for longer", layout: unknown, kept: time.Hour, commands: "load old, load old", touched: true, left: "old=a", ttl: time.Hour - time.Second - 2*roundTrip},
		{name: "L28 it is kept for longer, and ends", layout: unknown, kept: time.Hour, then: []act{ends}, commands: "load old, load old", gone: true},
		{name: "L28 it is kept for longer, and saved", layout: unknown, kept: time.Hour, commits: save, commands: "load old, swap old", touched: true, left: "old=ab", ttl: time.Hour - time.Second - roundTrip},
		{name: "L28 it is kept for longer, and saved twice", layout: unknown, kept: time.Hour, before: one(save), commits: save, commands: "load old, swap old, swap old", touched: true, left: "old=abb", ttl: time.Hour - time.Second - 2*roundTrip},
		{name: "L28 it is kept for longer, and touched by a verb", layout: unknown, kept: time.Hour, before: one(touch), commands: "load old, load old, load old", touched: true, left: "old=a", ttl: time.Hour - time.Second - 3*roundTrip},
		{name: "L28 it is kept for longer, and read again by a verb", layout: unknown, kept: time.Hour, before: one(reread), commits: save, commands: "load old, load old, swap old", touched: true, left: "old=ab", ttl: time.Hour - time.Second - 2*roundTrip},
		{
			name: "L28 it is kept for longer, and gets another timeout", layout: foreign, kept: time.Hour, then: []act{putsFor("old", rec{payload: "x", idle: time.Minute}, time.Minute)},
			commands: "load old, load old, touch old 1m0s", touched: true, left: "old=x", ttl: time.Minute,
		},
		{
			name: "L28 it is kept for longer, gets another timeout, and is saved", layout: foreign, kept: time.Hour, then: []act{putsFor("old", rec{payload: "x", idle: time.Minute}, time.Minute)},
			commits: save, commands: "load old, swap old, swap old", touched: true, left: "old=xb", ttl: time.Minute,
		},
		{
			name: "L28 it gets a shorter timeout", layout: foreign, then: []act{putsFor("old", rec{payload: "x", idle: time.Minute}, time.Minute)},
			commands: "load old, touch old, touch old 1m0s", touched: true, left: "old=x", ttl: time.Minute,
		},
	} {
		if row.stored == (rec{}) {
			row.stored.payload = "a"
		}
		inBubble(t, row.name, row.layout, map[string]rec{"old": row.stored}, func(fx *fixture) {
			if row.kept > 0 {
				putsFor("old", row.stored, row.kept)(fx)
			}
			s := fx.session()
			when := protocol.AtLook
			if row.passive {
				when = protocol.Never
			}
			fx.want("Load", name(s.Load(fx.ctx, []string{"old"}, when)), "ok")
			if until := time.Until(s.IdleUntil()); !row.passive && until != max(idle, row.kept-roundTrip) && row.layout.classless {
				fx.t.Errorf("idle until %v from now", until)
			}
			for _, verb := range row.before {
				verb(fx, s)
			}
			time.Sleep(time.Second)
			fx.others(row.then)
			fx.readOnly, fx.events = row.readOnly, row.happens
			due := s.BeginLook()
			if row.commits != nil {
				row.commits(fx, s)
			}
			if due {
				if s.Look(fx.ctx); s.IdleUntil() != s.Expires {
					fx.t.Errorf("after the look: idle until %v, want %v", s.IdleUntil(), s.Expires)
				}
			}
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			fx.want("stored", fx.memory.String(), row.left)
			if s.Touched != row.touched || s.Gone != row.gone {
				fx.t.Errorf("touched %t, gone %t; want %t, %t", s.Touched, s.Gone, row.touched, row.gone)
			}
			if old, ok := fx.entries["old"]; ok && time.Until(old.expires) != cmp.Or(row.ttl, idle) {
				fx.t.Errorf("it stays for %v", time.Until(old.expires))
			}
			fx.end()
			if row.gone { // a change that comes now is dropped, and told once
				fx.want("NoteEnded", name(s.NoteEnded()), "ErrGone")
				fx.want("NoteEnded", name(s.NoteEnded()), "ErrGone")
				fx.want("notices", fx.app.take(), "Gone")
			}
		})
	}
}

func one(verb func(*fixture, *protocol.Session)) []func(*fixture, *protocol.Session) {
	return []func(*fixture, *protocol.Session){verb}
}

// putsFor: something is there now, for so long.
func putsFor(key string, r rec, ttl time.Duration) act {
	return func(fx *fixture) { fx.entries[key] = entry{r.sealed(fx.layout), time.Now().Add(ttl)} }
}

// The session old was stored by a process with the same TouchInterval. A request loads it, does something, and looks when
// it answers.
func TestTouchInterval(t *testing.T) {
	const interval = 5 * time.Minute
	unknown := layout{classless: true}
	own := layout{foreign: true, classless: true}
	for _, row := range []struct {
		name     string
		layout   layout
		stored   rec           // a, if it is zero
		kept     time.Duration // how long it stays in the store when the request comes
		passive  bool
		readOnly bool
		do       func(*fixture, *protocol.Session)

		commands string
		seen     time.Duration // how long ago it was touched last, as far as the request knows
		notices  string
		ttl      time.Duration // of old after it
	}{
		{name: "L24 touched just now", kept: idle + interval, commands: "load old", ttl: idle + interval - roundTrip},
		{name: "L24 touched within the interval", kept: idle + time.Minute, commands: "load old", seen: 4 * time.Minute, ttl: idle + time.Minute - roundTrip},
		{name: "L24 the IdleTimeout is left", kept: idle + roundTrip, commands: "load old", seen: interval - roundTrip, ttl: idle},
		{name: "L24 less than the IdleTimeout is left", kept: idle, commands: "load old, touch old 35m0s", ttl: idle + interval},
		{name: "L24 it is kept for longer, as by an older configuration", kept: time.Hour, commands: "load old, touch old 35m0s", ttl: idle + interval},
		{name: "L16 L24 a passive request", kept: idle - time.Minute, passive: true, commands: "load old", seen: 6 * time.Minute, ttl: idle - time.Minute - roundTrip},
		{name: "L4 L24 the store cannot touch", kept: idle - time.Minute, readOnly: true, commands: "load old, touch old 35m0s", seen: 25 * time.Minute, notices: "TouchSkipped", ttl: idle + interval},
		{name: "L4 L24 the store cannot touch, and need not", kept: idle + time.Minute, readOnly: true, commands: "load old", seen: 4 * time.Minute, ttl: idle + time.Minute - roundTrip},
		{
			name: "L24 Touch always touches", kept: idle + interval, commands: "load old, touch old 35m0s", ttl: idle + interval,
			do: func(fx *fixture, s *protocol.Session) { fx.want("Touch", name(s.Touch(fx.ctx)), "ok") },
		},
		{
			name: "L24 Reload always touches", kept: idle + interval, commands: "load old, touch old 35m0s", ttl: idle + interval,
			do: func(fx *fixture, s *protocol.Session) { fx.want("Reread", name(s.Reread(fx.ctx)), "ok") },
		},
		{
			name: "L24 a save restarts both", kept: idle + time.Minute, commands: "load old, swap old", ttl: idle + interval,
			do: func(fx *fixture, s *protocol.Session) {
				fx.want("Write", fx.write(s, &composer{steps: []compose{edit("b")}}, false), "ok")
			},
		},
		{name: "L24 L25 a look within the interval", layout: unknown, kept: idle + time.Minute, commands: "load old, load old", seen: 4 * time.Minute, ttl: idle + time.Minute - 2*roundTrip},
		{name: "L24 L25 a look after it", layout: unknown, kept: idle, commands: "load old, touch old 35m0s", ttl: idle + interval},
		{name: "L24 a record's own timeout", layout: own, stored: rec{payload: "a", idle: time.Minute}, kept: 6 * time.Minute, commands: "load old, load old", ttl: 6*time.Minute - 2*roundTrip},
		{name: "L24 less than a record's own timeout is left", layout: own, stored: rec{payload: "a", idle: time.Minute}, kept: time.Minute, commands: "load old, touch old 6m0s, load old", ttl: 6*time.Minute - roundTrip},
		{name: "L6 L24 near the end of the Lifetime", stored: rec{payload: "a", age: lifetime - time.Minute}, kept: time.Minute, commands: "load old, touch old 35m0s", ttl: idle + interval},
	} {
		if row.stored == (rec{}) {
			row.stored.payload = "a"
		}
		inBubble(t, row.name, row.layout, map[string]rec{"old": row.stored}, func(fx *fixture) {
			fx.engine.Plain.Interval, fx.readOnly = interval, row.readOnly
			putsFor("old", row.stored, row.kept)(fx)
			s := fx.session()
			when := protocol.AtLook
			if row.passive {
				when = protocol.Never
			}
			fx.want("Load", name(s.Load(fx.ctx, []string{"old"}, when)), "ok")
			if row.do != nil {
				row.do(fx, s)
			}
			if s.BeginLook() {
				s.Look(fx.ctx)
			}
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			if seen := time.Since(s.LastSeen); row.stored.age == 0 && (seen < row.seen-2*roundTrip || seen > row.seen+2*roundTrip) {
				fx.t.Errorf("last seen %v ago, want %v", seen, row.seen)
			}
			if ttl := time.Until(fx.entries["old"].expires); ttl != row.ttl {
				fx.t.Errorf("it stays for %v, want %v", ttl, row.ttl)
			}
		})
	}
}
