package ginsessions_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/contrib/gin"
)

func ExampleMiddleware() {
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		panic(err)
	}

	// docs/frameworks.md begins.
	r := gin.Default()
	r.Use(ginsessions.Middleware(m))
	r.GET("/", func(c *gin.Context) {
		s := sessions.FromContext[Session](c)
		s.Views++
		c.String(http.StatusOK, "views: %d\n", s.Views)
	})
	// docs/frameworks.md ends.

	var cookies []*http.Cookie
	for range 2 {
		request := httptest.NewRequest("GET", "https://example.com/", nil)
		for _, c := range cookies {
			request.AddCookie(c)
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, request)
		response := w.Result()
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
