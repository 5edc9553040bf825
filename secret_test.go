package sessions_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// monitor collects every command that the server gets. stop waits until the
// last one before it is in, and returns them with their arguments unquoted.
func monitor(t *testing.T, server *redistest.Server) (stop func() []string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, "MONITOR\r\n")
	must(t, err)
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("MONITOR: %q", lines.Text())
	}
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	return func() []string {
		const last = "that-was-the-last-one"
		server.Client(t).Echo(t.Context(), last)
		var seen []string
		for lines.Scan() {
			for _, arg := range quoted.FindAllString(lines.Text(), -1) {
				text, err := strconv.Unquote(arg)
				if err != nil {
					t.Fatalf("%s: %v", arg, err)
				}
				if text == last {
					return seen
				}
				seen = append(seen, text)
			}
		}
		t.Fatalf("the monitor ended: %v", lines.Err())
		return nil
	}
}

// lives is a life of sessions with everything in it. It returns the tokens
// that were ever given out, the ones that still find a session first.
func lives(t *testing.T, m *sessions.Manager[Session]) (live, dead []string) {
	t.Helper()
	remember := func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }
	signIn := func(ctx context.Context) error { return m.SignIn(ctx) }
	anonymous := mustRequest(t, m, "", put(m, "ann"))
	signed := mustRequest(t, m, anonymous, signIn)
	renewed := mustRequest(t, m, signed, m.Renew)
	mustRequest(t, m, renewed, put(m, "ann again"))
	mustRequest(t, m, renewed, m.Touch)
	mustRequest(t, m, anonymous, func(context.Context) error { return nil }) // a mark
	kept := mustRequest(t, m, mustRequest(t, m, "", put(m, "kim")), remember)
	gone := mustRequest(t, m, "", put(m, "bob"))
	gone2 := mustRequest(t, m, gone, m.Renew)
	mustRequest(t, m, gone, m.Destroy) // follows the mark
	late := mustRequest(t, m, "", put(m, "eve"))
	ctx, err := m.Load(t.Context(), late)
	must(t, err)
	mustRequest(t, m, late, m.Destroy)
	m.FromContext(ctx).Views++
	if err := m.Save(ctx); !errors.Is(err, sessions.ErrGone) {
		t.Fatalf("Save of a destroyed session: %v", err)
	}
	return []string{renewed, kept}, []string{anonymous, signed, gone, gone2, late}
}

func TestNothingInRedisAuthenticates(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		server := redistest.Start(t, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
		rdb := server.Client(t)
		m := mustNew(t, redisStore(rdb), sessions.Config{Codec: c, Label: func(*http.Request) string { return "label" }})
		stop := monitor(t, server)
		live, dead := lives(t, m)
		seen := stop()
		for _, entry := range rdb.SlowLogGet(t.Context(), -1).Val() {
			seen = append(seen, entry.Args...)
		}
		for _, key := range keys(t, rdb) {
			seen = append(seen, key, rdb.Get(t.Context(), key).Val())
		}

		t.Run("X1 no token, nor its random part, is in anything that Redis ever saw", func(t *testing.T) {
			if n := len(seen); n < 100 {
				t.Fatalf("only %d strings: %q", n, seen)
			}
			for _, s := range seen {
				for _, token := range append(live, dead...) {
					if strings.Contains(s, token[1:]) || strings.Contains(s, hex.EncodeToString([]byte(token[1:]))) {
						t.Errorf("%q holds a token", s)
					}
				}
			}
		})

		t.Run("X1 nothing that Redis ever saw is accepted as a cookie", func(t *testing.T) {
			for _, token := range live {
				if !alive(t, m, token) {
					t.Fatal("there is no live session that something could open")
				}
			}
			candidates := map[string]bool{}
			words := regexp.MustCompile(`[A-Za-z0-9_-]+`)
			for _, s := range seen {
				candidates[s] = true
				for _, w := range append(words.FindAllString(s, -1), strings.TrimPrefix(s, "session:")) {
					for _, class := range []string{"", "s", "r"} {
						candidates[class+w] = true
						if len(w) > 0 {
							candidates[class+w[1:]] = true
						}
					}
				}
			}
			shaped := 0
			for c := range candidates {
				if len(c) > 20 && !strings.ContainsAny(c, "{}\":; ") {
					shaped++
				}
				ctx, err := m.Load(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if !m.Info(ctx).New {
					t.Errorf("%q opens a session", c)
				}
				// And nothing of it ends one: a mark names its successor's key.
				if err := m.Destroy(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if shaped < 20 {
				t.Errorf("only %d of %d candidates have the shape of a token", shaped, len(candidates))
			}
			for _, token := range live {
				if !alive(t, m, token) {
					t.Error("something that Redis saw ends a session")
				}
			}
		})
	})
}

// A secretKeeper fails the test when a token appears in text.
type secretKeeper struct {
	t      *testing.T
	tokens []string
}

func (k *secretKeeper) check(where, text string) {
	k.t.Helper()
	for _, token := range k.tokens {
		for how, form := range map[string]string{
			"plain": token[1:], "in hex": hex.EncodeToString([]byte(token[1:])), "in upper hex": strings.ToUpper(hex.EncodeToString([]byte(token[1:]))),
			"as bytes": strings.Trim(fmt.Sprint([]byte(token[1:])), "[]"),
		} {
			if strings.Contains(text, form) {
				k.t.Errorf("%s holds the token %s: %.300s", where, how, text)
			}
		}
	}
}

// allVerbs are all that fmt has and some that it has not, but for %w and %p: see
// the test of what a string type cannot keep.
const allVerbs = "vsqxXdtTcbeEfFgGoOUAzZ"

// usualVerbs are those that somebody uses on a value of another package's type,
// where under a nonsensical one fmt looks into everything.
const usualVerbs = "vsqxXd"

// prints prints v in every way that people print things, under each of the verbs.
func (k *secretKeeper) prints(name, verbs string, v any) {
	k.t.Helper()
	for _, flags := range []string{"", "+", "#", " ", "-", "0"} {
		for _, c := range verbs {
			format := "%" + flags + string(c)
			k.check(name+" under "+format, fmt.Sprintf(format, v))
		}
	}
	k.check(name+" by Sprint", fmt.Sprint(v))
	k.check(name+" by Sprintln", fmt.Sprintln(v))
	if data, err := json.Marshal(v); err == nil {
		k.check(name+" in JSON", string(data))
	} else {
		k.check(name+" in the error of JSON", err.Error())
	}
	if data, err := xml.Marshal(v); err == nil {
		k.check(name+" in XML", string(data))
	}
	for _, handler := range []func(io.Writer) slog.Handler{
		func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var b bytes.Buffer
		l := slog.New(handler(&b))
		l.Info("m", "v", v)
		l.With("v", v).WithGroup("g").Info("m", slog.Group("h", slog.Any("v", v)))
		k.check(fmt.Sprintf("%s in %T", name, l.Handler()), b.String())
	}
}

func TestNoTokenInPrint(t *testing.T) {
	setup := func(t *testing.T) (*sessions.Manager[Session], *secretKeeper, sessions.Outcome) {
		m := mustNew(t, new(sessions.MemoryStore), sessions.Config{})
		o, err := request(t.Context(), m, "", put(m, "ann"))
		must(t, err)
		return m, &secretKeeper{t: t, tokens: []string{o.Token.Reveal()}}, o
	}

	t.Run("X2 the test would see a token", func(t *testing.T) {
		_, _, o := setup(t)
		for _, v := range []any{o.Token.Reveal(), struct{ S string }{o.Token.Reveal()}, []byte(o.Token.Reveal())} {
			var probe testing.T
			k := &secretKeeper{t: &probe, tokens: []string{o.Token.Reveal()}}
			done := make(chan struct{})
			go func() { defer close(done); k.prints("probe", allVerbs, v) }()
			<-done
			if !probe.Failed() {
				t.Errorf("it does not see the token in a %T", v)
			}
		}
	})

	t.Run("X2 a Token prints as [session token]", func(t *testing.T) {
		_, k, o := setup(t)
		k.prints("Token", allVerbs, o.Token)
		k.prints("*Token", allVerbs, &o.Token)
		k.prints("[]Token", allVerbs, []sessions.Token{o.Token})
		k.prints("map of Token", allVerbs, map[string]sessions.Token{"t": o.Token})
		k.prints("struct of Token", allVerbs, struct{ T sessions.Token }{o.Token})
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(format, o.Token); got != "[session token]" {
				t.Errorf("%s gives %q", format, got)
			}
		}
	})

	t.Run("X2 an Outcome, an Info and a Manager print without the token", func(t *testing.T) {
		m, k, o := setup(t)
		k.prints("Outcome", allVerbs, o)
		k.prints("*Outcome", allVerbs, &o)
		k.prints("Info", allVerbs, o.Info)
		k.prints("Manager", allVerbs, m)
		k.prints("Manager by value", allVerbs, *m)
	})

	t.Run("X2 a context prints without the token", func(t *testing.T) {
		m, k, o := setup(t)
		ctx, err := m.Load(t.Context(), o.Token.Reveal())
		must(t, err)
		m.FromContext(ctx)
		k.prints("a loaded context", allVerbs, ctx)
		type key struct{}
		k.prints("a context with a value", usualVerbs, context.WithValue(ctx, key{}, "v"))
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		k.prints("a child context", usualVerbs, child)
		k.prints("a context without cancel", usualVerbs, context.WithoutCancel(ctx))
		must(t, m.Renew(ctx))
		renewed, err := m.Commit(ctx)
		must(t, err)
		k.tokens = append(k.tokens, renewed.Token.Reveal())
		k.prints("a renewed context", allVerbs, ctx)
	})

	t.Run("X2 a request's context and its writer print without the token", func(t *testing.T) {
		m, k, o := setup(t)
		called := false
		serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called = true
			m.FromContext(r.Context()).Views++
			must(t, m.Renew(r.Context()))
			k.prints("the request's context", allVerbs, r.Context())
			k.prints("the response writer", usualVerbs, w)
			r2 := r.WithContext(r.Context())
			r2.Header = nil
			k.prints("the request", usualVerbs, r2)
		})), with(o.Token.Reveal(), "/"))
		if !called {
			t.Error("the handler did not run")
		}
	})

	t.Run("X2 no token in any event, error or log line of a life with faults", func(t *testing.T) {
		var (
			mu     sync.Mutex
			log    bytes.Buffer
			events []sessions.Event
			errs   []error
		)
		note := func(err error) error { errs = append(errs, err); return err }
		store := &stepStore{Store: new(sessions.MemoryStore)}
		m := mustNew(t, store, sessions.Config{
			Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			OnEvent: func(_ context.Context, e sessions.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			},
		})
		live, dead := lives(t, m)
		k := &secretKeeper{t: t, tokens: append(live, dead...)}
		for _, op := range []string{"Load", "Create", "CompareAndSwap"} {
			for _, when := range []string{"before", "after"} {
				for _, verb := range []func(context.Context) error{m.Save, m.Renew, func(ctx context.Context) error { return m.SignIn(ctx) }, m.Touch, m.Reload, m.Destroy} {
					o, err := request(t.Context(), m, "", put(m, "victim"))
					must(t, err)
					token := o.Token.Reveal()
					k.tokens = append(k.tokens, token)
					fail := func(got, key string) error {
						if got == op {
							return note(fmt.Errorf("%w: %s of %s", sessions.ErrUnavailable, got, key))
						}
						return nil
					}
					ctx, err := m.Load(t.Context(), token)
					must(t, err)
					m.FromContext(ctx).Views++
					if when == "before" {
						store.before = fail
					} else {
						store.after = fail
					}
					note(verb(ctx))
					o, err = m.Commit(ctx)
					note(err)
					if token := o.Token.Reveal(); token != "" {
						k.tokens = append(k.tokens, token)
					}
					_, err = m.Load(t.Context(), token)
					note(err)
					store.before, store.after = nil, nil
				}
			}
		}
		// Two sessions in one request.
		_, err := m.Load(t.Context(), live...)
		note(err)
		ctx, _ := m.Load(t.Context(), live[0])
		m.FromContext(ctx).Flash = strings.Repeat("x", 70<<10)
		note(m.Save(ctx))

		kinds := map[sessions.EventKind]bool{}
		for _, e := range events {
			kinds[e.Kind] = true
			k.check("an event", fmt.Sprintf("%+v %#v %v", e, e, e.Err))
			if data, err := json.Marshal(e); err == nil {
				k.check("an event in JSON", string(data))
			}
		}
		for _, kind := range []sessions.EventKind{sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventGone, sessions.EventTwoSessions, sessions.EventUnavailable, sessions.EventRecovered, sessions.EventFailed} {
			if !kinds[kind] {
				t.Errorf("no event %q: the life is not full", kind)
			}
		}
		for _, err := range errs {
			if err != nil {
				k.check("an error", fmt.Sprintf("%v %+v %#v", err, err, err))
			}
		}
		if log.Len() == 0 {
			t.Error("nothing was logged")
		}
		k.check("the log", log.String())
	})

	t.Run("X2 no token in a panic", func(t *testing.T) {
		m, k, o := setup(t)
		ctx, err := m.Load(t.Context(), o.Token.Reveal())
		must(t, err)
		type other struct{ A string }
		for name, f := range map[string]func(){
			"FromContext of another type":      func() { sessions.FromContext[other](ctx) },
			"FromContext of another manager":   func() { mustNew(t, new(sessions.MemoryStore), sessions.Config{}).FromContext(ctx) },
			"FromContext without any session":  func() { m.FromContext(t.Context()) },
			"a type assertion on the context":  func() { _ = any(ctx).(fmt.Scanner) },
			"a panic with the context as such": func() { panic(fmt.Sprint(ctx)) },
		} {
			func() {
				defer func() {
					p := recover()
					if p == nil {
						t.Errorf("%s does not panic", name)
					}
					k.check(name, fmt.Sprintf("%v %+v %#v", p, p, p))
				}()
				f()
			}()
		}
	})
}

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
