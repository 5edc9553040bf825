package sessions

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/shape"
)

// A checker looks for what is wrong with T.
type checker struct {
	*typeInfo
	cfg *Config // with its defaults
}

// shapeOfT is what New finds out about T beside its mistakes.
type shapeOfT struct {
	version int
	fields  [][]shape.Field // by codec: the fields that T can write, or read; nil if it encodes itself
	fresh   []byte          // a fresh T by Config.Codec
}

// checkType refuses a T whose fields would be lost on the way through the store, with the field's path and
// the remedy. The first of the codecs is Config.Codec.
func checkType(cfg *Config, typ *typeInfo, codecs []Codec) (shapeOfT, error) {
	m := checker{typ, cfg}
	var found shapeOfT
	if typ.reflected.Kind() != reflect.Struct {
		return found, m.bad("a session is a struct: New[YourStruct], without a pointer")
	}
	version, err := m.checkVersion()
	found.version = version
	errs := []error{m.checkTraits(), err, m.checkOwner()}
	for _, err := range shape.Unstorable(typ.reflected, cfg.Codec.Name()) {
		errs = append(errs, m.bad("%w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return found, err // looking further could overflow the stack
	}
	if found.fields, err = m.checkNamesUnique(codecs); err != nil {
		return found, err
	}
	zero, err := m.tryEncode(typ.new())
	if err != nil {
		return found, m.explainRefusal(err)
	}
	if c, ok := cfg.Codec.(FieldCodec); ok {
		if err := m.checkWritten(c, zero); err != nil {
			if cfg.OnConflict == ConflictMerge && typ.merge == nil {
				return found, err
			}
			found.fields[0] = nil
		}
	}
	for i, c := range codecs {
		if shape.Marshals(typ.reflected, c.Name()) {
			found.fields[i] = nil // it decides itself what it writes
		}
	}
	if err := m.checkNamesForLayout(zero); err != nil {
		return found, err
	}
	if path, err := m.roundTrip(); err != nil {
		return found, m.bad("%s does not survive codec %s: %w: change its type, or tag it \"-\" to leave it out", path, cfg.Codec.Name(), innerError(err))
	}
	if found.fresh, err = m.tryEncode(typ.fresh()); err != nil {
		return found, m.bad("codec %s cannot encode what SessionDefaults sets: %w", cfg.Codec.Name(), err)
	}
	return found, nil
}

// checkNamesUnique collects the names of T's fields by codec, and refuses two of one name under Config.Codec.
func (m checker) checkNamesUnique(codecs []Codec) (fields [][]shape.Field, err error) {
	var errs []error
	for i, c := range codecs {
		paths := map[string]string{}
		fields = append(fields, append([]shape.Field{}, shape.Fields(m.reflected, c.Name())...))
		for _, f := range fields[i] {
			if other, ok := paths[f.Name]; ok && i == 0 {
				errs = append(errs, m.bad("fields %s and %s are both written as %q by codec %s, so one is lost: give each a name of its own by a tag", other, f.Path, f.Name, c.Name()))
			}
			paths[f.Name] = f.Path
		}
	}
	return fields, errors.Join(errs...)
}

// bad makes an error about T.
func (t *typeInfo) bad(format string, args ...any) error {
	return fmt.Errorf("sessions: T is %s: %w", t.reflected, fmt.Errorf(format, args...))
}

// tryEncode is Marshal with a panic as an error: T's marshaler may never have seen a zero T.
func (m checker) tryEncode(v any) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its marshaler panics: %v", p)
		}
	}()
	data, err = m.cfg.Codec.Marshal(v)
	return data, innerError(err)
}

// innerError is the error inside a codec's error. The codec hides it because it may quote values; here they are
// zero.
func innerError(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// explainRefusal explains why the codec does not take a zero T.
func (m checker) explainRefusal(err error) error {
	var errs []error
	for f := range m.reflected.Fields() {
		if f.Anonymous {
			if shape.Marshals(f.Type, m.cfg.Codec.Name()) {
				tagged := ""
				if f.Tag != "" {
					tagged = ", for a tag does not change that"
				}
				errs = append(errs, m.bad("it embeds %v, whose marshaler then encodes all of T: give the field a name%s", f.Type, tagged))
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		alone := reflect.StructOf([]reflect.StructField{{Name: f.Name, Type: f.Type, Tag: f.Tag}})
		if _, err := m.tryEncode(reflect.New(alone).Interface()); err != nil {
			errs = append(errs, m.bad("codec %s cannot encode field %s while it is zero: %w: change its type, make it a pointer, or tag it omitempty, or \"-\" to leave it out", m.cfg.Codec.Name(), f.Name, err))
		}
	}
	if len(errs) == 0 {
		return m.bad("codec %s cannot encode it while it is zero: %w", m.cfg.Codec.Name(), err)
	}
	return errors.Join(errs...)
}

// checkWritten compares the zero T as encoded with the names of its fields.
func (m checker) checkWritten(c FieldCodec, zero []byte) error {
	fields, err := c.Split(zero)
	if err != nil {
		return m.explainRefusal(err)
	}
	var errs []error
	for _, f := range shape.Fields(m.reflected, c.Name()) {
		has := slices.ContainsFunc(fields, func(g Field) bool { return g.Name == f.Name })
		if !has && !f.Optional {
			errs = append(errs, m.bad("field %s is lost, codec %s does not write it as %q: leave out the marshaler that T has or embeds, and use letters, digits and _ in the tag; or say with MergeSession, or Config.OnConflict, what becomes of two requests' changes", f.Path, c.Name(), f.Name))
		}
	}
	return errors.Join(errs...)
}

// checkNamesForLayout shows the Layout the names of T's fields, in which a format that
// knows no header may have a meaning of its own.
func (m checker) checkNamesForLayout(zero []byte) error {
	l, ok := m.cfg.Layout.(FieldsValidator)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for _, f := range shape.Fields(m.reflected, m.cfg.Codec.Name()) {
		names[f.Name] = true
	}
	if c, ok := m.cfg.Codec.(FieldCodec); ok { // a marshaler of T's has names of its own
		fields, _ := c.Split(zero)
		for _, f := range fields {
			names[f.Name] = true
		}
	}
	if err := l.ValidateFields(slices.Sorted(maps.Keys(names))); err != nil {
		return m.bad("%w", err)
	}
	return nil
}

// roundTrip sends a T with something in every pointer, slice and map through
// the codec and back, and narrows a failure down to one field.
func (m checker) roundTrip() (path string, err error) {
	try := func(only string) error {
		v := reflect.New(m.reflected)
		for f := range m.reflected.Fields() {
			if f.IsExported() && (only == "" || f.Name == only) {
				shape.Fill(v.Elem().FieldByIndex(f.Index), m.cfg.Codec.Name())
			}
		}
		first, err := m.cfg.Codec.Marshal(v.Interface())
		if err != nil {
			return err
		}
		back := m.new()
		if err := m.cfg.Codec.Unmarshal(first, back); err != nil {
			return err
		}
		if !document.Permuted(reencode(m.cfg.Codec, v.Interface()), reencode(m.cfg.Codec, back)) { // a map may come in any order
			return errors.New("it comes back different")
		}
		return nil
	}
	if err = try(""); err == nil {
		return "", nil
	}
	for f := range m.reflected.Fields() {
		if f.IsExported() {
			if err := try(f.Name); err != nil {
				return f.Name, err
			}
		}
	}
	return m.reflected.String(), err
}

func reencode(c Codec, v any) []byte {
	b, _ := c.Marshal(v)
	return b
}

// checkTraits refuses a method that looks like one of the interfaces that *T
// may implement, but is not it.
func (m checker) checkTraits() error {
	name := m.reflected.Name()
	var errs []error
	has := map[string]bool{}
	for _, trait := range []struct {
		method string
		is     bool
		want   string
		sets   bool // its receiver
	}{
		{"SessionDefaults", m.defaults != nil, "SessionDefaults()", true},
		{"SessionOwner", m.owner != nil, "SessionOwner() string", false},
		{"SessionVersion", m.version != nil, "SessionVersion() int", false},
		{"UpgradeSession", m.version != nil, "UpgradeSession(from int, decode func(any) error) error", true},
		{"MergeSession", m.merge != nil, "MergeSession(base, theirs *" + name + ") error", true},
	} {
		method, ok := reflect.PointerTo(m.reflected).MethodByName(trait.method)
		if !ok {
			continue
		}
		has[trait.method] = true
		wrong := ""
		if _, value := m.reflected.MethodByName(trait.method); value && trait.sets {
			wrong = "has a value receiver, so what it sets is lost"
		} else if !trait.is && !hasRightType(method, trait.method) {
			wrong = fmt.Sprintf("is a %v, so it is never called", method.Type)
		}
		if wrong != "" {
			errs = append(errs, m.bad("method %s %s: declare func (s *%s) %s", trait.method, wrong, name, trait.want))
		}
	}
	if has["SessionVersion"] != has["UpgradeSession"] {
		errs = append(errs, m.bad("it has one of SessionVersion and UpgradeSession, and needs both: declare the other one too"))
	}
	return errors.Join(errs...)
}

// hasRightType says that a method has the type it needs: of two that make one interface
// the other one may be wrong.
func hasRightType(method reflect.Method, name string) bool {
	want, ok := reflect.TypeFor[Versioned]().MethodByName(name)
	if !ok || method.Type.NumIn() != want.Type.NumIn()+1 || method.Type.NumOut() != want.Type.NumOut() {
		return false
	}
	for i := range want.Type.NumIn() {
		if method.Type.In(i+1) != want.Type.In(i) {
			return false
		}
	}
	for i := range want.Type.NumOut() {
		if method.Type.Out(i) != want.Type.Out(i) {
			return false
		}
	}
	return true
}

// checkVersion asks T for its version, once and for all.
func (m checker) checkVersion() (version int, err error) {
	if m.version == nil {
		return 0, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = m.bad("SessionVersion panics on a zero T: %v: return a constant", p)
		}
	}()
	if version = m.version(m.new()); version < 1 || version > math.MaxInt32 {
		return 0, m.bad("SessionVersion is %d: return 1 or more, as a T that was never Versioned is version 0", version)
	}
	return version, nil
}

// checkOwner asks for the owner of a zero T, which is what each visitor has at first.
func (m checker) checkOwner() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.bad("SessionOwner panics on a zero T: %v: return \"\" for nobody", p)
		}
	}()
	if m.owner != nil {
		m.owner(m.new())
	}
	return nil
}
