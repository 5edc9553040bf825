package behaviour_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The files of a package know each other in one direction only: what a file uses can be understood before it,
// and nothing else has to be.
func TestFilesKnowEachOtherOneWay(t *testing.T) {
	root := filepath.Join("..", "..")
	dirs := []string{root, filepath.Join(root, "express"), filepath.Join(root, "storetest"), filepath.Join(root, "sessionstest")}
	internal, err := filepath.Glob(filepath.Join(root, "internal", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(dirs, internal...) {
		files := sourceFiles(t, dir)
		if len(files) < 2 {
			continue
		}
		t.Run(filepath.Base(filepath.Clean(dir)), func(t *testing.T) {
			for _, circle := range circles(uses(t, dir, files)) {
				t.Errorf("%s know each other: move what the lower one needs of the upper one down, or into a file of its own",
					strings.Join(circle, ", "))
			}
		})
	}
}

func TestCirclesAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		uses map[string][]string
		want int
	}{
		"a chain":             {map[string][]string{"a": {"b"}, "b": {"c"}}, 0},
		"two":                 {map[string][]string{"a": {"b"}, "b": {"a"}}, 1},
		"three":               {map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}, 1},
		"two ways to one":     {map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}, 0},
		"a circle further on": {map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}}, 1},
	} {
		if got := circles(test.uses); len(got) != test.want {
			t.Errorf("%s: %v, want %d", name, got, test.want)
		}
	}
}

// The root is small enough to be looked through.
func TestRootIsSmall(t *testing.T) {
	root := filepath.Join("..", "..")
	sources := sourceFiles(t, root)
	if n := len(sources); n > 43 {
		t.Errorf("%d source files in the root, want at most 43", n)
	}
	tests, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tests); n > 20 {
		t.Errorf("%d test files in the root, want at most 20: suites by promise lie in internal/behaviour", n)
	}
	for _, file := range sources {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(data, []byte{'\n'}); n > 450 {
			t.Errorf("%s has %d lines, want at most 450: it has more than one concept", file, n)
		}
	}
}

func sourceFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, p := range paths {
		if !strings.HasSuffix(p, "_test.go") {
			files = append(files, filepath.Base(p))
		}
	}
	return files
}

// uses tells which file of a package uses names, fields or methods that which other ones declare. Other
// packages are not looked at.
func uses(t *testing.T, dir string, files []string) map[string][]string {
	t.Helper()
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, file := range files {
		f, err := parser.ParseFile(fset, filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	cfg := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := cfg.Check("p", fset, parsed, info)
	found := map[string]map[string]bool{}
	for id, o := range info.Uses {
		if o.Pkg() != pkg || !o.Pos().IsValid() {
			continue
		}
		if v, ok := o.(*types.Var); ok && !v.IsField() && o.Parent() != pkg.Scope() {
			continue // a local variable
		}
		from, to := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(o.Pos()).Filename)
		if from != to {
			if found[from] == nil {
				found[from] = map[string]bool{}
			}
			found[from][to] = true
		}
	}
	out := map[string][]string{}
	for from, to := range found {
		out[from] = slices.Sorted(maps.Keys(to))
	}
	if len(out) == 0 && len(files) > 4 {
		t.Fatal("no file uses another one: the test sees nothing")
	}
	return out
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

// circles returns the sets of nodes that all reach each other (Tarjan).
func circles(uses map[string][]string) (found [][]string) {
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	var visit func(v string)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack, on[v] = append(stack, v), true
		for _, w := range uses[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if on[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		if circle := slices.Clone(stack[at:]); len(circle) > 1 {
			found = append(found, circle)
		}
		for _, w := range stack[at:] {
			on[w] = false
		}
		stack = stack[:at]
	}
	for _, v := range slices.Sorted(maps.Keys(uses)) {
		if index[v] == 0 {
			visit(v)
		}
	}
	return found
}
