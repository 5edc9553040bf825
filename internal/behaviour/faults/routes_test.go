package faults_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestRoutesInTheLog(t *testing.T) {
	t.Parallel()
	const path = "/a/hidden?token=hidden"
	for _, tc := range []struct {
		desc    string
		method  string
		outside bool // the router is outside Handler
		atLoad  bool // the store is away for the load; otherwise for what the handler does
		act     func(m *sessions.Manager[kit.Session], r *http.Request)
		want    string
	}{
		{"a load, the router is outside", "GET", true, true, nil, `route="GET /a/{id}"`},
		{"a load, the router is inside and has not run", "GET", false, true, nil, `route=GET`},
		{"a verb", "POST", false, false, func(m *sessions.Manager[kit.Session], r *http.Request) { _ = m.Touch(r.Context()) }, `route="POST /a/{id}"`},
		{"the automatic save", "PUT", false, false, func(m *sessions.Manager[kit.Session], r *http.Request) { m.FromContext(r.Context()).Views++ }, `route="PUT /a/{id}"`},
		{"a method that nobody knows", "HIDDEN", false, false, func(m *sessions.Manager[kit.Session], r *http.Request) { _ = m.Touch(r.Context()) }, `route="_OTHER /a/{id}"`},
		{"a verb in another goroutine tells none", "GET", false, false, func(m *sessions.Manager[kit.Session], r *http.Request) {
			kit.Contain(func() { _ = m.Touch(r.Context()) })
		}, ""},
	} {
		t.Run("F19 "+tc.desc, func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
			token := a.Seed(1)
			a.Log.Take()
			if tc.atLoad {
				a.Store.Fail(errDown)
			}
			var page http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				a.Store.Fail(errDown)
				tc.act(a.Manager, r)
			})
			mux := http.NewServeMux()
			var h http.Handler = mux
			if tc.outside {
				page = a.Manager.Handler(page)
			} else {
				h = a.Manager.Handler(mux)
			}
			mux.Handle("/a/{id}", page)
			r := httptest.NewRequest(tc.method, "https://example.com"+path, nil)
			r.Header.Set("Cookie", kit.CookieName+"="+token)
			kit.Serve(h, r)
			lines := a.Log.Take()
			if len(lines) != 1 || !strings.Contains(lines[0], tc.want) || tc.want == "" && strings.Contains(lines[0], "route=") {
				t.Errorf("log %q, want one line with %q", lines, tc.want)
			}
			if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(strings.ToLower(l), "hidden") }) {
				t.Errorf("log %q shows the path, the query or an unknown method", lines)
			}
		})
	}
}
