package node_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestBeside keeps "What was run beside it" in docs/from-express.md true: its
// first table is the stacks, its second one has every other package and every
// test of a recipe, and both have the versions of the lock file. A recipe that
// needs no package has the version "–".
func TestBeside(t *testing.T) {
	var lock struct {
		Packages map[string]struct {
			Name, Version string
			Dependencies  map[string]string
		}
	}
	if err := json.Unmarshal([]byte(fileText(t, "package-lock.json")), &lock); err != nil {
		t.Fatal(err)
	}
	version := func(name string) string { return lock.Packages["node_modules/"+name].Version }
	label := func(name string) string {
		p := lock.Packages["node_modules/"+name]
		if p.Name == "" { // it is no alias
			p.Name = name
		}
		return p.Name + " " + p.Version
	}
	found := map[string]bool{}

	_, section, _ := strings.Cut(fileText(t, "../../../docs/from-express.md"), "\n## What was run beside it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	tables := regexp.MustCompile(`(?m)^\|-.*\n((?:\|.*\n)+)`).FindAllStringSubmatch(section, -1)
	if len(tables) != 2 {
		t.Fatalf("there are %d tables, want 2", len(tables))
	}
	var rows strings.Builder
	for _, s := range stacks {
		fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s |\n", label(s.ConnectRedis), label(s.Client), label(s.Framework), label(s.Sessions), s.works)
		for _, name := range []string{s.ConnectRedis, s.Client, s.Framework, s.Sessions} {
			found[name] = true
		}
	}
	if got := tables[0][1]; got != rows.String() {
		t.Errorf("the stacks are\n%s, want\n%s", got, &rows)
	}

	recipe := regexp.MustCompile(`^(recipes|remember)`)
	tests, recipes := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(fileText(t, file), -1) {
			tests[m[1]] = true
			if recipe.MatchString(file) && !strings.HasPrefix(m[1], "TestRecipes") { // that one is about all
				recipes[m[1]] = true
			}
		}
	}
	for row := range strings.Lines(tables[1][1]) {
		cells := strings.Split(strings.Trim(row, "|\n"), "|")
		if len(cells) != 4 {
			t.Errorf("%s has %d cells, want package, version, how and test", row, len(cells))
			continue
		}
		names, versions := strings.Split(strings.TrimSpace(cells[0]), ", "), strings.TrimSpace(cells[1])
		if versions != "–" {
			var want []string
			for _, name := range names {
				want = append(want, version(name))
				if found[name] {
					t.Errorf("%s is there twice", name)
				}
				found[name] = true
			}
			if want := strings.Join(slices.Compact(want), ", "); versions != want {
				t.Errorf("%s: the version is %s, want %s", cells[0], versions, want)
			}
		}
		for test := range strings.SplitSeq(strings.TrimSpace(cells[3]), ", ") {
			if !tests[test] {
				t.Errorf("%s: there is no test %q", cells[0], test)
			}
			delete(recipes, test)
		}
	}
	for name := range lock.Packages[""].Dependencies {
		if !found[name] {
			t.Errorf("%s is in package.json and not in the tables", name)
		}
		delete(found, name)
	}
	for name := range found {
		t.Errorf("%s is in the tables and not in package.json", name)
	}
	for name := range recipes {
		t.Errorf("%s is in no row", name)
	}
}

func fileText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
