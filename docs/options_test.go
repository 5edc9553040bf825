package docs_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// The page of options has each field of what can be configured, and each kind of event.
func TestOptions(t *testing.T) {
	page := string(read(t, "options.md"))
	for _, part := range []any{sessions.Config{}, sessions.Cookie{}, sessions.RedisConfig{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(part)) {
			if f.IsExported() && !strings.Contains(page, "\n| `"+f.Name+"` |") {
				t.Errorf("options.md has no row of %T.%s", part, f.Name)
			}
		}
	}
	events, err := os.ReadFile("../event.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\t(Event[A-Z]\w+)\b`).FindAllSubmatch(events, -1)
	for _, kind := range kinds {
		if !strings.Contains(page, "`"+string(kind[1])+"`") {
			t.Errorf("options.md has no %s", kind[1])
		}
	}
	if len(kinds) < 20 {
		t.Errorf("%d kinds of events", len(kinds))
	}
}
