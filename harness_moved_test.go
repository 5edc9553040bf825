package sessions_test

import (
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

// updateBubble runs a test with both codecs in fake time.
func updateBubble(t *testing.T, name string, f func(t *testing.T, c sessions.Codec)) {
	t.Run(name, func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) { f(t, c) })
		})
	})
}

// ownerPolicies are all there are.
var ownerPolicies = map[string]sessions.ConflictPolicy{
	"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
}
