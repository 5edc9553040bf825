package shape

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Fill sets every value below v, with one element in each slice and map and a value behind each pointer. It
// leaves alone what encodes itself, because it knows no valid value: not even the zero value need be one.
func Fill(v reflect.Value) { fill(v, nil) }

func fill(v reflect.Value, above []reflect.Type) {
	t := v.Type()
	if codesItself(t) || slices.Contains(above, t) {
		return
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Pointer:
		if !codesItself(t.Elem()) && !slices.Contains(above, t.Elem()) {
			v.Set(reflect.New(t.Elem()))
			fill(v.Elem(), above)
		}
	case reflect.Slice:
		if !codesItself(t.Elem()) {
			v.Set(reflect.MakeSlice(t, 1, 1))
			fill(v.Index(0), above)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), above)
		}
	case reflect.Map:
		if !codesItself(t.Elem()) && !codesItself(t.Key()) {
			key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			fill(key, above)
			fill(value, above)
			if key.Comparable() {
				v.Set(reflect.MakeMap(t))
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				fill(v.Field(i), above)
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
