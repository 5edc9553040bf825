package sessions_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

// These say nothing but to the race detector.
func TestLooksBesideVerbs(t *testing.T) {
	t.Run("L15 FromContext beside a Destroy, where T has defaults", func(t *testing.T) {
		m := newManager[Greeted](t, memory(), sessions.Config{})
		for range 300 {
			ctx, err := m.Load(t.Context())
			must(t, err)
			var both sync.WaitGroup
			both.Go(func() { _ = m.Destroy(ctx) })
			both.Go(func() { m.FromContext(ctx) })
			both.Wait()
		}
	})
	t.Run("F9 T4 a hook of the load may end both sessions beside the handler", func(t *testing.T) {
		var d desk
		var hooks sync.WaitGroup
		d = newDesk(t, memory(), sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			if e.Kind == sessions.EventTwoSessions {
				hooks.Go(func() { _ = d.Destroy(ctx) })
				runtime.Gosched()
			}
		}})
		for range 200 {
			a, b := d.seed(1), d.seed(1)
			d.ask(func(http.ResponseWriter, *http.Request) { hooks.Wait() },
				cookieName+"="+a+"; "+cookieName+"="+b)
			if d.views(a) != 0 || d.views(b) != 0 {
				t.Fatal("a session lives on")
			}
		}
	})
}

// Greeted is a T whose fresh value is not zero.
type Greeted struct {
	Lang  string         `json:"lang"`
	Limit int            `json:"limit,omitempty"`
	Prefs map[string]int `json:"prefs"`
	Born  time.Time      `json:"born"`
}

func (g *Greeted) SessionDefaults() {
	*g = Greeted{Lang: "en", Limit: 10, Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}, Born: time.Now().UTC()}
}
