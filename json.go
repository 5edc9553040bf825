package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/typedsessions/sessions/internal/jsonfields"
	"github.com/typedsessions/sessions/internal/shape"
)

// JSON encodes sessions with encoding/json. Top-level names match by exact case. What is not one object, or
// is nested deeper than 100, is refused.
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

// Marshal implements [Codec].
func (c JSON) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

// AppendMarshal implements [AppendCodec]. Its error names the field that cannot be encoded.
func (c JSON) AppendMarshal(dst []byte, v any) ([]byte, error) {
	data, err := appendJSON(dst, v)
	if err != nil {
		return nil, &codecError{"json: cannot encode", unencodable(c, v, appendJSON), err}
	}
	return data, nil
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	e := jsonEncoders.Get().(*jsonEncoder)
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	data := bytes.TrimSuffix(e.buf.Bytes(), []byte{'\n'})
	if err := jsonfields.Object(data, nil); err != nil {
		return nil, &unreadableError{err}
	}
	dst = append(dst, data...)
	if e.buf.Cap() <= 64<<10 {
		e.buf.Reset()
		jsonEncoders.Put(e)
	}
	return dst, nil
}

// Unmarshal implements [Codec]. Its error names the field that does not fit.
func (c JSON) Unmarshal(data []byte, v any) (err error) {
	known, folded := jsonNames(reflect.TypeOf(v)), false
	err = jsonfields.Object(data, func(name, _ []byte) { folded = folded || known.matchesOnlyByCase(name) })
	if err == nil && folded {
		data, err = c.dropCaseVariants(data, known)
	}
	if err != nil {
		return fmt.Errorf("sessions: json: %w", err)
	}
	return decodeRecovering(c, data, v, func() error { return json.Unmarshal(data, v) })
}

// dropCaseVariants drops the fields whose names equal a known one but for case.
func (c JSON) dropCaseVariants(data []byte, known fieldNames) ([]byte, error) {
	fields, err := c.Split(data)
	if err != nil {
		return nil, err
	}
	return c.Join(slices.DeleteFunc(fields, func(f Field) bool { return known.matchesOnlyByCase([]byte(f.Name)) }))
}

// fieldNames are the names that a type can write.
type fieldNames map[string]struct{}

// matchesOnlyByCase says that name is not one of them but for case.
func (n fieldNames) matchesOnlyByCase(name []byte) bool {
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

// jsonNamesByType caches the names by type, as encoding/json does.
var jsonNamesByType sync.Map

func jsonNames(t reflect.Type) fieldNames {
	if names, ok := jsonNamesByType.Load(t); ok {
		return names.(fieldNames)
	}
	names := fieldNames{}
	s := t
	if s.Kind() == reflect.Pointer {
		s = s.Elem()
	}
	if s.Kind() == reflect.Struct {
		for _, f := range shape.Fields(s, "json") {
			names[f.Name] = struct{}{}
		}
	}
	jsonNamesByType.Store(t, names)
	return names
}

// Split implements [FieldCodec].
func (JSON) Split(data []byte) (Fields, error) {
	if !json.Valid(data) {
		return nil, errors.New("sessions: json: not valid")
	}
	return split("json", data, jsonfields.Object)
}

// Walk implements [FieldWalker].
func (JSON) Walk(data []byte, field func(name, value []byte)) error {
	return jsonfields.Object(data, field)
}

// Join implements [FieldCodec].
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
