package tally_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/tally"
)

func TestTally(t *testing.T) {
	for _, row := range []struct{ name, notes, want string }{
		{"F16 the first line of a kind is written", "a b c", "a b c"},
		{"F16 its repeats within a minute are counted in the next line after it", "a a a 59s a 1s a a 60s a", "a a+3 a+1"},
		{"F16 each kind has a count of its own", "a b a a b 60s b a", "a b b+1 a+2"},
		{"F16 a line that comes once a minute is written each time", "a 60s a 60s a", "a a a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n tally.Tally
				var got []string
				for name := range strings.FieldsSeq(row.notes) {
					if d, err := time.ParseDuration(name); err == nil {
						time.Sleep(d)
					} else if repeats, write := n.Note(name); write && repeats > 0 {
						got = append(got, fmt.Sprint(name, "+", repeats))
					} else if write {
						got = append(got, name)
					}
				}
				if got := strings.Join(got, " "); got != row.want {
					t.Errorf("written %q, want %q", got, row.want)
				}
			})
		})
	}

	t.Run("F16 of a million kinds a thousand are written in a minute, and after it there is room for others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n tally.Tally
			written := func(kinds int) (lines, repeats int) {
				for i := range kinds {
					if r, write := n.Note(fmt.Sprint(i)); write {
						lines, repeats = lines+1, repeats+r
					}
				}
				return lines, repeats
			}
			if lines, _ := written(1_000_000); lines != 1000 {
				t.Errorf("%d lines", lines)
			}
			time.Sleep(time.Minute)
			if lines, _ := written(500); lines != 500 {
				t.Errorf("%d lines after a minute", lines)
			}
		})
	})
}
