package msgpackcheck

import (
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Neither pool takes back what failed or panicked, for both keep state then, nor what has grown. The
// package's own pools, which everyone in the process shares, are left alone for the same reason.
var (
	encoders = sync.Pool{New: func() any { return &encoder{enc: msgpack.NewEncoder(nil)} }}
	decoders = sync.Pool{New: func() any { return &decoder{dec: msgpack.NewDecoder(nil)} }}
)

const maxPooled = 64 << 10

type encoder struct {
	w   Writer
	enc *msgpack.Encoder
}

type decoder struct {
	r   Reader
	dec *msgpack.Decoder
}

// Encode appends what fn writes to dst: a document that [Map] accepts. A field without a msgpack tag goes
// by its json tag.
func Encode(dst []byte, fn func(enc *msgpack.Encoder, w *Writer) error) ([]byte, error) {
	e := encoders.Get().(*encoder)
	e.w.Reset()
	e.enc.Reset(&e.w)
	e.enc.SetCustomStructTag("json")
	e.enc.SetSortMapKeys(true)
	e.enc.UseCompactInts(true) // an integer in an any would otherwise grow when it is written again
	if err := fn(e.enc, &e.w); err != nil {
		return nil, err
	}
	data, err := e.w.Bytes()
	if err != nil {
		return nil, err
	}
	dst = append(dst, data...)
	if cap(data) <= maxPooled {
		encoders.Put(e)
	}
	return dst, nil
}

// Decode decodes data, which [Map] accepts, into v.
func Decode(data []byte, v any) error {
	d := decoders.Get().(*decoder)
	d.r.Reset(data)
	d.dec.Reset(&d.r)
	d.dec.SetCustomStructTag("json")
	if err := d.dec.Decode(v); err != nil {
		return err
	}
	if d.r.Len() > 0 {
		return &Error{"end of the value before the end of the data", len(data) - d.r.Len()} // an extension was read as a map
	}
	d.r.Reset(nil)
	if len(data) <= maxPooled {
		decoders.Put(d)
	}
	return nil
}
