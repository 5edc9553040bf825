package sessions_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

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
