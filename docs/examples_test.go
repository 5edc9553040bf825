package docs_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every exported name of a package is in one of its examples, and every method that programs call. Methods that implement an
// interface are called by the library.
func TestEveryNameHasAnExample(t *testing.T) {
	for _, dir := range []string{"..", "../express", "../storetest", "../sessionstest"} {
		pkg, shown := parse(t, dir)
		want := map[string]bool{}
		values := func(all []*doc.Value) {
			for _, v := range all {
				for _, name := range v.Names {
					want[name] = true
				}
			}
		}
		funcs := func(all []*doc.Func) {
			for _, f := range all {
				want[f.Name] = true
			}
		}
		values(pkg.Consts)
		values(pkg.Vars)
		funcs(pkg.Funcs)
		for _, typ := range pkg.Types {
			want[typ.Name] = true
			values(typ.Consts)
			values(typ.Vars)
			funcs(typ.Funcs)
			if typ.Name == "Manager" || typ.Name == "Info" || typ.Name == "Client" {
				funcs(typ.Methods)
			}
		}
		if len(want) < 2 {
			t.Errorf("%s has %d names", dir, len(want))
		}
		for name := range want {
			if ast.IsExported(name) && !shown[name] {
				t.Errorf("no example of %s has %s", dir, name)
			}
		}
	}
}

// parse returns a package's documentation, and the names that its examples have.
func parse(t *testing.T, dir string) (*doc.Package, map[string]bool) {
	t.Helper()
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	set, shown := token.NewFileSet(), map[string]bool{}
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, f)
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			example := ok && strings.HasPrefix(fn.Name.Name, "Example")
			if example {
				for part := range strings.SplitSeq(strings.TrimPrefix(fn.Name.Name, "Example"), "_") {
					shown[part] = true
				}
			}
			if !example && !strings.HasPrefix(filepath.Base(name), "example") {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					shown[id.Name] = true
				}
				return true
			})
		}
	}
	pkg, err := doc.NewFromFiles(set, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	return pkg, shown
}
