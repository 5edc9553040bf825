package evolution_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/vmihailenco/msgpack/v5"
)

// An unreadable is a record that is no session of T.
type unreadable struct {
	name   string
	stored string
	id     string // that the event must name
}

// unreadableRecords are what K6 and K8 are about.
func unreadableRecords() []unreadable {
	key := func(field, value string) string { return string([]byte{0x81, 0xa0 | byte(len(field))}) + field + value }
	msg := func(v any) string {
		b, err := msgpack.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	full, _ := json.Marshal(kit.Full())
	created := fmt.Sprintf(`"created":%d`, time.Now().UnixMilli())
	rows := []unreadable{
		{"null", "null", ""},
		{"an empty object", "{}", ""},
		{"an empty object on an empty header", "{}\n{}", ""},
		{"null on null", "null\nnull", ""},
		{"a newline", "\n", ""},
		{"a bare payload", string(full), ""},
		{"a payload behind a newline", "\n" + string(full), ""},
		{"a record of express", `{"cookie":{"originalMaxAge":3600000,"expires":"2030-01-01T00:00:00.000Z","httpOnly":true,"path":"/"},"user_id":"SECRET"}`, ""},
		{"a record of PHP", `user_id|s:6:"SECRET";views|i:3;`, ""},
		{"bytes of nothing known", "\x00\xff\xfe\x80\x0a\x0d\x00SECRET", ""},
		{"a header without an ID", `{"w":["a.1"],"c":"json",` + created + "}\n{}", ""},
		{"a header with an empty ID", `{"id":"","w":["a.1"],"c":"json",` + created + "}\n{}", ""},
		{"a header with its ID alone", `{"id":"` + kit.HandID + "\"}\n{}", kit.HandID},
		{"a header without writes", `{"id":"` + kit.HandID + `","c":"json",` + created + "}\n{}", kit.HandID},
		{"a header with no write", `{"id":"` + kit.HandID + `","w":[],"c":"json",` + created + "}\n{}", kit.HandID},
		{"a header without its creation", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"json"}` + "\n{}", kit.HandID},
		{"a header cut off", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"js` + "\n{}", kit.HandID},
		{"a header with something behind it", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"json",` + created + "} x\n{}", kit.HandID},
		{"a creation that is no number", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"json","created":"now"}` + "\n{}", kit.HandID},
		{"a creation beyond every date", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"json","created":9223372036854775807}` + "\n{}", kit.HandID},
		{"a codec that is not known", kit.RecordOf("gob", `{"user_id":"SECRET"}`), kit.HandID},
		{"over MaxSize", kit.RecordOf("json", `{"user_id":"`+strings.Repeat("SECRET", 12<<10)+`"}`), kit.HandID},
		{"a header over MaxSize", `{"id":"` + kit.HandID + `","w":["a.1"],"c":"json",` + created + `,"x":"` + strings.Repeat("x", 70<<10) + "\"}\n{}", kit.HandID},
	}
	for name, payload := range map[string]string{
		"nothing":                        "",
		"a space":                        " ",
		"null":                           "null",
		"true":                           "true",
		"a number":                       "12",
		"a string":                       `"SECRET"`,
		"an array":                       `[{"user_id":"SECRET"}]`,
		"cut off":                        `{"user_id":"SECRET","views":`,
		"half an escape":                 `{"user_id":"SECRET\u12`,
		"a second document":              `{"user_id":"SECRET"} {}`,
		"rubbish behind":                 `{"user_id":"SECRET"}SECRET`,
		"a field of another type":        `{"user_id":"SECRET","views":"SECRET","tags":{"a":"b"}}`,
		"an element of another type":     `{"user_id":"SECRET","cart":[{"sku":"a","qty":1},{"sku":"SECRET","qty":"x"}]}`,
		"a number too large":             `{"user_id":"SECRET","views":99999999999999999999}`,
		"a fraction for an int":          `{"user_id":"SECRET","views":1.5}`,
		"101 levels":                     strings.Repeat(`{"x":`, 101) + "1" + strings.Repeat("}", 101),
		"30000 levels":                   `{"x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + "}",
		"30000 levels that do not close": `{"x":` + strings.Repeat("[", 30000),
	} {
		rows = append(rows, unreadable{"json payload: " + name, kit.RecordOf("json", payload), kit.HandID})
	}
	nested := any(1)
	for range 101 {
		nested = map[string]any{"x": nested}
	}
	for name, payload := range map[string]string{
		"nothing":                      "",
		"nil":                          "\xc0",
		"true":                         "\xc3",
		"a string":                     "\xa6SECRET",
		"an array":                     "\x91\x80",
		"an array that claims 4G":      "\xdd\xff\xff\xff\xff",
		"a map that claims a million":  "\xdf\x00\x0f\x42\x40",
		"bytes that claim 4G":          "\xc6\xff\xff\xff\xff",
		"a field's array claims 4G":    key("cart", "\xdd\xff\xff\xff\xff"),
		"a field's map claims 1M":      key("prefs", "\xdf\x00\x0f\x42\x40"),
		"a field's map claims 4G":      key("tags", "\xdf\xff\xff\xff\xff"),
		"a field's bytes claim 4G":     key("user_id", "\xc6\xff\xff\xff\xff"),
		"a field's string claims 4G":   key("user_id", "\xdb\xff\xff\xff\xff"),
		"an unknown array claims 4G":   key("other", "\xdd\xff\xff\xff\xff"),
		"an unknown ext claims 4G":     key("other", "\xc9\xff\xff\xff\xff\x01"),
		"a name claims 4G":             "\x81\xdb\xff\xff\xff\xff",
		"cut off":                      msg(secretFields())[:30],
		"a second document":            msg(secretFields()) + "\x80",
		"rubbish behind":               msg(secretFields()) + "SECRET",
		"a field of another type":      msg(map[string]any{"user_id": "SECRET", "views": "SECRET"}),
		"an element of another type":   msg(map[string]any{"user_id": "SECRET", "cart": []any{map[string]any{"sku": "a", "qty": "x"}}}),
		"names that are numbers":       msg(map[int]string{1: "SECRET"}),
		"an ext":                       "\xd4\x01\x00",
		"a reserved byte":              "\xc1",
		"a reserved byte in a field":   key("views", "\xc1"),
		"101 levels":                   msg(nested),
		"30000 levels":                 key("x", strings.Repeat("\x91", 30000)+"\xc0"),
		"30000 levels without a floor": key("x", strings.Repeat("\x91", 30000)),
	} {
		rows = append(rows, unreadable{"msgpack payload: " + name, kit.RecordOf("msgpack", payload), kit.HandID})
	}
	return rows
}

// secretFields is a Session by its field names, for a codec that knows no tags.
func secretFields() map[string]any {
	return map[string]any{"user_id": "SECRET", "views": 3, "cart": []any{}, "prefs": map[string]int{"a": 1}}
}
