package races_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestManyWriters(t *testing.T) {
	t.Parallel()
	const writers = 64
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		// all sends one request of each writer, lets every one load before
		// any goes on, and counts the answers.
		all := func(t *testing.T, b *kit.Browser, meanwhile func()) (statuses map[int]int) {
			loaded, release := make(chan struct{}, writers), make(chan struct{})
			path := "/write-" + b.Token()
			p.Handle(path, func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				loaded <- struct{}{}
				<-release
				s.UserID = r.FormValue("v")
				fmt.Fprint(w, "ok")
			})
			var answers []<-chan kit.Response
			for i := range writers {
				answers = append(answers, b.Clone().Start(fmt.Sprintf("%s?v=w%d", path, i)))
			}
			for range writers {
				<-loaded
			}
			close(release)
			meanwhile()
			statuses = map[int]int{}
			for _, done := range answers {
				res := <-done
				statuses[res.StatusCode]++
				wantNoCookie(t, res)
			}
			return statuses
		}

		t.Run("C8 of many writers of one field at once one wins and nobody gets an error", func(t *testing.T) {
			b := p.Visitor("ann")
			if got := all(t, b, func() {}); got[200] != writers {
				t.Errorf("answers by status: %v", got)
			}
			if res := b.Get("/get"); !strings.HasPrefix(res.Text, "w") {
				t.Errorf("the session holds %q, of none of the writers", res.Text)
			}
		})

		t.Run("C1 many writers and one who destroys leave nothing", func(t *testing.T) {
			p.Redis.FlushAll(t.Context())
			b := p.Visitor("ann")
			got := all(t, b, func() { b.Clone().MustGet("/destroy", "ok") })
			if got[200]+got[409] != writers {
				t.Errorf("answers by status: %v", got)
			}
			wantKeys(t, p, 0)
		})
	})
}

// These say nothing but to the race detector.
func TestLooksBesideVerbs(t *testing.T) {
	t.Parallel()
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	t.Run("L15 FromContext beside a Destroy, where T has defaults", func(t *testing.T) {
		m := kit.New[greeted](t, kit.Memory(), sessions.Config{})
		for range rounds {
			ctx, _ := kit.Load(t, m)
			var both sync.WaitGroup
			both.Go(func() { _ = m.Destroy(ctx) })
			both.Go(func() { m.FromContext(ctx) })
			both.Wait()
		}
	})
	t.Run("F9 T4 a hook of the load may end both sessions beside the handler", func(t *testing.T) {
		var a *kit.App
		var hooks sync.WaitGroup
		a = kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{OnEvent: func(ctx context.Context, e sessions.Event) {
			if e.Kind == sessions.EventTwoSessions {
				hooks.Go(func() { _ = a.Destroy(ctx) })
				runtime.Gosched()
			}
		}})
		for range rounds {
			one, two := a.Seed(1), a.Seed(1)
			a.Ask(func(http.ResponseWriter, *http.Request) { hooks.Wait() },
				kit.CookieName+"="+one+"; "+kit.CookieName+"="+two)
			if a.Views(one) != 0 || a.Views(two) != 0 {
				t.Fatal("a session lives on")
			}
		}
	})
}

// greeted is a T whose fresh value is not zero.
type greeted struct {
	Lang  string         `json:"lang"`
	Limit int            `json:"limit,omitempty"`
	Prefs map[string]int `json:"prefs"`
	Born  time.Time      `json:"born"`
}

func (g *greeted) SessionDefaults() {
	*g = greeted{Lang: "en", Limit: 10, Prefs: map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}, Born: time.Now().UTC()}
}
