// Package queue lets the writers of one key go one at a time, in the order in which they came, and hands
// what one has written to the next.
package queue

import (
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that a writer has lost patience with those before it.
var ErrBusy = errors.New("others have been writing all the time")

// A Queue holds the writers of any number of keys. Its zero value is ready. It holds no value of a key
// that nobody writes.
type Queue struct {
	mu      sync.Mutex
	lines   map[string]*line
	seed    maphash.Seed
	tenures [64]tenure // of the keys written last, by hash
}

// A tenure is a time in which this process wrote a key again and again, without
// so much as a breath for others to get in.
type tenure struct {
	key              string
	since, last, met time.Time // met: when another process was quicker the last time
}

const (
	tenureLength = 50 * time.Millisecond
	breath       = 5 * time.Millisecond
)

// A line is the writers of one key: one that has its turn, and those who wait for it.
type line struct {
	waiting  []chan turn
	patience time.Duration
	progress time.Time // when the last one has written
}

type turn struct {
	last []byte
	rest time.Duration // to step back for
	err  error
}

// Enter waits until it is the caller's turn at key and returns what the writer before has left; nil if
// there was none. A turn ends with [Queue.Leave].
//
// A process that has been writing a key for a whole tenure steps back before its next turn, for a random
// part of patience: a two-hundredth at the most, a fiftieth where others have been met. Otherwise a process that is farther from the store, or slower,
// would find the key changed each time it comes, and starve.
//
// Whoever waits does so for as long as those before get on: it is ErrBusy if none of them has written for
// so long as patience, or at the time until, if that is not zero. If one of them could not reach what it
// writes to, its error is that of all who wait behind it: their own attempts would fail one after
// another, and the waits add up.
func (q *Queue) Enter(key string, patience time.Duration, until time.Time) (last []byte, err error) {
	q.mu.Lock()
	if q.lines == nil {
		q.lines, q.seed = map[string]*line{}, maphash.MakeSeed()
	}
	l := q.lines[key]
	if l == nil {
		q.lines[key] = &line{patience: patience, progress: time.Now()}
		rest := q.rest(key, patience)
		q.mu.Unlock()
		time.Sleep(rest)
		return nil, nil
	}
	ready := make(chan turn, 1)
	l.waiting = append(l.waiting, ready)
	wait := l.left(patience, until)
	q.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case t := <-ready:
			time.Sleep(t.rest)
			return t.last, t.err
		case <-timer.C:
		}
		q.mu.Lock()
		wait = l.left(patience, until)
		if i := slices.Index(l.waiting, ready); i >= 0 && wait <= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			q.mu.Unlock()
			return nil, ErrBusy
		}
		q.mu.Unlock()
		timer.Reset(max(wait, 0)) // or it is our turn just now
	}
}

// rest ends this process's tenure of key if it has been one, and says how long
// it is to step back: longer where others are known to want the key.
func (q *Queue) rest(key string, patience time.Duration) time.Duration {
	t := q.tenure(key)
	now := time.Now()
	if t.key != key || now.Sub(t.last) > breath || now.Sub(t.since) < tenureLength {
		return 0
	}
	most := patience / 200
	if now.Sub(t.met) < patience {
		most = patience / 50
	}
	*t = tenure{key: key, met: t.met}
	return rand.N(most + 1)
}

func (q *Queue) tenure(key string) *tenure {
	return &q.tenures[maphash.String(q.seed, key)%uint64(len(q.tenures))]
}

func (l *line) left(patience time.Duration, until time.Time) time.Duration {
	wait := time.Until(l.progress.Add(patience))
	if !until.IsZero() {
		wait = min(wait, time.Until(until))
	}
	return wait
}

// Leave ends the turn at key. The next one gets last; wrote says that it was written just now, met that
// another process has been quicker in between. With an err there is no next one: it goes to all who wait.
func (q *Queue) Leave(key string, last []byte, wrote, met bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	if wrote {
		now, t := time.Now(), q.tenure(key)
		if t.key != key {
			*t = tenure{key: key}
		}
		if now.Sub(t.last) > breath {
			t.since = now
		}
		if met {
			t.met = now
		}
		l.progress, t.last = now, now
	}
	if err == nil && len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		next <- turn{last: last, rest: q.rest(key, l.patience)}
		return
	}
	delete(q.lines, key)
	for _, ready := range l.waiting {
		ready <- turn{err: err}
	}
}
