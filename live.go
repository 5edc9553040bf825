package sessions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/typedsessions/sessions/internal/document"
	"github.com/typedsessions/sessions/internal/goroutine"
)

// live is the handler's *T. It has a lock of its own, which is never held during a call to the store, so that
// FromContext does not wait for one.
type live struct {
	mu       sync.Mutex
	value    any    // the *T; nil until somebody looks at it or it is loaded
	fresh    []byte // the encoding of value when it was fresh, if T is Defaulted; else nil, and core.zero is that
	guest    string // the owner of value when it was fresh; SessionDefaults may set one
	used     bool   // somebody looked at the session
	timedOut bool   // http.TimeoutHandler has answered for its handler

	lookers   []looker
	abandoned error // not nil: a handler runs on without its response, and only that may use *T
}

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
		l.fresh, _ = c.Codec.Marshal(l.value) // New has checked that this succeeds
		if c.typ.owner != nil {
			l.guest = c.typ.owner(l.value)
		}
	}
}

// freshOwner is the owner that a fresh T of this request has by its SessionDefaults, "" if there was none.
func (l *live) freshOwner() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.guest
}

// set replaces the content of *T; a pointer that the handler holds stays.
func (l *live) set(c *core, v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == nil {
		l.value = v
		return
	}
	c.typ.assign(l.value, v)
}

// replace replaces the content of *T, as set does, and returns a copy of the former content.
func (l *live) replace(c *core, v any) (before any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = c.typ.new()
	c.typ.assign(before, l.value)
	c.typ.assign(l.value, v)
	return before
}

// reset makes *T fresh; the pointer that the handler holds stays.
func (l *live) reset(c *core) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = nil
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
	if l.fresh != nil {
		d.Data = l.fresh
	}
	return d
}

// encode appends the encoded *T to dst, by the codec of base, because the two are compared. If nothing is stored,
// base is empty and compared is a fresh T. The lock is held meanwhile: a handler that http.TimeoutHandler has
// given up, and that calls FromContext for the first time, waits until the encoding is done. If a request's
// context is given, an abandoned T is errAbandoned.
func (l *live) encode(c *core, request ending, dst []byte, base document.Document) (compared, mine document.Document, err error) {
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
	}
	mine, err = c.docType.Encode(base.Codec, dst, l.value)
	if fresh {
		base.Owner = mine.Owner // a fresh T may have one by SessionDefaults
	}
	return base, mine, err
}

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
