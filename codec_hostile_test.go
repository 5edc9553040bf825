package sessions_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/jsonfields"
	"github.com/typedsessions/sessions/internal/msgpackcheck"
)

type codecPanic struct{}

func (codecPanic) MarshalText() ([]byte, error) { return []byte("x"), nil }
func (*codecPanic) UnmarshalText([]byte) error  { panic("s3cret") }

// codecAnything has a place for whatever a document may hold.
type codecAnything struct {
	A any                 `json:"a"`
	B []byte              `json:"b"`
	E [4]byte             `json:"e"`
	F float64             `json:"f"`
	I int                 `json:"i"`
	K map[any]any         `json:"k" msgpack:"k"`
	L []any               `json:"l"`
	M map[string]any      `json:"m"`
	N *codecNode          `json:"n"`
	P []*codecItem        `json:"p"`
	Q []codecItem         `json:"q"`
	R map[int]codecItem   `json:"r"`
	S string              `json:"s"`
	T time.Time           `json:"t"`
	U []string            `json:"u"`
	V map[string]string   `json:"v"`
	W json.RawMessage     `json:"w"`
	X fmt.Stringer        `json:"x"`
	Y map[string][]string `json:"y"`
	Z *time.Time          `json:"z"`
}

// codecAnythingJSON is codecAnything without what encoding/json cannot have.
type codecAnythingJSON struct {
	codecAnything
	K map[string]any `json:"k"`
}

func TestCodecArbitraryBytes(t *testing.T) {
	pad := func(s string, n int) string { return strings.Repeat(s, n) }
	jsons := []string{
		"", " ", "null", "[]", "[{}]", "1", `"{}"`, "true", "{", "}", `{"a"`, `{"a":`, `{"a":}`, `{"a":1,}`, "{}{}", "{}x", "{} null",
		`{a:1}`, `{'a':1}`, "{\"a\":\x00}", `{"s":1}`, `{"i":"x"}`, `{"i":1e400}`, `{"t":"yesterday"}`, `{"b":"!"}`, `{"x":1}`,
		`{"a":` + pad("[", 100) + pad("]", 100) + `}`, pad(`{"a":`, 100_000), `{"a":` + pad("[", 100_000),
		`{"n":` + pad(`{"next":`, 100) + "null" + pad("}", 101),
	}
	hexes := []string{
		"", "c0", "90", "01", "a0", "c1", "81", "81a161", "8000", "8080", "81c001", "8101 01", "81c401 61 01",
		"dd ffffffff", "df 000f4240", "c6 ffffffff", "df ffffffff", "de ffff",
		"81a161 dd ffffffff", "81a16d df 000f4240", "81a162 c6 ffffffff", "81a175 dd 000fffff", "81a176 df 000fffff", "81a171 dd 00ffffff",
		"81a161 c9 ffffffff ff", "81a161" + pad("91", 99) + "90", "81a161" + pad("91", 100_000), "81a16e" + pad("81a46e657874", 100) + "c0",
		"81a174 c0", "81a174 d4 ff 00", "81a174 c7 00 ff", "81a174 c9 00000003 ff 000000", "81a174 d5 01 0000", "81a161 d4 ff 00", "81a161 d4 80 00", "81a161 d4 05 00",
		"81a16b 81 90 01", "81a16b 81 80 01", "81a16b 81 c400 01", "81a161 81 01 02", "81a16d 81 c0 d4 80 01",
		"81a16d c7 05 01 df 00ffffff", "81a179 d6 ff df 0000ff", "81a176 d7 ff df 00ffffff 000000", "81a172 c8 0003 01 de ffff",
		"81a178 01", "81a178 a161", "81a165 c4 05 0000000000", "81a165 c6 00000004 00000000 00", "81a16e 91c0", "81a171 91 91 c0", "81a169 cb 0000000000000000", "81a173 01",
	}
	check := func(t *testing.T, c sessions.Codec, data []byte, v any) {
		t.Helper()
		err := c.Unmarshal(data, v) // a type's first document takes what is kept of the type
		if n := codecAllocated(func() { err = c.Unmarshal(data, v) }); n > uint64(32<<10+128*len(data)) {
			t.Errorf("%.40q: %d bytes allocated for %d", data, n, len(data))
		}
		if err == nil {
			t.Errorf("%.40q: no error, %+v", data, v)
		} else if !strings.HasPrefix(err.Error(), "sessions: "+c.Name()+": ") {
			t.Errorf("%.40q: %v", data, err)
		}
		good, err := c.Marshal(&codecItem{"x", 1})
		var got codecItem
		if err := errors.Join(err, c.Unmarshal(good, &got)); err != nil || got != (codecItem{"x", 1}) {
			t.Errorf("%.40q: the next document fails: %v", data, err)
		}
	}
	t.Run("K8 json", func(t *testing.T) {
		for _, s := range jsons {
			check(t, sessions.JSON{}, []byte(s), new(codecAnythingJSON))
		}
	})
	t.Run("K8 msgpack", func(t *testing.T) {
		for _, s := range hexes {
			data, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
			if err != nil {
				t.Fatal(s, err)
			}
			check(t, sessions.MsgPack{}, data, new(codecAnything))
		}
	})
	t.Run("K8 a marshaler of T panics", func(t *testing.T) {
		for _, c := range fieldCodecs {
			type T struct {
				A int        `json:"a"`
				P codecPanic `json:"p"`
			}
			data, err := c.Marshal(&T{A: 1})
			kit.Must(t, err)
			err = c.Unmarshal(data, new(T))
			if err == nil || !strings.Contains(err.Error(), `"p"`) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: got %v", c.Name(), err)
			}
		}
	})
}

// What is legal but grows most: allocation stays a multiple of the length.
func TestCodecAllocationIsBounded(t *testing.T) {
	const n = 64 << 10
	rep := func(s string, count int) []byte { return bytes.Repeat([]byte(s), count) }
	msgpackArray := func(elem string) []byte {
		count := n / len(elem)
		return append([]byte{0xdd, byte(count >> 24), byte(count >> 16), byte(count >> 8), byte(count)}, rep(elem, count)...)
	}
	msgpackMap := func(entry string) []byte {
		b := msgpackArray(entry)
		b[0] = 0xdf
		return b
	}
	behindMany := func(c sessions.FieldCodec, value, name, last string) []byte {
		var fields sessions.Fields
		for i := range n / 8 {
			fields = append(fields, sessions.Field{Name: fmt.Sprint(i), Value: []byte(value)})
		}
		data, err := c.Join(append(fields, sessions.Field{Name: name, Value: []byte(last)}))
		kit.Must(t, err)
		return data
	}
	for _, tc := range []struct {
		name  string
		codec sessions.Codec
		data  []byte
	}{
		{"msgpack nil pointers", sessions.MsgPack{}, append([]byte("\x81\xa1p"), msgpackArray("\xc0")...)},
		{"msgpack nil structs", sessions.MsgPack{}, append([]byte("\x81\xa1q"), msgpackArray("\xc0")...)},
		{"msgpack empty maps", sessions.MsgPack{}, append([]byte("\x81\xa1l"), msgpackArray("\x80")...)},
		{"msgpack maps of one", sessions.MsgPack{}, append([]byte("\x81\xa1l"), msgpackArray("\x81\xa0\xc0")...)},
		{"msgpack one key again and again", sessions.MsgPack{}, append([]byte("\x81\xa1m"), msgpackMap("\xa0\xc0")...)},
		{"msgpack one key in another map", sessions.MsgPack{}, append([]byte("\x81\xa1r"), msgpackMap("\x00\x80")...)},
		{"msgpack empty strings", sessions.MsgPack{}, append([]byte("\x81\xa1u"), msgpackArray("\xa0")...)},
		{"msgpack one field again and again", sessions.MsgPack{}, msgpackMap("\xa1m\x80")},
		{"json empty structs", sessions.JSON{}, []byte(`{"q":[` + string(rep("{},", n/3)) + `{}]}`)},
		{"json empty objects", sessions.JSON{}, []byte(`{"l":[` + string(rep("{},", n/3)) + `{}]}`)},
		{"json objects of one", sessions.JSON{}, []byte(`{"l":[` + string(rep(`{"":0},`, n/7)) + `{}]}`)},
		{"msgpack a bad one behind many fields", sessions.MsgPack{}, behindMany(fieldCodecs[1], "\x00", "t", "\xc0")},
		{"json a bad one behind many fields", sessions.JSON{}, behindMany(fieldCodecs[0], "0", "t", `""`)},
		{"json many fields", sessions.JSON{}, []byte(`{` + string(rep(`"":0,`, n/5)) + `"":0}`)},
	} {
		var v any = new(codecAnything)
		if tc.codec.Name() == "json" {
			v = new(codecAnythingJSON)
		}
		var err error
		used := codecAllocated(func() { err = tc.codec.Unmarshal(tc.data, v) })
		t.Logf("%-38s %5.1f bytes for one, %v", tc.name, float64(used)/float64(len(tc.data)), err)
		if used > uint64(150*len(tc.data)) {
			t.Errorf("%s: %d bytes allocated for %d", tc.name, used, len(tc.data))
		}
	}
}

func codecAllocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCodecErrors(t *testing.T) {
	type T struct {
		A    string    `json:"a"`
		Cart codecItem `json:"cart"`
		At   time.Time `json:"at"`
		Num  int8      `json:"num"`

		By map[string]codecItem `json:"by"`
	}
	for _, tc := range []struct{ doc, path string }{
		{`{"a":"s3cret","cart":{"sku":"s3cret","qty":"s3cret"}}`, "cart"},
		{`{"a":"s3cret","by":{"s3cret":{"sku":7}}}`, "by"}, // whose key Go 1.27 says
		{`{"a":"s3cret","at":"s3cret"}`, "at"},
		{`{"num":53773}`, "num"},
		{`{"a":s3cret}`, ""},
	} {
		err := sessions.JSON{}.Unmarshal([]byte(tc.doc), new(T))
		if err == nil {
			t.Fatalf("%s: no error", tc.doc)
		}
		for e := range codecErrorChain(err) {
			if _, ok := e.(*time.ParseError); !ok && (strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "53773")) {
				t.Errorf("K6 %s: %v tells what is stored", tc.doc, e)
			}
		}
		path := ""
		if p, ok := errors.AsType[interface {
			error
			Path() string
		}](err); ok {
			path = p.Path()
		}
		if path != tc.path {
			t.Errorf("%s: path %q, want %q", tc.doc, path, tc.path)
		}
		te, ok := errors.AsType[*json.UnmarshalTypeError](err)
		if want := tc.path == "cart" || tc.path == "by" || tc.path == "num"; ok != want || ok && te.Field != tc.path {
			t.Errorf("%s: %+v", tc.doc, te)
		}
	}
	data, err := sessions.MsgPack{}.Marshal(&map[string]any{"a": "x", "cart": map[string]any{"qty": "s3cret"}})
	kit.Must(t, err)
	err = sessions.MsgPack{}.Unmarshal(data, new(T))
	if err == nil || !strings.Contains(err.Error(), `"cart"`) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

// codecErrorChain yields err and what it wraps.
func codecErrorChain(err error) func(func(error) bool) {
	return func(yield func(error) bool) {
		for ; err != nil && yield(err); err = errors.Unwrap(err) {
		}
	}
}

// FuzzJSON: whatever a record holds, JSON does not panic, takes objects alone, and what it takes it
// writes again, reads again, and takes apart and puts together without a difference.
func FuzzJSON(f *testing.F) {
	for _, v := range []any{&codecAnythingJSON{}, &codecSession{UserID: "u", Cart: []codecItem{{"x", 1}}, Prefs: map[string]any{"a": 1.5}}, codecChain(3)} {
		data, err := sessions.JSON{}.Marshal(v)
		kit.Must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzCodec[codecAnythingJSON](t, sessions.JSON{}, data, jsonfields.Object)
		var v codecAnythingJSON
		if err := (sessions.JSON{}).Unmarshal(data, &v); err == nil && (!json.Valid(data) || bytes.TrimLeft(data, " \t\r\n")[0] != '{') {
			t.Fatal("takes what is not an object")
		}
	})
}

// FuzzMsgPack: the same of MsgPack.
func FuzzMsgPack(f *testing.F) {
	for _, v := range []any{&codecAnything{}, &codecSession{UserID: "u", Cart: []codecItem{{"x", 1}}, Prefs: map[string]any{"a": 1.5}}, codecChain(3)} {
		data, err := sessions.MsgPack{}.Marshal(v)
		kit.Must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzCodec[codecAnything](t, sessions.MsgPack{}, data, msgpackcheck.Map)
	})
}

func fuzzCodec[T any](t *testing.T, c sessions.FieldCodec, data []byte, walk func([]byte, func(name, value []byte)) error) {
	fields, splitErr := c.Split(data)
	given := bytes.Clone(data)
	var v T
	err := c.Unmarshal(data, &v)
	if !bytes.Equal(data, given) {
		t.Fatal("changes what it is given")
	}
	if err != nil {
		if !strings.HasPrefix(err.Error(), "sessions: "+c.Name()) {
			t.Fatalf("%v", err)
		}
		return
	}
	if splitErr != nil {
		t.Fatalf("decodes what it cannot split: %v", splitErr)
	}
	clear(data) // nothing decoded may be a view
	first, err := c.Marshal(&v)
	if err != nil {
		if strings.Contains(err.Error(), "deeper than") { // an extension read as a map adds its own depth
			return
		}
		t.Fatalf("decodes what it cannot encode: %v", err)
	}
	var again T
	if err := c.Unmarshal(first, &again); err != nil {
		t.Fatalf("cannot decode what it encoded: %v", err)
	}

	copy(data, given)
	names := 0
	_ = walk(data, func(_, _ []byte) { names++ })
	if names != len(fields) {
		return // maps of one name are merged by decoders, replaced by Split
	}
	joined, err := c.Join(fields)
	if err != nil {
		t.Fatalf("cannot join what it split: %v", err)
	}
	back, err := c.Split(joined)
	if err != nil || !reflect.DeepEqual(back, fields) {
		t.Fatalf("split again: got %q, %v, want %q", back, err, fields)
	}
	var w T
	if err := c.Unmarshal(joined, &w); err != nil {
		t.Fatalf("cannot decode what it joined: %v", err)
	}
	// Encodings are compared, for NaN is not NaN; msgpack's have no order.
	if second, err := c.Marshal(&w); err != nil || len(second) != len(first) || c.Name() == "json" && !bytes.Equal(second, first) {
		t.Fatalf("joined: got %q, %v, want %q", second, err, first)
	}
}
