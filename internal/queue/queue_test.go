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

// A line is a queue in a bubble, and who has come how far in it.
type line struct {
	queue.Queue
	t     *testing.T
	start time.Time
	all   sync.WaitGroup
	mu    sync.Mutex
	log   []string
}

// run runs f in a bubble; afterwards nobody may wait, and nothing may be left.
func run(t *testing.T, name string, f func(l *line)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &line{t: t, start: time.Now()}
			f(l)
			l.all.Wait()
			if n := l.Lines(); n != 0 {
				t.Errorf("%d keys are left that nobody writes", n)
			}
		})
	})
}

func (l *line) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, fmt.Sprintf(format, args...)+" at "+time.Since(l.start).String())
}

// want compares what was noted, of what happens at one time in any order.
func (l *line) want(want ...string) {
	l.t.Helper()
	l.all.Wait()
	if !slices.Equal(l.log, want) {
		l.t.Errorf("\n got %q\nwant %q", l.log, want)
	}
}

// A writer takes a turn and notes what becomes of it.
type writer struct {
	name     string
	key      string // or "k"
	patience time.Duration
	until    time.Duration // since the start; 0 is never
	takes    time.Duration // its turn
	idle     bool          // it writes nothing in it
	err      error
}

// go_ starts a writer, and returns when it stands in line.
func (l *line) go_(w writer) {
	if w.key == "" {
		w.key = "k"
	}
	var until time.Time
	if w.until > 0 {
		until = l.start.Add(w.until)
	}
	l.all.Go(func() {
		last, err := l.Enter(w.key, w.patience, until)
		if err != nil {
			l.note("%s: %v", w.name, err)
			return
		}
		l.note("%s after %q", w.name, last)
		time.Sleep(w.takes)
		l.Leave(w.key, []byte(w.name), !w.idle, false, w.err)
	})
	synctest.Wait()
}

const (
	second = time.Second
	tenth  = second / 10
)

func TestTurns(t *testing.T) {
	run(t, "writers go in the order in which they come, each with what the one before has left", func(l *line) {
		for _, name := range []string{"a", "b", "c", "d"} {
			l.go_(writer{name: name, patience: second, takes: tenth})
		}
		l.want(`a after "" at 0s`, `b after "a" at 100ms`, `c after "b" at 200ms`, `d after "c" at 300ms`)
	})

	run(t, "who comes later than all have gone has nobody before", func(l *line) {
		l.go_(writer{name: "a", patience: second})
		l.all.Wait()
		l.go_(writer{name: "b", patience: second})
		l.want(`a after "" at 0s`, `b after "" at 0s`)
	})

	run(t, "who has written nothing hands on what it leaves all the same", func(l *line) {
		for _, name := range []string{"a", "b", "c"} {
			l.go_(writer{name: name, patience: second, takes: tenth, idle: true})
		}
		l.want(`a after "" at 0s`, `b after "a" at 100ms`, `c after "b" at 200ms`)
	})

	run(t, "who leaves nothing hands on nothing", func(l *line) {
		_, err := l.Enter("k", second, time.Time{})
		l.go_(writer{name: "b", patience: second})
		l.Leave("k", nil, false, false, nil)
		if err != nil {
			l.t.Error(err)
		}
		l.want(`b after "" at 0s`)
	})

	run(t, "writers of other keys do not wait", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: tenth})
		l.go_(writer{name: "b", key: "other", patience: second, takes: tenth})
		l.go_(writer{name: "c", key: "", patience: second})
		l.go_(writer{name: "d", key: "other", patience: second})
		if n := l.Lines(); n != 2 {
			l.t.Errorf("%d keys, want 2", n)
		}
		l.all.Wait()
		slices.Sort(l.log)
		l.want(`a after "" at 0s`, `b after "" at 0s`, `c after "a" at 100ms`, `d after "b" at 100ms`)
	})
}

func TestPatience(t *testing.T) {
	run(t, "who waits gives up when for so long as its patience nothing was written", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: 3 * second})
		time.Sleep(4 * tenth)
		l.go_(writer{name: "b", patience: second})
		l.go_(writer{name: "c", patience: 2 * second})
		l.want(`a after "" at 0s`, "b: "+queue.ErrBusy.Error()+" at 1s", "c: "+queue.ErrBusy.Error()+" at 2s")
	})

	run(t, "who gives up is no more in the way of those behind", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: 3 * second})
		l.go_(writer{name: "b", patience: second})
		l.go_(writer{name: "c", patience: 5 * second})
		l.want(`a after "" at 0s`, "b: "+queue.ErrBusy.Error()+" at 1s", `c after "a" at 3s`)
	})

	run(t, "a hundred writers that take nine tenths of it each get their turns", func(l *line) {
		var want []string
		for i := range 100 {
			last := ""
			if i > 0 {
				last = fmt.Sprint(i - 1)
			}
			l.go_(writer{name: fmt.Sprint(i), patience: second, takes: 9 * tenth})
			want = append(want, fmt.Sprintf("%d after %q at %v", i, last, time.Duration(i)*9*tenth))
		}
		l.want(want...)
	})

	run(t, "turns in which nothing is written do not count", func(l *line) {
		for _, name := range []string{"a", "b", "c"} {
			l.go_(writer{name: name, patience: second, takes: 9 * tenth, idle: true})
		}
		l.want(`a after "" at 0s`, `b after "a" at 900ms`, "c: "+queue.ErrBusy.Error()+" at 1s")
	})

	run(t, "a write lets those behind wait on, in a turn that follows too", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: 9 * tenth})
		l.go_(writer{name: "b", patience: second, takes: 9 * tenth, idle: true})
		l.go_(writer{name: "c", patience: second, takes: tenth})
		l.want(`a after "" at 0s`, `b after "a" at 900ms`, `c after "b" at 1.8s`)
	})

	run(t, "who waits gives up at its deadline, whatever is written", func(l *line) {
		for i := range 10 {
			l.go_(writer{name: fmt.Sprint(i), patience: second, takes: 2 * tenth})
		}
		l.go_(writer{name: "late", patience: second, until: 5 * tenth})
		l.all.Wait()
		if got, want := l.log[3], "late: "+queue.ErrBusy.Error()+" at 500ms"; got != want || len(l.log) != 11 {
			l.t.Errorf("%q of %d, want %q", got, len(l.log), want)
		}
	})

	run(t, "a deadline that has passed waits for nobody", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: second})
		time.Sleep(tenth)
		l.go_(writer{name: "b", patience: second, until: tenth / 2})
		l.want(`a after "" at 0s`, "b: "+queue.ErrBusy.Error()+" at 100ms")
	})

	run(t, "a deadline beyond patience does not prolong it", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: 2 * second})
		l.go_(writer{name: "b", patience: second, until: time.Hour})
		l.want(`a after "" at 0s`, "b: "+queue.ErrBusy.Error()+" at 1s")
	})
}

func TestErrors(t *testing.T) {
	down := errors.New("down")

	run(t, "an error is at once that of all who wait", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: tenth, err: down})
		for range 3 {
			l.go_(writer{name: "b", patience: second, takes: tenth})
		}
		l.want(`a after "" at 0s`, "b: down at 100ms", "b: down at 100ms", "b: down at 100ms")
	})

	run(t, "who comes after an error begins anew", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: tenth, err: down})
		l.go_(writer{name: "b", patience: second})
		l.all.Wait()
		l.go_(writer{name: "c", patience: second, takes: tenth})
		l.go_(writer{name: "d", patience: second})
		l.want(`a after "" at 0s`, "b: down at 100ms", `c after "" at 100ms`, `d after "c" at 200ms`)
	})

	run(t, "an error is nobody's of another key", func(l *line) {
		l.go_(writer{name: "a", patience: second, takes: tenth, err: down})
		l.go_(writer{name: "b", key: "other", patience: second, takes: 2 * tenth})
		l.go_(writer{name: "c", key: "other", patience: second})
		l.want(`a after "" at 0s`, `b after "" at 0s`, `c after "b" at 200ms`)
	})
}

// At the instant when somebody's time is up it may be given its turn: it has
// to take it, or those behind it wait for ever.
func TestTurnAtTheTimeout(t *testing.T) {
	for _, tc := range []struct {
		name            string
		patience, until time.Duration
	}{
		{"patience", tenth, 0},
		{"deadline", time.Hour, tenth},
	} {
		for _, wrote := range []bool{true, false} {
			run(t, fmt.Sprintf("nobody waits for ever behind one whose %s ends when its turn comes, wrote %v", tc.name, wrote), func(l *line) {
				for range 500 {
					l.start, l.log = time.Now(), nil
					// The two begin to wait for the same instant, in either order.
					l.go_(writer{name: "a", patience: time.Hour, takes: tenth, idle: !wrote})
					l.go_(writer{name: "b", patience: tc.patience, until: tc.until})
					l.go_(writer{name: "c", patience: time.Hour})
					l.all.Wait()
					if took := time.Since(l.start); took != tenth || len(l.log) != 3 {
						l.t.Fatalf("after %v: %q", took, l.log)
					}
				}
			})
		}
	}
}

func TestTenure(t *testing.T) {
	const patience = 2 * second
	// turns takes the key for a millisecond, again and again, and returns for
	// how long each Enter took.
	turns := func(l *line, n int, pause time.Duration) []time.Duration {
		var waits []time.Duration
		for range n {
			start := time.Now()
			if _, err := l.Enter("k", patience, time.Time{}); err != nil {
				l.t.Error(err)
				return waits
			}
			waits = append(waits, time.Since(start))
			time.Sleep(time.Millisecond)
			l.Leave("k", nil, true, false, nil)
			time.Sleep(pause)
		}
		return waits
	}
	run(t, "C9 a process that writes a key again and again steps back after each fifty milliseconds", func(l *line) {
		waits := turns(l, 1000, 0)
		back := 0
		for _, w := range waits {
			if w > 0 {
				back++
			}
			if w > patience/200 {
				l.t.Errorf("it steps back for %v, want %v at most", w, patience/200)
			}
		}
		if i := slices.IndexFunc(waits, func(w time.Duration) bool { return w > 0 }); i < 50 || i > 52 {
			l.t.Errorf("it steps back at first after %d turns of a millisecond", i)
		}
		if back < 15 || back > 20 {
			l.t.Errorf("it steps back %d times in a second", back)
		}
	})
	run(t, "C9 a process steps back too when others of its own wait", func(l *line) {
		for range 2 {
			l.all.Go(func() { turns(l, 500, 0) })
		}
		l.all.Wait()
		if took := time.Since(l.start); took < second+15*time.Millisecond || took > second+20*patience/200 {
			l.t.Errorf("a thousand turns of a millisecond take %v", took)
		}
	})
	run(t, "who lets others breathe does not step back", func(l *line) {
		for i, w := range turns(l, 1000, 6*time.Millisecond) {
			if w > 0 {
				l.t.Fatalf("turn %d comes after %v", i, w)
			}
		}
	})
}

// Real time, and everything at once: the race detector watches count.
func TestStress(t *testing.T) {
	var q queue.Queue
	down := errors.New("down")
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
				if errors.Is(err, queue.ErrBusy) || errors.Is(err, down) {
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
					err = down
				}
				q.Leave(key, []byte(key), rand.N(2) == 0, rand.N(2) == 0, err)
			}
		})
	}
	all.Wait()
	if n := q.Lines(); n != 0 {
		t.Errorf("%d keys are left that nobody writes", n)
	}
	for k, n := range turns {
		if *n == 0 {
			t.Errorf("nobody had a turn at %s", k)
		}
	}
}
