//go:build !linux

package redistest

import "syscall"

// dieWithParent is Linux's alone: elsewhere a crashed test binary leaves its
// servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
