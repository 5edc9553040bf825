package sessions_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/typedsessions/sessions"
)

// The client learns of a token once it can rely on it, and not before.
func TestOutcomeOfWhatFailed(t *testing.T) {
	// signedIn signs in by a token; then another tab signs out, which follows
	// the mark to the new session.
	signedIn := func(t *testing.T, m *sessions.Manager[Session], ctx context.Context, token string) {
		t.Helper()
		must(t, m.SignIn(ctx))
		other, err := m.Load(t.Context(), token)
		must(t, err)
		must(t, m.Destroy(other))
	}
	views := func(m *sessions.Manager[Session], n int) func(context.Context) error {
		return func(ctx context.Context) error {
			m.FromContext(ctx).Views = n
			return nil
		}
	}

	for _, via := range []struct {
		name      string
		transport sessions.Transport
		header    string // of the response
		carry     func(r *http.Request, token string)
	}{
		{"a cookie", nil, "Set-Cookie", func(r *http.Request, token string) { r.Header.Set("Cookie", cookieName+"="+token) }},
		{
			"a header",
			sessions.HeaderToken{},
			"Authorization",
			func(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) },
		},
	} {
		t.Run("L12 C14 a sign-in whose session another tab ends before the answer sends no empty token, in "+via.name, func(t *testing.T) {
			m := mustNew(t, memory(), sessions.Config{Transport: via.transport})
			token := mustRequest(t, m, "", views(m, 1))
			r := with("", "/")
			via.carry(r, token)
			res := serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
		m := mustNew(t, memory(), sessions.Config{})
		token := mustRequest(t, m, "", views(m, 1))
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		signedIn(t, m, ctx, token)
		m.FromContext(ctx).Views = 9
		o, err := m.Commit(ctx)
		if !errors.Is(err, sessions.ErrGone) || o.Kind != sessions.OutcomeUnchanged || o.Token != "" {
			t.Errorf("Commit = %v, a token: %t, %v; want unchanged, none, ErrGone", o.Kind, o.Token != "", err)
		}
	})

	t.Run("L18 the token of a sign-in outlives a Commit that the store did not answer", func(t *testing.T) {
		store := &stepStore{Store: memory()}
		m := mustNew(t, store, sessions.Config{})
		token := mustRequest(t, m, "", views(m, 1))
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		must(t, m.SignIn(ctx))
		m.FromContext(ctx).Views = 5
		store.before = func(string, string) error { return sessions.ErrUnavailable }
		if _, err := m.Commit(ctx); !errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("Commit = %v, want ErrUnavailable", err)
		}
		store.before = nil
		o, err := m.Commit(ctx)
		if err != nil || o.Kind != sessions.OutcomeRenewed || !alive(t, m, o.Token.Reveal()) {
			t.Errorf("the next Commit = %v, %v; want renewed with its token", o.Kind, err)
		}
		if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
			t.Errorf("the one after = %v, %v; want unchanged", o.Kind, err)
		}
	})
}
