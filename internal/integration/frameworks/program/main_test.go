package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

func TestProgram(t *testing.T) {
	t.Run("W19 the page's program counts the visits, and signs in", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		c := sessionstest.NewClient(t, m, routes(m), nil)
		for _, step := range []struct {
			method, path string
			status       int
			text         string
		}{
			{"GET", "/", http.StatusOK, "\"\", view 1\n"},
			{"GET", "/", http.StatusOK, "\"\", view 2\n"},
			{"POST", "/login/ann", http.StatusSeeOther, ""},
			{"GET", "/", http.StatusOK, "\"ann\", view 3\n"},
		} {
			got := c.Do(httptest.NewRequest(step.method, step.path, nil))
			if got.Code != step.status || got.Body.String() != step.text {
				t.Errorf("%s %s: %d %q", step.method, step.path, got.Code, got.Body)
			}
			if got.Renewed != (step.method == "POST") {
				t.Errorf("%s %s: renewed %t", step.method, step.path, got.Renewed)
			}
		}
	})
}
