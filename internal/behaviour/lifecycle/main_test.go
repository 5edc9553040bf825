package lifecycle_test

import (
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.MainForEachOwner(m) }

const idle, lifetime = time.Hour, 24 * time.Hour // the defaults

// bubble runs a test in a synctest bubble with both codecs, each with an app and
// a browser of its own.
func bubble(t *testing.T, name string, store func() sessions.Store, cfg sessions.Config, f func(t *testing.T, a *kit.App, b *kit.Browser)) {
	kit.EachBubble(t, name, func(t *testing.T, c sessions.Codec) {
		cfg := cfg
		cfg.Codec = c
		a := kit.NewApp(t, kit.InProcess, store(), cfg)
		f(t, a, a.Browser())
	})
}
