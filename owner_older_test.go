package sessions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// Builds in which T is Owned and builds in which it is not share sessions.
func TestOwnerAndOlderBuilds(t *testing.T) {
	type beforeManager = sessions.Manager[ownerBefore]
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		older := func(t *testing.T, w *ownerWorld) *beforeManager {
			return newManager[ownerBefore](t, w.spy, sessions.Config{Codec: w.codec})
		}
		// seeded is a session of ann's that an older build has stored.
		seeded := func(w *ownerWorld) string { return w.seedHeader(ownerBefore{User: "ann", Views: 1}, "") }

		t.Run("K3 a record from before T was Owned is its user's, and reading it writes nothing", func(t *testing.T) {
			w := world(t)
			token := seeded(w)
			before := w.under(token)
			w.visit(token, func(ctx context.Context, s *ownerSession) {
				if i := w.m.Info(ctx); i.Owner != "ann" || !i.AuthenticatedAt.IsZero() || s.User != "ann" {
					t.Errorf("it is %q's, authenticated %v: %+v", i.Owner, i.AuthenticatedAt, *s)
				}
			})
			wantCalls(t, w.log, "it", "Load")
			if after := w.under(token); after != before {
				t.Errorf("it became %q", after)
			}
		})
		for _, way := range ownerWays {
			t.Run("K3 "+way.name+" of a record from before T was Owned is no sign-in", func(t *testing.T) {
				w := world(t)
				token := seeded(w)
				res := w.visit(token, func(ctx context.Context, _ *ownerSession) {
					must(t, way.run(w.m, ctx, func(s *ownerSession) { s.Views++ }))
				})
				if token := tokenOf(res.Header); token != "" {
					t.Error("it sends a cookie")
				}
				if kinds := w.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved}) {
					t.Errorf("events %v", kinds)
				}
				if s, i := w.look(token); s.Views != 2 || i.Owner != "ann" || !i.AuthenticatedAt.IsZero() {
					t.Errorf("%+v of %q, authenticated %v", s, i.Owner, i.AuthenticatedAt)
				}
				if header, _, _ := strings.Cut(w.under(token), "\n"); !strings.Contains(header, `"owner":"ann"`) {
					t.Errorf("the header does not say whose it is: %s", header)
				}
			})
			t.Run("C7 "+way.name+" of a record from before T was Owned meets a save of such a build", func(t *testing.T) {
				w := world(t)
				token := seeded(w)
				m := older(t, w)
				w.meanwhile("before CompareAndSwap", func() {
					ctx, err := m.Load(context.Background(), token)
					must(t, err)
					m.FromContext(ctx).Note = "theirs"
					_, err = m.Commit(ctx)
					must(t, err)
				})
				w.visit(token, func(ctx context.Context, _ *ownerSession) {
					must(t, way.run(w.m, ctx, func(s *ownerSession) { s.Views++ }))
				})
				if s, i := w.look(token); s.Views != 2 || s.Note != "theirs" || i.Owner != "ann" {
					t.Errorf("%+v of %q", s, i.Owner)
				}
			})
		}
		t.Run("C7 a save of such a build meets the first save of a build in which T is Owned", func(t *testing.T) {
			// The owner has not changed: the header only says now whose it was.
			w := world(t)
			token := seeded(w)
			m := older(t, w)
			ctx, err := m.Load(t.Context(), token)
			must(t, err)
			w.elsewhere(token, func(_ context.Context, s *ownerSession) error { s.Views++; return nil })
			m.FromContext(ctx).Note = "theirs"
			if _, err = m.Commit(ctx); err != nil {
				t.Errorf("Commit = %v", err)
			}
			if s, _ := w.look(token); s.Views != 2 || s.Note != "theirs" {
				t.Errorf("%+v", s)
			}
		})

		for name, verb := range map[string]func(m *beforeManager, ctx context.Context) error{
			"the save at the end": func(*beforeManager, context.Context) error { return nil },
			"Save":                (*beforeManager).Save,
			"Renew":               (*beforeManager).Renew,
			"SignIn":              func(m *beforeManager, ctx context.Context) error { return m.SignIn(ctx) },
			"Update": func(m *beforeManager, ctx context.Context) error {
				return m.Update(ctx, func(*ownerBefore) error { return nil })
			},
		} {
			t.Run("K3 "+name+" of a T that is not Owned keeps the header's owner", func(t *testing.T) {
				w := world(t)
				m := older(t, w)
				ctx, err := m.Load(t.Context(), w.seed(ownerSession{User: "ann"}))
				must(t, err)
				if i := m.Info(ctx); i.Owner != "ann" {
					t.Errorf("loaded as %q's", i.Owner)
				}
				m.FromContext(ctx).Views++
				must(t, verb(m, ctx))
				o, err := m.Commit(ctx)
				must(t, err)
				if header, _, _ := strings.Cut(w.under(o.Token.Reveal()), "\n"); !strings.Contains(header, `"owner":"ann"`) || o.Info.Owner != "ann" {
					t.Errorf("%q, and the header says %s", o.Info.Owner, header)
				}
			})
		}
		t.Run("C17 a save of a T that is not Owned meets a record with another owner in its header", func(t *testing.T) {
			w := world(t)
			m := older(t, w)
			token := w.seed(ownerSession{User: "ann"})
			for name, verb := range map[string]func(ctx context.Context) error{
				"Save": m.Save, "Renew": m.Renew, "SignIn": func(ctx context.Context) error { return m.SignIn(ctx) },
				"Update": func(ctx context.Context) error { return m.Update(ctx, func(*ownerBefore) error { return nil }) },
			} {
				w.seed(ownerSession{User: "ann"})
				ctx, err := m.Load(t.Context(), token)
				must(t, err)
				w.place(strings.Replace(strings.Replace(w.under(token), `"ann"`, `"bob"`, 1), "other.1", "other.2", 1))
				before := w.under(token)
				m.FromContext(ctx).Note = "of ann alone"
				if err := verb(ctx); !errors.Is(err, sessions.ErrGone) {
					t.Errorf("%s = %v, want ErrGone", name, err)
				}
				if after := w.under(token); after != before {
					t.Errorf("%s: bob's became %q", name, after)
				}
			}
		})
		t.Run("L12 an older build's change of user is no change of owner for the next request", func(t *testing.T) {
			// It has not signed anybody in, and nothing here can make up for it:
			// Info says whose T it is, not what an older header says.
			w := world(t)
			token := w.seed(ownerSession{User: "ann"})
			m := older(t, w)
			ctx, err := m.Load(t.Context(), token)
			must(t, err)
			m.FromContext(ctx).User = "bob"
			_, err = m.Commit(ctx)
			must(t, err)
			res := w.visit(token, func(ctx context.Context, s *ownerSession) {
				if i := w.m.Info(ctx); i.Owner != "bob" {
					t.Errorf("it is %q's", i.Owner)
				}
				s.Views++
			})
			if tokenOf(res.Header) != "" {
				t.Error("it sends a cookie")
			}
		})
	})
}

// ownerMerging merges as it likes.
type ownerMerging struct {
	User string `json:"user"`
	Sum  int    `json:"sum"`
}

func (s *ownerMerging) SessionOwner() string { return s.User }

func (s *ownerMerging) MergeSession(base, theirs *ownerMerging) error {
	s.Sum += theirs.Sum - base.Sum
	if s.Sum >= 10 {
		s.User = "ann" // whoever has ten points is ann
	}
	return nil
}

func TestOwnerAndMerging(t *testing.T) {
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		t.Run("L12 C7 a MergeSession that changes the owner signs in", func(t *testing.T) {
			w := world(t)
			a := newManager[ownerMerging](t, w.spy, sessions.Config{Codec: w.codec})
			b := newManager[ownerMerging](t, w.spy, sessions.Config{Codec: w.codec})
			token := w.seedHeader(ownerMerging{}, "")
			mine, err := a.Load(t.Context(), token)
			must(t, err)
			theirs, err := b.Load(t.Context(), token)
			must(t, err)
			b.FromContext(theirs).Sum = 5
			_, err = b.Commit(theirs)
			must(t, err)
			a.FromContext(mine).Sum = 5
			o, err := a.Commit(mine)
			must(t, err)
			if o.Kind != sessions.OutcomeRenewed || o.Info.Owner != "ann" || !ownerRestarted(o.Info.AuthenticatedAt) {
				t.Errorf("%v of %q, authenticated %v", o.Kind, o.Info.Owner, o.Info.AuthenticatedAt)
			}
			if _, i := w.look(token); !i.New {
				t.Error("the old token is still accepted")
			}
		})
	})
}
