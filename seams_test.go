package sessions_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// A third party's Store, Codec, Transport and Layout, and a Manager that works
// on each alone and on all of them. None of them has anything of ours but the
// interface.

func TestSeams(t *testing.T) {
	const idle = 15 * time.Minute
	own := func() sessions.Store { return new(sessions.MemoryStore) }
	foreign := func() sessions.Store { return new(mapStore) }
	// A document knows no time of creation, so its Manager has no Lifetime.
	for _, tt := range []struct {
		name  string
		store func() sessions.Store
		cfg   sessions.Config
		marks bool
	}{
		{"ours", own, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Store", foreign, sessions.Config{IdleTimeout: idle}, true},
		{"foreign Codec", own, sessions.Config{IdleTimeout: idle, Codec: gobCodec{}}, true},
		{"foreign Transport", own, sessions.Config{IdleTimeout: idle, Transport: twoHeaders{}}, true},
		{"foreign cookie", own, sessions.Config{IdleTimeout: idle, Transport: docCookie{}}, true},
		{"foreign Layout", own, sessions.Config{IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}}, false},
		{"all foreign", foreign, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}, Codec: plainCodec{}, Transport: docCookie{},
		}, false},
		{"all foreign, headers", foreign, sessions.Config{
			IdleTimeout: time.Hour, Lifetime: -1, Layout: document{idle}, Codec: plainCodec{}, Transport: twoHeaders{},
		}, false},
	} {
		run := func(name string, f func(t *testing.T, s *site)) {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, newSite(t, tt.store(), tt.cfg)) })
			})
		}

		run("L1 a change is stored and read again", func(t *testing.T, s *site) {
			c := s.client()
			full := Session{UserID: "u", Views: 1, Cart: []Item{{"a", 2}}, Prefs: map[string]int{"x": 1, "y": 2, "z": 3}}
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full })
			s.status(res, 200)
			if tokenSent(res) == "" {
				t.Error("no token")
			}
			res = c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				if s.UserID != "u" || s.Views != 1 || len(s.Cart) != 1 || s.Cart[0].Qty != 2 || s.Prefs["z"] != 3 {
					t.Errorf("read %+v", s)
				}
			})
			if got := tokenSent(res); got != "" {
				t.Errorf("the second response sends %q", got)
			}
		})

		run("L2 nobody looks, nothing happens", func(t *testing.T, s *site) {
			res := s.client().do(func(http.ResponseWriter, *http.Request, *Session) {})
			if tokenSent(res) != "" || len(s.events.kinds()) != 0 {
				t.Error("something happened")
			}
		})

		run("L3 a session that is read is not written", func(t *testing.T, s *site) {
			c := s.client()
			c.do(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				s.Views, s.Prefs = 1, map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
			})
			s.events.kinds()
			for range 20 {
				c.views()
			}
			if kinds := s.events.kinds(); len(kinds) > 0 {
				t.Errorf("events %v", kinds)
			}
		})

		run("L12 SignIn gives a new token and refuses the old one", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old := c.clone()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				v.UserID = "u"
				s.ok(s.m.SignIn(r.Context()))
			})
			if tokenSent(res) == "" {
				t.Error("no token")
			}
			if got := c.views(); got != 1 {
				t.Errorf("with the new token: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("with the old token: %d", got)
			}
		})

		run("L12 Renew keeps data and id", func(t *testing.T, s *site) {
			c := s.client()
			var before, after, later string
			c.do(set(1))
			old := c.clone()
			s.events.kinds()
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				before = s.m.Info(r.Context()).ID
				v.Views++
				s.ok(s.m.Renew(r.Context()))
				after = s.m.Info(r.Context()).ID
			})
			if kinds := s.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventRenewed}) {
				t.Errorf("events %v", kinds)
			}
			if got := c.views(); got != 2 {
				t.Errorf("with the new token: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("with the old token: %d", got)
			}
			c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { later = s.m.Info(r.Context()).ID })
			// A format without an ID has one of the key, and the key changes.
			kept(t, before != "" && after == later && (before == after || !tt.marks), "Info.ID is %q before, %q after Renew, %q in the next request", before, after, later)
		})

		run("L10 Destroy", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			replay := c.clone()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
			if tokenSent(res) == "" {
				t.Error("the client is not told")
			}
			if got := replay.views(); got != -1 {
				t.Errorf("replayed: %d", got)
			}
			if cookies := c.jar.Cookies(appURL); len(cookies) > 0 {
				t.Errorf("the browser keeps %v", cookies)
			}
		})

		run("L11 writing after Destroy starts a new session", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old := c.clone()
			c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				s.ok(s.m.Destroy(r.Context()))
				v.Flash = "bye"
			})
			if got := c.views(); got != 0 {
				t.Errorf("the new one: %d", got)
			}
			if got := old.views(); got != -1 {
				t.Errorf("the old one: %d", got)
			}
		})

		run("L5 activity keeps it, silence ends it", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			c = c.clone() // without the cookie's own age, which decides nothing
			for range 20 {
				time.Sleep(idle - time.Second)
				if got := c.views(); got != 1 {
					t.Fatalf("views %d", got)
				}
			}
			time.Sleep(idle + time.Second)
			if got := c.views(); got != -1 {
				t.Errorf("after the idle timeout: %d", got)
			}
		})

		run("C12 a conflict", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				c.clone().do(set(2))
				v.Views = 3
			})
			s.status(res, 200)
			if got := c.views(); got != 3 {
				t.Errorf("views %d, want 3", got)
			}
			if !slices.Contains(s.events.kinds(), sessions.EventConflict) {
				t.Error("no event")
			}
		})

		run("C1 destroyed meanwhile", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			token := c.clone()
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				c.clone().do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Destroy(r.Context())) })
				v.Views = 3
			})
			s.status(res, http.StatusConflict)
			if got := tokenSent(res); got != "" {
				t.Errorf("the loser sends %q", got)
			}
			if got := token.views(); got != -1 {
				t.Errorf("it is back: %d", got)
			}
		})

		run("C4 renewed meanwhile", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			old, other := c.clone(), c.clone()
			res := c.do(func(_ http.ResponseWriter, _ *http.Request, v *Session) {
				other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
				v.Views = 3
			})
			s.status(res, http.StatusConflict)
			if got := tokenSent(res); got != "" {
				t.Errorf("the loser sends %q", got)
			}
			if a, b := old.views(), other.views(); a != -1 || b != 1 {
				t.Errorf("old %d, new %d", a, b)
			}
		})

		run("C15 destroyed by the old token while it is renewed", func(t *testing.T, s *site) {
			c := s.client()
			c.do(set(1))
			other := c.clone()
			c.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) {
				other.do(func(_ http.ResponseWriter, r *http.Request, _ *Session) { s.ok(s.m.Renew(r.Context())) })
				s.ok(s.m.Destroy(r.Context()))
			})
			got := other.views()
			if got != -1 && tt.marks { // without marks nothing leads to it
				t.Errorf("%d views with the renewed token", got)
			}
		})

		run("L18 Load and Commit", func(t *testing.T, s *site) {
			ctx, err := s.m.Load(t.Context())
			s.ok(err)
			sessions.FromContext[Session](ctx).Views = 1
			o, err := s.m.Commit(ctx)
			s.ok(err)
			if o.Kind != sessions.OutcomeCreated || o.Token == "" {
				t.Fatalf("outcome %v", o.Kind)
			}
			ctx, err = s.m.Load(t.Context(), o.Token.Reveal())
			s.ok(err)
			if got := sessions.FromContext[Session](ctx).Views; got != 1 {
				t.Errorf("views %d", got)
			}
			s.ok(s.m.Renew(ctx))
			renewed, err := s.m.Commit(ctx)
			s.ok(err)
			if renewed.Kind != sessions.OutcomeRenewed || renewed.Token == o.Token {
				t.Errorf("outcome %v", renewed.Kind)
			}
			s.ok(s.m.Destroy(ctx))
			o, err = s.m.Commit(ctx)
			s.ok(err)
			if o.Kind != sessions.OutcomeDestroyed {
				t.Errorf("outcome %v", o.Kind)
			}
			kept(t, o.Token == renewed.Token, "Outcome.Token is documented as the token presented, and of OutcomeDestroyed it is empty")
		})

		run("T9 Vary", func(t *testing.T, s *site) {
			c := s.client()
			res := c.do(func(_ http.ResponseWriter, r *http.Request, v *Session) {
				v.Views = 1
				s.ok(s.m.Save(r.Context()))
				s.ok(s.m.Renew(r.Context()))
			})
			lines := res.Header["Vary"]
			kept(t, len(lines) == 1, "a Transport that reads two headers has no way to say so: Vary is %q", lines)
		})
	}
}
