package sessions_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// A door that turns out to be shut has sent nothing: the header is still within
// reach, and so is everything that needs a cookie.
func TestShutDoors(t *testing.T) {
	type bare struct{ http.ResponseWriter } // neither Flusher nor Hijacker

	for _, door := range []struct {
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
			name := "W2 W4 after a " + door.name + " that is not supported a new session can be signed in"
			if stored {
				name = "W2 W4 after a " + door.name + " that is not supported a stored session can be signed in"
			}
			t.Run(name, func(t *testing.T) {
				b, token := newBench(t, sessions.Config{}), ""
				if stored {
					token = b.seeded(1)
				}
				h := b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := door.try(http.NewResponseController(w)); !errors.Is(err, http.ErrNotSupported) {
						t.Errorf("%s = %v, want http.ErrNotSupported", door.name, err)
					}
					b.FromContext(r.Context()).Views = 7
					if err := b.SignIn(r.Context()); err != nil {
						t.Errorf("SignIn = %v", err)
					}
				}))
				w := httptest.NewRecorder()
				h.ServeHTTP(bare{w}, with(token, "/"))
				if got := tokenOf(w.Header()); got == "" || got == token || b.views(got) != 7 {
					t.Errorf("cookies %q, want one for a session with 7 views", w.Header()["Set-Cookie"])
				}
			})
		}
	}
}

// A hook is told of a session while its cookie is on its way into the header.
func TestHookBeforeTheHeader(t *testing.T) {
	t.Run("L10 a hook that destroys the session as the first byte saves it leaves no cookie of it", func(t *testing.T) {
		var d desk
		d = newDesk(t, memory(), sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			if e.Kind == sessions.EventCreated {
				if err := d.Destroy(ctx); err != nil {
					t.Errorf("Destroy = %v", err)
				}
			}
		}})
		res := d.ask(func(w http.ResponseWriter, r *http.Request) {
			viewOnce(w, r)
			io.WriteString(w, "x")
		})
		for _, line := range res.Header["Set-Cookie"] {
			if !strings.Contains(line, "Max-Age=0") {
				t.Errorf("a cookie of a session that is no more: %q", line)
			}
		}
	})
}
