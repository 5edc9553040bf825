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

func TestTouchInterval(t *testing.T) {
	t.Parallel()
	const interval = 5 * time.Minute
	cfg := sessions.Config{TouchInterval: interval, Remember: sessions.Remember{IdleTimeout: 2 * idle}}
	seenAt := func(t *testing.T, i sessions.Info, seen time.Time, idle time.Duration) {
		t.Helper()
		if i.New || !i.LastSeenAt.Equal(seen) || !i.IdleUntil.Equal(seen.Add(idle+interval)) {
			t.Errorf("%v after it: %+v, want it last seen at %v", time.Since(seen), i, seen)
		}
	}
	for name, class := range map[string]struct {
		options []sessions.SignInOption
		idle    time.Duration
	}{"plain": {nil, idle}, "remembered": {[]sessions.SignInOption{sessions.Remembered}, 2 * idle}} {
		bubble(t, "L24 a read within the interval touches nothing, and the next one does: "+name, kit.Memory, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.UserID = "u1"
				kit.OK(t, a.SignIn(r.Context(), class.options...))
			})
			seen := time.Now()
			a.Events.Take()
			for range 5 {
				time.Sleep(time.Minute)
				_, i := b.Peek()
				seenAt(t, i, seen, class.idle)
			}
			time.Sleep(time.Minute)
			_, i := b.Peek()
			seenAt(t, i, time.Now(), class.idle)
			a.WantEvents(t)
		})
		bubble(t, "L24 it ends at the earliest an IdleTimeout after its last use, and at the latest the interval after that: "+name, kit.Memory, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
			for _, later := range []time.Duration{0, interval} { // the last use, after the last touch
				b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
					s.UserID = "u1"
					kit.OK(t, a.SignIn(r.Context(), class.options...))
				})
				time.Sleep(later)
				b.Peek()
				time.Sleep(class.idle - time.Millisecond)
				if !b.Alive() {
					t.Fatalf("it has ended before the IdleTimeout, used %v after its touch", later)
				}
				time.Sleep(class.idle + interval + time.Millisecond)
				if b.Alive() {
					t.Fatalf("it lives on after the IdleTimeout and the interval, used %v after its touch", later)
				}
			}
		})
	}
	bubble(t, "L24 Touch and Reload touch at any time, and so does a save", kit.Memory, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		for _, verb := range []string{"Touch", "Reload", "Save"} {
			time.Sleep(time.Minute)
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				if verb == "Save" {
					s.Views++
				}
				kit.OK(t, runVerb(a.Manager, r.Context(), verb))
				seenAt(t, a.Info(r.Context()), time.Now(), idle)
			})
		}
	})
	bubble(t, "L24 a process without the interval, and one with it, keep a session alive for each other", kit.Memory, cfg, func(t *testing.T, a *kit.App, b *kit.Browser) {
		b.Login()
		old := b.To(kit.NewApp(t, kit.InProcess, a.Store, sessions.Config{}))
		for range 20 {
			time.Sleep(idle - time.Minute)
			if !b.Alive() || !old.Alive() {
				t.Fatal("gone")
			}
		}
	})
}
