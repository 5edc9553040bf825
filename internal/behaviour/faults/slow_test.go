package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

var counted = regexp.MustCompile(`(?m)^(\d+) @`)

// running counts the goroutines with this label that run code of the library.
func running(t testing.TB, label string) (n int) {
	t.Helper()
	var profile bytes.Buffer
	kit.Must(t, pprof.Lookup("goroutine").WriteTo(&profile, 1)) // with labels, equal ones together
	for group := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(group, fmt.Sprintf("%q:%q", "test", label)) && strings.Contains(group, "typedsessions/sessions") {
			same, err := strconv.Atoi(counted.FindStringSubmatch(group)[1])
			kit.Must(t, err)
			n += same
		}
	}
	return n
}

// A store that takes its time costs the requests that need it, and only them.
func TestSlowStore(t *testing.T) {
	t.Parallel()
	const requests = 500
	for name, d := range map[string]dial{
		"Client":                     client(redis.Options{}),
		"ClusterClient":              oneNode(redis.ClusterOptions{}),
		"AutoPipeliner":              pipelined(client(redis.Options{})),
		"asynchronous AutoPipeliner": async(client(redis.Options{})),
	} {
		t.Run("F8 what 500 requests leave behind is bounded, and gone when the store is back, "+name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
			rdb := d.open(t, proxy.Addr)
			patient := kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{})
			var token string
			redistest.Eventually(t, "the client to know its server", func() bool {
				out, err := kit.Request(t.Context(), patient, "", kit.Put(patient, "ann"))
				token = out.Token.Reveal()
				return err == nil
			})
			store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: timeout / 5})
			m := kit.New[kit.Session](t, store, sessions.Config{})
			status := func() int { return handle(m, token, func(ctx context.Context) { m.FromContext(ctx) }).StatusCode }

			g := redistest.NewGate()
			on(proxy, redistest.Before(g), "getex")
			for range 3 { // the abandoned ones do not add up
				var all sync.WaitGroup
				var unavailable atomic.Int32
				pprof.Do(t.Context(), pprof.Labels("test", name), func(context.Context) {
					for range requests {
						all.Go(func() {
							if status() == 503 {
								unavailable.Add(1)
							}
						})
					}
				})
				all.Wait()
				if n := unavailable.Load(); n != requests {
					t.Errorf("%d of %d requests got 503", n, requests)
				}
			}
			if n := running(t, name); n == 0 || n > 512 {
				t.Errorf("%d abandoned operations after 1500 requests, want some and at most 512", n)
			}
			proxy.On(nil)
			g.Open()
			redistest.Eventually(t, "the store to answer again", func() bool { return status() == 200 })
			redistest.Eventually(t, "the end of the abandoned operations", func() bool { return running(t, name) == 0 })
		})
	}

	t.Run("F8 routes that do not need the store are served while 500 requests wait for it", func(t *testing.T) {
		t.Parallel()
		arrived, release := make(chan struct{}, requests), make(chan struct{})
		a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
		a.Store.Before = func(string, string) error {
			arrived <- struct{}{}
			<-release
			return nil
		}
		kit.Routes(a.Mux, a.Manager)
		var all sync.WaitGroup
		for range requests {
			all.Go(func() { kit.Serve(a.Root, kit.With(kit.UnknownToken(1), "/get")) })
		}
		for range requests {
			<-arrived
		}
		kit.Within(t, func() {
			for range 100 {
				if got := a.Browser().Get("/get"); got.StatusCode != 200 {
					t.Errorf("status %d", got.StatusCode)
				}
			}
		})
		close(release)
		all.Wait()
	})
}
