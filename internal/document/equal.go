package document

import (
	"bytes"
	"reflect"
	"slices"
)

// Changed tells whether mine is another T than base; one codec has encoded both. Different bytes alone prove
// nothing: msgpack leaves most maps unsorted, another build may have written one of the two, and a value that was
// decoded may encode to other bytes.
//
// What it finds out about base's encoding it notes there, for [Type.Preserve].
func (t *Type) Changed(base *Document, mine Document) bool {
	c := base.Codec
	if bytes.Equal(base.Data, mine.Data) {
		return false
	}
	var exact func(string, []byte) bool
	if base.OwnEncoding = t.encodesTo(*base); base.OwnEncoding && mine.OwnEncoding {
		exact = c.exact
	}
	switch {
	case !c.HasFields() || c.FieldNames == nil:
		return !t.Equal(*base, mine)
	case exact != nil && len(c.Inexact) == 0 && exact("", base.Data) && !Permuted(base.Data, mine.Data) && c.knowsAll(c.FieldNames, base.Data):
		return true
	}
	baseFields, err := c.Fields(base.Data)
	if err != nil {
		return true
	}
	mineFields, err := c.Fields(mine.Data)
	if err != nil {
		return true
	}
	baseFields = slices.DeleteFunc(baseFields, func(f Field) bool { return !c.FieldNames[f.Name] })
	for range Diff(baseFields, mineFields, exact, t.equalFields(c)) {
		return true
	}
	return false
}

// Equal decodes two documents and compares the values. A NaN differs from itself, but equals a NaN with the
// same encoding.
func (t *Type) Equal(a, b Document) bool {
	x, y := t.New(), t.New()
	if a.Codec.Unmarshal(a.Data, x) != nil || b.Codec.Unmarshal(b.Data, y) != nil {
		return false
	}
	if reflect.DeepEqual(x, y) {
		return true
	}
	xData, _ := a.Codec.Marshal(x)
	yData, _ := a.Codec.Marshal(y)
	return len(xData) > 0 && bytes.Equal(xData, yData)
}

// equalFields returns a function that decodes two values of one field into T's and compares those.
func (t *Type) equalFields(c *Codec) func(name string, a, b []byte) bool {
	return func(name string, a, b []byte) bool {
		var docs [2][]byte
		for i, value := range [][]byte{a, b} {
			var fields []Field
			if value != nil {
				fields = []Field{{name, value}}
			}
			var err error
			if docs[i], err = c.Join(fields); err != nil {
				return false
			}
		}
		return t.Equal(Document{Codec: c, Data: docs[0]}, Document{Codec: c, Data: docs[1]})
	}
}

// encodesTo tells whether the encoder of this process would write d as it is, so that it makes no difference that another
// process has: one of the same build does it in the same way.
func (t *Type) encodesTo(d Document) bool {
	if d.OwnEncoding || d.Codec.FieldNames == nil || !d.Codec.knowsAll(d.Codec.FieldNames, d.Data) {
		return d.OwnEncoding
	}
	_, data, err := t.reencode(d, d.Codec)
	return err == nil && bytes.Equal(data, d.Data)
}

// reencode decodes d into a new T and encodes that by c, which may be d's own codec.
func (t *Type) reencode(d Document, c *Codec) (v any, data []byte, err error) {
	v = t.New()
	if err = d.Codec.decode(d.Data, v); err == nil {
		data, err = c.Marshal(v)
	}
	return v, data, err
}
