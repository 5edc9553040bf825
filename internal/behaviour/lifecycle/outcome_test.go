package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The client learns of a token once it can rely on it, and not before.
func TestOutcomeOfWhatFailed(t *testing.T) {
	t.Parallel()
	// signedIn signs in by a token; then another tab signs out, which follows
	// the mark to the new session.
	signedIn := func(t *testing.T, m *sessions.Manager[kit.Session], ctx context.Context, token string) {
		t.Helper()
		kit.Must(t, m.SignIn(ctx))
		other, _ := kit.Load(t, m, token)
		kit.Must(t, m.Destroy(other))
	}
	viewed := func(s *kit.Session) { s.Views = 1 }

	for _, via := range []struct {
		name      string
		transport sessions.Transport
		header    string // of the response
		carry     func(token string) (name, value string)
	}{
		{"a cookie", nil, "Set-Cookie", func(token string) (string, string) { return "Cookie", kit.CookieName + "=" + token }},
		{"a header", sessions.HeaderToken{}, "Authorization", func(token string) (string, string) { return "Authorization", "Bearer " + token }},
	} {
		t.Run("L12 C14 a sign-in whose session another tab ends before the answer sends no empty token, in "+via.name, func(t *testing.T) {
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Transport: via.transport})
			token := kit.Edit(t, m, "", viewed)
			r := kit.With("", "/")
			r.Header.Set(via.carry(token))
			res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				signedIn(t, m, r.Context(), token)
				m.FromContext(r.Context()).Views = 9
			})), r)
			if res.StatusCode != http.StatusConflict {
				t.Errorf("status %d, want 409", res.StatusCode)
			}
			if lines := res.Header[via.header]; lines != nil {
				t.Errorf("%s: %q, want none: that session is dead", via.header, lines)
			}
		})
	}

	t.Run("L18 a sign-in whose session another tab ends before Commit has no outcome", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		token := kit.Edit(t, m, "", viewed)
		ctx, s := kit.Load(t, m, token)
		signedIn(t, m, ctx, token)
		s.Views = 9
		o, err := m.Commit(ctx)
		if !errors.Is(err, sessions.ErrGone) || o.Kind != sessions.OutcomeUnchanged || o.Token != "" {
			t.Errorf("Commit = %v, a token: %t, %v; want unchanged, none, ErrGone", o.Kind, o.Token != "", err)
		}
	})

	t.Run("L18 the token of a sign-in outlives a Commit that the store did not answer", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[kit.Session](t, store, sessions.Config{})
		token := kit.Edit(t, m, "", viewed)
		ctx, s := kit.Load(t, m, token)
		kit.Must(t, m.SignIn(ctx))
		s.Views = 5
		store.Fail(sessions.ErrUnavailable)
		kit.WantErr(t, "Commit", kit.Call(m, ctx, "Commit"), sessions.ErrUnavailable)
		store.Heal()
		if o := kit.Commit(t, m, ctx, sessions.OutcomeRenewed); !kit.Alive(t, m, o.Token.Reveal()) {
			t.Error("the token of the sign-in finds nothing")
		}
		kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
	})
}

// observer is a Cookie that keeps the last Outcome that it has written.
type observer struct {
	sessions.Cookie
	last *sessions.Outcome
}

func (o observer) Write(h http.Header, r *http.Request, outcome sessions.Outcome) bool {
	*o.last = outcome
	return o.Cookie.Write(h, r, outcome)
}

// untouching is a store that can read but restart no expiry.
type untouching struct{ sessions.Store }

func (s untouching) Load(ctx context.Context, key string, _ time.Duration) ([]byte, time.Duration, error) {
	return s.Store.Load(ctx, key, 0)
}

func TestOutcomeTouched(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		passive bool
		cannot  bool
		f       func(*sessions.Manager[kit.Session], context.Context)
		touched bool
	}{
		{"L4 a read has touched", false, false, nil, true},
		{"L4 a read has not, where the store cannot touch", false, true, nil, false},
		{"L16 a passive read has not", true, false, nil, false},
		{"L16 a passive read that touches has", true, false, func(m *sessions.Manager[kit.Session], ctx context.Context) { kit.OK(t, m.Touch(ctx)) }, true},
		{"L11 a request that begins a session in the place of one that it destroys has", true, false, func(m *sessions.Manager[kit.Session], ctx context.Context) {
			kit.OK(t, m.Destroy(ctx))
			m.FromContext(ctx).Views++
		}, true},
		{"L16 a passive request that changes T has", true, false, func(m *sessions.Manager[kit.Session], ctx context.Context) { m.FromContext(ctx).Views++ }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := kit.Memory()
			token := kit.Edit(t, kit.New[kit.Session](t, store, sessions.Config{}), "", func(s *kit.Session) { s.Views = 1 })
			if row.cannot {
				store = untouching{store}
			}
			var last sessions.Outcome
			m := kit.New[kit.Session](t, store, sessions.Config{
				Transport: observer{sessions.Cookie{}, &last}, Passive: func(*http.Request) bool { return row.passive },
			})
			kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if row.f != nil {
					row.f(m, r.Context())
				}
			})), kit.With(token, "/"))
			if last.Touched != row.touched || last.Token == "" {
				t.Errorf("touched %t, want %t; a token: %t", last.Touched, row.touched, last.Token != "")
			}
		})
	}
}
