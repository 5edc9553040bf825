package lifecycle_test

import (
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
			check("new", i, sessions.Info{ID: id, New: true, Current: true})
			s.Views++
			check("changed", a.Info(ctx), sessions.Info{ID: id, New: true, Current: true})
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
			check("destroyed", i, sessions.Info{New: true, Current: true})
		})
	})
}
