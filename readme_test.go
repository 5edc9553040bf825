package sessions_test

import (
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

	_, recipe, _ := strings.Cut(read("example_verbs_test.go"), "\nfunc askAgain(")
	recipe, _, _ = strings.Cut(recipe, "\n}\n")
	if recipe == "" || !strings.Contains(read("docs/concurrency.md"), "\nfunc askAgain("+recipe) {
		t.Error("docs/concurrency.md and its example differ")
	}

	for _, page := range []string{"README.md", "docs/guarantees.md"} {
		checkPromises(t, page)
	}
}

// checkPromises wants each promise of a page to be linked to tests whose names begin with its numbers.
func checkPromises(t *testing.T, page string) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	prose := regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(read(page), "")
	for line := range strings.Lines(prose) {
		var tests []string
		for _, link := range regexp.MustCompile(`\]\(([\w./-]+)\)`).FindAllStringSubmatch(line, -1) {
			name := filepath.Join(filepath.Dir(page), link[1])
			stem, file := strings.CutSuffix(name, "_test.go")
			info, err := os.Stat(name)
			switch {
			case err != nil:
				t.Errorf("%s links to %v", page, err)
			case file: // X_test.go stands for X_theme_test.go too
				themes, _ := filepath.Glob(stem + "_*_test.go")
				tests = append(tests, append(themes, name)...)
			case strings.HasPrefix(name, "storetest/"):
				tests = append(tests, name)
			case info.IsDir() && strings.HasPrefix(name, "internal/"): // a folder stands for all its tests
				all, _ := filepath.Glob(name + "/*_test.go")
				if tests = append(tests, all...); len(all) == 0 {
					t.Errorf("%s links to %s, which has no tests", page, name)
				}
			}
		}
		if len(tests) == 0 {
			continue
		}
		var linked strings.Builder
		for _, test := range tests {
			linked.WriteString(read(test))
		}
		for _, id := range numbers(line) {
			if !regexp.MustCompile(`"(?:[A-Z][1-9]\d* )*` + id + `[ "]`).MatchString(linked.String()) {
				t.Errorf("%s promises %s, but the name of no test linked there begins with it", page, id)
			}
		}
	}
}

// numbers expands the requirement numbers of a line: (C1–C4, C13) and the like.
func numbers(line string) []string {
	var ids []string
	for _, m := range regexp.MustCompile(`\b([LWTCKSFOXR])(\d+)(?:–[LWTCKSFOXR](\d+))?\b`).FindAllStringSubmatch(line, -1) {
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
