package sessions

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

// codecOf returns the codec that a record names, Config.Codec for a record
// without a name, nil for an unknown one.
func (m *core) codecOf(r *Record) Codec {
	if len(r.Codec) == 0 {
		return m.Codec
	}
	for _, c := range m.codecs {
		if c.Name() == string(r.Codec) {
			return c
		}
	}
	return nil
}

// field is an exported field of T as a codec writes it.
type field struct {
	name, path string
	alias      string // another name that it is read from
	optional   bool   // omitempty, omitzero, or behind a nil embedded pointer
}

// fieldsOf lists them. It does not go by Go's rules of promotion: a field that
// those hide can be set all the same, and is to be found again.
func fieldsOf(t reflect.Type, codec, path string, optional bool) []field {
	var fields []field
	for f := range t.Fields() {
		name, options, out := tagOf(f, codec)
		if out {
			continue
		}
		flat := name == ""
		if codec == (MsgPack{}).Name() { // a name does not keep it from flattening, a marshaler does
			flat = !strings.Contains(options, "noinline") && !marshals(f.Type, codec)
		}
		if f.Anonymous && flat && elem(f.Type).Kind() == reflect.Struct {
			fields = append(fields, fieldsOf(elem(f.Type), codec, path+f.Name+".", optional || f.Type.Kind() == reflect.Pointer)...)
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
		fields = append(fields, field{name, path + f.Name, alias, optional || strings.Contains(options, "omit")})
	}
	return fields
}

// tagOf reads a field's tag as a codec does, and whether it leaves the field out.
func tagOf(f reflect.StructField, codec string) (name, options string, out bool) {
	tag, ok := f.Tag.Lookup(codec)
	if !ok || tag == "" && codec == (MsgPack{}).Name() {
		tag = f.Tag.Get("json")
	}
	name, options, comma := strings.Cut(tag, ",")
	return name, options, name == "-" && (!comma || codec == (MsgPack{}).Name())
}

func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// marshalers are the ways in which a type takes its encoding into its own hands.
var marshalers = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.BinaryMarshaler](),
	reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.CustomEncoder](),
}

// ownWay says whether t writes or reads its encoding itself, and so may refuse
// what is not one of its values.
func ownWay(t reflect.Type) bool {
	return marshals(t, "") || slices.ContainsFunc([]reflect.Type{
		reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
		reflect.TypeFor[msgpack.Unmarshaler](), reflect.TypeFor[msgpack.CustomDecoder](),
	}, reflect.PointerTo(t).Implements)
}

// marshals says whether t does so for a codec. msgpack does not ask MarshalJSON.
func marshals(t reflect.Type, codec string) bool {
	asked := marshalers
	if codec == (MsgPack{}).Name() {
		asked = marshalers[1:]
	}
	return slices.ContainsFunc(asked, func(m reflect.Type) bool {
		return t.Implements(m) || reflect.PointerTo(t).Implements(m)
	})
}

// walk finds the fields that no codec can write and read.
func walk(t reflect.Type, path, codec string, above []reflect.Type) []error {
	if slices.Contains(above, t) || path != "" && marshals(t, codec) {
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
		return append(walk(t.Key(), path+"[key]", codec, above), walk(t.Elem(), path+"[]", codec, above)...)
	case reflect.Struct:
		if name := embedsItself(t, nil); name != "" {
			return []error{fmt.Errorf("%s embeds itself: give the embedded field a name", name)}
		}
		var errs []error
		for f := range t.Fields() {
			_, options, out := tagOf(f, codec)
			at := path + "." + f.Name
			switch {
			case slices.Contains(strings.Split(options, ","), "intern"):
				errs = append(errs, fmt.Errorf("%s has the option intern, by which its bytes depend on other fields: leave it out", at[1:]))
			case out || !f.IsExported() && !f.Anonymous:
			case !f.IsExported() && f.Type.Kind() == reflect.Pointer:
				errs = append(errs, fmt.Errorf("%s embeds a pointer to an unexported struct, which cannot be decoded: embed the struct itself", at[1:]))
			case f.Anonymous && mute(elem(f.Type)): // for its methods, as a sync.Mutex is
			default:
				errs = append(errs, walk(f.Type, at, codec, above)...)
			}
		}
		switch {
		case !mute(t) || marshals(t, codec):
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

// mute says that a type is a struct with fields, none of which a codec sees.
func mute(t reflect.Type) bool {
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

// embedsItself finds a struct embedded in itself through pointers: msgpack
// follows it until the stack overflows, which nothing can recover.
func embedsItself(t reflect.Type, above []reflect.Type) string {
	t = elem(t)
	if t.Kind() != reflect.Struct {
		return ""
	}
	if slices.Contains(above, t) {
		return t.String()
	}
	for f := range t.Fields() {
		if _, _, out := tagOf(f, (MsgPack{}).Name()); f.Anonymous && !out {
			if name := embedsItself(f.Type, append(slices.Clip(above), t)); name != "" {
				return name
			}
		}
	}
	return ""
}
