// Package queue lets the writers of one key in this process take turns, in the order in which they came, and
// hands what one has written to the next.
package queue

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that a writer has waited for its turn until its time was up.
var ErrBusy = errors.New("no turn within the time limit")

// A process that has written a key busyWrites times within one period pauses at the start of the next.
// Periods go by the clock, so all processes whose clocks agree pause at the same time.
const (
	periodLength = 100 * time.Millisecond
	pauseLength  = 6 * time.Millisecond
	busyWrites   = 10
)

// A Queue holds the writers of any number of keys. Its zero value is ready. A key that is neither taken nor
// busy is forgotten at the next Enter or Leave, of any key, in a later period.
type Queue struct {
	mu     sync.Mutex
	keys   map[string]*writers
	period time.Time // the start of the current one
}

// writers are those of one key.
type writers struct {
	taken    bool        // one of them has its turn
	waiting  []chan turn // of the others, in order; empty unless taken
	progress time.Time   // of the last write, or when the key was taken while nobody had a turn
	writes   int         // in the current period
	busy     bool        // there were busyWrites in the period before
}

// A turn is what a waiting writer gets. With an err it has no turn, and last is nil.
type turn struct {
	last  []byte        // what the writer before has left
	pause time.Duration // before the turn
	err   error
}

// Enter waits until it is the caller's turn at key and returns what the writer before has left; nil if there
// was none. A turn ends with [Queue.Leave].
//
// A process that writes a key often makes a pause before some of its turns. A swap succeeds only if nobody
// has written since its writer read the value; a process that needs longer for this than the others leave
// between two writes would fail each time.
//
// A writer waits as long as those before it make progress: it is ErrBusy if none of them has written anything
// for timeLimit, or at the time until, if that is not zero. If one of them could not reach what it writes to,
// all who wait behind it get its error, so that ten waiters wait for one timeout and not for ten.
func (q *Queue) Enter(key string, timeLimit time.Duration, until time.Time) (last []byte, err error) {
	q.mu.Lock()
	now := time.Now()
	q.startPeriod(now)
	w := q.keys[key]
	if w == nil {
		w = &writers{}
		q.keys[key] = w
	}
	if !w.taken {
		w.taken, w.progress = true, now
		wait := q.pause(w, now)
		q.mu.Unlock()
		time.Sleep(wait)
		return nil, nil
	}
	ready := make(chan turn, 1)
	w.waiting = append(w.waiting, ready)
	wait := w.left(timeLimit, until)
	q.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case t := <-ready:
			time.Sleep(t.pause)
			return t.last, t.err
		case <-timer.C:
		}
		q.mu.Lock()
		wait = w.left(timeLimit, until)
		if i := slices.Index(w.waiting, ready); i >= 0 && wait <= 0 {
			w.waiting = slices.Delete(w.waiting, i, i+1)
			q.mu.Unlock()
			return nil, ErrBusy
		}
		q.mu.Unlock()
		timer.Reset(max(wait, 0)) // if the wait is over, the turn has just come
	}
}

// Leave ends the turn at key. The next writer gets last; wrote says that this one has written it. With an err
// nobody is next, and all who wait get it.
func (q *Queue) Leave(key string, last []byte, wrote bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.startPeriod(now)
	w := q.keys[key]
	if wrote {
		w.progress = now
		w.writes++
	}
	if err == nil && len(w.waiting) > 0 {
		next := w.waiting[0]
		w.waiting = w.waiting[1:]
		next <- turn{last: last, pause: q.pause(w, now)}
		return
	}
	for _, ready := range w.waiting {
		ready <- turn{err: err}
	}
	w.taken, w.waiting = false, nil
}

// startPeriod starts the period of now, if it is not the current one, and forgets the keys that are neither
// taken nor busy.
func (q *Queue) startPeriod(now time.Time) {
	start := now.Truncate(periodLength)
	if start.Equal(q.period) {
		return
	}
	if q.keys == nil {
		q.keys = map[string]*writers{}
	}
	follows := start.Equal(q.period.Add(periodLength))
	for key, w := range q.keys {
		w.busy, w.writes = follows && w.writes >= busyWrites, 0
		if !w.taken && !w.busy {
			delete(q.keys, key)
		}
	}
	q.period = start
}

// pause is what is left of the pause at the start of the current period. It is not positive if there is none.
func (q *Queue) pause(w *writers, now time.Time) time.Duration {
	if !w.busy {
		return 0
	}
	return q.period.Add(pauseLength).Sub(now)
}

// left is for how long a writer still waits.
func (w *writers) left(timeLimit time.Duration, until time.Time) time.Duration {
	wait := time.Until(w.progress.Add(timeLimit))
	if !until.IsZero() {
		wait = min(wait, time.Until(until))
	}
	return wait
}
