package lifecycle_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A Flush or a Hijack that the writer does not support has sent nothing: the
// header is still within reach, and so is everything that needs a cookie.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	type bare struct{ http.ResponseWriter } // neither Flusher nor Hijacker

	for _, way := range []struct {
		name string
		try  func(*http.ResponseController) error
	}{
		{"Flush", (*http.ResponseController).Flush},
		{"Hijack", func(rc *http.ResponseController) error {
			_, _, err := rc.Hijack()
			return err
		}},
	} {
		for _, stored := range []bool{false, true} {
			name := "W2 W4 after a " + way.name + " that is not supported a new session can be signed in"
			if stored {
				name = "W2 W4 after a " + way.name + " that is not supported a stored session can be signed in"
			}
			t.Run(name, func(t *testing.T) {
				a, token := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{}), ""
				if stored {
					token = a.Seed(1)
				}
				h := a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					kit.WantErr(t, way.name, way.try(http.NewResponseController(w)), http.ErrNotSupported)
					a.FromContext(r.Context()).Views = 7
					kit.OK(t, a.SignIn(r.Context()))
				}))
				w := httptest.NewRecorder()
				h.ServeHTTP(bare{w}, kit.With(token, "/"))
				if got := kit.TokenOf(w.Header()); got == "" || got == token || a.Views(got) != 7 {
					t.Errorf("cookies %q, want one for a session with 7 views", w.Header()["Set-Cookie"])
				}
			})
		}
	}
}

// A hook is told of a session while its cookie is on its way into the header.
func TestHookBeforeTheHeader(t *testing.T) {
	t.Parallel()
	t.Run("L10 a hook that destroys the session as the first byte saves it leaves no cookie of it", func(t *testing.T) {
		var a *kit.App
		a = kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			if e.Kind == sessions.EventCreated {
				kit.OK(t, a.Destroy(ctx))
			}
		}})
		res := a.Browser().Visit(func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
			s.Views++
			io.WriteString(w, "x")
		})
		for _, line := range res.Header["Set-Cookie"] {
			if !strings.Contains(line, "Max-Age=0") {
				t.Errorf("a cookie of a session that is no more: %q", line)
			}
		}
	})
}
