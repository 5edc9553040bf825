package protocol_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// The session was loaded as "a" under the key old; then it is read again, or touched.
func TestReread(t *testing.T) {
	for _, row := range []struct {
		name     string
		stored   rec // a, if it is zero
		then     []act
		happens  events
		readOnly bool

		reread   string // ok, if it is empty
		touch    string // the same as reread, if it is empty
		commands string
		notices  string
		found    string // what Reread has found, a if it is empty
		left     string
	}{
		{name: "L4", commands: "touch old", left: "old=a"},
		{name: "L19 written meanwhile", then: []act{saves("x")}, commands: "touch old", found: "ax", left: "old=ax"},
		{
			name: "L9 it has a timeout of its own", stored: rec{payload: "a", idle: time.Hour}, commands: "touch old 1h0m0s", left: "old=a",
		},
		{
			name: "L9 it has got a timeout of its own meanwhile", then: []act{puts("old", rec{payload: "x", idle: time.Hour})},
			commands: "touch old, touch old 1h0m0s", found: "x", left: "old=x",
		},
		{
			name: "L9 it has got a timeout of its own meanwhile, and ends before it is touched by that", then: []act{puts("old", rec{payload: "x", idle: time.Hour})},
			happens: events{"touch old 1h0m0s": before(ends)}, reread: "ErrGone", commands: "touch old, touch old 1h0m0s", notices: "Gone",
		},
		{
			name: "L9 it has got another timeout at each look", then: []act{puts("old", rec{payload: "x", idle: time.Hour})},
			happens:  events{"touch old 1h0m0s": before(puts("old", rec{payload: "y", idle: 2 * time.Hour}))},
			commands: "touch old, touch old 1h0m0s", found: "y", left: "old=y",
		},
		{
			name: "L6 its Lifetime ends before", stored: rec{payload: "a", age: lifetime - time.Minute}, commands: "touch old 59.999s", left: "old=a",
		},
		{
			name: "L6 its Lifetime is over", stored: rec{payload: "a", age: lifetime - time.Minute}, then: []act{passes(time.Minute)}, reread: "ErrGone", notices: "Gone", left: "old=a",
		},
		{
			name: "L4 the store cannot touch", readOnly: true, touch: "ErrUnavailable", commands: "touch old", notices: "TouchSkipped", left: "old=a",
		},
		{name: "C6 ended", then: []act{ends}, reread: "ErrGone", commands: "touch old", notices: "Gone"},
		{name: "C6 ended just before", happens: events{"touch old": before(ends)}, reread: "ErrGone", commands: "touch old", notices: "Gone"},
		{name: "C4 renewed", then: []act{renews("old", "theirs")}, reread: "ErrGone", commands: "touch old, touch old 9.999s", notices: "Gone", left: "old>theirs theirs=a"},
		{
			name: "C4 C19 renewed, and the store cannot touch", readOnly: true, then: []act{renews("old", "theirs")}, reread: "ErrGone", commands: "touch old", notices: "Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C4 C19 renewed, and the deadline of the mark cannot be restored", then: []act{renews("old", "theirs")}, happens: events{"touch old 9.999s": notApplied},
			reread: "ErrGone", commands: "touch old, touch old 9.999s", notices: "Unavailable first, Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C4 C19 there is a mark whose time is up", then: []act{puts("old", rec{successor: "theirs", age: markTTL})}, reread: "ErrGone", commands: "touch old, touch old 1ms", notices: "Gone", left: "old>theirs",
		},
		{
			name: "C4 C19 it has got a timeout of its own meanwhile, and is renewed before it is touched by that", then: []act{puts("old", rec{payload: "x", idle: time.Hour})},
			happens: events{"touch old 1h0m0s": before(renews("old", "theirs"))}, reread: "ErrGone",
			commands: "touch old, touch old 1h0m0s, touch old 10s", notices: "Gone", left: "old>theirs theirs=x",
		},
		{name: "K6 it cannot be read", then: []act{puts("old", raw("x"))}, reread: "unreadable header", commands: "touch old", left: `old="x"`},
		{name: "K6 it cannot be decoded", then: []act{saves("?")}, reread: "cannot decode", commands: "touch old", left: "old=a?"},
		{name: "C1 K11 what is there stands for no session", then: []act{puts("old", raw("nothing"))}, reread: "ErrGone", commands: "touch old", notices: "Gone", left: `old="nothing"`},
		{name: "K4 it is of a newer version", then: []act{puts("old", rec{payload: "x", version: 2})}, reread: "ErrNewerVersion", commands: "touch old", left: "old=x"},
		{name: "F1 the store does not answer", happens: events{"touch old": notApplied}, reread: "ErrUnavailable", commands: "touch old", notices: "Unavailable first", left: "old=a"},
	} {
		if row.stored == (rec{}) {
			row.stored.payload = "a"
		}
		if row.reread == "" {
			row.reread = "ok"
		}
		if row.touch == "" {
			row.touch = row.reread
		}
		for verb, want := range map[string]string{"Reread": row.reread, "Touch": row.touch} {
			inBubble(t, row.name+", "+verb, layout{open: standsForNothing}, map[string]rec{"old": row.stored}, func(fx *fixture) {
				s := fx.loaded()
				fx.others(row.then)
				fx.events, fx.readOnly = maps.Clone(row.happens), row.readOnly
				fx.app.adopted = ""
				before := string(s.Raw)
				var err error
				adopted := ""
				if verb == "Reread" {
					err = s.Reread(fx.ctx)
					if want == "ok" {
						adopted = "a"
						if row.found != "" {
							adopted = row.found
						}
						fx.want("the session", string(s.Record.Payload), adopted)
					}
				} else {
					err = s.Touch(fx.ctx)
				}
				fx.want(verb, name(err), want)
				fx.want("adopted", fx.app.adopted, adopted)
				fx.want("commands", fx.take(), row.commands)
				fx.want("notices", fx.app.take(), row.notices)
				fx.want("stored", fx.memory.String(), row.left)
				if adopted == "" && string(s.Raw) != before {
					fx.t.Errorf("the session has become %q", s.Raw)
				}
				fx.end()
			})
		}
	}
}

// What is known of a session's time. The record was stored ten minutes ago.
func TestTimes(t *testing.T) {
	const later = 10 * time.Minute
	for _, row := range []struct {
		name     string
		layout   layout
		stored   rec
		touch    bool // it was loaded then, and is touched now; otherwise it is loaded now
		passive  bool
		readOnly bool

		seen    time.Duration // ago
		expires time.Duration // from now
	}{
		{name: "L4 loaded", stored: rec{payload: "a"}, expires: idle},
		{name: "L16 loaded passively", stored: rec{payload: "a"}, passive: true, seen: later + roundTrip, expires: idle - later - roundTrip},
		{name: "L16 loaded passively, with a shorter timeout of its own", stored: rec{payload: "a", idle: later}, passive: true, expires: idle - later - roundTrip},
		{name: "L16 loaded passively, with a longer timeout of its own", stored: rec{payload: "a", idle: 2 * idle}, passive: true, seen: idle + later + roundTrip, expires: idle - later - roundTrip},
		{name: "L4 loaded, and the store cannot touch", stored: rec{payload: "a"}, readOnly: true, seen: idle - idle/3, expires: idle / 3},
		{name: "L9 loaded, with a timeout of its own", layout: layout{classless: true}, stored: rec{payload: "a", idle: time.Hour}, expires: time.Hour},
		{name: "L4 touched", stored: rec{payload: "a"}, touch: true, expires: idle},
		{name: "L4 touched, and the store cannot", stored: rec{payload: "a"}, touch: true, readOnly: true, seen: later + roundTrip, expires: idle / 3},
	} {
		inBubble(t, row.name, row.layout, map[string]rec{"old": row.stored}, func(fx *fixture) {
			s := fx.session()
			if row.touch {
				s = fx.loaded()
			}
			time.Sleep(later)
			fx.readOnly = row.readOnly
			if row.touch {
				_ = s.Touch(fx.ctx)
			} else if err := s.Load(fx.ctx, []string{"old"}, when(row.passive)); err != nil {
				fx.t.Fatal(err)
			}
			if seen, expires := time.Since(s.LastSeen), time.Until(s.Expires); seen != row.seen || expires != row.expires {
				fx.t.Errorf("seen %v ago, expires in %v; want %v, %v", seen, expires, row.seen, row.expires)
			}
		})
	}

	t.Run("L4 a class without an idle timeout is not touched", func(t *testing.T) {
		for class, l := range map[string]layout{"known": {}, "unknown": {classless: true}} {
			inBubble(t, class, l, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
				fx.engine.Plain = record.Timeouts{Lifetime: lifetime}
				s := fx.session()
				fx.want("Load", name(s.Load(fx.ctx, []string{"old"}, protocol.AtOnce)), "ok")
				fx.want("Reread", name(s.Reread(fx.ctx)), "ok")
				fx.want("Touch", name(s.Touch(fx.ctx)), "ok")
				fx.want("commands", fx.take(), "load old, load old, load old")
				fx.want("notices", fx.app.take(), "")
			})
		}
	})
}

// What a session is when nothing is stored, or nothing is any more.
func TestSession(t *testing.T) {
	inBubble(t, "C14 a token that was renewed is over, and so is nothing else", layout{}, map[string]rec{"old": {payload: "a"}, "older": mark("new")}, func(fx *fixture) {
		for tokens, want := range map[string]bool{"unknown": false, "old": false, "older": true, "older old": false} {
			s := fx.session()
			fx.want("Load", name(s.Load(fx.ctx, strings.Fields(tokens), protocol.AtOnce)), "ok")
			if s.HasEnded() != want {
				fx.t.Errorf("%s: has ended %t, want %t", tokens, s.HasEnded(), want)
			}
		}
	})
	inBubble(t, "C14 a mark is as old as the renewal, not as the session", layout{}, map[string]rec{"old": {payload: "a", age: time.Hour}}, func(fx *fixture) {
		renews("old", "theirs")(fx)
		s := fx.session()
		fx.want("Load", name(s.Load(fx.ctx, []string{"old"}, protocol.AtOnce)), "ok")
		if !s.HasEnded() {
			fx.t.Error("it is not over")
		}
		fx.want("Destroy", fx.destroy(s), "touch old, touch old 9.999s, load theirs, delete theirs: had")
	})
	inBubble(t, "L12 a renewal keeps the ID, and so does its mark", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		s := fx.loaded()
		fx.want("Write", fx.write(s, &composer{steps: []compose{renew("b")}}, false), "ok renewed")
		fx.want("ID", string(s.ID()), "id")
		r, err := fx.layout.Open(fx.entries["old"].data)
		fx.want("Open", name(err), "ok")
		fx.want("ID of the mark", string(r.ID), "id")
	})
	inBubble(t, "K6 what cannot be read leaves its attributes, by which a cookie is taken back", layout{foreign: true}, map[string]rec{"old": {payload: "?"}}, func(fx *fixture) {
		s := fx.session()
		fx.want("Load", name(s.Load(fx.ctx, []string{"old"}, protocol.AtOnce)), "ok")
		if s.Stored() || s.Record.Attrs != "attributes" {
			fx.t.Errorf("stored %t, attributes %v", s.Stored(), s.Record.Attrs)
		}
	})
	inBubble(t, "C1 its end is told once", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		s := fx.loaded()
		ends(fx)
		fx.want("Touch", name(s.Touch(fx.ctx)), "ErrGone")
		fx.want("Touch", name(s.Touch(fx.ctx)), "ErrGone")
		fx.want("notices", fx.app.take(), "Gone")
		if !s.HasEnded() {
			fx.t.Error("it is not over")
		}
		// So is that of the next one.
		fx.want("Create", name(s.Create(fx.ctx, record.Record{ID: []byte("id"), Created: time.Now()})), "ok")
		expires(s.Key)(fx)
		fx.want("Touch", name(s.Touch(fx.ctx)), "ErrGone")
		fx.want("notices", fx.app.take(), "Gone")
	})
	inBubble(t, "L11 what is forgotten is as new", layout{}, map[string]rec{"old": {payload: "a"}, "older": mark("new")}, func(fx *fixture) {
		s := fx.session()
		fx.want("Load", name(s.Load(fx.ctx, []string{"older", "old"}, protocol.AtOnce)), "ok")
		ends(fx)
		fx.want("Touch", name(s.Touch(fx.ctx)), "ErrGone")
		id := string(s.ID())
		s.Reset()
		fx.take()
		if s.Stored() || s.HasEnded() || s.Token != "" || s.Touched || !s.InStoreAt.IsZero() || !s.LastSeen.IsZero() || !s.Expires.IsZero() || string(s.ID()) == id {
			fx.t.Errorf("it is %+v", s)
		}
		fx.want("Destroy", fx.destroy(s), "none")
	})
}
