package fibersessions_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/contrib/fiber"
)

func ExampleMiddleware() {
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		panic(err)
	}

	// docs/frameworks.md begins.
	app := fiber.New()
	app.Use(recover.New(), fibersessions.Middleware(m))
	app.Get("/", func(c fiber.Ctx) error {
		s := sessions.FromContext[Session](c)
		s.Views++
		return c.SendString(fmt.Sprintf("views: %d\n", s.Views))
	})
	// docs/frameworks.md ends.

	var cookies []*http.Cookie
	for range 2 {
		request := httptest.NewRequest("GET", "https://example.com/", nil)
		for _, c := range cookies {
			request.AddCookie(c)
		}
		response, err := app.Test(request)
		if err != nil {
			panic(err)
		}
		cookies = append(cookies, response.Cookies()...)
		text, _ := io.ReadAll(response.Body)
		fmt.Print(string(text))
	}
	// Output:
	// views: 1
	// views: 2
}

func TestDocs(t *testing.T) {
	own, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/frameworks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, snippet, _ := strings.Cut(string(own), "\t// docs/frameworks.md begins.\n")
	snippet, _, _ = strings.Cut(snippet, "\t// docs/frameworks.md ends.\n")
	snippet = strings.TrimPrefix(strings.ReplaceAll(snippet, "\n\t", "\n"), "\t")
	if snippet == "" || !strings.Contains(string(docs), "```go\n"+snippet+"```\n") {
		t.Errorf("docs/frameworks.md does not have the example:\n%s", snippet)
	}
}
