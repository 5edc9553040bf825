package merging_test

import (
	"net/http"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Rewrite writes what nobody has changed. It must not win against who has.
func TestRewriteMeanwhile(t *testing.T) {
	t.Parallel()
	hundred := func(s *kit.Session) { s.Views = 100 }
	// wantHundred looks through a Manager that does not rewrite it.
	wantHundred := func(t *testing.T, p *pair[kit.Session]) {
		t.Helper()
		if got := kit.Stored(t, kit.New[kit.Session](t, p.all, sessions.Config{}), p.token); got.Views != 100 {
			t.Errorf("%d views, want 100", got.Views)
		}
	}
	// serve is a whole request of here that changes nothing, during which f happens.
	serve := func(t *testing.T, p *pair[kit.Session], f func(r *http.Request)) {
		t.Helper()
		res := kit.Serve(p.here.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r) })), kit.With(p.token, "/"))
		if res.StatusCode != 200 || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
		}
	}
	each(t, func(t *testing.T, s setup) {
		for policy, on := range policies {
			for name, looks := range map[string]bool{"reads T": true, "does not look": false} {
				t.Run("C7 C12 the rewrite of a request that "+name+" does not undo another one's change, "+policy, func(t *testing.T) {
					p := open(t, s, sessions.Config{Rewrite: true, OnConflict: on}, ann)
					serve(t, p, func(r *http.Request) {
						if looks {
							_ = p.here.FromContext(r.Context()).Views
						}
						p.edit(t, hundred)
					})
					wantHundred(t, p)
					p.wantEvents(t) // no conflict where nobody loses
				})
			}
		}

		if !s.one { // in one process they take turns
			t.Run("C7 a rewrite that meets another one between its look and its swap does not undo it", func(t *testing.T) {
				p := open(t, s, sessions.Config{Rewrite: true}, ann)
				p.meanwhile("before CompareAndSwap", 1, func() { p.edit(t, hundred) })
				p.events.Take()
				serve(t, p, func(*http.Request) {})
				wantHundred(t, p)
				p.wantEvents(t)
			})
		}

		t.Run("C7 what a rewrite does not write it does not show, and a change that follows is merged", func(t *testing.T) {
			p := open(t, s, sessions.Config{Rewrite: true}, ann)
			ctx, live := p.load(t, hundred)
			kit.Must(t, p.here.Save(ctx))
			live.Flash = "mine"
			kit.Must(t, p.here.Save(ctx))
			if got := p.stored(t); got.Views != 100 || got.Flash != "mine" {
				t.Errorf("stored is %+v", got)
			}
		})

		t.Run("C1 the rewrite of a session that was destroyed meanwhile leaves nothing, and is no error", func(t *testing.T) {
			p := open(t, s, sessions.Config{Rewrite: true}, ann)
			serve(t, p, func(*http.Request) { kit.Verb(t, p.there, p.token, "Destroy") })
			if left := kit.RecordUnder(t, p.all, p.token); left != "" {
				t.Errorf("left is %q", left)
			}
		})
	})

	kit.EachBubble(t, "C7 a rewrite whose turn comes after another one's save has nothing to write", func(t *testing.T, c sessions.Codec) {
		p := open(t, setup{kit.Memory(), c, c, true}, sessions.Config{Rewrite: true}, ann)
		writes, live := p.load(t, nil)
		rewrites, _ := p.load(t, nil)
		live.Views = 100
		p.inTurn(t, func() { kit.OK(t, p.here.Save(writes)) }, func() { kit.OK(t, p.here.Save(rewrites)) })
		p.store.WantCalls(t, "both", "CompareAndSwap")
		wantHundred(t, p)
	})
}
