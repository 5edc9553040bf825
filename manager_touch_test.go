package sessions_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

func TestExpiryAndActivity(t *testing.T) {
	const idle = time.Hour

	passive := sessions.Config{Passive: func(r *http.Request) bool { return r.Header.Get("X-Poll") != "" }}
	poll := func(v *guest, f func(ctx context.Context, s *Session)) *http.Response {
		r := httptest.NewRequest("GET", "https://example.test/", nil)
		r.Header.Set("X-Poll", "1")
		for name, value := range v.jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w := httptest.NewRecorder()
		v.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), v.m.FromContext(r.Context())) })).ServeHTTP(w, r)
		return w.Result()
	}
	bubble(t, "L16 passive requests load the session and do not keep it alive", memory, passive, func(t *testing.T, v *guest) {
		v.login()
		seen := time.Now()
		for range 59 {
			time.Sleep(time.Minute)
			poll(v, func(ctx context.Context, s *Session) {
				i := v.m.Info(ctx)
				if s.UserID != "u1" || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
					t.Errorf("%v after the last activity: %+v, %+v", time.Since(seen), s, i)
				}
			})
		}
		time.Sleep(time.Minute + time.Millisecond)
		if v.alive() {
			t.Error("polling kept it alive")
		}
	})

	bubble(t, "L16 a passive request tells no later activity than there was where Lifetime cut the expiry short", memory, passive, func(t *testing.T, v *guest) {
		v.login()
		for range 47 {
			time.Sleep(30 * time.Minute)
			if !v.alive() {
				t.Fatal("gone")
			}
		}
		v.visit(func(_ context.Context, s *Session) { s.Views++ })
		seen := time.Now()
		time.Sleep(time.Minute)
		poll(v, func(ctx context.Context, _ *Session) {
			if i := v.m.Info(ctx); i.New || i.LastSeenAt.After(seen) || i.LastSeenAt.Before(seen.Add(-idle)) {
				t.Errorf("last seen at %v, want %v or up to an IdleTimeout earlier", i.LastSeenAt, seen)
			}
		})
	})

	bubble(t, "L16 a passive request that calls Touch, or changes the session, keeps it alive", memory, passive, func(t *testing.T, v *guest) {
		v.login()
		for name, f := range map[string]func(ctx context.Context, s *Session){
			"Touch":  func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) },
			"change": func(_ context.Context, s *Session) { s.Views++ },
		} {
			time.Sleep(45 * time.Minute)
			poll(v, f)
			time.Sleep(45 * time.Minute)
			if !v.alive() {
				t.Errorf("gone after %s", name)
			}
		}
	})

	t.Run("L4 where the store reads but cannot touch, the session is used, Info tells the truth, and Touch is an error", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) {
				var events recorder
				store := &untouchable{}
				v := newGuest(t, newManager[Session](t, store, sessions.Config{Codec: c, OnEvent: events.on})).login()
				seen := time.Now()
				events.kinds()
				check := func(what string, i sessions.Info) {
					t.Helper()
					if i.New || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
						t.Errorf("%s: %+v, want it last seen at %v", what, i, seen)
					}
					if got := events.kinds(); !slices.Equal(got, []sessions.EventKind{sessions.EventTouchSkipped}) {
						t.Errorf("%s: events %v", what, got)
					}
				}
				store.refuse = true
				time.Sleep(10 * time.Minute)
				_, i := v.look()
				check("a request", i)
				time.Sleep(10 * time.Minute)
				v.visit(func(ctx context.Context, _ *Session) {
					events.kinds()
					if err := v.m.Touch(ctx); !errors.Is(err, sessions.ErrUnavailable) {
						t.Errorf("Touch gives %v, want ErrUnavailable", err)
					}
					i = v.m.Info(ctx)
				})
				check("Touch", i)
			})
		})
	})

	bubble(t, "L4 Touch keeps a session alive through a handler that runs long", memory, sessions.Config{}, func(t *testing.T, v *guest) {
		v.login()
		v.visit(func(ctx context.Context, s *Session) {
			for range 5 {
				time.Sleep(45 * time.Minute)
				do1(t, v.m.Touch, ctx)
				if i := v.m.Info(ctx); !i.IdleUntil.Equal(time.Now().Add(idle)) || !i.LastSeenAt.Equal(time.Now()) {
					t.Errorf("after Touch at %v: %+v", time.Now(), i)
				}
			}
			time.Sleep(45 * time.Minute)
			s.Views = 8
		})
		if s, i := v.look(); i.New || s.Views != 8 {
			t.Errorf("%+v, %+v", s, i)
		}
	})
}
