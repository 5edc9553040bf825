package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/typedsessions/sessions"
)

func checkConcurrentSwap(s *subject) {
	const rounds, writers = 10, 16
	for round := range rounds {
		key := fmt.Sprint("k", round)
		s.create(key, "first", time.Hour)
		currents, errs := make([][]byte, writers), make([]error, writers)
		together(writers, func(i int) {
			currents[i], errs[i] = s.CompareAndSwap(s.Context(), key, []byte("first"), fmt.Appendf(nil, "writer %d", i), time.Hour)
		})
		winner := s.oneWinner("CompareAndSwap", errs, sessions.ErrConflict)
		value := fmt.Sprintf("writer %d", winner)
		s.holds(key, value)
		for i, current := range currents {
			if i != winner && string(current) != value {
				s.Errorf("CompareAndSwap lost to %q and returned %s as the current value", value, show(current))
			}
		}
		together(writers, func(i int) {
			_, errs[i] = s.CompareAndSwap(s.Context(), key, []byte(value), nil, 0)
		})
		s.oneWinner("CompareAndSwap with nil data", errs, sessions.ErrNotFound)
		s.missing(key)
	}
}

func checkConcurrentCreate(s *subject) {
	const rounds, writers = 10, 16
	for round := range rounds {
		key := fmt.Sprint("k", round)
		errs := make([]error, writers)
		together(writers, func(i int) {
			errs[i] = s.Create(s.Context(), key, fmt.Appendf(nil, "writer %d", i), time.Hour)
		})
		winner := s.oneWinner("Create", errs, sessions.ErrExists)
		s.holds(key, fmt.Sprintf("writer %d", winner))
	}
}

func checkRaceDelete(s *subject) {
	for round := range 50 {
		key := fmt.Sprint("k", round)
		s.create(key, "v", time.Hour)
		var deleted, swapped, loaded error
		together(3, func(i int) {
			switch (i + round) % 3 { // each is first at times
			case 0:
				deleted = s.Delete(s.Context(), key)
			case 1:
				_, swapped = s.CompareAndSwap(s.Context(), key, []byte("v"), []byte("v2"), time.Hour)
			case 2:
				_, _, loaded = s.Load(s.Context(), key, time.Hour)
			}
		})
		if deleted != nil {
			s.Fatalf("Delete: %v", deleted)
		}
		if swapped != nil {
			s.wantErr("CompareAndSwap beside a Delete", swapped, sessions.ErrNotFound)
		}
		if loaded != nil {
			s.wantErr("Load beside a Delete", loaded, sessions.ErrNotFound)
		}
		s.missing(key)
	}
}

func checkRaceTouch(s *subject) {
	for round := range 50 {
		key := fmt.Sprint("k", round)
		s.create(key, "v", time.Hour)
		var swapped, loaded error
		together(2, func(i int) {
			switch (i + round) % 2 {
			case 0:
				_, swapped = s.CompareAndSwap(s.Context(), key, []byte("v"), []byte("new"), time.Hour)
			case 1:
				_, _, loaded = s.Load(s.Context(), key, time.Hour)
			}
		})
		if err := errors.Join(swapped, loaded); err != nil {
			s.Fatalf("CompareAndSwap beside a Load: %v", err)
		}
		s.holds(key, "new")
	}
}

func checkGoroutines(s *subject) {
	s.leavesNoGoroutines(func(ctx context.Context) {
		done := cancelled(ctx)
		soon, cancel := context.WithCancel(ctx)
		together(2, func(i int) {
			if i == 0 {
				cancel() // somewhere in the middle
			} else {
				s.Load(soon, "k", time.Hour)
			}
		})
		for _, ctx := range []context.Context{ctx, done} {
			s.Create(ctx, "k", []byte("v"), time.Hour)
			s.Create(ctx, "k", []byte("v"), time.Hour)
			s.Load(ctx, "k", 0)
			s.Load(ctx, "k", time.Hour)
			s.CompareAndSwap(ctx, "k", []byte("x"), []byte("v"), time.Hour)
			s.CompareAndSwap(ctx, "k", []byte("v"), []byte("v"), time.Hour)
			s.CompareAndSwap(ctx, "k", []byte("v"), nil, 0)
			s.Load(ctx, "k", 0)
			s.Delete(ctx, "k")
		}
	})
}

// leavesNoGoroutines counts the goroutines that the calls of round have started, and
// those that these have started, by the label that they inherit: others in this
// process do not disturb it.
func (s *subject) leavesNoGoroutines(round func(ctx context.Context)) {
	const rounds = 100
	const few = rounds / 10 // those of a connection that was replaced are no leak
	round(s.Context())      // opens the connections
	label := fmt.Sprintf("%s %p", s.Name(), s)
	pprof.Do(s.Context(), pprof.Labels("storetest", label), func(ctx context.Context) {
		for range rounds {
			round(ctx)
		}
	})
	var left int
	var stacks string
	for range 100 { // one that is about to end may do so
		if left, stacks = labelled(label); left < few {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Errorf("%d rounds of calls left %d goroutines behind:\n%s", rounds, left, stacks)
}

// oneWinner checks that one of errs is nil and all others are lost, and
// returns the index of the one.
func (s *subject) oneWinner(what string, errs []error, lost error) int {
	s.Helper()
	winner, winners := 0, 0
	for i, err := range errs {
		if err == nil {
			winner, winners = i, winners+1
		} else {
			s.wantErr("a losing "+what, err, lost)
		}
	}
	if winners != 1 {
		s.Fatalf("%d of %d concurrent calls of %s won, want 1", winners, len(errs), what)
	}
	return winner
}

// together runs f(0) to f(n-1) at once.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// labelled counts the goroutines with a pprof label, and returns their stacks.
func labelled(label string) (n int, stacks string) {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return 0, ""
	}
	for group := range strings.SplitSeq(b.String(), "\n\n") {
		if !strings.Contains(group, fmt.Sprintf("%q", label)) {
			continue
		}
		var count int
		group = strings.TrimSpace(group)
		if before, _, ok := strings.Cut(group, " @ "); ok {
			// The first group follows a line that is not its own.
			fmt.Sscan(before[strings.LastIndex(before, "\n")+1:], &count)
		}
		n += count
		stacks += group + "\n"
	}
	return n, stacks
}
