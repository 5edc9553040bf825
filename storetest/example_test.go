package storetest_test

import (
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/storetest"
)

// The test of a Store of one's own. This one goes by time.Now, so each case runs in a bubble, in which hours take no time.
func ExampleRun() {
	testStore := func(t *testing.T) {
		storetest.Run(t, storetest.Options{
			New:       func(*testing.T) sessions.Store { return &sessions.MemoryStore{} },
			Neighbour: func(*testing.T) sessions.Store { return &sessions.MemoryStore{} },
			Wrap:      synctest.Test,
		})
	}
	_ = testStore // func TestStore(t *testing.T)
}
