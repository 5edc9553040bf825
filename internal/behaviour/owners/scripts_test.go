package owners_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A call is one of a session's, beside which its user has another one of that ID.
type call struct {
	name       string
	f          func(ctx context.Context, m *manager, other string) error
	mine, also bool // which of the two are alive when it has been done
}

var calls = []call{
	{"Save", func(ctx context.Context, m *manager, _ string) error { m.FromContext(ctx).Views++; return m.Save(ctx) }, true, true},
	{"Update", func(ctx context.Context, m *manager, _ string) error { return m.Update(ctx, count) }, true, true},
	{"Renew", func(ctx context.Context, m *manager, _ string) error { return m.Renew(ctx) }, true, true},
	{"Reauthenticate", func(ctx context.Context, m *manager, _ string) error { return m.Reauthenticate(ctx) }, true, true},
	{"Sessions", func(ctx context.Context, m *manager, _ string) error { _, err := m.Sessions(ctx); return err }, true, true},
	{"SessionsOf", func(ctx context.Context, m *manager, _ string) error { _, err := m.SessionsOf(ctx, "ann"); return err }, true, true},
	{"UpdateAll", func(ctx context.Context, m *manager, _ string) error { return m.UpdateAll(ctx, "ann", count) }, true, true},
	{"Revoke", func(ctx context.Context, m *manager, other string) error { return m.Revoke(ctx, "ann", other) }, true, false},
	{"RevokeOthers", func(ctx context.Context, m *manager, _ string) error { _, err := m.RevokeOthers(ctx); return err }, true, false},
	{"Revoke of its own", func(ctx context.Context, m *manager, _ string) error { return m.Revoke(ctx, "ann", m.Info(ctx).ID) }, false, true},
	{"Destroy", func(ctx context.Context, m *manager, _ string) error { return m.Destroy(ctx) }, false, true},
	{"RevokeAll", func(ctx context.Context, m *manager, _ string) error { _, err := m.RevokeAll(ctx, "ann"); return err }, false, false},
}

// eachCall runs each call on two sessions of ann's, after prepare, and hands on what has become of them.
func eachCall(t *testing.T, rdb *redis.Client, name string, prepare func(t *testing.T), check func(t *testing.T, c call, m *manager, err error, mine, other string)) {
	for _, c := range calls {
		t.Run(name+": "+c.name, func(t *testing.T) {
			kit.Must(t, rdb.FlushAll(t.Context()).Err())
			before := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{})
			ann := func(s *session) { s.User = "ann" }
			token, other := begin(t, before, ann), begin(t, before, ann)
			ctx, _ := kit.Load(t, before, other)
			m := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{}) // it has seen neither on the index
			prepare(t)
			o, err := kit.Request(t.Context(), m, token, func(reqCtx context.Context) error {
				return c.f(reqCtx, m, before.Info(ctx).ID)
			})
			if o.Kind == sessions.OutcomeRenewed {
				token = o.Token.Reveal()
			}
			check(t, c, m, err, token, other)
		})
	}
}

func TestScriptFlush(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run(b.Version, func(t *testing.T) {
			t.Parallel()
			rdb := b.Start(t).Client(t)
			flush := func(t *testing.T) { kit.Must(t, rdb.ScriptFlush(t.Context()).Err()) }
			eachCall(t, rdb, "F4 a verb after SCRIPT FLUSH does what it does", flush, func(t *testing.T, c call, m *manager, err error, mine, other string) {
				kit.Must(t, err)
				flush(t)
				if kit.Alive(t, m, mine) != c.mine || kit.Alive(t, m, other) != c.also {
					t.Errorf("alive are its own: %t, and the other: %t", !c.mine, !c.also)
				}
			})
		})
	}
}

// Where another program's value is in the place of the index, sessions go on and can be signed out. What needs the index
// says so, and leaves them and that value alone.
func TestIndexIsAnothers(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run(b.Version, func(t *testing.T) {
			t.Parallel()
			rdb := b.Start(t).Client(t)
			key := "session:" + indexOf("ann")
			for kind, put := range map[string]func(ctx context.Context) error{
				"string": func(ctx context.Context) error { return rdb.Set(ctx, key, "SECRET", time.Hour).Err() },
				"list":   func(ctx context.Context) error { return rdb.LPush(ctx, key, "SECRET").Err() },
				"hash":   func(ctx context.Context) error { return rdb.HSet(ctx, key, "SECRET", "SECRET").Err() },
			} {
				dump := ""
				replace := func(t *testing.T) {
					kit.Must(t, rdb.Del(t.Context(), key).Err())
					kit.Must(t, put(t.Context()))
					dump = rdb.Dump(t.Context(), key).Val()
				}
				eachCall(t, rdb, "F5 F6 the index is another program's "+kind, replace, func(t *testing.T, c call, m *manager, err error, mine, other string) {
					if works := c.name == "Save" || c.name == "Update"; works {
						kit.Must(t, err)
					} else if !errors.Is(err, sessions.ErrUnavailable) || !redis.HasErrorPrefix(err, "WRONGTYPE") || !strings.Contains(err.Error(), "another program's") || strings.Contains(err.Error(), "SECRET") {
						t.Errorf("the error is %v", err)
					}
					destroys := c.name == "Destroy" || c.name == "Revoke of its own"
					if kit.Alive(t, m, mine) == destroys || !kit.Alive(t, m, other) {
						t.Errorf("alive are its own: %t, and the other: %t", destroys, kit.Alive(t, m, other))
					}
					if rdb.Dump(t.Context(), key).Val() != dump {
						t.Error("the other program's value was changed")
					}
					kit.Must(t, rdb.Del(t.Context(), key).Err())
					later := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{})
					if !kit.Alive(t, later, other) {
						t.Error("the other one is not alive when there is room again")
					}
					if n, err := later.RevokeAll(t.Context(), "ann"); n == 0 || err != nil || kit.Alive(t, later, other) {
						t.Errorf("when there is room again RevokeAll has ended %d, %v", n, err)
					}
				})
			}
		})
	}
}
