package faults_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

var statuses = []struct {
	name       string
	err        error
	want       int
	retryAfter string
}{
	{"nil", nil, 200, ""},
	{"ErrUnavailable", sessions.ErrUnavailable, 503, "1"},
	{"ErrRefused", sessions.ErrRefused, 503, "1"},
	{"ErrNewerVersion", sessions.ErrNewerVersion, 503, "1"},
	{"ErrConflict", sessions.ErrConflict, 409, ""},
	{"ErrGone", sessions.ErrGone, 409, ""},
	{"ErrOwnerLimit", sessions.ErrOwnerLimit, 409, ""},
	{"ErrIncomplete", sessions.ErrIncomplete, 500, ""},
	{"ErrTooLarge", sessions.ErrTooLarge, 500, ""},
	{"ErrCommitted", sessions.ErrCommitted, 500, ""},
	{"ErrNoSession", sessions.ErrNoSession, 500, ""},
	{"ErrNotFound", sessions.ErrNotFound, 404, ""},
	{"ErrExists", sessions.ErrExists, 500, ""},
	{"*DecodeError", &sessions.DecodeError{ID: "id", Err: errors.New("secret")}, 500, ""},
	{"context.Canceled", context.Canceled, 503, ""},
	{"errors.ErrUnsupported", errors.ErrUnsupported, 500, ""},
	{"anything else", errors.New("secret"), 500, ""},
}

func TestStatuses(t *testing.T) {
	page, err := os.ReadFile("../../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, tc := range statuses {
		known[tc.name] = true
		t.Run("F17 "+tc.name, func(t *testing.T) {
			if got := sessions.HTTPStatus(tc.err); got != tc.want {
				t.Errorf("the status is %d, want %d", got, tc.want)
			}
			if tc.err == nil {
				return
			}
			wrapped := fmt.Errorf("sign in: %w", tc.err)
			if got := sessions.HTTPStatus(wrapped); got != tc.want {
				t.Errorf("wrapped the status is %d, want %d", got, tc.want)
			}
			w := httptest.NewRecorder()
			sessions.DefaultErrorHandler(w, httptest.NewRequest("GET", "/", nil), wrapped)
			if body := strings.TrimSpace(w.Body.String()); w.Code != tc.want || body != http.StatusText(tc.want) {
				t.Errorf("the response is %d %q, want %d with its text", w.Code, body, tc.want)
			}
			if got := w.Header().Get("Retry-After"); got != tc.retryAfter {
				t.Errorf("Retry-After is %q, want %q", got, tc.retryAfter)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q, want no-store", got)
			}
			row := regexp.MustCompile("(?m)^\\| `?" + regexp.QuoteMeta(tc.name) + "`? \\|.*\\| " + strconv.Itoa(tc.want) + "\\b[^|]*\\|$")
			if !row.Match(page) {
				t.Errorf("docs/errors.md has no row for %s that says %d", tc.name, tc.want)
			}
		})
	}
	for _, name := range exportedErrors(t) {
		if !known[name] {
			t.Errorf("F17 has no row for %s: add it here and to docs/errors.md", name)
		}
	}
}

// exportedErrors are the variables of errors.go that begin with Err.
func exportedErrors(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../../errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Err") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	if len(names) < 10 {
		t.Fatalf("errors.go declares %q: are they elsewhere now?", names)
	}
	return names
}
