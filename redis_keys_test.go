package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestRedisStoreKeys(t *testing.T) {
	const prefix = `g[1]*?\:`
	// Keys that a pattern read otherwise would find.
	decoys := []string{`g1x:a`, `g1xy\:a`, `g[1]xy:a`, `g[1]*?:a`, `G[1]*?\:a`, `g1*?\:a`, `session:a`, `a`}
	ctx := t.Context()

	fill := func(t *testing.T, rdb redis.UniversalClient, n int) (s *sessions.RedisStore, want []string) {
		t.Helper()
		for _, key := range decoys {
			if err := rdb.Set(ctx, key, "v", time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
		}
		s = sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: prefix})
		for i := range n {
			key := fmt.Sprintf("key %d *\n", i)
			if err := s.Create(ctx, key, []byte("v"), time.Hour); err != nil {
				t.Fatal(err)
			}
			want = append(want, key)
		}
		slices.Sort(want)
		return s, want
	}
	collect := func(s *sessions.RedisStore) (keys []string, err error) {
		for key, e := range s.Keys(ctx) {
			if e != nil {
				return keys, e
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return keys, nil
	}

	for _, b := range redistest.Servers(t) {
		t.Run("S13 lists its own on "+b.Version, func(t *testing.T) {
			s, want := fill(t, b.Start(t).Client(t), 1200)
			if got, err := collect(s); !slices.Equal(got, want) || err != nil {
				t.Errorf("%d keys, %v, want %d", len(got), err, len(want))
			}
		})
	}
	t.Run("an AutoPipeliner", func(t *testing.T) {
		s, want := fill(t, redisAutoPipeliner(t, redistest.Start(t).Client(t)), 10)
		if got, err := collect(s); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	})
	t.Run("none", func(t *testing.T) {
		s, _ := fill(t, redistest.Start(t).Client(t), 0)
		if got, err := collect(s); len(got) != 0 || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("the end in the middle leaves nothing behind", func(t *testing.T) {
		s, _ := fill(t, redistest.Start(t).Client(t), 600)
		before := runtime.NumGoroutine()
		for range s.Keys(ctx) {
			break
		}
		redistest.Eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	})
	t.Run("an error is the last pair", func(t *testing.T) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		scans := 0
		proxy.On(func(cmd []string) redistest.Action {
			if cmd[0] == "scan" {
				if scans++; scans == 2 {
					return redistest.Refuse("-ERR no more")
				}
			}
			return redistest.Pass
		})
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		defer rdb.Close()
		s, _ := fill(t, rdb, 1200)
		pairs, errs := 0, []error(nil)
		for _, err := range s.Keys(ctx) {
			if pairs++; err != nil {
				errs = append(errs, err)
			}
		}
		if pairs < 2 || len(errs) != 1 || !errors.Is(errs[0], sessions.ErrUnavailable) {
			t.Errorf("%d pairs, errors %v, want keys and then one ErrUnavailable", pairs, errs)
		}
	})
	t.Run("a cancelled context", func(t *testing.T) {
		s, _ := fill(t, redistest.Start(t).Client(t), 1)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		for key, err := range s.Keys(ctx) {
			if key != "" || !errors.Is(err, context.Canceled) {
				t.Errorf("%q, %v", key, err)
			}
		}
	})
	t.Run("a cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t, 3)
		rdb := cluster.Client(t)
		s, want := fill(t, rdb, 1200)
		if got, err := collect(s); !slices.Equal(got, want) || err != nil {
			t.Errorf("%d keys, %v, want %d", len(got), err, len(want))
		}
		before := runtime.NumGoroutine()
		for range s.Keys(ctx) {
			break
		}
		redistest.Eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })

		s = sessions.NewRedisStore(redisAutoPipeliner(t, rdb), sessions.RedisConfig{Prefix: prefix})
		if got, err := collect(s); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "*redis.ClusterClient") {
			t.Errorf("through an AutoPipeliner: %d keys, %v, want an error that names the ClusterClient", len(got), err)
		}
	})
}
