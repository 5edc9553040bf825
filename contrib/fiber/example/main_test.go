package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

// README's transcript is what the program answers, and its test is this one.
func TestRoutes(t *testing.T) {
	m := sessionstest.New[Session](t, sessions.Config{})
	client := sessionstest.NewClient(t, m, adaptor.FiberApp(routes(m)), nil)
	login := httptest.NewRequest("POST", "/login", strings.NewReader("user=ann"))
	login.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, row := range []struct {
		r      *http.Request
		status int
		text   string
	}{
		{httptest.NewRequest("GET", "/", nil), 200, "\"\", view 1\n"},
		{httptest.NewRequest("GET", "/", nil), 200, "\"\", view 2\n"},
		{login, 303, ""},
		{httptest.NewRequest("GET", "/", nil), 200, "\"ann\", view 3\n"},
		{httptest.NewRequest("POST", "/logout", nil), 303, ""},
		{httptest.NewRequest("GET", "/", nil), 200, "\"\", view 1\n"},
	} {
		got := client.Do(row.r)
		if got.Code != row.status || row.status == 200 && got.Body.String() != row.text || got.Renewed != (row.r == login) {
			t.Errorf("%s %s: %d %q, renewed %t", row.r.Method, row.r.URL, got.Code, got.Body, got.Renewed)
		}
	}
}

func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), fmt.Sprintf("```go\n%s```", program)) {
		t.Error("README.md does not have the program of example/main.go")
	}
}

func TestOfAHandler(t *testing.T) {
	m := sessionstest.New[Session](t, sessions.Config{})
	ann := sessionstest.NewClient(t, m, adaptor.FiberApp(routes(m)), &Session{User: "ann"})
	got := ann.Do(httptest.NewRequest("GET", "/", nil)) // got.Body, got.Session, got.Saved
	if got.Body.String() != "\"ann\", view 1\n" || !got.Saved || got.Session.Views != 1 {
		t.Errorf("%q, saved %t, %+v", got.Body, got.Saved, got.Session)
	}
}
