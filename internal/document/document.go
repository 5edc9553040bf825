// Package document works on sessions in their encoded form: it decides whether a T has changed, merges what
// two requests have made of one T, and keeps what other builds of the program have stored beside it. It never
// sees a store.
//
// MergeDocuments decides the fields that T knows. Preserve then puts them into the stored bytes; fields that
// T does not know are only there.
package document

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"

	"github.com/typedsessions/sessions/internal/record"
)

// A Document is an encoded T.
type Document struct {
	Codec *Codec
	Data  []byte
	Owner string // what SessionOwner says of it; empty where T is not Owned
	// OwnEncoding says that the encoder of this process wrote all of it. Then different bytes of a field that is not
	// Inexact mean a different value, and it has no field that T does not know.
	OwnEncoding bool
}

// A Type is a T, as far as its encoded form is concerned. It is safe for concurrent use.
type Type struct {
	Name    string
	New     func() any // a zero *T
	Version int        // 0 if T is not Versioned
	// Codecs are those that records may name. The first is Config.Codec, by which this build writes a record,
	// unless the record in its place has unknown fields.
	Codecs []*Codec
	// Defaults, Owner, Merge and Upgrade are T's own methods; each is nil if T does not have it.
	Defaults func(v any)
	Owner    func(v any) string
	Merge    func(mine, base, theirs any) error
	Upgrade  func(v any, from int, decode func(into any) error) error
	// Process is the name of this process in the names of writes.
	Process string
}

// A PartError says which part of a record cannot be read.
type PartError struct {
	Part string // a field of T, "codec", or empty if that is not known
	Err  error
}

func (e *PartError) Error() string { return e.Part + ": " + e.Err.Error() }

// Codec returns the codec that a record names, the first for a record without a name, nil for an unknown one.
func (t *Type) Codec(rec *record.Record) *Codec {
	if len(rec.Codec) == 0 {
		return t.Codecs[0]
	}
	for _, c := range t.Codecs {
		if c.Name() == string(rec.Codec) {
			return c
		}
	}
	return nil
}

// Encode appends v, a *T, to dst.
func (t *Type) Encode(c *Codec, dst []byte, v any) (Document, error) {
	data, err := c.append(dst, v)
	if err != nil {
		return Document{}, fmt.Errorf("sessions: encoding %s: %w", t.Name, err)
	}
	return Document{Codec: c, Data: data, Owner: t.ownerOf(v), OwnEncoding: true}, nil
}

func (t *Type) ownerOf(v any) string {
	if t.Owner == nil {
		return ""
	}
	return t.Owner(v)
}

var errOwnerLost = errors.New("what SessionOwner says of T is not what it says of the T that is stored: it must depend on stored fields alone, and in JSON be valid UTF-8")

// CheckOwner fails if T is owned by somebody else, or nobody, once it was stored. Nobody's T is not asked.
func (t *Type) CheckOwner(d Document) error {
	if d.Owner == "" {
		return nil
	}
	stored, err := t.DecodeAgain(d)
	if err == nil && t.ownerOf(stored) != d.Owner {
		err = fmt.Errorf("sessions: %s: %w", t.Name, errOwnerLost)
	}
	return err
}

// Decode reads a record's payload into a new T. An older version is upgraded; then the Document is the
// upgraded T, encoded by this build, so that the upgrade alone is no change. Fields that were added to a Defaulted T
// since are as in like, or if that is empty as SessionDefaults has them. Its errors are *PartError.
func (t *Type) Decode(rec record.Record, like Document) (v any, d Document, err error) {
	c := t.Codec(&rec)
	if c == nil {
		return nil, d, &PartError{"codec", fmt.Errorf("no codec named %.20q: set Config.Codec", rec.Codec)}
	}
	v = t.New()
	d = Document{Codec: c, Data: rec.Payload}
	if rec.Version == t.Version {
		d.OwnEncoding = rec.WrittenOnlyBy(t.Process)
		err = c.decode(rec.Payload, v)
		if err == nil && t.Defaults != nil && !d.OwnEncoding {
			d, err = t.addFields(v, d, like)
		}
	} else if err = t.upgrade(v, rec.Version, d); err == nil {
		d, err = t.Encode(t.Codecs[0], nil, v)
	}
	if err != nil {
		return nil, d, &PartError{pathOf(err), err}
	}
	d.Owner = t.ownerOf(v)
	return v, d, nil
}

// addFields gives v, decoded from d, the fields that were added to T since. The Document returned is v, so that they
// alone are no change.
func (t *Type) addFields(v any, d, like Document) (Document, error) {
	changed, err := d.Codec.fillAdded(v, d.Data, func() (any, error) {
		if like.Codec != nil {
			return t.DecodeAgain(like)
		}
		fresh := t.New()
		t.Defaults(fresh)
		return fresh, nil
	})
	if err != nil || !changed {
		return d, err
	}
	return t.Encode(d.Codec, nil, v)
}

// DecodeAgain decodes into a new T a document that was decoded or encoded before.
func (t *Type) DecodeAgain(d Document) (any, error) {
	v := t.New()
	if err := d.Codec.decode(d.Data, v); err != nil {
		return nil, fmt.Errorf("sessions: %s does not decode as it was encoded: %w", t.Name, err)
	}
	return v, nil
}

// upgrade calls UpgradeSession on a new T. A panic becomes an error, because a stored record must not break
// each request of its visitor.
func (t *Type) upgrade(v any, from int, old Document) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value of the panic is left out: it may hold data of the session.
			err = fmt.Errorf("UpgradeSession from version %d panics with a %T", from, p)
			if bug, ok := p.(runtime.Error); ok {
				err = fmt.Errorf("%w: %w", err, bug)
			}
		}
	}()
	err = t.Upgrade(v, from, func(into any) error {
		if p := reflect.ValueOf(into); p.Kind() != reflect.Pointer || p.IsNil() {
			return fmt.Errorf("sessions: UpgradeSession decodes into a %T: give it a pointer", into)
		}
		return old.Codec.Unmarshal(old.Data, into)
	})
	if err != nil {
		err = fmt.Errorf("UpgradeSession from version %d: %w", from, err)
	}
	return err
}

// pathOf returns the field that a decoder's error names, empty if it names none.
func pathOf(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Path() string
	}](err); ok {
		return e.Path()
	}
	return ""
}
