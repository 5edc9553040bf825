package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

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
