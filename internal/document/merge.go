package document

import (
	"fmt"
	"slices"

	"github.com/typedsessions/sessions/internal/record"
)

// Merged tells what a merge has done.
type Merged struct {
	Value any      // T after it; nil if the request's own is that already
	Taken []string // fields that the other request has changed
	Lost  []string // fields that both have changed, to different values: this request's stand
	// Replaced says that this request's T replaced the other request's as a whole. The other fields are then
	// zero.
	Replaced bool
}

// MergeDocuments makes one document of what was loaded, of what this request has made of it, and of what
// another request has stored in rec. The documents in further are what the request tried to save before. A
// field set back to its loaded value counts as changed against those. The merge is computed on encodings by
// this build's T, so a field counts as changed only if T sees another value.
func (t *Type) MergeDocuments(base, mine, theirs Document, rec *record.Record, further []Document) (Document, Merged, error) {
	_, _, c := t.knownFields(rec)
	if !c.HasFields() && t.Merge == nil {
		return mine, Merged{Replaced: true}, nil
	}
	fail := func(err error) (Document, Merged, error) {
		return mine, Merged{}, fmt.Errorf("sessions: merging two %s: %w", t.Name, err)
	}
	inputs := append([]Document{base, mine, theirs}, further...)
	values, encodings := make([]any, len(inputs)), make([][]byte, len(inputs))
	for i, d := range inputs {
		var err error
		if values[i], encodings[i], err = t.reencode(d, c); err != nil {
			return fail(err)
		}
	}
	if t.Merge != nil {
		if err := t.Merge(values[1], values[0], values[2]); err != nil {
			return mine, Merged{}, err
		}
		d, err := t.Encode(c, nil, values[1])
		if err != nil {
			return fail(err)
		}
		return d, Merged{Value: values[1]}, nil
	}

	fields := make([][]Field, len(inputs))
	for i, data := range encodings {
		var err error
		if fields[i], err = c.Fields(data); err != nil {
			return fail(err)
		}
	}
	baseFields, mineFields, theirFields := fields[0], fields[1], fields[2]
	equal := t.equalFields(c)
	changed := slices.Collect(Diff(baseFields, mineFields, c.exact, equal))
	for _, f := range fields[3:] {
		changed = slices.AppendSeq(changed, Diff(f, mineFields, c.exact, equal))
	}
	var m Merged
	for name := range Diff(baseFields, theirFields, c.exact, equal) {
		switch {
		case !slices.Contains(changed, name):
			m.Taken = append(m.Taken, name)
		case !equal(name, Find(mineFields, name, 0), Find(theirFields, name, 0)):
			m.Lost = append(m.Lost, name)
		}
	}
	data, err := c.Join(ReplaceFields(theirFields, mineFields, changed))
	if err != nil {
		return fail(err)
	}
	merged := t.New()
	if err := c.decode(data, merged); err != nil {
		return fail(err)
	}
	if len(m.Taken) > 0 {
		m.Value = merged
	}
	return Document{Codec: c, Data: data, Owner: t.ownerOf(merged)}, m, nil
}
