//go:build !unix

package model_test

import "time"

// clock is the same for all processes as long as nobody sets it.
func clock() int64 { return time.Now().UnixNano() }
