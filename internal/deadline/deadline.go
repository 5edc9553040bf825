// Package deadline has a context with a deadline that costs nothing until
// somebody waits for it.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Context is a context with a deadline. Its timer is made by the first Done: a
// caller that looks at Err and Deadline alone, because the answer is there or
// the deadline is set on a socket, does without one. The zero value must be started
// before it is used, once.
type Context struct {
	context.Context
	at time.Time

	mu     sync.Mutex
	timer  context.Context
	cancel context.CancelFunc
}

// stopped is the timer of a Context that was stopped without one.
var stopped = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Start makes c a child of parent that ends after d.
func (c *Context) Start(parent context.Context, d time.Duration) *Context {
	c.Context, c.at = parent, time.Now().Add(d)
	if at, ok := parent.Deadline(); ok && at.Before(c.at) {
		c.at = at
	}
	return c
}

// Deadline returns the nearer one of c's and its parent's.
func (c *Context) Deadline() (time.Time, bool) { return c.at, true }

// Done returns a channel that is closed when the deadline has passed, the
// parent is done, or Stop was called.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		c.timer, c.cancel = context.WithDeadline(c.Context, c.at)
	}
	return c.timer.Done()
}

// Err returns why c is done, nil as long as it is not.
func (c *Context) Err() error {
	c.mu.Lock()
	timer := c.timer
	c.mu.Unlock()
	switch {
	case timer != nil:
		return timer.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case !time.Now().Before(c.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Stop ends c and frees its timer.
func (c *Context) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cancel != nil:
		c.cancel()
	case c.timer == nil:
		c.timer = stopped
	}
}
