package watch_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Each ending of a session, a moment after the store was asked for it.
func TestEndings(t *testing.T) {
	t.Parallel()
	const moment = time.Millisecond
	type ending struct {
		name string
		cfg  sessions.Config
		from string // the user before, "ann" if it is ""; "-" is nobody
		act  func(h *host[account], token string, ctx context.Context)
		ends time.Duration // after act; 0: it goes on
	}
	needsOwners := sessions.Config{MaxPerOwner: 2}
	remove := func(h *host[account], token string, _ context.Context) {
		kit.OK(h.t, h.inner.Delete(context.Background(), kit.KeyOf(token)))
	}
	nothing := func(*host[account], string, context.Context) {}
	for _, e := range []ending{
		{"a sign-out", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) { h.verb(token, "Destroy") }, interval - moment},
		{"a sign-out of what was renewed thirty times just before", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) {
			for range 30 {
				token = h.verb(token, "Renew")
			}
			h.verb(token, "Destroy")
		}, interval - moment},
		{"a revocation", needsOwners, "", func(h *host[account], token string, _ context.Context) {
			kit.OK(h.t, h.other.Revoke(context.Background(), "ann", h.mine.Info(h.load(token)).ID))
		}, interval - moment},
		{"a revocation of all", needsOwners, "", func(h *host[account], _ string, _ context.Context) {
			_, err := h.other.RevokeAll(context.Background(), "ann")
			kit.OK(h.t, err)
		}, interval - moment},
		{"a revocation of all other ones", needsOwners, "", func(h *host[account], _ string, _ context.Context) {
			h.revokeOthers(h.edit("", user("ann")))
		}, interval - moment},
		{"a revocation of what was renewed just before", needsOwners, "", func(h *host[account], token string, _ context.Context) {
			h.verb(token, "Renew")
			_, err := h.other.RevokeAll(context.Background(), "ann")
			kit.OK(h.t, err)
		}, interval - moment},
		{"a revocation by its own request", needsOwners, "", func(h *host[account], _ string, ctx context.Context) {
			kit.OK(h.t, h.mine.Revoke(ctx, "ann", h.mine.Info(ctx).ID))
		}, 0},
		{"a deletion in the store", sessions.Config{}, "", remove, interval - moment},
		{"a visitor's deletion in the store", sessions.Config{}, "-", remove, interval - moment},
		{"an eviction by a limit", needsOwners, "", func(h *host[account], _ string, _ context.Context) {
			h.edit("", user("ann"))
			h.edit("", user("ann"))
		}, interval - moment},
		{"a sign-in as somebody else", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) { h.edit(token, user("bob")) }, interval - moment},
		{"a sign-in as somebody else in a newer build", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) {
			kit.Edit(h.t, kit.New[newer](h.t, h.inner, sessions.Config{}), token, func(n *newer) { n.User = "bob" })
		}, interval - moment},
		{"an owner who becomes nobody", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) { h.edit(token, user("")) }, interval - moment},
		{"nobody who becomes ann, and then bob", sessions.Config{}, "-", func(h *host[account], token string, ctx context.Context) {
			token = h.edit(token, user("ann"))
			wantGoingOn(h.t, ctx, 5*interval)
			h.edit(token, user("bob"))
		}, interval - moment},
		{"IdleTimeout", sessions.Config{IdleTimeout: 9 * time.Second}, "", nothing, 10*time.Second - moment},
		{"Lifetime", sessions.Config{IdleTimeout: 9 * time.Second, Lifetime: 25 * time.Second}, "", func(h *host[account], token string, _ context.Context) {
			for range 4 {
				time.Sleep(5 * time.Second)
				h.verb(token, "Touch")
			}
		}, 6*time.Second - moment},
		{"its own request's Destroy", sessions.Config{}, "", func(h *host[account], _ string, ctx context.Context) {
			kit.OK(h.t, h.mine.Destroy(ctx))
		}, 0},
		{"its own request's sign-in as somebody else", sessions.Config{}, "", func(h *host[account], _ string, ctx context.Context) {
			h.mine.FromContext(ctx).User = "bob"
			kit.OK(h.t, h.mine.SignIn(ctx))
		}, 0},
		{"its own request's Destroy and sign-in", sessions.Config{}, "", func(h *host[account], _ string, ctx context.Context) {
			kit.OK(h.t, h.mine.Destroy(ctx))
			h.mine.FromContext(ctx).User = "ann"
			kit.OK(h.t, h.mine.SignIn(ctx))
		}, 0},
		{"another request's Destroy in this process", sessions.Config{}, "", func(h *host[account], token string, _ context.Context) {
			kit.Verb(h.t, h.mine, token, "Destroy")
		}, 0},
	} {
		for _, size := range []struct {
			name string
			note string
		}{{"a short record", ""}, {"a long one", strings.Repeat("n", 5000)}} {
			for _, s := range stores {
				if e.cfg.MaxPerOwner > 0 && s.name == "a Store" {
					continue
				}
				kit.Bubble(t, "O15 "+e.name+" ends the watch of "+size.name+" on "+s.name, func(t *testing.T) {
					h := newHost[account](t, kit.Memory(), e.cfg, s.edit)
					token := h.edit("", func(a *account) {
						a.Note, a.User = size.note, map[string]string{"": "ann", "-": ""}[e.from]
						if a.User == "" && a.Note == "" {
							a.Note = "hello"
						}
					})
					ctx, stop := h.watch(token)
					defer stop()
					time.Sleep(moment)
					e.act(h, token, ctx)
					if took := wantEnd(t, ctx, e.ends+moment); took != e.ends {
						t.Errorf("it ended after %v, want %v", took, e.ends)
					}
					stop()
					synctest.Wait()
					h.store.Calls()
					time.Sleep(5 * interval)
					h.store.WantCalls(t, "what is no longer watched", "")
				})
			}
		}
	}
}

// newer is account in a newer build.
type newer account

func (n *newer) SessionOwner() string                          { return n.User }
func (n *newer) SessionVersion() int                           { return 1 }
func (n *newer) UpgradeSession(_ int, f func(any) error) error { return f(n) }

// A nilStore has nil for an empty value.
type nilStore struct{ sessions.OwnerStore }

func (s nilStore) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := s.OwnerStore.Load(ctx, key, touch)
	if len(data) == 0 {
		data = nil
	}
	return data, left, err
}

// What is no end.
func TestNoEnding(t *testing.T) {
	t.Parallel()
	for _, s := range stores {
		test := func(name string, cfg sessions.Config, inner func() sessions.Store, act func(h *host[account], token string, ctx context.Context)) {
			kit.Bubble(t, "O15 "+name+" does not end a watch on "+s.name, func(t *testing.T) {
				h := newHost[account](t, inner(), cfg, s.edit)
				token := h.edit("", user("ann"))
				ctx, stop := h.watch(token)
				defer stop()
				act(h, token, ctx)
				wantGoingOn(t, ctx, 5*interval)
			})
		}
		test("nothing", sessions.Config{}, kit.Memory, func(*host[account], string, context.Context) {})
		test("a save", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			h.edit(token, func(a *account) { a.Note = strings.Repeat("n", 5000) })
		})
		test("its own request's save", sessions.Config{}, kit.Memory, func(h *host[account], _ string, ctx context.Context) {
			h.mine.FromContext(ctx).Note = "n"
			kit.OK(h.t, h.mine.Save(ctx))
		})
		test("a revocation of all others", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			h.revokeOthers(token)
		})
		test("an UpdateAll", sessions.Config{}, kit.Memory, func(h *host[account], _ string, _ context.Context) {
			kit.OK(h.t, h.other.UpdateAll(context.Background(), "ann", func(a *account) error { a.Note = "n"; return nil }))
		})
		test("the end of another session", sessions.Config{}, kit.Memory, func(h *host[account], _ string, _ context.Context) {
			h.verb(h.edit("", user("ann")), "Destroy")
		})
		test("a record that cannot be read", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			kit.Place(h.t, h.inner, token, "what is this?")
		})
		test("a payload that cannot be read", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			kit.Place(h.t, h.inner, token, kit.RecordOf("json", `{"user":7}`))
		})
		test("an empty record", sessions.Config{}, func() sessions.Store { return nilStore{kit.Memory().(sessions.OwnerStore)} }, func(h *host[account], token string, _ context.Context) {
			kit.Place(h.t, h.inner, token, "")
		})
		test("a newer build's save", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			kit.Edit(h.t, kit.New[newer](h.t, h.inner, sessions.Config{}), token, func(n *newer) { n.Note = "n" })
		})
		test("a newer build's renewal", sessions.Config{}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			kit.Verb(h.t, kit.New[newer](h.t, h.inner, sessions.Config{}), token, "Renew")
		})
		test("a record that is too large", sessions.Config{MaxSize: 2000}, kit.Memory, func(h *host[account], token string, _ context.Context) {
			kit.Place(h.t, h.inner, token, kit.RecordOf("json", `{"user":"ann","note":"`+strings.Repeat("n", 5000)+`"}`))
		})
	}
}

// A store that lets nothing expire, as one whose clock stands still, is no reason to go on.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, s := range stores {
		for _, note := range []string{"", strings.Repeat("n", 5000)} {
			kit.Bubble(t, "O15 Lifetime ends the watch where the store keeps the record, on "+s.name, func(t *testing.T) {
				h := newHost[visit](t, kit.Immortal(), sessions.Config{Lifetime: 25 * time.Second}, s.edit)
				ctx, stop := h.watch(h.edit("", func(v *visit) { v.User, v.Note = "ann", note }))
				defer stop()
				wantGoingOn(t, ctx, 25*time.Second)
				wantEnd(t, ctx, interval)
			})
			kit.Bubble(t, "O15 a sign-in begins a new Lifetime for the watch too, on "+s.name, func(t *testing.T) {
				h := newHost[visit](t, kit.Immortal(), sessions.Config{Lifetime: 25 * time.Second}, s.edit)
				token := h.edit("", func(v *visit) { v.User, v.Note = "ann", note })
				ctx, stop := h.watch(token)
				defer stop()
				wantGoingOn(t, ctx, 20*time.Second)
				h.verb(token, "SignIn")
				wantGoingOn(t, ctx, 11*time.Second)
				h.store.Calls()
				wantGoingOn(t, ctx, interval)
				h.store.WantCalls(t, "an interval after the end of the first Lifetime", s.asks)
				wantGoingOn(t, ctx, 12*time.Second)
				wantEnd(t, ctx, interval)
			})
		}
	}
}
