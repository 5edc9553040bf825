package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A client that hangs up loses nothing of what it has done.
func TestClientHangsUp(t *testing.T) {
	t.Parallel()
	rows := []struct{ path, step string }{
		{"/set?v=bob", "before CompareAndSwap"},
		{"/save?v=bob", "before CompareAndSwap"},
		{"/renew?v=bob", kit.Steps("before Create", "before CompareAndSwap")},
		{"/renew?v=bob", "after CompareAndSwap"},
		{"/signin?v=bob", "before CompareAndSwap"},
		{"/destroy", "before CompareAndSwap"},
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		for _, row := range rows {
			t.Run(fmt.Sprintf("F3 the client hangs up %s of %s and it completes", row.step, row.path), func(t *testing.T) {
				p := kit.NewProcesses(t, rdb, sessions.Config{})
				handler := p.Root
				var released context.Context // of the request, as the server sees it
				finished := make(chan struct{})
				p.Root = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.RequestURI == row.path {
						released = r.Context()
						defer close(finished)
					}
					handler.ServeHTTP(w, r)
				})
				b := p.Visitor("ann")
				g := p.Store.At(row.step)
				ctx, hangUp := context.WithCancel(t.Context())
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if res, err := b.Send(b.Request("GET", row.path).WithContext(ctx)); err == nil {
						res.Body.Close()
						t.Error("there is an answer")
					}
				}()
				g.Wait()
				hangUp()
				<-gone
				<-released.Done()
				g.Open()
				<-finished

				left := p.Records()
				want := 1
				if row.path == "/destroy" {
					want = 0
				}
				if len(left) != want {
					t.Errorf("%d records, want %d: %q", len(left), want, left)
				}
				for _, v := range left {
					if !strings.Contains(v, `"bob"`) {
						t.Errorf("stored is %q, without the change", v)
					}
				}
				if kinds := p.Events.Kinds(); (row.path == "/renew?v=bob" || row.path == "/signin?v=bob") && !slices.Contains(kinds, sessions.EventUndelivered) {
					t.Errorf("events %v, want %v among them", kinds, sessions.EventUndelivered)
				}
			})
		}
	})
}
