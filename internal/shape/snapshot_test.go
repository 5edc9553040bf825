package shape_test

import (
	"encoding/json"
	"math/big"
	"math/rand"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/shape"
)

type inner struct {
	Name string
	Tags []string `json:",omitempty"`
	Next *struct{ N int8 }
}

type named string

func (n named) MarshalText() ([]byte, error) { return []byte("<" + n + ">"), nil }

type amount struct{ Cents, hidden int64 }

func (a amount) IsZero() bool { return a.hidden == 0 }

type node struct{ Next *node }

type ledger struct {
	Currency string
	//lint:ignore U1000 only an encoder sees it
	cents int64
}

type clock = time.Time

type zone int

func (zone) MarshalJSON() ([]byte, error)          { return []byte("1"), nil }
func (zone) MarshalText() ([]byte, error)          { return []byte("1"), nil }
func (zone) MarshalBinary() ([]byte, error)        { return []byte("1"), nil }
func (*zone) UnmarshalJSON([]byte) error           { return nil }
func (*zone) UnmarshalText([]byte) error           { return nil }
func (*zone) UnmarshalBinary([]byte) error         { return nil }
func (zone) EncodeMsgpack(*msgpack.Encoder) error  { return nil }
func (*zone) DecodeMsgpack(*msgpack.Decoder) error { return nil }

type ambiguous struct {
	clock
	zone
	N int
}

type sorted struct {
	//lint:ignore U1000 only an encoder sees it
	_msgpack struct{} `msgpack:",omitempty"`
	N        int
}

type plainT struct {
	B    bool
	I    int16
	U    uint64
	F    float32
	S    string `json:"s,omitempty"`
	Data []byte
	ID   uuid.UUID
	N    named
	Raw  [3]int
	In   inner
	Ins  []inner
	Ptr  **inner
	M    map[string]inner
	K    map[int]bool
	*Embedded
	Left string `json:"-"`
}

type Embedded struct{ Deep []*int }

// Snapshots of both codecs differ wherever the encodings do, and are equal where T is decoded again.
func TestSnapshotDiffersWithTheEncoding(t *testing.T) {
	rng := rand.New(rand.NewSource(time.Now().UnixNano()))
	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		for _, typ := range []reflect.Type{reflect.TypeFor[plainT](), reflect.TypeFor[kit.Session]()} {
			t.Run("K5 "+codec.Name()+" "+typ.String(), func(t *testing.T) {
				take := shape.SnapshotOf(typ, codec.Name())
				if take == nil {
					t.Fatal("there is none")
				}
				moved, still := 0, 0
				for range 3000 {
					a, _ := quick.Value(typ, rng)
					b, _ := quick.Value(typ, rng)
					one, other := reflect.New(typ), reflect.New(typ)
					one.Elem().Set(a)
					other.Elem().Set(a)
					i := rng.Intn(typ.NumField())
					other.Elem().Field(i).Set(b.Field(i))
					x, errX := codec.Marshal(one.Interface())
					y, errY := codec.Marshal(other.Interface())
					if errX != nil || errY != nil {
						continue
					}
					same := string(take(nil, one.Interface())) == string(take(nil, other.Interface()))
					if same && !equal(one.Interface(), other.Interface()) {
						t.Fatalf("one snapshot of %q and %q", x, y)
					}
					if same {
						still++
					} else {
						moved++
					}
					again, twice := reflect.New(typ).Interface(), reflect.New(typ).Interface()
					if codec.Unmarshal(x, again) != nil || codec.Unmarshal(x, twice) != nil {
						continue
					}
					if string(take(nil, again)) != string(take(nil, twice)) {
						t.Fatalf("two snapshots of %q", x)
					}
				}
				if moved == 0 || still == 0 {
					t.Errorf("%d differed, %d did not", moved, still)
				}
			})
		}
	}
}

// equal compares by JSON, which sorts the keys of maps.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func TestSnapshotSees(t *testing.T) {
	type session struct {
		At     time.Time
		Tags   []string
		Prefs  map[string]string
		F      float64
		Hidden string `json:"-" msgpack:"-"`
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	full := func() session {
		return session{At: at, Tags: []string{"a", "b"}, Prefs: map[string]string{"x": "1", "y": "2", "z": "3"}, F: 1}
	}
	for name, test := range map[string]struct {
		change func(*session)
		sees   bool
	}{
		"nothing":                       {func(*session) {}, false},
		"the same time read by a clock": {func(s *session) { s.At = at.Add(0).In(time.UTC) }, false},
		"a nanosecond":                  {func(s *session) { s.At = at.Add(1) }, true},
		"the same instant elsewhere":    {func(s *session) { s.At = at.In(time.FixedZone("", 3600)) }, true},
		"an element":                    {func(s *session) { s.Tags[1] = "c" }, true},
		"where elements end":            {func(s *session) { s.Tags = []string{"ab", ""} }, true},
		"one element less":              {func(s *session) { s.Tags = s.Tags[:1] }, true},
		"an empty slice for nil":        {func(s *session) { s.Tags = []string{} }, true},
		"another map of the same":       {func(s *session) { s.Prefs = map[string]string{"z": "3", "y": "2", "x": "1"} }, false},
		"two values of a map":           {func(s *session) { s.Prefs["x"], s.Prefs["y"] = s.Prefs["y"], s.Prefs["x"] }, true},
		"a key less":                    {func(s *session) { delete(s.Prefs, "x") }, true},
		"the sign of zero":              {func(s *session) { s.F *= -1 }, true},
		"what is not stored":            {func(s *session) { s.Hidden = "x" }, false},
	} {
		for _, codec := range []string{"json", "msgpack"} {
			t.Run("K5 "+codec+" "+name, func(t *testing.T) {
				take, before, s := shape.SnapshotOf(reflect.TypeFor[session](), codec), full(), full()
				if name == "an empty slice for nil" {
					before.Tags = nil
				}
				test.change(&s)
				if sees := string(take(nil, &before)) != string(take(nil, &s)); sees != test.sees {
					t.Errorf("it sees a change: %t", sees)
				}
			})
		}
	}
}

// TestNoSnapshot: where more than what is seen may decide about the encoding, there is none.
func TestNoSnapshot(t *testing.T) {
	taken := []string{"a marshaler of any content", "a hidden field of T's own", "options for msgpack"}
	for name, typ := range map[string]reflect.Type{
		"an interface":                reflect.TypeFor[struct{ V any }](),
		"in a slice":                  reflect.TypeFor[struct{ V []any }](),
		"in a map":                    reflect.TypeFor[struct{ V map[string]any }](),
		"a type within itself":        reflect.TypeFor[node](),
		"a struct with a marshaler":   reflect.TypeFor[struct{ V netip.Addr }](),
		"behind a pointer":            reflect.TypeFor[struct{ V *big.Int }](),
		"a struct with IsZero":        reflect.TypeFor[struct{ V amount }](),
		"T itself":                    reflect.TypeFor[struct{ time.Time }](),
		"a field within it is hidden": reflect.TypeFor[struct{ V ledger }](),
		"one embedded, too":           reflect.TypeFor[struct{ ledger }](),
		"one is left out": reflect.TypeFor[struct {
			V struct {
				A, B int `json:"-"`
			}
		}](),
		"methods of two embedded":    reflect.TypeFor[struct{ V ambiguous }](),
		"a hidden field of T's own":  reflect.TypeFor[ledger](),
		"options for msgpack":        reflect.TypeFor[struct{ V sorted }](),
		"a marshaler of any content": reflect.TypeFor[struct{ V json.RawMessage }](),
	} {
		for _, codec := range []string{"json", "msgpack"} {
			t.Run("K5 "+codec+" "+name, func(t *testing.T) {
				took := shape.SnapshotOf(typ, codec) != nil
				if want := slices.Contains(taken, name); took != want {
					t.Errorf("there is one: %t", took)
				}
			})
		}
	}
	if shape.SnapshotOf(reflect.TypeFor[plainT](), "gob") != nil {
		t.Error("there is one for a codec of which nothing is known")
	}
}
