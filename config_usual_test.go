package sessions_test

import (
	"database/sql"
	"encoding/json"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions"
)

// shapeUsual has what people keep in sessions.
type shapeUsual struct {
	Time     time.Time
	PTime    *time.Time
	Duration time.Duration
	Bytes    []byte
	Array    [16]byte
	UUID     uuid.UUID
	PUUID    *uuid.UUID
	UUIDs    []uuid.UUID
	ByUUID   map[uuid.UUID]int
	ByInt    map[int]string
	Any      any
	Anys     map[string]any
	List     []any
	Raw      json.RawMessage `json:",omitempty"`
	Addr     netip.Addr
	Prefix   netip.Prefix
	URL      url.URL
	PURL     *url.URL
	Big      big.Int
	PBig     *big.Int
	Rat      *big.Rat
	Null     sql.NullString
	NullTime sql.NullTime
	NullT    sql.Null[int]
	Pair     shapePair[string, []shapePair[int, time.Time]]
	Theme    *shapeTheme
	Set      map[string]struct{}
	Status   http.SameSite
	Values   url.Values
	Header   http.Header
	Rune     rune
	Float    float32
	Uint64   uint64
	Nested   struct{ A, B struct{ C *int } }
	Ptr      *struct{ X int }
	Slices   [][]string
	Empty    struct{}
	ShapeID
	*ShapePtrTag
}

func usual() *shapeUsual {
	utc := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	u, _ := url.Parse("https://example.com/a%2Fb?c=d#e")
	theme := shapeTheme(3)
	n := 7
	s := &shapeUsual{
		Time: utc, PTime: &utc, Duration: time.Minute, Bytes: []byte{0, 255}, Array: [16]byte{1, 15: 2},
		UUID: id, PUUID: &id, UUIDs: []uuid.UUID{id}, ByUUID: map[uuid.UUID]int{id: 1}, ByInt: map[int]string{-1: "a"},
		Any: "x", Anys: map[string]any{"a": true, "b": nil}, List: []any{"a", false}, Raw: json.RawMessage(`{"a":1}`),
		Addr: netip.MustParseAddr("fe80::1%eth0"), Prefix: netip.MustParsePrefix("10.0.0.0/8"), URL: *u, PURL: u,
		Big: *new(big.Int).Lsh(big.NewInt(1), 100), PBig: big.NewInt(-5), Rat: big.NewRat(1, 3),
		Null: sql.NullString{String: "x", Valid: true}, NullTime: sql.NullTime{Time: utc, Valid: true}, NullT: sql.Null[int]{V: 1, Valid: true},
		Theme: &theme, Set: map[string]struct{}{"a": {}}, Status: http.SameSiteLaxMode,
		Values: url.Values{"a": {"b", "c"}}, Header: http.Header{"A": {"b"}}, Rune: 'é', Float: 1.5, Uint64: 1<<64 - 1,
		Ptr: &struct{ X int }{1}, Slices: [][]string{{"a"}, nil, {}}, ShapeID: ShapeID{"x"}, ShapePtrTag: &ShapePtrTag{"k"},
	}
	s.Pair.First, s.Pair.Second = "x", []shapePair[int, time.Time]{{1, utc}}
	s.Nested.A.C = &n
	return s
}

func TestUsualTypes(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		m, err := sessions.New[shapeUsual](&sessions.MemoryStore{}, sessions.Config{Codec: c})
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			desc  string
			value *shapeUsual
		}{{"filled", usual()}, {"zero but for one field", &shapeUsual{Float: 1}}} {
			t.Run("T7 the usual types are accepted and come back, "+tc.desc, func(t *testing.T) {
				ctx, err := m.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				*m.FromContext(ctx) = *tc.value
				o, err := m.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				ctx, err = m.Load(t.Context(), o.Token.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				got, want := reflect.ValueOf(*m.FromContext(ctx)), reflect.ValueOf(*tc.value)
				for i := range got.NumField() {
					name := got.Type().Field(i).Name
					a, b := got.Field(i).Interface(), want.Field(i).Interface()
					if !sameShape(a, b) {
						t.Errorf("%s: got %#v, want %#v", name, a, b)
					}
				}
				if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
					t.Errorf("unchanged, it is %v, %v", o.Kind, err)
				}
			})
		}
	})
}

// sameShape is equality but for what a codec may do to a time and to nil.
func sameShape(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	clean := strings.NewReplacer("null", "[]")
	if errX == nil && errY == nil && clean.Replace(string(x)) == clean.Replace(string(y)) {
		return true
	}
	ta, okA := a.(time.Time)
	tb, okB := b.(time.Time)
	return okA && okB && ta.Equal(tb)
}
