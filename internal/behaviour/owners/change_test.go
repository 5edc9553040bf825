package owners_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestChange(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, change := range []struct {
			from, to  string
			kind      sessions.EventKind
			created   bool // restarts
			authentic bool // afterwards
		}{
			{"", "ann", sessions.EventSignedIn, true, true},
			{"ann", "bob", sessions.EventSignedIn, true, true},
			{"ann", "", sessions.EventRenewed, false, false},
		} {
			for _, save := range saves {
				if strings.HasPrefix(string(save), "SignIn") && change.to == "" {
					continue // it says that somebody has
				}
				row(fmt.Sprintf("L12 %s with the owner changed from %q to %q takes a new token once", save, change.from, change.to), func(t *testing.T, p *processes) {
					old := p.seed(session{User: change.from, Views: 7})
					res := p.visit(old, func(ctx context.Context, _ *session) {
						p.store.Calls()
						kit.Must(t, save.run(p.mine, ctx, to(change.to)))
					})
					cookie := kit.CookieSent
					if save == remembered {
						cookie = kit.CookieName + "=TOKEN; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"
					}
					kit.WantHeader(t, res.Header, kit.Header(kit.Sends(cookie)...))
					calls := "Create CompareAndSwap"
					if change.to != "" {
						calls += " CompareAndSwap" // confirms it
					}
					p.store.WantCalls(t, "the change", calls)
					p.events.Want(t, change.kind)
					p.wantEnded(old)
					p.wantLeft(1, 1)
					s, i := p.found(kit.TokenOf(res.Header))
					if want := (session{User: change.to, Views: 8}); s != want || i.ID != kit.HandID || i.Owner != change.to {
						t.Errorf("the new token finds %+v of %q with ID %s, want %+v and the ID of before", s, i.Owner, i.ID, want)
					}
					if restarted(i.CreatedAt) != change.created || i.AuthenticatedAt.IsZero() == change.authentic || change.authentic && !restarted(i.AuthenticatedAt) {
						t.Errorf("created %v, authenticated %v; it began %v", i.CreatedAt, i.AuthenticatedAt, seeded)
					}
					if want := save == remembered; i.Remembered != want {
						t.Errorf("remembered %v, want %v", i.Remembered, want)
					}
				})
			}
		}

		row("L9 a remembered session whose owner changes by itself is not remembered", func(t *testing.T, p *processes) {
			res := p.visit("", func(ctx context.Context, _ *session) { kit.Must(t, remembered.run(p.mine, ctx, to("ann"))) })
			res = p.visit(kit.TokenOf(res.Header), func(_ context.Context, s *session) { s.User = "bob" })
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieSent)...))
			if _, i := p.found(kit.TokenOf(res.Header)); i.Remembered || i.Owner != "bob" {
				t.Errorf("remembered %v, owner %q", i.Remembered, i.Owner)
			}
		})

		row("L12 two users after another in one request leave one cookie and one session", func(t *testing.T, p *processes) {
			res := p.visit(p.seed(session{}), func(ctx context.Context, s *session) {
				s.User = "ann"
				kit.Must(t, p.mine.Save(ctx))
				kit.Must(t, p.mine.Update(ctx, func(s *session) error { s.User = "bob"; return nil }))
				s.User = ""
				kit.Must(t, p.mine.Save(ctx))
				s.User = "eve"
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieSent)...))
			if s, i := p.found(kit.TokenOf(res.Header)); s.User != "eve" || i.Owner != "eve" || i.ID != kit.HandID || i.AuthenticatedAt.IsZero() {
				t.Errorf("%+v, %+v", s, i)
			}
			if live, _ := p.inner.Left(t); live != 1 {
				t.Errorf("%d sessions", live)
			}
		})

		row("L18 the Outcome of Commit carries the new owner's token", func(t *testing.T, p *processes) {
			ctx, s := kit.Load(t, p.mine, p.seed(session{}))
			s.User = "ann"
			o := kit.Commit(t, p.mine, ctx, sessions.OutcomeRenewed)
			if o.Info.Owner != "ann" || o.Token.Reveal() == kit.HandToken {
				t.Fatalf("it is %q's, the same token %v", o.Info.Owner, o.Token.Reveal() == kit.HandToken)
			}
			if _, i := p.found(o.Token.Reveal()); i.Owner != "ann" {
				t.Errorf("its token finds %q's", i.Owner)
			}
		})
	})
}

func TestNew(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, save := range saves {
			row("L1 a session that "+string(save)+" stores with an owner from the start is authenticated", func(t *testing.T, p *processes) {
				res := p.visit("", func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, to("ann"))) })
				_, i := p.found(kit.TokenOf(res.Header))
				if i.Owner != "ann" || !i.AuthenticatedAt.Equal(i.CreatedAt) || i.CreatedAt.IsZero() {
					t.Errorf("it is %q's, created %v, authenticated %v", i.Owner, i.CreatedAt, i.AuthenticatedAt)
				}
				p.events.Want(t, sessions.EventCreated, sessions.EventSignedIn)
				p.store.WantCalls(t, "it", "Create")
			})
		}
		for _, save := range plain {
			row("L1 a session that "+string(save)+" stores without an owner is not", func(t *testing.T, p *processes) {
				res := p.visit("", func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, to(""))) })
				if _, i := p.found(kit.TokenOf(res.Header)); i.Owner != "" || i.New || !i.AuthenticatedAt.IsZero() {
					t.Errorf("it is %q's, authenticated %v", i.Owner, i.AuthenticatedAt)
				}
				p.events.Want(t, sessions.EventCreated)
			})
		}
		row("L11 the session that begins after Destroy is its new owner's", func(t *testing.T, p *processes) {
			res := p.visit(p.seed(session{User: "ann"}), func(ctx context.Context, s *session) {
				kit.Must(t, p.mine.Destroy(ctx))
				s.User = "bob"
			})
			s, i := p.found(kit.TokenOf(res.Header))
			if s.User != "bob" || i.Owner != "bob" || i.ID == kit.HandID || i.AuthenticatedAt.IsZero() {
				t.Errorf("%+v of %q, ID %s, authenticated %v", s, i.Owner, i.ID, i.AuthenticatedAt)
			}
		})
	})
}

func TestSame(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, owner := range []string{"ann", ""} {
			for _, save := range plain {
				row(fmt.Sprintf("L12 %s of a session that stays %q's is in place and sends no cookie", save, owner), func(t *testing.T, p *processes) {
					token := p.seed(session{User: owner})
					res := p.visit(token, func(ctx context.Context, _ *session) {
						kit.Must(t, save.run(p.mine, ctx, func(s *session) { s.Views = 5 }))
					})
					kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
					p.store.WantCalls(t, "it", "Load CompareAndSwap")
					s, i := p.found(token)
					if s.Views != 5 || i.Owner != owner || restarted(i.CreatedAt) || restarted(i.AuthenticatedAt) {
						t.Errorf("%+v of %q, created %v, authenticated %v", s, i.Owner, i.CreatedAt, i.AuthenticatedAt)
					}
				})
			}
		}
		row("L3 an owner changed and changed back is no change", func(t *testing.T, p *processes) {
			res := p.visit(p.seed(session{User: "ann"}), func(_ context.Context, s *session) { s.User = "bob"; s.User = "ann" })
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			p.store.WantCalls(t, "it", "Load")
		})
	})
}

// The host that revokes has a clock that is ahead of the one on which a visitor signs in.
func TestSignInBeforeRevocationByTheClock(t *testing.T) {
	t.Parallel()
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for _, save := range saves {
			for _, from := range []string{"", "bob"} {
				row(fmt.Sprintf("L20 O8 %s takes what is %q's to ann, whose sessions were revoked a minute ahead", save, from), func(t *testing.T, d *devices) {
					token := kit.Edit(t, d.other, "", func(s *session) { s.User, s.Note = from, "kept" })
					kit.Must(t, d.raw.Revoke(t.Context(), indexOf("ann"), time.Now().Add(time.Minute), time.Hour))
					var err error
					res := d.visit(token, func(ctx context.Context, _ *session) { err = save.run(d.mine, ctx, to("ann")) })
					if bySignIn := save == "SignIn" || save == remembered; from == "bob" && !bySignIn {
						if save != automatic {
							kit.WantErr(t, "it", err, sessions.ErrGone)
						}
						d.wantListed("ann")
						return
					}
					kit.WantErr(t, "it", err, nil)
					got := kit.TokenOf(res.Header)
					if ctx, s := kit.Load(t, d.other, got); s.User != "ann" || s.Note != "kept" || d.other.Info(ctx).Owner != "ann" {
						t.Errorf("its token finds %+v", *s)
					}
					d.wantListed("ann", got)
				})
			}
		}
	})
}
