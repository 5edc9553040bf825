package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A verb that returns an error tells its handler, so the response is the handler's from then on.
func TestToldByAVerb(t *testing.T) {
	t.Parallel()
	broken, errDown := errors.New("broken"), fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
	verbs := []struct {
		name, op string
		ofT      bool // its error says that T is not saved
	}{
		{"Save", "CompareAndSwap", true},
		{"Update", "CompareAndSwap", true},
		{"Commit", "CompareAndSwap", true},
		{"SignIn", kit.Steps("Create", "CompareAndSwap"), true},
		{"Renew", kit.Steps("Create", "CompareAndSwap"), true},
		{"Destroy", "CompareAndSwap", false},
		{"Reload", "Load", false},
		{"Touch", "Load", false},
	}
	call := func(a *kit.App, ctx context.Context, verb string) error {
		if verb == "Update" {
			return a.Update(ctx, func(s *kit.Session) error { s.Views++; return nil })
		}
		return kit.Call(a.Manager, ctx, verb)
	}
	// visit is a request whose handler changes T, and calls the verb while op fails with err. Then it answers 418.
	visit := func(t *testing.T, s kit.Stack, verb, op string, err error, then func(a *kit.App, w http.ResponseWriter, r *http.Request, s *kit.Session)) (a *kit.App, token string, res kit.Response) {
		a = s.App(t, sessions.Config{})
		token = a.Seed(1)
		a.Log.Take()
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			a.Store.Fail(err, "before "+op)
			s.Flash = "changed"
			kit.WantErr(t, verb, call(a, r.Context(), verb), err)
			if then != nil {
				then(a, w, r, s)
			}
			w.WriteHeader(http.StatusTeapot)
		})
		return a, token, a.Browser().As(token).Get("/")
	}
	// wantTold compares how often the loss of the change is told.
	wantTold := func(t *testing.T, a *kit.App, want int) {
		t.Helper()
		failed, logged := 0, 0
		for _, e := range a.Events.Take() {
			if e.Kind == sessions.EventFailed && e.Op == "commit" {
				failed++
			}
		}
		for _, line := range a.Log.Take() {
			if strings.Contains(line, "could not be saved") && strings.Contains(line, "op=commit") && strings.Contains(line, `route="GET /"`) {
				logged++
			}
		}
		if failed != want || logged != min(want, 1) { // the log counts a repetition, and does not write it
			t.Errorf("the loss is told by %d events and %d log lines, want %d", failed, logged, want)
		}
	}
	wantTeapot := func(t *testing.T, res kit.Response) {
		t.Helper()
		if res.StatusCode != http.StatusTeapot || res.Text != "" || len(res.SetCookies()) > 0 {
			t.Errorf("%d %q with %q, want the handler's own answer", res.StatusCode, res.Text, res.SetCookies())
		}
	}

	for _, v := range verbs {
		told := 1
		if v.ofT {
			told = 0
		}
		kit.EachStack(t, "L22 after "+v.name+" a store that did not answer is not asked again, and the answer is the handler's", func(t *testing.T, s kit.Stack) {
			a, token, res := visit(t, s, v.name, v.op, errDown, nil)
			a.Server().WantQuiet()
			wantTeapot(t, res)
			want := "Load " + v.op
			if kit.Owner != "" && (v.name == "SignIn" || v.name == "Renew") { // asked again at once, for it may have been done
				want += " CompareAndSwap CompareAndSwap"
			}
			a.WantCalls(t, "the request", want)
			wantTold(t, a, told)
			a.Store.Heal()
			if _, got := kit.Load(t, a.Manager, token); got.Flash != "" || got.Views != 1 {
				t.Errorf("stored is %+v", got)
			}
		})

		if !v.ofT {
			kit.EachStack(t, "L22 after "+v.name+" a change that comes after the first byte is told once", func(t *testing.T, s kit.Stack) {
				a, _, res := visit(t, s, v.name, v.op, errDown, func(_ *kit.App, w http.ResponseWriter, _ *http.Request, s *kit.Session) {
					s.Flash = ""
					w.WriteHeader(http.StatusTeapot)
					http.NewResponseController(w).Flush()
					s.Flash = "late"
				})
				a.Server().Close()
				wantTeapot(t, res)
				a.WantCalls(t, "the request", "Load "+v.op)
				wantTold(t, a, 1)
			})

			kit.EachStack(t, "L22 after "+v.name+" nothing is told where T has not changed", func(t *testing.T, s kit.Stack) {
				a, _, res := visit(t, s, v.name, v.op, errDown, func(_ *kit.App, _ http.ResponseWriter, _ *http.Request, s *kit.Session) { s.Flash = "" })
				a.Server().WantQuiet()
				wantTeapot(t, res)
				a.WantCalls(t, "the request", "Load "+v.op)
				wantTold(t, a, 0)
			})

			kit.EachStack(t, "L22 after "+v.name+" that another error ended the change is saved", func(t *testing.T, s kit.Stack) {
				a, token, res := visit(t, s, v.name, v.op, broken, func(a *kit.App, _ http.ResponseWriter, _ *http.Request, _ *kit.Session) { a.Store.Heal() })
				wantTeapot(t, res)
				wantTold(t, a, 0)
				if _, got := kit.Load(t, a.Manager, token); got.Flash != "changed" {
					t.Errorf("stored is %+v", got)
				}
			})

			for _, err := range []error{broken, errDown} {
				kit.EachStack(t, "L22 after "+v.name+" that another error ended a save that fails with "+err.Error()+" is told, and does not replace the answer", func(t *testing.T, s kit.Stack) {
					a, token, res := visit(t, s, v.name, v.op, broken, func(a *kit.App, _ http.ResponseWriter, _ *http.Request, _ *kit.Session) {
						a.Store.Fail(err, "before CompareAndSwap")
					})
					a.Server().WantQuiet()
					wantTeapot(t, res)
					if err == errDown {
						a.WantCalls(t, "the request", "Load "+v.op+" CompareAndSwap")
						wantTold(t, a, 1)
					} else {
						wantTold(t, a, 2) // it is tried before the first byte, and when the handler has returned
					}
					a.Store.Heal()
					if _, got := kit.Load(t, a.Manager, token); got.Flash != "" {
						t.Errorf("stored is %+v", got)
					}
				})
			}
		}

		if v.ofT {
			kit.EachStack(t, "L22 after "+v.name+" a Touch that the store does not answer either tells nothing more", func(t *testing.T, s kit.Stack) {
				a, _, res := visit(t, s, v.name, v.op, errDown, func(a *kit.App, _ http.ResponseWriter, r *http.Request, _ *kit.Session) {
					a.Store.Fail(errDown)
					kit.WantErr(t, "Touch", a.Touch(r.Context()), sessions.ErrUnavailable)
				})
				a.Server().WantQuiet()
				wantTeapot(t, res)
				wantTold(t, a, 0)
			})
		}

		kit.EachStack(t, "L22 after "+v.name+" a store that answers a Touch is asked again", func(t *testing.T, s kit.Stack) {
			a, token, res := visit(t, s, v.name, v.op, errDown, func(a *kit.App, _ http.ResponseWriter, r *http.Request, _ *kit.Session) {
				a.Store.Heal()
				kit.OK(t, a.Touch(r.Context()))
			})
			wantTeapot(t, res)
			wantTold(t, a, 0)
			want := "changed"
			if v.name == "SignIn" || v.name == "Renew" {
				want = "" // until one of them succeeds
			}
			if _, got := kit.Load(t, a.Manager, token); got.Flash != want {
				t.Errorf("stored is %+v, want %q", got, want)
			}
		})
	}

	for _, down := range []bool{false, true} {
		what := "is saved"
		if down {
			what = "fails to be saved, which does not replace the answer"
		}
		kit.EachBubble(t, "L22 after a Destroy that could not know T begins afresh, and what the handler puts into it "+what, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
			token := a.Seed(1)
			a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				time.Sleep(time.Minute)
				kit.OK(t, a.Store.Store.Delete(r.Context(), a.Store.Keys("Load")[0]))
				kit.WantErr(t, "Destroy", a.Destroy(r.Context()), sessions.ErrGone)
				s.Views = 7
				if down {
					a.Store.Fail(errDown, "before Create")
				}
				w.WriteHeader(http.StatusTeapot)
			})
			res := a.Browser().As(token).Get("/")
			if down {
				wantTeapot(t, res)
				wantTold(t, a, 1)
				return
			}
			wantTold(t, a, 0)
			if got := a.Views(kit.TokenOf(res.Header)); res.StatusCode != http.StatusTeapot || got != 7 {
				t.Errorf("status %d, %d views", res.StatusCode, got)
			}
		})
	}

	t.Run("L22 an error of Update's function is the handler's own: a save that fails after it gives the error response", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		a.Handle("/", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views = 2
			kit.WantErr(t, "Update", a.Update(r.Context(), func(*kit.Session) error { return broken }), broken)
			a.Store.Fail(errDown)
			w.WriteHeader(http.StatusTeapot)
		})
		if res := a.Browser().As(token).Get("/"); res.StatusCode != 503 {
			t.Errorf("status %d, want 503", res.StatusCode)
		}
	})
}
