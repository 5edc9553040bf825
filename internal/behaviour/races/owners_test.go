package races_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A change of owner takes three steps in two slots. Whatever another request does between them, and whatever gets lost,
// each session is on the index of its user's. With kit.Owner it is that user's before.
func TestChangesOfOwnerAtOnce(t *testing.T) {
	t.Parallel()
	explore := func(t *testing.T, e *explorer, limit int, paths ...string) {
		t.Helper()
		signedOut := 0
		runs := e.all(t, func() {
			e.play(t, paths...)
			if e.bubble {
				time.Sleep(11 * time.Second) // no copy is left then that nobody has confirmed
			}
			all, failed := 0, false
			for _, owner := range []string{"ann", "bob", "eve"} {
				n := e.WantExact(t, owner)
				if all += n; limit > 0 && n > limit {
					t.Errorf("%s has %d sessions", owner, n)
				}
			}
			live := e.live(t)
			for _, r := range e.requests {
				failed = failed || r.unanswered() || r.crashed
				ok := r.text == "ok" || r.text == "Leave ok"
				if !ok && r.cookie != nil {
					t.Errorf("%s fails with %s and sends a cookie", r.name, r.text)
				}
				if ok && strings.HasPrefix(r.path, "/signin") && r.cookie == nil {
					t.Errorf("%s is ok and sends no cookie", r.name)
				}
				signsIn := strings.HasPrefix(r.path, "/signin")
				if !ok && signsIn && !r.unanswered() && r.text != "ErrOwnerLimit" {
					t.Errorf("%s answers %s", r.name, r.text)
				}
				others := slices.ContainsFunc(e.requests, func(o *request) bool {
					return o != r && (o.path == "/destroy" || limit > 0 && strings.Contains(o.path, "owner="))
				})
				if ok && signsIn && !others && !slices.Contains(live, r.cookie.Value) {
					t.Errorf("the session of %s has ended: %q", r.name, e.answers())
				}
			}
			if e.budget == 0 {
				if n := e.records(t); n != len(live) {
					t.Errorf("%d records, of which %d can be reached: %q", n, len(live), e.answers())
				}
			}
			if len(live) == 0 && !slices.Contains(paths, "/destroy") {
				if signedOut++; !failed {
					t.Errorf("no session lives, without a fault that anybody was told of: %q", e.answers())
				}
			}
		})
		t.Logf("%v: %d runs, %d sign-outs", paths, runs, signedOut)
	}
	others := []string{"/signin?v=eve&owner=eve", "/signin?v=bob&owner=bob", "/renew", "/save-known", "/destroy", "/leave", "/touch"}
	for where, same := range inProcesses {
		kit.Bubble(t, "O6 L12 L20 a change of owner beside another request in every order, "+where, func(t *testing.T) {
			e := newExplorer(t, sessions.JSON{}, 2, same, nil)
			for _, change := range []string{"/signin?v=bob&owner=bob", "/save?v=bob&owner=bob", "/leave"} {
				for _, other := range others {
					e.budget, e.faults = 0, nil
					explore(t, e, 0, change, other)
				}
			}
		})
	}
	long(t, "O6 L12 L20 a change of owner beside another request in every order with one fault", func(t *testing.T) {
		e := newExplorer(t, sessions.JSON{}, 2, false, nil)
		for _, other := range []string{"/renew", "/destroy"} {
			e.budget, e.faults = 1, []fault{lostReplies, repeated, delayed, crash}
			explore(t, e, 0, "/signin?v=bob&owner=bob", other)
		}
	})
	onRedis(t, "O6 L12 L20 a change of owner beside another request in every order", func(t *testing.T, e *explorer) {
		explore(t, e, 0, "/signin?v=bob&owner=bob", "/renew")
		explore(t, e, 0, "/signin?v=bob&owner=bob", "/destroy")
	})
	for name, policy := range map[string]sessions.OwnerLimit{"evicting": sessions.EvictOldest, "rejecting": sessions.Reject} {
		kit.Bubble(t, "O6 O9 two sign-ins of one user in every order with a limit of one, "+name, func(t *testing.T) {
			e := newLimitedExplorer(t, sessions.Config{MaxPerOwner: 1, OnOwnerLimit: policy}, 2, false, nil)
			explore(t, e, 1, "/signin?v=bob&owner=bob", "/signin?v=bob&owner=bob")
		})
	}
}

// The process may end between any two steps of a change of owner.
func TestChangeOfOwnerCrashes(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]sessions.OwnerLimit{"": sessions.EvictOldest, " that reserves a place": sessions.Reject} {
		kit.Bubble(t, "L12 a crash between the claim and the confirmation of a change of owner"+name+" leaves neither token valid, any other one leaves one", func(t *testing.T) {
			e := newLimitedExplorer(t, sessions.Config{MaxPerOwner: 3, OnOwnerLimit: policy}, 1, false, nil)
			e.budget, e.faults = 1, []fault{crash}
			seen := map[string]int{}
			e.all(t, func() {
				e.play(t, "/signin?v=bob&owner=bob")
				r := e.requests[0]
				claimed := slices.Contains(e.trace, r.name+" CompareAndSwap")
				want, at := e.first, "before the claim"
				switch {
				case !r.crashed:
					at, want = "nowhere", r.cookie.Value
				case claimed:
					at, want = "between", ""
				}
				seen[at]++
				for _, elapsed := range []time.Duration{0, 11 * time.Second} {
					time.Sleep(elapsed)
					if live := e.live(t); strings.Join(live, " ") != want {
						t.Errorf("%v after the crash %s %q are valid", elapsed, at, live)
					}
				}
				e.WantExact(t, "ann")
				if n := e.WantExact(t, "bob"); n != map[bool]int{false: 1, true: 0}[r.crashed] {
					t.Errorf("after the crash %s bob has %d sessions", at, n)
				}
			})
			if seen["between"] == 0 || seen["before the claim"] == 0 || seen["nowhere"] == 0 {
				t.Errorf("crashes: %v", seen)
			}
		})
	}
}
