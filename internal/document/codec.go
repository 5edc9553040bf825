package document

import (
	"bytes"
	"sync"

	"github.com/typedsessions/sessions/internal/shape"
)

// An Encoder has the methods of sessions.Codec, which documents them.
type Encoder interface {
	Name() string
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// A Codec is an Encoder and what else it can do.
type Codec struct {
	Encoder
	// AppendMarshal is Marshal into a buffer; nil if the codec cannot do that.
	AppendMarshal func(dst []byte, v any) ([]byte, error)
	// Snapshot appends what the codec sees of v, a *T: while that is the same, so is the encoding. It is nil for a T of
	// which that cannot be said.
	Snapshot shape.Snapshot
	// Split takes a document apart into its top-level fields, and Join puts one together. Both are nil if the
	// codec cannot do that.
	Split func(data []byte) ([]Field, error)
	Join  func(fields []Field) ([]byte, error)
	// SplitDecoded is Split for data that was decoded before, so it does not check that data is valid. Walk
	// only visits the fields. Both are nil if the codec cannot do that.
	SplitDecoded func(data []byte) ([]Field, error)
	Walk         func(data []byte, field func(name, value []byte)) error
	// FieldNames are the names of the fields that T can write or read. It is nil for a T that encodes itself:
	// such a T knows the fields that remain when it decodes a document and encodes it again.
	FieldNames map[string]bool
	// Inexact are those of them whose values, decoded, need not encode to the bytes that they were decoded from.
	Inexact map[string]bool
	// Shape are T's fields. It is empty for a T that encodes itself.
	Shape []shape.Field

	unwritten [][]int // indexes of the empty maps that SessionDefaults makes and the codec does not write
}

// HasFields tells whether the codec can take documents apart.
func (c *Codec) HasFields() bool { return c.Split != nil }

func (c *Codec) append(dst []byte, v any) ([]byte, error) {
	if c.AppendMarshal != nil {
		return c.AppendMarshal(dst, v)
	}
	return c.Marshal(v)
}

// Fields takes apart a document that was decoded before.
func (c *Codec) Fields(data []byte) ([]Field, error) {
	if c.SplitDecoded != nil {
		return c.SplitDecoded(data)
	}
	return c.Split(data)
}

// exact tells whether different bytes of this encoder mean another value of a field, or in a document without a name of
// any field. They need not for a T that encodes itself, nor where encoding/json has written U+FFFD for what is not UTF-8:
// before Go 1.27 escaped, which it writes in another way when it has read it, and two such keys of a map are one then.
func (c *Codec) exact(name string, value []byte) bool {
	return c.FieldNames != nil && !c.Inexact[name] && !bytes.Contains(value, []byte(`\ufffd`)) && !bytes.Contains(value, []byte("\ufffd"))
}

// knowsAll tells whether every field of a document that was decoded before is among the known ones.
func (c *Codec) knowsAll(known map[string]bool, data []byte) bool {
	check := nameChecks.Get().(*nameCheck)
	defer nameChecks.Put(check)
	check.known, check.all = known, true
	return c.walk(data, check.look) == nil && check.all
}

// A nameCheck looks at names. It is pooled with its function, which would otherwise be allocated each time.
type nameCheck struct {
	known map[string]bool
	all   bool
	look  func(name, value []byte)
}

var nameChecks = sync.Pool{New: func() any {
	c := new(nameCheck)
	c.look = func(name, _ []byte) { c.all = c.all && c.known[string(name)] }
	return c
}}

// walk visits the fields of a document that was decoded before.
func (c *Codec) walk(data []byte, look func(name, value []byte)) error {
	if c.Walk != nil {
		return c.Walk(data, look)
	}
	fields, err := c.Split(data)
	for _, f := range fields {
		look([]byte(f.Name), f.Value)
	}
	return err
}
