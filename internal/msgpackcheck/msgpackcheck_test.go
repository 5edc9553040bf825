package msgpackcheck_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/typedsessions/sessions/internal/msgpackcheck"
	"github.com/vmihailenco/msgpack/v5"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nested returns a map whose only value is a chain of containers, so that n lie inside one another.
func nested(n int, open string) string {
	return "81 a161 " + strings.Repeat(open, n-2) + "90"
}

func TestMap(t *testing.T) {
	for _, tc := range []struct{ doc, want string }{
		{"80", ""},
		{"81 a161 01", ""},
		{"de 0001 a161 01", ""},
		{"df 00000001 d901 61 01", ""},
		{"81 da 0001 61 01", ""},
		{"81 db 00000001 61 01", ""},
		{"81 a0 c0", ""},
		{"82 a161 c2 a161 c3", ""},
		{"81 a161 c403 010203", ""},
		{"81 a161 c8 0001 05 aa", ""},
		{"81 a161 d8 05 00000000000000000000000000000000", ""},
		{"81 a161 92 cb 0000000000000000 81 c0 80", ""},
		{nested(100, "91"), ""},
		{nested(100, "81 01"), ""},

		{"", "value that is truncated at byte 0"},
		{"c0", "not a map at byte 0"},
		{"90", "not a map at byte 0"},
		{"01", "not a map at byte 0"},
		{"a161", "not a map at byte 0"},
		{"c403 80a0c0", "not a map at byte 0"},
		{"80 00", "trailing data at byte 1"},
		{"81 a161 01 80", "trailing data at byte 4"},
		{"81 01 01", "name that is not a string at byte 1"},
		{"81 c401 61 01", "name that is not a string at byte 1"},
		{"81 c0 01", "name that is not a string at byte 1"},
		{"81 a161 c1", "code without a meaning at byte 3"},
		{"c1", "code without a meaning at byte 0"},
		{"81", "value that is truncated at byte 0"},
		{"81 a161", "value that is truncated at byte 3"},
		{"81 a5 6161", "value that is truncated at byte 1"},
		{"81 a161 dd ffffffff", "value that is truncated at byte 3"},
		{"81 a161 df 000f4240", "value that is truncated at byte 3"},
		{"81 a161 df ffffffff", "value that is truncated at byte 3"},
		{"81 a161 c6 ffffffff", "value that is truncated at byte 3"},
		{"81 a161 c9 ffffffff 01", "value that is truncated at byte 3"},
		{"81 a161 db ffffffff", "value that is truncated at byte 3"},
		{"81 a161 dc 0002 01", "value that is truncated at byte 3"},
		{"81 a161 92 01", "value that is truncated at byte 3"},
		{"81 a161 92 91 01", "value that is truncated at byte 6"},
		{"81 a161 81 01", "value that is truncated at byte 3"},
		{"81 a161 cb 00000000000000", "value that is truncated at byte 3"},
		{"81 a161 d4", "value that is truncated at byte 3"},
		{"81 a161 d4 01", "value that is truncated at byte 3"},
		{"dd ffffffff", "value that is truncated at byte 0"},
		{"df 000f4240", "value that is truncated at byte 0"},
		{"df ffffffff", "value that is truncated at byte 0"},
		{nested(101, "91"), "nesting deeper than 100 at byte 102"},
		{nested(101, "81 01"), "nesting deeper than 100 at byte 201"},
		{"81 a161" + strings.Repeat("91", 100000), "nesting deeper than 100 at byte 102"},
	} {
		got := ""
		if err := msgpackcheck.Map(unhex(t, tc.doc), nil); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%.60s: got %q, want %q", tc.doc, got, tc.want)
		}
	}
}

// Every proper prefix of a document is refused, and so is a document with a byte behind it.
func TestMapTruncated(t *testing.T) {
	doc, err := msgpack.Marshal(map[string]any{
		"a": []any{1, -70000, "x", nil, true, 1.5, strings.Repeat("y", 300)},
		"b": map[string]any{"c": []byte("z"), "d": map[string]any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := msgpackcheck.Map(doc, nil); err != nil {
		t.Fatal(err)
	}
	for i := range doc {
		if msgpackcheck.Map(doc[:i:i], nil) == nil {
			t.Errorf("accepts the first %d of %d bytes", i, len(doc))
		}
	}
	for c := range 256 {
		if msgpackcheck.Map(append(doc[:len(doc):len(doc)], byte(c)), nil) == nil {
			t.Errorf("accepts %#02x behind the document", c)
		}
	}
}

func TestMapFields(t *testing.T) {
	doc := unhex(t, "83 a161 92 01 02 a0 c0 d901 62 d6 ff 00000000")
	got := ""
	if err := msgpackcheck.Map(doc, func(name, value []byte) { got += fmt.Sprintf("%q=%x ", name, value) }); err != nil {
		t.Fatal(err)
	}
	if want := `"a"=920102 ""=c0 "b"=d6ff00000000 `; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMapDoesNotAllocate(t *testing.T) {
	doc := unhex(t, "82 a161 92 01 02 a162 81 a163 80")
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		_ = msgpackcheck.Map(doc, func(_, value []byte) { n += len(value) })
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A decoder that wants a map steps into the body of an extension, which Map takes as it is.
func TestDecodeExtensionAsMap(t *testing.T) {
	type T struct {
		Any   map[string]any    `json:"a"`
		Str   map[string]string `json:"s"`
		Typed map[string]int    `json:"t"`
	}
	for _, tc := range []struct{ name, ext string }{
		{"ext 8, map 32", "c7 05 01 df 00ffffff"},
		{"fixext 8, a time of 0.93 s", "d7 ff df 00ffffff 000000"},
		{"fixext 4, a time of 2088", "d6 ff df 0000ff"},
		{"ext 16, map 16", "c8 0003 01 de ffff"},
		{"ext 32, map 16", "c9 00000003 01 de ffff"},
		{"fixext 1, one entry that lies behind it", "d4 01 81"},
		{"a whole map, then arrays", "c7 0d 01 81 a0 dd 00ffffff dd 00fffff0 c0"},
		{"a deep one", "c8 0100 01 81 a0" + strings.Repeat("91", 253) + "90"},
		{"an extension in it", "c7 05 01 81 a0 d4 01 81"},
	} {
		for _, field := range "ast" {
			doc := unhex(t, fmt.Sprintf("82 a1%02x %s a178 a179", field, tc.ext))
			if err := msgpackcheck.Map(doc, nil); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			var err error
			if n := allocated(func() { err = msgpackcheck.Decode(doc, new(T)) }); n > 32<<10 {
				t.Errorf("%s into %c: %d bytes allocated for %d", tc.name, field, n, len(doc))
			}
			if err == nil {
				t.Errorf("%s into %c: no error", tc.name, field)
			}
		}
	}
}

type stamp struct{ A, B int }

// A decoder of an application's extension may read its body as msgpack.
func TestDecodeExtensionOfApplication(t *testing.T) {
	doc := unhex(t, "82 a153 c7 04 4d 05 cd 0102 a154 07")
	type T struct {
		S stamp
		T int
	}
	read := func(d *msgpack.Decoder) (s stamp, err error) {
		if s.A, err = d.DecodeInt(); err == nil {
			s.B, err = d.DecodeInt()
		}
		return s, err
	}
	r := new(msgpackcheck.Reader)
	r.Reset(doc)
	d := msgpack.NewDecoder(r)
	var got T
	err := func() error {
		if _, err := d.DecodeMapLen(); err != nil {
			return err
		}
		if _, err := d.DecodeString(); err != nil {
			return err
		}
		if _, _, err := d.DecodeExtHeader(); err != nil {
			return err
		}
		var err error
		if got.S, err = read(d); err != nil {
			return err
		}
		if _, err := d.DecodeString(); err != nil {
			return err
		}
		got.T, err = d.DecodeInt()
		return err
	}()
	if want := (T{stamp{5, 258}, 7}); err != nil || got != want || r.Len() != 0 {
		t.Errorf("got %v, %v, %d bytes left", got, err, r.Len())
	}
}

func TestEncode(t *testing.T) {
	encode := func(raw string) error {
		_, err := msgpackcheck.Encode(nil, func(_ *msgpack.Encoder, w *msgpackcheck.Writer) error {
			for _, c := range unhex(t, raw) { // byte by byte, as no encoder does
				if err := w.WriteByte(c); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	for _, tc := range []struct{ raw, want string }{
		{"80", ""},
		{"82 a161 cd 0102 a162 c7 03 05 c1c1c1", ""},
		{"de 0001 a161 92 80 90", ""},
		{nested(100, "91"), ""},
		{"", "value that is truncated at byte 0"},
		{"81 a161", "value that is truncated at byte 3"},
		{"81 a161 c4 05 00", "value that is truncated at byte 6"},
		{"91 80", "not a map at byte 0"},
		{"80 80", "trailing data at byte 1"},
		{"81 01 02", "name that is not a string at byte 1"},
		{"81 a161 c1", "code without a meaning at byte 3"},
		{nested(101, "91"), "nesting deeper than 100, or a value that refers to itself, at byte 102"},
	} {
		got := ""
		if err := encode(tc.raw); err != nil {
			got = err.Error()
			if _, ok := errors.AsType[*msgpackcheck.Error](err); !ok {
				t.Errorf("%.60s: %T", tc.raw, err)
			}
		}
		if got != tc.want {
			t.Errorf("%.60s: got %q, want %q", tc.raw, got, tc.want)
		}
		if ok := msgpackcheck.Map(unhex(t, tc.raw), nil) == nil; ok != (tc.want == "") {
			t.Errorf("%.60s: Map and Encode disagree", tc.raw)
		}
	}
}

// FuzzMap compares Map with the walk of the msgpack package, which interprets nothing, and with Writer.
func FuzzMap(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		var names, values int
		err := msgpackcheck.Map(data, func(name, value []byte) {
			names++
			values += len(name) + len(value)
			d := msgpack.NewDecoder(bytes.NewReader(value))
			if err := d.Skip(); err != nil {
				t.Fatalf("a value of an accepted document: %v", err)
			}
		})
		if e, ok := errors.AsType[*msgpackcheck.Error](err); ok {
			if e.At < 0 || e.At > len(data) {
				t.Fatalf("offset %d of %d", e.At, len(data))
			}
			if strings.HasPrefix(e.What, "nesting") {
				return
			}
		}
		r := bytes.NewReader(data)
		d := msgpack.NewDecoder(r)
		isMap := false
		if len(data) > 0 {
			isMap = data[0]&0xf0 == 0x80 || data[0] == 0xde || data[0] == 0xdf
		}
		whole := d.Skip() == nil && r.Len() == 0 && isMap
		if err == nil {
			if !whole {
				t.Fatal("accepts what msgpack does not read as one map")
			}
			if values > len(data) {
				t.Fatalf("views hold %d of %d bytes", values, len(data))
			}
			var raw map[string]msgpack.RawMessage
			if msgpack.Unmarshal(data, &raw) == nil && len(raw) > names {
				t.Fatalf("%d names, msgpack finds %d", names, len(raw))
			}
		} else if whole && !strings.HasPrefix(err.Error(), "name that") {
			t.Fatalf("refuses what msgpack reads: %v", err)
		}
		var w msgpackcheck.Writer
		_, werr := w.Write(data)
		if werr == nil {
			_, werr = w.Bytes()
		}
		if (werr == nil) != (err == nil) {
			t.Fatalf("Map: %v, Writer: %v", err, werr)
		}
	})
}
