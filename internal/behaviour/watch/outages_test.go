package watch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// An outage ends nobody, and is one event.
func TestOutages(t *testing.T) {
	t.Parallel()
	all := []string{"before LoadMany", "before Load", "before Members"}
	for _, s := range stores {
		kit.Bubble(t, "O16 an outage ends no watch, and what has ended meanwhile ends within an interval after it, on "+s.name, func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{IdleTimeout: -1, Lifetime: time.Hour}, s.edit)
			token := h.edit("", user("ann"))
			gone, stop := h.watch(token)
			defer stop()
			stays, stop := h.watch(h.edit("", user("bob")))
			defer stop()
			h.store.Fail(sessions.ErrUnavailable, all...)
			h.verb(token, "Destroy")
			wantGoingOn(t, gone, 10*time.Minute)
			h.store.Heal()
			wantEnd(t, gone, interval)
			wantGoingOn(t, stays, 10*time.Minute)
		})

		kit.Bubble(t, "O16 a store that does not answer is asked again after its Timeout, on "+s.name, func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{}, s.edit)
			token := h.edit("", user("ann"))
			ctx, stop := h.watch(token)
			defer stop()
			g := h.store.At("before " + s.asks)
			g.Wait()
			h.verb(token, "Destroy")
			wantGoingOn(t, ctx, time.Minute)
			g.Open()
			wantEnd(t, ctx, interval+1)
		})

		kit.Bubble(t, "O16 an outage that only the watch sees is told twice, on "+s.name, func(t *testing.T) {
			h := newHost[account](t, kit.Memory(), sessions.Config{}, s.edit)
			for range 40 {
				_, stop := h.watch(h.edit("", user("ann")))
				defer stop()
			}
			h.events.Take()
			h.store.Fail(sessions.ErrUnavailable, all...)
			time.Sleep(time.Minute)
			h.store.Heal()
			time.Sleep(time.Minute)
			events := h.events.Take()
			kinds := make([]sessions.EventKind, len(events))
			for i, e := range events {
				if kinds[i] = e.Kind; e.Op != "watch" {
					t.Errorf("an event of %q, want watch", e.Op)
				}
			}
			if want := []sessions.EventKind{sessions.EventUnavailable, sessions.EventRecovered}; !slices.Equal(kinds, want) {
				t.Errorf("events %v, want %v", kinds, want)
			}
		})
	}
}
