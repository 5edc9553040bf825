package sessions

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions/internal/msgpackcheck"
)

// MsgPack encodes sessions with github.com/vmihailenco/msgpack, in about two thirds of JSON's bytes.
// Without a msgpack tag the json tag counts. What is not one map with string keys, or is nested deeper than
// 100, is refused. See docs/beyond-http.md.
type MsgPack struct{}

// Name returns "msgpack".
func (MsgPack) Name() string { return "msgpack" }

// Marshal implements [Codec].
func (c MsgPack) Marshal(v any) ([]byte, error) { return c.AppendMarshal(nil, v) }

// AppendMarshal implements [AppendCodec]. Its error names the field that cannot be encoded.
func (c MsgPack) AppendMarshal(dst []byte, v any) ([]byte, error) {
	data, err := appendMsgPack(dst, v)
	if err != nil {
		return nil, &codecError{"msgpack: cannot encode", unencodable(c, v, appendMsgPack), err}
	}
	return data, nil
}

func appendMsgPack(dst []byte, v any) ([]byte, error) {
	return msgpackcheck.Encode(dst, func(enc *msgpack.Encoder, _ *msgpackcheck.Writer) error { return enc.Encode(v) })
}

// Unmarshal implements [Codec]. Its error names the field that does not fit.
func (c MsgPack) Unmarshal(data []byte, v any) error {
	if err := msgpackcheck.Map(data, nil); err != nil {
		return fmt.Errorf("sessions: msgpack: %w", err)
	}
	return decodeRecovering(c, data, v, func() error { return msgpackcheck.Decode(data, v) })
}

// Split implements [FieldCodec].
func (MsgPack) Split(data []byte) (Fields, error) { return split("msgpack", data, msgpackcheck.Map) }

// Walk implements [FieldWalker].
func (MsgPack) Walk(data []byte, field func(name, value []byte)) error {
	return msgpackcheck.Map(data, field)
}

// Join implements [FieldCodec].
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
