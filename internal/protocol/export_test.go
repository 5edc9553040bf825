package protocol

import (
	"fmt"
	"time"
)

// NoteListed notes so many keys as listed.
func (e *Engine) NoteListed(n int) {
	for i := range n {
		e.listed.note(fmt.Sprint(i, time.Now()))
	}
}
