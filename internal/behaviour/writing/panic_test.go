package writing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// recovering answers for a panic of next; the channel gives its value.
func recovering(next http.Handler) (http.Handler, <-chan any) {
	recovered := make(chan any, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			recovered <- p
			if p != nil {
				http.Error(w, "recovered", 500)
			}
		}()
		next.ServeHTTP(w, r)
	}), recovered
}

// closingRecorder fails the test if its header is asked for when it is closed.
type closingRecorder struct {
	*httptest.ResponseRecorder
	t      *testing.T
	closed atomic.Bool
}

func (r *closingRecorder) Header() http.Header {
	if r.closed.Load() {
		r.t.Error("the header is used after ServeHTTP has returned")
	}
	return r.ResponseRecorder.Header()
}

func TestPanic(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, value := range []any{boom, "a string", http.ErrAbortHandler} {
		kit.EachVia(t, fmt.Sprintf("W8 a panic of %v goes on and saves nothing", value), func(t *testing.T, via kit.Via) {
			a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
			root, recovered := recovering(change(a, func(http.ResponseWriter, *http.Request) { panic(value) }))
			a.Root = root
			res := a.Browser().Get("/")
			if got := <-recovered; got != value {
				t.Errorf("the panic went on as %v, want %v", got, value)
			}
			if res.StatusCode != 500 || res.Text != "recovered\n" || len(res.SetCookies()) > 0 {
				t.Errorf("%d %q %v", res.StatusCode, res.Text, kit.Masked(res.Header))
			}
			a.WantCalls(t, "it", "")
			a.Server().WantQuiet()
		})
	}

	for _, tc := range []struct {
		verbs   string
		cookies []string
		old     int // views by the token before
		now     int // views by the one that the response sends
	}{
		{"Save", nil, 2, 0},
		{"Renew", []string{kit.CookieSent}, 0, 2},
		{"SignIn", []string{kit.CookieSent}, 0, 2},
		{"Destroy", []string{kit.CookieExpired}, 0, 0},
		{"Destroy SignIn", []string{kit.CookieSent}, 0, 0},
	} {
		for _, value := range []any{boom, http.ErrAbortHandler} {
			name := fmt.Sprintf("W8 the cookie of %s survives a panic of %v, what came after it is not saved", strings.ReplaceAll(tc.verbs, " ", " and "), value)
			kit.EachVia(t, name, func(t *testing.T, via kit.Via) {
				a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
				old := a.Seed(1)
				root, recovered := recovering(change(a, func(_ http.ResponseWriter, r *http.Request) {
					for verb := range strings.FieldsSeq(tc.verbs) {
						kit.OK(t, kit.Call(a.Manager, r.Context(), verb))
					}
					a.FromContext(r.Context()).Views = 99
					panic(value)
				}))
				a.Root = root
				res := a.Browser().As(old).Get("/")
				if got := <-recovered; got != value || res.StatusCode != 500 {
					t.Errorf("%v, %d", got, res.StatusCode)
				}
				if got := kit.Masked(res.Header)["Set-Cookie"]; !slices.Equal(got, tc.cookies) || a.Views(old) != tc.old || views(a, res) != tc.now {
					t.Errorf("cookies %q, %d views by the old token, %d by the new", got, a.Views(old), views(a, res))
				}
				a.Server().WantQuiet()
			})
		}
	}

	kit.EachVia(t, "W8 T10 the cookie that survives a panic is for no cache, whatever the handler has said since the verb", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		root, recovered := recovering(change(a, func(w http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.SignIn(r.Context()))
			w.Header().Set("Cache-Control", "public, max-age=60")
			panic(boom)
		}))
		a.Root = root
		res := a.Browser().Get("/")
		if <-recovered; len(res.SetCookies()) != 1 || res.Header.Get("Cache-Control") != "max-age=60, no-store" {
			t.Errorf("%v", kit.Masked(res.Header))
		}
	})

	kit.EachConnection(t, "W8 without a recovery a panic ends the connection, and a change made before it is not saved", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		a.Root = change(a, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		b := a.Browser()
		if res, err := b.Send(b.Request("GET", "/")); err == nil && res.StatusCode != 502 { // the proxy's
			t.Errorf("got %d, want an error", res.StatusCode)
		}
		a.Server().WantQuiet()
		a.WantCalls(t, "it", "")
	})

	kit.Bubble(t, "W8 a panic goes on at once though a goroutine is in an Update, which finds no response any more", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		token, in, done := a.Seed(1), kit.NewGate(), make(chan struct{})
		root, recovered := recovering(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			go func() {
				defer close(done)
				kit.OK(t, a.Update(r.Context(), func(s *kit.Session) error {
					in.Pass()
					s.Views++
					return nil
				}))
				kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrCommitted)
			}()
			in.Wait()
			panic(http.ErrAbortHandler)
		})))
		w := &closingRecorder{ResponseRecorder: httptest.NewRecorder(), t: t}
		begun := time.Now()
		root.ServeHTTP(w, kit.With(token, "/"))
		w.closed.Store(true)
		if p := <-recovered; p != http.ErrAbortHandler {
			t.Errorf("the panic went on as %v", p)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the panic went on after %v", took)
		}
		in.Open()
		<-done
		if got := a.Views(token); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})

	kit.EachVia(t, "W8 a panic after the first byte saves nothing more", func(t *testing.T, via kit.Via) {
		a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
		token, recovered := a.Seed(1), make(chan any, 1)
		h := change(a, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "first byte")
			a.FromContext(r.Context()).Views = 99
			panic(boom)
		})
		a.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { recovered <- recover() }()
			h.ServeHTTP(w, r)
		})
		a.Browser().As(token).Get("/")
		if got := <-recovered; got != boom || a.Views(token) != 2 {
			t.Errorf("%v, %d views, want 2", got, a.Views(token))
		}
		a.Server().WantQuiet()
	})

	t.Run("W8 a recovery inside leaves a handler like any other", func(t *testing.T) {
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		h, _ := recovering(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			a.FromContext(r.Context()).Flash = "sorry"
			panic(boom)
		}))
		a.Root = a.Manager.Handler(h)
		if res := a.Browser().Get("/"); res.StatusCode != 500 || len(res.SetCookies()) != 1 {
			t.Errorf("%d %v", res.StatusCode, kit.Masked(res.Header))
		}
	})

	t.Run("W8 a sign-in whose response may not have arrived is told", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		r := kit.With("", "/").WithContext(ctx)
		kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			kit.OK(t, a.SignIn(r.Context()))
		})), r)
		a.WantEvents(t, sessions.EventCreated, sessions.EventSignedIn, sessions.EventUndelivered)
	})
}
