package sessions_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

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
