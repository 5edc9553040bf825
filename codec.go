package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/typedsessions/sessions/internal/jsonfields"
	"github.com/typedsessions/sessions/internal/msgpackcheck"
	"github.com/vmihailenco/msgpack/v5"
)

// A Codec turns a session into bytes and back. [JSON] is the default, [MsgPack] the other one here; a
// third-party one is given as Config.Codec. It is safe for concurrent use and keeps these rules:
//
//   - Name is stored with each record and never changes: short, of lower-case letters, digits and -.
//   - v is a *T, of one T per Manager. Marshal does not change it and returns bytes of the caller's own.
//     Equal values give equal bytes as far as possible: equal bytes are how a Manager knows that a
//     session need not be written.
//   - Unmarshal is given a new T. It copies what it keeps of data, passes over fields that T does not
//     have, and leaves fields alone that data does not have.
//   - Unmarshal is given arbitrary bytes. It never panics, never allocates more than a small multiple of
//     their length, and never returns nil for less than one whole document.
//   - What Marshal returned, Unmarshal accepts.
//   - Errors hold no value of the session in their text. One that has a method Path() string names the
//     field by it.
//
// A codec that has AppendMarshal(dst []byte, v any) ([]byte, error), which appends to dst what Marshal
// returns, spares every request an allocation. One that has Validate() error is asked by [New]. A
// [FieldCodec] also keeps fields that T does not know; it names T's by the tag of its own name, by the
// json tag, or as Go does. With another codec two requests that save one session are not merged: the
// later save stands as a whole. If a FieldCodec has Walk(data []byte, field func(name, value []byte)) error, which
// calls field for what Split returns, views into data that has been decoded before, a save is quicker.
type Codec interface {
	Name() string
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// A FieldCodec can take a document apart into its top-level fields and put one together, without a T.
// Merging what two requests have saved, and keeping fields that T does not know, need it.
type FieldCodec interface {
	Codec

	// Split returns the fields in the order of data. Values are views into data, encoded as they were,
	// so that numbers keep their digits. Of two fields of one name the last value counts.
	Split(data []byte) (Fields, error)

	// Join returns a document of the fields in the order given, in bytes of its own. Values are ones
	// that Split of this codec returned. What Split took apart decodes as before.
	Join(fields Fields) ([]byte, error)
}

// Fields are the top-level fields of an encoded session, in order; no two have one name.
type Fields []Field

// A Field is a name, free of the codec's escapes, and an encoded value.
type Field struct {
	Name  string
	Value []byte
}

// JSON encodes sessions with encoding/json: one object, legible in redis-cli. Its zero value is ready.
//
// HTML is not escaped, for nothing here is put into a page. What is not one object, or is nested deeper
// than 100, is refused both ways; so is null, which json.Unmarshal takes for an empty T. A string that
// is not UTF-8 is stored with U+FFFD, an any holds float64 after reading, a time keeps its offset.
type JSON struct{}

// Name returns "json".
func (JSON) Name() string { return "json" }

type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonEncoders = sync.Pool{New: func() any {
	e := new(jsonEncoder)
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

// Marshal encodes v, a *T.
func (c JSON) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

// AppendMarshal appends what Marshal returns to dst.
func (JSON) AppendMarshal(dst []byte, v any) ([]byte, error) {
	e := jsonEncoders.Get().(*jsonEncoder)
	if err := e.enc.Encode(v); err != nil {
		return nil, &codecError{"json: cannot encode", "", err}
	}
	data := bytes.TrimSuffix(e.buf.Bytes(), []byte{'\n'})
	if err := jsonfields.Object(data, nil); err != nil {
		return nil, fmt.Errorf("sessions: json: %T encodes to what cannot be read back: %w", v, err)
	}
	dst = append(dst, data...)
	if e.buf.Cap() <= 64<<10 {
		e.buf.Reset()
		jsonEncoders.Put(e)
	}
	return dst, nil
}

// Unmarshal decodes data into v, a *T. The path of the field that does not fit is in the error, and
// [errors.As] finds the *json.UnmarshalTypeError. A name that equals a field's but for case is not that
// field: encoding/json would take it for it, and another program's data for ours.
func (c JSON) Unmarshal(data []byte, v any) (err error) {
	known, folded := jsonNames(reflect.TypeOf(v)), false
	err = jsonfields.Object(data, func(name, _ []byte) { folded = folded || known.fold(name) })
	if err == nil && folded {
		data, err = c.leaveOut(data, known)
	}
	if err != nil {
		return fmt.Errorf("sessions: json: %w", err)
	}
	return decode(c, data, v, func() error { return json.Unmarshal(data, v) })
}

// leaveOut drops the fields whose names only fold to a known one.
func (c JSON) leaveOut(data []byte, known fieldNames) ([]byte, error) {
	fields, err := c.Split(data)
	if err != nil {
		return nil, err
	}
	return c.Join(slices.DeleteFunc(fields, func(f Field) bool { return known.fold([]byte(f.Name)) }))
}

// fieldNames are the names that a type can write.
type fieldNames map[string]struct{}

// fold says that name is not one of them but for case.
func (n fieldNames) fold(name []byte) bool {
	if _, ok := n[string(name)]; ok {
		return false
	}
	for known := range n {
		if strings.EqualFold(known, string(name)) {
			return true
		}
	}
	return false
}

// jsonTypes caches the names by type, as encoding/json does.
var jsonTypes sync.Map

func jsonNames(t reflect.Type) fieldNames {
	if names, ok := jsonTypes.Load(t); ok {
		return names.(fieldNames)
	}
	names := fieldNames{}
	if s := elem(t); s.Kind() == reflect.Struct {
		for _, f := range fieldsOf(s, "json", "", false) {
			names[f.name] = struct{}{}
		}
	}
	jsonTypes.Store(t, names)
	return names
}

// Split returns the members of the object data.
func (JSON) Split(data []byte) (Fields, error) {
	if !json.Valid(data) {
		return nil, errors.New("sessions: json: not valid")
	}
	return split("json", data, jsonfields.Object)
}

// Walk calls field for each member of the object data, which is known to be valid.
func (JSON) Walk(data []byte, field func(name, value []byte)) error {
	return jsonfields.Object(data, field)
}

// Join writes fields as one object.
func (JSON) Join(fields Fields) ([]byte, error) {
	size := 2
	for _, f := range fields {
		size += len(f.Name) + len(f.Value) + 4
	}
	data := append(make([]byte, 0, size), '{')
	for i, f := range fields {
		if i > 0 {
			data = append(data, ',')
		}
		data = append(jsonfields.AppendName(data, f.Name), ':')
		data = append(data, f.Value...)
	}
	data = append(data, '}')
	if !json.Valid(data) {
		return nil, errors.New("sessions: json: joined fields are not valid")
	}
	if err := jsonfields.Object(data, nil); err != nil {
		return nil, fmt.Errorf("sessions: json: %w", err)
	}
	return data, nil
}

// MsgPack encodes sessions with github.com/vmihailenco/msgpack: about two thirds of the bytes of JSON.
// Its zero value is ready.
//
// A field without a msgpack tag goes by its json tag, so one set of tags serves both codecs; of the
// tag's options omitempty counts, omitzero and string do not. A MarshalJSON method is not asked;
// EncodeMsgpack, MarshalMsgpack, MarshalBinary and MarshalText are, in this order.
//
// Keys are sorted in map[string]string, map[string]bool and map[string]any only: of other maps with two
// or more entries the same value has several encodings. An integer in an any comes back in the smallest
// type that holds it, a time as the local one. An integer that its field cannot hold is cut, not refused.
// What is not one map with string keys, claims more than is there, or is nested deeper than 100, is
// refused before anything is decoded, and so is a value that refers to itself when it is encoded: all but
// an any that holds a pointer to itself, on which msgpack overflows the stack.
type MsgPack struct{}

// Name returns "msgpack".
func (MsgPack) Name() string { return "msgpack" }

// Marshal encodes v, a *T.
func (c MsgPack) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

// AppendMarshal appends what Marshal returns to dst.
func (MsgPack) AppendMarshal(dst []byte, v any) ([]byte, error) {
	data, err := msgpackcheck.Encode(dst, func(enc *msgpack.Encoder, _ *msgpackcheck.Writer) error { return enc.Encode(v) })
	if err != nil {
		return nil, &codecError{"msgpack: cannot encode", "", err}
	}
	return data, nil
}

// Unmarshal decodes data into v, a *T. The name of the field that does not fit is in the error.
func (c MsgPack) Unmarshal(data []byte, v any) error {
	if err := msgpackcheck.Map(data, nil); err != nil {
		return fmt.Errorf("sessions: msgpack: %w", err)
	}
	return decode(c, data, v, func() error { return msgpackcheck.Decode(data, v) })
}

// Split returns the entries of the map data.
func (MsgPack) Split(data []byte) (Fields, error) { return split("msgpack", data, msgpackcheck.Map) }

// Walk calls field for each entry of the map data.
func (MsgPack) Walk(data []byte, field func(name, value []byte)) error {
	return msgpackcheck.Map(data, field)
}

// Join writes fields as one map.
func (MsgPack) Join(fields Fields) ([]byte, error) {
	data, err := msgpackcheck.Encode(nil, func(enc *msgpack.Encoder, w *msgpackcheck.Writer) error {
		if err := enc.EncodeMapLen(len(fields)); err != nil {
			return err
		}
		for _, f := range fields {
			if err := enc.EncodeString(f.Name); err != nil {
				return err
			}
			if _, err := w.Write(f.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, &codecError{"msgpack: cannot join", "", err}
	}
	return data, nil
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

// decode runs fn, which decodes data into v. A panic is an error as any other: a stored record must not
// bring down each request of its visitor, whether msgpack panics on it (a nil where T has a time.Time)
// or an unmarshaler of T's.
func decode(c FieldCodec, data []byte, v any, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("panic: %v", p)
			}
			err = &codecError{c.Name() + ": panic while decoding", culprit(c, data, v), cause}
		}
	}()
	if err = fn(); err == nil {
		return nil
	}
	e := &codecError{c.Name() + ": cannot decode", "", err}
	switch err := err.(type) {
	case *json.SyntaxError:
		return e
	case *json.UnmarshalTypeError:
		plain := *err
		plain.Value, _, _ = strings.Cut(err.Value, " ") // "number 1e400"
		e.path, e.err = err.Field, &plain
	}
	if e.path == "" {
		e.path = culprit(c, data, v)
	}
	return e
}

// culprit finds the first top-level field that cannot be decoded, among so few that a new T for each is
// no matter.
func culprit(c FieldCodec, data []byte, v any) string {
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
	_, bug := e.err.(runtime.Error)
	if structure || bug || strings.HasPrefix(text, "msgpack: Encode(") || strings.HasPrefix(text, "msgpack: Decode(") {
		return s + ": " + text // the last two name types
	}
	return s + ": " + jsonfields.Reason(e.err)
}
