package lifecycle_test

import (
	"net/http"
	"runtime"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// waysNotToReturn are those of a function of the caller's.
var waysNotToReturn = map[string]func(){
	"panics":             func() { panic("mine") },
	"ends its goroutine": runtime.Goexit,
}

// A sign-in or a renewal that neither succeeds nor fails has given no new token:
// what the handler changed for it must not be stored under the one from before,
// which somebody may have planted.
func TestSignInThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"SignIn", "Renew"} {
		for way, end := range waysNotToReturn {
			for _, step := range []string{"Create", "CompareAndSwap", "Label"} {
				// open is a Manager whose step ends so, once.
				open := func(t *testing.T) (m *sessions.Manager[kit.Session], token string) {
					armed := false
					now := func(at string) {
						if armed && at == step {
							armed = false
							end()
						}
					}
					store := &kit.Store{Store: kit.Memory(), Before: func(op, _ string) error { now(op); return nil }}
					m = kit.New[kit.Session](t, store, sessions.Config{Label: func(*http.Request) string { now("Label"); return "" }})
					token = kit.Edit(t, m, "", func(s *kit.Session) { s.Flash = "planted" })
					armed = true
					return m, token
				}
				// visit is a request whose verb does not return.
				visit := func(t *testing.T, m *sessions.Manager[kit.Session], token string, then func(w http.ResponseWriter, r *http.Request)) *http.Response {
					return kit.Serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						m.FromContext(r.Context()).UserID = "ann"
						kit.Contain(func() {
							_ = kit.Call(m, r.Context(), verb)
							t.Errorf("%s has returned", verb)
						})
						then(w, r)
					})), kit.With(token, "/"))
				}
				what := "L12 a " + verb + " whose " + step + " " + way

				t.Run(what+" saves nothing under the old token, though a middleware inside recovers", func(t *testing.T) {
					m, token := open(t)
					res := visit(t, m, token, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
					if got := kit.Stored(t, m, token); got.UserID != "" || got.Flash != "planted" {
						t.Errorf("the old token finds %+v", got)
					}
					if res.StatusCode != 500 || len(res.Header["Set-Cookie"]) > 0 {
						t.Errorf("status %d, cookies %q", res.StatusCode, res.Header["Set-Cookie"])
					}
				})

				t.Run(what+" lets neither Save nor Update nor Commit save anything after it", func(t *testing.T) {
					m, token := open(t)
					visit(t, m, token, func(_ http.ResponseWriter, r *http.Request) {
						ctx := r.Context()
						if err := m.Save(ctx); err == nil {
							t.Error("Save = nil")
						}
						if err := m.Update(ctx, func(s *kit.Session) error { s.Views++; return nil }); err == nil {
							t.Error("Update = nil")
						}
						if o, err := m.Commit(ctx); err == nil {
							t.Errorf("Commit = %v, nil", o.Kind)
						}
					})
					if got := kit.Stored(t, m, token); got.UserID != "" || got.Views != 0 || got.Flash != "planted" {
						t.Errorf("the old token finds %+v", got)
					}
				})

				t.Run(what+" can be called again: then there is a new token, and the old one finds nothing", func(t *testing.T) {
					m, token := open(t)
					res := visit(t, m, token, func(_ http.ResponseWriter, r *http.Request) { kit.Must(t, kit.Call(m, r.Context(), verb)) })
					renewed := kit.TokenOf(res.Header)
					if renewed == "" || renewed == token {
						t.Fatalf("cookies %q", res.Header["Set-Cookie"])
					}
					if got := kit.Stored(t, m, renewed); got.UserID != "ann" || got.Flash != "planted" {
						t.Errorf("the new token finds %+v", got)
					}
					if kit.Alive(t, m, token) {
						t.Error("the old token finds a session")
					}
				})
			}
		}
	}
}
