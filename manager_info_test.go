package sessions_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

// A walk through every stage, with all of Info each time.
func TestInfo(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(123456789 * time.Nanosecond) // records keep milliseconds
			agent := "Firefox"
			m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{Codec: c, Label: func(*http.Request) string { return agent }})
			v := newGuest(t, m)
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
			v.visit(func(ctx context.Context, s *Session) {
				i := m.Info(ctx)
				if id = i.ID; len(id) != 36 {
					t.Errorf("ID %q", id)
				}
				check("new", i, sessions.Info{ID: id, New: true, Current: true})
				s.Views++
				check("changed", m.Info(ctx), sessions.Info{ID: id, New: true, Current: true})
				do1(t, m.Save, ctx)
				check("saved", m.Info(ctx), sessions.Info{
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
			v.visit(func(ctx context.Context, s *Session) {
				check("loaded", m.Info(ctx), want)
				s.Views++
				do1(t, m.Save, ctx)
				check("saved again", m.Info(ctx), want)
				time.Sleep(time.Minute)
				check("a minute later", m.Info(ctx), want)
				do1(t, m.Reload, ctx)
				now = time.Now()
				want.LastSeenAt, want.IdleUntil = now, now.Add(time.Hour)
				check("reloaded", m.Info(ctx), want)
			})
			time.Sleep(10 * time.Minute)
			v.visit(func(ctx context.Context, _ *Session) {
				do1(t, m.Renew, ctx)
				now = time.Now()
				want.LastSeenAt, want.IdleUntil, want.Label = now, now.Add(time.Hour), "Chrome"
				check("renewed", m.Info(ctx), want)
			})
			time.Sleep(10 * time.Minute)
			v.visit(func(ctx context.Context, _ *Session) {
				do1(t, func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }, ctx)
				now = time.Now()
				want.Remembered = true
				want.CreatedAt, want.AuthenticatedAt, want.LastSeenAt = now, now, now
				want.IdleUntil, want.ExpiresAt = now.Add(30*24*time.Hour), now.Add(30*24*time.Hour)
				check("remembered", m.Info(ctx), want)
			})
			time.Sleep(24 * time.Hour)
			v.visit(func(ctx context.Context, _ *Session) {
				want.LastSeenAt = time.Now()
				check("the next day", m.Info(ctx), want) // IdleUntil is never past ExpiresAt
				do1(t, m.Destroy, ctx)
				i := m.Info(ctx)
				if i.ID == id {
					t.Error("the ID outlives the session")
				}
				check("destroyed", i, sessions.Info{New: true, Current: true})
			})
		})
	})
}
