package shape

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// Unstorable finds the fields of a struct type that the codec cannot write and read again, and those that must not be
// copied.
func Unstorable(t reflect.Type, codec string) []error {
	w := walker{codec, codersOf(codec), map[string]error{}}
	locks(t, place{codec: codec, stored: true}, w.locks)
	errs := w.fields(t, "", true, nil)
	for _, path := range slices.Sorted(maps.Keys(w.locks)) {
		errs = append(errs, w.locks[path])
	}
	return errs
}

// A walker looks at the types within T.
type walker struct {
	codec  string
	coders []coder
	locks  map[string]error // by path
}

const change = `change its type, or tag it "-" to leave it out`

// walk looks at a type within T, at path. address says that its values have one.
func (w *walker) walk(t reflect.Type, path string, address bool, above []reflect.Type) []error {
	bad := func(format string, args ...any) []error {
		return []error{fmt.Errorf("%s is of %s: %s", path[1:], fmt.Sprintf(format, args...), change)}
	}
	if w.locks[path] != nil || slices.Contains(above, t) || !ruled(w.codec) && Marshals(t, w.codec) {
		return nil
	}
	if t.Kind() == reflect.Interface && t.NumMethod() > 0 {
		return []error{fmt.Errorf("%s is of the interface type %v, which cannot be decoded: use a concrete type, or tag it \"-\" to leave it out", path[1:], t)}
	}
	writer, writes := writerOf(t, w.coders, address)
	reader, reads := readerOf(t, w.coders)
	pointed, pointer := writerOf(t, w.coders, true)
	switch {
	case !ruled(w.codec), t.Kind() == reflect.Pointer: // a pointer has the methods of what it points at
	case writes && !reads && hidesAll(t):
		return bad("type %v, of which nothing is read again, for it has a %s, and neither exported fields nor a method that reads what that writes", t, writer.method())
	case writes:
		if embedded := w.embeddedWriter(t, writer); embedded != nil {
			return []error{fmt.Errorf("%s embeds %v, whose %s then writes all of it, so that its other fields are lost: give the embedded field a name", path[1:], embedded, writer.method())}
		}
		return nil
	case pointer:
		return bad("type %v in a map, and codec %s cannot call its %s there, for that has a pointer as receiver", t, w.codec, pointed.method())
	case reads && (reader == textCoder || reader == binaryCoder) && !isText(t):
		return bad("type %v, whose %s reads text or bytes, and which is written as neither, for it has no %s", t, reader.reader.Method(0).Name, reader.method())
	}
	return w.kind(t, path, address, above)
}

// kind looks at a type whose values do not encode themselves.
func (w *walker) kind(t reflect.Type, path string, address bool, above []reflect.Type) []error {
	above = append(slices.Clip(above), t)
	field := strings.TrimPrefix(path, ".")
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Uintptr:
		return []error{fmt.Errorf("%s is of type %v, which cannot be stored: %s", field, t, change)}
	case reflect.Pointer:
		if pointsAtItself(t) {
			return []error{fmt.Errorf("%s is of type %v, a pointer to itself, which msgpack follows for ever: use a struct", field, t)}
		}
		return w.walk(t.Elem(), path, true, above)
	case reflect.Slice:
		return w.walk(t.Elem(), path+"[]", true, above)
	case reflect.Array:
		return w.walk(t.Elem(), path+"[]", address, above)
	case reflect.Map:
		return append(w.key(t.Key(), path, above), w.walk(t.Elem(), path+"[]", false, above)...)
	case reflect.Struct:
		return w.fields(t, path, address, above)
	}
	return nil
}

// key looks at the keys of a map at path.
func (w *walker) key(t reflect.Type, path string, above []reflect.Type) []error {
	if w.codec == jsonName && isJSONKey(t) {
		return nil
	}
	errs := w.walk(t, path+"[key]", false, above)
	if w.codec != jsonName || len(errs) > 0 {
		return errs
	}
	when := "does not write and read"
	if t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 {
		when = "writes from Go 1.27 on only"
	}
	return []error{fmt.Errorf("%s has keys of type %v, which encoding/json %s: %s", path[1:], t, when, change)}
}

// fields looks at a struct whose values do not encode themselves, or at T.
func (w *walker) fields(t reflect.Type, path string, address bool, above []reflect.Type) []error {
	if name := embedsItself(t, nil); name != "" {
		return []error{fmt.Errorf("%s embeds itself: give the embedded field a name", name)}
	}
	above = append(slices.Clip(above), t)
	_, reads := readerOf(t, w.coders)
	own := path == "" && Marshals(t, w.codec) // T writes itself
	var errs []error
	for f := range t.Fields() {
		at := path + "." + f.Name
		_, options, omitted := tagOf(f, w.codec)
		wrong := w.tag(f)
		switch {
		case path == "" && f.Name == arrayOption && w.codec == msgpackName && (hasOption(options, "as_array") || hasOption(options, "asArray")):
			errs = append(errs, fmt.Errorf("%s has the option as_array, and a session is a map: leave it out", f.Name))
		case wrong != nil && (f.IsExported() || f.Anonymous) && !own:
			errs = append(errs, fmt.Errorf("%s %w", at[1:], wrong))
		case omitted || w.locks[at] != nil || !f.IsExported() && !f.Anonymous: // it is not stored, as declared
		case !f.IsExported() && f.Type.Kind() == reflect.Pointer:
			errs = append(errs, fmt.Errorf("%s embeds a pointer to an unexported struct, which cannot be decoded: embed the struct itself", at[1:]))
		case f.Anonymous && hidesAll(elem(f.Type)) && !Marshals(elem(f.Type), ""): // it is there for its methods
		case f.Anonymous && own: // New looks at what the marshaler writes
		case flattens(f, w.codec):
			errs = append(errs, w.kind(elem(f.Type), at, address || f.Type.Kind() == reflect.Pointer, above)...)
		default:
			errs = append(errs, w.walk(f.Type, at, address, above)...)
		}
	}
	switch {
	case len(errs) > 0, !hidesAll(t), own && reads: // something of it is stored
	case own:
		errs = append(errs, errors.New("none of its fields is exported, and it has no method that reads what its marshaler writes: declare that"))
	case path == "":
		errs = append(errs, errors.New("none of its fields is exported, so none is stored: begin their names with a capital letter"))
	default:
		why := "it has neither exported fields nor a marshaler"
		if writer, ok := writerOf(t, w.coders, true); ok {
			why = fmt.Sprintf("it has no exported fields, and codec %s does not ask the %s of what is embedded", w.codec, writer.method())
		} else if writer, ok := writerOf(t, allCoders, true); ok {
			why = fmt.Sprintf("it has no exported fields, and codec %s does not ask its %s", w.codec, writer.method())
		}
		errs = append(errs, fmt.Errorf("%s is of type %v, of which nothing is stored, for %s: %s", path[1:], t, why, change))
	}
	return errs
}

// tag finds what a codec does not take in a field's tag.
func (w *walker) tag(f reflect.StructField) error {
	_, options, omitted := tagOf(f, w.codec)
	given := f.Tag.Get(w.codec)
	if given == "" {
		given = f.Tag.Get("json")
	}
	asked, _, comma := strings.Cut(given, ",")
	switch {
	case hasOption(options, "intern"):
		return errors.New("has the option intern, by which its bytes depend on other fields: leave it out")
	case omitted && comma:
		return fmt.Errorf("is tagged %q, by which codec %s leaves it out: give it another name by a tag %s, or tag it \"-\" to leave it out", given, w.codec, w.codec)
	case !omitted && asked != "" && !takesName(asked, w.codec):
		return fmt.Errorf("is tagged %q, a name that codec %s does not take: use letters, digits and _ in the tag", asked, w.codec)
	case w.codec == jsonName && (hasOption(options, "embed") || strings.Contains(","+options, ",format:")):
		return errors.New("has an option embed or format in its tag, which encoding/json knows from Go 1.27 on only: leave it out")
	}
	return nil
}

// embeddedWriter returns the embedded type whose method writes all of t, if t has further fields, which are then lost.
func (w *walker) embeddedWriter(t reflect.Type, writer coder) reflect.Type {
	if t.Kind() != reflect.Struct || !isPromoted(t, writer.method()) {
		return nil
	}
	var embedded reflect.Type
	others := false
	for f := range t.Fields() {
		_, _, omitted := tagOf(f, w.codec)
		switch {
		case f.Anonymous && (f.Type.Implements(writer.writer) || reflect.PointerTo(f.Type).Implements(writer.writer)):
			embedded = f.Type
		case f.IsExported() && !omitted, f.Anonymous && !hidesAll(elem(f.Type)):
			others = true
		}
	}
	if embedded != nil && !others {
		return w.embeddedWriter(elem(embedded), writer)
	}
	return embedded
}

// isPromoted tells whether a method of t is one of an embedded field: the compiler has then generated it.
func isPromoted(t reflect.Type, method string) bool {
	m, ok := t.MethodByName(method)
	if !ok {
		m, _ = reflect.PointerTo(t).MethodByName(method)
	}
	if !m.Func.IsValid() || strings.Contains(t.Name(), "[") {
		return false // methods of generic types are generated too
	}
	file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
	return file == "<autogenerated>"
}

// isText tells whether codecs write a kind of values as text or bytes.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8 ||
		t.Kind() == reflect.Pointer && isText(t.Elem())
}

// isJSONKey tells whether every version of encoding/json writes and reads a type as the key of a map.
func isJSONKey(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return t.Implements(textCoder.writer) && reflect.PointerTo(t).Implements(textCoder.reader)
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
