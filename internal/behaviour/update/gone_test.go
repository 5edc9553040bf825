package update_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A script says what happens when an operation of the store, or fn, is come to
// for the nth time: "before CompareAndSwap 2", "fn 1".
type script struct {
	acts map[string]func()
	seen map[string]int
}

// newScript is one that a store follows. It is empty so far.
func newScript(store *kit.Store) *script {
	u := &script{map[string]func(){}, map[string]int{}}
	store.Before = func(op, _ string) error { return u.at("before " + op) }
	store.After = func(op, _ string) error { return u.at("after " + op) }
	return u
}

func (u *script) at(step string) error {
	u.seen[step]++
	step = fmt.Sprint(step, " ", u.seen[step])
	act := u.acts[step]
	delete(u.acts, step)
	if act != nil {
		act()
	}
	return nil
}

// An Update whose session has ended, or goes by another token, writes nothing,
// wherever it stands when that happens. internal/protocol has the other steps.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name      string
		step      string
		conflicts int // how many swaps another process has been quicker at before
		calls     int // of fn
	}{
		{"after its load", "", 0, 1},
		{"while fn runs on what was found at a conflict", "fn 2", 1, 2},
		{"before it looks again after two conflicts", "before Load 1", 2, 2},
	}
	ends := map[string]struct {
		verb string
		live int // sessions that are there afterwards
	}{
		"destroyed": {"Destroy", 0},
		"signed in": {"SignIn", 1},
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			for how, end := range ends {
				for _, row := range steps {
					t.Run("C1 C4 Update of a session that another process has "+how+" "+row.name+" is ErrGone", func(t *testing.T) {
						rdb.FlushAll(t.Context())
						p := newPair(t, kit.RedisStore(rdb), sessions.Config{Codec: c}, kit.Session{UserID: "ann"})
						renewed := p.token
						ctx, s := p.load()
						s.Flash = "mine"
						script := newScript(p.store)
						for n := range row.conflicts {
							script.acts[fmt.Sprint("before CompareAndSwap ", n+1)] = func() {
								p.elsewhere(func(s *kit.Session) { s.UserID = fmt.Sprint("other", n) })
							}
						}
						act := func() { renewed = kit.Verb(t, p.other, p.token, end.verb) }
						if script.acts[row.step] = act; row.step == "" {
							act()
						}
						calls := 0
						update := func(s *kit.Session) error {
							calls++
							s.Views, s.UserID = 99, "lost"
							return script.at("fn")
						}
						kit.WantErr(t, "Update", p.mine.Update(ctx, update), sessions.ErrGone)
						if s.Views != 0 || s.UserID != "ann" || s.Flash != "mine" {
							t.Errorf("*T is %+v", *s)
						}
						live := 0
						for _, k := range kit.Keys(t, rdb) {
							record := rdb.Get(t.Context(), k).Val()
							if strings.Contains(record, "lost") || strings.Contains(record, "mine") {
								t.Errorf("what Update would have stored is in the store: %q", record)
							}
							if !kit.IsMark(record) {
								live++
							}
						}
						if live != end.live {
							t.Errorf("%d sessions left, want %d", live, end.live)
						}
						if end.live > 0 && (renewed == p.token || !kit.Alive(t, p.other, renewed)) {
							t.Error("the renewed session does not live")
						}

						kit.WantErr(t, "the next Update", p.mine.Update(ctx, update), sessions.ErrGone)
						if calls != row.calls {
							t.Errorf("%d calls of fn, want %d", calls, row.calls)
						}
						o, err := p.mine.Commit(ctx)
						kit.WantErr(t, "Commit", err, sessions.ErrGone)
						if o.Kind != sessions.OutcomeUnchanged || o.Token != "" {
							t.Errorf("the client is told %v with a token: %v", o.Kind, o.Token != "")
						}
						kit.Must(t, p.mine.Destroy(ctx))
						kit.Must(t, p.mine.Update(ctx, viewed))
						o = kit.Commit(t, p.mine, ctx, sessions.OutcomeCreated)
						if kit.Alive(t, p.other, p.token) || kit.Alive(t, p.other, renewed) {
							t.Error("after Destroy and an Update the old session lives")
						}
						wantViews(t, p.other, o.Token.Reveal(), 1)
					})
				}
			}
		})
	})

	eachApp(t, "C4 Update by a request that came with a token renewed moments ago is ErrGone, creates nothing and sends no cookie", func(t *testing.T, a *kit.App) {
		token := a.Seed(1)
		renewed := kit.Verb(t, a.Manager, token, "Renew")
		a.Store.Calls()
		ctx, _ := kit.Load(t, a.Manager, token)
		kit.WantErr(t, "Update", a.Update(ctx, never(t)), sessions.ErrGone)
		if o, _ := a.Commit(ctx); o.Kind != sessions.OutcomeUnchanged {
			t.Errorf("outcome %v", o.Kind)
		}
		a.WantCalls(t, "it", "Load Load")
		wantViews(t, a.Manager, renewed, 1)
	})
}
