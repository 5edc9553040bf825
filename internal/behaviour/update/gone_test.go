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
						p := newPair(t, kit.RedisStore(rdb), sessions.Config{Codec: c}, state{Name: "ann"})
						renewed := p.token
						ctx, s := p.load()
						s.Tags = map[string]string{"a": "mine"}
						script := newScript(p.store)
						for n := range row.conflicts {
							script.acts[fmt.Sprint("before CompareAndSwap ", n+1)] = func() {
								p.elsewhere(func(s *state) { s.Name = fmt.Sprint("other", n) })
							}
						}
						act := func() { renewed = kit.Verb(t, p.other, p.token, end.verb) }
						if script.acts[row.step] = act; row.step == "" {
							act()
						}
						calls := 0
						update := func(s *state) error {
							calls++
							s.Views, s.Name = 99, "lost"
							return script.at("fn")
						}
						kit.WantErr(t, "Update", p.mine.Update(ctx, update), sessions.ErrGone)
						if s.Views != 0 || s.Name != "ann" || s.Tags["a"] != "mine" {
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
						kit.Must(t, p.mine.Update(ctx, count))
						o = kit.Commit(t, p.mine, ctx, sessions.OutcomeCreated)
						if kit.Alive(t, p.other, p.token) || kit.Alive(t, p.other, renewed) {
							t.Error("after Destroy and an Update the old session lives")
						}
						if got := kit.Stored(t, p.other, o.Token.Reveal()); got.Views != 1 {
							t.Errorf("stored is %+v", got)
						}
					})
				}
			}
		})
	})

	eachPair(t, "C4 Update by a request that came with a token renewed moments ago is ErrGone, creates nothing and sends no cookie", func(t *testing.T, p *pair[state]) {
		renewed := kit.Verb(t, p.other, p.token, "Renew")
		ctx, _ := kit.Load(t, p.mine, p.token)
		kit.WantErr(t, "Update", p.mine.Update(ctx, func(*state) error { t.Error("fn is called"); return nil }), sessions.ErrGone)
		if o, _ := p.mine.Commit(ctx); o.Kind != sessions.OutcomeUnchanged {
			t.Errorf("outcome %v", o.Kind)
		}
		p.store.WantCalls(t, "it", "Load Load")
		if p.token = renewed; p.stored().Views != 1 {
			t.Errorf("stored is %+v", p.stored())
		}
	})
}
