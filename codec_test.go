package sessions_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
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
				kit.Must(t, err)
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
		for _, f := range v.Fields() {
			if f.CanSet() && f.Kind() != reflect.Slice {
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
			kit.Must(t, err)
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
	for _, tc := range []struct {
		codec sessions.FieldCodec
		want  string
	}{
		{sessions.JSON{}, "lang user_id roles views seen cart prefs other"},
		{sessions.MsgPack{}, "lang user_id roles views seen cart prefs elsewhere"},
	} {
		data, err := tc.codec.Marshal(&codecSession{local: 1, Hidden: "h"})
		kit.Must(t, err)
		fields, err := tc.codec.Split(data)
		kit.Must(t, err)
		var names []string
		for _, f := range fields {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.codec.Name(), got, tc.want)
		}
	}
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
			kit.Must(t, err)
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

func TestCodecSplitJoin(t *testing.T) {
	mp := func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		kit.Must(t, err)
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
			kit.Must(t, err)
			var got []string
			for _, f := range fields {
				got = append(got, fmt.Sprintf("%q=%s", f.Name, f.Value))
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %q, want %q", s, tc.want)
			}
			joined, err := tc.codec.Join(fields)
			kit.Must(t, err)
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
			kit.Must(t, err)
			fields, err := c.Split(data)
			kit.Must(t, err)
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
			kit.Must(t, err)
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
