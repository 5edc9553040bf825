package owners_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

var policies = map[string]sessions.ConflictPolicy{
	"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
}

// claim is the step of a change of owner before which another process acts: it is
// that of a renewal, the other ones are in internal/protocol.
const claim = "before CompareAndSwap"

// meanwhile lets the other process save a note before the claim of mine.
func (p *processes) meanwhile(token string) {
	p.at(claim, 1, func() error {
		kit.Edit(p.t, p.other, token, func(s *session) { s.Note = "theirs" })
		return nil
	})
}

// commit runs f in a request of mine, and returns its error or that of the
// Commit behind it.
func (p *processes) commit(token string, f func(ctx context.Context) error) (res *http.Response, err error) {
	res = p.visit(token, func(ctx context.Context, _ *session) {
		if err = f(ctx); err == nil {
			err = kit.Call(p.mine, ctx, "Commit")
		}
	})
	return res, err
}

// Another process has written the session, and changed no owner, while this
// one's owner changes: it is a sign-in still.
func TestChangeMeetsSave(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"merge", "last write"} {
		each(t, sessions.Config{OnConflict: policies[policy]}, func(row func(name string, f func(t *testing.T, p *processes))) {
			for _, save := range append(slices.Clone(plain), "Renew") {
				row(fmt.Sprintf("C4 C7 %s by %s changes the owner, another process saves before the claim", save, policy), func(t *testing.T, p *processes) {
					old := p.seed(session{})
					p.meanwhile(old)
					res := p.visit(old, func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, to("ann"))) })
					p.wantEnded(old)
					s, i := p.found(kit.TokenOf(res.Header))
					if s.User != "ann" || s.Views != 1 || i.Owner != "ann" || i.ID != kit.HandID {
						t.Fatalf("status %d, and the new token finds %+v of %q", res.StatusCode, s, i.Owner)
					}
					if !restarted(i.CreatedAt) || !restarted(i.AuthenticatedAt) {
						t.Errorf("created %v, authenticated %v; it began %v", i.CreatedAt, i.AuthenticatedAt, seeded)
					}
					if kinds := p.events.Kinds(); !slices.Contains(kinds, sessions.EventSignedIn) || slices.Contains(kinds, sessions.EventSaved) {
						t.Errorf("events %v", kinds)
					}
					if live, _ := p.inner.Left(t); live != 1 {
						t.Errorf("%d sessions", live)
					}
					if merged := s.Note == "theirs"; merged != (policy == "merge" || save == "Update") {
						t.Errorf("the other one's note: %q", s.Note)
					}
				})
			}
		})
	}
	each(t, sessions.Config{OnConflict: sessions.ConflictReject}, func(row func(name string, f func(t *testing.T, p *processes))) {
		row("C12 a change of owner that is rejected leaves no copy and the token as it was", func(t *testing.T, p *processes) {
			old := p.seed(session{})
			p.meanwhile(old)
			res := p.visit(old, func(_ context.Context, s *session) { s.User = "ann" })
			if res.StatusCode != http.StatusConflict || kit.TokenOf(res.Header) != "" {
				t.Errorf("%d, cookie %q", res.StatusCode, res.Header["Set-Cookie"])
			}
			if s, _ := p.found(old); s != (session{Note: "theirs"}) {
				t.Errorf("the old token finds %+v", s)
			}
			p.wantLeft(1, 0)
		})
	})
}

// The stored record has become another's under the same key: an older build
// does that, which renews no token. Nothing goes into it.
func TestStoredOwnerIsAnother(t *testing.T) {
	t.Parallel()
	type verb struct {
		name string
		run  func(m *manager, ctx context.Context) error
	}
	verbs := []verb{
		{"Renew without a change", (*manager).Renew},
		{"SignIn without a change", func(m *manager, ctx context.Context) error { return m.SignIn(ctx) }},
		{"Update without a change", func(m *manager, ctx context.Context) error {
			return m.Update(ctx, func(s *session) error {
				if s.User == "bob" {
					return errors.New("its function sees the other one's session")
				}
				return nil
			})
		}},
	}
	for _, save := range saves {
		verbs = append(verbs, verb{string(save) + " of another field", func(m *manager, ctx context.Context) error {
			return save.run(m, ctx, func(s *session) { s.Note = "of ann alone" })
		}}, verb{string(save) + " of the owner", func(m *manager, ctx context.Context) error {
			return save.run(m, ctx, func(s *session) { s.User, s.Note = "eve", "of ann alone" })
		}})
	}
	for policy, onConflict := range policies {
		each(t, sessions.Config{OnConflict: onConflict}, func(row func(name string, f func(t *testing.T, p *processes))) {
			for _, from := range []string{"ann", ""} {
				for _, verb := range verbs {
					toEve := strings.HasSuffix(verb.name, " of the owner")
					signsIn := strings.HasPrefix(verb.name, "SignIn") || from == "" && toEve
					name, want := "C17 %s by %s of what was %q's and has become bob's is ErrGone", sessions.ErrGone
					if signsIn {
						name, want = "C17 L20 %s by %s of what was %q's and has become bob's begins a session of its own", nil
					}
					row(fmt.Sprintf(name, verb.name, policy, from), func(t *testing.T, p *processes) {
						token := p.seed(session{User: from})
						older := kit.New[unowned](t, p.inner, sessions.Config{Codec: p.codec})
						var became string
						p.at(claim, 1, func() error {
							kit.Edit(t, older, token, func(s *unowned) { s.User = "bob" })
							became = p.under(token)
							return nil
						})
						res, err := p.commit(token, func(ctx context.Context) error { return verb.run(p.mine, ctx) })
						kit.WantErr(t, "it", err, want)
						if is := p.under(token); is != became || strings.Contains(is, "of ann alone") {
							t.Errorf("what bob has became %q, was %q", is, became)
						}
						kinds := p.events.Kinds()
						if gone := slices.Contains(kinds, sessions.EventGone); gone == signsIn || slices.Contains(kinds, sessions.EventMerged) {
							t.Errorf("events %v", kinds)
						}
						if !signsIn {
							if kit.TokenOf(res.Header) != "" {
								t.Errorf("it sends a cookie: %q", res.Header["Set-Cookie"])
							}
							p.wantLeft(1, 0)
							return
						}
						if toEve {
							p.wantOwn(res, "eve")
						} else {
							p.wantOwn(res, from)
						}
						p.wantLeft(2, 0)
					})
				}
			}
		})
	}
}

// wantOwn says that a response has signed this user in on a session of its own.
func (p *processes) wantOwn(res *http.Response, user string) {
	p.t.Helper()
	s, i := p.found(kit.TokenOf(res.Header))
	if s.User != user || i.Owner != user || i.New || i.ID == kit.HandID || !restarted(i.CreatedAt) || !restarted(i.AuthenticatedAt) {
		p.t.Errorf("its token finds %+v, %+v", s, i)
	}
}

// Two processes sign in two users on one session at the same time.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, save := range saves {
			row(fmt.Sprintf("L20 C18 ann by %s, and bob signs in elsewhere before the claim: each has a session", save), func(t *testing.T, p *processes) {
				old := p.seed(session{})
				var bobs string
				p.at(claim, 1, func() error {
					bobs = kit.Edit(t, p.other, old, func(s *session) { s.User = "bob" })
					return nil
				})
				res, err := p.commit(old, func(ctx context.Context) error { return save.run(p.mine, ctx, to("ann")) })
				kit.WantErr(t, "ann's", err, nil)
				p.wantOwn(res, "ann")
				if s, i := p.found(bobs); s.User != "bob" || i.Owner != "bob" || i.ID != kit.HandID {
					t.Errorf("bob's token finds %+v of %q", s, i.Owner)
				}
				p.wantEnded(old)
				p.wantLeft(2, 1)
			})
		}
		for _, save := range saves {
			row(fmt.Sprintf("L20 C18 %s of a request whose token bob's sign-in has renewed before it loads", save), func(t *testing.T, p *processes) {
				old := p.seed(session{})
				bobs := kit.Edit(t, p.other, old, func(s *session) { s.User = "bob" })
				res, err := p.commit(old, func(ctx context.Context) error { return save.run(p.mine, ctx, to("ann")) })
				kit.WantErr(t, "ann's", err, nil)
				p.wantOwn(res, "ann")
				if s, _ := p.found(bobs); s.User != "bob" {
					t.Errorf("bob's token finds %+v", s)
				}
				p.wantLeft(2, 1)
			})
			row(fmt.Sprintf("L20 %s of a session that this request knows to have ended", save), func(t *testing.T, p *processes) {
				old := p.seed(session{})
				res, err := p.commit(old, func(ctx context.Context) error {
					kit.Verb(t, p.other, old, "Destroy")
					kit.WantErr(t, "Touch", p.mine.Touch(ctx), sessions.ErrGone)
					p.mine.FromContext(ctx).Note = "a change of nobody's"
					kit.WantErr(t, "Save", p.mine.Save(ctx), sessions.ErrGone)
					return save.run(p.mine, ctx, to("ann"))
				})
				kit.WantErr(t, "ann's", err, nil)
				p.wantOwn(res, "ann")
				p.wantLeft(1, 0)
			})
			if save == "Renew" || save == "Commit" { // Commit comes below anyway
				continue
			}
			row(fmt.Sprintf("L21 %s signs ann in with two valid tokens, and ends their sessions", save), func(t *testing.T, p *processes) {
				tokens := []string{kit.Edit(t, p.other, "", to("eve")), kit.Edit(t, p.other, "", to("mallory"))}
				ctx, _ := kit.Load(t, p.mine, tokens...)
				kit.Must(t, save.run(p.mine, ctx, to("ann")))
				o := kit.Commit(t, p.mine, ctx, sessions.OutcomeCreated)
				if s, _ := p.found(o.Token.Reveal()); s.User != "ann" {
					t.Errorf("its token finds %+v", s)
				}
				p.wantLeft(1, 0)
			})
		}
		for _, save := range plain {
			row(fmt.Sprintf("L21 %s signs ann in behind a Save of nobody's, and ends two valid sessions", save), func(t *testing.T, p *processes) {
				tokens := []string{kit.Edit(t, p.other, "", to("eve")), kit.Edit(t, p.other, "", to("mallory"))}
				ctx, s := kit.Load(t, p.mine, tokens...)
				s.Note = "an anonymous change"
				kit.Must(t, p.mine.Save(ctx))
				p.wantLeft(3, 0)
				kit.Must(t, save.run(p.mine, ctx, to("ann")))
				if _, err := p.mine.Commit(ctx); err != nil {
					t.Error(err)
				}
				p.wantLeft(1, 1)
			})
		}
		row("L21 what signs nobody in leaves two valid sessions as they are", func(t *testing.T, p *processes) {
			tokens := []string{kit.Edit(t, p.other, "", to("eve")), kit.Edit(t, p.other, "", to("mallory"))}
			ctx, s := kit.Load(t, p.mine, tokens...)
			s.Note = "an anonymous change"
			kit.Commit(t, p.mine, ctx, sessions.OutcomeCreated)
			p.wantLeft(3, 0)
		})
		for _, first := range []string{"bob signs in", "the visitor signs out"} {
			row("L20 what goes from one owner to another, or to nobody, is ErrGone where before it "+first, func(t *testing.T, p *processes) {
				for _, save := range append([]save{"Renew"}, plain...) {
					for _, owner := range []string{"eve", ""} {
						old, live := p.seed(session{User: "ann"}), 0
						p.at(claim, 1, func() error {
							kit.Verb(t, p.other, old, map[bool]string{true: "SignIn", false: "Destroy"}[first == "bob signs in"])
							live, _ = p.inner.Left(t)
							live-- // the copy of mine, which goes
							return nil
						})
						res, err := p.commit(old, func(ctx context.Context) error { return save.run(p.mine, ctx, to(owner)) })
						kit.WantErr(t, string(save), err, sessions.ErrGone)
						if kit.TokenOf(res.Header) != "" {
							t.Errorf("%s sends a cookie: %q", save, res.Header["Set-Cookie"])
						}
						if after, _ := p.inner.Left(t); after != live {
							t.Errorf("%s: %d sessions, want %d", save, after, live)
						}
					}
				}
			})
		}
		row("L20 C18 of eight at once, two in each of four processes, each has a session", func(t *testing.T, p *processes) {
			old := p.seed(session{})
			var all sync.WaitGroup
			done, start := make(chan sessions.Outcome, 8), make(chan struct{})
			for n := range 4 {
				m := kit.New[session](t, p.inner, sessions.Config{Codec: p.codec})
				for i := range 2 {
					ctx, s := kit.Load(t, m, old)
					all.Go(func() {
						<-start
						s.User = fmt.Sprintf("user %d of process %d", i, n)
						o, err := m.Commit(ctx)
						kit.OK(t, err)
						done <- o
					})
				}
			}
			close(start)
			all.Wait()
			close(done)
			ids := map[string]bool{}
			for o := range done {
				s, i := p.found(o.Token.Reveal())
				if s.User == "" || i.Owner != s.User || o.Info.Owner != s.User {
					t.Errorf("%q finds %+v of %q", o.Info.Owner, s, i.Owner)
				}
				ids[i.ID] = true
			}
			if len(ids) != 8 || !ids[kit.HandID] {
				t.Errorf("IDs %v", ids)
			}
			p.wantEnded(old)
			p.wantLeft(8, 1)
		})
	})
}
