package sessions_test

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What the README shows first is a program that builds, and what it does is
// asserted by the package example.
func TestReadme(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, program, ok := strings.Cut(read("README.md"), "```go\n")
	program, _, ok2 := strings.Cut(program, "```")
	if !ok || !ok2 {
		t.Fatal("README.md has no Go program")
	}
	_, quickstart, _ := strings.Cut(read("examples/quickstart/main.go"), "package main\n")
	if program != "package main\n"+quickstart {
		t.Error("README.md and examples/quickstart/main.go differ")
	}
	_, body, ok := strings.Cut(read("example_test.go"), "// README begins.\n")
	body, _, ok2 = strings.Cut(body, "\t// README ends.")
	if !ok || !ok2 || len(body) < 100 || !strings.Contains(program, body) {
		t.Errorf("README.md's program does not contain the package example's body:\n%s", body)
	}

	// Each promise is linked to tests that carry its numbers.
	prose := regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(read("README.md"), "")
	for line := range strings.Lines(prose) {
		var links strings.Builder
		for _, link := range regexp.MustCompile(`\]\(([\w./-]+)\)`).FindAllStringSubmatch(line, -1) {
			name := cmp.Or(moved[link[1]], link[1])
			tests, _ := filepath.Glob(name + "/*_test.go") // a folder stands for all its tests
			if stem, ok := strings.CutSuffix(name, "_test.go"); ok {
				tests, _ = filepath.Glob(stem + "_*_test.go") // X_test.go stands for X_theme_test.go too
			}
			for _, test := range tests {
				links.WriteString(read(test))
			}
			if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "storetest/") {
				links.WriteString(read(name))
			} else if _, err := os.Stat(name); err != nil {
				t.Errorf("README.md links to %v", err)
			}
		}
		for _, id := range numbers(line) {
			if links.String() != "" && !regexp.MustCompile(`"[^"]*\b`+id+`\b`).MatchString(links.String()) {
				t.Errorf("README.md promises %s, but no test linked there carries that number", id)
			}
		}
	}
}

// moved are the folders of suites that README.md still links by their old file.
var moved = map[string]string{"manager_test.go": "internal/behaviour/lifecycle"}

// numbers expands the requirement numbers of a line: (C1–C4, C13) and the like.
func numbers(line string) []string {
	var ids []string
	for _, m := range regexp.MustCompile(`\b([LWTCKSFXR])(\d+)(?:–[LWTCKSFXR](\d+))?\b`).FindAllStringSubmatch(line, -1) {
		from, _ := strconv.Atoi(m[2])
		to, err := strconv.Atoi(m[3])
		if err != nil {
			to = from
		}
		for n := from; n <= to; n++ {
			ids = append(ids, m[1]+strconv.Itoa(n))
		}
	}
	return ids
}
