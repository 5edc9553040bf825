package owners_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// seedBy is seed with the method by which the owner has signed in.
func (p *processes) seedBy(s session, method string) string {
	p.t.Helper()
	return p.seedAny(s, fmt.Sprintf(`,"authenticated":%d,"method":%q,"owner":%q`, seeded.UnixMilli(), method, s.User))
}

func TestReauthenticate(t *testing.T) {
	t.Parallel()
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		row("L23 the owner that stays reauthenticates, and what T has become is stored", func(t *testing.T, p *processes) {
			old := p.seedBy(session{User: "ann"}, "pwd")
			res := p.visit(old, func(ctx context.Context, s *session) {
				s.Views = 7
				kit.Must(t, p.mine.Reauthenticate(ctx, sessions.AuthenticatedBy("passkey")))
			})
			p.events.Want(t, sessions.EventRenewed)
			p.wantEnded(old)
			s, i := p.found(kit.TokenOf(res.Header))
			if s != (session{User: "ann", Views: 7}) || i.Owner != "ann" || i.ID != kit.HandID || i.Method != "passkey" {
				t.Errorf("%+v, %+v", s, i)
			}
			if restarted(i.CreatedAt) || !restarted(i.AuthenticatedAt) {
				t.Errorf("created %v, authenticated %v; it began %v", i.CreatedAt, i.AuthenticatedAt, seeded)
			}
		})

		for _, user := range []string{"bob", ""} {
			row(fmt.Sprintf("L23 a T with the owner changed from ann to %q is no step-up, and nothing is stored", user), func(t *testing.T, p *processes) {
				token := p.seedBy(session{User: "ann", Views: 7}, "pwd")
				stored := p.under(token)
				res := p.visit(token, func(ctx context.Context, s *session) {
					p.store.Calls()
					s.User = user
					if err := p.mine.Reauthenticate(ctx); err == nil || !strings.Contains(err.Error(), "another owner") {
						t.Errorf("the error is %v", err)
					}
					p.store.WantCalls(t, "it", "")
				})
				kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
				if now := p.under(token); now != stored {
					t.Errorf("stored %q, was %q", now, stored)
				}
				p.events.Want(t, sessions.EventFailed)
			})
		}

		row("L23 C17 a session that another owner has taken meanwhile is ErrGone", func(t *testing.T, p *processes) {
			token := p.seedBy(session{User: "ann"}, "pwd")
			res := p.visit(token, func(ctx context.Context, _ *session) {
				kit.MustRequest(t, p.other, token, func(ctx context.Context) error {
					p.other.FromContext(ctx).User = "bob"
					return nil
				})
				kit.WantErr(t, "Reauthenticate", p.mine.Reauthenticate(ctx), sessions.ErrGone)
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			p.wantLeft(1, 1)
		})

		for _, change := range []struct{ user, method string }{{"ann", "pwd"}, {"bob", ""}, {"", ""}} {
			for _, save := range plain {
				row(fmt.Sprintf("L30 the method of ann's sign-in after %s of a T of %q is %q", save, change.user, change.method), func(t *testing.T, p *processes) {
					token := p.seedBy(session{User: "ann"}, "pwd")
					res := p.visit(token, func(ctx context.Context, _ *session) { kit.Must(t, save.run(p.mine, ctx, to(change.user))) })
					if sent := kit.TokenOf(res.Header); sent != "" {
						token = sent
					}
					if _, i := p.found(token); i.Method != change.method || i.Owner != change.user {
						t.Errorf("%+v", i)
					}
					if strings.Contains(p.under(token), `"method"`) != (change.method != "") {
						t.Errorf("stored %s", p.under(token))
					}
				})
			}
		}

		row("L30 a build that knows no method leaves none of before where nobody is signed in", func(t *testing.T, p *processes) {
			token := p.seedAny(session{}, `,"method":"pwd"`)
			if _, i := p.found(token); i.Method != "" {
				t.Errorf("%+v", i)
			}
		})
	})
}
