package document

import (
	"reflect"
	"slices"

	"github.com/typedsessions/sessions/internal/shape"
)

// fillAdded gives v, a *T decoded from data, the fields that data lacks although this T always writes them: they were
// added to T since data was written. They are as in the T that from returns. A field that is optional may be missing
// because it was cleared, so it stays zero. It tells whether v has changed.
func (c *Codec) fillAdded(v any, data []byte, from func() (any, error)) (changed bool, err error) {
	added := c.lacking(c.Shape, data, false, nil, nil)
	if len(added) == 0 {
		return false, nil
	}
	like, err := from()
	if err != nil {
		return false, err
	}
	for _, index := range added {
		to, err := reflect.ValueOf(v).Elem().FieldByIndexErr(index)
		value, likeErr := reflect.ValueOf(like).Elem().FieldByIndexErr(index)
		if err == nil && likeErr == nil && to.IsZero() && !value.IsZero() {
			to.Set(value)
			changed = true
		}
	}
	return changed, nil
}

// lacking appends the indexes of the fields, optional ones or the others, that data lacks, and those of the fields
// within its fields.
func (c *Codec) lacking(fields []shape.Field, data []byte, optional bool, above []int, list [][]int) [][]int {
	if len(fields) == 0 {
		return list // T, or the codec, does not tell
	}
	seen := make([]bool, len(fields))
	err := c.walk(data, func(name, value []byte) {
		for i, f := range fields {
			if string(name) != f.Name && (f.Alias == "" || string(name) != f.Alias) {
				continue
			}
			seen[i] = true
			if f.Within != nil {
				list = c.lacking(f.Within, value, optional, slices.Concat(above, f.Index), list)
			}
		}
	})
	if err != nil {
		return list // it is null, or an array
	}
	for i, f := range fields {
		if !seen[i] && f.Optional == optional {
			list = append(list, slices.Concat(above, f.Index))
		}
	}
	return list
}

// NoteUnwritten finds the maps that fresh has, a *T with its defaults, and that the codec does not write, because
// they are empty: with omitempty. A record does not tell them from nil, so decode makes them.
func (c *Codec) NoteUnwritten(fresh any) {
	data, err := c.Marshal(fresh)
	if err != nil {
		return
	}
	for _, index := range c.lacking(c.Shape, data, true, nil, nil) {
		if v, err := reflect.ValueOf(fresh).Elem().FieldByIndexErr(index); err == nil && v.Kind() == reflect.Map && !v.IsNil() && v.Len() == 0 {
			c.unwritten = append(c.unwritten, index)
		}
	}
}

// decode decodes data into v, a new *T.
func (c *Codec) decode(data []byte, v any) error {
	if err := c.Unmarshal(data, v); err != nil {
		return err
	}
	for _, index := range c.unwritten {
		if m, err := reflect.ValueOf(v).Elem().FieldByIndexErr(index); err == nil && m.IsNil() {
			m.Set(reflect.MakeMap(m.Type()))
		}
	}
	return nil
}
