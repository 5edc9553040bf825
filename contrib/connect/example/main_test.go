package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

func TestExample(t *testing.T) {
	t.Run("W18 L1 L10 the calls are counted, and end with the session", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		c := sessionstest.NewClient(t, m, routes(m), nil)
		for n, step := range []struct{ method, want string }{{"Count", "1"}, {"Count", "2"}, {"SignOut", "{}"}, {"Count", "1"}} {
			r := httptest.NewRequest("POST", "/views.v1.Views/"+step.method, strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/json")
			if got := c.Do(r); got.Code != 200 || got.Body.String() != step.want || got.Destroyed != (step.method == "SignOut") {
				t.Errorf("%d %s: %d %q, destroyed %t", n, step.method, got.Code, got.Body, got.Destroyed)
			}
		}
	})
}
