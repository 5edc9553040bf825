package races_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A limited store has a Timeout, and takes its time for a swap.
type limited struct {
	sessions.Store
	timeout, swap time.Duration
}

func (s *limited) Timeout() time.Duration { return s.timeout }

func (s *limited) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	select {
	case <-time.After(s.swap):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

func wantConflict(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
		t.Errorf("%s = %v, want ErrConflict", what, err)
	}
}

func TestOutOfTime(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"Renew", "Destroy"} {
		kit.Bubble(t, "C11 a "+verb+" that others keep overtaking ends in ErrConflict and leaves their data", func(t *testing.T) {
			const timeout, delay = time.Second, 300 * time.Millisecond
			inner := kit.Memory()
			store := &kit.Store{Store: &limited{inner, timeout, 0}}
			m, other := kit.New[kit.Session](t, store, sessions.Config{}), kit.New[kit.Session](t, inner, sessions.Config{})
			token := kit.MustRequest(t, other, "", kit.Put(other, "ann"))
			ctx, s := kit.Load(t, m, token)
			s.UserID = "mine"

			// Somebody else always gets there first, and the store's answer takes a while.
			n := 0
			theirs := func() string { return fmt.Sprint("other", n) }
			store.Before = func(op, _ string) error {
				if op == "CompareAndSwap" {
					n++
					kit.Edit(t, other, token, func(s *kit.Session) { s.UserID = theirs() })
				}
				return nil
			}
			store.After = func(op, _ string) error {
				if op == "CompareAndSwap" {
					time.Sleep(delay)
				}
				return nil
			}
			start := time.Now()
			err := kit.Call(m, ctx, verb)
			wantConflict(t, verb, err)
			if took := time.Since(start); took > timeout+delay || took < timeout/2 {
				t.Errorf("it took %v with %v of time", took, timeout)
			}
			if got, want := kit.Stored(t, other, token).UserID, theirs(); got != want {
				t.Errorf("stored is %q, want %q", got, want)
			}
		})
	}
}

func TestOutOfTimeOfASlowStore(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "C11 saves that others keep overtaking end in ErrConflict for the writer and for who waits behind it: a store that answers, slowly, is not unavailable", func(t *testing.T, c sessions.Codec) {
		inner := kit.Memory()
		m := kit.New[kit.Session](t, &limited{inner, 100 * time.Millisecond, 30 * time.Millisecond}, sessions.Config{Codec: c})
		other := kit.New[kit.Session](t, inner, sessions.Config{Codec: c})
		token := kit.MustRequest(t, other, "", kit.Put(other, "ann"))
		writer, s := kit.Load(t, m, token)
		s.Flash = "mine"
		waiter, s := kit.Load(t, m, token)
		s.UserID = "mine"

		var others, writers sync.WaitGroup
		stop := make(chan struct{})
		others.Go(func() {
			for tick := time.NewTicker(5 * time.Millisecond); ; {
				select {
				case <-stop:
					tick.Stop()
					return
				case <-tick.C:
					kit.Edit(t, other, token, func(s *kit.Session) { s.Views++ })
				}
			}
		})
		for _, ctx := range []context.Context{writer, waiter} {
			writers.Go(func() { wantConflict(t, "Save", m.Save(ctx)) })
			synctest.Wait() // the one writes, the other waits for its turn
		}
		writers.Wait()
		close(stop)
		others.Wait()
		if got := kit.Stored(t, other, token); got.Flash != "" || got.UserID != "ann" || got.Views == 0 {
			t.Errorf("stored is %+v", got)
		}
	})
}
