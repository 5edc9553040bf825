package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// A new owner needs a new cookie, and the header has gone.
func TestChangeOfOwnerTooLate(t *testing.T) {
	late := func(w *ownerWorld, token string, f func(ctx context.Context, s *ownerSession)) *http.Response {
		return serve(w.m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			io.WriteString(rw, "x")
			f(r.Context(), w.m.FromContext(r.Context()))
		})), with(token, "/"))
	}
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, user := range []string{"bob", ""} {
			for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
				t.Run(fmt.Sprintf("W6 %s to owner %q after the first byte stores nothing", way.name, user), func(t *testing.T) {
					w := world(t)
					token := w.seed(ownerSession{User: "ann"})
					before := w.under(token)
					var got error
					res := late(w, token, func(ctx context.Context, _ *ownerSession) { got = way.run(w.m, ctx, ownerTo(user)) })
					kinds := w.events.kinds()
					if way.name == "the automatic save" {
						if !slices.Equal(kinds, []sessions.EventKind{sessions.EventLateChange}) {
							t.Errorf("events %v, want the late change", kinds)
						}
					} else if !errors.Is(got, sessions.ErrCommitted) {
						t.Errorf("%v, want ErrCommitted", got)
					}
					if after := w.under(token); after != before {
						t.Errorf("under the old token: %q, was %q", after, before)
					}
					if live, marks := w.spy.left(t); live != 1 || marks != 0 || tokenOf(res.Header) != "" {
						t.Errorf("%d records, %d marks, cookie %q", live, marks, res.Header["Set-Cookie"])
					}
				})
			}
		}
		t.Run("W6 the error behind the late change is ErrCommitted, and names nobody", func(t *testing.T) {
			w := world(t)
			late(w, w.seed(ownerSession{User: "ann-secret"}), func(_ context.Context, s *ownerSession) { s.User = "bob-secret" })
			if e := w.events.events[0]; !errors.Is(e.Err, sessions.ErrCommitted) || strings.Contains(e.Err.Error(), "secret") {
				t.Errorf("%v", e.Err)
			}
		})
		t.Run("W6 a change of anything else after the first byte is saved", func(t *testing.T) {
			w := world(t)
			token := w.seed(ownerSession{User: "ann"})
			late(w, token, func(_ context.Context, s *ownerSession) { s.Views = 9 })
			if s, _ := w.look(token); s.Views != 9 {
				t.Errorf("%+v", s)
			}
		})
		t.Run("W6 Update that would change the owner after the first byte puts *T back", func(t *testing.T) {
			w := world(t)
			late(w, w.seed(ownerSession{User: "ann", Views: 1}), func(ctx context.Context, s *ownerSession) {
				err := w.m.Update(ctx, func(s *ownerSession) error { ownerTo("bob")(s); return nil })
				if want := (ownerSession{User: "ann", Views: 1}); !errors.Is(err, sessions.ErrCommitted) || *s != want {
					t.Errorf("%v, and %+v", err, *s)
				}
			})
		})
	})
}

// Whatever fails on the way, the token that somebody may have planted never
// becomes the new owner's.
func TestChangeOfOwnerFails(t *testing.T) {
	down := fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	odd := errors.New("fault of the test")
	faults := []struct {
		name, step string
		err        error
		times      int
	}{
		{"the store is down before the copy", "before Create", down, 1 << 30},
		{"the store is down for the copy alone", "before Create", down, 1},
		{"the store refuses the copy", "before Create", odd, 1},
		{"the copy's reply is lost", "after Create", down, 1},
		{"the store is down before the claim", "before CompareAndSwap", down, 1 << 30},
		{"the store is down for three claims", "before CompareAndSwap", down, 3},
		{"the store refuses the claim", "before CompareAndSwap", odd, 1},
		{"the claim's reply is lost for good", "after CompareAndSwap", down, 1 << 30},
		{"the claim's reply is lost three times", "after CompareAndSwap", down, 3},
	}
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, fault := range faults {
			for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
				t.Run(fmt.Sprintf("L12 C13 %s to another owner while %s", way.name, fault.name), func(t *testing.T) {
					w := world(t)
					old := w.seed(ownerSession{Note: "planted"})
					before := w.under(old)
					failing := fault.times
					hook := func(when string) func(op, key string) error {
						return func(op, _ string) error {
							if when+" "+op == fault.step && failing > 0 {
								failing--
								return fault.err
							}
							return nil
						}
					}
					w.step.before, w.step.after = hook("before"), hook("after")
					var got error
					res := w.visit(old, func(ctx context.Context, _ *ownerSession) { got = way.run(w.m, ctx, ownerTo("ann")) })
					if way.name == "the automatic save" && res.StatusCode < 500 || way.name != "the automatic save" && got == nil {
						t.Fatalf("it did not fail: %d, %v", res.StatusCode, got)
					}
					if s, i := w.look(old); !i.New && (s != ownerSession{Note: "planted"} || w.under(old) != before) {
						t.Errorf("the old token finds %+v of %q", s, i.Owner)
					}
					// Who did get a cookie, by a save that was tried again, is signed in.
					if token := tokenOf(res.Header); token != "" {
						if s, i := w.look(token); i.Owner != "ann" || s.User != "ann" || i.AuthenticatedAt.IsZero() {
							t.Errorf("the cookie finds %+v of %q, authenticated %v", s, i.Owner, i.AuthenticatedAt)
						}
					}
				})
			}
		}
		t.Run("L12 a claim whose reply is lost once is known by its mark", func(t *testing.T) {
			w := world(t)
			old := w.seed(ownerSession{})
			lost := false
			w.step.after = func(op, _ string) error {
				if op == "CompareAndSwap" && !lost {
					lost = true
					return down
				}
				return nil
			}
			res := w.visit(old, func(_ context.Context, s *ownerSession) { s.User = "ann" })
			if _, i := w.look(tokenOf(res.Header)); res.StatusCode != 200 || i.Owner != "ann" {
				t.Errorf("%d, the cookie finds %q's", res.StatusCode, i.Owner)
			}
			if live, marks := w.spy.left(t); live != 1 || marks != 1 {
				t.Errorf("%d sessions, %d marks", live, marks)
			}
		})
		t.Run("L12 after a Save that failed a second one tries the sign-in again, never the old token", func(t *testing.T) {
			w := world(t)
			old := w.seed(ownerSession{})
			failing := true
			w.step.before = func(op, _ string) error {
				if op == "Create" && failing {
					return down
				}
				return nil
			}
			res := w.visit(old, func(ctx context.Context, s *ownerSession) {
				s.User = "ann"
				if err := w.m.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("the first: %v", err)
				}
				failing = false
				must(t, w.m.Save(ctx))
			})
			if _, i := w.look(old); !i.New {
				t.Errorf("the old token finds %q's", i.Owner)
			}
			if _, i := w.look(tokenOf(res.Header)); i.Owner != "ann" {
				t.Errorf("the new one finds %q's", i.Owner)
			}
		})
		t.Run("L12 T1 a NewToken that fails signs nobody in", func(t *testing.T) {
			w := world(t)
			old := w.seed(ownerSession{})
			before := w.under(old)
			fails, drawn := false, 0
			m := newManager[ownerSession](t, w.spy, sessions.Config{Codec: w.codec, NewToken: func() (string, error) {
				if drawn++; fails {
					return "", odd
				}
				return fmt.Sprintf("%026d", drawn), nil
			}})
			fails = true
			res := serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).User = "ann"
			})), with(old, "/"))
			if after := w.under(old); res.StatusCode != 500 || after != before {
				t.Errorf("%d, under the old token %q, was %q", res.StatusCode, after, before)
			}
		})
	})
}
