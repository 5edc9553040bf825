package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What an interval's call takes on a real server. ns/op is the interval, and says nothing.
func BenchmarkInterval(b *testing.B) {
	for _, sessionCount := range []int{1, 100, 10_000} {
		for _, size := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("%d sessions of %d bytes", sessionCount, size), func(b *testing.B) {
				h := newHost[visit](b, kit.RedisStore(redistest.Start(b).Client(b)), sessions.Config{WatchInterval: 50 * time.Millisecond})
				ctx := b.Context()
				var began time.Time
				var took time.Duration
				h.store.Before = func(op, _ string) error {
					if op == "LoadMany" {
						began = time.Now()
					}
					return nil
				}
				rounds := make(chan struct{})
				h.store.After = func(op, _ string) error {
					if op == "LoadMany" {
						took += time.Since(began)
						select {
						case rounds <- struct{}{}:
						case <-ctx.Done():
						}
					}
					return nil
				}
				note := strings.Repeat("n", size)
				for range sessionCount {
					loaded, err := h.mine.Load(ctx, h.edit("", func(v *visit) { v.Note = note }))
					kit.Must(b, err)
					h.mine.Watch(loaded)
				}
				<-rounds
				took = 0
				n := 0
				for b.Loop() {
					<-rounds
					n++
				}
				perRound := float64(took.Microseconds()) / float64(n)
				b.ReportMetric(perRound, "µs/interval")
				b.ReportMetric(perRound/float64(sessionCount), "µs/session")
			})
		}
	}
}
