package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestRedisStoreTimeout(t *testing.T) {
	const timeout, limit = time.Second, time.Second + time.Second/10
	once := func(t *testing.T, s *sessions.RedisStore) (late []string) {
		t.Helper()
		var mu sync.Mutex
		var running sync.WaitGroup
		for name, op := range redisOps(s) {
			running.Go(func() {
				start := time.Now()
				err := op(context.Background())
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				if took > limit {
					late = append(late, fmt.Sprintf("%s took %v", name, took))
				}
				if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "sessions: store unavailable: ") {
					t.Errorf("%s: error %v, want ErrUnavailable", name, err)
				}
			})
		}
		running.Wait()
		return late
	}
	// A busy machine is late by itself now and then, a store without a bound
	// is late each time.
	check := func(t *testing.T, s *sessions.RedisStore) {
		t.Helper()
		var late []string
		for range 3 {
			if late = once(t, s); late == nil {
				return
			}
		}
		t.Errorf("%s, want at most %v", strings.Join(late, ", "), limit)
	}
	var open []redis.UniversalClient
	closing := func(_ *testing.T, c redis.UniversalClient) redis.UniversalClient {
		open = append(open, c)
		return c
	}
	// closeLater is called before a server starts and so closes its clients
	// after its end: an AutoPipeliner drains, for half a minute if need be.
	closeLater := func(t *testing.T) {
		t.Cleanup(func() {
			for _, c := range open {
				c.Close()
			}
			open = nil
		})
	}

	for _, tt := range []struct {
		name   string
		client func(t *testing.T, addr string) redis.UniversalClient
	}{
		{"Client", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClient(&redis.Options{Addr: addr}))
		}},
		{"Client with ContextTimeoutEnabled", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true}))
		}},
		{"Client with ContextTimeoutEnabled and no timeouts", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1}))
		}},
		{"Client with ContextTimeoutEnabled that never sets deadlines", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, ReadTimeout: -2, WriteTimeout: -2}))
		}},
		{"FailoverClient with ContextTimeoutEnabled, the sentinel silent", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, ContextTimeoutEnabled: true}))
		}},
		{"Client with ContextTimeoutEnabled and one connection", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, PoolSize: 1, PipelinePoolSize: -1, PoolTimeout: time.Minute}))
		}},
		{"ClusterClient", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}}))
		}},
		{"ClusterClient with ContextTimeoutEnabled", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true}))
		}},
		{"FailoverClient, the sentinel silent", func(t *testing.T, addr string) redis.UniversalClient {
			return closing(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}}))
		}},
		{"AutoPipeliner", func(t *testing.T, addr string) redis.UniversalClient {
			return redisAutoPipeliner(t, closing(t, redis.NewClient(&redis.Options{Addr: addr})))
		}},
		{"AutoPipeliner on a ClusterClient", func(t *testing.T, addr string) redis.UniversalClient {
			return redisAutoPipeliner(t, closing(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})))
		}},
		{"a client of another type", func(t *testing.T, addr string) redis.UniversalClient {
			c := redis.NewClient(&redis.Options{Addr: addr})
			return redisUnknown{closing(t, c).(*redis.Client)}
		}},
	} {
		t.Run("F1 silent from the start: "+tt.name, func(t *testing.T) {
			closeLater(t)
			check(t, sessions.NewRedisStore(tt.client(t, redistest.Silent(t)), sessions.RedisConfig{Timeout: timeout}))
		})
	}

	for _, tt := range []struct {
		name  string
		start func(t *testing.T) (rdb redis.UniversalClient, servers []*redistest.Server)
	}{
		{"Client", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return server.Client(t), []*redistest.Server{server}
		}},
		{"Client with ContextTimeoutEnabled", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return redisTwoWays(t, server.Addr)[1], []*redistest.Server{server}
		}},
		{"ClusterClient", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			cluster := redistest.StartCluster(t, 3)
			return cluster.Client(t), cluster.Nodes
		}},
		{"FailoverClient", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			sentinel := redistest.StartSentinel(t)
			return sentinel.Client(t), []*redistest.Server{sentinel.Replica, sentinel.Master}
		}},
		{"AutoPipeliner", func(t *testing.T) (redis.UniversalClient, []*redistest.Server) {
			server := redistest.Start(t)
			return redisAutoPipeliner(t, server.Client(t)), []*redistest.Server{server}
		}},
	} {
		t.Run("F1 silent from one moment on: "+tt.name, func(t *testing.T) {
			rdb, servers := tt.start(t)
			s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout})
			for name, op := range redisOps(s) {
				if err := op(t.Context()); err != nil && !errors.Is(err, sessions.ErrNotFound) {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for _, server := range servers {
				server.Pause()
			}
			check(t, s)
			for _, server := range servers {
				server.Resume()
			}
			if _, _, err := s.Load(t.Context(), "k", 0); err != nil && tt.name != "FailoverClient" && !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("after the silence: %v", err)
			}
		})
	}

	t.Run("F1 a ClusterClient with ContextTimeoutEnabled whose COMMAND hangs", func(t *testing.T) {
		closeLater(t)
		proxy := redistest.NewProxy(t, redistest.StartCluster(t, 1).Addrs[0])
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "command") {
				return redistest.Hang
			}
			return redistest.Pass
		})
		rdb := closing(t, redis.NewClusterClient(&redis.ClusterOptions{
			ContextTimeoutEnabled: true,
			ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: proxy.Addr}}}}, nil
			},
		}))
		s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout})
		var took time.Duration
		for range 3 {
			start := time.Now()
			_, _, err := s.Load(t.Context(), "k", time.Minute)
			if !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("error %v, want ErrUnavailable", err)
			}
			if took = time.Since(start); took <= limit {
				return
			}
		}
		t.Errorf("took %v, want at most %v", took, limit)
	})

	t.Run("F1 a server that is not there", func(t *testing.T) {
		closeLater(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		check(t, sessions.NewRedisStore(closing(t, redis.NewClient(&redis.Options{Addr: l.Addr().String()})), sessions.RedisConfig{Timeout: timeout}))
	})

	t.Run("a nearer deadline of the caller's wins", func(t *testing.T) {
		for _, c := range redisTwoWays(t, redistest.Silent(t)) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, _, err := sessions.NewRedisStore(c, sessions.RedisConfig{Timeout: time.Minute}).Load(ctx, "k", time.Minute)
			if took := time.Since(start); took > timeout {
				t.Errorf("%v: took %v", c, took)
			}
			if !errors.Is(err, sessions.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: error %v, want ErrUnavailable and context.DeadlineExceeded", c, err)
			}
		}
	})
}
