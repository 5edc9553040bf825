package sessions_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestStoreErrorsStayInside(t *testing.T) {
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
				store := &stepStore{Store: new(sessions.MemoryStore)}
				m := mustNew(t, store, sessions.Config{})
				token := ""
				if op != "Create" {
					token = mustRequest(t, m, "", put(m, "ann"))
				}
				failed := false
				store.before = func(got, _ string) error {
					if got == op {
						failed = true
						return cause
					}
					return nil
				}
				res := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					m.FromContext(r.Context()).UserID = "bob"
				})), with(token, "/"))
				body, _ := io.ReadAll(res.Body)
				if !failed || res.StatusCode < 400 || string(body) != http.StatusText(res.StatusCode)+"\n" {
					t.Errorf("failed: %v, %d %q", failed, res.StatusCode, body)
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

// tampered changes what is stored under the only key of a MemoryStore.
type tampered struct {
	sessions.MemoryStore
	change func(data []byte) []byte
}

func (s *tampered) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := s.MemoryStore.Load(ctx, key, touch)
	if err == nil && s.change != nil {
		data = s.change(data)
	}
	return data, left, err
}

func (s *tampered) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if current != nil && s.change != nil {
		current = s.change(current)
	}
	return current, err
}

func TestErrorsHaveTypes(t *testing.T) {
	unavailable := func(string, string) error { return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable) }
	late := func(string, string) error { return context.DeadlineExceeded }
	drawn := errors.New("no entropy")
	type world struct {
		m     *sessions.Manager[Session]
		step  *stepStore
		store *tampered
		draw  *error
		token string
	}
	gone := func(t *testing.T, w world) context.Context {
		ctx, err := w.m.Load(t.Context(), w.token)
		must(t, err)
		mustRequest(t, w.m, w.token, w.m.Destroy)
		w.m.FromContext(ctx).Views++
		return ctx
	}
	loaded := func(t *testing.T, w world, token string) context.Context {
		ctx, err := w.m.Load(t.Context(), token)
		must(t, err)
		w.m.FromContext(ctx).Views++
		return ctx
	}
	verbs := map[string]func(w world, ctx context.Context) error{
		"Save":    func(w world, ctx context.Context) error { return w.m.Save(ctx) },
		"Commit":  func(w world, ctx context.Context) error { _, err := w.m.Commit(ctx); return err },
		"Renew":   func(w world, ctx context.Context) error { return w.m.Renew(ctx) },
		"SignIn":  func(w world, ctx context.Context) error { return w.m.SignIn(ctx) },
		"Destroy": func(w world, ctx context.Context) error { return w.m.Destroy(ctx) },
		"Touch":   func(w world, ctx context.Context) error { return w.m.Touch(ctx) },
		"Reload":  func(w world, ctx context.Context) error { return w.m.Reload(ctx) },
	}
	newer := func(data []byte) []byte {
		return bytes.Replace(data, []byte(`"c":"json",`), []byte(`"c":"json","version":99,`), 1)
	}
	rows := []struct {
		name  string
		verbs string
		do    func(t *testing.T, w world, verb func(world, context.Context) error) error
		is    error
		not   []error
	}{
		{
			"the store does not answer", "Save Commit Renew SignIn Destroy Touch Reload",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, w.token)
				w.step.before = unavailable
				return verb(w, ctx)
			},
			sessions.ErrUnavailable,
			[]error{sessions.ErrConflict, sessions.ErrGone},
		},
		{
			"the store takes too long", "Save Commit Renew SignIn Destroy Touch Reload",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, w.token)
				w.step.after = late
				return verb(w, ctx)
			},
			sessions.ErrUnavailable, nil,
		},
		{
			"the store does not answer for a new session", "Save Commit Renew SignIn",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, "")
				w.step.before = unavailable
				return verb(w, ctx)
			},
			sessions.ErrUnavailable, nil,
		},
		{
			"the session has ended", "Save Commit Renew SignIn Touch Reload",
			func(t *testing.T, w world, verb func(world, context.Context) error) error { return verb(w, gone(t, w)) },
			sessions.ErrGone,
			[]error{sessions.ErrNotFound, sessions.ErrUnavailable},
		},
		{
			"the session is too large", "Save Commit Renew SignIn",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, w.token)
				w.m.FromContext(ctx).Flash = strings.Repeat("x", 65<<10)
				return verb(w, ctx)
			},
			sessions.ErrTooLarge, nil,
		},
		{
			"a newer build has written the record", "Touch Reload",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, w.token)
				w.store.change = newer
				return verb(w, ctx)
			},
			sessions.ErrNewerVersion, nil,
		},
		{
			"a newer build wrote in between", "Save Commit Renew SignIn",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, w.token)
				mustRequest(t, w.m, w.token, put(w.m, "other"))
				w.store.change = newer
				return verb(w, ctx)
			},
			sessions.ErrNewerVersion, nil,
		},
		{
			"there is no session", "Save Commit Renew SignIn Destroy Touch Reload",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				return verb(w, t.Context())
			},
			sessions.ErrNoSession, nil,
		},
		{
			"no token can be drawn", "Save Commit Renew SignIn",
			func(t *testing.T, w world, verb func(world, context.Context) error) error {
				ctx := loaded(t, w, "")
				*w.draw = drawn
				return verb(w, ctx)
			},
			drawn, nil,
		},
		{
			"the header has gone", "Save Renew SignIn",
			func(t *testing.T, w world, verb func(world, context.Context) error) (err error) {
				serve(w.m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					fmt.Fprint(rw, "body")
					w.m.FromContext(r.Context()).Views++
					err = verb(w, r.Context())
				})), with("", "/"))
				return err
			},
			sessions.ErrCommitted, nil,
		},
	}
	for _, row := range rows {
		for name := range strings.FieldsSeq(row.verbs) {
			t.Run(fmt.Sprintf("X4 %s when %s", name, row.name), func(t *testing.T) {
				w := world{store: &tampered{}, draw: new(error)}
				w.step = &stepStore{Store: w.store}
				w.m = mustNew(t, w.step, sessions.Config{NewToken: func() (string, error) { return rand.Text(), *w.draw }})
				w.token = mustRequest(t, w.m, "", put(w.m, "ann"))
				err := row.do(t, w, verbs[name])
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
		for name, change := range map[string]func([]byte) []byte{
			"null":      func([]byte) []byte { return []byte("null") },
			"no header": func([]byte) []byte { return []byte(`{"user_id":"x"}`) },
			"payload":   func(b []byte) []byte { return bytes.Replace(b, []byte(`"views":0`), []byte(`"views":"x"`), 1) },
			"codec":     func(b []byte) []byte { return bytes.Replace(b, []byte(`"c":"json"`), []byte(`"c":"cbor"`), 1) },
			"size":      func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), 70<<10)...) },
		} {
			store, events := &tampered{}, &recorder{}
			m := mustNew(t, store, sessions.Config{OnEvent: events.on})
			token := mustRequest(t, m, "", put(m, "ann"))
			events.kinds()
			store.change = change
			ctx, err := m.Load(t.Context(), token)
			if err != nil || !m.Info(ctx).New {
				t.Errorf("%s: %v", name, err)
			}
			var decode *sessions.DecodeError
			if len(events.events) != 1 || events.events[0].Kind != sessions.EventUndecodable || !errors.As(events.events[0].Err, &decode) {
				t.Errorf("%s: events %v", name, events.events)
			}
			if name == "size" && !errors.Is(events.events[0].Err, sessions.ErrTooLarge) {
				t.Errorf("%s: %v is not ErrTooLarge", name, events.events[0].Err)
			}
		}
	})

	t.Run("X4 Reload of a record that cannot be read", func(t *testing.T) {
		store := &tampered{}
		m := mustNew(t, store, sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		store.change = func([]byte) []byte { return []byte("null") }
		var decode *sessions.DecodeError
		if err := m.Reload(ctx); !errors.As(err, &decode) {
			t.Errorf("%v, want a *DecodeError", err)
		}
	})

	t.Run("X4 a cancelled load is context.Canceled alone", func(t *testing.T) {
		m := mustNew(t, new(sessions.MemoryStore), sessions.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Load(ctx, someToken); !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})

	t.Run("X4 the default answer to each error is the documented one", func(t *testing.T) {
		for err, want := range map[error]int{
			sessions.ErrUnavailable: 503, sessions.ErrNewerVersion: 503, sessions.ErrConflict: 409,
			sessions.ErrGone: 409, sessions.ErrTooLarge: 500, errors.New("other"): 500,
		} {
			store := &stepStore{Store: new(sessions.MemoryStore), before: func(string, string) error { return fmt.Errorf("test: %w", err) }}
			m := mustNew(t, store, sessions.Config{})
			w := httptest.NewRecorder()
			m.Handler(http.NotFoundHandler()).ServeHTTP(w, with(someToken, "/"))
			if w.Code != want || (w.Header().Get("Retry-After") != "") != (want == 503) {
				t.Errorf("%v: status %d, Retry-After %q", err, w.Code, w.Header().Get("Retry-After"))
			}
		}
	})
}
