package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// Each of the two changes fits, both together do not.
func TestMergeTooLarge(t *testing.T) {
	long := strings.Repeat("x", 500)
	here := func(s *Session) { s.UserID = long }
	there := func(s *Session) { s.Flash = long }
	verbs := map[string]func(*sessions.Manager[Session], context.Context) error{
		"Save": (*sessions.Manager[Session]).Save, "Renew": (*sessions.Manager[Session]).Renew,
		"Update": func(m *sessions.Manager[Session], ctx context.Context) error {
			return m.Update(ctx, func(s *Session) error { s.Views++; return nil })
		},
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		cfg := sessions.Config{Codec: codec, MaxSize: 1000}
		for name, verb := range verbs {
			t.Run("K7 C7 "+name+" whose merged record is too large is refused, and the stored one stays", func(t *testing.T) {
				spy := &spyStore{Store: store}
				p := newMergePair(t, spy, cfg, other, one, mergeAnn)
				ctx := p.meet(t, there)
				stored, _, err := store.Load(t.Context(), keyOf(p.token), 0)
				must(t, err)
				s := p.here.FromContext(ctx)
				here(s)
				if err := verb(p.here, ctx); !errors.Is(err, sessions.ErrTooLarge) {
					t.Errorf("%s = %v", name, err)
				}
				if got, _, err := store.Load(t.Context(), keyOf(p.token), 0); err != nil || string(got) != string(stored) {
					t.Errorf("stored is %q, %v, was %q", got, err, stored)
				}
				if live, marks := spy.left(t); live != 1 || marks != 0 {
					t.Errorf("%d records and %d marks", live, marks)
				}
				if s.UserID != long || s.Flash != "" || s.Views != 1 {
					t.Errorf("*T is %+v", *s)
				}
				s.UserID = "short"
				must(t, verb(p.here, ctx))
				token := p.token
				if name == "Renew" {
					token = p.renewed(t, ctx)
				}
				if got := mergeStored(t, p.there, token); got.UserID != "short" || got.Flash != long {
					t.Errorf("after it was mended stored is %+v", got)
				}
			})
		}
		t.Run("K7 C7 the request is answered by 500", func(t *testing.T) {
			p := newMergePair(t, store, cfg, other, one, mergeAnn)
			if res := p.answer(t, here, there); res.StatusCode != 500 {
				t.Errorf("%d", res.StatusCode)
			}
			if got := mergeStored(t, p.there, p.token); got.Flash != long || got.UserID != "ann" {
				t.Errorf("stored is %+v", got)
			}
		})
	})
}

// A save that was applied, though nobody answered, meets itself when the
// request tries again.
func TestMergeUnanswered(t *testing.T) {
	policies := map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		lost := func(t *testing.T, cfg sessions.Config) (*mergePair[Session], context.Context) {
			cfg.Codec = codec
			return mergeLost(t, store, cfg, other, one)
		}
		for name, policy := range policies {
			t.Run("C12 C10 a save that is tried again after ErrUnavailable does not conflict with itself, "+name, func(t *testing.T) {
				p, ctx := lost(t, sessions.Config{OnConflict: policy})
				s := p.here.FromContext(ctx)
				s.Views, s.Prefs["c"] = 2, 3
				if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
					t.Fatalf("Save = %v", err)
				}
				must(t, p.here.Save(ctx))
				if got := mergeStored(t, p.there, p.token); got.Views != 2 || got.Prefs["c"] != 3 {
					t.Errorf("stored is %+v", got)
				}
				for _, e := range mergeEvents(p.events) {
					if policy != sessions.ConflictLastWrite && (e.Kind == sessions.EventConflict || e.Kind == sessions.EventMerged) {
						t.Errorf("event %v %v %v", e.Kind, e.Fields, e.Err)
					}
				}
			})
			t.Run("C12 C10 nor does a Renew after it, "+name, func(t *testing.T) {
				p, ctx := lost(t, sessions.Config{OnConflict: policy})
				p.here.FromContext(ctx).Views = 2
				if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
					t.Fatalf("Save = %v", err)
				}
				must(t, p.here.Renew(ctx))
				if got := mergeStored(t, p.there, p.renewed(t, ctx)); got.Views != 2 {
					t.Errorf("stored is %+v", got)
				}
			})
		}
		t.Run("C10 C7 a save tried again after ErrUnavailable keeps what another one has saved since", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			p.here.FromContext(ctx).Views = 2
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
				t.Fatalf("Save = %v", err)
			}
			mergeEdit(t, p.there, p.token, func(s *Session) { s.Flash = "theirs" })
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 2 || got.Flash != "theirs" || p.here.FromContext(ctx).Flash != "theirs" {
				t.Errorf("stored is %+v, *T %+v", got, *p.here.FromContext(ctx))
			}
		})
		t.Run("C12 C10 what another one has saved since is a conflict", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{OnConflict: sessions.ConflictReject})
			p.here.FromContext(ctx).Views = 2
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
				t.Fatalf("Save = %v", err)
			}
			mergeEdit(t, p.there, p.token, func(s *Session) { s.Flash = "theirs" })
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrConflict) {
				t.Errorf("Save = %v", err)
			}
		})
	})
}

// mergeLost is a pair whose first swap of here is applied and not answered, on a
// request that has loaded.
func mergeLost(t *testing.T, store sessions.Store, cfg sessions.Config, other sessions.Codec, one bool) (*mergePair[Session], context.Context) {
	t.Helper()
	steps := &stepStore{Store: store}
	p := newMergePair(t, steps, cfg, other, one, mergeAnn)
	ctx, err := p.here.Load(t.Context(), p.token)
	must(t, err)
	mergeEvents(p.events)
	steps.after = func(op, _ string) error {
		if op != "CompareAndSwap" {
			return nil
		}
		steps.after = nil
		return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	}
	return p, ctx
}

// What a request has sent and nobody has answered may be what is stored now: it
// is not another one's.
func TestMergeUnansweredIsMine(t *testing.T) {
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		lost := func(t *testing.T, cfg sessions.Config) (*mergePair[Session], context.Context) {
			cfg.Codec = codec
			p, ctx := mergeLost(t, memory(), cfg, other, one)
			p.here.FromContext(ctx).Views = 2
			if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
				t.Fatalf("Save = %v", err)
			}
			mergeEvents(p.events)
			return p, ctx
		}
		t.Run("C10 L13 a value set back after ErrUnavailable is set back in the store", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			p.here.FromContext(ctx).Views = 1
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 1 {
				t.Errorf("Save returns nil, *T has 1 and the store %d views", got.Views)
			}
			p.calls.take()
			must(t, p.here.Save(ctx))
			wantCalls(t, p.calls, "a third save", "")
		})
		t.Run("C10 C7 a value set back beside another change is set back too", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			s := p.here.FromContext(ctx)
			s.Views, s.Flash = 1, "tried again"
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 1 || s.Views != 1 || got.Flash != "tried again" {
				t.Errorf("the request has set 1, the store has %d, *T %d views", got.Views, s.Views)
			}
		})
		t.Run("C10 C7 a value set back is set back by Renew too", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			s := p.here.FromContext(ctx)
			s.Views = 1
			must(t, p.here.Renew(ctx))
			if got := mergeStored(t, p.there, p.renewed(t, ctx)); got.Views != 1 || s.Views != 1 {
				t.Errorf("the request has set 1, the store has %d, *T %d views", got.Views, s.Views)
			}
		})
		t.Run("C10 C7 a value set back is set back, and what another one has saved since stays", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			mergeEdit(t, p.there, p.token, func(s *Session) { s.Flash = "theirs" })
			mergeEvents(p.events)
			s := p.here.FromContext(ctx)
			s.Views = 1
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 1 || got.Flash != "theirs" || !mergeEqual(t, got, *s) {
				t.Errorf("stored is %+v, *T %+v", got, *s)
			}
		})
		t.Run("C10 C12 a save tried again with more in it is no conflict", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{OnConflict: sessions.ConflictReject})
			p.here.FromContext(ctx).Flash = "tried again"
			must(t, p.here.Save(ctx))
			mergeKinds(t, p.events, sessions.EventSaved)
		})
		for name, policy := range map[string]sessions.ConflictPolicy{"merged": sessions.ConflictMerge, "overwritten": sessions.ConflictLastWrite} {
			t.Run("C10 C8 of oneself, no conflict is told of where it is "+name, func(t *testing.T) {
				p, ctx := lost(t, sessions.Config{OnConflict: policy})
				p.here.FromContext(ctx).Views = 3
				must(t, p.here.Save(ctx))
				mergeKinds(t, p.events, sessions.EventSaved)
			})
		}
		t.Run("C10 after Reload there is nothing in doubt", func(t *testing.T) {
			p, ctx := lost(t, sessions.Config{})
			must(t, p.here.Reload(ctx))
			if s := p.here.FromContext(ctx); s.Views != 2 {
				t.Errorf("*T is %+v", *s)
			}
			p.calls.take()
			must(t, p.here.Save(ctx))
			wantCalls(t, p.calls, "a save without a change", "")
			mergeEdit(t, p.there, p.token, func(s *Session) { s.Views = 9 })
			p.here.FromContext(ctx).Flash = "mine"
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 9 || got.Flash != "mine" {
				t.Errorf("stored is %+v", got)
			}
		})
		t.Run("C10 C7 what was not applied after all is saved by trying again, or left", func(t *testing.T) {
			for views, want := range map[int]int{2: 2, 1: 1, 3: 3} {
				steps := &stepStore{Store: memory()}
				p := newMergePair(t, steps, sessions.Config{Codec: codec}, other, one, mergeAnn)
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				steps.before = func(op, _ string) error {
					if op != "CompareAndSwap" {
						return nil
					}
					steps.before = nil
					return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
				}
				s := p.here.FromContext(ctx)
				s.Views = 2
				if err := p.here.Save(ctx); !errors.Is(err, sessions.ErrUnavailable) {
					t.Fatalf("Save = %v", err)
				}
				mergeEdit(t, p.there, p.token, func(s *Session) { s.Flash = "theirs" })
				s.Views = views
				must(t, p.here.Save(ctx))
				if got := mergeStored(t, p.there, p.token); got.Views != want || got.Flash != "theirs" {
					t.Errorf("with %d tried again, stored is %+v", views, got)
				}
			}
		})
	})
}
