package document

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/typedsessions/sessions/internal/record"
)

// Preserve returns what to store in place of rec: the fields of mine that have changed, and everything else
// as it is there, byte for byte. So what T does not know survives: whole fields, and parts of the unchanged
// ones. base is what was loaded, which is mostly what is there.
func (t *Type) Preserve(rec *record.Record, base, mine Document) (Document, error) {
	known, others, c := t.knownFields(rec)
	if c.Name() != mine.Codec.Name() {
		_, data, err := t.reencode(mine, c)
		if err != nil {
			return mine, fmt.Errorf("sessions: encoding %s: %w", t.Name, err)
		}
		mine.Codec, mine.Data = c, data
	}
	if !c.HasFields() || known == nil || t.Codec(rec).Name() != c.Name() {
		return mine, nil
	}
	stored := Document{Codec: c, Data: rec.Payload, OwnEncoding: rec.WrittenOnlyBy(t.Process) || base.OwnEncoding && bytes.Equal(base.Data, rec.Payload)}
	if !others && t.encodesTo(stored) {
		return mine, nil
	}
	fail := func(err error) (Document, error) {
		return mine, fmt.Errorf("sessions: keeping what is unknown to %s: %w", t.Name, err)
	}
	recordFields, err := c.Fields(rec.Payload)
	if err != nil {
		return fail(err)
	}
	mineFields, err := c.Fields(mine.Data)
	if err != nil {
		return fail(err)
	}
	recordKnown := slices.DeleteFunc(slices.Clone(recordFields), func(f Field) bool { return !known[f.Name] })
	changed := slices.Collect(Diff(recordKnown, mineFields, nil, t.equalFields(c)))
	if mine.Data, err = c.Join(ReplaceFields(recordFields, mineFields, changed)); err != nil {
		return fail(err)
	}
	mine.OwnEncoding = false
	return mine, nil
}

// PutInto makes a document the payload of a record, and sets the header's fields that describe it.
func (t *Type) PutInto(rec *record.Record, d Document) {
	rec.Payload, rec.Version = d.Data, t.Version
	if name := d.Codec.Name(); string(rec.Codec) != name {
		rec.Codec = []byte(name)
	}
	if t.Owner != nil && string(rec.Owner) != d.Owner {
		rec.Owner = []byte(d.Owner)
	}
}
