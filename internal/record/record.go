// Package record defines the stored record of a session: its fields, its time to live, the names of its last
// writes, and the library's own header line.
package record

import (
	"bytes"
	"time"
)

// A Record is the payload, which is T by its codec, and the header beside it. It has the fields of
// sessions.Record, which documents them.
type Record struct {
	ID     []byte
	Codec  []byte
	Owner  []byte
	Label  []byte
	Writes [8][]byte // filled from the front: no name follows an empty entry

	Created       time.Time
	Authenticated time.Time
	Method        []byte
	Idle          time.Duration
	Version       int
	Remembered    bool

	Successor []byte
	Payload   []byte
	Extra     []byte

	Prefix int
	Attrs  any
}

// IsMark tells whether the record only says under which key the session lives since its renewal.
func (r *Record) IsMark() bool { return r.Successor != nil }

// AddWrite puts the name of a process's newest write first and drops the name of its former one.
//
// The name of a write is the name of the process, a dot, and a number. A record keeps the last write of each
// of the eight processes that wrote last, the newest first. A process has one write of a session on its way
// at a time, so one entry for each is enough to recognise a write whose reply was lost.
func (r *Record) AddWrite(name []byte) {
	writes := [8][]byte{name}
	process := name[:bytes.IndexByte(name, '.')+1]
	n := 1
	for _, w := range r.Writes {
		if n < len(writes) && len(w) > 0 && !bytes.HasPrefix(w, process) {
			writes[n] = w
			n++
		}
	}
	r.Writes = writes
}

// HasWrite tells whether the write of that name is in the record.
func (r *Record) HasWrite(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	for _, w := range r.Writes {
		if bytes.Equal(w, name) {
			return true
		}
	}
	return false
}

// WrittenOnlyBy tells whether no other process has ever written the record.
func (r *Record) WrittenOnlyBy(process string) bool {
	w, ok := bytes.CutPrefix(r.Writes[0], []byte(process))
	return ok && len(w) > 0 && w[0] == '.' && len(r.Writes[1]) == 0
}

// Timeouts are those of one class of sessions, plain or remembered. 0 means none; not both are 0.
type Timeouts struct{ Idle, Lifetime time.Duration }

// End is when the Lifetime of a session created then is over; zero without a Lifetime.
func (t Timeouts) End(created time.Time) time.Time {
	if t.Lifetime == 0 {
		return time.Time{}
	}
	return created.Add(t.Lifetime)
}

// IdleOf is the idle timeout of a record: its own, or else the class's.
func (t Timeouts) IdleOf(r *Record) time.Duration {
	if r.Idle > 0 {
		return r.Idle
	}
	return t.Idle
}

// TTL is how long a record may stay in the store from now on. Zero or less means that its time is up.
func (t Timeouts) TTL(r *Record, now time.Time) time.Duration {
	idle, end := t.IdleOf(r), t.End(r.Created)
	switch {
	case end.IsZero():
		return idle
	case idle == 0:
		return end.Sub(now)
	}
	return min(idle, end.Sub(now))
}
