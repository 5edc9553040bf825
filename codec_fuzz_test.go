package sessions_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/jsonfields"
	"github.com/typedsessions/sessions/internal/msgpackcheck"
)

// FuzzJSON: whatever a record holds, JSON does not panic, takes objects alone, and what it takes it
// writes again, reads again, and takes apart and puts together without a difference.
func FuzzJSON(f *testing.F) {
	for _, v := range []any{&codecAnythingJSON{}, &codecSession{UserID: "u", Cart: []codecItem{{"x", 1}}, Prefs: map[string]any{"a": 1.5}}, codecChain(3)} {
		data, err := sessions.JSON{}.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
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
		if err != nil {
			f.Fatal(err)
		}
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
