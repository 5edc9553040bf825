package peers_test

import (
	"strings"
	"sync/atomic"

	"github.com/typedsessions/sessions/internal/redistest"
)

// isWrite says that a command stores a session; deleting one is none.
func isWrite(cmd []string) bool {
	switch strings.ToUpper(cmd[0]) {
	case "SET", "SETEX", "EVAL", "EVALSHA":
		return true
	}
	return false
}

// isRead says that a command loads a session.
func isRead(cmd []string) bool {
	switch strings.ToUpper(cmd[0]) {
	case "GET", "GETEX":
		return true
	}
	return false
}

// onWrites does the actions to the coming writes, one to each, and counts them
// all. Those after the last action pass.
func (w *world) onWrites(actions ...redistest.Action) (count *atomic.Int64) {
	count = new(atomic.Int64)
	w.proxy.On(func(cmd []string) redistest.Action {
		if !isWrite(cmd) {
			return redistest.Pass
		}
		n := int(count.Add(1))
		if n > len(actions) {
			return redistest.Pass
		}
		return actions[n-1]
	})
	return count
}

// hold parks the commands that are meant at a gate.
func (w *world) hold(meant func(cmd []string) bool) *redistest.Gate {
	g := redistest.NewGate()
	w.t.Cleanup(g.Open)
	w.each(meant, redistest.Before(g))
	return g
}

// each does the action to every command that is meant, and fails the test if
// there is none: a fault that nobody meets proves nothing.
func (w *world) each(meant func(cmd []string) bool, action redistest.Action) {
	var met atomic.Bool
	w.proxy.On(func(cmd []string) redistest.Action {
		if !meant(cmd) {
			return redistest.Pass
		}
		met.Store(true)
		return action
	})
	w.t.Cleanup(func() {
		if !met.Load() {
			w.t.Error("no command came that the fault was meant for")
		}
	})
}

// refuse makes Redis take no writes, as with a full disk.
func (w *world) refuse() {
	w.each(isWrite, redistest.Refuse("-MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk"))
}

// mend undoes what was done to the proxy.
func (w *world) mend() { w.proxy.On(nil) }
