package tally

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tally Tally
		note := func(key string, wantRepeats int, wantWrite bool) {
			t.Helper()
			if repeats, write := tally.Note(key); repeats != wantRepeats || write != wantWrite {
				t.Errorf("%.20s: %d, %t, want %d, %t", key, repeats, write, wantRepeats, wantWrite)
			}
		}
		note("a", 0, true)
		note("a", 0, false)
		note("b", 0, true)
		time.Sleep(interval - time.Nanosecond)
		note("a", 0, false)
		time.Sleep(time.Nanosecond)
		note("a", 2, true)
		note("a", 0, false)
		note("b", 0, true)
	})
}

func TestTallyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tally Tally
		written := 0
		for i := range 10 * maxKeys {
			if _, write := tally.Note(fmt.Sprint(i)); write {
				written++
			}
		}
		if written != maxKeys+1 || len(tally.lines) != maxKeys+1 {
			t.Errorf("%d lines are written and %d keys kept, want %d", written, len(tally.lines), maxKeys+1)
		}
		time.Sleep(interval)
		if repeats, write := tally.Note("another"); repeats != 9*maxKeys-1 || !write {
			t.Errorf("%d, %t, want all that were left out", repeats, write)
		}
		tally = Tally{}
		for _, key := range []string{strings.Repeat("x", maxLength+1), strings.Repeat("y", maxLength+1)} {
			tally.Note(key)
		}
		if len(tally.lines) != 1 {
			t.Errorf("%d keys, want one for all that are long", len(tally.lines))
		}
	})
}
