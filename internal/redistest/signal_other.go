//go:build !unix

package redistest

import "syscall"

// There is no pausing a process here. The package builds, so that tests without
// a server run.
const sigStop, sigCont = syscall.Signal(-1), syscall.Signal(-1)
