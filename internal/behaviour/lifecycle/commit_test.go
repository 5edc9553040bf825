package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestCommit(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		open := func(t *testing.T) (*kit.App, func(tokens ...string) context.Context) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
			return a, func(tokens ...string) context.Context {
				t.Helper()
				ctx, _ := kit.Load(t, a.Manager, tokens...)
				return ctx
			}
		}

		t.Run("L18 the outcome tells what has happened since the last Commit", func(t *testing.T) {
			a, load := open(t)
			ctx := load()
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged)
			a.WantCalls(t, "nothing", "")

			s := sessions.FromContext[kit.Session](ctx)
			s.Views = 1
			created := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			if created.Token.Reveal() == "" || created.Info.ID == "" || created.Info.New {
				t.Errorf("created: %+v", created)
			}
			a.WantCalls(t, "the first change", "Create")
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged)
			a.WantCalls(t, "calling it again", "")

			s.Views = 2
			if o := kit.Commit(t, a.Manager, ctx, sessions.OutcomeChanged); o.Token != created.Token {
				t.Error("a change has another token")
			}
			a.WantCalls(t, "a change", "CompareAndSwap")

			s.Views = 3
			kit.OK(t, a.Renew(ctx))
			renewed := kit.Commit(t, a.Manager, ctx, sessions.OutcomeRenewed)
			if renewed.Token == created.Token || renewed.Token.Reveal() == "" || renewed.Info.ID != created.Info.ID {
				t.Errorf("renewed: %+v after %+v", renewed, created)
			}
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged)
			if got := a.FromContext(load(renewed.Token.Reveal())).Views; got != 3 {
				t.Errorf("the new token finds %d views", got)
			}
			if i := a.Info(load(created.Token.Reveal())); !i.New {
				t.Error("the old token is accepted")
			}

			kit.OK(t, a.Destroy(ctx))
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeDestroyed)
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged)
			if i := a.Info(load(renewed.Token.Reveal())); !i.New {
				t.Error("the destroyed session is accepted")
			}

			s.Views = 9
			again := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			if again.Token == renewed.Token || again.Info.ID == renewed.Info.ID {
				t.Error("writing after Destroy is the old session")
			}
			if got := a.FromContext(load(again.Token.Reveal())); got.Views != 9 {
				t.Errorf("read %+v", got)
			}
		})

		t.Run("L11 L18 a session that ends before a Commit has told of it is nothing to tell", func(t *testing.T) {
			a, load := open(t)
			ctx := load()
			kit.OK(t, a.SignIn(ctx))
			kit.OK(t, a.Destroy(ctx))
			if o := kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged); o.Token != "" {
				t.Error("there is a token")
			}
		})

		t.Run("L10 L18 a session that a failed Commit has told of is OutcomeDestroyed", func(t *testing.T) {
			a, load := open(t)
			ctx := load()
			kit.OK(t, a.SignIn(ctx))
			a.FromContext(ctx).UserID = strings.Repeat("x", 70<<10)
			if o, err := a.Commit(ctx); !errors.Is(err, sessions.ErrTooLarge) || o.Kind != sessions.OutcomeCreated {
				t.Errorf("Commit: %v, %v", o.Kind, err)
			}
			kit.OK(t, a.Destroy(ctx))
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeDestroyed)
		})

		t.Run("L18 SignIn of a new session is a creation, of a stored one a renewal", func(t *testing.T) {
			a, load := open(t)
			ctx := load()
			kit.OK(t, a.SignIn(ctx))
			kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			kit.OK(t, a.SignIn(ctx, sessions.Remembered))
			if o := kit.Commit(t, a.Manager, ctx, sessions.OutcomeRenewed); !o.Info.Remembered {
				t.Errorf("outcome %+v", o)
			}
		})

		t.Run("L18 an unknown token, a malformed one and none are no error", func(t *testing.T) {
			a, load := open(t)
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
				if i := a.Info(ctx); !i.New {
					t.Errorf("%q finds a session", tokens)
				}
				a.WantCalls(t, fmt.Sprintf("%q", tokens), want)
			}
		})

		t.Run("L18 two valid tokens give neither session, and at most four are tried", func(t *testing.T) {
			a, load := open(t)
			var tokens []string
			for range 2 {
				ctx := load()
				a.FromContext(ctx).UserID = "u"
				tokens = append(tokens, kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated).Token.Reveal())
			}
			a.Store.Calls()
			if ctx := load(tokens...); !a.Info(ctx).New || a.FromContext(ctx).UserID != "" {
				t.Error("one of two sessions was used")
			}
			a.WantCalls(t, "two tokens", "Load Load")
			if ctx := load(tokens[0], tokens[0]); a.Info(ctx).New {
				t.Error("one token twice is not one session")
			}
			unknown := func(c string) string { return "s" + strings.Repeat(c, 26) }
			a.Store.Calls()
			if ctx := load(unknown("a"), unknown("b"), tokens[0], unknown("c")); a.Info(ctx).New {
				t.Error("the valid one of four was not found")
			}
			a.WantCalls(t, "four tokens", "Load Load Load Load Load") // the last one is the touch of the valid one
			if ctx := load(unknown("a"), unknown("b"), unknown("c"), unknown("d"), tokens[0]); !a.Info(ctx).New {
				t.Error("a fifth was tried")
			}
		})

		t.Run("L18 a load that fails gives the error and the caller's context", func(t *testing.T) {
			a, _ := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			got, err := a.Load(ctx, "s"+strings.Repeat("x", 26))
			if got != ctx || !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Load of a cancelled context: %v", err)
			}
		})

		t.Run("L18 a caller who has gone loses no save", func(t *testing.T) {
			a, load := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			ctx, err := a.Load(ctx)
			kit.Must(t, err)
			a.FromContext(ctx).Views = 4
			cancel()
			o := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			if got := a.FromContext(load(o.Token.Reveal())).Views; got != 4 {
				t.Errorf("%d views", got)
			}
		})

		t.Run("L18 an ended session is ErrGone, and stays so until Destroy", func(t *testing.T) {
			a, load := open(t)
			ctx := load()
			a.FromContext(ctx).Views = 1
			token := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated).Token.Reveal()
			kit.OK(t, a.Destroy(load(token)))
			a.FromContext(ctx).Views = 2
			for range 2 {
				kit.WantErr(t, "Commit", kit.Call(a.Manager, ctx, "Commit"), sessions.ErrGone)
			}
			if got := a.FromContext(ctx).Views; got != 2 {
				t.Errorf("*T is no longer readable: %d views", got)
			}
			kit.OK(t, a.Destroy(ctx))
			a.FromContext(ctx).Views = 3
			o := kit.Commit(t, a.Manager, ctx, sessions.OutcomeCreated)
			if got := a.FromContext(load(o.Token.Reveal())).Views; got != 3 {
				t.Errorf("%d views after the fresh start", got)
			}
		})
	})
}
