package sessions

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions/internal/merge"
)

// checkType refuses a T whose fields would be lost on the way through the
// store, with the field's path and the remedy.
func (m *core) checkType() error {
	t := m.typ
	if t.Kind() != reflect.Struct {
		return m.bad("a session is a struct: New[YourStruct], without a pointer")
	}
	errs := []error{m.checkTraits(), m.checkVersion(), m.checkOwner()}
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
		if err := m.checkFields(c, zero); err != nil {
			if m.OnConflict == ConflictMerge && m.mergeSession == nil {
				return err
			}
			m.names[c.Name()] = nil
		}
	}
	for _, c := range m.codecs {
		if marshals(m.typ, c.Name()) {
			m.names[c.Name()] = nil // what it writes is for itself to say
		}
	}
	if err := m.checkNames(zero); err != nil {
		return err
	}
	if path, err := m.roundTrip(); err != nil {
		return m.bad("%s does not survive codec %s: %w: change its type, or tag it \"-\" to leave it out", path, m.Codec.Name(), cause(err))
	}
	fresh, err := m.encode(m.new())
	if err != nil {
		return m.bad("codec %s cannot encode what SessionDefaults sets: %w", m.Codec.Name(), err)
	}
	_, sealed, err := m.seal(Record{
		ID: []byte(strings.Repeat("x", 36)), Writes: [8][]byte{[]byte("x.x")}, Created: time.Now(),
		Codec: []byte(m.Codec.Name()), Payload: fresh, Version: m.version, Attrs: m.attrs(nil, false),
	})
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("sessions: Config.MaxSize: %d bytes are too few even for a fresh %s: raise it", m.MaxSize, m.name)
	case err != nil:
		return err
	case sealed.Version != m.version:
		return m.bad("it is Versioned, and the Layout keeps no version, so that every load would upgrade it again: keep a version in T")
	case sealed.Created.IsZero() && m.timeout[0].lifetime > 0:
		return errors.New("sessions: Config.Lifetime: the Layout keeps no creation time, so every session would be past it: set it to -1")
	}
	if !m.defaulted {
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
	for f := range m.typ.Fields() {
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
			errs = append(errs, m.bad("field %s is lost, codec %s does not write it as %q: leave out the marshaler that T has or embeds, and use letters, digits and _ in the tag; or say with MergeSession, or Config.OnConflict, what becomes of two requests' changes", f.path, c.Name(), f.name))
		}
	}
	return errors.Join(errs...)
}

// checkNames shows the Layout the names of T's fields, in which a format that
// knows no header may have a meaning of its own.
func (m *core) checkNames(zero []byte) error {
	l, ok := m.Layout.(interface{ ValidateFields(names []string) error })
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for _, f := range fieldsOf(m.typ, m.Codec.Name(), "", false) {
		names[f.name] = true
	}
	if c, ok := m.Codec.(FieldCodec); ok { // a marshaler of T's has names of its own
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
func (m *core) roundTrip() (path string, err error) {
	try := func(only string) error {
		v := reflect.New(m.typ)
		for f := range m.typ.Fields() {
			if f.IsExported() && (only == "" || f.Name == only) {
				fill(v.Elem().FieldByIndex(f.Index), nil)
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
		if !merge.Permuted(reencode(m.Codec, v.Interface()), reencode(m.Codec, back)) { // a map may come in any order
			return errors.New("it comes back different")
		}
		return nil
	}
	if err = try(""); err == nil {
		return "", nil
	}
	for f := range m.typ.Fields() {
		if f.IsExported() {
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
	if ownWay(t) || slices.Contains(above, t) {
		return
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Pointer:
		if !ownWay(t.Elem()) && !slices.Contains(above, t.Elem()) {
			v.Set(reflect.New(t.Elem()))
			fill(v.Elem(), above)
		}
	case reflect.Slice:
		if !ownWay(t.Elem()) {
			v.Set(reflect.MakeSlice(t, 1, 1))
			fill(v.Index(0), above)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), above)
		}
	case reflect.Map:
		if !ownWay(t.Elem()) && !ownWay(t.Key()) {
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

// checkTraits refuses a method that looks like one of the interfaces that *T
// may implement, but is not it.
func (m *core) checkTraits() error {
	name := m.typ.Name()
	var errs []error
	has := map[string]bool{}
	for _, trait := range []struct {
		method string
		is     bool
		want   string
		sets   bool // its receiver
	}{
		{"SessionDefaults", m.defaulted, "SessionDefaults()", true},
		{"SessionOwner", m.owned, "SessionOwner() string", false},
		{"SessionVersion", m.versioned, "SessionVersion() int", false},
		{"UpgradeSession", m.versioned, "UpgradeSession(from int, decode func(any) error) error", true},
		{"MergeSession", m.mergeSession != nil, "MergeSession(base, theirs *" + name + ") error", true},
	} {
		method, ok := reflect.PointerTo(m.typ).MethodByName(trait.method)
		if !ok {
			continue
		}
		has[trait.method] = true
		wrong := ""
		if _, value := m.typ.MethodByName(trait.method); value && trait.sets {
			wrong = "has a value receiver, so what it sets is lost"
		} else if !trait.is && !fits(method, trait.method) {
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

// fits says that a method has the type it needs: of two that make one interface
// the other one may be wrong.
func fits(method reflect.Method, name string) bool {
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
func (m *core) checkVersion() (err error) {
	if !m.versioned {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = m.bad("SessionVersion panics on a zero T: %v: return a constant", p)
		}
	}()
	if m.version = m.blank().(Versioned).SessionVersion(); m.version < 1 || m.version > math.MaxInt32 {
		return m.bad("SessionVersion is %d: return 1 or more, as a T that was never Versioned is version 0", m.version)
	}
	return nil
}

// checkOwner asks whose a T is that is nobody's yet, as each visitor's is at first.
func (m *core) checkOwner() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.bad("SessionOwner panics on a zero T: %v: return \"\" for nobody", p)
		}
	}()
	m.owner(m.blank())
	return nil
}
