package lifecycle_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A polling browser says so in a header.
type polling struct{ http.RoundTripper }

func (p polling) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Poll", "1")
	return p.RoundTripper.RoundTrip(r)
}

// poll is b, with its cookies, as it polls.
func poll(b *kit.Browser) *kit.Browser {
	p, client := *b, *b.Client
	client.Transport = polling{client.Transport}
	p.Client = &client
	return &p
}

func TestActivity(t *testing.T) {
	t.Parallel()
	passive := sessions.Config{Passive: func(r *http.Request) bool { return r.Header.Get("X-Poll") != "" }}
	bubble(t, "L16 passive requests load the session and do not keep it alive", kit.Memory, passive, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		seen := time.Now()
		for range 59 {
			time.Sleep(time.Minute)
			poll(b).Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				i := a.Info(r.Context())
				if s.UserID != "u1" || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
					t.Errorf("%v after the last activity: %+v, %+v", time.Since(seen), s, i)
				}
			})
		}
		time.Sleep(time.Minute + time.Millisecond)
		if b.Alive() {
			t.Error("polling kept it alive")
		}
	})

	bubble(t, "L16 a passive request tells no later activity than there was where Lifetime cut the expiry short", kit.Memory, passive, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		for range 47 {
			time.Sleep(30 * time.Minute)
			if !b.Alive() {
				t.Fatal("gone")
			}
		}
		b.Edit(func(s *kit.Session) { s.Views++ })
		seen := time.Now()
		time.Sleep(time.Minute)
		poll(b).Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			if i := a.Info(r.Context()); i.New || i.LastSeenAt.After(seen) || i.LastSeenAt.Before(seen.Add(-idle)) {
				t.Errorf("last seen at %v, want %v or up to an IdleTimeout earlier", i.LastSeenAt, seen)
			}
		})
	})

	bubble(t, "L16 a passive request that calls Touch, or changes the session, keeps it alive", kit.Memory, passive, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		for name, f := range map[string]func(){
			"Touch":  func() { poll(b).Verb("Touch") },
			"change": func() { poll(b).Edit(func(s *kit.Session) { s.Views++ }) },
		} {
			time.Sleep(45 * time.Minute)
			f()
			time.Sleep(45 * time.Minute)
			if !b.Alive() {
				t.Errorf("gone after %s", name)
			}
		}
	})

	bubble(t, "L4 where the store reads but cannot touch, the session is used, Info tells the truth, and Touch is an error", kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		seen := time.Now()
		a.Events.Take()
		check := func(what string, i sessions.Info) {
			t.Helper()
			if i.New || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle)) {
				t.Errorf("%s: %+v, want it last seen at %v", what, i, seen)
			}
			a.WantEvents(t, sessions.EventTouchSkipped)
		}
		a.Store.NoTouch = true
		time.Sleep(10 * time.Minute)
		_, i := b.Peek()
		check("a request", i)
		time.Sleep(10 * time.Minute)
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			a.Events.Take()
			kit.WantErr(t, "Touch", a.Touch(r.Context()), sessions.ErrUnavailable)
			i = a.Info(r.Context())
		})
		check("Touch", i)
	})

	bubble(t, "L4 Touch keeps a session alive through a handler that runs long", kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			ctx := r.Context()
			for range 5 {
				time.Sleep(45 * time.Minute)
				kit.OK(t, a.Touch(ctx))
				if i := a.Info(ctx); !i.IdleUntil.Equal(time.Now().Add(idle)) || !i.LastSeenAt.Equal(time.Now()) {
					t.Errorf("after Touch at %v: %+v", time.Now(), i)
				}
			}
			time.Sleep(45 * time.Minute)
			s.Views = 8
		})
		if s, i := b.Peek(); i.New || s.Views != 8 {
			t.Errorf("%+v, %+v", s, i)
		}
	})
}
