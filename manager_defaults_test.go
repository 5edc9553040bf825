package sessions_test

import (
	"context"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
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
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		setup := func(t *testing.T, cfg sessions.Config) (*sessions.Manager[Greeted], *calls, func(token string) (context.Context, *Greeted)) {
			store, log := counted(&sessions.MemoryStore{})
			cfg.Codec = c
			m := newManager[Greeted](t, store, cfg)
			return m, log, func(token string) (context.Context, *Greeted) {
				t.Helper()
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				return ctx, m.FromContext(ctx)
			}
		}

		t.Run("L2 defaults alone are no change, though they differ from one visitor to the next", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{})
			ctx, g := load("")
			if g.Lang != "en" || g.Limit != 10 || g.Born.IsZero() {
				t.Errorf("fresh: %+v", g)
			}
			if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
				t.Errorf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "a fresh T", "")
		})

		t.Run("L1 taking a default back to zero is a change, and stays zero", func(t *testing.T) {
			m, _, load := setup(t, sessions.Config{})
			ctx, g := load("")
			*g = Greeted{}
			o, err := m.Commit(ctx)
			if err != nil || o.Kind != sessions.OutcomeCreated {
				t.Fatalf("Commit: %v, %v", o.Kind, err)
			}
			if _, g := load(o.Token.Reveal()); g.Lang != "" || g.Limit != 0 || len(g.Prefs) > 0 || !g.Born.IsZero() {
				t.Errorf("loaded: %+v: a stored record is decoded into a zero T", g)
			}
		})

		t.Run("L11 a destroyed session has its defaults again, and they are no change", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{})
			ctx, g := load("")
			g.Lang = "de"
			if _, err := m.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			do1(t, m.Destroy, ctx)
			if g.Lang != "en" || m.FromContext(ctx) != g {
				t.Errorf("after Destroy: %+v", g)
			}
			log.take()
			if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeDestroyed {
				t.Errorf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "the fresh T", "")
		})

		t.Run("L8 SaveUninitialized stores the defaults", func(t *testing.T) {
			m, log, load := setup(t, sessions.Config{SaveUninitialized: true})
			ctx, err := m.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			o, err := m.Commit(ctx)
			if err != nil || o.Kind != sessions.OutcomeCreated {
				t.Fatalf("Commit: %v, %v", o.Kind, err)
			}
			wantCalls(t, log, "an unchanged new session", "Create")
			if _, g := load(o.Token.Reveal()); g.Lang != "en" || g.Prefs["d"] != 4 {
				t.Errorf("loaded: %+v", g)
			}
		})
	})
}
