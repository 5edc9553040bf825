package owners_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What docs/request.md says of the verbs of a user's sessions.
func TestCommandsOfVerbs(t *testing.T) {
	t.Parallel()
	const list = "zrange, get, pttl, get, pttl, get, pttl"
	for _, row := range []struct {
		name, want string
		verb       func(ctx context.Context, m *manager, others []string) error
	}{
		{"O1 the sessions are listed", list, func(ctx context.Context, m *manager, _ []string) error {
			_, err := m.Sessions(ctx)
			return err
		}},
		{"O4 one is ended", "zrange, evalsha", func(ctx context.Context, m *manager, others []string) error {
			return m.Revoke(ctx, "ann", others[0])
		}},
		{"O2 the others are ended", "zrange, evalsha, zrange, evalsha", func(ctx context.Context, m *manager, _ []string) error {
			_, err := m.RevokeOthers(ctx)
			return err
		}},
		{"O3 all are ended", "evalsha, zrange, evalsha, evalsha", func(ctx context.Context, m *manager, _ []string) error {
			_, err := m.RevokeAll(ctx, "ann")
			return err
		}},
		{"O13 all are changed", "evalsha, " + list + ", evalsha, evalsha", func(ctx context.Context, m *manager, _ []string) error {
			return m.UpdateAll(ctx, "ann", func(s *session) error { s.Views++; return nil })
		}},
	} {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			t.Run(row.name+": "+row.want, func(t *testing.T) {
				store, log, got := kit.RedisStore(rdb), &kit.Commands{}, ""
				rdb.AddHook(log)
				for range 2 { // the server knows the scripts from the first time on
					rdb.FlushDB(t.Context())
					m := kit.New[session](t, store, sessions.Config{})
					token := ""
					for range 3 {
						var err error
						token, err = signIn(m, "ann")
						kit.Must(t, err)
					}
					_, err := kit.Request(t.Context(), m, token, func(ctx context.Context) error {
						infos, err := m.Sessions(ctx)
						kit.Must(t, err)
						var others []string
						for _, i := range infos {
							if !i.Current {
								others = append(others, i.ID)
							}
						}
						log.Take()
						err = row.verb(ctx, m, others)
						got = log.Take()
						return err
					})
					kit.OK(t, err)
				}
				if got != row.want {
					t.Errorf("commands %q, want %q", got, row.want)
				}
			})
		})
	}
	t.Run("O1 a list costs the same beside 10,000 sessions of 1,000 other users", func(t *testing.T) {
		t.Parallel()
		rdb, log := redistest.Start(t).Client(t), &kit.Commands{}
		m := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{})
		for range 3 {
			_, err := signIn(m, "ann")
			kit.Must(t, err)
		}
		var crowd sync.WaitGroup
		for part := range 4 {
			crowd.Go(func() {
				for i := part; i < 10_000; i += 4 {
					_, err := signIn(m, fmt.Sprint(i%1000))
					kit.OK(t, err)
				}
			})
		}
		crowd.Wait()
		rdb.AddHook(log)
		infos, err := m.SessionsOf(t.Context(), "ann")
		if got := log.Take(); len(infos) != 3 || err != nil || strings.TrimSpace(got) != list {
			t.Errorf("%d sessions, %v, by %q", len(infos), err, got)
		}
	})
}
