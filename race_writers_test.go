package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

func TestManyWriters(t *testing.T) {
	const writers = 64
	eachRig(t, func(t *testing.T, r *rig) {
		// all sends one request of each writer, lets every one load before
		// any goes on, and counts the answers.
		all := func(b *browser, meanwhile func()) (statuses map[int]int) {
			loaded, release := make(chan struct{}, writers), make(chan struct{})
			path := "/write-" + b.token()
			r.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
				s := r.m.FromContext(req.Context())
				loaded <- struct{}{}
				<-release
				s.UserID = req.FormValue("v")
				fmt.Fprint(w, "ok")
			})
			var answers []<-chan answer
			for i := range writers {
				answers = append(answers, b.clone().start(fmt.Sprintf("%s?v=w%d", path, i)))
			}
			for range writers {
				<-loaded
			}
			close(release)
			meanwhile()
			statuses = map[int]int{}
			for _, done := range answers {
				a := <-done
				statuses[a.StatusCode]++
				if c := a.setCookies(); len(c) > 0 {
					t.Errorf("a writer sends a cookie: %q", c)
				}
			}
			return statuses
		}

		t.Run("C8 of many writers of one field at once one wins and nobody gets an error", func(t *testing.T) {
			b := r.visitor("ann")
			if got := all(b, func() {}); got[200] != writers {
				t.Errorf("answers by status: %v", got)
			}
			if a := b.get("/get"); !strings.HasPrefix(a.body, "w") {
				t.Errorf("the session holds %q, of none of the writers", a.body)
			}
		})

		t.Run("C1 many writers and one who destroys leave nothing", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			b := r.visitor("ann")
			got := all(b, func() { b.clone().mustGet("/destroy", "ok") })
			if got[200]+got[409] != writers {
				t.Errorf("answers by status: %v", got)
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
		})
	})
}

// contended is a store where somebody else always gets there first.
type contended struct {
	sessions.MemoryStore
	write func(ctx context.Context)
	delay time.Duration
	busy  bool
}

func (s *contended) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if !s.busy && s.write != nil {
		s.busy = true
		s.write(context.WithoutCancel(ctx))
		s.busy = false
	}
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if !s.busy && s.write != nil {
		time.Sleep(s.delay)
	}
	return current, err
}

func TestOutOfTime(t *testing.T) {
	for _, verb := range []string{"save", "renew", "destroy", "update"} {
		t.Run("C11 a "+verb+" that others keep overtaking ends in ErrConflict and leaves their data", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &contended{delay: 300 * time.Millisecond}
				m := mustNew(t, store, sessions.Config{})
				token := mustRequest(t, m, "", put(m, "ann"))
				other := mustNew(t, store, sessions.Config{})
				n := 0
				store.write = func(ctx context.Context) {
					n++
					if _, err := request(ctx, other, token, put(other, fmt.Sprint("other", n))); err != nil {
						t.Error(err)
					}
				}
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				m.FromContext(ctx).UserID = "mine"
				start, patience := time.Now(), time.Second
				switch verb {
				case "save":
					err = m.Save(ctx)
				case "renew":
					err = m.Renew(ctx)
				case "destroy":
					err = m.Destroy(ctx)
				case "update":
					calls := 0
					err = m.Update(ctx, func(s *Session) error {
						if calls++; calls > 1 && s.UserID != fmt.Sprint("other", n) && s.UserID != "mine" {
							t.Errorf("it is called on %q", s.UserID)
						}
						s.UserID += "!"
						return nil
					})
					patience *= 2
					if got := m.FromContext(ctx).UserID; calls < 2 || got != "mine" {
						t.Errorf("after %d calls *T is %q", calls, got)
					}
				}
				if !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("%v, want ErrConflict", err)
				}
				if took := time.Since(start); took > patience+store.delay || took < patience/2 {
					t.Errorf("it took %v with %v of time", took, patience)
				}
				store.write = nil
				mustRequest(t, m, token, func(ctx context.Context) error {
					if got, want := m.FromContext(ctx).UserID, fmt.Sprint("other", n); got != want {
						t.Errorf("stored is %q, want %q", got, want)
					}
					return nil
				})
			})
		})
	}
}
