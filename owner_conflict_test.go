package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// meanwhile lets act run once, when the first process comes to a step.
func (w *ownerWorld) meanwhile(step string, act func()) {
	var once sync.Once
	hook := func(when string) func(op, key string) error {
		return func(op, _ string) error {
			if when+" "+op == step {
				once.Do(act)
			}
			return nil
		}
	}
	w.step.before, w.step.after = hook("before"), hook("after")
}

// elsewhere is a request of the second process, and the token it ends with.
func (w *ownerWorld) elsewhere(token string, f func(ctx context.Context, s *ownerSession) error) string {
	w.t.Helper()
	ctx, err := w.other.Load(context.Background(), token)
	if err == nil {
		err = f(ctx, w.other.FromContext(ctx))
	}
	if err != nil {
		w.t.Error(err)
		return token
	}
	o, err := w.other.Commit(ctx)
	if err != nil {
		w.t.Error(err)
	}
	return o.Token.Reveal()
}

// ownerPolicies are all there are.
var ownerPolicies = map[string]sessions.ConflictPolicy{
	"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
}

// Another process has written the session, and changed no owner, while this
// one's owner changes: it is a sign-in still, whichever step it stands at.
func TestChangeOfOwnerMeetsSave(t *testing.T) {
	for _, policy := range []string{"merge", "last write"} {
		eachOwnerWorld(t, sessions.Config{OnConflict: ownerPolicies[policy]}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
			for _, step := range []string{"after Load", "before Create", "after Create", "before CompareAndSwap"} {
				for _, way := range append(slices.Clone(ownerWays), ownerVerbs[2]) {
					t.Run(fmt.Sprintf("C4 C7 %s by %s changes the owner, another process saves %s", way.name, policy, step), func(t *testing.T) {
						w := world(t)
						old := w.seed(ownerSession{})
						w.meanwhile(step, func() {
							w.elsewhere(old, func(_ context.Context, s *ownerSession) error { s.Note = "theirs"; return nil })
						})
						res := w.visit(old, func(ctx context.Context, _ *ownerSession) { must(t, way.run(w.m, ctx, ownerTo("ann"))) })
						if _, i := w.look(old); !i.New {
							t.Errorf("the token from before finds a session of %q", i.Owner)
						}
						s, i := w.look(tokenOf(res.Header))
						if s.User != "ann" || s.Views != 1 || i.Owner != "ann" || i.ID != oddID {
							t.Fatalf("status %d, and the new token finds %+v of %q", res.StatusCode, s, i.Owner)
						}
						if !ownerRestarted(i.CreatedAt) || !ownerRestarted(i.AuthenticatedAt) {
							t.Errorf("created %v, authenticated %v; it began %v", i.CreatedAt, i.AuthenticatedAt, ownerSince)
						}
						if kinds := w.events.kinds(); !slices.Contains(kinds, sessions.EventSignedIn) || slices.Contains(kinds, sessions.EventSaved) {
							t.Errorf("events %v", kinds)
						}
						if live, _ := w.spy.left(t); live != 1 {
							t.Errorf("%d sessions", live)
						}
						if merged := s.Note == "theirs"; merged != (policy == "merge" || way.name == "Update") {
							t.Errorf("the other one's note: %q", s.Note)
						}
					})
				}
			}
		})
	}
	t.Run("C12 a change of owner that is rejected leaves no copy and the token as it was", func(t *testing.T) {
		eachOwnerWorld(t, sessions.Config{OnConflict: sessions.ConflictReject}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
			w := world(t)
			old := w.seed(ownerSession{})
			w.meanwhile("before CompareAndSwap", func() {
				w.elsewhere(old, func(_ context.Context, s *ownerSession) error { s.Note = "theirs"; return nil })
			})
			res := w.visit(old, func(_ context.Context, s *ownerSession) { s.User = "ann" })
			if res.StatusCode != http.StatusConflict || tokenOf(res.Header) != "" {
				t.Errorf("%d, cookie %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			if s, _ := w.look(old); s != (ownerSession{Note: "theirs"}) {
				t.Errorf("the old token finds %+v", s)
			}
			if live, marks := w.spy.left(t); live != 1 || marks != 0 {
				t.Errorf("%d records and %d marks", live, marks)
			}
		})
	})
}

// ownerBefore is the same session in a build from before it was Owned.
type ownerBefore struct {
	User  string `json:"user"`
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

// The stored record has become another's under the same key: an older build
// does that, which renews no token. Nothing goes into it.
func TestStoredOwnerIsAnother(t *testing.T) {
	type verb struct {
		name string
		run  func(m *ownerManager, ctx context.Context) error
	}
	verbs := []verb{
		{"Renew without a change", func(m *ownerManager, ctx context.Context) error { return m.Renew(ctx) }},
		{"SignIn without a change", func(m *ownerManager, ctx context.Context) error { return m.SignIn(ctx) }},
		{"Update without a change", func(m *ownerManager, ctx context.Context) error {
			return m.Update(ctx, func(s *ownerSession) error {
				if s.User == "bob" {
					return errors.New("its function sees the other one's session")
				}
				return nil
			})
		}},
	}
	for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
		verbs = append(verbs, verb{way.name + " of another field", func(m *ownerManager, ctx context.Context) error {
			return way.run(m, ctx, func(s *ownerSession) { s.Note = "of ann alone" })
		}}, verb{way.name + " of the owner", func(m *ownerManager, ctx context.Context) error {
			return way.run(m, ctx, func(s *ownerSession) { s.User, s.Note = "eve", "of ann alone" })
		}})
	}
	for policy, onConflict := range ownerPolicies {
		eachOwnerWorld(t, sessions.Config{OnConflict: onConflict}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
			for _, from := range []string{"ann", ""} {
				for _, verb := range verbs {
					t.Run(fmt.Sprintf("C17 %s by %s of what was %q's and has become bob's is ErrGone", verb.name, policy, from), func(t *testing.T) {
						w := world(t)
						token := w.seed(ownerSession{User: from})
						older := newManager[ownerBefore](t, w.spy, sessions.Config{Codec: w.codec})
						var became string
						w.step.before = func(op, _ string) error {
							if op != "CompareAndSwap" || became != "" {
								return nil
							}
							ctx, err := older.Load(context.Background(), token)
							must(t, err)
							older.FromContext(ctx).User = "bob"
							_, err = older.Commit(ctx)
							must(t, err)
							became = w.under(token)
							return nil
						}
						var got error
						res := w.visit(token, func(ctx context.Context, _ *ownerSession) {
							if got = verb.run(w.m, ctx); got == nil {
								_, got = w.m.Commit(ctx)
							}
						})
						if !errors.Is(got, sessions.ErrGone) {
							t.Errorf("%v, want ErrGone", got)
						}
						if tokenOf(res.Header) != "" {
							t.Errorf("it sends a cookie: %q", res.Header["Set-Cookie"])
						}
						if is := w.under(token); is != became || strings.Contains(is, "of ann alone") {
							t.Errorf("what bob has became %q, was %q", is, became)
						}
						if live, marks := w.spy.left(t); live != 1 || marks != 0 {
							t.Errorf("%d records and %d marks", live, marks)
						}
						if kinds := w.events.kinds(); !slices.Contains(kinds, sessions.EventGone) || slices.Contains(kinds, sessions.EventMerged) {
							t.Errorf("events %v", kinds)
						}
					})
				}
			}
		})
	}
}

// Two processes sign in two users on one session at the same time.
func TestTwoOwnersAtOnce(t *testing.T) {
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, step := range []string{"after Load", "before Create", "after Create", "before CompareAndSwap"} {
			for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
				t.Run(fmt.Sprintf("C5 C14 ann by %s, and bob signs in elsewhere %s", way.name, step), func(t *testing.T) {
					w := world(t)
					old := w.seed(ownerSession{})
					var bobs string
					w.meanwhile(step, func() {
						bobs = w.elsewhere(old, func(_ context.Context, s *ownerSession) error { s.User = "bob"; return nil })
					})
					var got error
					res := w.visit(old, func(ctx context.Context, _ *ownerSession) {
						if got = way.run(w.m, ctx, ownerTo("ann")); got == nil {
							_, got = w.m.Commit(ctx)
						}
					})
					if !errors.Is(got, sessions.ErrGone) || tokenOf(res.Header) != "" {
						t.Errorf("ann's: %v, cookie %q, want ErrGone and none", got, res.Header["Set-Cookie"])
					}
					if s, i := w.look(bobs); s.User != "bob" || i.Owner != "bob" {
						t.Errorf("bob's token finds %+v of %q", s, i.Owner)
					}
					if live, marks := w.spy.left(t); live != 1 || marks != 1 {
						t.Errorf("%d sessions, %d marks; want one of each", live, marks)
					}
				})
			}
		}
		t.Run("C5 of eight at once, two in each of four processes, one is signed in", func(t *testing.T) {
			w := world(t)
			old := w.seed(ownerSession{})
			var all sync.WaitGroup
			won := make(chan sessions.Outcome, 8)
			start := make(chan struct{})
			for p := range 4 {
				m := newManager[ownerSession](t, w.spy, sessions.Config{Codec: w.codec})
				for i := range 2 {
					ctx, err := m.Load(t.Context(), old)
					must(t, err)
					all.Go(func() {
						<-start
						m.FromContext(ctx).User = fmt.Sprintf("user %d of process %d", i, p)
						if o, err := m.Commit(ctx); err == nil {
							won <- o
						} else if !errors.Is(err, sessions.ErrGone) {
							t.Error(err)
						}
					})
				}
			}
			close(start)
			all.Wait()
			close(won)
			var winners []sessions.Outcome
			for o := range won {
				winners = append(winners, o)
			}
			if len(winners) != 1 {
				t.Fatalf("%d are signed in", len(winners))
			}
			if s, i := w.look(winners[0].Token.Reveal()); s.User == "" || i.Owner != s.User || winners[0].Info.Owner != s.User {
				t.Errorf("the winner, %q, finds %+v of %q", winners[0].Info.Owner, s, i.Owner)
			}
			if live, marks := w.spy.left(t); live != 1 || marks != 1 {
				t.Errorf("%d sessions, %d marks; want one of each", live, marks)
			}
		})
	})
}
