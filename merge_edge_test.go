package sessions_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// A field of the msgpack codec may be read under its old name too.
type edgeStyle struct {
	Style string `msgpack:"style"`
	N     int    `msgpack:"n"`
}

type edgeTheme struct {
	Theme string `msgpack:"theme,omitempty,alias:style"`
	N     int    `msgpack:"n"`
}

func TestMergeOfAnAlias(t *testing.T) {
	t.Run("C7 K3 a field read under its alias and cleared stays cleared, whatever another request has written meanwhile", func(t *testing.T) {
		store, cfg := memory(), sessions.Config{Codec: sessions.MsgPack{}}
		older, m := newManager[edgeStyle](t, store, cfg), newManager[edgeTheme](t, store, cfg)
		ctx, err := older.Load(t.Context())
		must(t, err)
		older.FromContext(ctx).Style = "dark"
		o, err := older.Commit(ctx)
		must(t, err)
		token := o.Token.Reveal()

		ctx, err = m.Load(t.Context(), token)
		must(t, err)
		s := m.FromContext(ctx)
		if s.Theme != "dark" {
			t.Fatalf("*T is %+v", *s)
		}
		s.Theme = ""
		mergeEdit(t, older, token, func(s *edgeStyle) { s.N = 5 })
		must(t, m.Save(ctx))
		if got := mergeStored(t, m, token); got.Theme != "" || got.N != 5 {
			t.Errorf("stored is %+v, want no theme and 5", got)
		}
	})
}

type edgeRates struct {
	Rates map[string]float64 `json:"rates"`
}

func TestMergeOfInfinity(t *testing.T) {
	t.Run("K2 X4 what the other codec has stored and this one cannot write is an error of the save, never a nil that has stored nothing", func(t *testing.T) {
		store := memory()
		other := newManager[edgeRates](t, store, sessions.Config{Codec: sessions.MsgPack{}})
		m := newManager[edgeRates](t, store, sessions.Config{Codec: sessions.JSON{}})
		ctx, err := other.Load(t.Context())
		must(t, err)
		other.FromContext(ctx).Rates = map[string]float64{"limit": math.Inf(1), "n": 1}
		o, err := other.Commit(ctx)
		must(t, err)
		token := o.Token.Reveal()

		ctx, err = m.Load(t.Context(), token)
		must(t, err)
		s := m.FromContext(ctx)
		s.Rates["n"] = 2
		if err := m.Save(ctx); err == nil {
			t.Error("Save = nil")
		}
		if got := mergeStored(t, other, token); got.Rates["n"] != 1 || !math.IsInf(got.Rates["limit"], 1) {
			t.Errorf("stored is %+v after a save that failed", got)
		}
		s.Rates["limit"] = 3
		must(t, m.Save(ctx))
		if got := mergeStored(t, other, token); got.Rates["n"] != 2 || got.Rates["limit"] != 3 {
			t.Errorf("after it was mended stored is %+v", got)
		}
	})
}

// sluggish is a store that answers, but only after a while.
type sluggish struct {
	sessions.Store
	answers, budget time.Duration
}

func (s *sluggish) Timeout() time.Duration { return s.budget }

func (s *sluggish) wait(ctx context.Context) error {
	select {
	case <-time.After(s.answers):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sluggish) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

func TestOutOfTimeOfASlowStore(t *testing.T) {
	updateBubble(t, "C11 saves that others keep overtaking end in ErrConflict for the writer and for who waits behind it: a store that answers, slowly, is not unavailable", func(t *testing.T, c sessions.Codec) {
		store := memory()
		m := mustNew(t, &sluggish{store, 30 * time.Millisecond, 100 * time.Millisecond}, sessions.Config{Codec: c})
		other := mustNew(t, store, sessions.Config{Codec: c})
		token := mustRequest(t, other, "", put(other, "ann"))
		writer, err := m.Load(t.Context(), token)
		must(t, err)
		waiter, err := m.Load(t.Context(), token)
		must(t, err)

		var others, writers sync.WaitGroup
		stop := make(chan struct{})
		others.Go(func() {
			for tick := time.NewTicker(5 * time.Millisecond); ; {
				select {
				case <-stop:
					tick.Stop()
					return
				case <-tick.C:
					mergeEdit(t, other, token, func(s *Session) { s.Views++ })
				}
			}
		})
		m.FromContext(writer).Flash = "mine"
		m.FromContext(waiter).UserID = "mine"
		for _, ctx := range []context.Context{writer, waiter} {
			writers.Go(func() {
				if err := m.Save(ctx); !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("Save = %v, want ErrConflict", err)
				}
			})
			synctest.Wait() // the one writes, the other waits for its turn
		}
		writers.Wait()
		close(stop)
		others.Wait()
		if got := mergeStored(t, other, token); got.Flash != "" || got.UserID != "ann" || got.Views == 0 {
			t.Errorf("stored is %+v", got)
		}
	})
}
