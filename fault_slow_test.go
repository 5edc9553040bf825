package sessions_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A store that takes its time costs the requests that need it, and only them.
func TestSlowStore(t *testing.T) {
	const requests = 500
	clients := map[string]func(t *testing.T, addr string) redis.UniversalClient{
		"Client": func(_ *testing.T, addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr})
		},
		"ClusterClient": func(_ *testing.T, addr string) redis.UniversalClient {
			return oneNode(addr)
		},
		"AutoPipeliner": func(t *testing.T, addr string) redis.UniversalClient {
			client := redis.NewClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { client.Close() })
			p, err := client.AutoPipeline()
			must(t, err)
			return p
		},
	}
	for name, client := range clients {
		t.Run("F8 what 500 requests leave behind is bounded, and gone when the store is back, "+name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			rdb := client(t, proxy.Addr)
			t.Cleanup(func() { rdb.Close() })
			m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{}), sessions.Config{})
			token := mustRequest(t, m, "", put(m, "ann"))
			h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.FromContext(r.Context()).UserID) }))
			waiting := func() (n int) {
				for _, stack := range ours() {
					if strings.Contains(stack, "sessions.waitFor") || strings.Contains(stack, "sessions.withinTimeout") {
						n++
					}
				}
				return n
			}
			before := waiting()
			g := redistest.NewGate()
			proxy.On(func(cmd []string) redistest.Action {
				if strings.EqualFold(cmd[0], "getex") {
					return redistest.Before(g)
				}
				return redistest.Pass
			})
			for range 3 { // the abandoned ones do not add up
				var all sync.WaitGroup
				var unavailable atomic.Int32
				for range requests {
					all.Go(func() {
						if serve(h, with(token, "/")).StatusCode == 503 {
							unavailable.Add(1)
						}
					})
				}
				all.Wait()
				if n := unavailable.Load(); n != requests {
					t.Errorf("%d of %d requests got 503", n, requests)
				}
			}
			const limit = 512
			if n := waiting() - before; n > limit {
				t.Errorf("%d abandoned operations after 1500 requests, want at most %d", n, limit)
			}
			proxy.On(nil)
			g.Open()
			ok := false
			for deadline := time.Now().Add(60 * time.Second); !ok && time.Now().Before(deadline); {
				ok = serve(h, with(token, "/")).StatusCode == 200
			}
			if !ok {
				t.Error("it does not recover")
			}
			for deadline := time.Now().Add(60 * time.Second); waiting() > before && time.Now().Before(deadline); {
				runtime.Gosched()
			}
			if n := waiting() - before; n > 0 {
				t.Errorf("%d abandoned operations when the store is back", n)
			}
		})
	}

	t.Run("F8 routes that do not need the store are served while 500 requests wait for it", func(t *testing.T) {
		arrived, release := make(chan struct{}, requests), make(chan struct{})
		store := &stepStore{Store: new(sessions.MemoryStore), before: func(string, string) error {
			arrived <- struct{}{}
			<-release
			return nil
		}}
		a := newApp(t, store, sessions.Config{})
		verbs(a.mux, a.m)
		h := a.srv.Config.Handler
		var all sync.WaitGroup
		for range requests {
			all.Go(func() { serve(h, with(someToken, "/get")) })
		}
		for range requests {
			<-arrived
		}
		within(t, func() {
			for range 100 {
				if got := a.browser().get("/get"); got.StatusCode != 200 {
					t.Errorf("status %d", got.StatusCode)
				}
			}
		})
		close(release)
		all.Wait()
	})

	t.Run("F10 ten writers of one session whose store hangs after the load end within Timeout plus a tenth", func(t *testing.T) {
		const timeout = 2 * time.Second
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		var loaded sync.WaitGroup
		release := make(chan struct{})
		loaded.Add(10)
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.FromContext(r.Context())
			loaded.Done()
			<-release
			s.Views++
		}))
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { wantUnavailable(t, serve(h, with(token, "/"))) })
		}
		loaded.Wait()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.HasPrefix(strings.ToLower(cmd[0]), "eval") {
				return redistest.Hang
			}
			return redistest.Pass
		})
		start := time.Now()
		close(release)
		all.Wait()
		if took := time.Since(start); took > timeout*11/10 {
			t.Errorf("the last one answered after %v", took)
		}
	})
}
