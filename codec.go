package sessions

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/jsonfields"
	"github.com/typedsessions/sessions/internal/msgpackcheck"
	"github.com/typedsessions/sessions/internal/shape"
)

// A Codec turns a session into bytes and back. It is safe for concurrent use:
//
//   - Name is stored with each record and never changes: a-z, 0-9 and -.
//   - v is a *T. Marshal leaves it alone. Equal values should give equal bytes: those need not be
//     stored again.
//   - Unmarshal gets a new T and any bytes. It copies what it keeps of data, skips fields that T does
//     not have, and leaves alone those that data does not have. It never panics, never allocates more
//     than a small multiple of len(data), and fails on less than one whole document.
//   - Errors hold no value of the session. Their Path() may name the field.
//
// It may also be a [Validator], an [AppendCodec] and a [FieldCodec]. If it is not the last, the later of
// two saves stands as a whole.
type Codec interface {
	Name() string
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// A FieldCodec takes documents apart into top-level fields and puts them together: merging, and keeping
// fields that T does not know, need it.
type FieldCodec interface {
	Codec
	// Split returns the fields in the order of data. Values are views into data. Of two of one name the last counts.
	Split(data []byte) (Fields, error)
	// Join returns a document of the fields in the order given. Values are ones that Split returned.
	Join(fields Fields) ([]byte, error)
}

// Fields are the top-level fields of an encoded session, each name once.
type Fields []Field

// A Field is the Name of a field, a string free of the codec's escapes, and its encoded Value, a []byte.
type Field = document.Field

// An AppendCodec appends what Marshal returns to dst: one allocation less.
type AppendCodec interface {
	AppendMarshal(dst []byte, v any) ([]byte, error)
}

// A FieldWalker is a [FieldCodec] that visits the fields of valid data.
type FieldWalker interface {
	Walk(data []byte, field func(name, value []byte)) error
}

// withOptional finds out once what a codec can do. fields are those of T, nil if T encodes itself.
func withOptional(c Codec, fields []shape.Field) *document.Codec {
	d := &document.Codec{Encoder: c}
	if a, ok := c.(AppendCodec); ok {
		d.AppendMarshal = a.AppendMarshal
	}
	f, ok := c.(FieldCodec)
	if !ok {
		return d
	}
	if fields != nil {
		d.FieldNames, d.Inexact = map[string]bool{}, map[string]bool{}
	}
	d.Shape = fields
	for _, field := range fields {
		for _, name := range []string{field.Name, field.Alias} {
			if name != "" {
				d.FieldNames[name] = true
			}
			if !field.Exact {
				d.Inexact[name] = true
			}
		}
	}
	d.Split = func(data []byte) ([]Field, error) { return f.Split(data) }
	d.Join = func(fields []Field) ([]byte, error) { return f.Join(fields) }
	if w, ok := c.(FieldWalker); ok {
		d.Walk = w.Walk
		d.SplitDecoded = func(data []byte) ([]Field, error) { return split(c.Name(), data, w.Walk) }
	}
	return d
}

// split collects what walk finds. A name that comes again takes the place of the first with the value
// of the last, as in JavaScript.
func split(codec string, data []byte, walk func([]byte, func(name, value []byte)) error) (Fields, error) {
	fields, index := make(Fields, 0, 16), make(map[string]int, 16)
	err := walk(data, func(name, value []byte) {
		if i, ok := index[string(name)]; ok {
			fields[i].Value = value
			return
		}
		f := Field{Name: string(name), Value: value}
		index[f.Name] = len(fields)
		fields = append(fields, f)
	})
	if err != nil {
		return nil, fmt.Errorf("sessions: %s: %w", codec, err)
	}
	return fields, nil
}

// decodeRecovering runs fn, which decodes data into v. A panic is an error as any other: a stored record must not
// bring down each request of its visitor, whether msgpack panics on it (a nil where T has a time.Time)
// or an unmarshaler of T's.
func decodeRecovering(c FieldCodec, data []byte, v any, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("panic: %v", p)
			}
			err = &codecError{c.Name() + ": panic while decoding", failingField(c, data, v), cause}
		}
	}()
	if err = fn(); err == nil {
		return nil
	}
	e := &codecError{c.Name() + ": cannot decode", "", err}
	if _, ok := err.(*json.SyntaxError); ok {
		return e
	}
	e.path = failingField(c, data, v)
	if err, ok := err.(*json.UnmarshalTypeError); ok { // whose Value is "number 1e400", and whose Field has keys of maps
		plain := *err
		plain.Value, _, _ = strings.Cut(err.Value, " ")
		plain.Struct, plain.Field = "", e.path
		e.err = &plain
	}
	return e
}

// failingField finds the first top-level field that cannot be decoded, among so few that a new T for each is
// no matter.
func failingField(c FieldCodec, data []byte, v any) string {
	fields, err := c.Split(data)
	if err != nil || len(fields) > 100 {
		return ""
	}
	if len(fields) == 1 {
		return fields[0].Name
	}
	for _, f := range fields {
		one, err := c.Join(Fields{f})
		if err == nil && c.Unmarshal(one, reflect.New(reflect.TypeOf(v).Elem()).Interface()) != nil {
			return f.Name
		}
	}
	return ""
}

// unencodable finds the first top-level field of *v that cannot be encoded while all others are zero.
func unencodable(c Codec, v any, encode func(dst []byte, v any) ([]byte, error)) string {
	full := reflect.Indirect(reflect.ValueOf(v))
	if full.Kind() != reflect.Struct {
		return ""
	}
	fails := func(v reflect.Value) bool {
		_, err := encode(nil, v.Interface())
		return err != nil
	}
	if fails(reflect.New(full.Type())) {
		return ""
	}
	for _, f := range shape.Fields(full.Type(), c.Name()) {
		one := reflect.New(full.Type())
		if from, err := full.FieldByIndexErr(f.Index); err == nil && shape.Set(one.Elem(), f.Index, from) && fails(one) {
			return f.Name
		}
	}
	return ""
}

// An unreadableError says what is wrong with the structure of JSON that a marshaler has written.
type unreadableError struct{ error }

func (e *unreadableError) Error() string { return "what cannot be read back: " + e.error.Error() }

// A codecError tells what failed, where, and why as far as that holds nothing of the session: errors of
// encoding/json, of package time and of unmarshalers quote what they stumble over.
type codecError struct {
	what, path string
	err        error
}

// Path names the field.
func (e *codecError) Path() string { return e.path }

func (e *codecError) Unwrap() error { return e.err }

func (e *codecError) Error() string {
	s := "sessions: " + e.what
	if e.path != "" {
		s += fmt.Sprintf(" field %q", e.path)
	}
	text := e.err.Error()
	_, structure := errors.AsType[*msgpackcheck.Error](e.err)
	_, unreadable := e.err.(*unreadableError)
	_, bug := e.err.(runtime.Error)
	if structure || unreadable || bug || strings.HasPrefix(text, "msgpack: Encode(") || strings.HasPrefix(text, "msgpack: Decode(") {
		return s + ": " + text // the last two name types
	}
	return s + ": " + jsonfields.Reason(e.err)
}
