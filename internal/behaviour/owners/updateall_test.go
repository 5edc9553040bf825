package owners_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func count(s *session) error { s.Views++; return nil }

// views are those of some tokens' sessions.
func (d *devices) views(tokens ...string) (views []int) {
	d.t.Helper()
	for _, token := range tokens {
		views = append(views, kit.Stored(d.t, d.other, token).Views)
	}
	return views
}

func (d *devices) wantViews(want int, tokens ...string) {
	d.t.Helper()
	for i, got := range d.views(tokens...) {
		if got != want {
			d.t.Errorf("session %d has %d views, want %d", i, got, want)
		}
	}
}

// breakOne makes the record of a session one that cannot be read.
func (d *devices) breakOne(token string) {
	record := kit.RecordUnder(d.t, d.raw, token)
	header, _, _ := strings.Cut(record, "\n")
	kit.Place(d.t, d.raw, token, header+"\n?")
}

func TestUpdateAll(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O13 UpdateAll changes each session of the user once, and no other", func(t *testing.T, d *devices) {
			tokens, bob := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}, d.signIn("bob")
			d.store.Calls()
			d.events.Take()
			kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
			d.store.WantCalls(t, "it", "Members LoadMany Place Place Place")
			for _, e := range d.events.Take() {
				if e.Kind != sessions.EventSaved || e.Op != "update all" || e.Session.Owner != "ann" || e.Session.Current || e.Session.ID == "" {
					t.Errorf("the event %v of %q is about %+v", e.Kind, e.Op, e.Session)
				}
			}
			d.wantViews(1, tokens...)
			d.wantViews(0, bob)
			d.wantListed("ann", tokens...)
		})

		row("O13 the caller's own session goes through Update: what its request has changed is stored too", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			res := d.visit(mine, func(ctx context.Context, s *session) {
				s.Note = "of the request"
				kit.Must(t, d.mine.UpdateAll(ctx, "ann", count))
				if s.Views != 1 || s.Note != "of the request" {
					t.Errorf("T is %+v", *s)
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			d.wantViews(1, mine, other)
			if s := kit.Stored(t, d.other, mine); s.Note != "of the request" {
				t.Errorf("%+v is stored", s)
			}
			if s := kit.Stored(t, d.other, other); s.Note != "" {
				t.Errorf("%+v is stored in the other session", s)
			}
		})

		row("O13 C1 another request's save of the same session is merged", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			d.park("before Place", func() { kit.Edit(t, d.other, token, func(s *session) { s.Views, s.Note = 41, "of the save" }) })
			kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
			if s := kit.Stored(t, d.other, token); s != (session{User: "ann", Views: 42, Note: "of the save"}) {
				t.Errorf("%+v is stored", s)
			}
		})

		row("O13 a session that ends meanwhile is no error, and stays ended", func(t *testing.T, d *devices) {
			for _, step := range []string{"after Members", "after LoadMany", "before Place"} {
				token, another := d.signIn("ann"), d.signIn("ann")
				d.park(step, func() { kit.Verb(t, d.other, token, "Destroy") })
				kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
				d.wantAlive(false, token)
				d.wantViews(1, another)
				kit.Verb(t, d.other, another, "Destroy")
			}
		})

		row("O13 a session that is renewed meanwhile is updated once, under its new key", func(t *testing.T, d *devices) {
			for _, step := range []string{"after Members", "after LoadMany", "before Place", "after Place"} {
				old := d.signIn("ann")
				renewed := ""
				d.park(step, func() { renewed = d.renew(old) })
				kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
				d.wantViews(1, renewed)
				d.wantListed("ann", renewed)
				kit.Verb(t, d.other, renewed, "Destroy")
			}
		})

		row("O13 the caller's own session that was renewed meanwhile is updated under its new key", func(t *testing.T, d *devices) {
			old := d.signIn("ann")
			d.visit(old, func(ctx context.Context, _ *session) {
				renewed := d.renew(old)
				kit.Must(t, d.mine.UpdateAll(ctx, "ann", count))
				d.wantViews(1, renewed)
			})
		})

		row("O13 that the caller's own session has ended is no error of it, but what the request has changed is lost", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			res := d.visit(mine, func(ctx context.Context, s *session) {
				s.Note = "lost"
				kit.Verb(t, d.other, mine, "Destroy")
				kit.Must(t, d.mine.UpdateAll(ctx, "ann", count))
			})
			if res.StatusCode != http.StatusConflict {
				t.Errorf("it answers %d", res.StatusCode)
			}
			d.wantViews(1, other)
			d.wantAlive(false, mine)
		})

		row("O13 a change of the owner is refused, for the caller's session and for another", func(t *testing.T, d *devices) {
			toBob := func(s *session) error { s.User = "bob"; s.Views++; return nil }
			token := d.signIn("ann")
			check := func(ctx context.Context) {
				if err := d.mine.UpdateAll(ctx, "ann", toBob); err == nil || !strings.Contains(err.Error(), "owner") {
					t.Errorf("the error is %v", err)
				}
				if s := kit.Stored(t, d.other, token); s != (session{User: "ann"}) {
					t.Errorf("%+v is stored", s)
				}
			}
			check(t.Context())
			res := d.visit(token, func(ctx context.Context, s *session) {
				check(ctx)
				if *s != (session{User: "ann"}) {
					t.Errorf("T is %+v", *s)
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			d.wantListed("ann", token)
			d.wantListed("bob")
		})

		row("O13 K3 a session that a build in which T is not Owned has made another user's is not updated, and the others are", func(t *testing.T, d *devices) {
			tokens := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}
			older := kit.New[unowned](t, &kit.Store{Store: d.raw}, sessions.Config{Codec: d.codec})
			kit.Edit(t, older, tokens[1], func(s *unowned) { s.User = "bob" })
			was := kit.RecordUnder(t, d.raw, tokens[1])
			kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
			d.wantViews(1, tokens[0], tokens[2])
			if now := kit.RecordUnder(t, d.raw, tokens[1]); now != was {
				t.Errorf("bob's became %q", now)
			}
		})

		row("O13 an error of the function ends it and comes back unchanged", func(t *testing.T, d *devices) {
			errEnough := errors.New("enough")
			mine, others := d.signIn("ann"), []string{d.signIn("ann"), d.signIn("ann")}
			calls := 0
			second := func(s *session) error {
				s.Views++
				if calls++; calls == 2 {
					return errEnough
				}
				return nil
			}
			d.visit(mine, func(ctx context.Context, _ *session) {
				if err := d.mine.UpdateAll(ctx, "ann", second); err != errEnough {
					t.Errorf("the error is %v", err)
				}
			})
			d.wantViews(1, mine)
			d.wantViews(0, others...)
			d.events.Want(t, sessions.EventSaved)
			if err := d.mine.UpdateAll(t.Context(), "ann", func(*session) error { return errEnough }); err != errEnough {
				t.Errorf("the error is %v", err)
			}
		})

		row("O13 sessions that cannot be read, or are of a newer build, are errors, and the others are updated", func(t *testing.T, d *devices) {
			broken, newer, fine := d.signIn("ann"), d.signIn("ann"), []string{d.signIn("ann"), d.signIn("ann")}
			ids := []string{d.id(broken), d.id(newer)}
			d.breakOne(broken)
			kit.Place(t, d.raw, newer, strings.Replace(kit.RecordUnder(t, d.raw, newer), `,"owner"`, `,"version":9,"owner"`, 1))
			stored := []string{kit.RecordUnder(t, d.raw, broken), kit.RecordUnder(t, d.raw, newer)}
			err := d.mine.UpdateAll(t.Context(), "ann", count)
			if _, unreadable := errors.AsType[*sessions.DecodeError](err); !unreadable || !errors.Is(err, sessions.ErrNewerVersion) {
				t.Errorf("the error is %v", err)
			}
			for _, id := range ids {
				if !strings.Contains(err.Error(), id) {
					t.Errorf("the error does not name %s: %v", id, err)
				}
			}
			if now := []string{kit.RecordUnder(t, d.raw, broken), kit.RecordUnder(t, d.raw, newer)}; !slices.Equal(now, stored) {
				t.Error("a record that cannot be read was written")
			}
			d.wantViews(1, fine...)
		})

		row("O13 a session that becomes too large is an error, and the others are updated", func(t *testing.T, d *devices) {
			large, fine := d.signIn("ann"), d.signIn("ann")
			kit.Edit(t, d.other, large, func(s *session) { s.Note = strings.Repeat("x", 60<<10) })
			err := d.mine.UpdateAll(t.Context(), "ann", func(s *session) error { s.Note += strings.Repeat("y", 5<<10); return nil })
			kit.WantErr(t, "it", err, sessions.ErrTooLarge)
			if s := kit.Stored(t, d.other, fine); len(s.Note) != 5<<10 {
				t.Errorf("the other one has %d bytes", len(s.Note))
			}
		})

		row("O13 a store that does not answer ends it with ErrUnavailable", func(t *testing.T, d *devices) {
			d.signIn("ann")
			d.signIn("ann")
			for _, step := range []string{"before Members", "before LoadMany", "before Place"} {
				d.store.Fail(sessions.ErrUnavailable, step)
				d.store.Calls()
				kit.WantErr(t, "it", d.mine.UpdateAll(t.Context(), "ann", count), sessions.ErrUnavailable)
				if calls := d.store.Calls(); strings.Count(calls, "Place") > 1 {
					t.Errorf("it went on: %s", calls)
				}
				d.store.Heal()
			}
		})

		row("O13 C2 UpdateAlls and Updates at once lose nothing and do nothing twice", func(t *testing.T, d *devices) {
			const rounds = 10
			tokens := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}
			var all sync.WaitGroup
			for _, m := range []*manager{d.mine, d.other} {
				all.Go(func() {
					for range rounds {
						kit.OK(t, m.UpdateAll(context.Background(), "ann", count))
					}
				})
				for _, token := range tokens {
					all.Go(func() {
						for range rounds {
							_, err := kit.Request(context.Background(), m, token, func(ctx context.Context) error { return m.Update(ctx, count) })
							kit.OK(t, err)
						}
					})
				}
			}
			all.Wait()
			d.wantViews(4*rounds, tokens...)
		})
	})
}

func TestUpdateAllKeepsTime(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "O13 UpdateAll is no activity: each session keeps its remaining time", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: time.Hour})
		tokens := []string{d.signIn("ann")}
		time.Sleep(20 * time.Minute)
		tokens = append(tokens, d.signIn("ann"))
		time.Sleep(20 * time.Minute)
		before, err := d.other.SessionsOf(t.Context(), "ann")
		kit.Must(t, err)
		kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
		after, err := d.other.SessionsOf(t.Context(), "ann")
		kit.Must(t, err)
		if !slices.Equal(after, before) {
			t.Errorf("the list is %+v, was %+v", after, before)
		}
		time.Sleep(20*time.Minute - time.Millisecond)
		d.wantListed("ann", tokens[1], tokens[0]) // which is activity
	})
	kit.EachBubble(t, "O13 a session whose time is up is not updated", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: time.Hour})
		d.signIn("ann")
		d.park("after LoadMany", func() { time.Sleep(time.Hour) })
		kit.Must(t, d.mine.UpdateAll(t.Context(), "ann", count))
		d.wantListed("ann")
	})
}
