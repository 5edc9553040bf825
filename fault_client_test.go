package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// A client that hangs up loses nothing of what it has done.
func TestClientHangsUp(t *testing.T) {
	rows := []struct{ path, step string }{
		{"/set?v=bob", "before CompareAndSwap"},
		{"/set?v=bob", "after CompareAndSwap"},
		{"/save?v=bob", "before CompareAndSwap"},
		{"/renew?v=bob", "before Create"},
		{"/renew?v=bob", "after Create"},
		{"/renew?v=bob", "before CompareAndSwap"},
		{"/renew?v=bob", "after CompareAndSwap"},
		{"/signin?v=bob", "before CompareAndSwap"},
		{"/destroy", "before CompareAndSwap"},
	}
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		for _, row := range rows {
			t.Run(fmt.Sprintf("F3 the client hangs up %s of %s and it completes", row.step, row.path), func(t *testing.T) {
				r := newRig(t, rdb, sessions.Config{})
				var released context.Context // of the request, as the server sees it
				finished := make(chan struct{})
				b := r.visitor("ann")
				inner := r.srv.Config.Handler
				r.srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					released = req.Context()
					defer close(finished)
					inner.ServeHTTP(w, req)
				})
				g := r.steps.at(row.step)
				ctx, hangUp := context.WithCancel(t.Context())
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if res, err := b.c.Do(b.request(row.path).WithContext(ctx)); err == nil {
						res.Body.Close()
						t.Error("there is an answer")
					}
				}()
				g.wait()
				hangUp()
				<-gone
				<-released.Done()
				g.open()
				<-finished

				left := r.records()
				switch {
				case row.path == "/destroy":
					if len(left) != 0 {
						t.Errorf("records left: %q", left)
					}
				case len(left) != 1:
					t.Errorf("%d records: %q", len(left), left)
				default:
					for _, v := range left {
						if !strings.Contains(v, `"bob"`) {
							t.Errorf("stored is %q, without the change", v)
						}
					}
				}
				want := map[string]sessions.EventKind{"/renew?v=bob": sessions.EventUndelivered, "/signin?v=bob": sessions.EventUndelivered}[row.path]
				if kinds := r.events.kinds(); want != 0 && !slices.Contains(kinds, want) {
					t.Errorf("events %v, want %v among them", kinds, want)
				}
			})
		}
	})
}
