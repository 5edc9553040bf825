package evolution_test

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// fields are of the types that K1 names.
type fields struct {
	Base
	*Extra
	At        time.Time                       `json:"at"`
	AtPtr     *time.Time                      `json:"at_ptr"`
	ZeroTime  time.Time                       `json:"zero_time"`
	For       time.Duration                   `json:"for"`
	Bytes     []byte                          `json:"bytes"`
	NoBytes   []byte                          `json:"no_bytes"`
	Empty     []byte                          `json:"empty"`
	Map       map[string]element              `json:"map"`
	IntMap    map[int]string                  `json:"int_map"`
	NilMap    map[string]int                  `json:"nil_map"`
	EmptyMap  map[string]int                  `json:"empty_map"`
	Deep      map[string]map[string][]element `json:"deep"`
	Slice     []string                        `json:"slice"`
	NilSlice  []string                        `json:"nil_slice"`
	NoSlice   []string                        `json:"no_slice"`
	Ptr       *element                        `json:"ptr"`
	NilPtr    *element                        `json:"nil_ptr"`
	Ptrs      []*element                      `json:"ptrs"`
	Array     [3]int                          `json:"array"`
	Min       int64                           `json:"min"`
	Max       uint64                          `json:"max"`
	Float     float64                         `json:"float"`
	Text      string                          `json:"text"`
	Any       any                             `json:"any"`
	ID        uuid.UUID                       `json:"id"`
	Addr      netip.Addr                      `json:"addr"`
	Omit      string                          `json:"omit,omitempty"`
	Tree      *Tree                           `json:"tree"`
	Struct    struct{ A, B int }              `json:"struct"`
	Bool      bool                            `json:"bool"`
	private   int
	Transient chan int `json:"-"`
}

type element struct {
	SKU string `json:"sku"`
	Qty int    `json:"qty"`
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

func fullFields() fields {
	at := time.Date(2026, 7, 1, 12, 30, 15, 123456789, time.FixedZone("", 2*60*60))
	return fields{
		Base: Base{"b"}, Extra: &Extra{"n"},
		At: at, AtPtr: &at, For: 90 * time.Second,
		Bytes: []byte{0, 1, 0xff, '\n'}, Empty: []byte{},
		Map: map[string]element{"x": {"a", 1}, "y": {"b", 2}}, IntMap: map[int]string{-1: "m", 0: "", 7: "s"},
		EmptyMap: map[string]int{}, Deep: map[string]map[string][]element{"a": {"b": {{"c", 1}}, "d": nil}, "e": nil},
		Slice: []string{"", "x"}, NoSlice: []string{},
		Ptr: &element{"p", 1}, Ptrs: []*element{nil, {"q", 2}}, Array: [3]int{1, 2, 3},
		Min: math.MinInt64, Max: math.MaxUint64, Float: 0.1, Text: "a\"b\\c\n<&>\u2028\x00é𝄞",
		Any: "text", ID: uuid.MustParse(kit.HandID), Addr: netip.MustParseAddr("2001:db8::1"),
		Tree: &Tree{Leaf: "1", Left: &Tree{Leaf: "2"}}, Struct: struct{ A, B int }{1, 2}, Bool: true,
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	t.Run("K1 every kind of field comes back as it was, nil as nil and empty as empty", func(t *testing.T) {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				store := &kit.Store{Store: kit.RedisStore(rdb)}
				m := kit.New[fields](t, store, sessions.Config{Codec: c})
				for name, value := range map[string]fields{"full": fullFields(), "almost zero": {Bool: true}} {
					token := kit.Edit(t, m, "", func(s *fields) {
						*s = value
						s.private = 1
					})
					store.Calls()
					for range 3 {
						ctx, s := kit.Load(t, m, token)
						got, want := *s, value
						if !got.At.Equal(want.At) || (got.AtPtr == nil) != (want.AtPtr == nil) || got.AtPtr != nil && !got.AtPtr.Equal(*want.AtPtr) || !got.ZeroTime.IsZero() {
							t.Errorf("%s: times %v, %v, %v, want %v", name, got.At, got.AtPtr, got.ZeroTime, want.At)
						}
						for _, f := range []*fields{&got, &want} {
							f.At, f.AtPtr, f.ZeroTime = time.Time{}, nil, time.Time{} // == would compare locations
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
						kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
						store.WantCalls(t, "reading "+name, "Load")
					}
				}
			})
		})
	})
}
