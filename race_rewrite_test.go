package sessions_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

// Rewrite writes what nobody has changed. It must not win against who has.
func TestRewriteMeanwhile(t *testing.T) {
	policies := map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject}
	for policy, on := range policies {
		for name, looks := range map[string]bool{"reads T": true, "does not look": false} {
			t.Run("C7 C12 the rewrite of a request that "+name+" does not undo another one's change, "+policy, func(t *testing.T) {
				eachMerge(t, func(t *testing.T, c, other sessions.Codec, one bool) {
					p := newMergePair(t, memory(), sessions.Config{Rewrite: true, Codec: c, OnConflict: on}, other, one, mergeAnn)
					res := serve(p.here.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						if looks {
							_ = p.here.FromContext(r.Context()).Views
						}
						mergeEdit(t, p.there, p.token, func(s *Session) { s.Views = 100 })
						mergeEvents(p.events)
					})), with(p.token, "/"))
					// A request of its own that looks would rewrite it.
					if got := mergeStored(t, newManager[Session](t, p.store, sessions.Config{}), p.token); res.StatusCode != 200 || got.Views != 100 {
						t.Errorf("%d and %d views, want 200 and 100", res.StatusCode, got.Views)
					}
					mergeKinds(t, p.events) // no conflict where nobody loses
				})
			})
		}
	}

	t.Run("C7 a rewrite that meets another one between its look and its swap does not undo it", func(t *testing.T) {
		eachMerge(t, func(t *testing.T, c, other sessions.Codec, one bool) {
			if one {
				return // in one process they take turns
			}
			m := meddling(memory())
			p := newMergePair(t, m, sessions.Config{Rewrite: true, Codec: c}, other, false, mergeAnn)
			m.at("before CompareAndSwap", 1, func() { mergeEdit(t, p.there, p.token, func(s *Session) { s.Views = 100 }) })
			mergeEvents(p.events)
			if res := serve(p.here.Handler(http.HandlerFunc(noHandler)), with(p.token, "/")); res.StatusCode != 200 {
				t.Errorf("%d", res.StatusCode)
			}
			if got := mergeStored(t, p.there, p.token); got.Views != 100 {
				t.Errorf("%d views, want 100", got.Views)
			}
			mergeKinds(t, p.events)
		})
	})

	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		bubbled(t, "C7 a rewrite whose turn comes after another one's save has nothing to write", func(t *testing.T) {
			s, log := &steps{}, &calls{}
			m := newManager[Session](t, &stepStore{Store: memory(), before: func(op, key string) error {
				log.add(op)
				return s.hook("before")(op, key)
			}}, sessions.Config{Rewrite: true, Codec: c})
			token := mergeSeed(t, m, mergeAnn)
			writes, err := m.Load(t.Context(), token)
			must(t, err)
			rewrites, err := m.Load(t.Context(), token)
			must(t, err)
			m.FromContext(writes).Views = 100
			log.take()
			g := s.at("before CompareAndSwap")
			var all sync.WaitGroup
			all.Go(func() { do1(t, m.Save, writes) })
			g.wait()
			all.Go(func() { do1(t, m.Save, rewrites) })
			synctest.Wait() // for its turn
			g.open()
			all.Wait()
			wantCalls(t, log, "both", "CompareAndSwap")
			if got := mergeStored(t, m, token); got.Views != 100 {
				t.Errorf("%d views, want 100", got.Views)
			}
		})
	})

	t.Run("C7 what a rewrite does not write it does not show, and a change that follows is merged", func(t *testing.T) {
		eachMerge(t, func(t *testing.T, c, other sessions.Codec, one bool) {
			p := newMergePair(t, memory(), sessions.Config{Rewrite: true, Codec: c}, other, one, mergeAnn)
			ctx := p.meet(t, func(s *Session) { s.Views = 100 })
			must(t, p.here.Save(ctx))
			p.here.FromContext(ctx).Flash = "mine"
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); got.Views != 100 || got.Flash != "mine" {
				t.Errorf("stored is %+v", got)
			}
		})
	})

	t.Run("C1 the rewrite of a session that was destroyed meanwhile leaves nothing, and is no error", func(t *testing.T) {
		eachMerge(t, func(t *testing.T, c, other sessions.Codec, one bool) {
			store := memory()
			p := newMergePair(t, store, sessions.Config{Rewrite: true, Codec: c}, other, one, mergeAnn)
			res := serve(p.here.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				mustRequest(t, p.there, p.token, p.there.Destroy)
			})), with(p.token, "/"))
			if res.StatusCode != 200 || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			if _, _, err := store.Load(t.Context(), keyOf(p.token), 0); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("afterwards: %v, want ErrNotFound", err)
			}
		})
	})
}
