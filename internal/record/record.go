// Package record defines the stored record of a session: its fields, its time to live, the names of its last
// writes, and the library's own header line.
package record

import (
	"bytes"
	"cmp"
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

// Timeouts are those of one class of sessions, plain or remembered. 0 means none; Idle and Lifetime are not both 0.
type Timeouts struct {
	Idle, Lifetime time.Duration
	// Interval is for how long a touch is not repeated. So that no session ends before Idle is over, it is in the store
	// for so much longer.
	Interval time.Duration
}

// End is when the Lifetime of a session created then is over; zero without a Lifetime.
func (t Timeouts) End(created time.Time) time.Time {
	if t.Lifetime == 0 {
		return time.Time{}
	}
	return created.Add(t.Lifetime)
}

// Touch is for how long a touch keeps a record that has no idle timeout of its own; 0 means that there is none.
func (t Timeouts) Touch() time.Duration { return t.IdleOf(&Record{}) }

// IdleOf is for how long a touch keeps a record: its own idle timeout, or else the class's, and the Interval.
func (t Timeouts) IdleOf(r *Record) time.Duration {
	switch idle := cmp.Or(r.Idle, t.Idle); idle {
	case 0:
		return 0
	default:
		return idle + t.Interval
	}
}

// IsRecent tells whether a record that the store keeps for left, and after a touch would keep for ttl, was touched within
// the Interval.
func (t Timeouts) IsRecent(left, ttl time.Duration) bool {
	return t.Interval > 0 && left > 0 && left <= ttl && left >= ttl-t.Interval
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
