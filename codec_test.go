package sessions_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

var fieldCodecs = []sessions.FieldCodec{sessions.JSON{}, sessions.MsgPack{}}

type codecItem struct {
	SKU string `json:"sku"`
	Qty int    `json:"qty"`
}

type codecBase struct {
	Lang string `json:"lang"`
}

type codecSession struct {
	codecBase
	UserID string         `json:"user_id"`
	Roles  []string       `json:"roles"`
	Views  int            `json:"views"`
	Seen   time.Time      `json:"seen"`
	Cart   []codecItem    `json:"cart"`
	Prefs  map[string]any `json:"prefs"`
	Note   string         `json:"note,omitempty"`
	Other  string         `json:"other" msgpack:"elsewhere"`
	Hidden string         `json:"-"`
	local  int
}

// codecNode can refer to itself.
type codecNode struct {
	V    int        `json:"v"`
	Next *codecNode `json:"next"`
}

func codecChain(n int) *codecNode {
	var first *codecNode
	for i := range n {
		first = &codecNode{V: i, Next: first}
	}
	return first
}

func codecRing() *codecNode {
	n := new(codecNode)
	n.Next = n
	return n
}

// codecArray encodes to what is not an object, codecPanic fails by panic.
type codecArray struct{ A int }

func (codecArray) MarshalJSON() ([]byte, error) { return []byte(`[1]`), nil }
func (codecArray) MarshalText() ([]byte, error) { return []byte(`1`), nil }

type codecPanic struct{}

func (codecPanic) MarshalText() ([]byte, error) { return []byte("x"), nil }
func (*codecPanic) UnmarshalText([]byte) error  { panic("s3cret") }

func TestCodecRoundTrip(t *testing.T) {
	utc := time.Date(2026, 3, 29, 1, 30, 0, 931_135_488, time.UTC) // begins like a map 16 in msgpack
	five := 5
	for _, tc := range []struct {
		name string
		in   any // a *T
		want any // nil: as it was
	}{
		{"empty T", &codecSession{}, nil},
		{"whole T", &codecSession{
			codecBase: codecBase{"en"}, UserID: "u", Roles: []string{"a", ""}, Views: -1, Seen: utc,
			Cart: []codecItem{{"x", 1}, {}}, Prefs: map[string]any{"dark": true, "size": 1.5, "no": nil, "l": []any{"x"}},
			Note: "n", Other: "o",
		}, nil},
		{"what is not stored", &codecSession{Hidden: "h", local: 1}, &codecSession{}},
		{"time zero", &struct{ V time.Time }{}, nil},
		{"time in UTC", &struct{ V time.Time }{utc}, nil},
		{"time before 1970", &struct{ V time.Time }{time.Date(1815, 12, 10, 0, 0, 0, 1, time.UTC)}, nil},
		{"time after 2106", &struct{ V time.Time }{time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		{"time nil", &struct{ V *time.Time }{}, nil},
		{"time in a map", &struct{ V map[string]*time.Time }{map[string]*time.Time{"x": &utc}}, nil},
		{"duration", &struct{ V time.Duration }{time.Hour}, nil},
		{"[]byte nil", &struct{ V []byte }{}, nil},
		{"[]byte empty", &struct{ V []byte }{[]byte{}}, nil},
		{"[]byte", &struct{ V []byte }{[]byte("a\x00\xff")}, nil},
		{"array of bytes", &struct{ V [3]byte }{[3]byte{1, 2, 255}}, nil},
		{"slice nil", &struct{ V []int }{}, nil},
		{"slice empty", &struct{ V []int }{[]int{}}, nil},
		{"[]string nil", &struct{ V []string }{}, nil},
		{"[]string empty", &struct{ V []string }{[]string{}}, nil},
		{"slices in slices", &struct{ V [][]byte }{[][]byte{nil, {}, {1}}}, nil},
		{"map nil", &struct{ V map[string]int }{}, nil},
		{"map empty", &struct{ V map[string]int }{map[string]int{}}, nil},
		{"map", &struct{ V map[string]int }{map[string]int{"": 1, "b": 2}}, nil},
		{"map of ints", &struct{ V map[int][]string }{map[int][]string{-1: {"x"}, 2: nil}}, nil},
		{"pointer nil", &struct{ V *int }{}, nil},
		{"pointer", &struct{ V *int }{&five}, nil},
		{"pointer to zero", &struct{ V *string }{new(string)}, nil},
		{"pointers in a slice", &struct{ V []*codecItem }{[]*codecItem{nil, {"x", 1}}}, nil},
		{"recursive", codecChain(5), nil},
		{"as deep as can be", codecChain(100), nil},
		{"integers", &struct {
			A uint64
			B int64
			C int8
			D uint16
		}{math.MaxUint64, math.MinInt64, -128, 65535}, nil},
		{"floats", &struct {
			A, B float64
			C    float32
		}{math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1}, nil},
		{"strings", &struct{ A, B string }{"<a&b>\u2028é\x00\"\\", strings.Repeat("long ", 20_000)}, nil},
		{"any", &struct{ A, B, C, D any }{nil, "x", 1.5, false}, nil},
		{"raw JSON", &struct{ V json.RawMessage }{json.RawMessage(`{"a":1.00}`)}, nil},
		{"empty struct", &struct{}{}, nil},
	} {
		if tc.want == nil {
			tc.want = tc.in
		}
		for _, c := range fieldCodecs {
			t.Run("K1 "+c.Name()+" "+tc.name, func(t *testing.T) {
				data, err := c.Marshal(tc.in)
				if err != nil {
					t.Fatal(err)
				}
				got := reflect.New(reflect.TypeOf(tc.in).Elem()).Interface()
				if err := c.Unmarshal(data, got); err != nil {
					t.Fatal(err)
				}
				codecInUTC(reflect.ValueOf(got))
				if !reflect.DeepEqual(got, tc.want) {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
				if len(data) > 0 && data[len(data)-1] == '\n' {
					t.Error("ends in a newline")
				}
			})
		}
	}
}

// codecInUTC puts each time below v into UTC: MsgPack reads them as local ones.
func codecInUTC(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			codecInUTC(v.Elem())
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			codecInUTC(v.MapIndex(k))
		}
	case reflect.Struct:
		if at, ok := v.Addr().Interface().(*time.Time); ok {
			*at = at.UTC()
			return
		}
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && f.Kind() != reflect.Slice {
				codecInUTC(f)
			}
		}
	}
}

func TestCodecTimes(t *testing.T) {
	type T struct{ V time.Time }
	for _, at := range []time.Time{time.Now(), time.Date(2026, 1, 1, 0, 0, 0, 1, time.FixedZone("x", 5400))} {
		for _, c := range fieldCodecs {
			data, err := c.Marshal(&T{at})
			if err != nil {
				t.Fatal(err)
			}
			var got T
			if err := c.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if !got.V.Equal(at) {
				t.Errorf("%s: got %v, want the instant %v", c.Name(), got.V, at)
			}
			if again, _ := c.Marshal(&got); !bytes.Equal(again, data) {
				t.Errorf("%s: the time read is written differently", c.Name())
			}
		}
	}
}

func TestCodecTags(t *testing.T) {
	for _, tc := range []struct{ codec, want string }{
		{"json", "lang user_id roles views seen cart prefs other"},
		{"msgpack", "lang user_id roles views seen cart prefs elsewhere"},
	} {
		c := fieldCodecs[0]
		if tc.codec == "msgpack" {
			c = fieldCodecs[1]
		}
		data, err := c.Marshal(&codecSession{local: 1, Hidden: "h"})
		if err != nil {
			t.Fatal(err)
		}
		fields, err := c.Split(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := codecNames(fields); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.codec, got, tc.want)
		}
	}
}

func codecNames(fields sessions.Fields) string {
	var s []string
	for _, f := range fields {
		s = append(s, f.Name)
	}
	return strings.Join(s, " ")
}

func TestCodecBytes(t *testing.T) {
	t.Run("JSON is not escaped for HTML", func(t *testing.T) {
		data, err := sessions.JSON{}.Marshal(&struct{ V string }{"<a&b>"})
		if err != nil || string(data) != `{"V":"<a&b>"}` {
			t.Errorf("got %s, %v", data, err)
		}
	})
	t.Run("MsgPack by its specification", func(t *testing.T) {
		data, err := sessions.MsgPack{}.Marshal(&struct {
			A int
			B []string
			C any
		}{A: 1, B: []string{"x"}, C: int64(300)})
		if want := "83a14101a14291a178a143cd012c"; err != nil || hex.EncodeToString(data) != want {
			t.Errorf("got %x, %v, want %s", data, err, want)
		}
	})
	t.Run("K5 maps of strings, bools and any are sorted", func(t *testing.T) {
		type T struct {
			S map[string]string
			B map[string]bool
			A map[string]any
		}
		v := T{map[string]string{}, map[string]bool{}, map[string]any{}}
		for i := range 20 {
			k := fmt.Sprint("k", i)
			v.S[k], v.B[k], v.A[k] = k, true, map[string]any{"x": i, "y": int64(-i), "z": uint16(i)}
		}
		for _, c := range fieldCodecs {
			first, err := c.Marshal(&v)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				var got T
				if err := c.Unmarshal(first, &got); err != nil {
					t.Fatal(err)
				}
				if again, _ := c.Marshal(&got); !bytes.Equal(again, first) {
					t.Fatalf("%s: what was read is written differently", c.Name())
				}
			}
		}
	})
}

func TestCodecMarshalRefuses(t *testing.T) {
	for _, tc := range []struct {
		name          string
		v             any
		json, msgpack string // in the error
	}{
		{"a ring", codecRing(), "cycle", "refers to itself"},
		{"too deep a value", codecChain(101), "deeper than 100", "deeper than 100"},
		{"a map in itself", func() any {
			m := map[string]any{}
			m["x"] = []any{m}
			return &struct{ M map[string]any }{m}
		}(), "cycle", "refers to itself"},
		{"a marshaler of something else", &codecArray{}, "not an object", "not a map"},
		{"a channel", &struct{ C chan int }{}, "chan int", "chan int"},
		{"a nil T", (*codecSession)(nil), "not an object", "not a map"},
	} {
		for _, c := range fieldCodecs {
			want := tc.json
			if c.Name() == "msgpack" {
				want = tc.msgpack
			}
			_, err := c.Marshal(tc.v)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "sessions: "+c.Name()) {
				t.Errorf("%s, %s: got %v", c.Name(), tc.name, err)
			}
			if data, err := c.Marshal(&codecItem{"x", 1}); err != nil || c.Unmarshal(data, new(codecItem)) != nil {
				t.Errorf("%s, %s: the next one fails", c.Name(), tc.name)
			}
		}
	}
}

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
		var err error
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
			if err != nil {
				t.Fatal(err)
			}
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
		if err != nil {
			t.Fatal(err)
		}
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
	}
	for _, tc := range []struct{ doc, path string }{
		{`{"a":"s3cret","cart":{"sku":"s3cret","qty":"s3cret"}}`, "cart.qty"},
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
		if want := tc.path == "cart.qty" || tc.path == "num"; ok != want || ok && te.Field != tc.path {
			t.Errorf("%s: %+v", tc.doc, te)
		}
	}
	data, err := sessions.MsgPack{}.Marshal(&map[string]any{"a": "x", "cart": map[string]any{"qty": "s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
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

func TestCodecSplitJoin(t *testing.T) {
	mp := func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tc := range []struct {
		name  string
		codec sessions.FieldCodec
		data  string
		want  string // names and values
		join  string // "": as it was
	}{
		{"nothing", fieldCodecs[0], `{}`, ``, ``},
		{"the order is kept", fieldCodecs[0], `{"b":1,"a":{"c":[]},"":null}`, `"b"=1 "a"={"c":[]} ""=null`, ``},
		{"K3 numbers keep their digits", fieldCodecs[0], `{"a":1.00,"b":12345678901234567890123,"c":1e2}`, `"a"=1.00 "b"=12345678901234567890123 "c"=1e2`, ``},
		{"white space goes", fieldCodecs[0], " { \"a\" :\n1 , \"b\":[ 2 ] }\n", `"a"=1 "b"=[ 2 ]`, `{"a":1,"b":[ 2 ]}`},
		{"the last one counts", fieldCodecs[0], `{"a":1,"b":2,"a":3}`, `"a"=3 "b"=2`, `{"a":3,"b":2}`},
		{"names with escapes", fieldCodecs[0], `{"\u0061\"\\\n":1,"<":2}`, `"a\"\\\n"=1 "<"=2`, `{"a\"\\\n":1,"<":2}`},
		{"names that differ by case", fieldCodecs[0], `{"a":1,"A":2}`, `"a"=1 "A"=2`, ``},
		{"names that are not UTF-8", fieldCodecs[0], "{\"\xff\":1,\"\xfe\":2}", `"\xff"=1 "\xfe"=2`, ``},
		{"nothing", fieldCodecs[1], mp("80"), ``, ``},
		{"the order is kept", fieldCodecs[1], mp("83 a162 01 a161 81 a163 90 a0 c0"), mp("226222 3d 01 20 226122 3d 81a16390 20 2222 3d c0"), ``},
		{"K3 numbers keep their width", fieldCodecs[1], mp("82 a161 d3 0000000000000001 a162 ca 3f800000"), mp("226122 3d d30000000000000001 20 226222 3d ca3f800000"), ``},
		{"the last one counts", fieldCodecs[1], mp("83 a161 01 a162 02 a161 03"), mp("226122 3d 03 20 226222 3d 02"), mp("82 a161 03 a162 02")},
		{"names of any width", fieldCodecs[1], mp("81 db 00000001 61 01"), mp("226122 3d 01"), mp("81 a161 01")},
	} {
		t.Run(tc.codec.Name()+" "+tc.name, func(t *testing.T) {
			fields, err := tc.codec.Split([]byte(tc.data))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range fields {
				got = append(got, fmt.Sprintf("%q=%s", f.Name, f.Value))
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %q, want %q", s, tc.want)
			}
			joined, err := tc.codec.Join(fields)
			if err != nil {
				t.Fatal(err)
			}
			if tc.join == "" {
				tc.join = tc.data
			}
			if string(joined) != tc.join {
				t.Errorf("joined: got %q, want %q", joined, tc.join)
			}
		})
	}

	for _, c := range fieldCodecs {
		t.Run(c.Name()+" of a T", func(t *testing.T) {
			in := codecSession{UserID: "u", Cart: []codecItem{{"x", 1}}, Prefs: map[string]any{"a": "b"}}
			data, err := c.Marshal(&in)
			if err != nil {
				t.Fatal(err)
			}
			fields, err := c.Split(data)
			if err != nil {
				t.Fatal(err)
			}
			joined, err := c.Join(fields)
			if err != nil || !bytes.Equal(joined, data) {
				t.Errorf("got %q, %v, want %q", joined, err, data)
			}
			clear(data)
			for _, f := range fields {
				if len(bytes.Trim(f.Value, "\x00")) > 0 {
					t.Errorf("%s is a copy", f.Name)
				}
			}
			var got codecSession
			if err := c.Unmarshal(joined, &got); err != nil || got.UserID != "u" {
				t.Errorf("got %+v, %v: what Join returned is not its own", got, err)
			}
		})
		t.Run(c.Name()+" of many fields", func(t *testing.T) {
			var fields sessions.Fields
			for i := range 20_000 {
				fields = append(fields, sessions.Field{Name: fmt.Sprint(i), Value: []byte("1")}) // 0x31 is 49 in msgpack
			}
			data, err := c.Join(fields)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Split(append(data[:len(data):len(data)], nil...))
			if err != nil || !reflect.DeepEqual(got, fields) {
				t.Errorf("%d fields, %v", len(got), err)
			}
		})
		t.Run(c.Name()+" refuses", func(t *testing.T) {
			for _, s := range []string{"", "null", "[]", "{", `{"a":tru}`, "{}{}", "\xc0", "\x90", "\x81", "\x80\x80", "\x81\xa1a", "\x81\x01\x01", "\x81\xa1a\xdd\xff\xff\xff\xff"} {
				if fields, err := c.Split([]byte(s)); err == nil {
					t.Errorf("splits %q into %v", s, fields)
				}
			}
			for _, v := range []string{"", `{"`, "\x91", "1,", "\x01\x01", "\xc1"} {
				if data, err := c.Join(sessions.Fields{{Name: "a", Value: []byte(v)}}); err == nil {
					t.Errorf("joins the value %q into %q", v, data)
				}
			}
		})
	}
}

func TestCodecConcurrentUse(t *testing.T) {
	for _, c := range fieldCodecs {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 200 {
					in := codecSession{UserID: fmt.Sprint(i, j), Roles: []string{fmt.Sprint(j)}, Prefs: map[string]any{"i": fmt.Sprint(i)}}
					data, err := c.Marshal(&in)
					if err != nil {
						t.Error(err)
						return
					}
					if j%3 == 0 {
						_ = c.Unmarshal(data[:len(data)-1], new(codecSession))
						_ = c.Unmarshal(data, new(struct {
							Roles int `json:"roles"`
						}))
					}
					var got codecSession
					if err := c.Unmarshal(data, &got); err != nil || got.UserID != in.UserID || got.Prefs["i"] != in.Prefs["i"] {
						t.Errorf("%s: got %+v, %v", c.Name(), got, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkCodec(b *testing.B) {
	type T struct {
		UserID string      `json:"user_id"`
		Email  string      `json:"email"`
		Roles  []string    `json:"roles"`
		Views  int         `json:"views"`
		Seen   time.Time   `json:"seen"`
		Cart   []codecItem `json:"cart"`
	}
	v := &T{"u1234567", "a@example.com", []string{"admin", "staff"}, 17, time.Now(), []codecItem{{"a-1", 1}, {"b-2", 2}, {"c-3", 3}}}
	for _, c := range fieldCodecs {
		data, err := c.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.Name()+"/marshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "bytes")
		})
		b.Run(c.Name()+"/unmarshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Unmarshal(data, new(T)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.Name()+"/split", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Split(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
