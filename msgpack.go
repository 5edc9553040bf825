package sessions

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions/internal/msgpackcheck"
)

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
