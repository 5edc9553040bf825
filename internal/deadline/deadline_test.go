package deadline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions/internal/deadline"
)

type key struct{}

func TestContext(t *testing.T) {
	for _, test := range []struct {
		name string
		wait bool // somebody has asked for Done before
		end  func(c *deadline.Context, cancel context.CancelFunc)
		want error
	}{
		{"nothing happens", false, func(*deadline.Context, context.CancelFunc) {}, nil},
		{"nothing happens, awaited", true, func(*deadline.Context, context.CancelFunc) {}, nil},
		{"the time passes", false, func(*deadline.Context, context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"the time passes, awaited", true, func(*deadline.Context, context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"the parent is cancelled", false, func(_ *deadline.Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"the parent is cancelled, awaited", true, func(_ *deadline.Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"it is stopped", false, func(c *deadline.Context, _ context.CancelFunc) { c.Stop() }, context.Canceled},
		{"it is stopped, awaited", true, func(c *deadline.Context, _ context.CancelFunc) { c.Stop() }, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, 1))
				defer cancel()
				var d deadline.Context
				c := d.Start(parent, time.Second)
				defer c.Stop()
				if at, ok := c.Deadline(); !ok || time.Until(at) != time.Second {
					t.Errorf("Deadline %v, %v", at, ok)
				}
				if c.Value(key{}) != 1 {
					t.Error("Value does not reach the parent")
				}
				if test.wait {
					c.Done()
				}
				test.end(c, cancel)
				synctest.Wait()
				if got := c.Err(); got != test.want {
					t.Errorf("Err %v, want %v", got, test.want)
				}
				select {
				case <-c.Done():
					if test.want == nil {
						t.Error("Done is closed")
					}
				default:
					if test.want != nil {
						t.Error("Done is open")
					}
				}
				if got := c.Err(); got != test.want {
					t.Errorf("Err %v after Done, want %v", got, test.want)
				}
				// A child is where a Done without an Err would panic.
				child, cancelChild := context.WithTimeout(c, time.Hour)
				defer cancelChild()
				if got := child.Err(); got != test.want {
					t.Errorf("a child's Err %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestNearerParent(t *testing.T) {
	parent, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want, _ := parent.Deadline()
	var d deadline.Context
	if got, _ := d.Start(parent, time.Hour).Deadline(); got != want {
		t.Errorf("Deadline %v, want the parent's %v", got, want)
	}
}

func TestAllocations(t *testing.T) {
	var d deadline.Context
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		d = deadline.Context{}
		c := d.Start(ctx, time.Second)
		if c.Err() != nil {
			t.Error(c.Err())
		}
		c.Stop()
	}); n != 0 {
		t.Errorf("%v allocations, want none as long as nobody waits", n)
	}
}

func TestSource(t *testing.T) {
	const timeout = time.Second
	t.Run("it ends by itself, a hundredth late at the most", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &deadline.Source{Timeout: timeout}
			for _, wait := range []time.Duration{0, timeout / 150, timeout / 150, 3 * timeout} {
				time.Sleep(wait)
				start := time.Now()
				c := s.Context(t.Context())
				if at, ok := c.Deadline(); !ok || at.Sub(start) != timeout {
					t.Errorf("Deadline after %v, want %v", at.Sub(start), timeout)
				}
				if err := c.Err(); err != nil {
					t.Errorf("Err %v at the start", err)
				}
				<-c.Done()
				if took := time.Since(start); took < timeout || took > timeout+timeout/100 {
					t.Errorf("done after %v, want %v to a hundredth more", took, timeout)
				}
				if err := c.Err(); err != context.DeadlineExceeded {
					t.Errorf("Err %v at the end", err)
				}
			}
		})
	})
	t.Run("the parent's nearer deadline is its own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, nearer := range []time.Duration{timeout / 2, timeout - timeout/200} {
				start := time.Now()
				parent, cancel := context.WithTimeout(t.Context(), nearer)
				c := (&deadline.Source{Timeout: timeout}).Context(parent)
				want, _ := parent.Deadline()
				if at, _ := c.Deadline(); at != want {
					t.Errorf("Deadline %v, want %v", at, want)
				}
				<-c.Done()
				if took := time.Since(start); took < nearer || took > nearer+timeout/50 {
					t.Errorf("done after %v, want %v to a fiftieth of the timeout more", took, nearer)
				}
				cancel()
			}
		})
	})
	t.Run("a cancelled parent is told by Err", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			c := (&deadline.Source{Timeout: timeout}).Context(parent)
			cancel()
			if err := c.Err(); err != context.Canceled {
				t.Errorf("Err %v", err)
			}
			<-c.Done()
		})
	})
	t.Run("one allocation, no timer of its own", func(t *testing.T) {
		s := &deadline.Source{Timeout: time.Hour}
		ctx := t.Context()
		s.Context(ctx)
		if n := testing.AllocsPerRun(100, func() { s.Context(ctx).Done() }); n > 1 {
			t.Errorf("%v allocations, want 1", n)
		}
	})
}
