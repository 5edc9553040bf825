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
	added := c.added(c.Shape, data, nil, nil)
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

// added appends the indexes of the fields that data lacks, and those of the fields within its fields.
func (c *Codec) added(fields []shape.Field, data []byte, above []int, list [][]int) [][]int {
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
				list = c.added(f.Within, value, slices.Concat(above, f.Index), list)
			}
		}
	})
	if err != nil {
		return list // it is null, or an array
	}
	for i, f := range fields {
		if !seen[i] && !f.Optional {
			list = append(list, slices.Concat(above, f.Index))
		}
	}
	return list
}
