// Package shape finds by reflection which fields of a type a codec writes, and which it cannot store.
package shape

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// msgpackName is the name of the codec whose rules differ from those of encoding/json.
const msgpackName = "msgpack"

// A Field is an exported field of a struct as a codec writes it.
type Field struct {
	Name     string // in the encoded form
	Path     string // in Go
	Alias    string // another name that it is read from
	Optional bool   // omitempty, omitzero, or behind a nil embedded pointer
}

// Fields lists the fields of a struct type for a codec. It also lists fields that embedding hides in Go: a
// handler can set them, so they must be stored.
func Fields(t reflect.Type, codec string) []Field { return fields(t, codec, "", false) }

func fields(t reflect.Type, codec, path string, optional bool) []Field {
	var list []Field
	for f := range t.Fields() {
		name, options, omitted := tagOf(f, codec)
		if omitted {
			continue
		}
		flat := name == ""
		if codec == msgpackName { // it flattens fields with a name too, but none with a marshaler
			flat = !strings.Contains(options, "noinline") && !Marshals(f.Type, codec)
		}
		if f.Anonymous && flat && elem(f.Type).Kind() == reflect.Struct {
			list = append(list, fields(elem(f.Type), codec, path+f.Name+".", optional || f.Type.Kind() == reflect.Pointer)...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		_, alias, _ := strings.Cut(options, "alias:")
		alias, _, _ = strings.Cut(alias, ",")
		list = append(list, Field{name, path + f.Name, alias, optional || strings.Contains(options, "omit")})
	}
	return list
}

// tagOf reads a field's tag as a codec does. The codec leaves out a field that is omitted.
func tagOf(f reflect.StructField, codec string) (name, options string, omitted bool) {
	tag, ok := f.Tag.Lookup(codec)
	if !ok || tag == "" && codec == msgpackName {
		tag = f.Tag.Get("json")
	}
	name, options, comma := strings.Cut(tag, ",")
	return name, options, name == "-" && (!comma || codec == msgpackName)
}

func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// marshalers are the interfaces by which a type encodes itself.
var marshalers = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.BinaryMarshaler](),
	reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.CustomEncoder](),
}

// codesItself tells whether t writes or reads its encoding itself. Such a type may refuse the values that
// fill would set.
func codesItself(t reflect.Type) bool {
	return Marshals(t, "") || slices.ContainsFunc([]reflect.Type{
		reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
		reflect.TypeFor[msgpack.Unmarshaler](), reflect.TypeFor[msgpack.CustomDecoder](),
	}, reflect.PointerTo(t).Implements)
}

// Marshals tells whether t encodes itself for a codec; for an empty name, for any. msgpack does not ask
// MarshalJSON.
func Marshals(t reflect.Type, codec string) bool {
	asked := marshalers
	if codec == msgpackName {
		asked = marshalers[1:]
	}
	return slices.ContainsFunc(asked, func(m reflect.Type) bool {
		return t.Implements(m) || reflect.PointerTo(t).Implements(m)
	})
}

// Unstorable finds the fields of a struct type that the codec cannot write and read again.
func Unstorable(t reflect.Type, codec string) []error { return walk(t, "", codec, nil) }

// walk is Unstorable for a type within T, at path.
func walk(t reflect.Type, path, codec string, above []reflect.Type) []error {
	if slices.Contains(above, t) || path != "" && Marshals(t, codec) {
		return nil
	}
	above = append(slices.Clip(above), t)
	field := strings.TrimPrefix(path, ".")
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		return []error{fmt.Errorf("%s is of type %v, which cannot be stored: change its type, or tag it \"-\" to leave it out", field, t)}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return []error{fmt.Errorf("%s is of the interface type %v, which cannot be decoded: use a concrete type, or tag it \"-\" to leave it out", field, t)}
		}
	case reflect.Pointer:
		if pointsAtItself(t) {
			return []error{fmt.Errorf("%s is of type %v, a pointer to itself, which msgpack follows for ever: use a struct", field, t)}
		}
		return walk(t.Elem(), path, codec, above)
	case reflect.Slice, reflect.Array:
		return walk(t.Elem(), path+"[]", codec, above)
	case reflect.Map:
		if k := t.Key(); codec == "json" && (k.Kind() == reflect.Float32 || k.Kind() == reflect.Float64) && !Marshals(k, codec) {
			return []error{fmt.Errorf("%s has keys of type %v, which encoding/json writes from Go 1.27 on only: change its type, or tag it \"-\" to leave it out", field, k)}
		}
		return append(walk(t.Key(), path+"[key]", codec, above), walk(t.Elem(), path+"[]", codec, above)...)
	case reflect.Struct:
		if name := embedsItself(t, nil); name != "" {
			return []error{fmt.Errorf("%s embeds itself: give the embedded field a name", name)}
		}
		var errs []error
		for f := range t.Fields() {
			_, options, omitted := tagOf(f, codec)
			at := path + "." + f.Name
			switch {
			case slices.Contains(strings.Split(options, ","), "intern"):
				errs = append(errs, fmt.Errorf("%s has the option intern, by which its bytes depend on other fields: leave it out", at[1:]))
			case omitted || !f.IsExported() && !f.Anonymous: // it is not stored, as declared
			case !f.IsExported() && f.Type.Kind() == reflect.Pointer:
				errs = append(errs, fmt.Errorf("%s embeds a pointer to an unexported struct, which cannot be decoded: embed the struct itself", at[1:]))
			case f.Anonymous && hidesAll(elem(f.Type)): // it is there for its methods, as a sync.Mutex is
			default:
				errs = append(errs, walk(f.Type, at, codec, above)...)
			}
		}
		switch {
		case !hidesAll(t) || Marshals(t, codec): // something of it is stored
		case path == "":
			errs = append(errs, errors.New("none of its fields is exported, so none is stored: begin their names with a capital letter"))
		default:
			errs = append(errs, fmt.Errorf("%s is of type %v, of which nothing is stored, for it has neither exported fields nor a marshaler: change its type, or tag it \"-\" to leave it out", field, t))
		}
		return errs
	}
	return nil
}

func pointsAtItself(t reflect.Type) bool {
	for seen := []reflect.Type(nil); t.Kind() == reflect.Pointer; t = t.Elem() {
		if slices.Contains(seen, t) {
			return true
		}
		seen = append(seen, t)
	}
	return false
}

// hidesAll tells whether a type is a struct with fields, none of which a codec sees.
func hidesAll(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return false
	}
	for f := range t.Fields() {
		if f.IsExported() || f.Anonymous {
			return false
		}
	}
	return true
}

// embedsItself finds a struct embedded in itself through pointers: msgpack follows it until the stack
// overflows, which nothing can recover.
func embedsItself(t reflect.Type, above []reflect.Type) string {
	t = elem(t)
	if t.Kind() != reflect.Struct {
		return ""
	}
	if slices.Contains(above, t) {
		return t.String()
	}
	for f := range t.Fields() {
		if _, _, omitted := tagOf(f, msgpackName); f.Anonymous && !omitted {
			if name := embedsItself(f.Type, append(slices.Clip(above), t)); name != "" {
				return name
			}
		}
	}
	return ""
}
