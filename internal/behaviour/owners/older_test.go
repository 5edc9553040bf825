package owners_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Builds in which T is Owned and builds in which it is not share sessions.
func TestOlderBuilds(t *testing.T) {
	t.Parallel()
	older := func(p *processes) *sessions.Manager[unowned] {
		return kit.New[unowned](p.t, p.inner, sessions.Config{Codec: p.codec})
	}
	// olds is a session of ann's that an older build has stored.
	olds := func(p *processes) string { return p.seedAny(unowned{User: "ann", Views: 1}, "") }
	header := func(p *processes, token string) string {
		header, _, _ := strings.Cut(p.under(token), "\n")
		return header
	}
	view := func(s *session) { s.Views++ }
	// verbs of an older build; "" is the save at the end.
	verb := func(m *sessions.Manager[unowned], ctx context.Context, name string) error {
		switch name {
		case "":
			return nil
		case "Update":
			return m.Update(ctx, func(*unowned) error { return nil })
		}
		return kit.Call(m, ctx, name)
	}

	// Where an index is kept the sessions move: TestMoves.
	eachOn(t, true, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		row("K3 a record from before T was Owned is its user's, and reading it writes nothing", func(t *testing.T, p *processes) {
			token := olds(p)
			before := p.under(token)
			p.visit(token, func(ctx context.Context, s *session) {
				if i := p.mine.Info(ctx); i.Owner != "ann" || !i.AuthenticatedAt.IsZero() || s.User != "ann" {
					t.Errorf("it is %q's, authenticated %v: %+v", i.Owner, i.AuthenticatedAt, *s)
				}
			})
			p.store.WantCalls(t, "it", "Load")
			if after := p.under(token); after != before {
				t.Errorf("it became %q", after)
			}
		})
		for _, save := range plain {
			row("K3 "+string(save)+" of a record from before T was Owned is no sign-in", func(t *testing.T, p *processes) {
				token := olds(p)
				res := p.visit(token, func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, view)) })
				if kit.TokenOf(res.Header) != "" {
					t.Error("it sends a cookie")
				}
				p.events.Want(t, sessions.EventSaved)
				if s, i := p.found(token); s.Views != 2 || i.Owner != "ann" || !i.AuthenticatedAt.IsZero() {
					t.Errorf("%+v of %q, authenticated %v", s, i.Owner, i.AuthenticatedAt)
				}
				if h := header(p, token); !strings.Contains(h, `"owner":"ann"`) {
					t.Errorf("the header does not say whose it is: %s", h)
				}
			})
			row("C7 "+string(save)+" of a record from before T was Owned meets a save of such a build", func(t *testing.T, p *processes) {
				token, m := olds(p), older(p)
				p.at("before CompareAndSwap", 1, func() error {
					kit.Edit(t, m, token, func(s *unowned) { s.Note = "theirs" })
					return nil
				})
				p.visit(token, func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, view)) })
				if s, i := p.found(token); s.Views != 2 || s.Note != "theirs" || i.Owner != "ann" {
					t.Errorf("%+v of %q", s, i.Owner)
				}
			})
		}
		row("C7 a save of such a build meets the first save of a build in which T is Owned", func(t *testing.T, p *processes) {
			// The owner has not changed: the header only says now whose it was.
			token, m := olds(p), older(p)
			ctx, s := kit.Load(t, m, token)
			kit.Edit(t, p.other, token, view)
			s.Note = "theirs"
			kit.WantErr(t, "Commit", kit.Call(m, ctx, "Commit"), nil)
			if s, _ := p.found(token); s.Views != 2 || s.Note != "theirs" {
				t.Errorf("%+v", s)
			}
		})

		for name, v := range map[string]string{"the save at the end": "", "Save": "Save", "Renew": "Renew", "SignIn": "SignIn", "Update": "Update"} {
			row("K3 "+name+" of a T that is not Owned keeps the header's owner", func(t *testing.T, p *processes) {
				m := older(p)
				ctx, s := kit.Load(t, m, p.seed(session{User: "ann"}))
				if i := m.Info(ctx); i.Owner != "ann" {
					t.Errorf("loaded as %q's", i.Owner)
				}
				s.Views++
				kit.Must(t, verb(m, ctx, v))
				o := kit.Commit(t, m, ctx)
				if h := header(p, o.Token.Reveal()); !strings.Contains(h, `"owner":"ann"`) || o.Info.Owner != "ann" {
					t.Errorf("%q, and the header says %s", o.Info.Owner, h)
				}
			})
		}
		row("C17 L20 a save of a T that is not Owned meets a record with another owner in its header", func(t *testing.T, p *processes) {
			m := older(p)
			for _, v := range []string{"Save", "Renew", "SignIn", "Update"} {
				token := p.seed(session{User: "ann"})
				ctx, s := kit.Load(t, m, token)
				bobs := strings.Replace(strings.Replace(p.under(token), `"ann"`, `"bob"`, 1), "other.1", "other.2", 1)
				kit.Place(t, p.inner, token, bobs)
				s.Note = "of ann alone"
				want := sessions.ErrGone
				if v == "SignIn" { // it begins a session of its own
					want = nil
				}
				kit.WantErr(t, v, verb(m, ctx, v), want)
				if after := p.under(token); after != bobs {
					t.Errorf("%s: bob's became %q", v, after)
				}
			}
		})
		row("L12 an older build's change of user is no change of owner for the next request", func(t *testing.T, p *processes) {
			// It has not signed anybody in, and nothing here can make up for it:
			// Info says whose T it is, not what an older header says.
			token := p.seed(session{User: "ann"})
			kit.Edit(t, older(p), token, func(s *unowned) { s.User = "bob" })
			res := p.visit(token, func(ctx context.Context, s *session) {
				if i := p.mine.Info(ctx); i.Owner != "bob" {
					t.Errorf("it is %q's", i.Owner)
				}
				s.Views++
			})
			if kit.TokenOf(res.Header) != "" {
				t.Error("it sends a cookie")
			}
		})
	})
}

// merging merges as it likes: whoever has ten points is ann.
type merging struct {
	User   string `json:"user"`
	Points int    `json:"points"`
}

func (s *merging) SessionOwner() string { return s.User }

func (s *merging) MergeSession(base, theirs *merging) error {
	s.Points += theirs.Points - base.Points
	if s.Points >= 10 {
		s.User = "ann"
	}
	return nil
}

func TestMergeSession(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		row("L12 C7 a MergeSession that changes the owner signs in", func(t *testing.T, p *processes) {
			a := kit.New[merging](t, p.inner, sessions.Config{Codec: p.codec})
			b := kit.New[merging](t, p.inner, sessions.Config{Codec: p.codec})
			token := p.seedAny(merging{}, "")
			ctx, s := kit.Load(t, a, token)
			kit.Edit(t, b, token, func(s *merging) { s.Points = 5 })
			s.Points = 5
			o := kit.Commit(t, a, ctx, sessions.OutcomeRenewed)
			if o.Info.Owner != "ann" || !restarted(o.Info.AuthenticatedAt) {
				t.Errorf("it is %q's, authenticated %v", o.Info.Owner, o.Info.AuthenticatedAt)
			}
			p.wantEnded(token)
		})
	})
}

// A session of a build in which T was not Owned moves into its owner's slot with the first response that can say so.
func TestRevokeOthersMoves(t *testing.T) {
	t.Parallel()
	old := func(d *devices) string {
		m := kit.New[unowned](d.t, d.raw, sessions.Config{Codec: d.codec})
		return kit.MustRequest(d.t, m, "", func(ctx context.Context) error {
			m.FromContext(ctx).User = "ann"
			return m.Save(ctx)
		})
	}
	revoke := func(d *devices, token string, write bool) (now string) {
		res := d.visitWriting(token, func(ctx context.Context, w http.ResponseWriter) {
			if write {
				_, _ = io.WriteString(w, "x")
			}
			if n, err := d.mine.RevokeOthers(ctx); n != 2 || err != nil {
				d.t.Errorf("RevokeOthers: %d, %v", n, err)
			}
		})
		return kit.TokenOf(res.Header)
	}
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O2 RevokeOthers spares a caller whose session is from before T was Owned", func(t *testing.T, d *devices) {
			token, others := old(d), []string{d.signIn("ann"), d.signIn("ann")}
			now := revoke(d, token, false)
			d.wantAlive(false, others...)
			d.wantAlive(true, now)
			d.wantListed("ann", now)
		})
		row("O2 after the first byte such a caller's RevokeOthers ends the others all the same", func(t *testing.T, d *devices) {
			token, others := old(d), []string{d.signIn("ann"), d.signIn("ann")}
			revoke(d, token, true)
			d.wantAlive(false, others...)
		})
	})
	eachListed(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, d *devices))) {
		for name, fails := range map[string]bool{
			"L12 RevokeOthers of such a caller signs nobody in: a changed owner is left to a save": false,
			"L12 after a SignIn that failed, RevokeOthers of such a caller stores nothing":         true,
		} {
			row(name, func(t *testing.T, d *devices) {
				token, other := old(d), d.signIn("ann")
				d.visit(token, func(ctx context.Context, s *session) {
					s.User = "bob"
					if fails {
						d.store.Fail(sessions.ErrUnavailable)
						kit.WantErr(t, "SignIn", d.mine.SignIn(ctx), sessions.ErrUnavailable)
						d.store.Heal()
					}
					if n, err := d.mine.RevokeOthers(ctx); n != 1 || err != nil {
						t.Errorf("RevokeOthers: %d, %v", n, err)
					}
					if owner := d.mine.Info(ctx).Owner; owner != "ann" {
						t.Errorf("the session is %q's", owner)
					}
					s.User = "ann"
				})
				d.wantAlive(false, other)
			})
		}
	})
	eachListed(t, sessions.Config{MaxPerOwner: 2, OnOwnerLimit: sessions.Reject}, func(row func(name string, f func(t *testing.T, d *devices))) {
		row("O2 so it does where there is no room for the caller's", func(t *testing.T, d *devices) {
			token, others := old(d), []string{d.signIn("ann"), d.signIn("ann")}
			revoke(d, token, false)
			d.wantAlive(false, others...)
		})
	})
}
