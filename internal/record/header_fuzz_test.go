package record

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
)

// FuzzHeader: no bytes make Open panic or allocate more than a small multiple
// of their number, and what it reads, Seal writes.
func FuzzHeader(f *testing.F) {
	full := Seal(fullRecord())
	f.Add(full)
	f.Add([]byte(`{"x":[],"w":["a.1"],"y":"\n","id":"i\ud83d","created":-5,"z":{}}` + "\n"))
	f.Add([]byte(`{"id":"i","w":["a.1","b.2"],"w":["c.3"],"created":5,"successor":"k","successor":""}` + "\n"))
	f.Add([]byte("{" + strings.Repeat(`"\n":"\n",`, 1000) + "\n"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		before := bytes.Clone(stored)
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		r, err := Open(stored)
		runtime.ReadMemStats(&end)
		// Copies are made of strings with escapes and of scattered unknown
		// fields, growth included; the rest is what the fuzzer itself allocates.
		if got, most := end.TotalAlloc-start.TotalAlloc, uint64(16*len(stored)+64<<10); got > most {
			t.Errorf("%d bytes allocated for a record of %d", got, len(stored))
		}
		if !bytes.Equal(stored, before) {
			t.Error("Open has changed what it was given")
		}
		if err != nil {
			return
		}
		if r.Prefix <= 0 || r.Prefix > len(stored) {
			t.Fatalf("prefix of %d bytes of %d", r.Prefix, len(stored))
		}
		again := Seal(r)
		r2, err := Open(again)
		if err != nil {
			t.Fatalf("sealed as %q: %v", again, err)
		}
		sameRecord(t, r2, r)
		if third := Seal(r2); !bytes.Equal(third, again) {
			t.Errorf("sealed as %q, then as %q", again, third)
		}
	})
}
