package watch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// What the store is asked for, an interval.
func TestCost(t *testing.T) {
	t.Parallel()
	kit.Bubble(t, "O16 all watched sessions are one call an interval, each key once, and nobody's is none", func(t *testing.T) {
		const sessionCount, each = 1000, 10
		h := newHost[visit](t, kit.Memory(), sessions.Config{})
		var tokens []string
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for i := range sessionCount {
			tokens = append(tokens, h.edit("", func(v *visit) { v.User = fmt.Sprint("u", i) }))
			loaded, err := h.mine.Load(ctx, tokens[i])
			kit.Must(t, err)
			for range each {
				h.mine.Watch(loaded)
			}
		}
		h.store.Calls()
		time.Sleep(3*interval + interval/2)
		asked := h.store.Keys("LoadMany")
		h.store.WantCalls(t, "three intervals", "LoadMany LoadMany LoadMany")
		for _, keys := range asked {
			keys := strings.Fields(keys)
			slices.Sort(keys)
			if len(keys) != sessionCount || len(slices.Compact(keys)) != sessionCount {
				t.Errorf("a call for %d keys, want %d different ones", len(keys), sessionCount)
			}
		}
		h.verb(tokens[0], "Destroy")
		time.Sleep(interval)
		h.store.Calls()
		time.Sleep(interval)
		if keys := strings.Fields(h.store.Keys("LoadMany")[0]); len(keys) != sessionCount-1 {
			t.Errorf("%d keys after the end of one, want %d", len(keys), sessionCount-1)
		}
		cancel()
		synctest.Wait()
		h.store.Calls()
		time.Sleep(5 * interval)
		h.store.WantCalls(t, "none", "")
	})

	kit.Bubble(t, "O16 more sessions than one answer can have are several calls", func(t *testing.T) {
		h := newHost[visit](t, kit.Memory(), sessions.Config{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range 12_000 {
			loaded, err := h.mine.Load(ctx, h.edit("", func(v *visit) { v.User = "ann" }))
			kit.Must(t, err)
			h.mine.Watch(loaded)
		}
		h.store.Calls()
		time.Sleep(interval)
		synctest.Wait()
		h.store.WantCalls(t, "an interval", "LoadMany LoadMany")
	})

	for _, s := range stores {
		kit.Bubble(t, "O16 a watch is no activity, and writes nothing, on "+s.name, func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{IdleTimeout: time.Minute}, s.edit)
			token := h.edit("", user("ann"))
			ctx, stop := h.watch(token)
			defer stop()
			wantGoingOn(t, ctx, time.Minute-1)
			for call := range strings.FieldsSeq(h.store.Calls()) {
				if call != s.asks {
					t.Fatalf("a %s, want %s alone", call, s.asks)
				}
			}
			wantEnd(t, ctx, interval)
		})

		kit.Bubble(t, "O16 WatchInterval is the bound, on "+s.name, func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{WatchInterval: 300 * time.Millisecond}, s.edit)
			token := h.edit("", user("ann"))
			ctx, stop := h.watch(token)
			defer stop()
			time.Sleep(3001 * time.Millisecond)
			h.verb(token, "Destroy")
			if took := wantEnd(t, ctx, time.Second); took != 299*time.Millisecond {
				t.Errorf("it ended after %v, want 299ms", took)
			}
		})
	}
}
