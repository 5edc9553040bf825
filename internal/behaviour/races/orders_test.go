package races_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

var inProcesses = map[string]bool{"in two processes": false, "in one process": true}

// onRedis explores with both codecs on a miniredis and on a real server.
func onRedis(t *testing.T, name string, f func(t *testing.T, e *explorer)) {
	t.Run(name, func(t *testing.T) {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			t.Parallel()
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				f(t, newExplorer(t, c, 2, false, func() sessions.Store {
					rdb.FlushAll(t.Context())
					return kit.RedisStore(rdb)
				}))
			})
		})
	})
}

// long is a test in a bubble that a short run leaves out, and one with the race
// detector, which takes several times as long.
func long(t *testing.T, name string, f func(t *testing.T)) {
	if !testing.Short() && !kit.RaceEnabled {
		kit.Bubble(t, name, f)
	}
}

// Several renewals at once leave one session that somebody has the token of. What one fault of the simple
// kinds does to two of them is in internal/protocol, like every order without a fault.
func TestRenewalsAtOnce(t *testing.T) {
	t.Parallel()
	// check is what holds after every run. It returns the number of copies that
	// nobody has a token for, and whether the visitor has been signed out.
	check := func(t *testing.T, e *explorer) (orphans int, signedOut bool) {
		t.Helper()
		live := e.live(t)
		switch {
		case len(live) > 1:
			t.Errorf("%d live sessions: %q", len(live), e.answers())
		case len(live) == 1:
			if got := kit.Stored(t, e.m, live[0]).UserID; got != "ann" {
				t.Errorf("the live session's data is %q", got)
			}
			steppedUp := slices.ContainsFunc(e.requests, func(r *request) bool { return r.path == "/step-up" && r.text == "ok" })
			if e.bubble && e.budget == 0 && (e.authenticated(t, live[0]) == 0) != steppedUp {
				t.Errorf("authenticated %v ago: %q", e.authenticated(t, live[0]), e.answers())
			}
		case slices.ContainsFunc(e.requests, func(r *request) bool { return r.unanswered() && r.unsure >= 1 }):
			signedOut = true // a claim was applied, and no reply to it came through
		default:
			t.Errorf("no live session: %q", e.answers())
		}
		for _, r := range e.requests {
			if r.text != "ok" && r.cookie != nil {
				t.Errorf("%s failed with %s and sends a cookie", r.name, r.text)
			}
		}
		return e.records(t) - len(live), signedOut
	}
	// explore returns in how many runs of two renewals the visitor has been signed out.
	explore := func(t *testing.T, e *explorer) (signedOut, runs int) {
		t.Helper()
		copies := 0
		runs = e.all(t, func() {
			e.play(t, "/renew", "/renew")
			orphans, out := check(t, e)
			if copies += orphans; out {
				signedOut++
			}
		})
		t.Logf("%v: %d runs, %d copies that nobody has a token for, %d sign-outs", e.faults, runs, copies, signedOut)
		return signedOut, runs
	}

	for where, same := range inProcesses {
		kit.Bubble(t, "C5 L23 of a Reauthenticate and another one, or a Renew, in every order one succeeds and the other one is ErrGone, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			for _, other := range []string{"/step-up", "/renew"} {
				runs := e.all(t, func() {
					e.play(t, "/step-up", other)
					orphans, signedOut := check(t, e)
					texts := []string{e.requests[0].text, e.requests[1].text}
					late := other == "/renew" && texts[0] == "ok" && texts[1] == "ok" // it had no session to renew, and nothing to save
					if slices.Sort(texts); orphans != 0 || signedOut || !late && !slices.Equal(texts, []string{"ErrGone", "ok"}) {
						t.Errorf("%d copies that nobody has a token for, signed out: %t, %q", orphans, signedOut, e.answers())
					}
				})
				e.budget, e.faults = 1, allFaults
				faulty := e.all(t, func() {
					e.play(t, "/step-up", other)
					check(t, e)
				})
				e.budget, e.faults = 0, nil
				t.Logf("%s: %d runs, %d with a fault", other, runs, faulty)
			}
		})
		kit.Bubble(t, "C5 two renewals in every order with one fault that lasts at every step, "+where, func(t *testing.T) {
			for _, f := range []fault{lostReplies, delayed} {
				e := newExplorer(t, sessions.JSON{}, 2, same, nil)
				e.budget, e.faults = 1, []fault{f}
				if signedOut, runs := explore(t, e); signedOut > 0 && f != lostReplies {
					t.Errorf("%s: %d of %d runs leave no session", faultNames[f], signedOut, runs)
				}
			}
		})
	}

	long(t, "C5 two renewals in every order with two lost replies", func(t *testing.T) {
		e := newExplorer(t, sessions.JSON{}, 2, false, nil)
		e.budget, e.faults = 2, []fault{lostReply, repeated}
		if signedOut, runs := explore(t, e); signedOut > 0 {
			t.Errorf("%d of %d runs leave no session", signedOut, runs)
		}
	})

	for n := 3; n <= 8; n++ {
		kit.Bubble(t, fmt.Sprintf("C5 %d renewals with faults in random orders", n), func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, n, n%2 == 0, nil)
			runs := uint64(100)
			if testing.Short() {
				runs = 10
			}
			for seed := range runs {
				random := rand.New(rand.NewPCG(seed, uint64(n)))
				e.choose, e.budget, e.faults = random.IntN, 0, nil
				if seed%2 == 1 {
					e.budget, e.faults = random.IntN(n)+1, allFaults
				}
				e.play(t, slices.Repeat([]string{"/renew"}, n)...)
				if orphans, _ := check(t, e); e.budget == 0 && orphans != 0 {
					t.Errorf("without a fault: %d copies that nobody has a token for", orphans)
				}
				if t.Failed() {
					t.Fatalf("seed %d, after\n%s", seed, e)
				}
			}
		})
	}

	onRedis(t, "C5 two renewals in every order", func(t *testing.T, e *explorer) {
		e.all(t, func() {
			e.play(t, "/renew", "/renew")
			if orphans, signedOut := check(t, e); orphans != 0 || signedOut {
				t.Errorf("without a fault: %d copies that nobody has a token for, signed out: %t", orphans, signedOut)
			}
		})
	})

	// Nothing can tell then whether the claim was applied, and the new token
	// leaves only when it was: the visitor signs in again.
	kit.Bubble(t, "C5 the claim whose every reply is lost leaves no second session and is ErrUnavailable", func(t *testing.T) {
		e := newExplorer(t, sessions.JSON{}, 1, false, nil)
		e.budget, e.faults = 1, []fault{lostReplies}
		e.choose = func(n int) int {
			if e.requests[0].op == "CompareAndSwap" {
				return n - 1 // the fault, while there is one to have
			}
			return 0
		}
		e.play(t, "/renew")
		if live := e.live(t); len(live) > 1 || !strings.Contains(strings.Join(e.answers(), ""), "ErrUnavailable") {
			t.Errorf("%d live sessions, want one at the most; Renew answers %q after\n%s", len(live), e.answers(), e)
		}
	})
}

// A session that was destroyed is dead under every token, wherever the
// renewals stand.
func TestDestroyAmongRenewals(t *testing.T) {
	t.Parallel()
	explore := func(t *testing.T, e *explorer, paths ...string) {
		t.Helper()
		effective := 0
		runs := e.all(t, func() {
			e.play(t, paths...)
			live := e.live(t)
			if len(live) > 1 {
				t.Errorf("%d live sessions: %q", len(live), e.answers())
			}
			for _, r := range e.requests {
				if r.path != "/destroy" || r.text != "ok" {
					continue
				}
				effective++
				own := e.began(t, live) // by a sign-in, which does not bring the destroyed one back
				if len(live) > own {
					t.Errorf("Destroy returned nil, and a session lives: %q", e.answers())
				}
				if n := e.records(t); n > own && e.budget == 0 {
					t.Errorf("%d records left without a fault: %q", n, e.answers())
				}
			}
		})
		t.Logf("%v: %d runs, Destroy returned nil %d times", paths, runs, effective)
		if effective < runs/4 {
			t.Errorf("Destroy returned nil in %d of %d runs only: that proves little", effective, runs)
		}
	}
	for where, same := range inProcesses {
		kit.Bubble(t, "C15 C16 L20 L23 Destroy and other verbs in every order, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			for _, path := range []string{"/signin-known", "/renew-save", "/step-up", "/touch", "/reload", "/destroy"} {
				explore(t, e, "/destroy", path)
			}
		})
		kit.Bubble(t, "C15 L23 Destroy and Renew or Reauthenticate in every order with one fault that lasts at every step, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			e.budget, e.faults = 1, []fault{lostReplies, delayed}
			explore(t, e, "/destroy", "/renew")
			explore(t, e, "/destroy", "/step-up")
		})
	}
	long(t, "C1 Destroy and a save in every order with two faults", func(t *testing.T) {
		e := newExplorer(t, sessions.JSON{}, 2, false, nil)
		e.budget, e.faults = 2, allFaults
		explore(t, e, "/destroy", "/save-known")
	})
	onRedis(t, "C15 C16 Destroy and Renew in every order", func(t *testing.T, e *explorer) { explore(t, e, "/destroy", "/renew") })
}

// A sign-in is a proof: it succeeds whatever another request does to the session, and each has its own user.
func TestSignInsAtOnce(t *testing.T) {
	t.Parallel()
	explore := func(t *testing.T, e *explorer, other string) {
		t.Helper()
		runs := e.all(t, func() {
			e.play(t, "/signin?v=bob", other)
			for _, r := range e.requests {
				_, user, signsIn := strings.Cut(r.path, "?v=")
				switch {
				case !signsIn:
				case e.budget > 0 && r.unanswered():
				case r.text != "ok" || r.cookie == nil:
					t.Errorf("%s answers %d %q with the cookie %v", r.name, r.status, r.text, r.cookie)
				case kit.Alive(t, e.m, r.cookie.Value):
					if got := kit.Stored(t, e.m, r.cookie.Value).UserID; got != user {
						t.Errorf("the session of %s is %q's", r.name, got)
					}
				case other != "/destroy":
					t.Errorf("the session of %s has ended: %q", r.name, e.answers())
				}
			}
			if live := e.live(t); len(live) > 1+e.began(t, live) || kit.Alive(t, e.m, e.first) && !slices.ContainsFunc(e.requests, (*request).unanswered) {
				t.Errorf("%d live sessions: %q", len(live), e.answers())
			}
		})
		t.Logf("%s: %d runs", other, runs)
	}
	for where, same := range inProcesses {
		kit.Bubble(t, "L20 C18 L23 a sign-in beside another one, a renewal or a Destroy in every order, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			for _, other := range []string{"/signin?v=eve", "/renew", "/step-up", "/destroy", "/touch", "/reload"} {
				e.budget, e.faults = 0, nil
				explore(t, e, other)
				e.budget, e.faults = 1, allFaults
				if testing.Short() {
					e.faults = []fault{lostReplies}
				}
				explore(t, e, other)
			}
		})
	}
}

// A save beside a step-up is in the session that has the new token, or tells that it was dropped.
func TestSaveBesideStepUp(t *testing.T) {
	t.Parallel()
	for where, same := range inProcesses {
		kit.Bubble(t, "C4 C7 L23 a save beside a Reauthenticate in every order, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			for _, e.faults = range [][]fault{nil, allFaults} {
				e.budget = min(1, len(e.faults))
				runs := e.all(t, func() {
					e.play(t, "/step-up", "/save?v=bob")
					up, save, live := e.requests[0], e.requests[1], e.live(t)
					if e.budget == 0 && (up.text != "ok" || up.cookie == nil || save.text != "ok" && save.text != "ErrGone") || len(live) > 1 || save.cookie != nil {
						t.Errorf("%d live sessions, %q", len(live), e.answers())
					}
					if len(live) == 0 {
						if !up.unanswered() || up.unsure == 0 {
							t.Errorf("no live session: %q", e.answers())
						}
						return
					}
					if got := kit.Stored(t, e.m, live[0]).UserID; !save.unanswered() && (got == "bob") != (save.text == "ok") {
						t.Errorf("the session is %q's: %q", got, e.answers())
					}
					if up.text == "ok" && e.authenticated(t, live[0]) != 0 {
						t.Errorf("authenticated %v ago: %q", e.authenticated(t, live[0]), e.answers())
					}
				})
				t.Logf("%v: %d runs", e.faults, runs)
			}
		})
	}
}
