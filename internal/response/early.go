package response

import (
	"net/http"
	"sync/atomic"
)

// An early Cache-Control is there for a handler that writes past the Writer, by another one that its framework has. Who
// asks the Writer for the header does not find it, so that no handler takes it for its own or adds to it.
type early struct {
	line atomic.Pointer[string] // nil when it has been taken out, or stays
}

const cacheControl = "Cache-Control"

// set puts the field into h if there is none. The line lies in space.
func (e *early) set(h http.Header, value string, space []string) {
	if len(h[cacheControl]) == 0 {
		h[cacheControl] = append(space, value)
		e.line.Store(&h[cacheControl][0])
	}
}

// takeOut takes the field out of h, unless somebody else has written it.
func (e *early) takeOut(h http.Header) {
	line := e.line.Swap(nil)
	if line != nil && len(h[cacheControl]) == 1 && &h[cacheControl][0] == line {
		delete(h, cacheControl)
	}
}

// keep leaves the field where it is.
func (e *early) keep() { e.line.Store(nil) }
