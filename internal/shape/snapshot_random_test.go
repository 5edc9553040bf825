package shape_test

import (
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/shape"
)

// A change that an encoding shows is never hidden by a snapshot, whatever T is and wherever in it the change.
func TestSnapshotOfRandomTypes(t *testing.T) {
	seed := time.Now().UnixNano()
	rng := rand.New(rand.NewSource(seed))
	types := 400
	if testing.Short() {
		types = 100
	}
	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		t.Run("K5 "+codec.Name(), func(t *testing.T) {
			without, moved, still := 0, 0, 0
			for range types {
				typ := randomStruct(rng, 3)
				take := shape.SnapshotOf(typ, codec.Name())
				if take == nil {
					without++
					continue
				}
				for range 40 {
					a, b := reflect.New(typ), reflect.New(typ)
					fill(rng, a.Elem())
					b.Elem().Set(a.Elem())
					change(rng, b.Elem())
					one, other := take(nil, a.Interface()), take(nil, b.Interface())
					if again := take(nil, a.Interface()); string(one) != string(again) {
						t.Fatalf("seed %d: %v has two snapshots:\n%x\n%x", seed, typ, one, again)
					}
					if string(one) != string(other) {
						moved++
						continue
					}
					still++
					if x, y := canonical(t, codec, a), canonical(t, codec, b); x != y {
						t.Fatalf("seed %d: %v has one snapshot of\n%s\n%s", seed, typ, x, y)
					}
				}
			}
			if t.Logf("%d changes seen, %d not, %d types without a snapshot", moved, still, without); moved < still/4 || still == 0 || without > types*9/10 {
				t.Error("that is no test")
			}
		})
	}
}

// canonical is the encoding of a value, with the keys of maps in order.
func canonical(t *testing.T, codec sessions.Codec, v reflect.Value) string {
	t.Helper()
	data, err := codec.Marshal(v.Interface())
	if err != nil || codec.Name() == "json" {
		return fmt.Sprint(string(data), err)
	}
	dec := msgpack.NewDecoder(strings.NewReader(string(data)))
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) {
		n, err := d.DecodeMapLen()
		var entries []string
		for range n {
			key, keyErr := d.DecodeInterface()
			elem, elemErr := d.DecodeInterface()
			err = errors.Join(err, keyErr, elemErr)
			entries = append(entries, fmt.Sprintf("%#v: %#v", key, elem))
		}
		slices.Sort(entries)
		return entries, err
	})
	decoded, err := dec.DecodeInterface()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%#v", decoded)
}

func pick[V any](rng *rand.Rand, from ...V) V { return from[rng.Intn(len(from))] }

func randomStruct(rng *rand.Rand, depth int) reflect.Type {
	var fields []reflect.StructField
	for i := range 1 + rng.Intn(5) {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: randomType(rng, depth-1),
			Tag: pick[reflect.StructTag](rng, "", "", "", `json:",omitempty"`, `json:",omitzero"`, `json:"-"`, `msgpack:"-"`, `msgpack:",omitempty"`),
		})
	}
	return reflect.StructOf(fields)
}

func randomType(rng *rand.Rand, depth int) reflect.Type {
	if depth > 0 && rng.Intn(2) == 0 {
		elem := randomType(rng, depth-1)
		switch rng.Intn(6) {
		case 0:
			return reflect.PointerTo(elem)
		case 1:
			return reflect.SliceOf(elem)
		case 2:
			return reflect.ArrayOf(rng.Intn(3), elem)
		case 3:
			return reflect.MapOf(pick(rng, reflect.TypeFor[string](), reflect.TypeFor[int16](), reflect.TypeFor[named]()), elem)
		default:
			return randomStruct(rng, depth)
		}
	}
	return pick(rng, reflect.TypeFor[bool](), reflect.TypeFor[int8](), reflect.TypeFor[int](), reflect.TypeFor[uint16](), reflect.TypeFor[float32](),
		reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[uuid.UUID](),
		reflect.TypeFor[named](), reflect.TypeFor[[3]byte]())
}

// fill puts something into v, of few values, so that many are equal.
func fill(rng *rand.Rand, v reflect.Value) {
	v.SetZero()
	if rng.Intn(4) == 0 {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16:
		v.SetInt(int64(rng.Intn(300) - 150))
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(uint64(rng.Intn(300)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(pick(rng, 1, -1, 0.1, -1/1e300/1e300))
	case reflect.String:
		v.SetString(pick(rng, "", "a", "b", "ab", "\x00", "\x01a", "\xff"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rng, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rng.Intn(3), 3))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rng.Intn(4) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(rng, key)
			fill(rng, elem)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			at := time.Unix(int64(rng.Intn(2)), int64(rng.Intn(2)))
			v.Set(reflect.ValueOf(at.In(pick(rng, time.UTC, time.Local, time.FixedZone("", 3600), time.FixedZone("x", 3600), time.FixedZone("", -60)))))
			return
		}
		for i := range v.NumField() {
			fill(rng, v.Field(i))
		}
	}
}

// change fills one part of v anew, beside which all stays as it is.
func change(rng *rand.Rand, v reflect.Value) {
	if rng.Intn(3) > 0 {
		switch {
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			change(rng, v.Field(rng.Intn(v.NumField())))
			return
		case v.Kind() == reflect.Pointer && !v.IsNil():
			was := v.Elem()
			v.Set(reflect.New(v.Type().Elem()))
			v.Elem().Set(was)
			change(rng, v.Elem())
			return
		case v.Kind() == reflect.Slice && v.Len() > 0:
			was := v.Len()
			v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, was), v))
			change(rng, v.Index(rng.Intn(was)))
			return
		case v.Kind() == reflect.Array && v.Len() > 0:
			change(rng, v.Index(rng.Intn(v.Len())))
			return
		case v.Kind() == reflect.Map && v.Len() > 0:
			was := v.MapRange()
			v.Set(reflect.MakeMap(v.Type()))
			for n := 0; was.Next(); n++ {
				elem := reflect.New(v.Type().Elem()).Elem()
				if elem.Set(was.Value()); n == 0 {
					change(rng, elem)
				}
				v.SetMapIndex(was.Key(), elem)
			}
			return
		}
	}
	fill(rng, v)
}
