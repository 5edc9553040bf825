package protocol_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Two requests of one process have loaded the session. The second one begins to write while the first one
// composes, so it waits for its turn.
func TestTurns(t *testing.T) {
	foreign := layout{foreign: true}
	b := []compose{edit("b")}
	for _, row := range []struct {
		name    string
		layout  layout
		first   []compose
		second  []compose // appends c, if there are none
		update  bool
		happens events

		results  string // of the two
		commands string
		notices  string
		given    string // what the second one's Compose was called with
		left     string
	}{
		{
			name: "C9 the second one needs one command", first: b,
			results: "ok, ok", commands: "swap old, swap old", given: "ab*", left: "old=abc",
		},
		{
			name: "C9 what another process has written comes with it", first: b, happens: events{"swap old": before(saves("x"))},
			results: "ok, ok", commands: "swap old, swap old, swap old", given: "axb*", left: "old=axbc",
		},
		{
			name: "C9 no names of writes: nothing tells which is newer, and the swap does", layout: foreign, first: b,
			results: "ok, ok", commands: "swap old, swap old, swap old", given: "a ab*", left: "old=abc",
		},
		{
			name: "C10 the first one's command is applied twice", first: b, happens: events{"swap old": repeated()},
			results: "ok, ok", commands: "swap old, swap old", given: "ab*", left: "old=abc",
		},
		{
			name: "C10 the first one's command is applied, another process writes, it is repeated", first: b, happens: events{"swap old": repeated(saves("x"))},
			results: "ok, ok", commands: "swap old, swap old, swap old", given: "ab* abx*", left: "old=abxc",
		},
		{
			name: "the first one writes nothing", first: []compose{keep},
			results: "ok kept, ok", commands: "swap old", given: "a", left: "old=ac",
		},
		{
			name: "C4 the first one renews", first: []compose{renew("b")},
			results: "ok renewed, ErrGone", commands: "create new, mark old", notices: "Gone", left: "new=ab old>new",
		},
		{
			name: "C4 the first one renews, no marks", layout: foreign, first: []compose{renew("b")},
			results: "ok renewed, ErrGone", commands: "create new, delete old, swap old", notices: "Gone", given: "a", left: "new=ab",
		},
		{
			name: "C4 the first one finds that another process has renewed", first: b, happens: events{"swap old": before(renews("old", "theirs"))},
			results: "ErrGone, ErrGone", commands: "swap old", notices: "Gone, Gone", left: "old>theirs theirs=a",
		},
		{
			name: "C1 the first one finds that it has ended", first: b, happens: events{"swap old": before(ends)},
			results: "ErrGone, ErrGone", commands: "swap old, swap old", notices: "Gone, Gone", given: "a",
		},
		{
			name: "K6 the first one finds what cannot be read", first: b, happens: events{"swap old": before(puts("old", raw("x")))},
			results: "unreadable header, unreadable header", commands: "swap old", left: `old="x"`,
		},

		{
			name: "C9 the second one refuses what it is handed, and that is stored", first: b, second: []compose{refuses}, update: true,
			results: "ok, refused", commands: "swap old, load old", given: "ab*", left: "old=ab",
		},
		{
			name: "C9 the second one refuses what it is handed, and another process has written since", first: b, second: []compose{refuses, edit("c")}, update: true,
			happens: events{"load old": before(saves("x"))},
			results: "ok, ok", commands: "swap old, load old, swap old", given: "ab* abx*", left: "old=abxc",
		},
		{
			name: "C1 the second one refuses what it is handed, and the session has ended since", first: b, second: []compose{refuses}, update: true,
			happens: events{"load old": before(ends)},
			results: "ok, ErrGone", commands: "swap old, load old", notices: "Gone", given: "ab*",
		},
		{
			name: "C11 the first one is out of time: the second one begins with what that has found", first: b, happens: events{"swap old": slow(timeout*3/4, saves("x"))},
			results: "ErrConflict, ok", commands: "swap old, swap old", notices: "OutOfTime", given: "ax*", left: "old=axc",
		},
		{
			name: "C9 the first one refuses what it has looked up: the second one begins with that", first: []compose{refuses}, update: true, happens: events{"load old": before(saves("x"))},
			results: "refused, ok", commands: "load old, swap old", given: "ax*", left: "old=axc",
		},
		{
			name: "L12 the swap for the mark is applied, and the first one crashes: the copy stays", first: []compose{renew("b")}, happens: events{"mark old": crashes(true)},
			results: "panic, ErrGone", commands: "create new, mark old, swap old", notices: "Gone", given: "a", left: "new=ab old>new",
		},
		{
			name: "L12 the first one crashes before the swap for its mark: the old token is valid", first: []compose{renew("b")}, happens: events{"mark old": crashes(false)},
			results: "panic, ok", commands: "create new, mark old, swap old", given: "a", left: "new=ab old=ac",
		},
		{
			name: "L12 the first one crashes before its newer copy", first: []compose{renew("b")}, happens: events{"mark old": before(saves("x")), "swap new": crashes(false)},
			results: "panic, ok", commands: "create new, mark old, swap new, drop new, swap old", given: "ax*", left: "old=axc",
		},

		// The store does not answer the first one: the second one does not ask it again.
		{
			name: "F10 no answer to the swap", first: b, happens: events{"swap old": notApplied},
			results: "ErrUnavailable unknown unconfirmed, ErrUnavailable unsent", commands: "swap old", notices: "Unavailable first, Unavailable", left: "old=a",
		},
		{
			name: "F10 no answer to the copy", first: []compose{renew("b")}, happens: events{"create new": notApplied},
			results: "ErrUnavailable unknown, ErrUnavailable unsent", commands: "create new", notices: "Unavailable first, Unavailable", left: "old=a",
		},
		{
			name: "F10 no answer to the look behind a refusal", first: []compose{refuses}, update: true, happens: events{"load old": notApplied},
			results: "ErrUnavailable, ErrUnavailable unsent", commands: "load old", notices: "Unavailable first, Unavailable", left: "old=a",
		},
		{
			name: "F10 no answer to the look after a pause", first: b, happens: events{"swap old": before(saves("x")), "swap old #2": before(saves("y")), "load old": notApplied},
			results: "ErrUnavailable, ErrUnavailable unsent", commands: "swap old, swap old, load old", notices: "Unavailable first, Unavailable", left: "old=axy",
		},

		// The first one fails by itself: the second one goes on.
		{
			name: "Compose fails", first: []compose{fails(errCompose)},
			results: "cannot compose, ok", commands: "swap old", given: "a", left: "old=ac",
		},
		{
			name: "F10 Compose says ErrUnavailable, and that is not the store's", first: []compose{fails(protocol.ErrUnavailable)},
			results: "ErrUnavailable, ok", commands: "swap old", given: "a", left: "old=ac",
		},
		{
			name: "F10 a function refuses by ErrUnavailable, and that is not the store's", first: []compose{fails(&protocol.Refusal{Err: protocol.ErrUnavailable})}, update: true,
			results: "sessions: store unavailable, ok", commands: "load old, swap old", given: "a", left: "old=ac",
		},
		{
			name: "Compose says ErrUnavailable to what another process has written: the copy is dropped", first: []compose{renew("b"), fails(protocol.ErrUnavailable)},
			happens: events{"mark old": before(saves("x"))},
			results: "ErrUnavailable, ok", commands: "create new, mark old, drop new, swap old", given: "ax*", left: "old=axc",
		},
		{
			name: "Compose fails on what another process has written: the second one begins with that", first: []compose{edit("b"), fails(errCompose)}, happens: events{"swap old": before(saves("x"))},
			results: "cannot compose, ok", commands: "swap old, swap old", given: "ax*", left: "old=axc",
		},
		{
			name: "F9 Compose panics", first: []compose{panics},
			results: "panic, ok", commands: "swap old", given: "a", left: "old=ac",
		},
		{
			name: "F9 Compose panics on what another process has written: the copy is dropped", first: []compose{renew("b"), panics}, happens: events{"mark old": before(saves("x"))},
			results: "panic, ok", commands: "create new, mark old, drop new, swap old", given: "ax*", left: "old=axc",
		},
	} {
		inBubble(t, row.name, row.layout, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
			one, two := fx.loaded(), fx.loaded()
			fx.events = row.happens
			composing, go_ := make(chan bool), make(chan bool)
			first := slices.Concat([]compose{waits(composing, go_, row.first[0])}, row.first[min(1, len(row.first)-1):])
			if row.second == nil {
				row.second = []compose{edit("c")}
			}
			second := &composer{steps: row.second}
			results := make([]string, 2)
			var all sync.WaitGroup
			all.Go(func() { results[0] = fx.write(one, &composer{steps: first}, row.update) })
			<-composing
			all.Go(func() { results[1] = fx.write(two, second, row.update) })
			synctest.Wait()
			close(go_)
			all.Wait()
			fx.want("results", strings.Join(results, ", "), row.results)
			fx.want("commands", fx.take(), row.commands)
			fx.want("notices", fx.app.take(), row.notices)
			fx.want("given to the second Compose", strings.Join(second.given, " "), row.given)
			fx.want("stored", fx.memory.String(), row.left)
			fx.end()
		})
	}

	// The first one has written and does not know it yet; what the second one loads is newer.
	for _, row := range []struct {
		name  string
		then  []act
		given string
		left  string
	}{
		{name: "C9 the second one has loaded what the first one wrote", given: "ab", left: "old=abc"},
		{name: "C9 the second one has loaded what another process wrote after the first one", then: []act{saves("x")}, given: "abx", left: "old=abxc"},
	} {
		inBubble(t, row.name, layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
			one := fx.loaded()
			composing, go_ := make(chan bool), make(chan bool)
			fx.events = events{"swap old": func(fx *fixture, _ context.Context, apply func() error) error {
				err := apply()
				close(composing)
				<-go_
				return err
			}}
			second := &composer{steps: []compose{edit("c")}}
			var all sync.WaitGroup
			all.Go(func() { fx.want("first", fx.write(one, &composer{steps: []compose{edit("b")}}, false), "ok") })
			<-composing
			fx.others(row.then)
			two := fx.loaded()
			all.Go(func() { fx.want("second", fx.write(two, second, false), "ok") })
			synctest.Wait()
			close(go_)
			all.Wait()
			fx.want("commands of the second", fx.take(), "swap old")
			fx.want("given to the second Compose", strings.Join(second.given, " "), row.given)
			fx.want("stored", fx.memory.String(), row.left)
		})
	}

	for _, row := range []struct {
		name  string
		until time.Duration
		took  time.Duration
	}{
		{name: "C11 one whose turn does not come gives up", took: 2 * timeout},
		{name: "C11 one whose turn does not come gives up at its deadline", until: timeout / 2, took: timeout / 2},
	} {
		inBubble(t, row.name, layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
			one, two := fx.loaded(), fx.loaded()
			composing, go_ := make(chan bool), make(chan bool)
			var all sync.WaitGroup
			all.Go(func() {
				fx.want("first", fx.write(one, &composer{steps: []compose{waits(composing, go_, edit("b"))}}, true), "ok")
			})
			<-composing
			began := time.Now()
			change := protocol.Change{Composer: &composer{steps: []compose{edit("c")}}}
			if row.until > 0 {
				change.Until = began.Add(row.until)
			}
			_, err := two.Write(fx.ctx, change)
			fx.want("second", name(err), "ErrConflict")
			fx.want("notices", fx.app.take(), "OutOfTime")
			if took := time.Since(began); took != row.took {
				fx.t.Errorf("it took %v, want %v", took, row.took)
			}
			close(go_)
			all.Wait()
			fx.want("stored", fx.memory.String(), "old=ab")
		})
	}

	inBubble(t, "F10 ten writers of a store that hangs wait one Timeout, not ten", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		var sessions []*protocol.Session
		for range 10 {
			sessions = append(sessions, fx.loaded())
		}
		fx.events = events{"swap old": hangs}
		began := time.Now()
		var all sync.WaitGroup
		for _, s := range sessions {
			all.Go(func() { fx.write(s, &composer{steps: []compose{edit("b")}}, false) })
		}
		all.Wait()
		if took := time.Since(began); took != timeout {
			fx.t.Errorf("it took %v, want %v", took, timeout)
		}
		fx.want("commands", fx.take(), "swap old")
	})

	inBubble(t, "C9 twenty Updates of one process are twenty commands", layout{}, map[string]rec{"old": {payload: "a"}}, func(fx *fixture) {
		var sessions []*protocol.Session
		for range 20 {
			sessions = append(sessions, fx.loaded())
		}
		var all sync.WaitGroup
		for _, s := range sessions {
			all.Go(func() { fx.want("Update", fx.write(s, &composer{steps: []compose{edit("b")}}, true), "ok") })
		}
		all.Wait()
		if got := strings.Count(fx.take(), "swap old"); got != 20 {
			fx.t.Errorf("%d commands, want 20", got)
		}
		if got := strings.Count(string(fx.loaded().Record.Payload), "b"); got != 20 {
			fx.t.Errorf("%d letters, want 20", got)
		}
	})
}

// write is a Write and its result.
func (fx *fixture) write(s *protocol.Session, c *composer, update bool) (result string) {
	defer func() {
		if v := recover(); v != nil {
			result = fmt.Sprint(v)
		}
	}()
	r, err := s.Write(fx.ctx, protocol.Change{Composer: c, RunsFunction: update})
	return resultOf(r, err)
}

// waits says that it composes, and waits.
func waits(composing, go_ chan bool, c compose) compose {
	return func(found protocol.Found) (protocol.Proposal, error) {
		close(composing)
		<-go_
		return c(found)
	}
}

// crashes: the caller panics, before or after the command is applied.
func crashes(applied bool) event {
	return func(_ *fixture, _ context.Context, apply func() error) error {
		if applied {
			_ = apply()
		}
		panic("panic")
	}
}

func panics(protocol.Found) (protocol.Proposal, error) { panic("panic") }
