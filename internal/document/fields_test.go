package document_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/document"
)

// doc makes a document of "a=1 b=2".
func doc(text string) []document.Field {
	var fields []document.Field
	for f := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(f, "=")
		fields = append(fields, document.Field{Name: name, Value: []byte(value)})
	}
	return fields
}

func text(fields []document.Field) string {
	var words []string
	for _, f := range fields {
		words = append(words, f.Name+"="+string(f.Value))
	}
	return strings.Join(words, " ")
}

// one says of every field that one encoder has written it, or of none.
func one(all bool) func(string, []byte) bool { return func(string, []byte) bool { return all } }

// never is for values of which no two that differ mean the same.
func never(string, []byte, []byte) bool { return false }

// zero takes a field that is not there for one that is 0, as a decoder does, and values for the same whose
// bytes are, in any order.
func zero(_ string, a, b []byte) bool {
	if a == nil {
		a = []byte("0")
	}
	if b == nil {
		b = []byte("0")
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return bytes.Equal(a, b)
}

func TestDiff(t *testing.T) {
	always := func(string, []byte, []byte) bool { return true }
	for _, tc := range []struct {
		name, a, b string
		one        bool
		same       func(string, []byte, []byte) bool
		want       string
	}{
		{"of nothing and nothing", "", "", true, never, ""},
		{"of the same bytes", "a=1 b=2", "a=1 b=2", true, never, ""},
		{"in another order", "a=1 b=2 c=3", "c=3 a=1 b=2", true, never, ""},
		{"of one value", "a=1 b=2 c=3", "a=1 b=9 c=3", true, always, "b"},
		{"of one value in another order", "a=1 b=2 c=3", "c=3 b=9 a=1", true, always, "b"},
		{"of all", "a=1 b=2", "a=3 b=4", true, always, "a b"},
		{"names what the second one has first", "x=1 a=1", "b=1 a=2", true, never, "b a x"},
		{"of a field that is added", "a=1", "a=1 b=2", true, never, "b"},
		{"of a field that is gone", "a=1 b=2", "a=1", true, never, "b"},
		{"of a field that is gone and was none", "a=1 b=0", "a=1", true, zero, ""},
		{"of a field that is added and is none", "a=1", "b=0 a=1", true, zero, ""},
		{"of an empty value and no field", "a=", "", true, never, "a"},
		{"of an empty value and another", "a=", "a=1", true, always, "a"},
		{"of permuted bytes that mean the same", "m=xy1z", "m=zx1y", true, zero, ""},
		{"of permuted bytes that mean another", "n=12", "n=21", true, never, "n"},
		{"of other bytes of one encoder, whatever they mean", "n=12", "n=13", true, always, "n"},
		{"of other bytes of two encoders that mean the same", "n=1.0", "n=1", false, always, ""},
		{"of other bytes of two encoders that mean another", "n=1.0", "n=2", false, never, "n"},
		{"of equal bytes of two encoders", "n=1.0", "n=1.0", false, never, ""},
		{"takes names by case", "a=1", "A=1", true, never, "A a"},
	} {
		t.Run("the difference "+tc.name, func(t *testing.T) {
			got := strings.Join(slices.Collect(document.Diff(doc(tc.a), doc(tc.b), one(tc.one), tc.same)), " ")
			if got != tc.want {
				t.Errorf("Diff(%s, %s) = %q, want %q", tc.a, tc.b, got, tc.want)
			}
		})
	}

	t.Run("same is asked of what bytes cannot tell, with nil for what is not there", func(t *testing.T) {
		var asked []string
		same := func(name string, a, b []byte) bool {
			word := func(v []byte) string {
				if v == nil {
					return "-"
				}
				return string(v)
			}
			asked = append(asked, name+":"+word(a)+":"+word(b))
			return true
		}
		for range document.Diff(doc("a=1 m=xyz b=2 n=1 o="), doc("a=1 m=zyx n=2 c=3 o=1"), one(true), same) {
			continue
		}
		if got, want := strings.Join(asked, " "), "m:xyz:zyx c:-:3 b:2:-"; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	})

	for name, docs := range map[string][2]string{
		"the first field":  {"a=1 b=1", "a=2 b=2"},
		"one that is gone": {"a=1 b=1", ""},
	} {
		t.Run("who has seen "+name+" need not go on", func(t *testing.T) {
			n := 0
			for range document.Diff(doc(docs[0]), doc(docs[1]), one(true), never) {
				n++
				break
			}
			if n != 1 {
				t.Errorf("%d fields", n)
			}
		})
	}
}

func TestReplaceFields(t *testing.T) {
	for _, tc := range []struct{ name, doc, from, names, want string }{
		{"nothing changes nothing", "a=1 b=2", "a=3 b=4", "", "a=1 b=2"},
		{"a field is replaced where it stands", "a=1 b=2 c=3", "c=6 b=5 a=4", "b", "a=1 b=5 c=3"},
		{"a field that is gone is left out", "a=1 b=2 c=3", "c=3", "a", "b=2 c=3"},
		{"a new field comes last", "b=2 a=1", "x=0 b=2 a=1", "x", "b=2 a=1 x=0"},
		{"new fields come in their order", "a=1", "z=1 a=1 y=2 x=3", "x y z", "a=1 z=1 y=2 x=3"},
		{"a name that neither has does nothing", "a=1", "b=2", "c", "a=1"},
		{"an empty value is a value", "a=1", "a=", "a", "a="},
		{"all at once", "a=1 b=2 c=3 d=4", "e=9 d=8 b=7", "a b e", "b=7 c=3 d=4 e=9"},
		{"into nothing", "", "b=1 a=2", "a b", "b=1 a=2"},
		{"out of nothing", "a=1 b=2", "", "a b", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to, from := doc(tc.doc), doc(tc.from)
			if got := text(document.ReplaceFields(to, from, strings.Fields(tc.names))); got != tc.want {
				t.Errorf("ReplaceFields(%s, %s, %s) = %q, want %q", tc.doc, tc.from, tc.names, got, tc.want)
			}
			if text(to) != tc.doc || text(from) != tc.from {
				t.Errorf("it changed what it was given: %s and %s", text(to), text(from))
			}
		})
	}

	t.Run("room behind the document is not written to", func(t *testing.T) {
		all := doc("a=1 b=2 c=3")
		document.ReplaceFields(all[:1], doc("x=9"), []string{"x"})
		document.ReplaceFields(all[:2], doc("b=9"), []string{"a", "b"})
		if got := text(all); got != "a=1 b=2 c=3" {
			t.Errorf("it became %s", got)
		}
	})
}

func TestFind(t *testing.T) {
	fields := doc("a=1 b=2 c=")
	for _, tc := range []struct {
		name, field string
		at          int
		want        []byte
	}{
		{"at its place", "b", 1, []byte("2")},
		{"at another one", "b", 0, []byte("2")},
		{"beyond the end", "a", 99, []byte("1")},
		{"an empty one", "c", 0, []byte{}},
		{"none", "d", 0, nil},
		{"none, by the name of another case", "A", 0, nil},
	} {
		t.Run("a field is found "+tc.name, func(t *testing.T) {
			got := document.Find(fields, tc.field, tc.at)
			if !bytes.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
				t.Errorf("Find(%s, %d) = %q, want %q", tc.field, tc.at, got, tc.want)
			}
		})
	}
	if got := document.Find(nil, "a", 0); got != nil {
		t.Errorf("in no document there is %q", got)
	}
}

func TestPermuted(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"a", "a", true},
		{"ab", "ba", true},
		{"xaby", "xbay", true},
		{"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
		{"\x00\xff", "\xff\x00", true},
		{long + "ab", "ba" + long, true},
		{"a", "b", false},
		{"a", "aa", false},
		{"aab", "abb", false},
		{"", "a", false},
		{long + "a", long + "b", false},
	} {
		if got := document.Permuted([]byte(tc.a), []byte(tc.b)); got != tc.want {
			t.Errorf("Permuted(%.20q, %.20q) = %v", tc.a, tc.b, got)
		}
		if got := document.Permuted([]byte(tc.b), []byte(tc.a)); got != tc.want {
			t.Errorf("Permuted(%.20q, %.20q) = %v", tc.b, tc.a, got)
		}
	}
}
