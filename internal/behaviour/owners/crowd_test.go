package owners_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A user with very many sessions, as an account that a robot uses has, costs nobody more than a few long commands.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const crowd = 5000
	rdb, log := redistest.Start(t).Client(t), &kit.Commands{}
	store := kit.RedisStore(rdb)
	m := kit.New[session](t, store, sessions.Config{})
	limited := kit.New[session](t, store, sessions.Config{MaxPerOwner: 3})
	fill := func(t *testing.T) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range crowd / 4 {
					_, err := signIn(m, "ann")
					kit.OK(t, err)
				}
			})
		}
		all.Wait()
	}
	rdb.AddHook(log)
	fill(t)
	for _, row := range []struct {
		name    string
		f       func(ctx context.Context) (n int, err error)
		n       int
		scripts int // at most
	}{
		{"O1 SessionsOf reads them once", func(ctx context.Context) (int, error) {
			infos, err := m.SessionsOf(ctx, "ann")
			return len(infos), err
		}, crowd, 0},
		{"O13 UpdateAll changes each by one command", func(ctx context.Context) (n int, err error) {
			err = m.UpdateAll(ctx, "ann", func(s *session) error { n++; s.Views++; return nil })
			return n, err
		}, crowd, crowd},
		{"O3 RevokeAll ends a thousand by a command", func(ctx context.Context) (int, error) { return m.RevokeAll(ctx, "ann") }, crowd, 1 + crowd/1000},
		{"O9 a limit that comes later leaves as many as it allows", func(ctx context.Context) (int, error) {
			fill(t)
			log.Take()
			_, err := signIn(limited, "ann")
			kit.Must(t, err)
			infos, err := m.SessionsOf(ctx, "ann")
			return len(infos), err
		}, 3, 3 + 2*crowd/1000},
	} {
		t.Run(row.name, func(t *testing.T) {
			log.Take()
			began := time.Now()
			n, err := row.f(t.Context())
			took := time.Since(began).Round(time.Millisecond)
			commands := map[string]int{}
			for name := range strings.SplitSeq(log.Take(), ", ") {
				commands[name]++
			}
			t.Logf("%d sessions, in %v: %v", n, took, commands)
			scripts := commands["evalsha"]
			if n != row.n || err != nil || scripts > row.scripts || commands["zrange"] > 3 || commands["get"] > crowd {
				t.Errorf("%d sessions, %v, by %v; want %d by %d scripts", n, err, commands, row.n, row.scripts)
			}
		})
	}
}
