package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestSeveralCookies(t *testing.T) {
	t.Parallel()
	for _, other := range []struct{ desc, value string }{
		{"an unknown one", kit.UnknownToken(1)}, {"one of the wrong shape", "tossed"}, {"an empty one", ""},
	} {
		for _, order := range []string{"first", "last"} {
			t.Run("T4 a valid cookie that comes "+order+" beside "+other.desc+" is used", func(t *testing.T) {
				a := newApp(t, sessions.Config{})
				tokens := []string{a.Seed(7), other.value}
				if order == "last" {
					slices.Reverse(tokens)
				}
				for _, lines := range [][]string{{pairs(tokens...)}, {pairs(tokens[0]), pairs(tokens[1])}} { // HTTP/2 may split the line
					if got := views(a, lines...); got != 7 {
						t.Errorf("%q: %d views, want 7", lines, got)
					}
				}
			})
		}
	}

	for _, reverse := range []bool{false, true} {
		t.Run(fmt.Sprintf("T4 the token before a renewal and the one after it are not two sessions, reversed %t", reverse), func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			old := a.Seed(7)
			tokens := []string{old, kit.TokenOf(a.Ask(call(t, a, "Renew"), pairs(old)).Header)}
			a.Events.Take()
			if reverse {
				slices.Reverse(tokens)
			}
			if got := a.Views(tokens...); got != 7 {
				t.Errorf("%d views, want 7", got)
			}
			a.WantEvents(t)
		})
	}

	t.Run("T4 one valid token twice is one session, loaded once", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		token := a.Seed(7)
		if got := views(a, pairs(token, token)); got != 7 {
			t.Errorf("%d views, want 7", got)
		}
		a.WantCalls(t, "it", "Load")
	})

	t.Run("T4 of two different valid ones neither is used, and an event tells", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		mine, tossed := a.Seed(7), a.Seed(9)
		for _, line := range []string{pairs(mine, tossed), pairs(tossed, mine)} {
			fresh := false
			res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				fresh = a.FromContext(r.Context()).Views == 0 && a.Info(r.Context()).New
			}, line)
			if !fresh || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("fresh is %t, %v; want a fresh session", fresh, res.Header)
			}
			a.WantEvents(t, sessions.EventTwoSessions)
		}
		if a.Views(mine) != 7 || a.Views(tossed) != 9 {
			t.Error("one of the two sessions was harmed")
		}
	})

	t.Run("T4 signing out with two valid ones ends both, and takes the cookie back", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		mine, tossed := a.Seed(7), a.Seed(9)
		res := a.Ask(call(t, a, "Destroy"), pairs(mine, tossed))
		if a.Views(mine) != 0 || a.Views(tossed) != 0 || !slices.Equal(res.Header["Set-Cookie"], []string{kit.CookieExpired}) {
			t.Errorf("%d and %d views, %v", a.Views(mine), a.Views(tossed), res.Header)
		}
	})

	for _, verb := range []string{"SignIn", "Remember"} {
		t.Run("L21 "+verb+" with two valid ones ends both, and works from then on", func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			mine, tossed := a.Seed(7), a.Seed(9)
			res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views = 1
				kit.Must(t, kit.Call(a.Manager, r.Context(), verb))
			}, pairs(mine, tossed))
			token := kit.TokenOf(res.Header)
			if a.Views(mine) != 0 || a.Views(tossed) != 0 || len(res.Header["Set-Cookie"]) != 1 {
				t.Errorf("%d and %d views, %v", a.Views(mine), a.Views(tossed), res.Header)
			}
			if got := views(a, pairs(mine, token)); got != 1 { // the browser keeps a cookie of another Path or Domain
				t.Errorf("%d views with the new one, want 1", got)
			}
			a.WantEvents(t, sessions.EventTwoSessions, sessions.EventCreated, sessions.EventSignedIn)
		})
	}

	for _, before := range []string{"change Save", "change Renew", "SignIn", "change Save SignIn Save"} {
		t.Run("L21 a SignIn behind "+before+" in the same request ends both of two valid ones", func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			mine, tossed := a.Seed(7), a.Seed(9)
			res := a.Ask(call(t, a, before+" SignIn"), pairs(mine, tossed))
			if a.Views(mine) != 0 || a.Views(tossed) != 0 || !kit.Alive(t, a.Manager, mine, tossed, kit.TokenOf(res.Header)) {
				t.Errorf("%d and %d views, %v", a.Views(mine), a.Views(tossed), res.Header)
			}
			if live, _ := a.Store.Left(t); live != 1 {
				t.Errorf("%d sessions, want that of the sign-in", live)
			}
		})
	}

	t.Run("L21 a sign-in that cannot end them fails", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		mine, tossed := a.Seed(7), a.Seed(9)
		a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			a.Store.Fail(fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable), "before CompareAndSwap")
			kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrUnavailable)
			a.Store.Heal()
		}, pairs(mine, tossed))
		if live, _ := a.Store.Left(t); live != 2 {
			t.Errorf("%d sessions, want the two", live)
		}
	})

	kit.Bubble(t, "L21 two valid ones live no longer by being refused", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		mine, tossed := a.Seed(7), a.Seed(9)
		for range 7 {
			views(a, pairs(mine, tossed))
			time.Sleep(10 * time.Minute)
		}
		if live, _ := a.Store.Left(t); live != 0 {
			t.Errorf("after an IdleTimeout in which they were refused %d are alive", live)
		}
	})

	const four = "Load Load Load Load"
	t.Run("T4 at most four are tried", func(t *testing.T) {
		for _, tc := range []struct{ at, views int }{{1, 7}, {4, 7}, {5, 0}, {9, 0}} {
			a := newApp(t, sessions.Config{})
			tokens := unknown(9)
			tokens[tc.at-1] = a.Seed(7)
			if got := views(a, pairs(tokens...)); got != tc.views {
				t.Errorf("the valid one is number %d: %d views, want %d", tc.at, got, tc.views)
			}
			calls := four
			if tc.at == 1 {
				calls += " Load" // the touch: that it is the only valid one is known at the end
			}
			a.WantCalls(t, "nine tokens", calls)
		}
	})

	t.Run("T4 at most four tokens of Load are tried", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		if got := a.Views(append(unknown(4), a.Seed(7))...); got != 0 {
			t.Errorf("%d views, want 0", got)
		}
		a.WantCalls(t, "five tokens", four)
	})

	for _, tc := range []struct {
		desc    string
		answers time.Duration // each of the store's; 0: none
		calls   string
	}{
		{"a store that hangs", 0, "Load"},
		{"a slow store", 600 * time.Millisecond, four},
	} {
		kit.Bubble(t, "T4 the four share one time budget, with "+tc.desc, func(t *testing.T) {
			const budget = 2 * time.Second
			a := kit.NewApp(t, kit.InProcess, &slowStore{budget: budget, answers: tc.answers}, sessions.Config{})
			began := time.Now()
			res := a.Ask(nothing, pairs(unknown(4)...))
			if got := time.Since(began); got != budget || res.StatusCode != 503 {
				t.Errorf("%d after %v, want 503 after %v", res.StatusCode, got, budget)
			}
			a.WantCalls(t, "it", tc.calls)
		})
	}
}

// unknown are n different tokens that nobody has drawn.
func unknown(n int) (tokens []string) {
	for i := range n {
		tokens = append(tokens, kit.UnknownToken(i))
	}
	return tokens
}

// slowStore finds nothing, after a time or never.
type slowStore struct {
	sessions.MemoryStore
	budget, answers time.Duration
}

func (s *slowStore) Timeout() time.Duration { return s.budget }

func (s *slowStore) Load(ctx context.Context, _ string, _ time.Duration) ([]byte, time.Duration, error) {
	var answered <-chan time.Time
	if s.answers > 0 {
		answered = time.After(s.answers)
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-answered:
		return nil, 0, sessions.ErrNotFound
	}
}
