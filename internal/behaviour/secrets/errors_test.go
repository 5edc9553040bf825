package secrets_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestStoreErrorsStayInside(t *testing.T) {
	t.Parallel()
	const secret = "10.0.0.7:6379 user=admin session:key"
	for name, cause := range map[string]error{
		"unavailable": fmt.Errorf("%w: %s", sessions.ErrUnavailable, secret),
		"conflict":    fmt.Errorf("%w: %s", sessions.ErrConflict, secret),
		"other":       errors.New(secret),
		"deadline":    fmt.Errorf("%w: %s", context.DeadlineExceeded, secret),
	} {
		for _, op := range []string{"Load", "Create", "CompareAndSwap"} {
			if name == "conflict" && op == "CompareAndSwap" {
				continue // there it is an answer
			}
			t.Run(fmt.Sprintf("X3 the body is the status text when %s fails: %s", op, name), func(t *testing.T) {
				a, token := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{}), ""
				if op != "Create" {
					token = a.Seed(1)
				}
				a.Store.Fail(cause, "before "+op)
				b := a.Browser().As(token)
				res := b.Edit(func(s *kit.Session) { s.UserID = "bob" })
				if len(a.Store.Keys(op)) == 0 || res.StatusCode < 400 || res.Text != http.StatusText(res.StatusCode)+"\n" {
					t.Errorf("%s is asked %d times, %d %q", op, len(a.Store.Keys(op)), res.StatusCode, res.Text)
				}
				for k, v := range res.Header {
					if strings.Contains(strings.Join(v, " "), "10.0.0.7") {
						t.Errorf("%s: %q", k, v)
					}
				}
			})
		}
	}
}

// rewrite changes the record of a token.
func rewrite(t *testing.T, store sessions.Store, token string, change func(record string) string) {
	t.Helper()
	kit.Place(t, store, token, change(kit.RecordUnder(t, store, token)))
}

// newer is a record as a build writes it that is newer than this one.
func newer(record string) string {
	return strings.Replace(record, `"c":"json",`, `"c":"json","version":99,`, 1)
}

func TestErrorsHaveTypes(t *testing.T) {
	t.Parallel()
	drawn := errors.New("no entropy")
	// An attempt is a verb of a request in which a session has been changed.
	type attempt struct {
		*sessions.Manager[kit.Session]
		store *kit.Store
		draw  error  // of NewToken
		token string // of a stored session
	}
	// load begins the request with this token.
	load := func(t *testing.T, a *attempt, token string) (context.Context, *kit.Session) {
		ctx, s := kit.Load(t, a.Manager, token)
		s.Views++
		return ctx, s
	}
	unavailable := fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	for _, row := range []struct {
		name  string
		verbs string
		begin func(t *testing.T, a *attempt) context.Context
		is    error
		not   []error
	}{
		{"the store does not answer", "Save Commit Renew SignIn Destroy Touch Reload Reauthenticate", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, a.token)
			a.store.Fail(unavailable)
			return ctx
		}, sessions.ErrUnavailable, []error{sessions.ErrConflict, sessions.ErrGone}},
		{"the store takes too long", "Save Commit Renew SignIn Destroy Touch Reload Reauthenticate", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, a.token)
			a.store.Fail(context.DeadlineExceeded, "after Load", "after Create", "after CompareAndSwap", "after Delete")
			return ctx
		}, sessions.ErrUnavailable, nil},
		{"the store does not answer for a new session", "Save Commit Renew SignIn", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, "")
			a.store.Fail(unavailable)
			return ctx
		}, sessions.ErrUnavailable, nil},
		{"the session has ended", "Save Commit Renew Touch Reload Reauthenticate", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, a.token)
			kit.Verb(t, a.Manager, a.token, "Destroy")
			return ctx
		}, sessions.ErrGone, []error{sessions.ErrNotFound, sessions.ErrUnavailable}},
		{"the session is too large", "Save Commit Renew SignIn Reauthenticate", func(t *testing.T, a *attempt) context.Context {
			ctx, s := load(t, a, a.token)
			s.Flash = strings.Repeat("x", 65<<10)
			return ctx
		}, sessions.ErrTooLarge, nil},
		{"a newer build has written the record", "Touch Reload", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, a.token)
			rewrite(t, a.store, a.token, newer)
			return ctx
		}, sessions.ErrNewerVersion, nil},
		{"a newer build wrote in between", "Save Commit Renew SignIn Reauthenticate", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, a.token)
			kit.MustRequest(t, a.Manager, a.token, kit.Put(a.Manager, "other"))
			rewrite(t, a.store, a.token, newer)
			return ctx
		}, sessions.ErrNewerVersion, nil},
		{"there is no session", "Save Commit Renew SignIn Destroy Touch Reload Reauthenticate", func(t *testing.T, _ *attempt) context.Context {
			return t.Context()
		}, sessions.ErrNoSession, nil},
		{"no token can be drawn", "Save Commit Renew SignIn", func(t *testing.T, a *attempt) context.Context {
			ctx, _ := load(t, a, "")
			a.draw = drawn
			return ctx
		}, drawn, nil},
		{"the header has gone", "Save Renew SignIn", nil, sessions.ErrCommitted, nil},
	} {
		for verb := range strings.FieldsSeq(row.verbs) {
			t.Run(fmt.Sprintf("X4 %s when %s", verb, row.name), func(t *testing.T) {
				a := &attempt{store: &kit.Store{Store: kit.Memory()}}
				a.Manager = kit.New[kit.Session](t, a.store, sessions.Config{NewToken: func() (string, error) { return rand.Text(), a.draw }})
				a.token = kit.Verb(t, a.Manager, "", "SignIn")
				var err error
				if row.begin != nil {
					err = kit.Call(a.Manager, row.begin(t, a), verb)
				} else {
					kit.Serve(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						io.WriteString(w, "body")
						a.FromContext(r.Context()).Views++
						err = kit.Call(a.Manager, r.Context(), verb)
					})), kit.With("", "/"))
				}
				if !errors.Is(err, row.is) {
					t.Fatalf("%v, want %v", err, row.is)
				}
				for _, not := range row.not {
					if errors.Is(err, not) {
						t.Errorf("%v is %v too", err, not)
					}
				}
				if !strings.HasPrefix(err.Error(), "sessions: ") {
					t.Errorf("%q does not begin with sessions:", err)
				}
			})
		}
	}

	t.Run("X4 a record that cannot be read is a *DecodeError, and no error for the visitor", func(t *testing.T) {
		for name, change := range map[string]func(string) string{
			"null":      func(string) string { return "null" },
			"no header": func(string) string { return `{"user_id":"x"}` },
			"payload":   func(s string) string { return strings.Replace(s, `"views":1`, `"views":"x"`, 1) },
			"codec":     func(s string) string { return strings.Replace(s, `"c":"json"`, `"c":"cbor"`, 1) },
			"size":      func(s string) string { return s + strings.Repeat(" ", 70<<10) },
		} {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			rewrite(t, a.Store, token, change)
			if kit.Alive(t, a.Manager, token) {
				t.Errorf("%s: the session is there", name)
			}
			events := a.Events.Take()
			if len(events) != 1 || events[0].Kind != sessions.EventUndecodable {
				t.Fatalf("%s: events %v", name, events)
			}
			var decode *sessions.DecodeError
			if err := events[0].Err; !errors.As(err, &decode) || name == "size" && !errors.Is(err, sessions.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})

	t.Run("X4 Reload of a record that cannot be read", func(t *testing.T) {
		store := kit.Memory()
		m := kit.New[kit.Session](t, store, sessions.Config{})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		ctx, _ := kit.Load(t, m, token)
		kit.Place(t, store, token, "null")
		var decode *sessions.DecodeError
		if err := m.Reload(ctx); !errors.As(err, &decode) {
			t.Errorf("%v, want a *DecodeError", err)
		}
	})

	t.Run("X4 a cancelled load is context.Canceled alone", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Load(ctx, kit.UnknownToken(1)); !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})

	t.Run("X4 the default answer to each error is the documented one", func(t *testing.T) {
		for err, want := range map[error]int{
			sessions.ErrUnavailable: 503, sessions.ErrNewerVersion: 503, sessions.ErrConflict: 409,
			sessions.ErrGone: 409, sessions.ErrTooLarge: 500, errors.New("other"): 500,
		} {
			store := &kit.Store{Store: kit.Memory()}
			store.Fail(fmt.Errorf("test: %w", err))
			m := kit.New[kit.Session](t, store, sessions.Config{})
			res := kit.Serve(m.Handler(http.NotFoundHandler()), kit.With(kit.UnknownToken(1), "/"))
			if retry := res.Header.Get("Retry-After"); res.StatusCode != want || (retry != "") != (want == 503) {
				t.Errorf("%v: status %d, Retry-After %q", err, res.StatusCode, retry)
			}
		}
	})
}
