package record

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The tests of the library's own Layout. What it writes lies in stores for
// months: the vectors here are the stored format, and change only together
// with a "Stored format" line in CHANGELOG.md.

// fullRecord has something in every field.
func fullRecord() Record {
	return Record{
		ID:            []byte("0b5e6a1e-58c2-4a54-9b6f-2f0f8f3a7a10"),
		Codec:         []byte("json"),
		Owner:         []byte("user-17"),
		Label:         []byte("Firefox on Linux"),
		Writes:        [8][]byte{[]byte("QWERTYUIOPAS.1z"), []byte("ASDFGHJKLZXC.7")},
		Created:       time.UnixMilli(1_700_000_000_123),
		Authenticated: time.UnixMilli(1_700_000_000_456),
		Method:        []byte("passkey"),
		Idle:          15 * time.Minute,
		Version:       3,
		Remembered:    true,
		Successor:     []byte("kUwnTDbKqQ3QfzZ4mJ0GyZ9xg8Kx9o2mRZ2wPsX1f5A"),
		Payload:       []byte(`{"views":1}`),
		Extra:         []byte(`,"geo":{"city":"Bonn, \"am Rhein\""},"n":12345678901234567890`),
	}
}

func TestLayoutStoredFormat(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record Record
		stored string
	}{
		{
			"every field", fullRecord(),
			`{"id":"0b5e6a1e-58c2-4a54-9b6f-2f0f8f3a7a10","w":["QWERTYUIOPAS.1z","ASDFGHJKLZXC.7"],"c":"json",` +
				`"created":1700000000123,"authenticated":1700000000456,"method":"passkey","idle":900000,"version":3,"remembered":true,` +
				`"owner":"user-17","label":"Firefox on Linux","successor":"kUwnTDbKqQ3QfzZ4mJ0GyZ9xg8Kx9o2mRZ2wPsX1f5A",` +
				`"geo":{"city":"Bonn, \"am Rhein\""},"n":12345678901234567890}` + "\n" + `{"views":1}`,
		},
		{
			"an ordinary one",
			Record{
				ID: []byte("i"), Writes: [8][]byte{[]byte("a.1")}, Codec: []byte("msgpack"),
				Created: time.UnixMilli(0), Payload: []byte("\x81\xa1n\x0a\n"),
			},
			`{"id":"i","w":["a.1"],"c":"msgpack","created":0}` + "\n\x81\xa1n\x0a\n",
		},
		{
			"a mark",
			Record{ID: []byte("i"), Writes: [8][]byte{[]byte("a.1")}, Created: time.UnixMilli(5), Successor: []byte("k")},
			`{"id":"i","w":["a.1"],"created":5,"successor":"k"}` + "\n",
		},
		{
			"bytes that JSON escapes",
			Record{
				ID: []byte("a\"b\\c\n\x00\x1f\x7f"), Writes: [8][]byte{[]byte("a.1")}, Created: time.UnixMilli(5),
				Owner: []byte("é\u2028<>&\xff"),
			},
			`{"id":"a\"b\\c\u000a\u0000\u001f` + "\x7f" + `","w":["a.1"],"created":5,"owner":"é` + "\u2028<>&\xff" + `"}` + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stored := Seal(tt.record)
			if string(stored) != tt.stored {
				t.Errorf("stored format changed:\n got %s\nwant %s", stored, tt.stored)
			}
			got, err := Open([]byte(tt.stored))
			if err != nil {
				t.Fatal(err)
			}
			sameRecord(t, got, tt.record)
		})
	}
}

func TestLayoutRoundTrip(t *testing.T) {
	every := make([]byte, 0, 256)
	for c := range 256 {
		every = append(every, byte(c))
	}
	for _, odd := range []string{
		`"`, `\`, `\"`, "\n", "\r\n", "\x00", "\x7f", "\xff", "\xff\n", "\xc3\"", "\xed\xa0\x80\\", "é\n", "\u2028\n",
		`\u000a`, "\U0001F600\"", "a,b}:]{[", " ", strings.Repeat("\x01", 10_000), string(every),
	} {
		r := fullRecord()
		r.ID, r.Owner, r.Label, r.Codec, r.Successor, r.Method = []byte(odd), []byte(odd), []byte(odd), []byte(odd), []byte(odd), []byte(odd)
		r.Writes = [8][]byte{[]byte(odd), []byte("x"), []byte(odd), []byte("x"), []byte("x"), []byte("x"), []byte("x"), []byte(odd)}
		r.Payload = []byte(odd)
		stored := Seal(r)
		if n := bytes.IndexByte(stored, '\n'); n < 0 || string(stored[n+1:]) != odd {
			t.Errorf("%.20q: the header is not one line", odd)
		}
		got, err := Open(stored)
		if err != nil {
			t.Errorf("%.20q: %v", odd, err)
			continue
		}
		sameRecord(t, got, r)
	}
}

// What other writers of JSON may do, and Seal does not.
func TestLayoutOpenEscapes(t *testing.T) {
	const head, tail = `{"id":"i","w":["a.1"],"created":5,"owner":"`, `"}` + "\n"
	for _, tt := range []struct{ owner, want string }{
		{`\b\f\n\r\t\/\\\"`, "\b\f\n\r\t/\\\""},
		{`\u00e9\u00E9`, "éé"},
		{`\ud83d\ude00`, "\U0001F600"},
		{`\ud83d`, "\uFFFD"},
		{`\ud83dx`, "\uFFFDx"},
		{`\ud83d\n`, "\uFFFD\n"},
		{`\ud83d\u0041`, "\uFFFDA"},
		{`\ude00\ud83d`, "\uFFFD\uFFFD"},
	} {
		r, err := Open([]byte(head + tt.owner + tail))
		if err != nil || string(r.Owner) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.owner, r.Owner, err, tt.want)
		}
	}
	for _, bad := range []string{`\x41`, `\u`, `\u004`, `\u00g0`, `\`, `\a`, `\'`} {
		if r, err := Open([]byte(head + bad + tail)); err == nil {
			t.Errorf("%s: opened as %q", bad, r.Owner)
		}
	}
}

// K3: header fields that this build does not know survive, wherever they are.
func TestLayoutExtra(t *testing.T) {
	known := []string{`"id":"i"`, `"w":["a.1"]`, `"c":"json"`, `"created":5`, `"owner":"o"`}
	values := []string{
		`1`, `-1.5e400`, `12345678901234567890`, `"s"`, `"a\"b,}\n"`, `""`, `true`, `null`, `{}`, `[]`,
		`{"a":[1,{"b":"}"}],"c":","}`, `["]",[[]]]`, "\"\xff\"",
	}
	for _, value := range values {
		for at := range len(known) + 1 {
			fields := append([]string{}, known[:at]...)
			fields = append(fields, `"x":`+value, `"id2":`+value)
			fields = append(fields, known[at:]...)
			fields = append(fields, `"y":`+value)
			const want = `"x":%[1]s,"id2":%[1]s,"y":%[1]s`
			stored := []byte("{" + strings.Join(fields, ",") + "}\n{}")
			before := bytes.Clone(stored)
			r, err := Open(stored)
			if err != nil {
				t.Errorf("%s: %v", stored, err)
				continue
			}
			if got := string(r.Extra); got != ","+fmt.Sprintf(want, value) {
				t.Errorf("%s: Extra is %s", stored, got)
			}
			again := Seal(r)
			r2, err := Open(again)
			if err != nil {
				t.Fatalf("%s: %v", again, err)
			}
			sameRecord(t, r2, r)
			if !bytes.HasPrefix(again, []byte(`{"id":"i","w":["a.1"],`)) {
				t.Errorf("sealed as %s", again)
			}
			if !bytes.Equal(stored, before) {
				t.Errorf("Open has changed what it was given: %s", stored)
			}
		}
	}
}

// The first Prefix bytes are what CompareAndSwap compares: two writes that have
// them in common would be taken for one.
func TestLayoutPrefix(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"i", "i\"", "i\\", `i","w":["a.1`, "\xff"} {
		for _, nonce := range []string{"a.1", "a.10", "a.2", "b.1", "a.1\"", `a.1","b`} {
			for _, payload := range []string{"", "{}", strings.Repeat("x", 64<<10)} {
				r := fullRecord()
				r.ID, r.Payload = []byte(id), []byte(payload)
				r.Writes = [8][]byte{[]byte(nonce), []byte("z.9")}
				stored := Seal(r)
				opened, err := Open(stored)
				if err != nil {
					t.Fatal(err)
				}
				write, prefix := id+" "+nonce, string(stored[:opened.Prefix])
				if len(prefix) > 100 {
					t.Errorf("the prefix of %q has %d bytes", write, len(prefix))
				}
				for p, w := range seen {
					if w != write && (strings.HasPrefix(p, prefix) || strings.HasPrefix(prefix, p)) {
						t.Errorf("%q and %q begin alike", w, write)
					}
				}
				if w, ok := seen[prefix]; ok && w != write {
					t.Errorf("one prefix for %q and %q", w, write)
				}
				seen[prefix] = write
			}
		}
	}
	if len(seen) != 5*6 {
		t.Errorf("%d prefixes for 30 writes", len(seen))
	}
}

func TestLayoutOpenAllocates(t *testing.T) {
	r := fullRecord()
	stored := Seal(r)
	var err error
	if got := testing.AllocsPerRun(100, func() { _, err = Open(stored) }); got != 0 || err != nil {
		t.Errorf("Open: %v allocations, %v, want none", got, err)
	}
}

// sameRecord compares two records as the Manager would: nil is empty, a time
// is an instant to the millisecond, Prefix is Open's own.
func sameRecord(t *testing.T, got, want Record) {
	t.Helper()
	norm := func(r Record) Record {
		v := reflect.ValueOf(&r).Elem()
		for _, field := range v.Fields() {
			switch f := field.Addr().Interface().(type) {
			case *[]byte:
				*f = append([]byte{}, *f...)
			case *[8][]byte:
				for i := range f {
					f[i] = append([]byte{}, f[i]...)
				}
			case *time.Time:
				*f = time.UnixMilli(f.UnixMilli()).UTC()
			}
		}
		r.Prefix = 0
		return r
	}
	if got, want := norm(got), norm(want); !reflect.DeepEqual(got, want) {
		t.Errorf("record\n got %q\nwant %q", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}
