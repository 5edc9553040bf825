package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestLifecycleCommit(t *testing.T) {
	t.Run("L18 Load and Commit outside HTTP do what Handler does", testCommit)
}

// testCommit is L18.
func testCommit(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		setup := func(t *testing.T) (*sessions.Manager[Session], *calls, func(tokens ...string) context.Context) {
			store, log := counted(&sessions.MemoryStore{})
			m := newManager[Session](t, store, sessions.Config{Codec: c})
			return m, log, func(tokens ...string) context.Context {
				t.Helper()
				ctx, err := m.Load(t.Context(), tokens...)
				if err != nil {
					t.Fatal(err)
				}
				return ctx
			}
		}
		commit := func(t *testing.T, m *sessions.Manager[Session], ctx context.Context, want sessions.OutcomeKind) sessions.Outcome {
			t.Helper()
			o, err := m.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if o.Kind != want {
				t.Errorf("Commit tells %v, want %v", o.Kind, want)
			}
			return o
		}

		t.Run("the outcome tells what has happened since the last Commit", func(t *testing.T) {
			m, log, load := setup(t)
			ctx := load()
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			wantCalls(t, log, "nothing", "")

			s := sessions.FromContext[Session](ctx)
			s.Views = 1
			created := commit(t, m, ctx, sessions.OutcomeCreated)
			if created.Token.Reveal() == "" || created.Info.ID == "" || created.Info.New {
				t.Errorf("created: %+v", created)
			}
			wantCalls(t, log, "the first change", "Create")
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			wantCalls(t, log, "calling it again", "")

			s.Views = 2
			if o := commit(t, m, ctx, sessions.OutcomeChanged); o.Token != created.Token {
				t.Error("a change has another token")
			}
			wantCalls(t, log, "a change", "CompareAndSwap")

			s.Views = 3
			do1(t, m.Renew, ctx)
			renewed := commit(t, m, ctx, sessions.OutcomeRenewed)
			if renewed.Token == created.Token || renewed.Token.Reveal() == "" || renewed.Info.ID != created.Info.ID {
				t.Errorf("renewed: %+v after %+v", renewed, created)
			}
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			if got := m.FromContext(load(renewed.Token.Reveal())).Views; got != 3 {
				t.Errorf("the new token finds %d views", got)
			}
			if i := m.Info(load(created.Token.Reveal())); !i.New {
				t.Error("the old token is accepted")
			}

			do1(t, m.Destroy, ctx)
			commit(t, m, ctx, sessions.OutcomeDestroyed)
			commit(t, m, ctx, sessions.OutcomeUnchanged)
			if i := m.Info(load(renewed.Token.Reveal())); !i.New {
				t.Error("the destroyed session is accepted")
			}

			s.Views = 9
			again := commit(t, m, ctx, sessions.OutcomeCreated)
			if again.Token == renewed.Token || again.Info.ID == renewed.Info.ID {
				t.Error("writing after Destroy is the old session")
			}
			if got := m.FromContext(load(again.Token.Reveal())); got.Views != 9 {
				t.Errorf("read %+v", got)
			}
		})

		t.Run("SignIn of a new session is a creation, of a stored one a renewal", func(t *testing.T) {
			m, _, load := setup(t)
			ctx := load()
			do1(t, func(ctx context.Context) error { return m.SignIn(ctx) }, ctx)
			commit(t, m, ctx, sessions.OutcomeCreated)
			do1(t, func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }, ctx)
			if o := commit(t, m, ctx, sessions.OutcomeRenewed); !o.Info.Remembered {
				t.Errorf("outcome %+v", o)
			}
		})

		t.Run("an unknown token, a malformed one and none are no error", func(t *testing.T) {
			m, log, load := setup(t)
			for tokens, want := range map[string]string{
				"":                             "",
				"{}":                           "",
				"*":                            "",
				"s" + strings.Repeat("x", 26):  "Load",
				"r" + strings.Repeat("x", 26):  "Load",
				"q" + strings.Repeat("x", 26):  "",
				"s" + strings.Repeat("x", 200): "",
			} {
				ctx := load(tokens)
				if i := m.Info(ctx); !i.New {
					t.Errorf("%q finds a session", tokens)
				}
				wantCalls(t, log, fmt.Sprintf("%q", tokens), want)
			}
		})

		t.Run("two valid tokens give neither session, and at most four are tried", func(t *testing.T) {
			m, log, load := setup(t)
			var tokens []string
			for range 2 {
				ctx := load()
				m.FromContext(ctx).UserID = "u"
				tokens = append(tokens, commit(t, m, ctx, sessions.OutcomeCreated).Token.Reveal())
			}
			log.take()
			if ctx := load(tokens...); !m.Info(ctx).New || m.FromContext(ctx).UserID != "" {
				t.Error("one of two sessions was used")
			}
			wantCalls(t, log, "two tokens", "Load Load")
			if ctx := load(tokens[0], tokens[0]); m.Info(ctx).New {
				t.Error("one token twice is not one session")
			}
			unknown := func(c string) string { return "s" + strings.Repeat(c, 26) }
			log.take()
			if ctx := load(unknown("a"), unknown("b"), tokens[0], unknown("c")); m.Info(ctx).New {
				t.Error("the valid one of four was not found")
			}
			wantCalls(t, log, "four tokens", "Load Load Load Load")
			if ctx := load(unknown("a"), unknown("b"), unknown("c"), unknown("d"), tokens[0]); !m.Info(ctx).New {
				t.Error("a fifth was tried")
			}
		})

		t.Run("a load that fails gives the error and the caller's context", func(t *testing.T) {
			m, _, _ := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got, err := m.Load(ctx, "s"+strings.Repeat("x", 26))
			if got != ctx || !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Load of a cancelled context: %v", err)
			}
		})

		t.Run("a caller who has gone loses no save", func(t *testing.T) {
			m, _, load := setup(t)
			ctx, cancel := context.WithCancel(t.Context())
			ctx, err := m.Load(ctx)
			if err != nil {
				t.Fatal(err)
			}
			m.FromContext(ctx).Views = 4
			cancel()
			o := commit(t, m, ctx, sessions.OutcomeCreated)
			if got := m.FromContext(load(o.Token.Reveal())).Views; got != 4 {
				t.Errorf("%d views", got)
			}
		})

		t.Run("an ended session is ErrGone, and stays so until Destroy", func(t *testing.T) {
			m, _, load := setup(t)
			ctx := load()
			m.FromContext(ctx).Views = 1
			token := commit(t, m, ctx, sessions.OutcomeCreated).Token.Reveal()
			do1(t, m.Destroy, load(token))
			m.FromContext(ctx).Views = 2
			for range 2 {
				if _, err := m.Commit(ctx); !errors.Is(err, sessions.ErrGone) {
					t.Errorf("Commit gives %v, want ErrGone", err)
				}
			}
			if got := m.FromContext(ctx).Views; got != 2 {
				t.Errorf("*T is no longer readable: %d views", got)
			}
			do1(t, m.Destroy, ctx)
			m.FromContext(ctx).Views = 3
			o := commit(t, m, ctx, sessions.OutcomeCreated)
			if got := m.FromContext(load(o.Token.Reveal())).Views; got != 3 {
				t.Errorf("%d views after the fresh start", got)
			}
		})
	})
}
