package record

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// K8: a header that cannot be read is an error that tells what is missing and
// nothing of what is there.
func TestLayoutMalformed(t *testing.T) {
	const secret = "hunter2"
	for _, tt := range []struct {
		name, stored string
		want         error
	}{
		{"empty", "", errNoHeader},
		{"no newline", `{"id":"hunter2","w":["a.1"],"created":5}`, errNoHeader},
		{"null", "null\n", errNoHeader},
		{"a payload alone", "{\"password\":\"hunter2\"}\n", errNoID},
		{"msgpack", "\x81\xa1n\xa7hunter2\n", errNoHeader},
		{"an empty line", "\n{}", errNoHeader},
		{"an empty object", "{}\n{}", errNoID},
		{"a space before", ` {"id":"hunter2","w":["a.1"],"created":5}` + "\n", errNoHeader},
		{"a byte order mark", "\ufeff" + `{"id":"hunter2","w":["a.1"],"created":5}` + "\n", errNoHeader},
		{"spaces within", `{"id": "hunter2","w":["a.1"],"created":5}` + "\n", errHeader},
		{"trailing bytes", `{"id":"hunter2","w":["a.1"],"created":5}x` + "\n", errHeader},
		{"two objects", `{"id":"hunter2","w":["a.1"],"created":5}{}` + "\n", errHeader},
		{"a missing brace", `{"id":"hunter2","w":["a.1"],"created":5` + "\n", errHeader},
		{"a missing comma", `{"id":"hunter2""w":["a.1"],"created":5}` + "\n", errHeader},
		{"a trailing comma", `{"id":"hunter2","w":["a.1"],"created":5,}` + "\n", errHeader},
		{"a leading comma", `{,"id":"hunter2","w":["a.1"],"created":5}` + "\n", errHeader},
		{"a missing colon", `{"id""hunter2","w":["a.1"],"created":5}` + "\n", errHeader},
		{"a missing value", `{"id":"i","hunter2":,"w":["a.1"],"created":5}` + "\n", errHeader},
		{"a name without quotes", `{id:"hunter2","w":["a.1"],"created":5}` + "\n", errHeader},
		{"an unclosed string", `{"id":"hunter2,"w":["a.1"],"created":5}` + "\n", errHeader},
		{"an unclosed array", `{"id":"hunter2","w":["a.1","created":5}` + "\n", errHeader},
		{"an unclosed unknown object", `{"id":"hunter2","w":["a.1"],"created":5,"x":{}` + "\n", errHeader},
		{"an escape at the end", `{"id":"hunter2\` + "\n", errHeader},
		{"no id", `{"w":["hunter2"],"created":5}` + "\n", errNoID},
		{"an empty id", `{"id":"","w":["hunter2"],"created":5}` + "\n", errNoID},
		{"an id that is a number", `{"id":17,"w":["hunter2"],"created":5}` + "\n", errHeader},
		{"an id that is null", `{"id":null,"w":["hunter2"],"created":5}` + "\n", errHeader},
		{"no writes", `{"id":"hunter2","created":5}` + "\n", errNoWrite},
		{"an empty list of writes", `{"id":"hunter2","w":[],"created":5}` + "\n", errNoWrite},
		{"an empty write", `{"id":"hunter2","w":[""],"created":5}` + "\n", errHeader},
		{"writes that are a string", `{"id":"hunter2","w":"a.1","created":5}` + "\n", errHeader},
		{"a trailing comma in writes", `{"id":"hunter2","w":["a.1",],"created":5}` + "\n", errHeader},
		{"no creation time", `{"id":"hunter2","w":["a.1"]}` + "\n", errNoCreated},
		{"a creation time that is a string", `{"id":"i","w":["a.1"],"created":"hunter2"}` + "\n", errHeader},
		{"a creation time that is a fraction", `{"id":"i","w":["a.1"],"created":5.5}` + "\n", errHeader},
		{"a creation time with an exponent", `{"id":"i","w":["a.1"],"created":5e5}` + "\n", errHeader},
		{"a creation time that is null", `{"id":"i","w":["a.1"],"created":null}` + "\n", errHeader},
		{"a creation time that is a minus", `{"id":"i","w":["a.1"],"created":-}` + "\n", errHeader},
		{"a creation time beyond the year 9999", `{"id":"i","w":["a.1"],"created":253402300800000}` + "\n", errHeader},
		{"a creation time before the year 1", `{"id":"i","w":["a.1"],"created":-62135596800001}` + "\n", errHeader},
		{"a creation time of a thousand digits", `{"id":"i","w":["a.1"],"created":` + strings.Repeat("9", 1000) + "}\n", errHeader},
		{"a creation time that wraps around", `{"id":"i","w":["a.1"],"created":18446744073709551616}` + "\n", errHeader},
		{"a sign-in beyond the year 9999", `{"id":"i","w":["a.1"],"created":5,"authenticated":253402300800000}` + "\n", errHeader},
		{"a method that is a number", `{"id":"i","w":["a.1"],"created":5,"method":17}` + "\n", errHeader},
		{"a negative idle timeout", `{"id":"i","w":["a.1"],"created":5,"idle":-1}` + "\n", errHeader},
		{"an idle timeout beyond a Duration", `{"id":"i","w":["a.1"],"created":5,"idle":9223372036855}` + "\n", errHeader},
		{"a negative version", `{"id":"i","w":["a.1"],"created":5,"version":-1}` + "\n", errHeader},
		{"a mark that names nothing", `{"id":"i","w":["a.1"],"created":5,"successor":""}` + "\n", errHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Open([]byte(tt.stored))
			if !errors.Is(err, tt.want) {
				t.Fatalf("%+v, error %v, want %v", r, err, tt.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the record: %v", err)
			}
		})
	}

	t.Run("the id is told where it could be read", func(t *testing.T) {
		r, _ := Open([]byte(`{"id":"i","w":` + "\n"))
		if string(r.ID) != "i" {
			t.Errorf("ID = %q", r.ID)
		}
	})
	t.Run("every proper beginning of a header", func(t *testing.T) {
		stored := Seal(fullRecord())
		end := bytes.IndexByte(stored, '\n')
		for i := range end {
			if _, err := Open(append(stored[:i:i], '\n')); err == nil {
				t.Errorf("opened: %s", stored[:i])
			}
		}
	})
}
