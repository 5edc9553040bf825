package lifecycle_test

import (
	"crypto/rand"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// P2: no sleep here takes any time.
func TestExpiry(t *testing.T) {
	t.Parallel()
	bubble(t, "L5 activity inside IdleTimeout keeps a session", kit.Memory, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		for i := range 20 {
			time.Sleep(idle - time.Second)
			if !b.Alive() {
				t.Fatalf("gone after %d requests", i)
			}
		}
	})

	bubble(t, "L5 silence past IdleTimeout ends a session", kit.Memory, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		time.Sleep(idle / 2)
		if !b.Alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(idle + time.Millisecond)
		if b.Alive() {
			t.Error("alive after the idle timeout")
		}
	})

	for name, store := range map[string]func() sessions.Store{"a store that forgets": kit.Memory, "a store that still returns the bytes": kit.Immortal} {
		bubble(t, "L6 Lifetime ends a session however active it is, in "+name, store, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
			b.Login()
			for elapsed := time.Duration(0); elapsed < lifetime-time.Minute; elapsed += 30 * time.Minute {
				if !b.Alive() {
					t.Fatalf("gone after %v", elapsed)
				}
				b.Edit(func(s *kit.Session) { s.Views++ })
				time.Sleep(30 * time.Minute)
			}
			if b.Alive() {
				t.Error("alive after Lifetime")
			}
		})
	}

	bubble(t, "L6 a renewal late in life does not lengthen it, however young the cookie", kit.Immortal, sessions.Config{Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		time.Sleep(lifetime - time.Minute)
		old := b.Token()
		b.Verb("Renew")
		if b.Token() == old || !b.Alive() {
			t.Fatal("not renewed")
		}
		time.Sleep(time.Minute)
		if b.Alive() {
			t.Error("the renewed session lives longer than Lifetime")
		}
	})

	bubble(t, "L7 whatever is written has an expiry, within IdleTimeout and what is left of Lifetime", kit.Immortal, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		_, i := b.Login().Peek()
		a.Store.TTLs()
		writes := 0
		for range 19 {
			time.Sleep(73 * time.Minute) // the store is immortal
			for _, verb := range []string{"Save", "Renew", "Touch"} {
				b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
					s.Views++
					_ = kit.Call(a.Manager, r.Context(), verb)
				})
			}
			for _, ttl := range a.Store.TTLs() {
				writes++
				if left := time.Until(i.ExpiresAt); ttl <= 0 || ttl > idle || ttl > left && ttl != 10*time.Second {
					t.Errorf("a ttl of %v with %v of Lifetime left", ttl, left)
				}
			}
		}
		if writes < 19 {
			t.Errorf("only %d writes", writes)
		}
	})

	const commit = "the commit"
	for name, store := range map[string]func() sessions.Store{"a store that forgets": kit.Memory, "a store that still returns the bytes": kit.Immortal} {
		for _, verb := range []string{commit, "Save", "Renew", "Touch", "Reload"} {
			for timeouts, cfg := range map[string]sessions.Config{
				"both":    {},
				"no idle": {IdleTimeout: -1},
			} {
				bubble(t, "L7 "+verb+" after the deadline within a request leaves no record, in "+name+", timeouts "+timeouts, store, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
					old := b.Login().Clone()
					res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
						time.Sleep(lifetime + time.Second)
						s.Views++
						if verb != commit {
							kit.WantErr(t, verb, kit.Call(a.Manager, r.Context(), verb), sessions.ErrGone)
						}
					})
					if verb == commit && res.StatusCode != http.StatusConflict {
						t.Errorf("status %d, want 409", res.StatusCode)
					}
					if len(res.Header["Set-Cookie"]) > 0 {
						t.Errorf("Set-Cookie %q", res.Header["Set-Cookie"])
					}
					if old.Alive() {
						t.Error("the session is alive")
					}
					if live, marks := a.Store.Left(t); live+marks > 0 {
						t.Errorf("%d records and %d marks left", live, marks)
					}
				})
			}
		}
	}

	for _, verb := range []string{commit, "Renew", "SignIn"} {
		slow := &atomic.Bool{}
		cfg := sessions.Config{IdleTimeout: -1, Lifetime: 100 * time.Millisecond, NewToken: func() (string, error) {
			if slow.Load() {
				time.Sleep(200 * time.Millisecond)
			}
			return rand.Text(), nil
		}}
		bubble(t, "L7 "+verb+" whose deadline passes while a token is drawn", kit.Memory, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
			slow.Store(false)
			if verb != commit {
				b.Login()
			}
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views++
				slow.Store(true)
				if verb != commit {
					kit.WantErr(t, verb, kit.Call(a.Manager, r.Context(), verb), sessions.ErrGone)
				}
			})
			if verb == commit && res.StatusCode != http.StatusConflict {
				t.Errorf("status %d, want 409", res.StatusCode)
			}
			if len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("Set-Cookie %q", res.Header["Set-Cookie"])
			}
		})
	}

	bubble(t, "L5 without an IdleTimeout silence does not end a session, Lifetime does", kit.Memory, sessions.Config{IdleTimeout: -1}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		_, i := b.Peek()
		if !i.IdleUntil.Equal(i.ExpiresAt) || i.ExpiresAt.IsZero() {
			t.Errorf("%+v", i)
		}
		time.Sleep(lifetime - time.Millisecond)
		if !b.Alive() {
			t.Fatal("gone too early")
		}
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views++
			kit.OK(t, a.Touch(r.Context()))
		})
		time.Sleep(time.Millisecond)
		if b.Alive() {
			t.Error("alive after Lifetime")
		}
	})

	bubble(t, "L5 without a Lifetime activity keeps a session for years, silence ends it", kit.Memory, sessions.Config{Lifetime: -1}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		for range 2000 {
			time.Sleep(50 * time.Minute)
			if !b.Alive() {
				t.Fatal("gone")
			}
		}
		if _, i := b.Peek(); !i.ExpiresAt.IsZero() || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Millisecond)
		if b.Alive() {
			t.Error("alive after silence")
		}
	})

	for name, cfg := range map[string]sessions.Config{"with an idle timeout": {}, "without": {IdleTimeout: -1}, "passive": {Passive: func(*http.Request) bool { return true }}} {
		bubble(t, "L17 a record past its Lifetime is deleted on sight, and reported, "+name, kit.Immortal, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
			_, i := b.Login().Peek()
			time.Sleep(lifetime)
			a.Store.Calls()
			a.Events.Take()
			res := b.Edit(func(s *kit.Session) {
				if s.UserID != "" {
					t.Errorf("read %+v", s)
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			a.WantCalls(t, "the replay", "Load CompareAndSwap")
			if live, _ := a.Store.Left(t); live > 0 {
				t.Error("the record is still there")
			}
			if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventExpired || events[0].Session.ID != i.ID {
				t.Errorf("events %+v, want one %v of %s", events, sessions.EventExpired, i.ID)
			}
			b.Alive()
			a.WantCalls(t, "the second replay", "Load")
		})
	}
}
