package owners_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// wantRevoked compares the events of a verb: one for each session, by its ID.
func (d *devices) wantRevoked(op string, ids ...string) {
	d.t.Helper()
	var got []string
	for _, e := range d.events.Take() {
		if want := (sessions.Info{ID: e.Session.ID, Owner: "ann"}); e.Kind != sessions.EventRevoked || e.Op != op || e.Session != want {
			d.t.Errorf("the event %v of %q is about %+v", e.Kind, e.Op, e.Session)
		}
		got = append(got, e.Session.ID)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		d.t.Errorf("events of %v, want %v", got, ids)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O4 Revoke ends the session of that ID alone, in two round trips", func(t *testing.T, d *devices) {
			mine, theirs := d.signIn("ann"), d.signIn("ann")
			id := d.id(theirs)
			d.visit(mine, func(ctx context.Context, _ *session) {
				d.store.Calls()
				kit.Must(t, d.mine.Revoke(ctx, "ann", id))
				d.store.WantCalls(t, "it", "Members End")
			})
			d.wantRevoked("revoke", id)
			d.wantAlive(false, theirs)
			d.wantAlive(true, mine)
			d.wantListed("ann", mine)
		})

		row("O4 an ID of another user, an unknown one and what is no ID are ErrNotFound and end nothing", func(t *testing.T, d *devices) {
			tokens := []string{d.signIn("ann"), d.signIn("bob")}
			d.events.Take()
			for _, id := range []string{d.id(tokens[1]), kit.HandID, "", "1' OR '1'='1"} {
				kit.WantErr(t, "Revoke", d.mine.Revoke(t.Context(), "ann", id), sessions.ErrNotFound)
			}
			d.wantAlive(true, tokens...)
			d.events.Want(t)
		})

		row("O4 a session that has ended is ErrNotFound, whatever has ended it", func(t *testing.T, d *devices) {
			out, expired, revoked := d.signIn("ann"), d.signIn("ann"), d.signIn("ann")
			ids := []string{d.id(out), d.id(expired), d.id(revoked)}
			kit.Verb(t, d.other, out, "Destroy")
			kit.Must(t, d.raw.Delete(t.Context(), kit.KeyOf(expired)))
			kit.Must(t, d.other.Revoke(t.Context(), "ann", ids[2]))
			for _, id := range ids {
				kit.WantErr(t, "Revoke", d.mine.Revoke(t.Context(), "ann", id), sessions.ErrNotFound)
			}
			if n := len(d.entries("ann")); n != 0 {
				t.Errorf("the index has %d entries", n)
			}
		})

		row("O4 revoking one's own ID is Destroy", func(t *testing.T, d *devices) {
			token, another := d.signIn("ann"), d.signIn("ann")
			id := d.id(token)
			res := d.visit(token, func(ctx context.Context, s *session) {
				kit.Must(t, d.mine.Revoke(ctx, "ann", id))
				if *s != (session{}) || !d.mine.Info(ctx).New {
					t.Errorf("T is %+v", *s)
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieExpired)...))
			d.events.Want(t, sessions.EventDestroyed)
			d.wantAlive(false, token)
			d.wantListed("ann", another)
		})

		row("O4 one's own ID as another user's is ErrNotFound", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			id := d.id(token)
			res := d.visit(token, func(ctx context.Context, _ *session) {
				kit.WantErr(t, "Revoke", d.mine.Revoke(ctx, "bob", id), sessions.ErrNotFound)
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			d.wantAlive(true, token)
		})

		row("O4 a session that is renewed meanwhile ends under its new key", func(t *testing.T, d *devices) {
			old := d.signIn("ann")
			id, renewed := d.id(old), ""
			d.park("before End", func() { renewed = d.renew(old) })
			kit.Must(t, d.mine.Revoke(t.Context(), "ann", id))
			d.wantAlive(false, old, renewed)
			d.wantRevoked("revoke", id)
		})
	})
}

func TestRevokeOthers(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O2 RevokeOthers spares the caller's ID and other users", func(t *testing.T, d *devices) {
			mine, others, bob := d.signIn("ann"), []string{d.signIn("ann"), d.signIn("ann")}, d.signIn("bob")
			want := []string{d.id(others[0]), d.id(others[1])}
			res := d.visit(mine, func(ctx context.Context, s *session) {
				n, err := d.mine.RevokeOthers(ctx)
				if n != 2 || err != nil {
					t.Errorf("it has ended %d: %v", n, err)
				}
				s.Views = 7
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			if kinds := d.events.Kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventRevoked, sessions.EventRevoked, sessions.EventSaved}) {
				t.Errorf("events %v", kinds)
			}
			d.wantAlive(false, others...)
			d.wantAlive(true, mine, bob)
			d.wantListed("ann", mine)
			for _, id := range want {
				kit.WantErr(t, "Revoke", d.other.Revoke(t.Context(), "ann", id), sessions.ErrNotFound)
			}
			if s := kit.Stored(t, d.other, mine); s.Views != 7 {
				t.Errorf("%+v is stored", s)
			}
		})

		for _, step := range []string{"before Members", "after Members", "before Revoke", "after Revoke", "before End", "after End"} {
			row("O2 C4 the caller's session stays that another request renews "+step, func(t *testing.T, d *devices) {
				old, other := d.signIn("ann"), d.signIn("ann")
				id, renewed := d.id(old), ""
				d.visit(old, func(ctx context.Context, _ *session) {
					d.park(step, func() { renewed = d.renew(old) })
					n, err := d.mine.RevokeOthers(ctx)
					if n != 1 || err != nil {
						t.Errorf("it has ended %d: %v", n, err)
					}
				})
				if got := d.id(renewed); got != id {
					t.Errorf("the new token finds %s, want %s", got, id)
				}
				d.wantAlive(false, other, old)
				d.wantListed("ann", renewed)
			})

			row("O2 C4 another session that is renewed "+step+" ends", func(t *testing.T, d *devices) {
				mine, old := d.signIn("ann"), d.signIn("ann")
				renewed := ""
				d.visit(mine, func(ctx context.Context, _ *session) {
					d.park(step, func() {
						if step == "after End" { // it has ended by then
							renewed = old
							return
						}
						renewed = d.renew(old)
					})
					n, err := d.mine.RevokeOthers(ctx)
					if n != 1 || err != nil {
						t.Errorf("it has ended %d: %v", n, err)
					}
				})
				d.wantAlive(false, old, renewed)
				d.wantListed("ann", mine)
			})
		}

		row("O2 O10 sessions that the index has lost end when they are met, and the caller's does not", func(t *testing.T, d *devices) {
			mine, lost := d.signIn("ann"), d.signIn("ann")
			kit.Alive(t, d.mine, mine) // it has just been seen on the index
			d.loseIndex("ann")
			d.visit(mine, func(ctx context.Context, _ *session) {
				_, err := d.mine.RevokeOthers(ctx)
				kit.Must(t, err)
			})
			later := newDevices(t, d.raw, sessions.Config{Codec: d.codec}) // a process that has not seen them lately
			later.wantAlive(false, lost)
			later.wantAlive(true, mine)
			later.wantListed("ann", mine)
		})

		for name, act := range map[string]func(d *devices, token string) (after string){
			"saves": func(d *devices, token string) string {
				return kit.Edit(t, d.other, token, func(s *session) { s.Views = 7 })
			},
			"renews": (*devices).renew,
		} {
			row("O2 O10 C4 the caller's session stays that the index has lost and another request "+name, func(t *testing.T, d *devices) {
				mine, lost := d.signIn("ann"), d.signIn("ann")
				kit.Alive(t, d.mine, mine) // it has just been seen on the index
				d.loseIndex("ann")
				after := ""
				d.visit(mine, func(ctx context.Context, _ *session) {
					d.park("before Relist", func() { after = act(d, mine) })
					_, err := d.mine.RevokeOthers(ctx)
					kit.Must(t, err)
				})
				later := newDevices(t, d.raw, sessions.Config{Codec: d.codec})
				later.wantAlive(false, lost)
				later.wantAlive(true, after)
				later.wantListed("ann", after)
			})
		}

		row("O2 a caller that was revoked meanwhile ends nothing: ErrGone", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			id := d.id(mine)
			d.visit(mine, func(ctx context.Context, _ *session) {
				kit.Must(t, d.other.Revoke(t.Context(), "ann", id))
				n, err := d.mine.RevokeOthers(ctx)
				if n != 0 || !errors.Is(err, sessions.ErrGone) {
					t.Errorf("it has ended %d: %v", n, err)
				}
			})
			d.wantAlive(true, other)
		})

		row("O2 where nobody has signed in it is an error, and ends nothing", func(t *testing.T, d *devices) {
			other := d.signIn("ann")
			d.visit("", func(ctx context.Context, s *session) {
				s.User = "ann" // not stored yet
				if n, err := d.mine.RevokeOthers(ctx); n != 0 || err == nil {
					t.Errorf("it has ended %d: %v", n, err)
				}
				s.User = ""
			})
			d.wantAlive(true, other)
		})

		row("O2 a failed one leaves the caller's session as it was, and can be repeated", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			d.store.Fail(sessions.ErrUnavailable, "before End")
			d.visit(mine, func(ctx context.Context, s *session) {
				_, err := d.mine.RevokeOthers(ctx)
				kit.WantErr(t, "it", err, sessions.ErrUnavailable)
				d.store.Heal()
				n, err := d.mine.RevokeOthers(ctx)
				if n != 1 || err != nil {
					t.Errorf("it has ended %d: %v", n, err)
				}
				s.Views = 7
			})
			d.wantAlive(false, other)
			if s := kit.Stored(t, d.other, mine); s.Views != 7 {
				t.Errorf("%+v is stored", s)
			}
		})
	})
}

func TestRevokeAll(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O3 RevokeAll ends all sessions of the user, in three round trips", func(t *testing.T, d *devices) {
			tokens, bob := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}, d.signIn("bob")
			want := []string{d.id(tokens[0]), d.id(tokens[1]), d.id(tokens[2])}
			d.store.Calls()
			d.events.Take()
			n, err := d.mine.RevokeAll(t.Context(), "ann")
			if n != 3 || err != nil {
				t.Errorf("it has ended %d: %v", n, err)
			}
			d.store.WantCalls(t, "it", "Revoke Members End")
			d.wantRevoked("revoke all", want...)
			d.wantAlive(false, tokens...)
			d.wantAlive(true, bob)
			d.wantListed("ann")
			if n, err := d.mine.RevokeAll(t.Context(), "ann"); n != 0 || err != nil {
				t.Errorf("once more it has ended %d: %v", n, err)
			}
		})

		row("O3 the caller's session, if it is that user's, ends as by Destroy, and its cookie is cleared", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			res := d.visit(mine, func(ctx context.Context, s *session) {
				s.Views = 7
				n, err := d.mine.RevokeAll(ctx, "ann")
				if n != 2 || err != nil || *s != (session{}) || !d.mine.Info(ctx).New {
					t.Errorf("it has ended %d: %v; T is %+v", n, err, *s)
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieExpired)...))
			d.events.Want(t, sessions.EventRevoked, sessions.EventDestroyed)
			d.wantAlive(false, mine, other)
			if n := len(d.entries("ann")); n != 0 {
				t.Errorf("the index has %d entries", n)
			}
		})

		row("O3 outside HTTP the outcome says that the caller's session has ended", func(t *testing.T, d *devices) {
			ctx, _ := kit.Load(t, d.mine, d.signIn("ann"))
			_, err := d.mine.RevokeAll(ctx, "ann")
			kit.Must(t, err)
			kit.Commit(t, d.mine, ctx, sessions.OutcomeDestroyed)
		})

		row("O3 the session of another user, who calls it, stays with its cookie", func(t *testing.T, d *devices) {
			admin, ann := d.signIn("admin"), d.signIn("ann")
			res := d.visit(admin, func(ctx context.Context, s *session) {
				s.Views = 7
				_, err := d.mine.RevokeAll(ctx, "ann")
				kit.Must(t, err)
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			d.wantAlive(false, ann)
			if s := kit.Stored(t, d.other, admin); s.Views != 7 {
				t.Errorf("%+v is stored", s)
			}
		})

		row("O3 a caller whose session has been renewed by another request ends it too", func(t *testing.T, d *devices) {
			mine := d.signIn("ann")
			renewed := ""
			d.visit(mine, func(ctx context.Context, _ *session) {
				renewed = d.renew(mine)
				n, err := d.mine.RevokeAll(ctx, "ann")
				if n != 1 || err != nil {
					t.Errorf("it has ended %d: %v", n, err)
				}
			})
			d.wantAlive(false, mine, renewed)
			d.wantListed("ann")
		})

		row("O3 a caller whose session has ended already is no error, and ends the others", func(t *testing.T, d *devices) {
			mine, other := d.signIn("ann"), d.signIn("ann")
			res := d.visit(mine, func(ctx context.Context, _ *session) {
				kit.Must(t, d.raw.Delete(t.Context(), kit.KeyOf(mine)))
				n, err := d.mine.RevokeAll(ctx, "ann")
				if n > 2 || err != nil {
					t.Errorf("it has ended %d: %v", n, err)
				}
			})
			if res.StatusCode != http.StatusOK {
				t.Errorf("it answers %d", res.StatusCode)
			}
			d.wantAlive(false, other)
			d.wantListed("ann")
		})
	})
}

func TestRevokeAllLate(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "O3 a caller whose session was renewed so long ago that only the index knows where ends it too", func(t *testing.T, c sessions.Codec) {
		d := newDevices(t, kit.Memory(), sessions.Config{Codec: c})
		mine := d.signIn("ann")
		renewed := ""
		res := d.visit(mine, func(ctx context.Context, s *session) {
			renewed = d.renew(mine)
			time.Sleep(time.Minute)
			n, err := d.mine.RevokeAll(ctx, "ann")
			if n != 1 || err != nil || *s != (session{}) {
				t.Errorf("it has ended %d: %v; T is %+v", n, err, *s)
			}
		})
		kit.WantHeader(t, res.Header, kit.Header(kit.Used...)) // the cookie may be another session's by now
		d.wantAlive(false, renewed)
		d.wantListed("ann")
	})
}

// What meets a RevokeAll ends up dead, or alive and listed.
func TestRevokeAllMeets(t *testing.T) {
	t.Parallel()
	steps := []string{"before Revoke", "after Revoke", "before Members", "after Members", "before End", "after End"}
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for _, step := range steps {
			meet := func(name string, act func(d *devices, token string) (after string)) {
				row(fmt.Sprintf("O8 C5 RevokeAll that %s meets %s", name, step), func(t *testing.T, d *devices) {
					token, another := d.signIn("ann"), d.signIn("ann")
					after := ""
					d.park(step, func() { after = act(d, token) })
					_, err := d.mine.RevokeAll(t.Context(), "ann")
					kit.Must(t, err)
					d.wantAlive(false, token, another)
					if name == "a sign-in" {
						// What has begun before the index was read ends, and what has begun after it is listed.
						if listed := step != "before Revoke" && step != "after Revoke" && step != "before Members"; listed {
							d.wantListed("ann", after)
							d.wantAlive(true, after)
							return
						}
					}
					d.wantListed("ann")
					d.wantAlive(false, after)
				})
			}
			meet("a sign-in", func(d *devices, _ string) string { return d.signIn("ann") })
			meet("a renewal", func(d *devices, token string) string {
				o, _ := kit.Request(t.Context(), d.other, token, func(ctx context.Context) error { return d.other.Renew(ctx) })
				return o.Token.Reveal()
			})
			meet("a save", func(d *devices, token string) string {
				_, _ = kit.Request(t.Context(), d.other, token, func(ctx context.Context) error {
					if !d.other.Info(ctx).New {
						d.other.FromContext(ctx).Views++
					}
					return nil
				})
				return token
			})
			meet("a sign-out", func(d *devices, token string) string {
				_, _ = kit.Request(t.Context(), d.other, token, d.other.Destroy)
				return token
			})
		}

		row("O3 C5 a save after RevokeAll is ErrGone, and brings nothing back", func(t *testing.T, d *devices) {
			token := d.signIn("ann")
			ctx, s := kit.Load(t, d.other, token)
			s.Views = 7
			_, err := d.mine.RevokeAll(t.Context(), "ann")
			kit.Must(t, err)
			kit.WantErr(t, "Save", d.other.Save(ctx), sessions.ErrGone)
			d.wantAlive(false, token)
			d.wantListed("ann")
		})

		row("O10 a session that the index has lost before RevokeAll ends when it is met, before the handler runs", func(t *testing.T, d *devices) {
			lost := d.signIn("ann")
			d.loseIndex("ann")
			_, err := d.mine.RevokeAll(t.Context(), "ann")
			kit.Must(t, err)
			d.visit(lost, func(ctx context.Context, s *session) {
				if *s != (session{}) || !d.mine.Info(ctx).New {
					t.Errorf("T is %+v", *s)
				}
			})
			if kit.RecordUnder(t, d.raw, lost) != "" {
				t.Error("its record is still there")
			}
		})
	})
}

// A RevokeAll that the store or its process has left midway is an error, and the
// next one finishes it.
func TestRevokeAllInterrupted(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for _, own := range []bool{false, true} {
			for _, step := range []string{"before Revoke", "after Revoke", "before Members", "after Members", "before End", "after End", "before Place", "after Place"} {
				row(fmt.Sprintf("O3 RevokeAll by one of the sessions (%t) that fails %s is finished by another one", own, step), func(t *testing.T, d *devices) {
					tokens := []string{d.signIn("ann"), d.signIn("ann"), d.signIn("ann")}
					d.store.Fail(sessions.ErrUnavailable, step)
					token := ""
					if own {
						token = tokens[0]
					}
					d.visit(token, func(ctx context.Context, _ *session) {
						_, err := d.mine.RevokeAll(ctx, "ann")
						if destroys := step == "before Place" || step == "after Place"; own || !destroys { // Place is Destroy's
							kit.WantErr(t, "RevokeAll", err, sessions.ErrUnavailable)
						}
						d.store.Heal()
						_, err = d.mine.RevokeAll(ctx, "ann")
						kit.Must(t, err)
					})
					d.wantAlive(false, tokens...)
					d.wantListed("ann")
				})
			}
		}
	})
}

func TestHooksCallVerbs(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Run("O3 an OnEvent hook of a revocation can call the verbs of its context", func(t *testing.T) {
			var d *devices
			var heard []string
			d = newDevices(t, kit.Memory(), sessions.Config{Codec: c, OnEvent: func(ctx context.Context, e sessions.Event) {
				if d == nil || e.Kind != sessions.EventRevoked {
					return
				}
				infos, err := d.mine.SessionsOf(ctx, "ann")
				kit.OK(t, err)
				own, err := d.mine.Sessions(ctx)
				kit.OK(t, err)
				heard = append(heard, fmt.Sprint(e.Op, ": ", len(infos), " ", len(own), " ", d.mine.Info(ctx).Owner))
			}})
			admin, ann := d.signIn("admin"), d.signIn("ann")
			d.signIn("ann")
			id := d.id(ann)
			kit.Within(t, func() {
				d.visit(admin, func(ctx context.Context, _ *session) {
					kit.Must(t, d.mine.Revoke(ctx, "ann", id))
					_, err := d.mine.RevokeAll(ctx, "ann")
					kit.Must(t, err)
				})
				second := d.signIn("admin")
				d.visit(second, func(ctx context.Context, _ *session) {
					_, err := d.mine.RevokeOthers(ctx)
					kit.Must(t, err)
				})
			})
			if want := []string{"revoke: 1 1 admin", "revoke all: 0 1 admin", "revoke others: 0 1 admin"}; !slices.Equal(heard, want) {
				t.Errorf("heard %q, want %q", heard, want)
			}
		})
	})
}
