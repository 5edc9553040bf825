package document_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/typedsessions/sessions/internal/document"
)

// grow makes a document of any bytes: of two bytes each a name out of sixteen and a value of one to three
// digits, so that fields meet, and values are the same, permuted and others.
func grow(data []byte) []document.Field {
	var fields []document.Field
	for ; len(data) > 1; data = data[2:] {
		name := string(rune('a' + data[0]%16))
		if document.Find(fields, name, 0) != nil {
			continue
		}
		var value []byte
		for v := data[1]; ; v /= 6 {
			value = append(value, '0'+v%6)
			if v < 6 {
				break
			}
		}
		fields = append(fields, document.Field{Name: name, Value: value})
	}
	return fields
}

// byName is a document as a map, which is another way to look for a field.
func byName(fields []document.Field) map[string]string {
	m := map[string]string{}
	for _, f := range fields {
		m[f.Name] = string(f.Value)
	}
	return m
}

func names(fields []document.Field) []string {
	var ns []string
	for _, f := range fields {
		ns = append(ns, f.Name)
	}
	return ns
}

func clone(fields []document.Field) []document.Field {
	fields = slices.Clone(fields)
	for i := range fields {
		fields[i].Value = bytes.Clone(fields[i].Value)
	}
	return fields
}

// join is what the package is for.
func join(base, mine, theirs []document.Field, all bool, same func(string, []byte, []byte) bool) []document.Field {
	return document.ReplaceFields(theirs, mine, slices.Collect(document.Diff(base, mine, one(all), same)))
}

func FuzzMerge(f *testing.F) {
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		base, mine, theirs := grow(a), grow(b), grow(c)
		before := [][]document.Field{clone(base), clone(mine), clone(theirs)}
		for _, one := range []bool{true, false} {
			got := join(base, mine, theirs, one, zero)
			was, m, th := byName(base), byName(mine), byName(theirs)
			// What was changed here is as it is here, everything else as it is there.
			want := maps.Clone(th)
			for i := range 16 {
				name := string(rune('a' + i))
				x, there := was[name]
				y, here := m[name]
				changed := x != y && !zero(name, document.Find(base, name, 0), document.Find(mine, name, 0))
				if there && here && x != y && one && !document.Permuted([]byte(x), []byte(y)) {
					changed = true
				}
				switch {
				case there == here && x == y, !changed:
				case here:
					want[name] = y
				default:
					delete(want, name)
				}
			}
			if !maps.Equal(byName(got), want) || len(got) != len(want) {
				t.Errorf("base %s, mine %s, theirs %s: %s, want %v", text(base), text(mine), text(theirs), text(got), want)
			}
			// The order is theirs, with what is new in mine's behind it.
			order := append(names(theirs), slices.DeleteFunc(names(mine), func(n string) bool { _, ok := th[n]; return ok })...)
			order = slices.DeleteFunc(order, func(n string) bool { _, ok := want[n]; return !ok })
			if !slices.Equal(names(got), order) {
				t.Errorf("base %s, mine %s, theirs %s: %s, want the order %v", text(base), text(mine), text(theirs), text(got), order)
			}
			if got := join(base, base, theirs, one, zero); text(got) != text(theirs) {
				t.Errorf("with base %s, and nothing changed here, %s becomes %s", text(base), text(theirs), text(got))
			}
		}
		if got := join(base, mine, base, true, never); !maps.Equal(byName(got), byName(mine)) {
			t.Errorf("with base %s, and nothing changed there, %s becomes %s", text(base), text(mine), text(got))
		}
		if got := join(base, mine, mine, true, zero); text(got) != text(mine) {
			t.Errorf("with base %s, and the same change on both sides, %s becomes %s", text(base), text(mine), text(got))
		}
		for i, fields := range [][]document.Field{base, mine, theirs} {
			if text(fields) != text(before[i]) {
				t.Errorf("%s became %s", text(before[i]), text(fields))
			}
		}
	})
}
