// Package goroutine tells goroutines apart, and tells which of them have ended.
package goroutine

import (
	"bytes"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An ID is the number of a goroutine. No other one in the process ever has it.
type ID uint64

// Current returns the ID of the calling goroutine. It reads the stack trace, which takes microseconds.
func Current() ID {
	var buf [64]byte
	id, _ := parse(buf[:runtime.Stack(buf[:], false)])
	return id
}

// CalledBy tells whether a function is among the callers, of whom it looks at the nearest ones.
func CalledBy(function string) bool {
	return called(func(name string) bool { return name == function })
}

// CalledIn is CalledBy for the functions of all packages whose path begins so.
func CalledIn(path string) bool {
	return called(func(name string) bool { return strings.HasPrefix(name, path) })
}

func called(is func(name string) bool) bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if is(frame.Function) {
			return true
		}
		if !more {
			return false
		}
	}
}

// A Census tells which goroutines have ended. The zero value is ready for use.
//
// That needs the stacks of all goroutines, and the program stands still while they are written: for about 10 µs a
// goroutine. So callers who come at the same time share one look, and the next one waits for ten times as long as
// the last one took. Nobody waits for more than half a second: who would have to is not told.
type Census struct {
	begun atomic.Uint64 // looks
	mu    sync.Mutex
	next  time.Time   // when the next look may begin
	found map[ID]bool // the goroutines that the last look has found; nil if they were too many
}

const (
	attempts = 2                      // looks at a goroutine that may be just about to end
	share    = 10                     // looks take at most one part in so many of the time
	most     = 100 * time.Microsecond // that a look takes for a goroutine
	maxWait  = 500 * time.Millisecond // before a look; there is no first one if it would have to be longer
	maxSize  = 64 << 20               // of the stacks, in bytes
	perStack = 3 << 10                // the first guess, in bytes
)

// Running returns those of the goroutines that have not ended. It returns all where it cannot know, in a program of
// thousands of goroutines. One that has said, by a channel, that it is done may need a moment to end, for a log line
// or a lock in its deferred functions. So there is another look at those that are found.
func (c *Census) Running(ids []ID) []ID {
	for i := range attempts {
		found := c.look(i > 0)
		if found == nil {
			return ids
		}
		left := ids[:0:0]
		for _, id := range ids {
			if found[id] {
				left = append(left, id)
			}
		}
		if ids = left; len(ids) == 0 {
			break
		}
		runtime.Gosched()
	}
	return ids
}

// look returns the goroutines that there are, by a look that has begun after the call, or nil. again
// says that it is the caller's second one.
func (c *Census) look(again bool) map[ID]bool {
	before := c.begun.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.Load() > before {
		return c.found
	}
	wait := time.Until(c.next)
	if wait > maxWait && !again {
		return nil
	}
	time.Sleep(min(wait, maxWait))
	c.begun.Add(1)
	began := time.Now()
	stacks := stacks()
	took := min(time.Since(began), time.Duration(runtime.NumGoroutine())*most) // more is not this program's doing
	c.next = time.Now().Add(share * took)
	c.found = nil
	if stacks != nil {
		c.found = map[ID]bool{}
		for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
			if id, ok := parse(stack); ok {
				c.found[id] = true
			}
		}
	}
	return c.found
}

// stacks returns the stacks of all goroutines, or nil if they are too large.
func stacks() []byte {
	for size := perStack * (10 + runtime.NumGoroutine()); size <= maxSize; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return buf[:n]
		}
	}
	return nil
}

// parse reads the number in the first line of a stack: "goroutine 18 [chan receive]:".
func parse(stack []byte) (id ID, ok bool) {
	rest, ok := bytes.CutPrefix(stack, []byte("goroutine "))
	if !ok {
		return 0, false
	}
	number, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.ParseUint(string(number), 10, 64)
	return ID(n), err == nil
}
