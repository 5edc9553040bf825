package shape

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Set sets the field of v with that index, and embedded pointers above it that are nil. It tells whether that was
// possible.
func Set(v reflect.Value, index []int, to reflect.Value) bool {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return false
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	if !v.CanSet() {
		return false
	}
	v.Set(to)
	return true
}

// Fill sets every value below v, with one element in each slice and map and a value behind each pointer. It
// leaves alone what the codec lets read itself, because it knows no valid value: not even the zero value need be one.
// What only writes itself stays zero.
func Fill(v reflect.Value, codec string) { fill(v, codec, nil) }

func fill(v reflect.Value, codec string, above []reflect.Type) {
	t := v.Type()
	if codesItself(t, codec) || slices.Contains(above, t) {
		return
	}
	above = append(slices.Clip(above), t)
	reads := func(t reflect.Type) bool {
		_, reads := readerOf(t, codersOf(codec))
		return reads
	}
	switch t.Kind() {
	case reflect.Pointer:
		if !reads(t.Elem()) && !slices.Contains(above, t.Elem()) {
			v.Set(reflect.New(t.Elem()))
			fill(v.Elem(), codec, above)
		}
	case reflect.Slice:
		if !reads(t.Elem()) {
			v.Set(reflect.MakeSlice(t, 1, 1))
			fill(v.Index(0), codec, above)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), codec, above)
		}
	case reflect.Map:
		if !reads(t.Elem()) && !reads(t.Key()) {
			key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			fill(key, codec, above)
			fill(value, codec, above)
			if key.Comparable() {
				v.Set(reflect.MakeMap(t))
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				fill(v.Field(i), codec, above)
			}
		}
	case reflect.String:
		v.SetString("x")
		if t == reflect.TypeFor[json.Number]() {
			v.SetString("1")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	default:
		switch {
		case v.CanInt():
			v.SetInt(1)
		case v.CanUint():
			v.SetUint(1)
		}
	}
}
