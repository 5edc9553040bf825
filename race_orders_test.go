package sessions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Several renewals at once leave one session that somebody has the token of.
func TestRenewalsAtOnce(t *testing.T) {
	// check is what holds after every run. It returns the number of copies
	// that nobody has a token for.
	check := func(t *testing.T, a *arena, first string, vs []*visit, lostForGood *int) (orphans int) {
		t.Helper()
		tokens := known(first, vs)
		live := a.live(t, tokens)
		switch {
		case len(live) > 1:
			t.Errorf("%d live sessions: %q", len(live), answers(vs))
		case len(live) == 1:
			err := func() error {
				_, err := request(t.Context(), a.m, live[0], func(ctx context.Context) error {
					if got := a.m.FromContext(ctx).UserID; got != "ann" {
						return fmt.Errorf("its data is %q", got)
					}
					return nil
				})
				return err
			}()
			if err != nil {
				t.Errorf("the live session: %v", err)
			}
		case slices.ContainsFunc(vs, func(v *visit) bool { return unanswered(v) && v.lost >= 1 }):
			// Somebody's claim was applied and none of the replies came
			// through: the visitor has to sign in again.
			*lostForGood++
		default:
			t.Errorf("no live session: %q", answers(vs))
		}
		for _, v := range vs {
			if v.body != "ok" && v.cookie != nil {
				t.Errorf("%s failed with %s and sends a cookie", v.name, v.body)
			}
		}
		return len(a.records(t)) - len(live)
	}

	pairs := [][]string{{"/renew", "/renew"}, {"/renew", "/signin-known"}}
	for _, same := range []bool{false, true} {
		where := "in two processes"
		if same {
			where = "in one process"
		}
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			bubbled(t, "C5 two renewals in every order, "+where, func(t *testing.T) {
				a := newArena(t, c, 2, same)
				a.bubble = true
				for _, pair := range pairs {
					wins := map[string]int{}
					runs := a.all(t, func() {
						first := a.clear(t)
						vs := a.visits(first, pair...)
						a.play(t.Context(), actors(vs)...)
						never := 0
						if n := check(t, a, first, vs, &never); n != 0 || never != 0 {
							t.Errorf("without a fault: %d copies that nobody has a token for, %d sign-outs", n, never)
						}
						for _, v := range vs {
							if v.cookie != nil {
								wins[v.name]++
							}
						}
					})
					t.Logf("%v: %d orders; won by %v", pair, runs, wins)
					if len(wins) != 2 {
						t.Errorf("one of two never wins: %v", wins)
					}
				}
			})
		})

		bubbled(t, "C5 two renewals in every order with one fault at every step, "+where, func(t *testing.T) {
			for _, f := range allFaults {
				a := newArena(t, sessions.JSON{}, 2, same)
				a.bubble, a.budget, a.faults = true, 1, []fault{f}
				signedOut, orphans := 0, 0
				runs := a.all(t, func() {
					first := a.clear(t)
					vs := a.visits(first, "/renew", "/renew")
					a.play(t.Context(), actors(vs)...)
					orphans += check(t, a, first, vs, &signedOut)
				})
				t.Logf("%s: %d runs, %d copies that nobody has a token for, %d sign-outs", faultNames[f], runs, orphans, signedOut)
				if signedOut > 0 && f != lostReplies {
					t.Errorf("%s: %d of %d runs leave no session", faultNames[f], signedOut, runs)
				}
			}
		})
	}

	bubbled(t, "C5 two renewals in every order with two lost replies", func(t *testing.T) {
		a := newArena(t, sessions.JSON{}, 2, false)
		a.bubble, a.budget, a.faults = true, 2, []fault{lostReply, repeated}
		signedOut, orphans := 0, 0
		runs := a.all(t, func() {
			first := a.clear(t)
			vs := a.visits(first, "/renew", "/renew")
			a.play(t.Context(), actors(vs)...)
			orphans += check(t, a, first, vs, &signedOut)
		})
		t.Logf("%d runs, %d copies that nobody has a token for, %d sign-outs", runs, orphans, signedOut)
		if signedOut > 0 {
			t.Errorf("%d of %d runs leave no session", signedOut, runs)
		}
	})

	for n := 3; n <= 8; n++ {
		bubbled(t, fmt.Sprintf("C5 %d renewals with faults in random orders", n), func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, n, n%2 == 0)
			a.bubble = true
			signedOut, orphans, runs := 0, 0, 100
			for seed := range uint64(runs) {
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				a.pick = rnd.IntN
				a.budget, a.faults = 0, nil
				if seed%2 == 1 {
					a.budget, a.faults = rnd.IntN(n)+1, allFaults
				}
				first := a.clear(t)
				var paths []string
				for range n {
					paths = append(paths, "/renew")
				}
				vs := a.visits(first, paths...)
				a.play(t.Context(), actors(vs)...)
				copies := check(t, a, first, vs, &signedOut)
				orphans += copies
				if a.budget == 0 && copies != 0 {
					t.Errorf("without a fault: %d copies that nobody has a token for", copies)
				}
				if t.Failed() {
					t.Fatalf("seed %d, after\n%s", seed, a)
				}
			}
			t.Logf("%d runs, %d copies that nobody has a token for, %d sign-outs", runs, orphans, signedOut)
		})
	}

	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("C5 two renewals in every order", func(t *testing.T) {
				a := newArena(t, c, 2, false)
				a.reset = flushed(t, rdb)
				runs := a.all(t, func() {
					first := a.clear(t)
					vs := a.visits(first, "/renew", "/renew")
					a.play(t.Context(), actors(vs)...)
					never := 0
					if n := check(t, a, first, vs, &never); n != 0 || never != 0 {
						t.Errorf("without a fault: %d copies that nobody has a token for, %d sign-outs", n, never)
					}
				})
				t.Logf("%d orders", runs)
			})
		})
	})

	// Nothing can tell then whether the claim was applied, and the new token
	// leaves only when it was: the visitor signs in again.
	t.Run("C5 the claim whose every reply is lost leaves no second session and is ErrUnavailable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 1, false)
			a.bubble, a.budget, a.faults = true, 1, []fault{lostReplies}
			a.pick = func(n int) int {
				if a.actors[0].op == "CompareAndSwap" {
					return n - 1 // the fault, while there is one to have
				}
				return 0
			}
			first := a.clear(t)
			vs := a.visits(first, "/renew")
			a.play(t.Context(), actors(vs)...)
			if live := a.live(t, known(first, vs)); len(live) > 1 || !strings.Contains(strings.Join(answers(vs), ""), "ErrUnavailable") {
				t.Errorf("%d live sessions, want one at the most; Renew answers %q after\n%s", len(live), answers(vs), a)
			}
		})
	})
}

// A session that was destroyed is dead under every token, wherever the
// renewals stand.
func TestDestroyAmongRenewals(t *testing.T) {
	check := func(t *testing.T, a *arena, first string, vs []*visit, effective *int) {
		t.Helper()
		live := a.live(t, known(first, vs))
		if len(live) > 1 {
			t.Errorf("%d live sessions: %q", len(live), answers(vs))
		}
		for _, v := range vs {
			if v.path != "/destroy" || v.body != "ok" {
				continue
			}
			*effective++
			if len(live) > 0 {
				t.Errorf("Destroy returned nil, and a session lives: %q", answers(vs))
			}
			if n := len(a.records(t)); n > 0 && a.budget == 0 {
				t.Errorf("%d records left without a fault: %q", n, answers(vs))
			}
		}
	}
	explore := func(t *testing.T, a *arena, paths ...string) {
		t.Helper()
		effective := 0
		runs := a.all(t, func() {
			first := a.clear(t)
			vs := a.visits(first, paths...)
			a.play(t.Context(), actors(vs)...)
			check(t, a, first, vs, &effective)
		})
		t.Logf("%v: %d runs, Destroy returned nil %d times", paths, runs, effective)
		if effective < runs/4 {
			t.Errorf("Destroy returned nil in %d of %d runs only: that proves little", effective, runs)
		}
	}
	for _, same := range []bool{false, true} {
		where := "in two processes"
		if same {
			where = "in one process"
		}
		bubbled(t, "C15 C16 Destroy and Renew in every order, "+where, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 2, same)
			a.bubble = true
			for _, path := range []string{"/renew", "/signin-known", "/renew-renew", "/renew-save", "/save-renew", "/save-known", "/touch", "/reload", "/destroy"} {
				explore(t, a, "/destroy", path)
			}
		})
		bubbled(t, "C15 Destroy and Renew in every order with one fault at every step, "+where, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 2, same)
			a.bubble, a.budget, a.faults = true, 1, allFaults
			explore(t, a, "/destroy", "/renew")
		})
	}
	bubbled(t, "C1 Destroy and a save in every order with two faults", func(t *testing.T) {
		a := newArena(t, sessions.JSON{}, 2, false)
		a.bubble, a.budget, a.faults = true, 2, allFaults
		explore(t, a, "/destroy", "/save-known")
	})
	bubbled(t, "C15 Destroy and two renewals in every order", func(t *testing.T) {
		a := newArena(t, sessions.MsgPack{}, 3, false)
		a.bubble = true
		explore(t, a, "/destroy", "/renew", "/renew")
	})
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("C15 C16 Destroy and Renew in every order", func(t *testing.T) {
				a := newArena(t, c, 2, false)
				a.reset = flushed(t, rdb)
				explore(t, a, "/destroy", "/renew")
			})
		})
	})
}
