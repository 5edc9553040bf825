package owners_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A new owner needs a new cookie, and the header has gone.
func TestTooLate(t *testing.T) {
	t.Parallel()
	late := func(p *processes, token string, f func(ctx context.Context, s *session)) *http.Response {
		return kit.Serve(p.mine.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			f(r.Context(), p.mine.FromContext(r.Context()))
		})), kit.With(token, "/"))
	}
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, user := range []string{"bob", ""} {
			for _, save := range saves {
				row(fmt.Sprintf("W6 %s to owner %q after the first byte stores nothing", save, user), func(t *testing.T, p *processes) {
					token := p.seed(session{User: "ann"})
					before := p.under(token)
					var err error
					res := late(p, token, func(ctx context.Context, _ *session) { err = save.run(p.mine, ctx, to(user)) })
					if save == automatic {
						p.events.Want(t, sessions.EventLateChange)
					} else {
						kit.WantErr(t, "it", err, sessions.ErrCommitted)
					}
					if after := p.under(token); after != before {
						t.Errorf("under the old token: %q, was %q", after, before)
					}
					if kit.TokenOf(res.Header) != "" {
						t.Errorf("cookie %q", res.Header["Set-Cookie"])
					}
					p.wantLeft(1, 0)
				})
			}
		}
		row("W6 the error behind the late change is ErrCommitted, and names nobody", func(t *testing.T, p *processes) {
			late(p, p.seed(session{User: "ann-secret"}), func(_ context.Context, s *session) { s.User = "bob-secret" })
			if e := p.events.Take()[0]; !errors.Is(e.Err, sessions.ErrCommitted) || strings.Contains(e.Err.Error(), "secret") {
				t.Errorf("%v", e.Err)
			}
		})
		row("W6 a change of anything else after the first byte is saved", func(t *testing.T, p *processes) {
			token := p.seed(session{User: "ann"})
			late(p, token, func(_ context.Context, s *session) { s.Views = 9 })
			if s, _ := p.found(token); s.Views != 9 {
				t.Errorf("%+v", s)
			}
		})
		row("W6 Update that would change the owner after the first byte puts *T back", func(t *testing.T, p *processes) {
			want := session{User: "ann", Views: 1}
			late(p, p.seed(want), func(ctx context.Context, s *session) {
				if err := save("Update").run(p.mine, ctx, to("bob")); !errors.Is(err, sessions.ErrCommitted) || *s != want {
					t.Errorf("%v, and %+v", err, *s)
				}
			})
		})
	})
}

// Whatever fails on the way, the token that somebody may have planted never
// becomes the new owner's.
func TestFails(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	odd := errors.New("fault of the test")
	each(t, sessions.Config{}, func(row func(name string, f func(t *testing.T, p *processes))) {
		for _, fault := range []struct {
			name, step string
			err        error
			times      int32
		}{
			{"the store is down for three copies alone", "before Create", down, 3},
			{"the store is down for three claims", claim, down, 3},
			{"the store refuses the claim", claim, odd, 1},
			{"the claim's reply is lost three times", "after CompareAndSwap", down, 3},
		} {
			for _, save := range saves {
				row(fmt.Sprintf("L12 C13 %s to another owner while %s", save, fault.name), func(t *testing.T, p *processes) {
					old := p.seed(session{Note: "planted"})
					before := p.under(old)
					p.at(fault.step, fault.times, func() error { return fault.err })
					var err error
					res := p.visit(old, func(ctx context.Context, _ *session) { err = save.run(p.mine, ctx, to("ann")) })
					if save == automatic && res.StatusCode < 500 || save != automatic && err == nil {
						t.Fatalf("it did not fail: %d, %v", res.StatusCode, err)
					}
					if s, i := p.found(old); !i.New && (s != session{Note: "planted"} || p.under(old) != before) {
						t.Errorf("the old token finds %+v of %q", s, i.Owner)
					}
					// Who did get a cookie, by a save that was tried again, is signed in.
					if token := kit.TokenOf(res.Header); token != "" {
						if s, i := p.found(token); i.Owner != "ann" || s.User != "ann" || i.AuthenticatedAt.IsZero() {
							t.Errorf("the cookie finds %+v of %q, authenticated %v", s, i.Owner, i.AuthenticatedAt)
						}
					}
				})
			}
		}
		row("L12 a claim whose reply is lost once is known by its mark", func(t *testing.T, p *processes) {
			p.at("after CompareAndSwap", 1, func() error { return down })
			res := p.visit(p.seed(session{}), func(_ context.Context, s *session) { s.User = "ann" })
			if _, i := p.found(kit.TokenOf(res.Header)); res.StatusCode != 200 || i.Owner != "ann" {
				t.Errorf("%d, the cookie finds %q's", res.StatusCode, i.Owner)
			}
			p.wantLeft(1, 1)
		})
		row("L12 after a Save that failed a second one tries the sign-in again, never the old token", func(t *testing.T, p *processes) {
			old := p.seed(session{})
			res := p.visit(old, func(ctx context.Context, s *session) {
				s.User = "ann"
				p.store.Fail(down, "before Create")
				kit.WantErr(t, "the first", p.mine.Save(ctx), sessions.ErrUnavailable)
				p.store.Heal()
				kit.Must(t, p.mine.Save(ctx))
			})
			p.wantEnded(old)
			if _, i := p.found(kit.TokenOf(res.Header)); i.Owner != "ann" {
				t.Errorf("the new one finds %q's", i.Owner)
			}
		})
		row("L12 T1 a NewToken that fails signs nobody in", func(t *testing.T, p *processes) {
			old := p.seed(session{})
			before := p.under(old)
			fails, drawn := false, 0
			m := kit.New[session](t, p.inner, sessions.Config{Codec: p.codec, NewToken: func() (string, error) {
				if drawn++; fails {
					return "", odd
				}
				return fmt.Sprintf("%026d", drawn), nil
			}})
			fails = true
			res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				m.FromContext(r.Context()).User = "ann"
			})), kit.With(old, "/"))
			if after := p.under(old); res.StatusCode != 500 || after != before {
				t.Errorf("%d, under the old token %q, was %q", res.StatusCode, after, before)
			}
		})
	})
}
