// Package shape finds by reflection which fields of a type a codec writes, and which it cannot store.
package shape

import (
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Field is an exported field of a struct as a codec writes it.
type Field struct {
	Name     string // in the encoded form
	Path     string // in Go
	Index    []int  // for [reflect.Value.FieldByIndex]
	Alias    string // another name that it is read from
	Optional bool   // omitempty, omitzero, or behind a nil embedded pointer
	// Exact says that a value that was decoded encodes to the bytes that it was decoded from, in some order, if the
	// same codec wrote them. What encodes itself need not do so, and an any does not know what was put into it.
	Exact bool
	// Within are the fields of a field that is a struct, or a pointer to one, and does not encode itself.
	Within []Field
}

// Fields lists the fields of a struct type for a codec. It also lists fields that embedding hides in Go: a
// handler can set them, so they must be stored.
func Fields(t reflect.Type, codec string) []Field {
	return fields(t, codec, Field{Exact: ruled(codec)}, []reflect.Type{t})
}

// fields lists those of a type that is embedded at a place within the types above.
func fields(t reflect.Type, codec string, place Field, above []reflect.Type) []Field {
	var list []Field
	for f := range t.Fields() {
		name, options, omitted := tagOf(f, codec)
		if f.Name == arrayOption && codec == msgpackName && hasOption(options, "omitempty") {
			place.Optional = true // so has every field behind it
		}
		if omitted {
			continue
		}
		found := Field{
			Name: name, Path: place.Path + f.Name, Index: slices.Concat(place.Index, f.Index),
			Optional: place.Optional || strings.Contains(options, "omit"),
			Exact:    place.Exact && exact(f.Type, codec, above),
		}
		if flattens(f, codec) {
			found.Path += "."
			found.Optional = place.Optional || f.Type.Kind() == reflect.Pointer
			found.Exact = place.Exact && f.Type.Kind() != reflect.Pointer // msgpack writes nil for each field of a nil pointer
			list = append(list, fields(elem(f.Type), codec, found, append(slices.Clip(above), elem(f.Type)))...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			found.Name = f.Name
		}
		_, alias, _ := strings.Cut(options, "alias:")
		found.Alias, _, _ = strings.Cut(alias, ",")
		if e := elem(f.Type); e.Kind() == reflect.Struct && ruled(codec) && !codesItself(e, codec) && !slices.Contains(above, e) {
			found.Within = fields(e, codec, Field{Exact: true}, append(slices.Clip(above), e))
		}
		list = append(list, found)
	}
	return list
}

// arrayOption is the name of the field by whose tag msgpack takes options for the whole struct.
const arrayOption = "_msgpack"

// flattens tells whether a codec writes the fields of an embedded field as those of the struct around it.
func flattens(f reflect.StructField, codec string) bool {
	name, options, omitted := tagOf(f, codec)
	if omitted || !f.Anonymous || elem(f.Type).Kind() != reflect.Struct {
		return false
	}
	if codec == msgpackName { // it flattens fields with a name too, but none with a marshaler
		return hasOption(options, "inline") || !hasOption(options, "noinline") && !codesItself(elem(f.Type), codec)
	}
	return name == ""
}

// tagOf reads a field's tag as a codec does. The codec leaves out a field that is omitted.
func tagOf(f reflect.StructField, codec string) (name, options string, omitted bool) {
	tag, ok := f.Tag.Lookup(codec)
	if !ok || tag == "" && codec == msgpackName {
		tag = f.Tag.Get("json")
	}
	name, options, comma := strings.Cut(tag, ",")
	omitted = name == "-" && (!comma || codec == msgpackName)
	if codec == jsonName && !takesName(name, codec) {
		name = ""
	}
	return name, options, omitted
}

func hasOption(options, name string) bool { return slices.Contains(strings.Split(options, ","), name) }

// takesName tells whether a codec takes a name from a tag. encoding/json before Go 1.27 uses the field's own name in
// place of one that it does not take, and later ones a part of it. msgpack reads an option in it.
func takesName(name, codec string) bool {
	switch codec {
	case jsonName:
		return !strings.ContainsFunc(name, func(c rune) bool {
			return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c)
		})
	case msgpackName:
		return !strings.ContainsAny(name, ":'") && strings.TrimSpace(name) == name
	}
	return true
}

func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// hidesAll tells whether a type is a struct with fields, none of which a codec sees.
func hidesAll(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return false
	}
	for f := range t.Fields() {
		if embedded := f.Anonymous && f.Type.Kind() == reflect.Struct; !embedded && f.IsExported() || embedded && !hidesAll(f.Type) {
			return false
		}
	}
	return true
}

// exact tells whether a value of t, decoded, encodes to the bytes that it was decoded from.
func exact(t reflect.Type, codec string, above []reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() || slices.Contains(above, t) {
		return true
	}
	if codesItself(t, codec) {
		return false
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return exact(t.Elem(), codec, above)
	case reflect.Map:
		return exact(t.Key(), codec, above) && exact(t.Elem(), codec, above)
	case reflect.Struct:
		for f := range t.Fields() {
			_, _, omitted := tagOf(f, codec)
			if !omitted && (f.IsExported() || f.Anonymous) &&
				(f.Anonymous && f.Type.Kind() == reflect.Pointer || !exact(f.Type, codec, above)) {
				return false
			}
		}
	}
	return true
}
