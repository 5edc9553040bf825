// Package goroutine tells goroutines apart.
package goroutine

import (
	"bytes"
	"runtime"
)

// ID returns the name of the calling goroutine, such as "goroutine 18". It reads the stack trace, which takes
// microseconds.
func ID() string {
	var buf [64]byte
	id, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte(" ["))
	return string(id)
}
