package update_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// text is [kit.Text] for an answer in process.
func text(pairs ...string) http.Header {
	h := kit.Text(pairs...)
	delete(h, "Content-Length")
	return h
}

func never(t *testing.T) func(*kit.Session) error {
	return func(*kit.Session) error {
		t.Error("fn is called")
		return nil
	}
}

// eachApp runs a test with both codecs on an App.
func eachApp(t *testing.T, name string, f func(t *testing.T, a *kit.App)) {
	t.Run(name, func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			f(t, kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c}))
		})
	})
}

// visitors are the cookies of one without a session, and of one with a view.
func visitors(a *kit.App) map[string][]string {
	return map[string][]string{"new": nil, "stored": {kit.CookieName + "=" + a.Seed(1)}}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	eachApp(t, "L1 Update by a visitor without a cookie, before any other use of the session, creates it with one Set-Cookie", func(t *testing.T, a *kit.App) {
		res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				kit.Must(t, a.Update(r.Context(), viewed))
			}
			_, _ = io.WriteString(w, "1")
		})
		a.WantCalls(t, "three Updates", "Create CompareAndSwap CompareAndSwap")
		a.WantEvents(t, sessions.EventCreated, sessions.EventSaved, sessions.EventSaved)
		kit.WantHeader(t, res.Header, text(kit.Sends(kit.CookieSent)...))
		wantViews(t, a.Manager, kit.TokenOf(res.Header), 3)
	})

	eachApp(t, "L2 Update by a visitor without a cookie whose fn changes nothing calls no store and sends no cookie", func(t *testing.T, a *kit.App) {
		res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
			kit.Must(t, a.Update(r.Context(), func(*kit.Session) error { return nil }))
			_, _ = io.WriteString(w, "1")
		})
		a.WantCalls(t, "it", "")
		a.WantEvents(t)
		kit.WantHeader(t, res.Header, text(kit.Used...))
	})

	eachApp(t, "W6 Update of a new session after the first byte is ErrCommitted, and fn is not called", func(t *testing.T, a *kit.App) {
		res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
			s := a.FromContext(r.Context())
			_, _ = io.WriteString(w, "1")
			if err := a.Update(r.Context(), never(t)); !errors.Is(err, sessions.ErrCommitted) || s.Views != 0 {
				t.Errorf("%v, *T %+v, want ErrCommitted", err, s)
			}
		})
		a.WantCalls(t, "it", "")
		kit.WantHeader(t, res.Header, text(kit.Used...))
	})

	eachApp(t, "W6 Update of a stored session after the first byte works", func(t *testing.T, a *kit.App) {
		token := a.Seed(1)
		res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "1")
			kit.Must(t, a.Update(r.Context(), viewed))
		}, kit.CookieName+"="+token)
		a.WantCalls(t, "it", "Load CompareAndSwap")
		wantViews(t, a.Manager, token, 2)
		if len(res.Cookies()) > 0 {
			t.Errorf("cookies %v", res.Cookies())
		}
	})

	eachApp(t, "C9 Update is ErrNoSession outside of Handler and where Skip leaves the session out", func(t *testing.T, a *kit.App) {
		kit.WantErr(t, "Update without Handler", a.Update(t.Context(), never(t)), sessions.ErrNoSession)
		skipping := kit.NewApp(t, kit.InProcess, a.Store, sessions.Config{Skip: func(*http.Request) bool { return true }})
		skipping.Ask(func(_ http.ResponseWriter, r *http.Request) {
			kit.WantErr(t, "a skipped Update", skipping.Update(r.Context(), never(t)), sessions.ErrNoSession)
		}, kit.CookieName+"="+a.Seed(1))
	})

	eachApp(t, "L12 Update by a request whose sign-in has failed is that error, and fn is not called", func(t *testing.T, a *kit.App) {
		a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			a.Store.Fail(sessions.ErrUnavailable, "before Create", "before CompareAndSwap")
			failed := a.SignIn(r.Context())
			a.Store.Heal()
			err := a.Update(r.Context(), never(t))
			if !errors.Is(failed, sessions.ErrUnavailable) || err != failed {
				t.Errorf("SignIn %v, Update %v", failed, err)
			}
		}, kit.CookieName+"="+a.Seed(1))
	})

	eachApp(t, "C9 a nil function panics at the call, and the session can be used on", func(t *testing.T, a *kit.App) {
		for name, cookies := range visitors(a) {
			a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s: no panic", name)
						}
					}()
					_ = a.Update(r.Context(), nil)
				}()
				kit.Must(t, a.Update(r.Context(), viewed))
			}, cookies...)
		}
	})
}

// What an Update's function must not do fails instead of waiting for the end of
// the function. It may take until the end of a time limit, so it is tried in
// bubbles.
func TestInsideTheFunction(t *testing.T) {
	t.Parallel()
	verbs := map[string]func(a *kit.App, ctx context.Context) error{
		"Update": func(a *kit.App, ctx context.Context) error { return a.Update(ctx, viewed) },
	}
	for _, verb := range []string{"Save", "Reload", "Touch", "Renew", "Reauthenticate", "Destroy", "SignIn", "Commit"} {
		verbs[verb] = func(a *kit.App, ctx context.Context) error { return kit.Call(a.Manager, ctx, verb) }
	}
	kit.EachBubble(t, "L13 an fn that waits for another goroutine's verb goes on when that has failed", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
		token := a.Seed(1)
		a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			kit.Must(t, a.Update(ctx, func(s *kit.Session) error {
				began := time.Now()
				for verb, f := range verbs {
					failed := make(chan error)
					go func() { failed <- f(a, ctx) }()
					kit.WantErr(t, verb, <-failed, sessions.ErrConflict)
				}
				if took, want := time.Since(began), kit.OwnerTimeout; took != want {
					t.Errorf("the verbs have waited %v together, want %v", took, want)
				}
				s.Views = 5
				return nil
			}))
		}, kit.CookieName+"="+token)
		wantViews(t, a.Manager, token, 5)
	})

	kit.EachBubble(t, "L13 the verbs return an error in fn, while Info, FromContext and Lookup work there", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
		token := a.Seed(1)
		for name, cookies := range map[string][]string{"new": nil, "stored": {kit.CookieName + "=" + token}} {
			res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				kit.Must(t, a.Update(ctx, func(s *kit.Session) error {
					a.Store.Calls()
					for verb, f := range verbs {
						if err := f(a, ctx); err == nil {
							t.Errorf("%s, %s in fn: no error", name, verb)
						}
					}
					a.WantCalls(t, "verbs in fn", "")
					if i := a.Info(ctx); i.New != (name == "new") || i.ID == "" {
						t.Errorf("%s, Info in fn: %+v", name, i)
					}
					found, ok := sessions.Lookup[kit.Session](ctx)
					if s != a.FromContext(ctx) || s != sessions.FromContext[kit.Session](ctx) || s != found || !ok {
						t.Errorf("%s: fn has another T than FromContext and Lookup", name)
					}
					s.Views = 5
					return nil
				}))
			}, cookies...)
			if got := kit.TokenOf(res.Header); got != "" {
				token = got
			}
			wantViews(t, a.Manager, token, 5)
		}
	})

	writes := map[string]func(w http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { _, _ = io.WriteString(w, "1") },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(204) },
		"Early Hints": func(w http.ResponseWriter) { w.WriteHeader(103) },
		"Flush":       func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	}
	for _, by := range slices.Sorted(maps.Keys(writes)) {
		kit.EachBubble(t, "W1 writing to the response in fn panics with a sentence instead of a deadlock, and nothing is stored, by "+by, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
			for name, cookies := range visitors(a) {
				views := len(cookies)
				res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
					defer func() {
						if p, ok := recover().(string); !ok || p != "sessions: the function of an Update writes to the response, or ends the request: return from it before" {
							t.Errorf("%s: panic %q", name, p)
						}
						if got := a.FromContext(r.Context()).Views; got != views {
							t.Errorf("%s: *T has %d views", name, got)
						}
					}()
					_ = a.Update(r.Context(), func(s *kit.Session) error {
						s.Views = 99
						writes[by](w)
						return nil
					})
				}, cookies...)
				if len(res.Cookies()) > 0 {
					t.Errorf("%s: cookies %v", name, res.Cookies())
				}
			}
		})
	}
}
