package sessions

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/goroutine"
)

// live is the handler's *T. It has a lock of its own, which is never held during a call to the store, so that
// FromContext does not wait for one.
type live struct {
	mu       sync.Mutex
	value    any       // the *T; nil until somebody looks at it or it is loaded
	defaults *defaults // of value when it was fresh, if T is Defaulted; else nil
	snapshot *snapshot // of value when it was last known to be equal to a document; nil if none was taken
	equal    *byte     // where the Data of a document begins that value is equal to as long as nobody has it; else nil
	handed   bool      // somebody has value
	used     bool      // somebody looked at the session
	timedOut bool      // http.TimeoutHandler has answered for its handler

	lookers   []looker
	abandoned error // not nil: a handler runs on without its response, and only that may use *T
}

// defaults are what SessionDefaults has made of a fresh T.
type defaults struct {
	data  []byte // its encoding
	owner string
}

// A snapshot tells whether *T is still equal to a document, without encoding it.
type snapshot struct {
	of   *byte // where the Data of the document begins
	data []byte
}

// snapshots keeps those of requests that are over. Large ones are not kept.
var snapshots = sync.Pool{New: func() any { return new(snapshot) }}

// A looker is a goroutine that has called get with a context that ends before the request's. http.TimeoutHandler
// gives its handler such a context.
type looker struct {
	goroutine goroutine.ID
	deadline  time.Time // the earliest one of its contexts
}

// get returns *T. scope is the caller's context, request that of the whole request.
func (l *live) get(c *core, scope, request context.Context) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == nil {
		l.makeFresh(c)
	}
	l.used = true
	l.hand(c)
	if at, ok := scope.Deadline(); ok && scope.Done() != request.Done() {
		l.noteLooker(c, at)
	}
	return l.value
}

// noteTimeout notes that http.TimeoutHandler answers 503: its handler goes on, or has answered 503 itself.
func (l *live) noteTimeout() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timedOut = true
}

// noteLooker notes the calling goroutine, also if another one has looked by the same context. mu is held.
func (l *live) noteLooker(c *core, deadline time.Time) {
	id := goroutine.Current()
	for i := range l.lookers {
		if k := &l.lookers[i]; k.goroutine == id {
			if deadline.Before(k.deadline) {
				k.deadline = deadline
			}
			return
		}
	}
	l.lookers = append(l.lookers, looker{id, deadline})
	if n := len(l.lookers); n >= manyLookers && n&(n-1) == 0 { // a WebSocket that begins a goroutine for each message
		all := make([]goroutine.ID, n)
		for i, k := range l.lookers {
			all[i] = k.goroutine
		}
		l.forgetEnded(c, all)
	}
}

const manyLookers = 1 << 10

// forgetEnded forgets those of the lookers that have ended, and tells whether others have not. mu is held, but not while
// goroutines are looked at.
func (l *live) forgetEnded(c *core, lookers []goroutine.ID) (running bool) {
	l.mu.Unlock()
	left := c.goroutines.Running(lookers)
	l.mu.Lock()
	l.lookers = slices.DeleteFunc(l.lookers, func(k looker) bool {
		return slices.Contains(lookers, k.goroutine) && !slices.Contains(left, k.goroutine)
	})
	return len(left) > 0
}

// noteUsed notes that the request uses the session in another way than by T.
func (l *live) noteUsed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = true
}

func (l *live) isUsed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// makeFresh makes a fresh T. mu is held.
func (l *live) makeFresh(c *core) {
	l.value = c.typ.fresh()
	if c.typ.defaults != nil {
		l.defaults = new(defaults)
		l.defaults.data, _ = c.Codec.Marshal(l.value) // New has checked that this succeeds
		if c.typ.owner != nil {
			l.defaults.owner = c.typ.owner(l.value)
		}
	}
	l.setEqual(c, l.freshDocument(c).Data)
}

// setEqual notes that *T is equal to a document; nil data that it is equal to none. mu is held.
func (l *live) setEqual(c *core, data []byte) {
	l.equal = unsafe.SliceData(data)
	if l.handed {
		l.take(c)
	}
}

// hand is called before value is handed out for the first time, and any time after. mu is held.
func (l *live) hand(c *core) {
	if !l.handed {
		l.take(c)
		l.handed = true
	}
}

// take takes a snapshot of *T, which is equal to a document. mu is held.
func (l *live) take(c *core) {
	if l.equal == nil {
		return
	}
	if take := c.docType.Codecs[0].Snapshot; take != nil {
		if l.snapshot == nil {
			l.snapshot = snapshots.Get().(*snapshot)
		}
		l.snapshot.of, l.snapshot.data = l.equal, take(l.snapshot.data[:0], l.value)
	}
	l.equal = nil
}

// isEqual tells whether *T is known to be equal to a document by Config.Codec. mu is held.
func (l *live) isEqual(c *core, d document.Document) bool {
	codec, of := c.docType.Codecs[0], unsafe.SliceData(d.Data)
	switch {
	case d.Codec != codec || of == nil:
		return false
	case !l.handed:
		return l.equal == of
	case l.snapshot == nil || l.snapshot.of != of:
		return false
	}
	now := snapshots.Get().(*snapshot)
	now.data = codec.Snapshot(now.data[:0], l.value)
	same := bytes.Equal(now.data, l.snapshot.data)
	now.release()
	return same
}

func (s *snapshot) release() {
	if cap(s.data) <= maxEncodeBuffer {
		s.of = nil
		snapshots.Put(s)
	}
}

// release lets go of what is only needed while the request is served.
func (l *live) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot != nil {
		l.snapshot.release()
		l.snapshot = nil
	}
}

// freshOwner is the owner that a fresh T of this request has by its SessionDefaults, "" if there was none.
func (l *live) freshOwner() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.defaults == nil {
		return ""
	}
	return l.defaults.owner
}

// set replaces the content of *T, by what is equal to a document with this data, or to none; a pointer that the handler
// holds stays.
func (l *live) set(c *core, v any, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == nil {
		l.value = v
	} else {
		c.typ.assign(l.value, v)
	}
	l.setEqual(c, data)
}

// replace replaces the content of *T, as set does, and returns a copy of the former content.
func (l *live) replace(c *core, v any) (before any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = c.typ.new()
	c.typ.assign(before, l.value)
	c.typ.assign(l.value, v)
	l.setEqual(c, nil)
	return before
}

// reset makes *T fresh; the pointer that the handler holds stays.
func (l *live) reset(c *core) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.defaults = nil
	if l.value != nil {
		held := l.value
		l.makeFresh(c)
		c.typ.assign(held, l.value)
		l.value = held
	}
}

// freshDocument is a fresh T in encoded form, the base while nothing is stored. mu is held.
func (l *live) freshDocument(c *core) document.Document {
	d := c.zero
	if l.defaults != nil {
		d.Data = l.defaults.data
	}
	return d
}

// encode encodes *T by the codec of base. If nothing is stored, base is empty. The lock is held meanwhile: a handler that
// http.TimeoutHandler has given up, and that calls FromContext for the first time, waits until the encoding is done.
func (l *live) encode(c *core, base document.Document) (mine document.Document, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == nil {
		l.makeFresh(c)
	}
	if base.Codec == nil {
		base = c.zero
	}
	if mine, err = c.docType.Encode(base.Codec, nil, l.value); err == nil {
		l.setEqual(c, mine.Data)
	}
	return mine, err
}

// encodeIfChanged encodes *T by the codec of base, unless it is equal to base, or if base is empty to a fresh T: then
// there is nothing to encode, and mine is that. With always it is encoded all the same. If a request's context is given,
// an abandoned T is errAbandoned.
func (l *live) encodeIfChanged(c *core, request ending, base document.Document, always bool) (compared, mine document.Document, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if request != nil && l.abandoned == nil {
		l.abandoned = l.checkAbandoned(c, request) // it stays abandoned, also if the handler ends later
	}
	if request != nil && l.abandoned != nil {
		return base, mine, fmt.Errorf("%w: %w", errAbandoned, l.abandoned)
	}
	if l.value == nil {
		l.makeFresh(c)
	}
	fresh := base.Codec == nil
	if fresh {
		base = l.freshDocument(c)
		if c.typ.owner != nil {
			base.Owner = c.typ.owner(l.value) // SessionDefaults may have given it one
		}
	}
	if !always && l.isEqual(c, base) {
		return base, base, nil
	}
	buf := encodeBuffers.Get().(*[]byte)
	defer encodeBuffers.Put(buf)
	if mine, err = c.docType.Encode(base.Codec, (*buf)[:0], l.value); err != nil {
		return base, mine, err
	}
	if cap(mine.Data) <= maxEncodeBuffer {
		*buf = mine.Data
	}
	if !always && bytes.Equal(mine.Data, base.Data) {
		return base, base, nil
	}
	mine.Data = bytes.Clone(mine.Data)
	l.setEqual(c, mine.Data)
	return base, mine, nil
}

// encodeBuffers holds buffers for encodings that are only compared. Large ones are not kept.
var encodeBuffers = sync.Pool{New: func() any { return new([]byte) }}

const maxEncodeBuffer = 64 << 10

var errAbandoned = errors.New("sessions: the handler goes on without its response")

// isAbandoned tells whether T is abandoned as of now.
func (l *live) isAbandoned(c *core, request ending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.abandoned != nil || l.checkAbandoned(c, request) != nil
}

// An ending is the context of a request, as far as its end is concerned.
type ending interface{ Err() error }

// checkAbandoned returns how the context has ended in which *T was handed out to another goroutine that still runs,
// or nil: http.TimeoutHandler answers for its handler and lets it go on. Encoding T then would be a data race, and with
// a map in T the end of the process. If the same goroutine answers, it is its own deadline that has passed, and nobody
// changes T. A goroutine that has ended, a helper of the handler's say, is forgotten. Where http.TimeoutHandler says that
// it has given up, nobody looks whether its handler has ended since. mu is held, but not while goroutines are looked at.
func (l *live) checkAbandoned(c *core, request ending) error {
	if len(l.lookers) == 0 {
		return nil
	}
	self := goroutine.Current()
	for {
		end := request.Err()
		var others []goroutine.ID
		for _, k := range l.lookers {
			if k.goroutine != self && (end != nil || !time.Now().Before(k.deadline)) {
				others = append(others, k.goroutine)
			}
		}
		if others == nil {
			return nil
		}
		if l.timedOut || l.forgetEnded(c, others) {
			return cmp.Or(end, context.DeadlineExceeded)
		}
	}
}
