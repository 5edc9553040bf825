package jsonfields_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/jsonfields"
)

func TestObject(t *testing.T) {
	nested := func(n int, open, shut string) string {
		return `{"a":` + strings.Repeat(open, n-1) + strings.Repeat(shut, n-1) + `}`
	}
	for _, tc := range []struct{ doc, fields, err string }{
		{`{}`, ``, ``},
		{" {\n} \t", ``, ``},
		{`{"a":1,"b":[1,{"c":","}],"a":"}"}`, `a=1 b=[1,{"c":","}] a="}" `, ``},
		{` { "a" : 1.50 , "" : "\"" } `, `a=1.50 ="\"" `, ``},
		{`{"a\"b":1,"\u00e9\n":2,"é":3,"\ud800":4}`, "a\"b=1 é\n=2 é=3 \ufffd=4 ", ``},
		{"{\"\xff\":\"\xfe\"}", "\xff=\"\xfe\" ", ``},
		{nested(100, "[", "]"), "a=" + strings.Repeat("[", 99) + strings.Repeat("]", 99) + " ", ``},

		{``, ``, `empty`},
		{" \n", ``, `empty`},
		{`null`, ``, `not an object`},
		{`[{}]`, ``, `not an object`},
		{`"{}"`, ``, `not an object`},
		{`1`, ``, `not an object`},
		{`{`, ``, `truncated object`},
		{`{"a":[}`, ``, `truncated object`},
		{`{"a`, ``, `truncated string at byte 1`},
		{`{"a\"`, ``, `truncated string at byte 1`},
		{`{"a\`, ``, `truncated string at byte 1`},
		{`{}{}`, ``, `trailing data at byte 2`},
		{`{} x`, ``, `trailing data at byte 2`},
		{nested(101, "[", "]"), ``, `deeper than 100 at byte 104`},
		{nested(101, `{"b":`, "}"), ``, `deeper than 100 at byte 500`},
		{strings.Repeat(`{"":`, 100000), ``, `deeper than 100 at byte 400`},
	} {
		fields, msg := "", ""
		err := jsonfields.Object([]byte(tc.doc), func(name, value []byte) { fields += fmt.Sprintf("%s=%s ", name, value) })
		if err != nil {
			msg, fields = err.Error(), ""
		}
		if msg != tc.err || fields != tc.fields {
			t.Errorf("%.40s: got %s %q, want %s %q", tc.doc, fields, msg, tc.fields, tc.err)
		}
	}
}

func TestObjectDoesNotAllocate(t *testing.T) {
	doc := []byte(`{"a":1,"b":{"c":[2,3]},"d":"e"}`)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		_ = jsonfields.Object(doc, func(name, value []byte) { n += len(name) + len(value) })
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestAppendName(t *testing.T) {
	for _, name := range []string{"", "a", "a b", `"`, `\`, "\x00\n", "é", "\xff", "<&>", "\u2028"} {
		doc := append(jsonfields.AppendName([]byte("{"), name), ":1}"...)
		if !json.Valid(doc) {
			t.Errorf("%q: %s is not valid", name, doc)
		}
		if err := jsonfields.Object(doc, func(got, _ []byte) {
			if string(got) != name {
				t.Errorf("%q comes back as %q", name, got)
			}
		}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzObject compares Object with encoding/json where that reads the data, and otherwise only asks it
// to survive.
func FuzzObject(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		got := make(map[string][]byte)
		err := jsonfields.Object(data, func(name, value []byte) { got[string(name)] = value })
		if !json.Valid(data) {
			return
		}
		if isObject := bytes.TrimLeft(data, " \t\r\n")[0] == '{'; (err == nil) != isObject {
			if err == nil || !strings.HasPrefix(err.Error(), "deeper") {
				t.Fatalf("object %t: %v", isObject, err)
			}
		}
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		for name, value := range got {
			plain := strings.ToValidUTF8(name, "\ufffd")
			if plain == name && !bytes.Equal(want[name], value) {
				t.Fatalf("%q is %q, encoding/json has %q", name, value, want[name])
			}
		}
		if len(got) < len(want) {
			t.Fatalf("%d names, encoding/json has %d", len(got), len(want))
		}
	})
}

// Strings of nothing but escapes take as long as others: if each escape looked
// for the end of the string again, this would take hours.
func TestObjectEscapes(t *testing.T) {
	const n = 1 << 20
	for _, escape := range []string{`\u0000`, `\\`, `\n`} {
		data := []byte(`{"a":"` + strings.Repeat(escape, n) + `","b":"\"\\\"","c":"\\"}`)
		var got []string
		if err := jsonfields.Object(data, func(name, value []byte) { got = append(got, string(name)) }); err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "") != "abc" {
			t.Errorf("%s: members %q", escape, got)
		}
	}
}
