package document

import "github.com/typedsessions/sessions/internal/record"

// knownFields returns the names of the fields that T knows, whether the record has others, and the codec to
// store by: Config.Codec, or the record's own if it has unknown fields. For a record of another version known
// is nil: UpgradeSession took what it needs.
func (t *Type) knownFields(rec *record.Record) (known map[string]bool, others bool, c *Codec) {
	c = t.Codec(rec)
	if c == nil || !c.HasFields() || len(rec.Payload) == 0 || rec.Version != t.Version {
		return nil, false, t.Codecs[0]
	}
	known = t.fieldNames(c, rec.Payload)
	if known == nil || c.knowsAll(known, rec.Payload) {
		return known, false, t.Codecs[0]
	}
	return known, true, c
}

// fieldNames are the names of the fields that T can write or read, nil if they cannot be found out.
func (t *Type) fieldNames(c *Codec, data []byte) map[string]bool {
	if c.FieldNames != nil {
		return c.FieldNames
	}
	_, reencoded, err := t.reencode(Document{Codec: c, Data: data}, c)
	if err != nil {
		return nil
	}
	fields, err := c.Fields(reencoded)
	if err != nil {
		return nil
	}
	names := map[string]bool{}
	for _, f := range fields {
		names[f.Name] = true
	}
	return names
}
