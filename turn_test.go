package sessions

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// takers take a turn one after another and tell in which order they got it.
type takers struct {
	turn turn
	mu   sync.Mutex
	got  string
}

// take takes the turn in the background, keeps it for a while, in the function of an Update if that is so, and
// notes the name, in upper case for one that gave up. It returns a moment later, when the goroutine waits or has
// the turn.
func (k *takers) take(name byte, limit, keep time.Duration, function bool) {
	go func() {
		ok := k.turn.take(limit)
		k.mu.Lock()
		if !ok {
			name -= 'a' - 'A'
		}
		k.got += string(name)
		k.mu.Unlock()
		if !ok {
			return
		}
		if function {
			k.turn.enterFunction()
		}
		time.Sleep(keep)
		if function {
			k.turn.leaveFunction()
		}
		k.turn.pass()
	}()
	time.Sleep(time.Millisecond)
}

func TestTurn(t *testing.T) {
	const s = time.Second
	for _, row := range []struct {
		name      string
		keep      []time.Duration // how long each taker keeps its turn, in the order in which they come
		functions string          // who runs the function of an Update
		want      string          // who got it, in order; in upper case who gave up
	}{
		{"L13 one at a time, in the order in which they came", []time.Duration{s, s, s, s}, "", "abcd"},
		{"L13 a verb that waits for the store is waited for", []time.Duration{9 * s, s, s}, "", "abc"},
		{"L13 a function that does not end is waited for as long as the limit", []time.Duration{9 * s, s}, "a", "aB"},
		{"L13 functions are waited for one by one", []time.Duration{s, s, s, s, s, s, 0}, "abcdef", "abcdefg"},
		{"L13 a function that ends in the last moment", []time.Duration{2*s - 2*time.Millisecond, s}, "a", "ab"},
		{"L13 one that gave up is not passed the turn", []time.Duration{s, 3 * s, s}, "b", "abC"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var k takers
				for i, keep := range row.keep {
					name := 'a' + byte(i)
					k.take(name, 2*s, keep, strings.Contains(row.functions, string(name)))
				}
				time.Sleep(time.Minute)
				k.mu.Lock()
				defer k.mu.Unlock()
				if k.got != row.want {
					t.Errorf("got %q, want %q", k.got, row.want)
				}
				if !k.turn.take(0) {
					t.Error("the turn is not free at the end")
				}
			})
		})
	}
}

func TestTurnAmongMany(t *testing.T) {
	var (
		turn    turn
		holding int // guarded by the turn
		all     sync.WaitGroup
	)
	for range 16 {
		all.Go(func() {
			for range 200 {
				if !turn.take(time.Minute) {
					t.Error("gave up")
					return
				}
				if holding++; holding != 1 {
					t.Errorf("%d hold the turn", holding)
				}
				holding--
				turn.pass()
			}
		})
	}
	all.Wait()
}
