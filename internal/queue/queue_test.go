package queue_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/queue"
)

const (
	second = time.Second
	tenth  = second / 10
)

var errDown = errors.New("down")

// A writer takes one turn.
type writer struct {
	name      string
	key       string        // or "k"
	comes     time.Duration // since the start
	timeLimit time.Duration // or a second
	until     time.Duration // since the start; 0 is never
	takes     time.Duration // its turn
	idle      bool          // it writes nothing
	err       error         // its turn ends with
}

// turns lets each writer take its turn and returns what becomes of them, in the order in which it happens.
func turns(t *testing.T, writers []writer) (log []string) {
	var q queue.Queue
	var all sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, fmt.Sprintf(format, args...)+" at "+time.Since(start).String())
	}
	for _, w := range writers {
		key, timeLimit, until := w.key, w.timeLimit, time.Time{}
		if key == "" {
			key = "k"
		}
		if timeLimit == 0 {
			timeLimit = second
		}
		if w.until > 0 {
			until = start.Add(w.until)
		}
		time.Sleep(time.Until(start.Add(w.comes)))
		all.Go(func() {
			last, err := q.Enter(key, timeLimit, until)
			if err != nil {
				note("%s: %v", w.name, err)
				return
			}
			note("%s after %q", w.name, last)
			time.Sleep(w.takes)
			last = []byte(w.name)
			if w.name == "" {
				last = nil
			}
			q.Leave(key, last, !w.idle, w.err)
		})
		synctest.Wait() // it has its turn, or stands behind the former
	}
	all.Wait()
	if n := q.Taken(); n != 0 {
		t.Errorf("%d keys are taken, and nobody is left", n)
	}
	return log
}

func TestTurns(t *testing.T) {
	busy := ": " + queue.ErrBusy.Error()
	rows := []struct {
		name    string
		writers []writer
		want    []string
	}{
		{
			"writers go in the order in which they come, each with what the one before has left",
			[]writer{{name: "a", takes: tenth}, {name: "b", takes: tenth}, {name: "c", takes: tenth}},
			[]string{`a after "" at 0s`, `b after "a" at 100ms`, `c after "b" at 200ms`},
		},
		{
			"who comes later than all have gone has nobody before",
			[]writer{{name: "a"}, {name: "b", comes: tenth}},
			[]string{`a after "" at 0s`, `b after "" at 100ms`},
		},
		{
			"who has written nothing hands on what it leaves all the same",
			[]writer{{name: "a", takes: tenth, idle: true}, {name: "b", takes: tenth, idle: true}, {name: "c"}},
			[]string{`a after "" at 0s`, `b after "a" at 100ms`, `c after "b" at 200ms`},
		},
		{
			"who leaves nothing hands on nothing",
			[]writer{{takes: tenth}, {name: "b"}},
			[]string{` after "" at 0s`, `b after "" at 100ms`},
		},
		{
			"writers of other keys do not wait",
			[]writer{{name: "a", takes: 2 * tenth}, {name: "b", key: "other", comes: tenth / 2, takes: tenth}, {name: "c"}, {name: "d", key: "other"}},
			[]string{`a after "" at 0s`, `b after "" at 50ms`, `d after "b" at 150ms`, `c after "a" at 200ms`},
		},

		{
			"who waits gives up when nothing was written for its time limit",
			[]writer{{name: "a", takes: 3 * second}, {name: "b", comes: 4 * tenth}, {name: "c", timeLimit: 2 * second}},
			[]string{`a after "" at 0s`, "b" + busy + " at 1s", "c" + busy + " at 2s"},
		},
		{
			"who gives up is no more in the way of those behind",
			[]writer{{name: "a", takes: 3 * second}, {name: "b"}, {name: "c", timeLimit: 5 * second}},
			[]string{`a after "" at 0s`, "b" + busy + " at 1s", `c after "a" at 3s`},
		},
		{
			"writers that take nine tenths of the time limit each get their turns",
			[]writer{{name: "a", takes: 9 * tenth}, {name: "b", takes: 9 * tenth}, {name: "c", takes: 9 * tenth}, {name: "d"}},
			[]string{`a after "" at 0s`, `b after "a" at 900ms`, `c after "b" at 1.8s`, `d after "c" at 2.7s`},
		},
		{
			"turns in which nothing is written are no progress",
			[]writer{{name: "a", takes: 9 * tenth, idle: true}, {name: "b", takes: 9 * tenth, idle: true}, {name: "c"}},
			[]string{`a after "" at 0s`, `b after "a" at 900ms`, "c" + busy + " at 1s"},
		},
		{
			"a write lets those behind wait on, in a turn that follows too",
			[]writer{{name: "a", takes: 9 * tenth}, {name: "b", takes: 9 * tenth, idle: true}, {name: "c"}},
			[]string{`a after "" at 0s`, `b after "a" at 900ms`, `c after "b" at 1.8s`},
		},
		{
			"the time limit begins anew where nobody was waiting",
			[]writer{{name: "a"}, {name: "b", comes: 5 * second, takes: 9 * tenth}, {name: "c"}},
			[]string{`a after "" at 0s`, `b after "" at 5s`, `c after "b" at 5.9s`},
		},
		{
			"who waits gives up at its deadline, whatever is written",
			[]writer{{name: "a", takes: 2 * tenth}, {name: "b", takes: 2 * tenth}, {name: "c", takes: 2 * tenth}, {name: "d", until: 5 * tenth}},
			[]string{`a after "" at 0s`, `b after "a" at 200ms`, `c after "b" at 400ms`, "d" + busy + " at 500ms"},
		},
		{
			"a deadline that has passed waits for nobody",
			[]writer{{name: "a", takes: second}, {name: "b", comes: tenth, until: tenth / 2}},
			[]string{`a after "" at 0s`, "b" + busy + " at 100ms"},
		},
		{
			"a deadline beyond the time limit does not prolong it",
			[]writer{{name: "a", takes: 2 * second}, {name: "b", until: time.Hour}},
			[]string{`a after "" at 0s`, "b" + busy + " at 1s"},
		},

		{
			"an error is at once that of all who wait",
			[]writer{{name: "a", takes: tenth, err: errDown}, {name: "b"}, {name: "b"}, {name: "b"}},
			[]string{`a after "" at 0s`, "b: down at 100ms", "b: down at 100ms", "b: down at 100ms"},
		},
		{
			"who comes after an error begins anew",
			[]writer{{name: "a", takes: tenth, err: errDown}, {name: "b"}, {name: "c", comes: 2 * tenth, takes: tenth}, {name: "d"}},
			[]string{`a after "" at 0s`, "b: down at 100ms", `c after "" at 200ms`, `d after "c" at 300ms`},
		},
		{
			"an error is nobody's of another key",
			[]writer{{name: "a", takes: tenth, err: errDown}, {name: "b", key: "other", comes: tenth / 2, takes: tenth}, {name: "c", key: "other"}},
			[]string{`a after "" at 0s`, `b after "" at 50ms`, `c after "b" at 150ms`},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := turns(t, row.writers); !slices.Equal(got, row.want) {
					t.Errorf("\n got %q\nwant %q", got, row.want)
				}
			})
		})
	}
}

// At the instant when somebody's time is up it may be given its turn: it has
// to take it, or those behind it wait for ever.
func TestTurnAtTheTimeout(t *testing.T) {
	for _, late := range []writer{
		{name: "time limit", timeLimit: tenth},
		{name: "deadline", timeLimit: time.Hour, until: tenth},
	} {
		for _, idle := range []bool{true, false} {
			t.Run(fmt.Sprintf("nobody waits for ever behind one whose %s ends when its turn comes, idle %v", late.name, idle), func(t *testing.T) {
				for range 500 { // the two begin to wait for the same instant, in either order
					synctest.Test(t, func(t *testing.T) {
						start := time.Now()
						log := turns(t, []writer{{takes: tenth, idle: idle}, late, {timeLimit: time.Hour}})
						if took := time.Since(start); took != tenth || len(log) != 3 {
							t.Fatalf("after %v: %q", took, log)
						}
					})
				}
			})
		}
	}
}

// Bubbles begin at the start of a period.
func TestPause(t *testing.T) {
	const ms = time.Millisecond
	var all []time.Duration // of the pauses in a second
	for end := 106 * ms; end < second; end += tenth {
		all = append(all, end)
	}
	rows := []struct {
		name    string
		writers int
		writes  int           // in each period, in the first of the turns
		gap     time.Duration // after each turn of a millisecond
		periods int           // in which anything is written
		want    []time.Duration
	}{
		{"a process that writes a key without a gap pauses at the start of each period", 1, 100, 0, 10, all},
		{"a process whose writers hand over to each other pauses too", 3, 100, 0, 10, all},
		{"ten writes in a period are enough", 1, 10, 3 * ms, 10, all},
		{"nine are not", 1, 9, 3 * ms, 10, nil},
		{"turns in which nothing is written do not count", 1, 0, 0, 10, nil},
		{"after a period with fewer writes there is no pause", 1, 100, 0, 2, all[:2]},
	}
	for _, row := range rows {
		t.Run("C9 "+row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q queue.Queue
				var all sync.WaitGroup
				var began []time.Duration // each turn; the queue lets one write at a time
				writes := [10]int{}
				start := time.Now()
				for range row.writers {
					all.Go(func() {
						for time.Since(start) < second-3*ms {
							if _, err := q.Enter("k", second, time.Time{}); err != nil {
								t.Error(err)
							}
							now := time.Since(start)
							began = append(began, now)
							period := min(int(now/tenth), 9)
							wrote := period < row.periods && writes[period] < row.writes
							if wrote {
								writes[period]++
							}
							time.Sleep(ms)
							q.Leave("k", nil, wrote, nil)
							time.Sleep(row.gap)
						}
					})
				}
				all.Wait()
				var got []time.Duration // the ends of the pauses
				for i := 1; i < len(began); i++ {
					if began[i]-began[i-1] > ms+row.gap {
						got = append(got, began[i])
					}
				}
				if !slices.Equal(got, row.want) {
					t.Errorf("pauses end at %v, want %v", got, row.want)
				}
			})
		})
	}
}

func TestForgottenKeys(t *testing.T) {
	rows := []struct {
		name   string
		writes int             // of each of a hundred keys, at the start
		other  []time.Duration // when another key is written; at the last of these times we look
		want   int
	}{
		{"a key is kept in the period in which it was written", 1, []time.Duration{tenth - 1}, 101},
		{"it is forgotten in the next", 1, []time.Duration{tenth}, 1},
		{"where it was written often, a period later", 10, []time.Duration{tenth}, 101},
		{"then it is forgotten too", 10, []time.Duration{tenth, 2 * tenth}, 1},
		{"all are after a long time", 10, []time.Duration{time.Hour}, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q queue.Queue
				write := func(key string) {
					if _, err := q.Enter(key, second, time.Time{}); err != nil {
						t.Error(err)
					}
					q.Leave(key, nil, true, nil)
				}
				start := time.Now()
				for i := range 100 * row.writes {
					write(fmt.Sprint(i % 100))
				}
				for _, at := range row.other {
					time.Sleep(time.Until(start.Add(at)))
					write("other")
				}
				if got := q.Keys(); got != row.want {
					t.Errorf("%d keys, want %d", got, row.want)
				}
			})
		})
	}
}

// Real time, and everything at once: the race detector watches count.
func TestStress(t *testing.T) {
	var q queue.Queue
	keys := []string{"a", "b", "c", "d"}
	count, turns := make(map[string]*int), make(map[string]*int)
	for _, k := range keys {
		count[k], turns[k] = new(int), new(int)
	}
	var all sync.WaitGroup
	for i := range 32 {
		key := keys[i%len(keys)]
		all.Go(func() {
			for range 200 {
				var until time.Time
				if rand.N(4) == 0 {
					until = time.Now().Add(rand.N(200 * time.Microsecond))
				}
				_, err := q.Enter(key, 100*time.Microsecond+rand.N(2*time.Millisecond), until)
				if errors.Is(err, queue.ErrBusy) || errors.Is(err, errDown) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if *count[key]++; *count[key] != 1 {
					t.Errorf("%d writers of %s at once", *count[key], key)
				}
				if rand.N(8) == 0 {
					time.Sleep(rand.N(300 * time.Microsecond))
				}
				*turns[key]++
				*count[key]--
				err = nil
				if rand.N(16) == 0 {
					err = errDown
				}
				q.Leave(key, []byte(key), rand.N(2) == 0, err)
			}
		})
	}
	all.Wait()
	if n := q.Taken(); n != 0 {
		t.Errorf("%d keys are taken, and nobody is left", n)
	}
	for k, n := range turns {
		if *n == 0 {
			t.Errorf("nobody had a turn at %s", k)
		}
	}
}
