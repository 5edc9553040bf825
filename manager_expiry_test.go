package sessions_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// P2: no sleep here takes any time.
func TestExpiry(t *testing.T) {
	const idle, lifetime = time.Hour, 24 * time.Hour

	bubble(t, "L5 activity inside IdleTimeout keeps a session", memory, sessions.Config{}, func(t *testing.T, v *guest) {
		v.login()
		for i := range 20 {
			time.Sleep(idle - time.Second)
			if !v.alive() {
				t.Fatalf("gone after %d requests", i)
			}
		}
	})

	bubble(t, "L5 silence past IdleTimeout ends a session", memory, sessions.Config{}, func(t *testing.T, v *guest) {
		v.login()
		time.Sleep(idle / 2)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(idle + time.Millisecond)
		if v.alive() {
			t.Error("alive after the idle timeout")
		}
	})

	for name, store := range map[string]func() sessions.Store{"a store that forgets": memory, "a store that still returns the bytes": immortal} {
		bubble(t, "L6 Lifetime ends a session however active it is, in "+name, store, sessions.Config{}, func(t *testing.T, v *guest) {
			v.login()
			for elapsed := time.Duration(0); elapsed < lifetime-time.Minute; elapsed += 30 * time.Minute {
				if !v.alive() {
					t.Fatalf("gone after %v", elapsed)
				}
				v.visit(func(_ context.Context, s *Session) { s.Views++ })
				time.Sleep(30 * time.Minute)
			}
			if v.alive() {
				t.Error("alive after Lifetime")
			}
		})
	}

	bubble(t, "L6 a renewal late in life does not lengthen it, however young the cookie", immortal, sessions.Config{Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, v *guest) {
		v.login()
		time.Sleep(lifetime - time.Minute)
		old := v.token()
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		if v.token() == old || !v.alive() {
			t.Fatal("not renewed")
		}
		time.Sleep(time.Minute)
		if v.alive() {
			t.Error("the renewed session lives longer than Lifetime")
		}
	})

	t.Run("L7 whatever is written has an expiry, within IdleTimeout and what is left of Lifetime", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) {
				spy := &spyStore{Store: &immortalStore{}}
				v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c})).login()
				_, i := v.look()
				for range 19 {
					spy.ttls = nil
					time.Sleep(73 * time.Minute) // the store is immortal
					for _, verb := range []func(context.Context) error{v.m.Save, v.m.Renew, v.m.Touch} {
						v.visit(func(ctx context.Context, s *Session) {
							s.Views++
							_ = verb(ctx)
						})
					}
					for _, ttl := range spy.ttls {
						if left := time.Until(i.ExpiresAt); ttl <= 0 || ttl > idle || ttl > left && ttl != 10*time.Second {
							t.Errorf("a ttl of %v with %v of Lifetime left", ttl, left)
						}
					}
				}
				if len(spy.keys) < 20 {
					t.Errorf("only %d writes", len(spy.keys))
				}
			})
		})
	})

	for name, store := range map[string]func() sessions.Store{"a store that forgets": memory, "a store that still returns the bytes": immortal} {
		for verb, f := range map[string]func(m *sessions.Manager[Session], ctx context.Context) error{
			"the commit": nil,
			"Save":       func(m *sessions.Manager[Session], ctx context.Context) error { return m.Save(ctx) },
			"Renew":      func(m *sessions.Manager[Session], ctx context.Context) error { return m.Renew(ctx) },
			"Touch":      func(m *sessions.Manager[Session], ctx context.Context) error { return m.Touch(ctx) },
			"Reload":     func(m *sessions.Manager[Session], ctx context.Context) error { return m.Reload(ctx) },
			"SignIn":     func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) },
		} {
			for timeouts, cfg := range map[string]sessions.Config{
				"both":    {},
				"no idle": {IdleTimeout: -1},
			} {
				t.Run("L7 "+verb+" after the deadline within a request leaves no record, in "+name+", timeouts "+timeouts, func(t *testing.T) {
					eachCodec(t, func(t *testing.T, c sessions.Codec) {
						synctest.Test(t, func(t *testing.T) {
							spy := &spyStore{Store: store()}
							cfg := cfg
							cfg.Codec = c
							v := newGuest(t, newManager[Session](t, spy, cfg)).login()
							old := v.clone()
							res := v.visit(func(ctx context.Context, s *Session) {
								time.Sleep(lifetime + time.Second)
								s.Views++
								if f == nil {
									return
								}
								if err := f(v.m, ctx); !errors.Is(err, sessions.ErrGone) {
									t.Errorf("%s gives %v, want ErrGone", verb, err)
								}
							})
							if f == nil && res.StatusCode != http.StatusConflict {
								t.Errorf("status %d, want 409", res.StatusCode)
							}
							if len(res.Header["Set-Cookie"]) > 0 {
								t.Errorf("Set-Cookie %q", res.Header["Set-Cookie"])
							}
							if old.alive() {
								t.Error("the session is alive")
							}
							if live, marks := spy.left(t); live+marks > 0 {
								t.Errorf("%d records and %d marks left", live, marks)
							}
						})
					})
				})
			}
		}
	}

	bubble(t, "L5 without an IdleTimeout silence does not end a session, Lifetime does", memory, sessions.Config{IdleTimeout: -1}, func(t *testing.T, v *guest) {
		v.login()
		_, i := v.look()
		if !i.IdleUntil.Equal(i.ExpiresAt) || i.ExpiresAt.IsZero() {
			t.Errorf("%+v", i)
		}
		time.Sleep(lifetime - time.Millisecond)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		v.visit(func(ctx context.Context, s *Session) {
			s.Views++
			do1(t, v.m.Touch, ctx)
		})
		time.Sleep(time.Millisecond)
		if v.alive() {
			t.Error("alive after Lifetime")
		}
	})

	bubble(t, "L5 without a Lifetime activity keeps a session for years, silence ends it", memory, sessions.Config{Lifetime: -1}, func(t *testing.T, v *guest) {
		v.login()
		for range 2000 {
			time.Sleep(50 * time.Minute)
			if !v.alive() {
				t.Fatal("gone")
			}
		}
		if _, i := v.look(); !i.ExpiresAt.IsZero() || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Millisecond)
		if v.alive() {
			t.Error("alive after silence")
		}
	})

	t.Run("L17 a record past its Lifetime is deleted on sight, and reported", func(t *testing.T) {
		for name, timeouts := range map[string]sessions.Config{"with an idle timeout": {}, "without": {IdleTimeout: -1}, "passive": {Passive: func(*http.Request) bool { return true }}} {
			t.Run(name, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						spy, events := &spyStore{Store: &immortalStore{}}, &recorder{}
						store, log := counted(spy)
						cfg := timeouts
						cfg.Codec, cfg.OnEvent = c, events.on
						v := newGuest(t, newManager[Session](t, store, cfg)).login()
						_, i := v.look()
						time.Sleep(lifetime)
						log.take()
						events.kinds()
						res := v.visit(func(_ context.Context, s *Session) {
							if s.UserID != "" {
								t.Errorf("read %+v", s)
							}
						})
						wantHeader(t, res.Header, http.Header{"Cache-Control": {"private"}, "Vary": {"Cookie"}})
						wantCalls(t, log, "the replay", "Load CompareAndSwap")
						if live, _ := spy.left(t); live > 0 {
							t.Error("the record is still there")
						}
						if len(events.events) != 1 || events.events[0].Kind != sessions.EventExpired || events.events[0].Session.ID != i.ID {
							t.Errorf("events %+v, want one %v of %s", events.events, sessions.EventExpired, i.ID)
						}
						v.alive()
						wantCalls(t, log, "the second replay", "Load")
					})
				})
			})
		}
	})
}
