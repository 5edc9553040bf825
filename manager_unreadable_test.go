package sessions_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// spoil puts other bytes in the place of a token's record. Those of "" are nil.
func spoil(t *testing.T, store sessions.Store, token, record string) {
	t.Helper()
	must(t, store.Delete(t.Context(), keyOf(token)))
	must(t, store.Create(t.Context(), keyOf(token), append([]byte(nil), record...), time.Hour))
}

// A record can become unreadable while a request is on its way.
func TestSpoiltMeanwhile(t *testing.T) {
	for name, verb := range map[string]func(*sessions.Manager[Session], context.Context) error{
		"Reload": (*sessions.Manager[Session]).Reload,
		"Touch":  (*sessions.Manager[Session]).Touch,
	} {
		t.Run("K6 a "+name+" that finds an unreadable record tells of that, not of a save that failed", func(t *testing.T) {
			b := newBench(t, sessions.Config{})
			token := b.seeded(1)
			ctx, err := b.Load(t.Context(), token)
			must(t, err)
			spoil(t, b.store.Store, token, recordOf("json", `{"views":"x"}`))
			if _, ok := errors.AsType[*sessions.DecodeError](verb(b.Manager, ctx)); !ok {
				t.Error("want a DecodeError")
			}
			b.wantEvents(t, sessions.EventUndecodable)
		})
	}
}

// A value that is empty has no prefix to be told by.
func TestDestroyOfAnEmptyRecord(t *testing.T) {
	destroy := func(t *testing.T, inner sessions.Store) {
		calls := 0
		store := &stepStore{Store: inner}
		m := mustNew(t, store, sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		spoil(t, inner, token, "")
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		enough := errors.New("it does not end")
		store.before = func(string, string) error {
			if calls++; calls > 4 {
				return enough
			}
			return nil
		}
		must(t, m.Destroy(ctx))
		if _, _, err := inner.Load(t.Context(), keyOf(token), 0); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Load = %v, want ErrNotFound", err)
		}
	}
	t.Run("L10 K6 Destroy deletes an empty record, in memory", func(t *testing.T) { destroy(t, memory()) })
	t.Run("L10 K6 Destroy deletes an empty record", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			destroy(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{}))
		})
	})
}
