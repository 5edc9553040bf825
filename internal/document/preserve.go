package document

import (
	"fmt"
	"slices"

	"github.com/typedsessions/sessions/internal/record"
)

// Preserve returns what to store in place of rec: the fields of mine that have changed, and everything else
// as it is there, byte for byte. So the fields that T does not know survive, and what it does not know within
// the others.
func (t *Type) Preserve(rec *record.Record, mine Document) (Document, error) {
	known, others, c := t.target(rec)
	if c.Name() != mine.Codec.Name() {
		_, data, err := t.recode(mine, c)
		if err != nil {
			return mine, fmt.Errorf("sessions: encoding %s: %w", t.Name, err)
		}
		mine.Codec, mine.Data = c, data
	}
	if !c.HasFields() || known == nil || t.Codec(rec).Name() != c.Name() || !others && rec.WrittenOnlyBy(t.Process) {
		return mine, nil
	}
	fail := func(err error) (Document, error) {
		return mine, fmt.Errorf("sessions: keeping what is unknown to %s: %w", t.Name, err)
	}
	stored, err := c.Fields(rec.Payload)
	if err != nil {
		return fail(err)
	}
	own, err := c.Fields(mine.Data)
	if err != nil {
		return fail(err)
	}
	before := slices.DeleteFunc(slices.Clone(stored), func(f Field) bool { return !known[f.Name] })
	changed := slices.Collect(Diff(before, own, false, t.equalFields(c)))
	if mine.Data, err = c.Join(Apply(stored, own, changed)); err != nil {
		return fail(err)
	}
	mine.OwnEncoding = false
	return mine, nil
}

// Fill puts a document into a record.
func (t *Type) Fill(rec *record.Record, d Document) {
	rec.Codec, rec.Payload, rec.Version = []byte(d.Codec.Name()), d.Data, t.Version
	if t.Owner != nil {
		rec.Owner = []byte(d.Owner)
	}
}

// target says which fields of a record T knows, whether there are others, and by which codec to store in
// the record's place. That is the first codec, unless there are unknown fields: those stay, and with them the
// codec. A T that has upgraded itself has taken what it needs, and known is nil.
func (t *Type) target(rec *record.Record) (known map[string]bool, others bool, c *Codec) {
	c = t.Codec(rec)
	if c == nil || !c.HasFields() || len(rec.Payload) == 0 || rec.Version != t.Version {
		return nil, false, t.Codecs[0]
	}
	known = t.known(c, rec.Payload)
	if known == nil || c.knowsAll(known, rec.Payload) {
		return known, false, t.Codecs[0]
	}
	return known, true, c
}

// known are the names of the fields that T can write or read.
func (t *Type) known(c *Codec, data []byte) map[string]bool {
	if c.Known != nil {
		return c.Known
	}
	_, again, err := t.recode(Document{Codec: c, Data: data}, c)
	if err != nil {
		return nil
	}
	fields, err := c.Fields(again)
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Name] = true
	}
	return known
}
