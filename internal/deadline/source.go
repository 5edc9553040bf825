package deadline

import (
	"context"
	"sync"
	"time"
)

// A Source makes contexts of one timeout that share their timers: those that
// begin within a hundredth of the timeout have one, so that a context costs one
// allocation and no timer of its own.
type Source struct {
	Timeout time.Duration

	mu    sync.Mutex
	done  chan struct{}
	until time.Time // who begins before shares done
}

// Context returns a child of parent for an operation that only its deadline can
// interrupt. Deadline is exact: the end of Timeout or the parent's
// own. Done is closed by then or up to a hundredth of Timeout later, and not
// when the parent is cancelled; Err tells that at once. A parent whose deadline
// is nearer than that is returned itself.
func (s *Source) Context(parent context.Context) context.Context {
	now, share := time.Now(), s.Timeout/100
	c := &coarse{Context: parent, at: now.Add(s.Timeout)}
	if at, ok := parent.Deadline(); ok && at.Before(c.at) {
		if at.Before(c.at.Add(-share)) {
			return parent
		}
		c.at = at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.until) {
		done := make(chan struct{})
		time.AfterFunc(s.Timeout+share, func() { close(done) })
		s.done, s.until = done, now.Add(share)
	}
	c.done = s.done
	return c
}

type coarse struct {
	context.Context
	at   time.Time
	done chan struct{}
}

func (c *coarse) Deadline() (time.Time, bool) { return c.at, true }

func (c *coarse) Done() <-chan struct{} { return c.done }

func (c *coarse) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.at) {
		return context.DeadlineExceeded
	}
	return nil
}
