package protocol_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// The session was loaded as "a" under the key old, or was not found there; then comes a Destroy.
func TestDestroy(t *testing.T) {
	plain := map[string]rec{"old": {payload: "a"}}
	marked := map[string]rec{"old": mark("new"), "new": {payload: "a"}}
	for _, row := range []struct {
		name    string
		layout  layout
		stored  map[string]rec
		tokens  []string // old, if there are none
		then    []act    // between the load and the Destroy
		happens events

		destroy string
		notices string
		left    string
	}{
		{name: "L11 what was never stored", destroy: "none"},
		{name: "L10", stored: plain, destroy: "delete old: had"},
		{name: "C10 it is applied twice", stored: plain, happens: events{"delete old": repeated()}, destroy: "delete old: had"},
		{name: "C1 it has ended meanwhile", stored: plain, then: []act{ends}, destroy: "delete old: had"},
		{name: "C1 it ends just before", stored: plain, happens: events{"delete old": before(ends)}, destroy: "delete old: had"},

		// There is other data than was loaded.
		{
			name: "C16 it was written meanwhile", stored: plain, then: []act{saves("x")},
			destroy: "delete old, delete old: had",
		},
		{
			name: "C16 it is written before each of three tries", stored: plain, happens: events{"delete old": before(saves("x")), "delete old #2": before(saves("y")), "delete old #3": before(saves("z"))},
			destroy: "delete old, delete old, delete old, delete old: had",
		},
		{
			name: "C16 it was written meanwhile, no names of writes", layout: layout{foreign: true}, stored: plain, then: []act{saves("x")},
			destroy: "delete old, delete old: had",
		},
		{
			name: "K6 what is there cannot be read", stored: plain, then: []act{puts("old", raw("x"))},
			destroy: "delete old, delete old: had",
		},
		{
			name: "K6 what is there is empty", stored: plain, then: []act{puts("old", raw(""))},
			destroy: "delete old, delete old: had",
		},
		{
			name: "L10 K11 what is there stands for no session", layout: layout{open: standsForNothing}, stored: plain, then: []act{puts("old", raw("nothing"))},
			destroy: "delete old: had", left: `old="nothing"`,
		},

		// It was renewed.
		{
			name: "C16 renewed meanwhile", stored: plain, then: []act{renews("old", "theirs")},
			destroy: "delete old, load theirs, delete theirs: had", left: "old>theirs",
		},
		{
			name: "C15 renewed just before", stored: plain, happens: events{"delete old": before(renews("old", "theirs"))},
			destroy: "delete old, load theirs, delete theirs: had", left: "old>theirs",
		},
		{
			name: "C16 renewed three times", stored: plain, then: []act{renews("old", "1"), renews("1", "2"), renews("2", "3")},
			destroy: "delete old, load 1, load 2, load 3, delete 3: had", left: "1>2 2>3 old>1",
		},
		{
			name: "C16 renewed, and again when the first mark is found", stored: plain, then: []act{renews("old", "1")}, happens: events{"load 1": after(renews("1", "2"))},
			destroy: "delete old, load 1, delete 1, load 2, delete 2: had", left: "1>2 old>1",
		},
		{
			name: "C16 renewed, and the new record is written before it is deleted", stored: plain, then: []act{renews("old", "1")}, happens: events{"delete 1": before(savesAt("1", "x"))},
			destroy: "delete old, load 1, delete 1, delete 1: had", left: "old>1",
		},
		{
			name: "C16 renewed, and ended", stored: plain, then: []act{renews("old", "1"), ends},
			destroy: "delete old, load 1, load old: had", left: "old>1",
		},
		{
			name: "C16 the token was renewed before the load", stored: marked,
			destroy: "load new, delete new: had", left: "old>new",
		},
		{
			name: "C16 the token was renewed before the load, and again since", stored: marked, then: []act{renews("new", "2")},
			destroy: "load new, load 2, delete 2: had", left: "new>2 old>new",
		},
		{
			name: "C15 renewed just before, no marks: nothing tells where it is", layout: layout{foreign: true}, stored: plain, happens: events{"delete old": before(renews("old", "theirs"))},
			destroy: "delete old: had", left: "theirs=a",
		},

		// It was long ago.
		{
			name: "C16 just under ten seconds", stored: plain, then: []act{expires("old"), passes(markTTL - 10*time.Millisecond)},
			destroy: "delete old: had",
		},
		{
			name: "C16 nothing is there after ten seconds: it may have been renewed", stored: plain, then: []act{expires("old"), passes(markTTL)},
			destroy: "delete old: ErrGone",
		},
		{
			name: "C16 it is there after ten seconds", stored: plain, then: []act{passes(markTTL)},
			destroy: "delete old: had",
		},
		{
			name: "C16 a mark is there after ten seconds", stored: plain, then: []act{passes(markTTL), renews("old", "theirs")},
			destroy: "delete old, load theirs, delete theirs: had", left: "old>theirs",
		},
		{
			name: "C16 a mark is there after ten seconds, and where it leads is nothing", stored: plain, then: []act{passes(markTTL), renews("old", "theirs"), ends},
			destroy: "delete old, load theirs, load old: had", left: "old>theirs",
		},
		{
			name: "C16 nothing is where the mark led, ten seconds after the renewal", stored: map[string]rec{"old": {successor: "new", age: 5 * time.Second}}, then: []act{passes(5 * time.Second)},
			destroy: "load new: ErrGone",
		},
		{
			name: "C16 nothing is where the mark led, sooner", stored: map[string]rec{"old": {successor: "new", age: 5 * time.Second}},
			destroy: "load new, load old: had", left: "old>new",
		},
		{
			name: "C16 the older one of two marks counts", stored: map[string]rec{"old": mark("new"), "older": {successor: "newer", age: 5 * time.Second}}, tokens: []string{"old", "older"}, then: []act{passes(5 * time.Second)},
			destroy: "load new, load newer: ErrGone", left: "old>new",
		},

		// Marks are evicted.
		{
			name: "C20 the mark that was loaded has vanished, and nothing is where it led", stored: marked, then: []act{renews("new", "2"), expires("old"), expires("new")},
			destroy: "load new, load old: ErrGone", left: "2=a",
		},
		{
			name: "C20 the mark that was loaded has vanished, and the session is where it led", stored: marked, then: []act{expires("old")},
			destroy: "load new, delete new: had",
		},
		{
			name: "C20 the mark that was loaded stands, and nothing is where it led", stored: marked, then: []act{expires("new")},
			destroy: "load new, load old: had", left: "old>new",
		},
		{
			name: "C20 the first mark has vanished, and nothing is where the second led", stored: marked, then: []act{renews("new", "2"), renews("2", "3"), expires("old"), expires("2")},
			destroy: "load new, load 2, load old: ErrGone", left: "3=a new>2",
		},
		{
			name: "C20 the first mark is past its deadline, and the second vanishes while it is followed", stored: map[string]rec{"old": {successor: "new", age: 5 * time.Second}, "new": {payload: "a"}},
			then: []act{passes(4 * time.Second), renews("new", "2"), passes(time.Second)}, happens: events{"load 2": before(renews("2", "3"), expires("new"), expires("2"))},
			destroy: "load new, load 2, load new: ErrGone", left: "3=a",
		},
		{
			name: "C20 renewed meanwhile, and both marks vanish while they are followed", stored: plain, then: []act{renews("old", "1")}, happens: events{"load 1": before(renews("1", "2"), expires("old"), expires("1"))},
			destroy: "delete old, load 1, load old: ErrGone", left: "2=a",
		},
		{
			name: "C20 another token's mark has vanished", stored: map[string]rec{"older": mark("new"), "new": {payload: "a"}, "old": {payload: "b"}}, tokens: []string{"older", "old"}, then: []act{renews("new", "2"), expires("older"), expires("new")},
			destroy: "load new, load older, delete old: ErrGone", left: "2=a",
		},
		{
			name: "C20 whether the mark stands is not answered", stored: marked, then: []act{renews("new", "2"), expires("old"), expires("new")}, happens: events{"load old": notApplied},
			destroy: "load new, load old: ErrUnavailable", notices: "Unavailable first", left: "2=a",
		},
		{
			name: "C20 a session has vanished, and no mark was seen", stored: plain, then: []act{renews("old", "theirs"), expires("old")},
			destroy: "delete old: had", left: "theirs=a",
		},

		// Marks without an end.
		{
			name: "C20 renewed thirty-two times", stored: plain, then: []act{chain(32)},
			destroy: "delete old" + loads(1, 31) + ", load k32, delete k32: had", left: "*",
		},
		{
			name: "C20 renewed thirty-three times", stored: plain, then: []act{chain(33)},
			destroy: "delete old" + loads(1, 32) + ": ErrGone", left: "*",
		},
		{
			name: "C20 a mark that names itself", stored: map[string]rec{"old": mark("old")},
			destroy: "load old" + strings.Repeat(", load old", 32) + ": ErrGone", left: "old>old",
		},
		{
			name: "C20 a mark that names itself is there now", stored: plain, then: []act{puts("old", rec{successor: "old", by: "them.1"})},
			destroy: "delete old" + strings.Repeat(", load old", 32) + ": ErrGone", left: "old>old",
		},
		{
			name: "C20 two marks that name each other", stored: map[string]rec{"old": mark("new"), "new": mark("old")},
			destroy: "load new" + strings.Repeat(", load old, load new", 16) + ": ErrGone", left: "new>old old>new",
		},
		{
			name: "C20 marks without an end, and the request's own session", stored: map[string]rec{"older": mark("older"), "old": {payload: "a"}}, tokens: []string{"older", "old"},
			destroy: "load older" + strings.Repeat(", load older", 32) + ", delete old: ErrGone", left: "older>older",
		},

		// The store does not answer.
		{
			name: "L10 F2 not applied", stored: plain, happens: events{"delete old": notApplied},
			destroy: "delete old: ErrUnavailable", notices: "Unavailable first", left: "old=a",
		},
		{
			name: "L10 F2 the reply is lost", stored: plain, happens: events{"delete old": lost},
			destroy: "delete old: ErrUnavailable", notices: "Unavailable first",
		},
		{
			name: "L10 F2 behind the mark nobody answers: the request's own session lives", stored: map[string]rec{"older": mark("new"), "old": {payload: "a"}}, tokens: []string{"older", "old"}, happens: events{"load new": notApplied},
			destroy: "load new: ErrUnavailable", notices: "Unavailable first", left: "old=a older>new",
		},
		{
			name: "L10 an error of no type", stored: plain, happens: events{"delete old": broken},
			destroy: "delete old: an error of no type", left: "old=a",
		},
		{
			name: "C11 others keep writing until the time is up", stored: plain, happens: events{"delete old *": slow(timeout*2/5, saves("x"))},
			destroy: "delete old, delete old, delete old: ErrConflict", left: "old=axxx",
		},
	} {
		inBubble(t, row.name, row.layout, row.stored, func(fx *fixture) {
			s := fx.session()
			if row.tokens == nil {
				row.tokens = []string{"old"}
			}
			fx.want("Load", name(s.Load(fx.ctx, row.tokens, protocol.AtOnce)), "ok")
			fx.take()
			fx.others(row.then)
			fx.events = row.happens
			ctx, cancel := context.WithTimeout(fx.ctx, timeout)
			defer cancel()
			fx.ctx = ctx
			fx.want("Destroy", fx.destroy(s), row.destroy)
			fx.want("notices", fx.app.take(), row.notices)
			if row.left != "*" {
				fx.want("left", fx.memory.String(), row.left)
			}
			fx.end()
		})
	}
}

const markTTL = 10 * time.Second

// A request that sees a mark in a Write or a Touch, and not in its load, knows as much of it.
func TestDestroyAfterASeenMark(t *testing.T) {
	for verb, see := range map[string]func(fx *fixture, s *protocol.Session) error{
		"Touch":  func(fx *fixture, s *protocol.Session) error { return s.Touch(fx.ctx) },
		"Reread": func(fx *fixture, s *protocol.Session) error { return s.Reread(fx.ctx) },
		"Write": func(fx *fixture, s *protocol.Session) error {
			_, err := s.Write(fx.ctx, protocol.Change{Composer: &composer{steps: []compose{edit("x")}}})
			return err
		},
	} {
		for what, row := range map[string]struct {
			then    []act
			destroy string
			left    string
		}{
			"it has vanished, and the session may live on": {[]act{expires("old")}, "delete old, load old: ErrGone", "theirs=a"},
			"it stands":                       {nil, "delete old, load theirs, delete theirs: had", "old>theirs"},
			"it is past its time":             {[]act{passes(markTTL)}, "delete old: ErrGone", "theirs=a"},
			"it stands, and the session ends": {[]act{expires("theirs")}, "delete old, load theirs, load old: had", "old>theirs"},
		} {
			inBubble(t, "C20 "+verb+" has seen a mark: "+what, layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
				s := fx.loaded()
				renews("old", "theirs")(fx)
				fx.want(verb, name(see(fx, s)), "ErrGone")
				fx.take()
				fx.others(row.then)
				fx.want("Destroy", fx.destroy(s), row.destroy)
				fx.want("left", fx.memory.String(), row.left)
			})
		}
	}
}

// chain renews the session so many times: the keys are k1, k2 and so on.
func chain(n int) act {
	return func(fx *fixture) {
		last := "old"
		for i := range n {
			next := fmt.Sprint("k", i+1)
			renews(last, next)(fx)
			last = next
		}
	}
}

// loads are the commands that load those keys.
func loads(from, to int) (commands string) {
	for i := from; i <= to; i++ {
		commands += fmt.Sprint(", load k", i)
	}
	return commands
}

// savesAt is saves under another token.
func savesAt(token, letter string) act {
	return func(fx *fixture) { fx.elsewhereWrites("them", token, edit(letter)) }
}

// The request carried the tokens old and older of two valid sessions; then its user signs in.
func TestEndRefused(t *testing.T) {
	two := map[string]rec{"old": {payload: "a"}, "older": {payload: "b"}}
	for _, row := range []struct {
		name    string
		tokens  []string // old and older, if there are none
		stored  map[string]rec
		then    []act // between the load and the end
		happens events

		err      string
		commands string
		notices  string
		left     string
		destroy  string // what a Destroy afterwards does
	}{
		{name: "L21 both end", commands: "delete old, delete older", destroy: "none"},
		{name: "L21 there is one session", tokens: []string{"old"}, left: "old=a older=b", destroy: "delete old: had"},
		{
			name: "L21 newer data ends too", then: []act{saves("x")},
			commands: "delete old, delete old, delete older", destroy: "none",
		},
		{
			name: "L21 one has ended meanwhile", then: []act{ends},
			commands: "delete old, delete older", destroy: "none",
		},
		{
			name: "L21 behind a mark is the session of another sign-in", then: []act{renews("old", "theirs")},
			commands: "delete old, delete older", left: "old>theirs theirs=a", destroy: "none",
		},
		{
			name: "L21 K6 what cannot be read stays", then: []act{puts("older", raw("x"))},
			commands: "delete old, delete older", left: `older="x"`, destroy: "none",
		},
		{
			name: "L21 L10 Destroy ends what else the tokens stand for", tokens: []string{"oldest", "old", "older"},
			stored:   map[string]rec{"old": {payload: "a"}, "older": {payload: "b"}, "oldest": mark("new"), "new": {payload: "c"}},
			commands: "delete old, delete older", left: "new=c oldest>new", destroy: "load new, delete new: had",
		},
		{
			name: "L21 F2 the store does not answer", happens: events{"delete older": notApplied},
			err: "ErrUnavailable", commands: "delete old, delete older", notices: "Unavailable first", left: "older=b", destroy: "load older, delete older: had",
		},
		{
			name: "L21 C11 others keep writing until the time is up", happens: events{"delete old *": slow(timeout*2/5, saves("x"))},
			err: "ErrConflict", commands: "delete old, delete old, delete old", left: "old=axxx older=b", destroy: "load old, delete old, load older, delete older: had",
		},
	} {
		if row.stored == nil {
			row.stored = two
		}
		inBubble(t, row.name, layout{}, row.stored, func(fx *fixture) {
			s := fx.session()
			if row.tokens == nil {
				row.tokens = []string{"old", "older"}
			}
			fx.want("Load", name(s.Load(fx.ctx, row.tokens, protocol.AtOnce)), "ok")
			fx.take()
			fx.app.take()
			fx.others(row.then)
			fx.events = row.happens
			_, err := s.EndRefused(fx.ctx)
			if row.err == "" {
				row.err = "ok"
			}
			fx.want("EndRefused", name(err), row.err)
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			fx.want("left", fx.memory.String(), row.left)
			fx.events = nil
			fx.want("Destroy", fx.destroy(s), row.destroy)
		})
	}

	inBubble(t, "L20 a session that has ended gives way to a new one, and Destroy still ends what else the tokens stand for", layout{},
		map[string]rec{"old": {payload: "a"}, "older": mark("new"), "new": {payload: "c"}}, func(fx *fixture) {
			s := fx.session()
			fx.want("Load", name(s.Load(fx.ctx, []string{"older", "old"}, protocol.AtOnce)), "ok")
			fx.others([]act{ends})
			fx.want("Reread", name(s.Reread(fx.ctx)), "ErrGone")
			fx.want("Create", name(s.Create(fx.ctx, record.Record{ID: fx.engine.NewID(), Created: time.Now(), Payload: []byte("b")})), "ok")
			if s.HasEnded() || !s.Stored() || s.Token == "old" {
				fx.t.Errorf("ended %t, stored %t, token %s", s.HasEnded(), s.Stored(), s.Token)
			}
			fx.take()
			fx.want("Destroy", fx.destroy(s), "load new, delete new, delete newer: had")
		})
}
