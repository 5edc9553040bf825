package lifecycle_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A walk through every stage, with all of Info each time.
func TestInfo(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "L1 L4 L9 L12 Info tells the truth at every stage", func(t *testing.T, c sessions.Codec) {
		time.Sleep(123456789 * time.Nanosecond) // records keep milliseconds
		agent := "Firefox"
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c, Label: func(*http.Request) string { return agent }})
		b := a.Browser()
		check := func(what string, got, want sessions.Info) {
			t.Helper()
			if want.ID == "" {
				want.ID = got.ID
			}
			for _, p := range []*time.Time{
				&got.CreatedAt, &got.LastSeenAt, &got.AuthenticatedAt, &got.IdleUntil, &got.ExpiresAt,
				&want.CreatedAt, &want.LastSeenAt, &want.AuthenticatedAt, &want.IdleUntil, &want.ExpiresAt,
			} {
				*p = p.Truncate(time.Millisecond).UTC()
			}
			if got != want {
				t.Errorf("%s\n got %+v\nwant %+v", what, got, want)
			}
		}
		var id string
		created := time.Now()
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			ctx := r.Context()
			i := a.Info(ctx)
			if id = i.ID; len(id) != 36 {
				t.Errorf("ID %q", id)
			}
			fresh := sessions.Info{ID: id, New: true, Current: true, IdleUntil: created.Add(time.Hour)}
			check("new", i, fresh)
			s.Views++
			check("changed", a.Info(ctx), fresh)
			kit.OK(t, a.Save(ctx))
			check("saved", a.Info(ctx), sessions.Info{
				ID: id, Label: "Firefox", Current: true, CreatedAt: created, LastSeenAt: created,
				IdleUntil: created.Add(time.Hour), ExpiresAt: created.Add(24 * time.Hour),
			})
		})
		agent = "Chrome" // asked again at renewal only
		time.Sleep(10 * time.Minute)
		now := time.Now()
		want := sessions.Info{
			ID: id, Label: "Firefox", Current: true, CreatedAt: created, LastSeenAt: now,
			IdleUntil: now.Add(time.Hour), ExpiresAt: created.Add(24 * time.Hour),
		}
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			ctx := r.Context()
			check("loaded", a.Info(ctx), want)
			s.Views++
			kit.OK(t, a.Save(ctx))
			check("saved again", a.Info(ctx), want)
			time.Sleep(time.Minute)
			check("a minute later", a.Info(ctx), want)
			kit.OK(t, a.Reload(ctx))
			now = time.Now()
			want.LastSeenAt, want.IdleUntil = now, now.Add(time.Hour)
			check("reloaded", a.Info(ctx), want)
		})
		time.Sleep(10 * time.Minute)
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			ctx := r.Context()
			kit.OK(t, a.Renew(ctx))
			now = time.Now()
			want.LastSeenAt, want.IdleUntil, want.Label = now, now.Add(time.Hour), "Chrome"
			check("renewed", a.Info(ctx), want)
		})
		time.Sleep(10 * time.Minute)
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			ctx := r.Context()
			kit.OK(t, a.SignIn(ctx, sessions.Remembered))
			now = time.Now()
			want.Remembered = true
			want.CreatedAt, want.AuthenticatedAt, want.LastSeenAt = now, now, now
			want.IdleUntil, want.ExpiresAt = now.Add(30*24*time.Hour), now.Add(30*24*time.Hour)
			check("remembered", a.Info(ctx), want)
		})
		time.Sleep(24 * time.Hour)
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			ctx := r.Context()
			want.LastSeenAt = time.Now()
			check("the next day", a.Info(ctx), want) // IdleUntil is never past ExpiresAt
			kit.OK(t, a.Destroy(ctx))
			i := a.Info(ctx)
			if i.ID == id {
				t.Error("the ID outlives the session")
			}
			check("destroyed", i, sessions.Info{New: true, Current: true, IdleUntil: time.Now().Add(time.Hour)})
		})
	})
}

// Before a session is stored Info tells when it will end, so that it is the same before and after.
func TestInfoOfNewSession(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cfg  sessions.Config
		want time.Duration
	}{
		"by default":                    {sessions.Config{}, time.Hour},
		"with an IdleTimeout":           {sessions.Config{IdleTimeout: 5 * time.Minute}, 5 * time.Minute},
		"with a Lifetime alone":         {sessions.Config{IdleTimeout: -1, Lifetime: 2 * time.Hour}, 2 * time.Hour},
		"with a short Lifetime":         {sessions.Config{Lifetime: time.Minute}, time.Minute},
		"without a Lifetime":            {sessions.Config{Lifetime: -1}, time.Hour},
		"in a passive request":          {sessions.Config{Passive: func(*http.Request) bool { return true }}, time.Hour},
		"with a remembered one's apart": {sessions.Config{IdleTimeout: time.Minute, Remember: sessions.Remember{IdleTimeout: time.Hour}}, time.Minute},
	} {
		kit.EachBubble(t, "L27 L2 IdleUntil of a session that is not stored, "+name, func(t *testing.T, c sessions.Codec) {
			row.cfg.Codec = c
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), row.cfg)
			until := func(what string, ctx context.Context) {
				t.Helper()
				if got := time.Until(a.Info(ctx).IdleUntil); got != row.want {
					t.Errorf("%s: in %v, want %v", what, got, row.want)
				}
			}
			b := a.Browser()
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				ctx := r.Context()
				until("on the first visit", ctx)
				time.Sleep(30 * time.Second)
				until("half a minute later", ctx)
				kit.OK(t, a.Reload(ctx))
				until("after Reload", ctx)
			})
			a.Store.WantCalls(t, "a new session", "")
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				ctx := r.Context()
				s.Views++
				kit.OK(t, a.Save(ctx))
				until("stored", ctx)
				kit.OK(t, a.Destroy(ctx))
				until("after Destroy", ctx)
			})
		})
	}
	t.Run("L27 L16 there is none in a request that Skip names", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Skip: func(*http.Request) bool { return true }})
		a.Browser().Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			if i := a.Info(r.Context()); i != (sessions.Info{}) {
				t.Errorf("Info is %+v", i)
			}
		})
	})
}
