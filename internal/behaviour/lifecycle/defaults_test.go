package lifecycle_test

import (
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Greeted is a T whose fresh value is not zero.
type Greeted struct {
	Lang  string         `json:"lang"`
	Limit int            `json:"limit,omitempty"`
	Prefs map[string]int `json:"prefs"`
	Born  time.Time      `json:"born"`
}

func (g *Greeted) SessionDefaults() {
	*g = Greeted{Lang: "en", Limit: 10, Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}, Born: time.Now().UTC()}
}

func TestSessionDefaults(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		open := func(t *testing.T, cfg sessions.Config) (*sessions.Manager[Greeted], *kit.Store) {
			store := &kit.Store{Store: kit.Memory()}
			cfg.Codec = c
			return kit.New[Greeted](t, store, cfg), store
		}

		t.Run("L2 defaults alone are no change, though they differ from one visitor to the next", func(t *testing.T) {
			m, store := open(t, sessions.Config{})
			ctx, g := kit.Load(t, m)
			if g.Lang != "en" || g.Limit != 10 || g.Born.IsZero() {
				t.Errorf("fresh: %+v", g)
			}
			kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
			store.WantCalls(t, "a fresh T", "")
		})

		t.Run("L1 taking a default back to zero is a change, and stays zero", func(t *testing.T) {
			m, _ := open(t, sessions.Config{})
			ctx, g := kit.Load(t, m)
			*g = Greeted{}
			o := kit.Commit(t, m, ctx, sessions.OutcomeCreated)
			if _, g := kit.Load(t, m, o.Token.Reveal()); g.Lang != "" || g.Limit != 0 || len(g.Prefs) > 0 || !g.Born.IsZero() {
				t.Errorf("loaded: %+v: a stored record is decoded into a zero T", g)
			}
		})

		t.Run("L11 a destroyed session has its defaults again, and they are no change", func(t *testing.T) {
			m, store := open(t, sessions.Config{})
			ctx, g := kit.Load(t, m)
			g.Lang = "de"
			kit.Commit(t, m, ctx)
			kit.OK(t, m.Destroy(ctx))
			if g.Lang != "en" || m.FromContext(ctx) != g {
				t.Errorf("after Destroy: %+v", g)
			}
			store.Calls()
			kit.Commit(t, m, ctx, sessions.OutcomeDestroyed)
			store.WantCalls(t, "the fresh T", "")
		})

		t.Run("L8 SaveUninitialized stores the defaults", func(t *testing.T) {
			m, store := open(t, sessions.Config{SaveUninitialized: true})
			ctx, _ := kit.Load(t, m)
			o := kit.Commit(t, m, ctx, sessions.OutcomeCreated)
			store.WantCalls(t, "an unchanged new session", "Create")
			if _, g := kit.Load(t, m, o.Token.Reveal()); g.Lang != "en" || g.Prefs["d"] != 4 {
				t.Errorf("loaded: %+v", g)
			}
		})
	})
}
