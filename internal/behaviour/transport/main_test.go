package transport_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// newApp is an App on a MemoryStore, in process.
func newApp(t *testing.T, cfg sessions.Config) *kit.App {
	t.Helper()
	return kit.NewApp(t, kit.InProcess, kit.Memory(), cfg)
}

// pairs is a Cookie line with these tokens.
func pairs(tokens ...string) string {
	return kit.CookieName + "=" + strings.Join(tokens, "; "+kit.CookieName+"=")
}

// send lets f answer a request.
func send(a *kit.App, r *http.Request, f http.HandlerFunc) *http.Response {
	return kit.Serve(a.Manager.Handler(f), r)
}

// views are those that a handler sees on a request with these Cookie lines.
func views(a *kit.App, cookies ...string) (n int) {
	a.Ask(func(_ http.ResponseWriter, r *http.Request) { n = a.FromContext(r.Context()).Views }, cookies...)
	return n
}

// The handlers of the tests.

func nothing(http.ResponseWriter, *http.Request) {}

// change adds a view to the session.
func change(_ http.ResponseWriter, r *http.Request) {
	sessions.FromContext[kit.Session](r.Context()).Views++
}

// call calls verbs, as kit.Call names them, one after the other; "change" is no
// verb and changes the session.
func call(t *testing.T, a *kit.App, verbs string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for verb := range strings.FieldsSeq(verbs) {
			if verb == "change" {
				change(w, r)
			} else {
				kit.OK(t, kit.Call(a.Manager, r.Context(), verb))
			}
		}
	}
}
