package sessions_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"

	"github.com/typedsessions/sessions"
)

// onItsOwn runs f to its end, a panic or a Goexit, which end nothing else.
func onItsOwn(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

// barredEnds are the ways not to return.
var barredEnds = map[string]func(){
	"panics":             func() { panic("mine") },
	"ends its goroutine": runtime.Goexit,
}

var barredVerbs = map[string]func(*sessions.Manager[Session], context.Context) error{
	"SignIn": func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) },
	"Renew":  (*sessions.Manager[Session]).Renew,
}

// A sign-in or a renewal that neither succeeds nor fails has given no new token:
// what the handler changed for it must not be stored under the one from before,
// which somebody may have planted.
func TestSignInThatDoesNotReturn(t *testing.T) {
	for verb, call := range barredVerbs {
		for way, end := range barredEnds {
			for _, step := range []string{"Create", "CompareAndSwap", "Label"} {
				// open is a Manager whose step ends so, once.
				open := func(t *testing.T) (m *sessions.Manager[Session], token string) {
					armed := false
					now := func(at string) {
						if armed && at == step {
							armed = false
							end()
						}
					}
					store := &stepStore{Store: memory(), before: func(op, _ string) error { now(op); return nil }}
					m = mustNew(t, store, sessions.Config{Label: func(*http.Request) string { now("Label"); return "" }})
					token = tokenOf(serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						m.FromContext(r.Context()).Flash = "planted"
					})), with("", "/")).Header)
					armed = true
					return m, token
				}
				// visit is a request whose verb does not return.
				visit := func(t *testing.T, m *sessions.Manager[Session], token string, then func(w http.ResponseWriter, r *http.Request)) *http.Response {
					return serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						m.FromContext(r.Context()).UserID = "ann"
						onItsOwn(func() {
							_ = call(m, r.Context())
							t.Errorf("%s has returned", verb)
						})
						then(w, r)
					})), with(token, "/"))
				}
				what := "L12 a " + verb + " whose " + step + " " + way

				t.Run(what+" saves nothing under the old token, though a middleware inside recovers", func(t *testing.T) {
					m, token := open(t)
					res := visit(t, m, token, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
					if got := mergeStored(t, m, token); got.UserID != "" || got.Flash != "planted" {
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
						if err := m.Update(ctx, func(s *Session) error { s.Views++; return nil }); err == nil {
							t.Error("Update = nil")
						}
						if o, err := m.Commit(ctx); err == nil {
							t.Errorf("Commit = %v, nil", o.Kind)
						}
					})
					if got := mergeStored(t, m, token); got.UserID != "" || got.Views != 0 || got.Flash != "planted" {
						t.Errorf("the old token finds %+v", got)
					}
				})

				t.Run(what+" can be called again: then there is a new token, and the old one finds nothing", func(t *testing.T) {
					m, token := open(t)
					res := visit(t, m, token, func(_ http.ResponseWriter, r *http.Request) { must(t, call(m, r.Context())) })
					renewed := tokenOf(res.Header)
					if renewed == "" || renewed == token {
						t.Fatalf("cookies %q", res.Header["Set-Cookie"])
					}
					if got := mergeStored(t, m, renewed); got.UserID != "ann" || got.Flash != "planted" {
						t.Errorf("the new token finds %+v", got)
					}
					if alive(t, m, token) {
						t.Error("the old token finds a session")
					}
				})
			}
		}
	}
}
