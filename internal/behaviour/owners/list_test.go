package owners_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O1 Sessions lists the user's live sessions in two round trips, the current one marked", func(t *testing.T, d *devices) {
			mine, second, ended := d.signIn("ann"), d.signIn("ann"), d.signIn("ann")
			d.signIn("bob")
			kit.Verb(t, d.other, ended, "Destroy")
			renewed := d.renew(second)
			current := d.id(mine)
			d.visit(mine, func(ctx context.Context, _ *session) {
				d.store.Calls()
				infos, err := d.mine.Sessions(ctx)
				kit.Must(t, err)
				d.store.WantCalls(t, "the list", "Members LoadMany")
				if got, want := ids(infos), []string{current, d.id(renewed)}; len(got) != 2 || !slices.Contains(got, want[0]) || !slices.Contains(got, want[1]) {
					t.Errorf("the list is %v, want %v", got, want)
				}
				for _, i := range infos {
					if i.Current != (i.ID == current) || i.Owner != "ann" || i.New {
						t.Errorf("%+v", i)
					}
				}
			})
		})

		row("O1 what SessionsOf says of a session is what Info says", func(t *testing.T, d *devices) {
			token := d.signIn("ann", sessions.Remembered, sessions.AuthenticatedBy("passkey"))
			ctx, _ := kit.Load(t, d.other, token)
			want := d.other.Info(ctx)
			infos, err := d.mine.SessionsOf(t.Context(), "ann")
			kit.Must(t, err)
			if len(infos) != 1 {
				t.Fatalf("%d sessions", len(infos))
			}
			got := infos[0]
			for name, diff := range map[string]time.Duration{"LastSeenAt": got.LastSeenAt.Sub(want.LastSeenAt), "IdleUntil": got.IdleUntil.Sub(want.IdleUntil)} {
				if diff.Abs() > time.Second {
					t.Errorf("%s differs by %v", name, diff)
				}
			}
			got.LastSeenAt, got.IdleUntil, want.LastSeenAt, want.IdleUntil, want.Current = time.Time{}, time.Time{}, time.Time{}, time.Time{}, false
			if got != want || !got.Remembered || got.Method != "passkey" {
				t.Errorf("%+v, want %+v", got, want)
			}
		})

		row("O1 what has ended without a trace leaves the index by the list that finds it", func(t *testing.T, d *devices) {
			kept, gone := d.signIn("ann"), d.signIn("ann")
			kit.Must(t, d.raw.Delete(t.Context(), kit.KeyOf(gone)))
			for _, calls := range []string{"Members LoadMany Place", "Members LoadMany"} {
				d.store.Calls()
				infos, err := d.mine.SessionsOf(t.Context(), "ann")
				kit.Must(t, err)
				d.store.WantCalls(t, "the list", calls)
				if got := ids(infos); !slices.Equal(got, []string{d.id(kept)}) {
					t.Errorf("the list is %v", got)
				}
			}
			if n := len(d.entries("ann")); n != 1 {
				t.Errorf("the index has %d entries", n)
			}
		})

		row("O1 a session that is renewed between the two round trips is listed once", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			id := d.id(token)
			d.park("after Members", func() { token = d.renew(d.renew(token)) })
			infos, err := d.mine.SessionsOf(t.Context(), "ann")
			kit.Must(t, err)
			if got := ids(infos); !slices.Equal(got, []string{id}) {
				t.Errorf("the list is %v, want %v", got, id)
			}
		})

		row("O1 a record whose header cannot be read is listed by its ID and owner; another owner's and a mark are not", func(t *testing.T, d *devices) {
			tokens := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}
			broken := d.id(tokens[0])
			kit.Place(t, d.raw, tokens[0], "not a record")
			kit.Place(t, d.raw, tokens[1], strings.Replace(kit.RecordUnder(t, d.raw, tokens[1]), `"owner":"ann"`, `"owner":"bob"`, 1))
			kit.Place(t, d.raw, tokens[2], `{"id":"`+kit.HandID+`","w":["a.1"],"created":`+"99999999999999"+`,"successor":"nowhere"}`+"\n")
			infos, err := d.mine.SessionsOf(t.Context(), "ann")
			kit.Must(t, err)
			if len(infos) != 2 || infos[0].ID != d.id(tokens[3]) || infos[1] != (sessions.Info{ID: broken, Owner: "ann"}) {
				t.Errorf("the list is %+v", infos)
			}
		})

		row("O1 a record of a newer build is listed as any other", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			kit.Place(t, d.raw, token, strings.Replace(kit.RecordUnder(t, d.raw, token), `,"owner"`, `,"version":9,"owner"`, 1))
			infos, err := d.mine.SessionsOf(t.Context(), "ann")
			if err != nil || len(infos) != 1 || infos[0].AuthenticatedAt.IsZero() {
				t.Errorf("the list is %+v: %v", infos, err)
			}
		})

		row("O1 a visitor who has not signed in has no list, and the store is not asked", func(t *testing.T, d *devices) {
			for _, token := range []string{"", kit.Edit(t, d.other, "", func(s *session) { s.Views = 1 })} {
				d.visit(token, func(ctx context.Context, s *session) {
					d.store.Calls()
					s.User = "ann" // not stored yet: nothing has proved it
					if infos, err := d.mine.Sessions(ctx); infos != nil || err != nil {
						t.Errorf("%v, %v", infos, err)
					}
					d.store.WantCalls(t, "the list", "")
					s.User = ""
				})
			}
		})

		row("O1 the list of a session that has ended is ErrGone", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			d.visit(token, func(ctx context.Context, _ *session) {
				kit.Verb(t, d.other, token, "Destroy")
				infos, err := d.mine.Sessions(ctx)
				kit.WantErr(t, "Sessions", err, sessions.ErrGone)
				if infos != nil {
					t.Errorf("it lists %v", infos)
				}
			})
		})

		row("O1 a list that fails changes nothing: T is saved all the same", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			d.store.Fail(sessions.ErrUnavailable, "before Members")
			res := d.visit(token, func(ctx context.Context, s *session) {
				_, err := d.mine.Sessions(ctx)
				kit.WantErr(t, "Sessions", err, sessions.ErrUnavailable)
				s.Views = 7
			})
			if res.StatusCode != http.StatusOK || kit.Stored(t, d.other, token).Views != 7 {
				t.Errorf("it answers %d, and %+v is stored", res.StatusCode, kit.Stored(t, d.other, token))
			}
			d.events.Want(t, sessions.EventUnavailable, sessions.EventSaved)
		})

		row("O10 a caller whose own session is missing gets ErrIncomplete with the list, once", func(t *testing.T, d *devices) {
			token, another := d.signIn("ann"), d.signIn("ann")
			kit.Alive(t, d.mine, token) // it has just been seen on the index
			d.loseIndex("ann")
			for _, want := range []error{sessions.ErrIncomplete, nil} {
				d.visit(token, func(ctx context.Context, _ *session) {
					infos, err := d.mine.Sessions(ctx)
					kit.WantErr(t, "Sessions", err, want)
					if len(infos) != 1 || !infos[0].Current || infos[0].LastSeenAt.IsZero() {
						t.Errorf("the list is %+v", infos)
					}
				})
			}
			kit.Alive(t, d.mine, another) // which lists it again: mine has not seen it on the index
			d.wantListed("ann", token, another)
		})
	})
}

func TestListTimes(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "O1 the last active session comes first, with its times", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: time.Hour, Lifetime: 24 * time.Hour})
		began := time.Now()
		tokens := []string{d.signIn("ann")}
		time.Sleep(time.Minute)
		tokens = append(tokens, d.signIn("ann"))
		time.Sleep(30 * time.Minute)
		d.wantAlive(true, tokens[0]) // which is activity
		time.Sleep(10 * time.Minute)
		infos, err := d.mine.SessionsOf(t.Context(), "ann")
		kit.Must(t, err)
		var got []time.Duration
		for _, i := range infos {
			got = append(got, i.CreatedAt.Sub(began), i.LastSeenAt.Sub(began), i.IdleUntil.Sub(began), i.ExpiresAt.Sub(began))
		}
		want := []time.Duration{0, 31 * time.Minute, 91 * time.Minute, 24 * time.Hour, time.Minute, time.Minute, 61 * time.Minute, 24*time.Hour + time.Minute}
		if !slices.Equal(got, want) {
			t.Errorf("the times are %v, want %v", got, want)
		}
	})

	kit.EachBubble(t, "O1 without an IdleTimeout the last activity is not known, and the newest session comes first", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: -1})
		d.signIn("ann")
		time.Sleep(time.Minute)
		d.signIn("ann")
		infos, err := d.mine.SessionsOf(t.Context(), "ann")
		kit.Must(t, err)
		if len(infos) != 2 || !infos[0].LastSeenAt.IsZero() || !infos[0].CreatedAt.After(infos[1].CreatedAt) || !infos[0].IdleUntil.Equal(infos[0].ExpiresAt) {
			t.Errorf("the list is %+v", infos)
		}
	})

	kit.EachBubble(t, "O1 a session past its Lifetime is not listed, though the store still has it", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: time.Hour, Lifetime: 2 * time.Hour})
		token := d.signIn("ann")
		time.Sleep(50 * time.Minute)
		d.wantAlive(true, token)
		time.Sleep(50 * time.Minute)
		d.wantAlive(true, token)
		d.wantListed("ann", token)
		time.Sleep(30 * time.Minute)
		d.wantListed("ann")
		if kit.RecordUnder(t, d.raw, token) == "" {
			t.Error("the store has forgotten it: the test shows nothing")
		}
	})
}

// verbs are the verbs on a user's sessions.
func verbs[T any](m *sessions.Manager[T]) map[string]func(ctx context.Context, owner string) error {
	return map[string]func(ctx context.Context, owner string) error{
		"Sessions":     func(ctx context.Context, _ string) error { _, err := m.Sessions(ctx); return err },
		"SessionsOf":   func(ctx context.Context, owner string) error { _, err := m.SessionsOf(ctx, owner); return err },
		"Revoke":       func(ctx context.Context, owner string) error { return m.Revoke(ctx, owner, kit.HandID) },
		"RevokeOthers": func(ctx context.Context, _ string) error { _, err := m.RevokeOthers(ctx); return err },
		"RevokeAll":    func(ctx context.Context, owner string) error { _, err := m.RevokeAll(ctx, owner); return err },
		"UpdateAll": func(ctx context.Context, owner string) error {
			return m.UpdateAll(ctx, owner, func(*T) error { return nil })
		},
	}
}

func TestUnlisted(t *testing.T) {
	t.Parallel()
	check := func(name, remedy string, verbs map[string]func(ctx context.Context, owner string) error) {
		for verb, call := range verbs {
			t.Run("X4 "+verb+" with "+name+" is ErrUnsupported and names the remedy", func(t *testing.T) {
				err := call(t.Context(), "ann")
				kit.WantErr(t, verb, err, errors.ErrUnsupported)
				if err != nil && !strings.Contains(err.Error(), remedy) {
					t.Errorf("the remedy is missing: %v", err)
				}
			})
		}
	}
	check("a T that is not Owned", "SessionOwner", verbs(kit.New[unowned](t, kit.Memory(), sessions.Config{})))
	check("a store that keeps no index", "OwnerStore", verbs(kit.New[session](t, &kit.Store{Store: kit.Memory(), NoOwners: true}, sessions.Config{})))
	m, err := express.New[session](kit.MiniRedis(t), express.Options{Secrets: []string{strings.Repeat("s", 32)}})
	kit.Must(t, err)
	check("package express", "DefaultLayout", verbs(m))

	t.Run("T7 New refuses a limit without a list, and names the remedy", func(t *testing.T) {
		const want = "sessions: Config.MaxPerOwner: it needs a list of each user's sessions: T is owners_test.unowned: " +
			"it does not say whose session it is: give *unowned a method SessionOwner() string"
		if _, err := sessions.New[unowned](kit.Memory(), sessions.Config{MaxPerOwner: 3}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New: %v, want %s", err, want)
		}
	})
}

func TestWithoutSession(t *testing.T) {
	t.Parallel()
	d := newDevices(t, kit.Memory(), sessions.Config{})
	token := d.signIn("ann")
	for _, verb := range []string{"Sessions", "RevokeOthers"} {
		t.Run("X4 "+verb+" is the caller's: without a session it is ErrNoSession", func(t *testing.T) {
			kit.WantErr(t, verb, verbs(d.mine)[verb](t.Context(), ""), sessions.ErrNoSession)
		})
	}
	for _, verb := range []string{"SessionsOf", "Revoke", "RevokeAll", "UpdateAll"} {
		t.Run("X4 "+verb+" of the empty owner is an error, and ends nothing", func(t *testing.T) {
			if err := verbs(d.mine)[verb](t.Context(), ""); err == nil || !strings.Contains(err.Error(), "owner is empty") {
				t.Errorf("the error is %v", err)
			}
			d.wantAlive(true, token)
		})
	}
}
