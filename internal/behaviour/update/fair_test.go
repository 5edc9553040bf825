package update_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A distant store takes the same time to get to and to come back from.
type distant struct {
	sessions.Store
	way time.Duration
}

func (s distant) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	time.Sleep(s.way)
	defer time.Sleep(s.way)
	return s.Store.Load(ctx, key, touch)
}

func (s distant) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	time.Sleep(s.way)
	defer time.Sleep(s.way)
	return s.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// runner is a process that updates one session in one request: in a tight loop, or
// at intervals. Where it is late it makes up for it at once.
type runner struct {
	m        *sessions.Manager[kit.Session]
	interval func() time.Duration
	waits    []time.Duration // of each Update that succeeded
	errs     []error
}

func (u *runner) run(t testing.TB, ctx context.Context, token string, span time.Duration) {
	ctx, err := u.m.Load(ctx, token)
	if err != nil {
		t.Error(err)
		return
	}
	next := time.Now()
	for end := next.Add(span); next.Before(end) && time.Now().Before(end); {
		if u.interval != nil {
			next = next.Add(u.interval())
			time.Sleep(time.Until(next))
		}
		start := time.Now()
		if err := u.m.Update(ctx, viewed); err != nil {
			u.errs = append(u.errs, err)
			continue
		}
		u.waits = append(u.waits, time.Since(start))
	}
}

// report logs how a runner fared.
func (u *runner) report(t testing.TB, name string) {
	t.Helper()
	slices.Sort(u.waits)
	at := func(per int) time.Duration {
		if len(u.waits) == 0 {
			return 0
		}
		return u.waits[min(len(u.waits)*per/1000, len(u.waits)-1)]
	}
	t.Logf("%s: %d Updates, %d errors; waits: median %v, 90 %% %v, 99 %% %v, longest %v",
		name, len(u.waits), len(u.errs), at(500), at(900), at(990), at(1000))
}

// The promise ends at two thousand writes a second of one session. That is one in
// a quarter of the time that the slow process needs from reading it to the swap.
func TestFairness(t *testing.T) {
	const span = 3 * time.Second // longer than the two seconds after which an Update ends in ErrConflict
	even := func(mean time.Duration) time.Duration { return mean }
	random := func(mean time.Duration) time.Duration { return rand.N(2 * mean) }
	for _, row := range []struct {
		name     string
		quick    int // processes, with 1,900 writes a second together
		interval func(mean time.Duration) time.Duration
	}{
		{"one that writes at even intervals", 1, even},
		{"three that write at even intervals", 3, even},
		{"three that write at random intervals", 3, random},
	} {
		if (testing.Short() || kit.RaceEnabled) && row.quick == 1 {
			continue
		}
		kit.Bubble(t, "C9 a process with a slow connection gets its turn beside "+row.name, func(t *testing.T) {
			store := kit.Memory()
			open := func(way time.Duration) *sessions.Manager[kit.Session] {
				return kit.New[kit.Session](t, distant{store, way}, sessions.Config{})
			}
			first := kit.New[kit.Session](t, store, sessions.Config{})
			token := kit.MustRequest(t, first, "", kit.Put(first, "ann"))
			runners := []*runner{{m: open(time.Millisecond)}}
			for range row.quick {
				runners = append(runners, &runner{
					m:        open(50 * time.Microsecond),
					interval: func() time.Duration { return row.interval(time.Duration(row.quick) * time.Second / 1900) },
				})
			}
			var all sync.WaitGroup
			for _, u := range runners {
				all.Go(func() { u.run(t, t.Context(), token, span) })
				time.Sleep(rand.N(time.Millisecond)) // of those at even intervals each has its phase
			}
			all.Wait()
			total, name := 0, "the slow one"
			for _, u := range runners {
				u.report(t, name)
				if len(u.errs) > 0 {
					t.Errorf("%s, %d errors: %v", name, len(u.errs), u.errs[0])
				}
				total, name = total+len(u.waits), "a quick one"
			}
			wantViews(t, first, token, total)
		})
	}
}
