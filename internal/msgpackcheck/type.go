package msgpackcheck

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// Type refuses a type that the msgpack package cannot handle: one that makes
// it overflow the stack, which ends the process, and one whose content it
// loses without a word. It looks at every type that a value of t can reach,
// for the package does too, once a pointer is set.
func Type(t reflect.Type) error {
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type, path string) error
	walk = func(t reflect.Type, path string) error {
		if seen[t] || handles(t) {
			return nil
		}
		seen[t] = true
		switch t.Kind() {
		case reflect.Pointer:
			if pointsAtItself(t) {
				return fmt.Errorf("%s: %v is a pointer to itself, which msgpack follows for ever", path, t)
			}
			return walk(t.Elem(), path)
		case reflect.Slice, reflect.Array:
			return walk(t.Elem(), path+"[]")
		case reflect.Map:
			if err := walk(t.Key(), path+"[key]"); err != nil {
				return err
			}
			return walk(t.Elem(), path+"[]")
		case reflect.Struct:
			if embeds(t, t, nil) {
				return fmt.Errorf("%s: %v embeds itself, which msgpack follows for ever: name the field", path, t)
			}
			exported := false
			for i := range t.NumField() {
				f := t.Field(i)
				tag := tagOf(f)
				if tag == "-" || !f.IsExported() && !f.Anonymous {
					continue
				}
				exported = true
				inner := strings.TrimPrefix(path+"."+f.Name, ".")
				if slices.Contains(strings.Split(tag, ",")[1:], "intern") {
					return fmt.Errorf("%s: the option intern makes its bytes depend on other fields: leave it out", inner)
				}
				if err := walk(f.Type, inner); err != nil {
					return err
				}
			}
			if !exported && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) {
				return fmt.Errorf("%s: %v has a MarshalJSON and no exported fields, so that msgpack stores nothing of it: give it MarshalText or EncodeMsgpack too, or tag it \"-\" to leave it out", path, t)
			}
		}
		return nil
	}
	return walk(t, "")
}

func tagOf(f reflect.StructField) string {
	if tag, ok := f.Tag.Lookup("msgpack"); ok {
		return tag
	}
	return f.Tag.Get("json")
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

// embeds says that t reaches target by embedded fields alone.
func embeds(t, target reflect.Type, above []reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		tag := tagOf(f)
		if !f.Anonymous || inner.Kind() != reflect.Struct || tag == "-" || strings.Contains(tag, ",noinline") || handles(inner) {
			continue
		}
		if inner == target || !slices.Contains(above, inner) && embeds(inner, target, append(slices.Clip(above), inner)) {
			return true
		}
	}
	return false
}

// handles says that t encodes itself as far as msgpack asks it.
func handles(t reflect.Type) bool {
	for _, m := range []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}
