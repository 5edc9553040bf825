package document

import (
	"bytes"
	"iter"
	"slices"
)

// A Field is a top-level field of a document. No two fields of a document have one name.
type Field struct {
	Name  string // free of the codec's escapes
	Value []byte // encoded
}

// Diff yields the names of fields that differ. Equal bytes are equal values. Where a field is exact, by its name and its
// bytes in a, bytes that are no permutation of each other are different values, because only the order of a map can
// vary; if exact is nil, none is. In all other cases same decides; nil stands for a missing field.
func Diff(a, b []Field, exact func(name string, a []byte) bool, same func(name string, a, b []byte) bool) iter.Seq[string] {
	return func(yield func(string) bool) {
		differs := func(name string, a, b []byte) bool {
			if a != nil && b != nil {
				if bytes.Equal(a, b) {
					return false
				}
				if exact != nil && exact(name, a) && !Permuted(a, b) {
					return true
				}
			}
			return !same(name, a, b)
		}
		for i, f := range b {
			if differs(f.Name, Find(a, f.Name, i), f.Value) && !yield(f.Name) {
				return
			}
		}
		for i, f := range a {
			if Find(b, f.Name, i) == nil && differs(f.Name, f.Value, nil) && !yield(f.Name) {
				return
			}
		}
	}
}

// ReplaceFields returns doc with the named fields as they are in from: replaced where they stand, added at
// the end, or left out. It changes neither.
func ReplaceFields(doc, from []Field, names []string) []Field {
	out := make([]Field, 0, len(doc)+len(names))
	for i, f := range doc {
		if slices.Contains(names, f.Name) {
			if f.Value = Find(from, f.Name, i); f.Value == nil {
				continue
			}
		}
		out = append(out, f)
	}
	for i, f := range from {
		if slices.Contains(names, f.Name) && Find(doc, f.Name, i) == nil {
			out = append(out, f)
		}
	}
	return out
}

// Find returns the value of a field, nil if there is none. It looks at that index first, because documents of
// one type have their fields in one order.
func Find(doc []Field, name string, at int) []byte {
	if at < len(doc) && doc[at].Name == name {
		return doc[at].Value
	}
	for _, f := range doc {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Permuted tells whether a and b are the same bytes in some order, as two encodings of one unordered map are.
func Permuted(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	const step = 64
	for len(a) > step && bytes.Equal(a[:step], b[:step]) {
		a, b = a[step:], b[step:]
	}
	for len(a) > step && bytes.Equal(a[len(a)-step:], b[len(b)-step:]) {
		a, b = a[:len(a)-step], b[:len(b)-step]
	}
	for len(a) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var count [256]int32
	for i := range a {
		count[a[i]]++
		count[b[i]]--
	}
	return count == [256]int32{}
}
