package behaviour_test

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

const (
	listPath = "docs/requirements.md" // the numbered list
	wirePath = "docs/from-express.md" // R1 to R18
)

// The list of requirements and the tests agree: what the list promises has a
// test, and what a test carries is in the list.
func TestRequirements(t *testing.T) {
	root := moduleRoot(t)
	list, problems := entries(listPath, read(t, root, listPath))
	list = append(list, wireEntries(wirePath, read(t, root, wirePath))...)
	if len(list) < 100 {
		t.Fatalf("%s and %s define %d numbers: have they another form now? Then change this test.", listPath, wirePath, len(list))
	}
	for _, p := range append(problems, compare(list, allCarriers(t, root))...) {
		t.Error(p)
	}
}

// A requirement has a star exactly if the table of peers says that one of them fails it.
func TestStars(t *testing.T) {
	root := moduleRoot(t)
	fails := map[string]bool{}
	for line := range strings.Lines(read(t, root, "internal/integration/peers/TABLE.md")) {
		if number, cells, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.Contains(cells, "**fails**") {
			fails[number] = true
		}
	}
	if len(fails) < 20 {
		t.Fatalf("the table says that peers fail %d requirements: has it another form now?", len(fails))
	}
	for item := range strings.SplitSeq(read(t, root, listPath), "\n- ") {
		item, _, _ = strings.Cut(item, "\n\n")
		number, text, _ := strings.Cut(item, " ")
		if star := strings.Contains(text, "★"); star != fails[number] && number != "#" {
			t.Errorf("%s: %s has a star: %t; a peer fails it: %t", listPath, number, star, fails[number])
		}
	}
}

// An entry is a requirement as the list defines it.
type entry struct {
	number, at string
	mark       string // "", planned or partly planned
}

// A carrier is a test whose name begins with a number.
type carrier struct{ number, at string }

var definition = regexp.MustCompile(`^- ([A-Z][1-9][0-9]*)(?: \((planned|partly planned)\))? [^(\s]`)

// entries reads the list: each item of a Markdown list defines one number. The
// item goes on in indented lines.
func entries(path, text string) (list []entry, problems []string) {
	at, mark, planned := "", "", false
	end := func() {
		if at != "" && planned != (mark == "partly planned") {
			problems = append(problems, at+`: what is still to come stands after "Planned:" in an entry marked (partly planned), and in no other one`)
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		switch {
		case strings.HasPrefix(line, "- "):
			end()
			at, planned = fmt.Sprintf("%s:%d", path, n), false
			m := definition.FindStringSubmatch(line)
			if m == nil {
				problems = append(problems, at+": an entry begins like \"- C5 \", \"- C5 (planned) \" or \"- C5 (partly planned) \": correct the line, or make it a paragraph if it defines nothing")
				at = ""
				break
			}
			mark = m[2]
			list = append(list, entry{m[1], at, mark})
		case strings.TrimSpace(line) == "" || !strings.HasPrefix(line, "  "):
			end()
			at = ""
		}
		planned = planned || strings.Contains(line, "Planned:")
	}
	end()
	return list, problems
}

var wireDefinition = regexp.MustCompile(`\*\*(R[1-9][0-9]*)\*\*`)

// wireEntries reads the guide for Express, where definitions stand in bold.
func wireEntries(path, text string) (list []entry) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		for _, m := range wireDefinition.FindAllStringSubmatch(line, -1) {
			list = append(list, entry{number: m[1], at: fmt.Sprintf("%s:%d", path, n)})
		}
	}
	return list
}

// compare says what has to be done so that the list and the tests agree.
func compare(list []entry, tests []carrier) (problems []string) {
	first := map[string]entry{}
	var families strings.Builder
	for _, e := range list {
		if other, ok := first[e.number]; ok {
			problems = append(problems, fmt.Sprintf("%s: %s is defined in %s already: give this entry the next free number", e.at, e.number, other.at))
			continue
		}
		first[e.number] = e
		families.WriteString(e.number[:1])
	}
	carried := map[string]string{}
	for _, c := range tests {
		e, ok := first[c.number]
		switch {
		case ok && carried[c.number] == "" && e.mark == "planned":
			problems = append(problems, fmt.Sprintf("%s: %s is marked (planned), but the test in %s carries it: remove the mark if all of it holds now; "+
				"if a part does, mark it (partly planned) and say after \"Planned:\" what is missing; else take the number off the test", e.at, c.number, c.at))
		case !ok && strings.Contains(families.String(), c.number[:1]):
			problems = append(problems, fmt.Sprintf("%s: a test carries %s, which is not in %s: add the entry, or correct the number", c.at, c.number, listPath))
		}
		carried[c.number] = c.at
	}
	for _, e := range list {
		if e.mark != "planned" && carried[e.number] == "" {
			problems = append(problems, fmt.Sprintf("%s: no test carries %s: begin the name of the test that shows it with %q, write that test, or mark the entry (planned)", e.at, e.number, e.number+" "))
		}
	}
	slices.Sort(problems)
	return problems
}

var (
	leading = regexp.MustCompile(`^((?:[A-Z][1-9][0-9]* )+)(.*)`)
	alone   = regexp.MustCompile(`^[A-Z][1-9][0-9]*(?: [A-Z][1-9][0-9]*)*$`)
	another = regexp.MustCompile(`^[A-Z][1-9]`)
)

// carriers finds the numbers at the beginning of the names in a Go file: the
// string literals that begin with numbers, each followed by a space, and go on
// otherwise. Numbers alone are a name where they are the first argument of a
// call; elsewhere they are data.
func carriers(path string, src []byte) (found []carrier) {
	file := token.NewFileSet().AddFile(path, -1, len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, 0)
	var before [2]token.Token // the two tokens before this one
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return found
		}
		if tok == token.STRING {
			numbers := ""
			name, _ := strconv.Unquote(text)
			if m := leading.FindStringSubmatch(name); m != nil && !another.MatchString(m[2]) {
				numbers = m[1]
			} else if alone.MatchString(name) && before == [2]token.Token{token.IDENT, token.LPAREN} {
				numbers = name
			}
			for number := range strings.FieldsSeq(numbers) {
				found = append(found, carrier{number, fmt.Sprintf("%s:%d", path, file.Line(pos))})
			}
		}
		before = [2]token.Token{before[1], tok}
	}
}

// allCarriers searches every file of the repository in which names of tests
// stand, those of nested modules too.
func allCarriers(t *testing.T, root string) (found []carrier) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (name[0] == '.' || name == "node_modules" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		within, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		within = filepath.ToSlash(within)
		switch {
		case strings.HasSuffix(name, "_test.go"):
		case strings.HasSuffix(name, ".go") && (strings.HasPrefix(within, "storetest/") || strings.HasPrefix(within, "internal/behaviour/")):
		default:
			return nil
		}
		src, err := os.ReadFile(path)
		found = append(found, carriers(within, src)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// moduleRoot is the nearest directory upwards that has a go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no directory upwards has a go.mod")
		}
		dir = filepath.Dir(dir)
	}
}

func read(t *testing.T, root, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEntries(t *testing.T) {
	for _, tc := range []struct {
		desc, text string
		want       string // number, line and mark of each entry
		problem    string // a part of the only one
	}{
		{"entries of each kind", "- L1 a\n- L2 (planned) b\n- L3 (partly planned) c\n  Planned: d\n", "L1:1: L2:2:planned L3:3:partly planned", ""},
		{"a heading and a paragraph", "# L. Lifecycle\n\nL1 is text.\n\n- L2 a\n\nPlanned: nothing.\n", "L2:5:", ""},
		{"an entry of several lines", "- L1 a\n  b\n- L2 c\n", "L1:1: L2:3:", ""},
		{"a number of two digits", "- W15 (planned) a\n", "W15:1:planned", ""},
		{"a misspelt mark", "- L1 (planed) a\n", "", "x.md:1: an entry begins like"},
		{"no number", "- Lifecycle\n", "", "x.md:1: an entry begins like"},
		{"a number with a zero", "- L01 a\n", "", "x.md:1: an entry begins like"},
		{"no text", "- L1\n", "", "x.md:1: an entry begins like"},
		{"partly planned, without what is planned", "- L1 (partly planned) a\n- L2 b\n", "L1:1:partly planned L2:2:", "x.md:1: what is still to come"},
		{"planned in an entry without the mark", "- L1 a\n  Planned: b\n", "L1:1:", "x.md:1: what is still to come"},
	} {
		t.Run(tc.desc, func(t *testing.T) {
			list, problems := entries("x.md", tc.text)
			var got []string
			for _, e := range list {
				got = append(got, e.number+strings.TrimPrefix(e.at, "x.md")+":"+e.mark)
			}
			if got := strings.Join(got, " "); got != tc.want {
				t.Errorf("entries %q, want %q", got, tc.want)
			}
			wantProblem(t, problems, tc.problem)
		})
	}
	t.Run("of the guide for Express", func(t *testing.T) {
		got := wireEntries("x.md", "- **R1** a\n  **R2** b\n- **bold** R3\n")
		if want := []entry{{number: "R1", at: "x.md:1"}, {number: "R2", at: "x.md:2"}}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestCarriers(t *testing.T) {
	for _, tc := range []struct{ desc, src, want string }{
		{"a subtest", `t.Run("C5 one wins", f)`, "C5"},
		{"several numbers", `t.Run("C5 C14 one wins", f)`, "C5 C14"},
		{"the beginning of a name", `t.Run("C5 "+desc, f)`, "C5"},
		{"a format", `t.Run(fmt.Sprintf("C5 %d win", n), f)`, "C5"},
		{"a row of a table", `var rows = []row{{"C5 one wins", 1}, {name: "C6 none does"}}`, "C5 C6"},
		{"a raw string", "t.Run(`C5 one wins`, f)", "C5"},
		{"numbers alone, as a name", `t.Run("R1 R2", f)`, "R1 R2"},
		{"numbers alone, as data", `var flaws = []flaw{{"Load touches", "S5 S6"}}`, ""},
		{"numbers and one that is optional, as data", `var flaws = []flaw{{"Load touches", "S5 S6? S7"}}`, ""},
		{"a comment", `// "C5 one wins"`, ""},
		{"a number behind", `t.Run("one wins, C5", f)`, ""},
		{"a name that only looks like it", `t.Run("F01 is a field", f)`, ""},
		{"no space behind the number", `t.Run("C5: one wins", f)`, ""},
		{"a letter behind the number", `t.Run("C5x one wins", f)`, ""},
	} {
		t.Run(tc.desc, func(t *testing.T) {
			var got []string
			for _, c := range carriers("x_test.go", []byte("package x\n"+tc.src+"\n")) {
				if got = append(got, c.number); c.at != "x_test.go:2" {
					t.Errorf("%s is found in %s, want x_test.go:2", c.number, c.at)
				}
			}
			if got := strings.Join(got, " "); got != tc.want {
				t.Errorf("numbers %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	list := []entry{{"L1", "x.md:1", ""}, {"L2", "x.md:2", "planned"}, {"L3", "x.md:3", "partly planned"}}
	full := []carrier{{"L1", "x_test.go:1"}, {"L3", "x_test.go:3"}}
	for _, tc := range []struct {
		desc    string
		list    []entry
		tests   []carrier
		problem string
	}{
		{"they agree", list, full, ""},
		{"an entry has two tests", list, append(full[:2:2], carrier{"L1", "x_test.go:9"}), ""},
		{"an entry has no test", list, full[1:], `x.md:1: no test carries L1: begin the name of the test that shows it with "L1 "`},
		{"one that holds partly has none", list, full[:1], "x.md:3: no test carries L3"},
		{"a planned one has two", list, append(full[:2:2], carrier{"L2", "x_test.go:2"}, carrier{"L2", "x_test.go:9"}), "x.md:2: L2 is marked (planned), but the test in x_test.go:2 carries it"},
		{"a number is unknown", list, append(full[:2:2], carrier{"L9", "x_test.go:9"}), "x_test.go:9: a test carries L9, which is not in " + listPath},
		{"a letter is none of the list's", list, append(full[:2:2], carrier{"H2", "x_test.go:9"}), ""},
		{"a number is defined twice", append(list[:3:3], entry{"L1", "x.md:9", ""}), full, "x.md:9: L1 is defined in x.md:1 already"},
	} {
		t.Run(tc.desc, func(t *testing.T) { wantProblem(t, compare(tc.list, tc.tests), tc.problem) })
	}
}

// wantProblem checks that there is one problem, which begins with want, or none.
func wantProblem(t *testing.T, problems []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(problems) > 0:
		t.Errorf("problems %q, want none", problems)
	case want != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0], want)):
		t.Errorf("problems %q, want one that begins with %q", problems, want)
	}
}

func TestExpiryInABubble(t *testing.T) {
	t.Run("P2 a day passes without waiting, and the session of an hour has ended", func(t *testing.T) {
		type visit struct{ Views int }
		start := time.Now()
		synctest.Test(t, func(t *testing.T) {
			m, err := sessions.New[visit](new(sessions.MemoryStore), sessions.Config{IdleTimeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			cookie, views := "", 0
			visit := func() {
				w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://example.com/", nil)
				r.Header.Set("Cookie", cookie)
				m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					s := m.FromContext(r.Context())
					s.Views++
					views = s.Views
				})).ServeHTTP(w, r)
				if line := w.Header().Get("Set-Cookie"); line != "" {
					cookie, _, _ = strings.Cut(line, ";")
				}
			}
			for _, step := range []struct {
				after time.Duration
				want  int
			}{{0, 1}, {time.Hour - time.Second, 2}, {24 * time.Hour, 1}} {
				time.Sleep(step.after)
				if visit(); views != step.want {
					t.Errorf("after %v: %d views, want %d", step.after, views, step.want)
				}
			}
		})
		if waited := time.Since(start); waited > time.Minute {
			t.Errorf("it took %v", waited)
		}
	})
}
