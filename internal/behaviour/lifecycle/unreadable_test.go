package lifecycle_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A record can become unreadable while a request is on its way.
func TestUnreadableMeanwhile(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"Reload", "Touch"} {
		t.Run("K6 a "+verb+" that finds an unreadable record tells of that, not of a save that failed", func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			ctx, _ := kit.Load(t, a.Manager, token)
			kit.Place(t, a.Store.Store, token, kit.RecordOf("json", `{"views":"x"}`))
			if _, ok := errors.AsType[*sessions.DecodeError](kit.Call(a.Manager, ctx, verb)); !ok {
				t.Error("want a DecodeError")
			}
			a.WantEvents(t, sessions.EventUndecodable)
		})
	}
	for _, verb := range []string{"SignIn", "Remember"} {
		t.Run("L20 K6 a "+verb+" that finds an unreadable record leaves it and is a DecodeError", func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			token, record := a.Seed(1), kit.RecordOf("json", `{"views":"x"}`)
			ctx, _ := kit.Load(t, a.Manager, token)
			kit.Place(t, a.Store.Store, token, record)
			if _, ok := errors.AsType[*sessions.DecodeError](kit.Call(a.Manager, ctx, verb)); !ok {
				t.Error("want a DecodeError")
			}
			if live, _ := a.Store.Left(t); live != 1 || kit.RecordUnder(t, a.Store, token) != record {
				t.Errorf("%d records are left", live)
			}
		})
	}
}

// A value that is empty has no prefix to be told by.
func TestDestroyOfAnEmptyRecord(t *testing.T) {
	t.Parallel()
	destroy := func(t *testing.T, inner sessions.Store) {
		calls := 0
		store := &kit.Store{Store: inner}
		m := kit.New[kit.Session](t, store, sessions.Config{})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		kit.Place(t, inner, token, "")
		ctx, _ := kit.Load(t, m, token)
		enough := errors.New("it does not end")
		store.Before = func(string, string) error {
			if calls++; calls > 4 {
				return enough
			}
			return nil
		}
		kit.Must(t, m.Destroy(ctx))
		_, _, err := inner.Load(t.Context(), kit.KeyOf(token), 0)
		kit.WantErr(t, "Load", err, sessions.ErrNotFound)
	}
	t.Run("L10 K6 Destroy deletes an empty record, in memory", func(t *testing.T) { destroy(t, kit.Memory()) })
	t.Run("L10 K6 Destroy deletes an empty record", func(t *testing.T) {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			destroy(t, kit.RedisStore(rdb))
		})
	})
}
