package sessions

import (
	"slices"
	"sync"
	"time"
)

// A turn lets one verb or commit of a session run at a time, in the order in which they came. The zero value
// is free.
type turn struct {
	mu       sync.Mutex
	taken    bool
	function time.Time       // when the holder began to run the function of an Update; zero if it runs none
	waiting  []chan struct{} // empty unless taken
}

// take waits until it is the caller's turn. It gives up when the holder has been running the function of an
// Update for as long as the limit: a verb in that function, or one for which the function waits, would wait
// for its own end. Everything else that a holder does ends by itself.
func (t *turn) take(limit time.Duration) bool {
	ready := t.queueUp()
	if ready == nil {
		return true
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ready:
			return true
		case <-timer.C:
		}
		t.mu.Lock()
		left := t.left(limit)
		if i := slices.Index(t.waiting, ready); i >= 0 && left <= 0 {
			t.waiting = slices.Delete(t.waiting, i, i+1)
			t.mu.Unlock()
			return false
		}
		t.mu.Unlock()
		timer.Reset(max(left, 0)) // if it is not waiting any more, ready is closed
	}
}

// wait waits until it is the caller's turn, however long that takes.
func (t *turn) wait() {
	if ready := t.queueUp(); ready != nil {
		<-ready
	}
}

// queueUp takes the turn, if it is free, and returns nil. Otherwise it returns what is closed when the turn has come.
func (t *turn) queueUp() (ready chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.taken {
		t.taken = true
		return nil
	}
	ready = make(chan struct{})
	t.waiting = append(t.waiting, ready)
	return ready
}

// left is for how long a waiter goes on waiting before it looks again. mu is held.
func (t *turn) left(limit time.Duration) time.Duration {
	if t.function.IsZero() {
		return limit
	}
	return limit - time.Since(t.function)
}

// enterFunction notes that the holder runs the function of an Update from now on, and leaveFunction that it
// has returned.
func (t *turn) enterFunction() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.function = time.Now()
}

func (t *turn) leaveFunction() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.function = time.Time{}
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
}
