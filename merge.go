package sessions

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/typedsessions/sessions/internal/merge"
)

// A ConflictPolicy says what a save does when another one came in between: the
// two requests loaded the same record, and both have changed it. Under none of
// them does a save bring back a session that has ended, or write into one that
// now belongs to somebody else: both are [ErrGone].
type ConflictPolicy int

const (
	// ConflictMerge merges by top-level field. A field that this request has
	// changed wins, every other keeps what is stored, also those that T does
	// not know. Fields that must agree with each other belong in one nested
	// struct, which is one field. [Merging] replaces the rule by T's own. With
	// a [Codec] that is no [FieldCodec] it is ConflictLastWrite.
	ConflictMerge ConflictPolicy = iota
	// ConflictLastWrite lets the later save stand, as a whole, and with it
	// what [Manager.Update] has not changed in a request that has also changed T otherwise.
	ConflictLastWrite
	// ConflictReject lets the earlier save stand; the later one is [ErrConflict].
	ConflictReject
)

// Merging is implemented by a *T that knows better than [ConflictMerge] how two
// requests' changes go together: counters that add up, sets that unite.
//
// MergeSession is called on what this request has made of T, with what the
// request had loaded and with what is stored now. It brings theirs into its
// receiver, and the result is saved and becomes *T. All three are values
// decoded afresh. It is called again when yet another save comes in between, so it changes
// nothing else. Its error fails the save, unchanged.
type Merging[T any] interface {
	MergeSession(base, theirs *T) error
}

// stored is a record as it is in the store.
type stored struct {
	raw  []byte
	rec  Record
	base encoded  // its T
	live any      // the same decoded; nil for the record that the request's T came from
	from *encoded // what T was in the request's own save that is in it
}

// A meeting is what came of two requests that have written one session.
type meeting struct {
	live  any      // T after it; nil if the request's own is that already
	taken []string // fields that the other one has changed
	lost  []string // fields that both have, to different values: this request's stand
	over  bool     // the other one's T was replaced as a whole
}

// merge makes one payload of what was loaded, mine, and what theirs has become.
// What T was in a save that was not answered is another base: who sets a field
// back to what was loaded has changed it.
func (m *core) merge(base, mine encoded, theirs *stored, doubt []unanswered) (encoded, meeting, error) {
	_, _, target := m.foreign(&theirs.rec)
	c, ok := target.(FieldCodec)
	if m.OnConflict == ConflictLastWrite || !ok && m.mergeSession == nil {
		return mine, meeting{over: true}, nil
	}
	fail := func(err error) (encoded, meeting, error) {
		return mine, meeting{}, fmt.Errorf("sessions: merging two %s: %w", m.name, err)
	}
	from := []encoded{base, mine, theirs.base}
	for _, d := range doubt {
		from = append(from, d.mine)
	}
	docs, lives := make([][]byte, len(from)), make([]any, len(from))
	for i, e := range from {
		var err error
		if lives[i], docs[i], err = m.recode(e, target); err != nil {
			return fail(err)
		}
	}
	if m.mergeSession != nil {
		if err := m.mergeSession(lives[1], lives[0], lives[2]); err != nil {
			return mine, meeting{}, err
		}
		data, err := target.Marshal(lives[1])
		if err != nil {
			return fail(err)
		}
		return encoded{target, data, m.owner(lives[1]), true}, meeting{live: lives[1]}, nil
	}

	fields := make([][]merge.Field, len(docs))
	for i, d := range docs {
		var err error
		if fields[i], err = apart(c, d); err != nil {
			return fail(err)
		}
	}
	same := m.same(c)
	ours := slices.Collect(merge.Diff(fields[0], fields[1], true, same))
	for _, f := range fields[3:] {
		ours = slices.AppendSeq(ours, merge.Diff(f, fields[1], true, same))
	}
	var met meeting
	for name := range merge.Diff(fields[0], fields[2], true, same) {
		switch {
		case !slices.Contains(ours, name):
			met.taken = append(met.taken, name)
		case !same(name, merge.Find(fields[1], name, 0), merge.Find(fields[2], name, 0)):
			met.lost = append(met.lost, name)
		}
	}
	data, err := c.Join(public(merge.Apply(fields[2], fields[1], ours)))
	if err != nil {
		return fail(err)
	}
	merged := m.blank()
	if err := c.Unmarshal(data, merged); err != nil {
		return fail(err)
	}
	if len(met.taken) > 0 {
		met.live = merged
	}
	return encoded{codec: c, data: data, owner: m.owner(merged)}, met, nil
}

// foreign says which fields of a record T knows, whether there are others, and
// by which codec to store in its place: Config.Codec, unless there are. Those
// stay, and with them the codec. A T that has upgraded itself has taken what it
// needs, and known is nil.
func (m *core) foreign(rec *Record) (known map[string]bool, others bool, target Codec) {
	c, ok := m.codecOf(rec).(FieldCodec)
	if !ok || len(rec.Payload) == 0 || rec.Version != m.version {
		return nil, false, m.Codec
	}
	known = m.known(c, rec.Payload)
	if known == nil || knows(known, c, rec.Payload) {
		return known, false, m.Codec
	}
	return known, true, c
}

// recode decodes e afresh and encodes that by another codec, or by its own once more.
func (m *core) recode(e encoded, target Codec) (live any, data []byte, err error) {
	live = m.blank()
	if err = e.codec.Unmarshal(e.data, live); err == nil {
		data, err = target.Marshal(live)
	}
	return live, data, err
}

// known are the fields that T can write, or read. A T that encodes itself knows
// of a document what comes back when it is decoded and encoded again.
func (m *core) known(c FieldCodec, data []byte) map[string]bool {
	if known := m.names[c.Name()]; known != nil {
		return known
	}
	_, again, err := m.recode(encoded{codec: c, data: data}, c)
	if err != nil {
		return nil
	}
	fields, err := apart(c, again)
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Name] = true
	}
	return known
}

// A walker takes apart what has been decoded before without looking whether it
// is valid.
type walker interface {
	Walk(data []byte, field func(name, value []byte)) error
}

// apart is Split for such data.
func apart(c FieldCodec, data []byte) ([]merge.Field, error) {
	var fields Fields
	var err error
	if w, ok := c.(walker); ok {
		fields, err = split(c.Name(), data, w.Walk)
	} else {
		fields, err = c.Split(data)
	}
	return plain(fields), err
}

// knows says that every field of a document that was decoded is known.
func knows(known map[string]bool, c FieldCodec, data []byte) bool {
	all := true
	look := func(name, _ []byte) { all = all && known[string(name)] }
	if w, ok := c.(walker); ok {
		return w.Walk(data, look) == nil && all
	}
	fields, err := c.Split(data)
	for _, f := range fields {
		look([]byte(f.Name), nil)
	}
	return err == nil && all
}

// payload is what to store in place of rec: of T what has changed, and all else
// as it is there, byte for byte: the fields that T does not know, and what it
// does not know of those within the others.
func (m *core) payload(rec *Record, mine encoded) (encoded, error) {
	known, others, target := m.foreign(rec)
	if target.Name() != mine.codec.Name() {
		_, data, err := m.recode(mine, target)
		if err != nil {
			return mine, fmt.Errorf("sessions: encoding %s: %w", m.name, err)
		}
		mine.codec, mine.data = target, data
	}
	c, ok := target.(FieldCodec)
	if !ok || known == nil || m.codecOf(rec).Name() != target.Name() || !others && m.alone(rec) {
		return mine, nil
	}
	fail := func(err error) (encoded, error) {
		return mine, fmt.Errorf("sessions: keeping what is unknown to %s: %w", m.name, err)
	}
	doc, err := apart(c, rec.Payload)
	if err != nil {
		return fail(err)
	}
	from, err := apart(c, mine.data)
	if err != nil {
		return fail(err)
	}
	was := slices.DeleteFunc(slices.Clone(doc), func(f merge.Field) bool { return !known[f.Name] })
	changed := slices.Collect(merge.Diff(was, from, false, m.same(c)))
	if mine.data, err = c.Join(public(merge.Apply(doc, from, changed))); err != nil {
		return fail(err)
	}
	mine.own = false
	return mine, nil
}

// differ says that two encodings by one codec are of different T's. Bytes that
// differ prove nothing: msgpack leaves most maps unsorted, and another build may
// have written one of them.
func (m *core) differ(was, is encoded) bool {
	c, ok := was.codec.(FieldCodec)
	known := m.names[was.codec.Name()]
	switch {
	case !ok || known == nil:
		return !m.alike(was, is)
	case was.own && is.own && !merge.Permuted(was.data, is.data) && knows(known, c, was.data):
		return true // one encoder wrote both, and there is nothing else in them
	}
	before, err := apart(c, was.data)
	if err != nil {
		return true
	}
	after, err := apart(c, is.data)
	if err != nil {
		return true
	}
	before = slices.DeleteFunc(before, func(f merge.Field) bool { return !known[f.Name] })
	for range merge.Diff(before, after, was.own && is.own, m.same(c)) {
		return true
	}
	return false
}

// same compares two values of one field by what T makes of them.
func (m *core) same(c FieldCodec) func(name string, a, b []byte) bool {
	return func(name string, a, b []byte) bool {
		var docs [2][]byte
		for i, value := range [][]byte{a, b} {
			var fields Fields
			if value != nil {
				fields = Fields{{name, value}}
			}
			var err error
			if docs[i], err = c.Join(fields); err != nil {
				return false
			}
		}
		return m.alike(encoded{codec: c, data: docs[0]}, encoded{codec: c, data: docs[1]})
	}
}

// alike decodes and compares. A NaN, unlike itself, is no difference where it is encoded alike.
func (m *core) alike(a, b encoded) bool {
	x, y := m.blank(), m.blank()
	if a.codec.Unmarshal(a.data, x) != nil || b.codec.Unmarshal(b.data, y) != nil {
		return false
	}
	if reflect.DeepEqual(x, y) {
		return true
	}
	one := reencode(a.codec, x)
	return len(one) > 0 && bytes.Equal(one, reencode(a.codec, y))
}

func plain(fields Fields) []merge.Field {
	out := make([]merge.Field, len(fields))
	for i, f := range fields {
		out[i] = merge.Field(f)
	}
	return out
}

func public(fields []merge.Field) Fields {
	out := make(Fields, len(fields))
	for i, f := range fields {
		out[i] = Field(f)
	}
	return out
}

// checkPolicy refuses a policy that there is not.
func (m *core) checkPolicy() error {
	if m.OnConflict < ConflictMerge || m.OnConflict > ConflictReject {
		return errors.New("sessions: Config.OnConflict: it is none of ConflictMerge, ConflictLastWrite and ConflictReject")
	}
	return nil
}
