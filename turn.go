package sessions

import (
	"slices"
	"sync"
	"time"
)

// A turn lets one verb or commit of a session run at a time, in the order in which they came. The zero value
// is free.
type turn struct {
	mu      sync.Mutex
	taken   bool
	passed  time.Time       // when a waiter last got it
	waiting []chan struct{} // empty unless taken
}

// take waits until it is the caller's turn. It gives up when nobody has passed the turn on for as long as
// the limit: a verb in the function of an Update would wait for its own end.
func (t *turn) take(limit time.Duration) bool {
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return true
	}
	ready := make(chan struct{})
	t.waiting = append(t.waiting, ready)
	t.mu.Unlock()

	began := time.Now()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-ready:
			return true
		case <-timer.C:
		}
		t.mu.Lock()
		from := began
		if t.passed.After(from) {
			from = t.passed
		}
		left := limit - time.Since(from)
		i := slices.Index(t.waiting, ready)
		if i >= 0 && left <= 0 {
			t.waiting = slices.Delete(t.waiting, i, i+1)
			t.mu.Unlock()
			return false
		}
		t.mu.Unlock()
		timer.Reset(max(left, 0)) // if it is not waiting any more, ready is closed
	}
}

// pass ends a turn and gives it to the next one.
func (t *turn) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.taken = false
		return
	}
	close(t.waiting[0])
	t.waiting = t.waiting[1:]
	t.passed = time.Now()
}
