package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

func TestTwoCookies(t *testing.T) {
	for _, other := range []struct {
		desc, value string
	}{
		{"an unknown one", wellFormed(1)}, {"one of the wrong shape", "tossed"}, {"an empty one", ""},
	} {
		for _, first := range []bool{true, false} {
			order := map[bool]string{true: "first", false: "last"}[first]
			t.Run("T4 a valid cookie that comes "+order+" beside "+other.desc+" is used", func(t *testing.T) {
				d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
				pairs := []string{cookieName + "=" + d.seed(7), cookieName + "=" + other.value}
				if !first {
					slices.Reverse(pairs)
				}
				for _, cookies := range [][]string{{strings.Join(pairs, "; ")}, pairs} { // HTTP/2 may split the line
					views := 0
					d.ask(func(_ http.ResponseWriter, r *http.Request) {
						views = sessions.FromContext[Session](r.Context()).Views
					}, cookies...)
					if views != 7 {
						t.Errorf("%q: %d views, want 7", cookies, views)
					}
				}
			})
		}
	}
	for _, reverse := range []bool{false, true} {
		t.Run(fmt.Sprintf("T4 the token before a renewal and the one after it are not two sessions, reversed %t", reverse), func(t *testing.T) {
			events := &recorder{}
			d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{OnEvent: events.on})
			old := d.seed(7)
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Renew(r.Context()); err != nil {
					t.Error(err)
				}
			}, cookieName+"="+old)
			events.kinds()
			tokens := []string{old, tokenOf(res.Header)}
			if reverse {
				slices.Reverse(tokens)
			}
			if got := d.views(tokens...); got != 7 {
				t.Errorf("%d views, want 7", got)
			}
			if got := events.kinds(); len(got) > 0 {
				t.Errorf("events %v, want none", got)
			}
		})
	}
	t.Run("T4 one valid token twice is one session, loaded once", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		token := d.seed(7)
		ops.take()
		views := 0
		d.ask(func(_ http.ResponseWriter, r *http.Request) {
			views = sessions.FromContext[Session](r.Context()).Views
		}, cookieName+"="+token+"; "+cookieName+"="+token)
		if got := ops.take(); views != 7 || !slices.Equal(got, []string{"Load"}) {
			t.Errorf("%d views, store calls %v", views, got)
		}
	})
	t.Run("T4 of two different valid ones neither is used, and an event tells", func(t *testing.T) {
		events := &recorder{}
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{OnEvent: events.on})
		mine, tossed := d.seed(7), d.seed(9)
		events.kinds()
		for _, cookies := range []string{mine + "; " + cookieName + "=" + tossed, tossed + "; " + cookieName + "=" + mine} {
			var views int
			var isNew bool
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				views, isNew = sessions.FromContext[Session](r.Context()).Views, d.Info(r.Context()).New
			}, cookieName+"="+cookies)
			if views != 0 || !isNew || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%d views, new is %t, %v; want a fresh session", views, isNew, res.Header)
			}
			if got := events.kinds(); !slices.Equal(got, []sessions.EventKind{sessions.EventTwoSessions}) {
				t.Errorf("events %v", got)
			}
		}
		if d.views(mine) != 7 || d.views(tossed) != 9 {
			t.Error("one of the two sessions was harmed")
		}
	})
	t.Run("T4 signing out with two valid ones ends both, and takes the cookie back", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		mine, tossed := d.seed(7), d.seed(9)
		res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := d.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		}, cookieName+"="+mine+"; "+cookieName+"="+tossed)
		if d.views(mine) != 0 || d.views(tossed) != 0 || !slices.Equal(res.Header["Set-Cookie"], []string{cookieEnded}) {
			t.Errorf("%d and %d views, %v", d.views(mine), d.views(tossed), res.Header)
		}
	})
	t.Run("T4 at most four are tried", func(t *testing.T) {
		for _, tc := range []struct{ at, views, loads int }{{1, 7, 4}, {4, 7, 4}, {5, 0, 4}, {9, 0, 4}} {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			var pairs []string
			for i := range 9 {
				pairs = append(pairs, cookieName+"="+wellFormed(i))
			}
			pairs[tc.at-1] = cookieName + "=" + d.seed(7)
			ops.take()
			views := 0
			d.ask(func(_ http.ResponseWriter, r *http.Request) {
				views = sessions.FromContext[Session](r.Context()).Views
			}, strings.Join(pairs, "; "))
			if got := ops.take(); views != tc.views || len(got) != tc.loads {
				t.Errorf("the valid one is number %d: %d views, store calls %v; want %d and %d", tc.at, views, got, tc.views, tc.loads)
			}
		}
	})
	t.Run("T4 at most four tokens of Load are tried", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		token := d.seed(7)
		ops.take()
		if got := d.views(wellFormed(1), wellFormed(2), wellFormed(3), wellFormed(4), token); got != 0 || len(ops.take()) != 4 {
			t.Errorf("%d views", got)
		}
	})
	t.Run("T4 the four share one time budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hanging := hangingStore{budget: 2 * time.Second}
			d := newDesk(t, &hanging, sessions.Config{})
			began := time.Now()
			res := d.ask(noHandler, cookieName+"="+wellFormed(1)+"; "+cookieName+"="+wellFormed(2)+"; "+cookieName+"="+wellFormed(3)+"; "+cookieName+"="+wellFormed(4))
			if got := time.Since(began); got != hanging.budget || res.StatusCode != 503 {
				t.Errorf("%d after %v, want 503 after %v", res.StatusCode, got, hanging.budget)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			slow := hangingStore{budget: 2 * time.Second, answers: 600 * time.Millisecond}
			d := newDesk(t, &slow, sessions.Config{})
			began := time.Now()
			res := d.ask(noHandler, cookieName+"="+wellFormed(1)+"; "+cookieName+"="+wellFormed(2)+"; "+cookieName+"="+wellFormed(3)+"; "+cookieName+"="+wellFormed(4))
			if got := time.Since(began); got != slow.budget || res.StatusCode != 503 || slow.loads != 4 {
				t.Errorf("%d after %v and %d loads, want 503 after %v and 4", res.StatusCode, got, slow.loads, slow.budget)
			}
		})
	})
}

// hangingStore finds nothing, after a time or never.
type hangingStore struct {
	sessions.MemoryStore
	budget, answers time.Duration
	loads           int
}

func (s *hangingStore) Timeout() time.Duration { return s.budget }

func (s *hangingStore) Load(ctx context.Context, _ string, _ time.Duration) ([]byte, time.Duration, error) {
	s.loads++
	var answered <-chan time.Time
	if s.answers > 0 {
		answered = time.After(s.answers)
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-answered:
		return nil, 0, sessions.ErrNotFound
	}
}
