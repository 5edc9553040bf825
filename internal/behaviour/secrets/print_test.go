package secrets_test

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
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// search fails the test when one of the tokens appears in a text.
type search struct {
	t      testing.TB
	tokens []string
}

func (s *search) in(where, text string) {
	s.t.Helper()
	for _, token := range s.tokens {
		random := token[1:]
		for how, form := range map[string]string{
			"plain": random, "in hex": hex.EncodeToString([]byte(random)), "in upper hex": strings.ToUpper(hex.EncodeToString([]byte(random))),
			"as bytes": strings.Trim(fmt.Sprint([]byte(random)), "[]"),
		} {
			if strings.Contains(text, form) {
				s.t.Errorf("%s holds the token %s: %.300s", where, how, text)
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

// printed searches v, printed in every way that people print things, under each
// of the verbs.
func (s *search) printed(name, verbs string, v any) {
	s.t.Helper()
	for _, flags := range []string{"", "+", "#", " ", "-", "0"} {
		for _, c := range verbs {
			format := "%" + flags + string(c)
			s.in(name+" under "+format, fmt.Sprintf(format, v))
		}
	}
	s.in(name+" by Sprint", fmt.Sprint(v))
	s.in(name+" by Sprintln", fmt.Sprintln(v))
	if data, err := json.Marshal(v); err == nil {
		s.in(name+" in JSON", string(data))
	} else {
		s.in(name+" in the error of JSON", err.Error())
	}
	if data, err := xml.Marshal(v); err == nil {
		s.in(name+" in XML", string(data))
	}
	for _, handler := range []func(io.Writer) slog.Handler{
		func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var b bytes.Buffer
		l := slog.New(handler(&b))
		l.Info("m", "v", v)
		l.With("v", v).WithGroup("g").Info("m", slog.Group("h", slog.Any("v", v)))
		s.in(fmt.Sprintf("%s in %T", name, l.Handler()), b.String())
	}
}

// probe is a test that may fail.
type probe struct {
	testing.TB
	failed bool
}

func (*probe) Helper() {}

func (p *probe) Errorf(string, ...any) { p.failed = true }

func TestNoTokenInPrint(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*sessions.Manager[kit.Session], *search, sessions.Outcome) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
		o, err := kit.Request(t.Context(), m, "", kit.Put(m, "ann"))
		kit.Must(t, err)
		return m, &search{t, []string{o.Token.Reveal()}}, o
	}

	t.Run("X2 the test would see a token", func(t *testing.T) {
		_, s, o := setup(t)
		for _, v := range []any{o.Token.Reveal(), struct{ S string }{o.Token.Reveal()}, []byte(o.Token.Reveal())} {
			p := &probe{TB: t}
			(&search{p, s.tokens}).printed("probe", allVerbs, v)
			if !p.failed {
				t.Errorf("it does not see the token in a %T", v)
			}
		}
	})

	t.Run("X2 a Token prints as [session token]", func(t *testing.T) {
		_, s, o := setup(t)
		s.printed("Token", allVerbs, o.Token)
		s.printed("*Token", allVerbs, &o.Token)
		s.printed("[]Token", allVerbs, []sessions.Token{o.Token})
		s.printed("map of Token", allVerbs, map[string]sessions.Token{"t": o.Token})
		s.printed("struct of Token", allVerbs, struct{ T sessions.Token }{o.Token})
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(format, o.Token); got != "[session token]" {
				t.Errorf("%s gives %q", format, got)
			}
		}
	})

	t.Run("X2 an Outcome, an Info and a Manager print without the token", func(t *testing.T) {
		m, s, o := setup(t)
		s.printed("Outcome", allVerbs, o)
		s.printed("*Outcome", allVerbs, &o)
		s.printed("Info", allVerbs, o.Info)
		s.printed("Manager", allVerbs, m)
		s.printed("Manager by value", allVerbs, *m)
	})

	t.Run("X2 a context prints without the token", func(t *testing.T) {
		m, s, o := setup(t)
		ctx, _ := kit.Load(t, m, o.Token.Reveal())
		s.printed("a loaded context", allVerbs, ctx)
		type key struct{}
		s.printed("a context with a value", usualVerbs, context.WithValue(ctx, key{}, "v"))
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		s.printed("a child context", usualVerbs, child)
		s.printed("a context without cancel", usualVerbs, context.WithoutCancel(ctx))
		kit.Must(t, m.Renew(ctx))
		s.tokens = append(s.tokens, kit.Commit(t, m, ctx).Token.Reveal())
		s.printed("a renewed context", allVerbs, ctx)
	})

	t.Run("X2 a request's context and its writer print without the token", func(t *testing.T) {
		m, s, o := setup(t)
		called := false
		kit.Serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called = true
			m.FromContext(r.Context()).Views++
			kit.Must(t, m.Renew(r.Context()))
			s.printed("the request's context", allVerbs, r.Context())
			s.printed("the response writer", usualVerbs, w)
			r2 := r.WithContext(r.Context())
			r2.Header = nil
			s.printed("the request", usualVerbs, r2)
		})), kit.With(o.Token.Reveal(), "/"))
		if !called {
			t.Error("the handler did not run")
		}
	})

	t.Run("X2 no token in a panic", func(t *testing.T) {
		m, s, o := setup(t)
		ctx, _ := kit.Load(t, m, o.Token.Reveal())
		type other struct{ A string }
		for name, f := range map[string]func(){
			"FromContext of another type":      func() { sessions.FromContext[other](ctx) },
			"FromContext of another manager":   func() { kit.New[kit.Session](t, kit.Memory(), sessions.Config{}).FromContext(ctx) },
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
					s.in(name, fmt.Sprintf("%v %+v %#v", p, p, p))
				}()
				f()
			}()
		}
	})
}

func TestNoTokenInReports(t *testing.T) {
	t.Parallel()
	kit.Bubble(t, "X2 no token in any event, error or log line of a life with faults", func(t *testing.T) {
		var (
			log    kit.Log
			events kit.Events
			errs   []error
		)
		note := func(err error) error { errs = append(errs, err); return err }
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[kit.Session](t, store, sessions.Config{
			Logger:  slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			OnEvent: events.On,
		})
		live, dead := history(t, m)
		s := &search{t, append(live[:2:2], dead...)}
		for _, op := range []string{"Load", "Create", "CompareAndSwap"} {
			for _, when := range []string{"before", "after"} {
				for _, verb := range []string{"Save", "Renew", "SignIn", "Touch", "Reload", "Destroy"} {
					token := kit.MustRequest(t, m, "", kit.Put(m, "victim"))
					s.tokens = append(s.tokens, token)
					fail := func(got, key string) error {
						if got == op {
							return note(fmt.Errorf("%w: %s of %s", sessions.ErrUnavailable, got, key))
						}
						return nil
					}
					ctx, live := kit.Load(t, m, token)
					live.Views++
					if when == "before" {
						store.Before = fail
					} else {
						store.After = fail
					}
					note(kit.Call(m, ctx, verb))
					o, err := m.Commit(ctx)
					note(err)
					if token := o.Token.Reveal(); token != "" {
						s.tokens = append(s.tokens, token)
					}
					_, err = m.Load(t.Context(), token)
					note(err)
					store.Before, store.After = nil, nil
				}
			}
		}
		time.Sleep(10 * time.Second) // then the outages have ended
		// Two sessions in one request.
		_, err := m.Load(t.Context(), live...)
		note(err)
		ctx, large := kit.Load(t, m, live[0])
		large.Flash = strings.Repeat("x", 70<<10)
		note(m.Save(ctx))

		kinds := map[sessions.EventKind]bool{}
		for _, e := range events.Take() {
			kinds[e.Kind] = true
			s.in("an event", fmt.Sprintf("%+v %#v %v", e, e, e.Err))
			if data, err := json.Marshal(e); err == nil {
				s.in("an event in JSON", string(data))
			}
		}
		for _, kind := range []sessions.EventKind{
			sessions.EventCreated, sessions.EventSaved, sessions.EventRenewed, sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventGone,
			sessions.EventTwoSessions, sessions.EventUnavailable, sessions.EventRecovered, sessions.EventFailed,
		} {
			if !kinds[kind] {
				t.Errorf("no event %q: something is missing in this life", kind)
			}
		}
		for _, err := range errs {
			if err != nil {
				s.in("an error", fmt.Sprintf("%v %+v %#v", err, err, err))
			}
		}
		lines := log.Take()
		if len(lines) == 0 {
			t.Error("nothing was logged")
		}
		s.in("the log", strings.Join(lines, "\n"))
	})
}
