package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// An updateScript says what happens when an operation of the store, or fn, is
// come to for the nth time: "before CompareAndSwap 2", "fn 1".
type updateScript struct {
	acts map[string]func()
	seen map[string]int
}

func (u *updateScript) at(step string) error {
	u.seen[step]++
	step = fmt.Sprint(step, " ", u.seen[step])
	act := u.acts[step]
	delete(u.acts, step)
	if act != nil {
		act()
	}
	return nil
}

// scripted is a Manager whose store follows a script, which is empty so far.
func scripted(t *testing.T, store sessions.Store, cfg sessions.Config) (*sessions.Manager[Session], *updateScript) {
	u := &updateScript{}
	u.clear()
	steps := &stepStore{
		Store:  store,
		before: func(op, _ string) error { return u.at("before " + op) },
		after:  func(op, _ string) error { return u.at("after " + op) },
	}
	return mustNew(t, steps, cfg), u
}

func (u *updateScript) clear() { u.acts, u.seen = map[string]func(){}, map[string]int{} }

// An Update whose session has ended, or goes by another token, writes nothing,
// wherever it stands when that happens.
func TestUpdateOfASessionThatEnds(t *testing.T) {
	steps := []struct {
		name      string
		step      string
		conflicts int // how many swaps another process has been quicker at before
		calls     int // of fn
	}{
		{"after its load", "", 0, 1},
		{"while fn runs", "fn 1", 0, 1},
		{"before its swap", "before CompareAndSwap 1", 0, 1},
		{"after a conflict", "after CompareAndSwap 1", 1, 2},
		{"while fn runs on what was found at a conflict", "fn 2", 1, 2},
		{"before the swap after a conflict", "before CompareAndSwap 2", 1, 2},
		{"after a second conflict", "after CompareAndSwap 2", 2, 2},
		{"before it looks again after two conflicts", "before Load 1", 2, 2},
		{"after it has looked again", "after Load 1", 2, 3},
		{"before the swap after two conflicts", "before CompareAndSwap 3", 2, 3},
	}
	ends := map[string]struct {
		act  func(m *sessions.Manager[Session], ctx context.Context) error
		live int // sessions that are there afterwards
	}{
		"destroyed": {func(m *sessions.Manager[Session], ctx context.Context) error { return m.Destroy(ctx) }, 0},
		"renewed":   {func(m *sessions.Manager[Session], ctx context.Context) error { return m.Renew(ctx) }, 1},
		"signed in": {func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }, 1},
	}
	for how, end := range ends {
		for _, row := range steps {
			t.Run("C1 C4 Update of a session that another process has "+how+" "+row.name+" is ErrGone", func(t *testing.T) {
				eachRedis(t, func(t *testing.T, rdb *redis.Client) {
					eachCodec(t, func(t *testing.T, c sessions.Codec) {
						rdb.FlushAll(t.Context())
						m, script := scripted(t, redisStore(rdb), sessions.Config{Codec: c})
						other := mustNew(t, redisStore(rdb), sessions.Config{Codec: c})
						token := mustRequest(t, other, "", put(other, "ann"))
						renewed := token
						act := func() {
							renewed = mustRequest(t, other, token, func(ctx context.Context) error { return end.act(other, ctx) })
						}

						ctx, err := m.Load(t.Context(), token)
						must(t, err)
						s := m.FromContext(ctx)
						s.Flash = "mine"
						script.clear()
						for n := range row.conflicts {
							script.acts[fmt.Sprint("before CompareAndSwap ", n+1)] = func() { mustRequest(t, other, token, put(other, fmt.Sprint("other", n))) }
						}
						script.acts[row.step] = act
						if row.step == "" {
							act()
						}
						calls := 0
						update := func(s *Session) error {
							calls++
							s.Views, s.UserID = 99, "lost"
							return script.at("fn")
						}
						if err := m.Update(ctx, update); !errors.Is(err, sessions.ErrGone) || calls != row.calls {
							t.Errorf("Update = %v after %d calls of fn, want ErrGone after %d", err, calls, row.calls)
						}
						if s.Views != 0 || s.UserID != "ann" || s.Flash != "mine" {
							t.Errorf("*T is %+v", *s)
						}
						left := 0
						for _, k := range keys(t, rdb) {
							record := rdb.Get(t.Context(), k).Val()
							if strings.Contains(record, "lost") || strings.Contains(record, "mine") {
								t.Errorf("what Update would have stored is in the store: %q", record)
							}
							if !isMark(record) {
								left++
							}
						}
						if left != end.live {
							t.Errorf("%d sessions left, want %d", left, end.live)
						}
						if end.live > 0 && (renewed == token || !alive(t, other, renewed)) {
							t.Error("the renewed session does not live")
						}

						if err := m.Update(ctx, update); !errors.Is(err, sessions.ErrGone) || calls != row.calls {
							t.Errorf("the next Update = %v, and fn was called %d times more", err, calls-row.calls)
						}
						o, err := m.Commit(ctx)
						if o.Kind != sessions.OutcomeUnchanged || o.Token != "" || !errors.Is(err, sessions.ErrGone) {
							t.Errorf("the client is told %v with a token: %v; Commit = %v", o.Kind, o.Token != "", err)
						}
						must(t, m.Destroy(ctx))
						must(t, m.Update(ctx, viewed))
						o, err = m.Commit(ctx)
						must(t, err)
						if o.Kind != sessions.OutcomeCreated || alive(t, other, token) || alive(t, other, renewed) {
							t.Errorf("after Destroy an Update is %v, and the old session lives: %v", o.Kind, alive(t, other, renewed))
						}
						wantViews(t, other, o.Token.Reveal(), 1)
					})
				})
			})
		}
	}

	t.Run("C4 Update by a request that came with a token renewed moments ago is ErrGone, creates nothing and sends no cookie", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			b := newBench(t, sessions.Config{Codec: c})
			token := b.seed(1)
			renewed := mustRequest(t, b.Manager, token, b.Renew)
			b.ops.take()
			ctx, err := b.Load(t.Context(), token)
			must(t, err)
			err = b.Update(ctx, func(*Session) error {
				t.Error("fn is called")
				return nil
			})
			o, _ := b.Commit(ctx)
			if !errors.Is(err, sessions.ErrGone) || o.Kind != sessions.OutcomeUnchanged {
				t.Errorf("Update = %v, outcome %v", err, o.Kind)
			}
			if ops := b.ops.take(); !slices.Equal(ops, []string{"Load"}) {
				t.Errorf("store calls %v", ops)
			}
			wantViews(t, b.Manager, renewed, 1)
		})
	})
}
