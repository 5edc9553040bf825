package writing_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// answering is a framework around a's Handler, as echo is with its Recover around WrapMiddleware: it keeps the
// writer that Handler gave it, and when the handler has panicked or returned an error it answers by that one.
func answering(a *kit.App, handler func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		kept := w
		func() {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%v", p)
				}
			}()
			a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kept = w
				err = handler(w, r)
			})).ServeHTTP(w, r)
		}()
		if err != nil {
			kept.Header().Set("Content-Type", "application/json")
			kept.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(kept, `{"error":`)
			http.NewResponseController(kept).Flush()
			_, _ = kept.Write([]byte(`"sorry"}`))
		}
	})
}

func TestFrameworkThatAnswersLater(t *testing.T) {
	t.Parallel()
	const sorry = `{"error":"sorry"}`
	boom := errors.New("boom")
	// open is an App whose ErrorHandler fails the test if it gets no request.
	open := func(t *testing.T, via kit.Via) *kit.App {
		return kit.NewApp(t, via, kit.Memory(), sessions.Config{ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			if r == nil {
				t.Error("ErrorHandler without a request")
			}
			http.Error(w, "not saved", http.StatusServiceUnavailable)
		}})
	}
	for _, value := range []any{boom, http.ErrAbortHandler} {
		for _, stored := range []bool{false, true} {
			for _, down := range []bool{false, true} {
				name := fmt.Sprintf("W13 W8 what a framework writes after a panic of %v goes out, and nothing is saved: stored is %t, the store is down: %t", value, stored, down)
				kit.EachVia(t, name, func(t *testing.T, via kit.Via) {
					a, token := open(t, via), ""
					if stored {
						token = a.Seed(1)
					}
					a.Root = answering(a, func(_ http.ResponseWriter, r *http.Request) error {
						if down {
							a.Store.Fail(sessions.ErrUnavailable)
						}
						a.FromContext(r.Context()).Views = 99 // half of what it has to do
						panic(value)
					})
					res := a.Browser().As(token).Get("/")
					if res.StatusCode != http.StatusTeapot || res.Text != sorry || len(res.SetCookies()) > 0 || res.Header.Get("Content-Type") != "application/json" {
						t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
					}
					calls := ""
					if stored {
						calls = "Load"
					}
					a.WantCalls(t, "it", calls)
					a.WantEvents(t)
					a.Server().WantQuiet()
				})
			}
		}
	}

	kit.EachVia(t, "W13 W8 the cookie of a verb that had completed is in what a framework answers after a panic", func(t *testing.T, via kit.Via) {
		a := open(t, via)
		old := a.Seed(1)
		a.Root = answering(a, func(_ http.ResponseWriter, r *http.Request) error {
			kit.OK(t, a.SignIn(r.Context()))
			a.FromContext(r.Context()).Views = 99
			panic(boom)
		})
		res := a.Browser().As(old).Get("/")
		if res.Text != sorry || views(a, res) != 1 || a.Views(old) != 0 {
			t.Errorf("%q, %d views, and %d by the old token", res.Text, views(a, res), a.Views(old))
		}
	})

	kit.EachVia(t, "W13 an error that the handler returned is answered by the framework, and the session is saved, as by any handler that returns", func(t *testing.T, via kit.Via) {
		a := open(t, via)
		a.Root = answering(a, func(_ http.ResponseWriter, r *http.Request) error {
			a.FromContext(r.Context()).Views = 1
			return boom
		})
		res := a.Browser().Get("/")
		if res.StatusCode != http.StatusTeapot || res.Text != sorry || views(a, res) != 1 {
			t.Errorf("%d %q %v, %d views", res.StatusCode, res.Text, kit.Masked(res.Header), views(a, res))
		}
		a.Server().WantQuiet()
	})

	for desc, end := range map[string]func(w http.ResponseWriter) error{
		"a panic after it":  func(w http.ResponseWriter) error { io.WriteString(w, "page"); panic(boom) },
		"a return after it": func(w http.ResponseWriter) error { _, err := io.WriteString(w, "page"); return err },
		"a return":          func(http.ResponseWriter) error { return boom },
	} {
		kit.EachVia(t, "W13 W7 nothing is appended to the answer to a failed save, with "+desc, func(t *testing.T, via kit.Via) {
			a := open(t, via)
			failWrites(a, sessions.ErrUnavailable)
			a.Root = answering(a, func(w http.ResponseWriter, r *http.Request) error {
				a.FromContext(r.Context()).Views = 1
				return end(w)
			})
			if res := a.Browser().Get("/"); res.StatusCode != 503 || res.Text != "not saved\n" || res.ContentLength != 10 {
				t.Errorf("%d %q of %d bytes", res.StatusCode, res.Text, res.ContentLength)
			}
			a.Server().WantQuiet()
		})
	}

	t.Run("W13 a handler that goes on after Handler has returned saves nothing by what it writes, its verbs work, and it finds T", func(t *testing.T) {
		a := open(t, kit.InProcess)
		token, over := a.Seed(1), make(chan struct{})
		w := httptest.NewRecorder()
		var returned <-chan struct{}
		root, returned := returning(a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			go func() {
				defer close(over)
				<-returned
				a.Store.Calls()
				s := a.FromContext(r.Context())
				s.Views = 2
				w.WriteHeader(http.StatusTeapot)
				fmt.Fprint(w, "late")
				http.NewResponseController(w).Flush()
				a.WantCalls(t, "writing", "")
				kit.OK(t, a.Touch(r.Context()))
				kit.OK(t, a.Save(r.Context()))
				kit.OK(t, a.Reload(r.Context()))
				kit.OK(t, a.Update(r.Context(), func(s *kit.Session) error { s.Views++; return nil }))
				kit.WantErr(t, "Renew", a.Renew(r.Context()), sessions.ErrCommitted)
				if _, err := a.Commit(r.Context()); err == nil {
					t.Error("Commit after a Renew that failed = nil")
				}
			}()
			panic(boom)
		})))
		kit.Contain(func() { root.ServeHTTP(w, kit.With(token, "/")) })
		<-over
		if got := a.Views(token); got != 3 || w.Code != http.StatusTeapot || w.Body.String() != "late" {
			t.Errorf("%d views, want 3; %d %q", got, w.Code, w.Body)
		}
	})
}
