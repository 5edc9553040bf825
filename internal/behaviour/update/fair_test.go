package update_test

import (
	"context"
	"errors"
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

// runner is a process that updates in a tight loop, in one request.
type runner struct {
	m     *sessions.Manager[kit.Session]
	waits []time.Duration // of each Update that succeeded
	errs  []error
}

func (u *runner) run(t testing.TB, ctx context.Context, token string, span time.Duration) {
	ctx, err := u.m.Load(ctx, token)
	if err != nil {
		t.Error(err)
		return
	}
	for end := time.Now().Add(span); time.Now().Before(end); {
		start := time.Now()
		if err := u.m.Update(ctx, func(s *kit.Session) error { s.Views++; return nil }); err != nil {
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

func TestUpdateFairness(t *testing.T) {
	span := 10 * time.Second
	if kit.RaceEnabled || testing.Short() { // some ninety thousand Updates
		span = 3 * time.Second
	}
	rows := []struct {
		name string
		ways []time.Duration // of the processes, the slow one first
	}{
		{"a quick one", []time.Duration{time.Millisecond, 50 * time.Microsecond}},
		{"three quick ones", []time.Duration{time.Millisecond, 50 * time.Microsecond, 50 * time.Microsecond, 50 * time.Microsecond}},
	}
	for _, row := range rows {
		kit.Bubble(t, "C9 a process with a slow connection gets its turn beside "+row.name, func(t *testing.T) {
			var store sessions.MemoryStore
			first := kit.New[kit.Session](t, &store, sessions.Config{})
			token := kit.MustRequest(t, first, "", kit.Put(first, "ann"))
			var runners []*runner
			var all sync.WaitGroup
			for _, way := range row.ways {
				u := &runner{m: kit.New[kit.Session](t, distant{&store, way}, sessions.Config{})}
				runners = append(runners, u)
				all.Go(func() { u.run(t, t.Context(), token, span) })
			}
			all.Wait()
			total := 0
			for i, u := range runners {
				if i == 0 {
					u.report(t, "the slow one")
				} else {
					u.report(t, "a quick one")
				}
				if err := errors.Join(u.errs...); err != nil {
					t.Errorf("process %d, %d errors: %v", i, len(u.errs), u.errs[0])
				}
				total += len(u.waits)
			}
			kit.MustRequest(t, first, token, func(ctx context.Context) error {
				if got := first.FromContext(ctx).Views; got != total {
					t.Errorf("%d views after %d Updates", got, total)
				}
				return nil
			})
		})
	}
}
