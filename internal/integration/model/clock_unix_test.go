//go:build unix

package model_test

import "golang.org/x/sys/unix"

// clock is one for all processes of a host, and nobody sets it.
func clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
