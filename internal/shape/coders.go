package shape

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/vmihailenco/msgpack/v5"
)

// The codecs whose rules are known.
const (
	jsonName    = "json"
	msgpackName = "msgpack"
)

func ruled(codec string) bool { return codec == jsonName || codec == msgpackName }

// A coder is a pair of interfaces by which a type writes and reads itself.
type coder struct{ writer, reader reflect.Type }

// method is the name of the method by which a type writes itself.
func (c coder) method() string { return c.writer.Method(0).Name }

var (
	jsonCoder   = coder{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()}
	customCoder = coder{reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder]()}
	rawCoder    = coder{reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler]()}
	binaryCoder = coder{reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()}
	textCoder   = coder{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}

	allCoders = []coder{jsonCoder, customCoder, rawCoder, binaryCoder, textCoder}
)

// codersOf are the interfaces that a codec asks for, in its order. What a codec of another name asks for is not known.
func codersOf(codec string) []coder {
	switch codec {
	case jsonName:
		return []coder{jsonCoder, textCoder}
	case msgpackName:
		return []coder{customCoder, rawCoder, binaryCoder, textCoder}
	}
	return allCoders
}

// writerOf returns by which of the coders t writes itself, if there is one. A codec calls methods of the pointer only
// for a value that has an address, as all within T have but for the keys and values of maps.
func writerOf(t reflect.Type, coders []coder, address bool) (c coder, ok bool) {
	i := slices.IndexFunc(coders, func(c coder) bool {
		return t.Implements(c.writer) || address && reflect.PointerTo(t).Implements(c.writer)
	})
	if i < 0 {
		return c, false
	}
	return coders[i], true
}

// readerOf returns by which of the coders t reads itself, if there is one.
func readerOf(t reflect.Type, coders []coder) (c coder, ok bool) {
	i := slices.IndexFunc(coders, func(c coder) bool { return t.Implements(c.reader) || reflect.PointerTo(t).Implements(c.reader) })
	if i < 0 {
		return c, false
	}
	return coders[i], true
}

// Marshals tells whether t encodes itself for a codec; for an empty name, for any.
func Marshals(t reflect.Type, codec string) bool {
	_, ok := writerOf(t, codersOf(codec), true)
	return ok
}

// codesItself tells whether t writes or reads its encoding itself. Such a type may refuse the values that
// fill would set.
func codesItself(t reflect.Type, codec string) bool {
	_, reads := readerOf(t, codersOf(codec))
	return reads || Marshals(t, codec)
}
