package shape

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"
)

// A Snapshot appends to dst what a codec can see of v, a *T. Equal snapshots of two T mean equal encodings; the reverse
// need not hold.
type Snapshot func(dst []byte, v any) []byte

// SnapshotOf returns the Snapshot of a struct type for a codec, nil where the encoding may depend on more than can be seen
// here: T has an interface, a type within itself, one with methods for its encoding that is more than a plain value, or a
// struct that hides a field, which an encoder given to msgpack.Register and omitzero may see.
func SnapshotOf(t reflect.Type, codec string) Snapshot {
	if !ruled(codec) || codesItself(t, codec) {
		return nil
	}
	w := appenderOf(t, codec, nil)
	if w == nil {
		return nil
	}
	return func(dst []byte, v any) []byte { return w(dst, reflect.ValueOf(v).Elem()) }
}

// An appender appends one value, which has an address. What it appends is never the beginning of what it appends for another value.
type appender func(dst []byte, v reflect.Value) []byte

// appenderOf returns the appender of a type within the types above, nil if there is none.
func appenderOf(t reflect.Type, codec string, above []reflect.Type) appender {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return appendTime
	case slices.Contains(above, t):
		return nil
	case (codesItself(t, codec) || knowsZero(t)) && !isPlain(t):
		return nil
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Bool:
		return func(dst []byte, v reflect.Value) []byte { return appendBool(dst, v.Bool()) }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(dst []byte, v reflect.Value) []byte { return binary.AppendVarint(dst, v.Int()) }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(dst []byte, v reflect.Value) []byte { return binary.AppendUvarint(dst, v.Uint()) }
	case reflect.Float32, reflect.Float64:
		return func(dst []byte, v reflect.Value) []byte {
			return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float()))
		}
	case reflect.String:
		return func(dst []byte, v reflect.Value) []byte {
			s := v.String()
			return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		}
	case reflect.Pointer:
		return pointerAppender(appenderOf(t.Elem(), codec, above))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && isPlain(t.Elem()) {
			return func(dst []byte, v reflect.Value) []byte {
				b := v.Bytes()
				return append(binary.AppendUvarint(appendBool(dst, b == nil), uint64(len(b))), b...)
			}
		}
		return sliceAppender(appenderOf(t.Elem(), codec, above))
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && isPlain(t.Elem()) {
			return func(dst []byte, v reflect.Value) []byte { return append(dst, v.Bytes()...) }
		}
		return arrayAppender(appenderOf(t.Elem(), codec, above))
	case reflect.Map:
		return mapAppender(t, appenderOf(t.Key(), codec, above), appenderOf(t.Elem(), codec, above))
	case reflect.Struct:
		return structAppender(t, codec, above)
	}
	return nil // an interface, and what no codec takes
}

// isPlain tells whether a value has no pointer to what is not its own, and no field that is hidden: a method that encodes
// it has nothing else to go by.
func isPlain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array, reflect.Slice:
		return isPlain(t.Elem())
	case reflect.Struct, reflect.Map, reflect.Pointer, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return true
}

// knowsZero tells whether a method of the type says what omitzero and omitempty leave out.
func knowsZero(t reflect.Type) bool {
	_, ok := reflect.PointerTo(t).MethodByName("IsZero")
	return ok
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendTime appends the instant and the offset from UTC, of which JSON and msgpack make their forms.
func appendTime(dst []byte, v reflect.Value) []byte {
	t := v.Addr().Interface().(*time.Time)
	_, offset := t.Zone()
	return binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, t.Unix()), int64(t.Nanosecond())), int64(offset))
}

func pointerAppender(elem appender) appender {
	if elem == nil {
		return nil
	}
	return func(dst []byte, v reflect.Value) []byte {
		dst = appendBool(dst, v.IsNil())
		if v.IsNil() {
			return dst
		}
		return elem(dst, v.Elem())
	}
}

func sliceAppender(elem appender) appender {
	array := arrayAppender(elem)
	if array == nil {
		return nil
	}
	return func(dst []byte, v reflect.Value) []byte { return array(appendBool(dst, v.IsNil()), v) }
}

func arrayAppender(elem appender) appender {
	if elem == nil {
		return nil
	}
	return func(dst []byte, v reflect.Value) []byte {
		n := v.Len()
		dst = binary.AppendUvarint(dst, uint64(n))
		for i := range n {
			dst = elem(dst, v.Index(i))
		}
		return dst
	}
}

// A mapWalk is what it takes to walk a map without allocating.
type mapWalk struct {
	key, elem reflect.Value
	iter      reflect.MapIter
	entries   []entry
	sorted    []byte
}

// An entry is where an entry of a map begins and ends in a snapshot.
type entry struct{ start, end int }

// mapAppender appends the entries of a map in the order of their bytes.
func mapAppender(t reflect.Type, key, elem appender) appender {
	if key == nil || elem == nil {
		return nil
	}
	walks := sync.Pool{New: func() any {
		return &mapWalk{key: reflect.New(t.Key()).Elem(), elem: reflect.New(t.Elem()).Elem()}
	}}
	return func(dst []byte, v reflect.Value) []byte {
		dst = binary.AppendUvarint(appendBool(dst, v.IsNil()), uint64(v.Len()))
		if v.Len() == 0 {
			return dst
		}
		w := walks.Get().(*mapWalk)
		w.entries = w.entries[:0]
		begin := len(dst)
		w.iter.Reset(v)
		for w.iter.Next() {
			start := len(dst)
			w.key.SetIterKey(&w.iter)
			w.elem.SetIterValue(&w.iter)
			dst = elem(key(dst, w.key), w.elem)
			w.entries = append(w.entries, entry{start, len(dst)})
		}
		slices.SortFunc(w.entries, func(a, b entry) int { return bytes.Compare(dst[a.start:a.end], dst[b.start:b.end]) })
		w.sorted = w.sorted[:0]
		for _, e := range w.entries {
			w.sorted = append(w.sorted, dst[e.start:e.end]...)
		}
		copy(dst[begin:], w.sorted)
		if cap(w.sorted) <= maxPooled {
			w.key.SetZero() // what is kept holds nothing of a session that can be reached
			w.elem.SetZero()
			w.iter.Reset(reflect.Value{})
			walks.Put(w)
		}
		return dst
	}
}

const maxPooled = 64 << 10

// structAppender appends the fields that the codec may see. What it does not see of T itself may change meanwhile.
func structAppender(t reflect.Type, codec string, above []reflect.Type) appender {
	type field struct {
		index int
		walk  appender
	}
	var fields []field
	for f := range t.Fields() {
		_, _, omitted := tagOf(f, codec)
		switch {
		case !omitted && f.Anonymous && codesItself(f.Type, codec):
			return nil // no codec calls a method that two embedded types have
		case !omitted && (f.IsExported() || flattens(f, codec)):
		case len(above) > 1 && f.Type.Size() > 0:
			return nil
		default:
			continue
		}
		w := appenderOf(f.Type, codec, above)
		if w == nil {
			return nil
		}
		fields = append(fields, field{f.Index[0], w})
	}
	return func(dst []byte, v reflect.Value) []byte {
		for i := range fields {
			dst = fields[i].walk(dst, v.Field(fields[i].index))
		}
		return dst
	}
}
