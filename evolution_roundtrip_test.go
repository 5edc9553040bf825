package sessions_test

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Rich has the types that K1 names.
type Rich struct {
	Base
	*Extra
	At        time.Time                    `json:"at"`
	AtPtr     *time.Time                   `json:"at_ptr"`
	ZeroTime  time.Time                    `json:"zero_time"`
	For       time.Duration                `json:"for"`
	Bytes     []byte                       `json:"bytes"`
	NoBytes   []byte                       `json:"no_bytes"`
	Empty     []byte                       `json:"empty"`
	Map       map[string]Item              `json:"map"`
	IntMap    map[int]string               `json:"int_map"`
	NilMap    map[string]int               `json:"nil_map"`
	EmptyMap  map[string]int               `json:"empty_map"`
	Deep      map[string]map[string][]Item `json:"deep"`
	Slice     []string                     `json:"slice"`
	NilSlice  []string                     `json:"nil_slice"`
	NoSlice   []string                     `json:"no_slice"`
	Ptr       *Item                        `json:"ptr"`
	NilPtr    *Item                        `json:"nil_ptr"`
	Ptrs      []*Item                      `json:"ptrs"`
	Array     [3]int                       `json:"array"`
	Min       int64                        `json:"min"`
	Max       uint64                       `json:"max"`
	Float     float64                      `json:"float"`
	Text      string                       `json:"text"`
	Any       any                          `json:"any"`
	ID        uuid.UUID                    `json:"id"`
	Addr      netip.Addr                   `json:"addr"`
	Omit      string                       `json:"omit,omitempty"`
	Tree      *Tree                        `json:"tree"`
	Struct    struct{ A, B int }           `json:"struct"`
	Bool      bool                         `json:"bool"`
	private   int
	Transient chan int `json:"-"`
}

type Base struct {
	Name string `json:"name"`
}

type Extra struct {
	Note string `json:"note"`
}

type Tree struct {
	Left, Right *Tree
	Leaf        string
}

func rich() Rich {
	at := time.Date(2026, 7, 1, 12, 30, 15, 123456789, time.FixedZone("", 2*60*60))
	return Rich{
		Base: Base{"b"}, Extra: &Extra{"n"},
		At: at, AtPtr: &at, For: 90 * time.Second,
		Bytes: []byte{0, 1, 0xff, '\n'}, Empty: []byte{},
		Map: map[string]Item{"x": {"a", 1}, "y": {"b", 2}}, IntMap: map[int]string{-1: "m", 0: "", 7: "s"},
		EmptyMap: map[string]int{}, Deep: map[string]map[string][]Item{"a": {"b": {{"c", 1}}, "d": nil}, "e": nil},
		Slice: []string{"", "x"}, NoSlice: []string{},
		Ptr: &Item{"p", 1}, Ptrs: []*Item{nil, {"q", 2}}, Array: [3]int{1, 2, 3},
		Min: math.MinInt64, Max: math.MaxUint64, Float: 0.1, Text: "a\"b\\c\n<&>\u2028\x00é𝄞",
		Any: "text", ID: uuid.MustParse(oddID), Addr: netip.MustParseAddr("2001:db8::1"),
		Tree: &Tree{Leaf: "1", Left: &Tree{Leaf: "2"}}, Struct: struct{ A, B int }{1, 2}, Bool: true,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Run("K1 every kind of field comes back as it was, nil as nil and empty as empty", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				store, log := counted(redisStore(rdb))
				m := newManager[Rich](t, store, sessions.Config{Codec: c})
				for name, value := range map[string]Rich{"full": rich(), "almost zero": {Bool: true}} {
					ctx, err := m.Load(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					*m.FromContext(ctx) = value
					m.FromContext(ctx).private = 1
					o, err := m.Commit(ctx)
					if err != nil {
						t.Fatal(err)
					}
					log.take()
					for range 3 {
						ctx, err = m.Load(t.Context(), o.Token.Reveal())
						if err != nil {
							t.Fatal(err)
						}
						got, want := *m.FromContext(ctx), value
						if !got.At.Equal(want.At) || (got.AtPtr == nil) != (want.AtPtr == nil) || got.AtPtr != nil && !got.AtPtr.Equal(*want.AtPtr) || !got.ZeroTime.IsZero() {
							t.Errorf("%s: times %v, %v, %v, want %v", name, got.At, got.AtPtr, got.ZeroTime, want.At)
						}
						for _, r := range []*Rich{&got, &want} {
							r.At, r.AtPtr, r.ZeroTime = time.Time{}, nil, time.Time{} // == would compare locations
						}
						gv, wv := reflect.ValueOf(got), reflect.ValueOf(want)
						for i := range gv.NumField() {
							if f := gv.Type().Field(i); f.IsExported() && !reflect.DeepEqual(gv.Field(i).Interface(), wv.Field(i).Interface()) {
								t.Errorf("%s: %s came back as %#v, want %#v", name, f.Name, gv.Field(i), wv.Field(i))
							}
						}
						if got.private != 0 {
							t.Errorf("%s: the unexported field was stored", name)
						}
						if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
							t.Errorf("%s: a Commit after reading: %v, %v", name, o.Kind, err)
						}
						if calls := log.take(); calls != "Load" {
							t.Errorf("%s: reading made the store calls %q", name, calls)
						}
					}
				}
			})
		})
	})
}
