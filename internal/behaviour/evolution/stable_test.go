package evolution_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// loose holds what need not encode to the bytes that it was decoded from.
type loose struct {
	Views   int
	Note    string
	Any     any
	Anys    map[string]any
	List    []any
	Text    string
	Texts   map[string]string
	Counts  map[string]int
	Raw     json.RawMessage `json:",omitempty"`
	Number  json.Number
	Float   float64
	At      time.Time
	Salted  salted
	Deep    []struct{ In map[string]*salted }
	Nothing struct{ *Within }
	*Beside
}

type (
	Within struct{ Inner string }
	Beside struct{ Outer string }
)

// salted writes something else each time that it is asked, unless it is zero.
type salted struct{ text string }

func (s salted) salt() string {
	if s.text == "" {
		return ":"
	}
	return strconv.Itoa(rand.Int()) + ":" + s.text
}

func (s *salted) read(text string) { _, s.text, _ = strings.Cut(text, ":") }

func (s salted) MarshalJSON() ([]byte, error)           { return json.Marshal(s.salt()) }
func (s salted) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeString(s.salt()) }
func (s *salted) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	text, err := d.DecodeString()
	s.read(text)
	return err
}

func (s *salted) UnmarshalJSON(data []byte) (err error) {
	var text string
	err = json.Unmarshal(data, &text)
	s.read(text)
	return err
}

// randomAny is a value for an any, one of those that come back as another type or with other bytes.
func randomAny(r *rand.Rand, depth int) any {
	values := []any{
		nil, true, "x", "\xff", "\ufffd\xfe", 1, int64(math.MaxInt64), uint64(math.MaxUint64), int64(1)<<53 + 1, -int64(1)<<60 - 1,
		1.5, float32(0.1), math.Copysign(0, -1), 1e21, int8(-5), uint8(200), uint16(7), []byte("\x00\xff"),
		[2]uint8{1, 2},
		[]string{"a", "\xff"},
		map[string]string{"b": "\xff", "a": "y"},
		map[string]int{"b": 1, "a": 1 << 60, "c": 3},
		struct{ B, A int }{1, 2},
		&struct{ Z, Y any }{1, int64(1)<<53 + 1}, time.Duration(1) << 60, json.Number("1.50"),
		time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)),
		salted{"x"},
	}
	switch n := r.IntN(len(values) + 4); {
	case n < len(values):
		return values[n]
	case depth > 2:
		return "deep"
	case n%2 == 0:
		return []any{randomAny(r, depth+1), randomAny(r, depth+1)}
	}
	return map[string]any{"k": randomAny(r, depth+1), "\xff": randomAny(r, depth+1), "a": 1}
}

func randomLoose(r *rand.Rand) loose {
	text := func() string {
		return []string{"", "a", "\xff", "\xe2\x82", "\ufffd", `\ufffd`, "\u2028<&>\x00"}[r.IntN(7)]
	}
	s := loose{
		Views: r.IntN(100), Any: randomAny(r, 0), Anys: map[string]any{text(): randomAny(r, 0), "z": randomAny(r, 0)},
		List: []any{randomAny(r, 0)}, Text: text(), Texts: map[string]string{text(): text(), "b": "c"}, Counts: map[string]int{text(): 1, "c": 2, "\xfe": 3}, // two such keys are one when read
		Number: []json.Number{"0", "1.50", "12345678901234567890123"}[r.IntN(3)], Float: []float64{0, math.Copysign(0, -1), 1e300, 0.1}[r.IntN(4)],
		At: time.Unix(r.Int64N(1<<32), r.Int64N(1e9)), Salted: salted{text()},
	}
	s.Deep = make([]struct{ In map[string]*salted }, 2)
	s.Deep[1].In = map[string]*salted{"a": {text()}, "b": nil, "c": {"x"}}
	if r.IntN(2) == 0 {
		s.Raw, s.Beside, s.Nothing.Within = json.RawMessage(`{"b":1.50,"a":[1e2,"\u00e9"]}`), &Beside{text()}, &Within{}
	}
	return s
}

// onlyPointer has nothing else that need not come back as the same bytes.
type onlyPointer struct {
	Views int
	*Beside
}

func TestReadersOfLooseValues(t *testing.T) {
	t.Parallel()
	turns := 300
	if testing.Short() {
		turns = 60
	}
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		type manager = *sessions.Manager[loose]
		t.Run("K5 L3 a request that looks at what does not come back as the same bytes writes nothing", func(t *testing.T) {
			t.Parallel()
			for _, codec := range []sessions.Codec{c, unruled{c.(sessions.FieldCodec)}} {
				store := &kit.Store{Store: kit.Memory()}
				m, other := kit.New[loose](t, store, sessions.Config{Codec: codec}), kit.New[loose](t, store, sessions.Config{Codec: codec})
				r := rand.New(rand.NewPCG(3, 4))
				for i := range turns {
					want := randomLoose(r)
					token := kit.Edit(t, m, "", func(s *loose) { *s = want })
					store.Calls()
					for _, reader := range []manager{m, other, m} {
						kit.Edit(t, reader, token, func(*loose) {})
						store.WantCalls(t, fmt.Sprintf("a read of %+v in turn %d, %s", want, i, codec.Name()), "Load")
					}
					kit.Edit(t, m, token, func(s *loose) { s.Views++ })
					store.WantCalls(t, fmt.Sprintf("a change in turn %d", i), "Load CompareAndSwap")
					kit.Edit(t, m, token, func(s *loose) {
						if s.Views != want.Views+1 {
							t.Errorf("turn %d: %d views, want %d", i, s.Views, want.Views+1)
						}
					})
					store.WantCalls(t, fmt.Sprintf("a read after the change in turn %d", i), "Load")
				}
			}
		})
		t.Run("K5 L3 nor does it where one embeds a pointer that is nil", func(t *testing.T) {
			t.Parallel()
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[onlyPointer](t, store, sessions.Config{Codec: c})
			token := kit.Edit(t, m, "", func(s *onlyPointer) { s.Views = 1 })
			store.Calls()
			kit.Edit(t, m, token, func(*onlyPointer) {})
			store.WantCalls(t, "a read", "Load")
		})
		t.Run("K5 C7 two requests that leave such values alone do not take them for changed", func(t *testing.T) {
			t.Parallel()
			var events kit.Events
			store := kit.Memory()
			m := kit.New[loose](t, store, sessions.Config{Codec: c, OnEvent: events.On})
			other := kit.New[loose](t, store, sessions.Config{Codec: c})
			r := rand.New(rand.NewPCG(5, 6))
			for i := range turns {
				token := kit.Edit(t, m, "", func(s *loose) { *s = randomLoose(r) })
				theirs := []manager{m, other}[i%2]
				turn(t, m, token, func(ctx context.Context, s *loose) {
					kit.Edit(t, theirs, token, func(s *loose) { s.Note, s.Salted = "theirs", salted{"theirs"} })
					s.Views = 1000
					if i%3 == 0 {
						kit.Must(t, m.Update(ctx, func(s *loose) error { s.Views++; return nil }))
					}
				})
				for _, e := range events.Take() {
					if e.Kind == sessions.EventConflict || e.Kind == sessions.EventMerged && !slices.Equal(e.Fields, []string{"Note", "Salted"}) {
						t.Errorf("turn %d: %v of %v", i, e.Kind, e.Fields)
					}
				}
				if s := kit.Stored(t, m, token); s.Views < 1000 || s.Note != "theirs" || s.Salted.text != "theirs" {
					t.Errorf("turn %d: stored is %+v", i, s)
				}
			}
		})
	})
}

// unruled is a codec of another name, of which nothing is known.
type unruled struct{ sessions.FieldCodec }

func (unruled) Name() string { return "own" }
