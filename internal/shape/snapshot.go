package shape

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"time"
)

// A Snapshot appends to dst what a codec can see of v, a *T. Equal snapshots of two T mean equal encodings; the reverse
// need not hold.
type Snapshot func(dst []byte, v any) []byte

// SnapshotOf returns the Snapshot of a struct type for a codec, nil where the encoding may depend on more than can be seen
// here: T has an interface, a type within itself, or one with methods for its encoding that is more than a plain value.
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

// An appender appends one value. What it appends is never the beginning of what it appends for another value.
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
		return arrayAppender(appenderOf(t.Elem(), codec, above))
	case reflect.Map:
		return mapAppender(appenderOf(t.Key(), codec, above), appenderOf(t.Elem(), codec, above))
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
	var t time.Time
	if v.CanAddr() {
		t = *v.Addr().Interface().(*time.Time) // without the allocation
	} else {
		t = v.Interface().(time.Time)
	}
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

// mapAppender appends the entries in the order of their bytes.
func mapAppender(key, elem appender) appender {
	if key == nil || elem == nil {
		return nil
	}
	return func(dst []byte, v reflect.Value) []byte {
		dst = binary.AppendUvarint(appendBool(dst, v.IsNil()), uint64(v.Len()))
		if v.Len() == 0 {
			return dst
		}
		start := len(dst)
		ends := make([]int, 0, v.Len()+1)
		for i := v.MapRange(); i.Next(); {
			ends = append(ends, len(dst))
			dst = elem(key(dst, i.Key()), i.Value())
		}
		if len(ends) == 1 {
			return dst
		}
		ends = append(ends, len(dst))
		entries := make([]string, len(ends)-1)
		for i := range entries {
			entries[i] = string(dst[ends[i]:ends[i+1]])
		}
		slices.Sort(entries)
		dst = dst[:start]
		for _, entry := range entries {
			dst = append(dst, entry...)
		}
		return dst
	}
}

// structAppender appends the fields that the codec may see. What it does not see may change meanwhile.
func structAppender(t reflect.Type, codec string, above []reflect.Type) appender {
	type field struct {
		index int
		walk  appender
	}
	var fields []field
	for f := range t.Fields() {
		if _, _, omitted := tagOf(f, codec); omitted || !f.IsExported() && !f.Anonymous {
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
