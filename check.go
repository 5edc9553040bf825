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

// new makes a fresh T.
func (m *core) new() any {
	v := m.blank()
	if d, ok := v.(Defaulted); ok {
		d.SessionDefaults()
	}
	return v
}

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

// foreign returns the fields of a payload that T does not know.
func (m *core) foreign(codec Codec, payload []byte) Fields {
	c, ok := codec.(FieldCodec)
	if !ok || len(payload) == 0 {
		return nil
	}
	fields, err := c.Split(payload)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(fields, func(f Field) bool { return m.names[codec.Name()][f.Name] })
}

// seal writes a record and reads it back, for its prefix and its views.
func (m *core) seal(r Record) ([]byte, Record, error) {
	raw, err := m.Layout.Seal(r)
	if err != nil {
		return nil, r, fmt.Errorf("sessions: Layout: %w", err)
	}
	if len(raw) > m.MaxSize {
		return nil, r, fmt.Errorf("%w: %d bytes, MaxSize is %d", ErrTooLarge, len(raw), m.MaxSize)
	}
	if r, err = m.Layout.Open(raw); err != nil {
		return nil, r, fmt.Errorf("sessions: Layout: it cannot open what it sealed: %w", err)
	}
	return raw, r, nil
}

// pathOf finds the field that a decoder complains about.
func pathOf(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Path() string
	}](err); ok {
		return e.Path()
	}
	return ""
}

// checkType refuses a T whose fields would be lost on the way through the
// store, with the field's path and the remedy.
func (m *core) checkType() error {
	t := m.typ
	if t.Kind() != reflect.Struct {
		return m.bad("a session is a struct: New[YourStruct], without a pointer")
	}
	errs := []error{m.checkTraits()}
	for _, err := range walk(t, "", m.Codec.Name(), nil) {
		errs = append(errs, m.bad("%w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return err // looking further would not come back
	}
	m.names = map[string]map[string]bool{}
	for i, c := range m.codecs {
		paths := map[string]string{}
		m.names[c.Name()] = map[string]bool{}
		for _, f := range fieldsOf(t, c.Name(), "", false) {
			m.names[c.Name()][f.name] = true
			if f.alias != "" {
				m.names[c.Name()][f.alias] = true
			}
			if other, ok := paths[f.name]; ok && i == 0 {
				errs = append(errs, m.bad("fields %s and %s are both written as %q by codec %s, so one is lost: give each a name of its own by a tag", other, f.path, f.name, c.Name()))
			}
			paths[f.name] = f.path
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	zero, err := m.encode(m.blank())
	if err != nil {
		return m.refused(err)
	}
	if c, ok := m.Codec.(FieldCodec); ok {
		errs = append(errs, m.checkFields(c, zero))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if path, err := m.roundTrip(); err != nil {
		return m.bad("%s does not survive codec %s: %w: change its type, or tag it \"-\" to leave it out", path, m.Codec.Name(), cause(err))
	}
	fresh, err := m.encode(m.new())
	if err != nil {
		return m.bad("codec %s cannot encode what SessionDefaults sets: %w", m.Codec.Name(), err)
	}
	if _, _, err := m.seal(Record{ID: []byte(strings.Repeat("x", 36)), Writes: [8][]byte{[]byte("x.x")}, Codec: []byte(m.Codec.Name()), Payload: fresh}); errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("sessions: Config.MaxSize: %d bytes are too few even for a fresh %s: raise it", m.MaxSize, m.name)
	} else if err != nil {
		return err
	} else if !m.defaulted {
		m.zero = fresh
	}
	return nil
}

func (m *core) bad(format string, args ...any) error {
	return fmt.Errorf("sessions: T is %s: %w", m.name, fmt.Errorf(format, args...))
}

// encode is Marshal where a marshaler may meet its first zero value and panic.
func (m *core) encode(v any) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its marshaler panics: %v", p)
		}
	}()
	data, err = m.Codec.Marshal(v)
	return data, cause(err)
}

// cause is what the codec's error hides: here are no secrets in it.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// refused explains why the codec does not take a zero T.
func (m *core) refused(err error) error {
	var errs []error
	for i := range m.typ.NumField() {
		f := m.typ.Field(i)
		if f.Anonymous {
			if marshals(f.Type, "") {
				errs = append(errs, m.bad("it embeds %v, whose marshaler then encodes all of T: give the field a name", f.Type))
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		alone := reflect.StructOf([]reflect.StructField{{Name: f.Name, Type: f.Type, Tag: f.Tag}})
		if _, err := m.encode(reflect.New(alone).Interface()); err != nil {
			errs = append(errs, m.bad("codec %s cannot encode field %s while it is zero: %w: change its type, make it a pointer, or tag it omitempty, or \"-\" to leave it out", m.Codec.Name(), f.Name, err))
		}
	}
	if len(errs) == 0 {
		return m.bad("codec %s cannot encode it while it is zero: %w", m.Codec.Name(), err)
	}
	return errors.Join(errs...)
}

// checkFields compares the zero T as encoded with what its fields promise.
func (m *core) checkFields(c FieldCodec, zero []byte) error {
	fields, err := c.Split(zero)
	if err != nil {
		return m.refused(err)
	}
	var errs []error
	for _, f := range fieldsOf(m.typ, c.Name(), "", false) {
		has := slices.ContainsFunc(fields, func(g Field) bool { return g.Name == f.name })
		if !has && !f.optional {
			errs = append(errs, m.bad("field %s is lost, codec %s does not write it as %q: leave out the marshaler that T has or embeds, and use letters, digits and _ in the tag", f.path, c.Name(), f.name))
		}
	}
	return errors.Join(errs...)
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
	for i := range t.NumField() {
		f := t.Field(i)
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
		for i := range t.NumField() {
			f := t.Field(i)
			_, _, out := tagOf(f, codec)
			at := path + "." + f.Name
			switch {
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

// mute says that a type is a struct with fields, none of which a codec sees.
func mute(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() || f.Anonymous {
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
	for i := range t.NumField() {
		f := t.Field(i)
		if _, _, out := tagOf(f, (MsgPack{}).Name()); f.Anonymous && !out {
			if name := embedsItself(f.Type, append(slices.Clip(above), t)); name != "" {
				return name
			}
		}
	}
	return ""
}

// roundTrip sends a T with something in every pointer, slice and map through
// the codec and back, and narrows a failure down to one field.
func (m *core) roundTrip() (path string, err error) {
	try := func(only string) error {
		v := reflect.New(m.typ)
		for i := range m.typ.NumField() {
			if f := m.typ.Field(i); f.IsExported() && (only == "" || f.Name == only) {
				fill(v.Elem().Field(i), nil)
			}
		}
		first, err := m.Codec.Marshal(v.Interface())
		if err != nil {
			return err
		}
		back := m.blank()
		if err := m.Codec.Unmarshal(first, back); err != nil {
			return err
		}
		if !reflect.DeepEqual(reencode(m.Codec, v.Interface()), reencode(m.Codec, back)) {
			return errors.New("it comes back different")
		}
		return nil
	}
	if err = try(""); err == nil {
		return "", nil
	}
	for i := range m.typ.NumField() {
		if f := m.typ.Field(i); f.IsExported() {
			if err := try(f.Name); err != nil {
				return f.Name, err
			}
		}
	}
	return m.name, err
}

func reencode(c Codec, v any) []byte {
	b, _ := c.Marshal(v)
	return b
}

// fill puts one element into every slice and map below v and a value behind
// every pointer. It leaves alone what marshals itself: its zero value need not
// be valid, and T's is tried anyway.
func fill(v reflect.Value, above []reflect.Type) {
	t := v.Type()
	if marshals(t, "") || slices.Contains(above, t) {
		return
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Pointer:
		if !marshals(t.Elem(), "") && !slices.Contains(above, t.Elem()) {
			v.Set(reflect.New(t.Elem()))
			fill(v.Elem(), above)
		}
	case reflect.Slice:
		if !marshals(t.Elem(), "") {
			v.Set(reflect.MakeSlice(t, 1, 1))
			fill(v.Index(0), above)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), above)
		}
	case reflect.Map:
		if !marshals(t.Elem(), "") && !marshals(t.Key(), "") {
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

// checkTraits refuses a method that looks like one of the interfaces that *T
// may implement, but is not it.
func (m *core) checkTraits() error {
	const name = "SessionDefaults"
	wrong := ""
	if _, ok := m.typ.MethodByName(name); ok {
		wrong = "has a value receiver, so what it sets is lost"
	} else if method, ok := reflect.PointerTo(m.typ).MethodByName(name); ok && !m.defaulted {
		wrong = fmt.Sprintf("is a %v, so it is never called", method.Type)
	}
	if wrong == "" {
		return nil
	}
	return m.bad("method %s %s: declare func (s *%s) %s()", name, wrong, m.typ.Name(), name)
}
