package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestRedisStoreKeys(t *testing.T) {
	t.Parallel()
	const prefix = `g[1]*?\:`
	// Keys that a pattern read otherwise would find.
	decoys := []string{`g1x:a`, `g1xy\:a`, `g[1]xy:a`, `g[1]*?:a`, `G[1]*?\:a`, `g1*?\:a`, `session:a`, `a`}
	ctx := t.Context()

	fill := func(t *testing.T, rdb redis.UniversalClient, n int) (s *sessions.RedisStore, want []string) {
		t.Helper()
		for _, key := range decoys {
			kit.Must(t, rdb.Set(ctx, key, "v", time.Minute).Err())
		}
		s = sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: prefix, Timeout: 20 * time.Second})
		for i := range n {
			key := fmt.Sprintf("key %d *\n", i)
			kit.Must(t, s.Create(ctx, key, []byte("v"), time.Hour))
			want = append(want, key)
		}
		kit.Must(t, s.Revoke(ctx, "{tags}o"+strings.Repeat("x", 43), time.Now(), time.Hour)) // an index is no session
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

	// breakOff ends an iteration at its first key and looks for what it has begun:
	// its goroutines inherit the label, those of other tests do not have it.
	breakOff := func(t *testing.T, s *sessions.RedisStore) {
		t.Helper()
		pprof.Do(ctx, pprof.Labels("test", t.Name()), func(ctx context.Context) {
			for range s.Keys(ctx) {
				break
			}
		})
		redistest.Eventually(t, "the end of every goroutine that Keys has started", func() bool {
			var running strings.Builder
			kit.Must(t, pprof.Lookup("goroutine").WriteTo(&running, 1))
			return !strings.Contains(running.String(), fmt.Sprintf("%q", t.Name()))
		})
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
		breakOff(t, s)
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
		breakOff(t, s)

		s = sessions.NewRedisStore(redisAutoPipeliner(t, rdb), sessions.RedisConfig{Prefix: prefix, Timeout: 20 * time.Second})
		if got, err := collect(s); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "*redis.ClusterClient") {
			t.Errorf("through an AutoPipeliner: %d keys, %v, want an error that names the ClusterClient", len(got), err)
		}
	})
}

func TestRedisStoreNoPrefix(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{NoPrefix: true})
		kit.Must(t, store.Create(ctx, "mine", []byte("v"), time.Hour))
		kit.Must(t, rdb.Set(ctx, "theirs:k", "v", time.Hour).Err())

		t.Run("S13 the key is the bare one", func(t *testing.T) {
			if got := rdb.Get(ctx, "mine").Val(); got != "v" {
				t.Errorf("under the bare key: %q", got)
			}
			if data, _, err := store.Load(ctx, "theirs:k", 0); string(data) != "v" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
		})
		t.Run("Keys lists all that the database holds", func(t *testing.T) {
			var got []string
			for key, err := range store.Keys(ctx) {
				kit.Must(t, err)
				got = append(got, key)
			}
			slices.Sort(got)
			if want := []string{"mine", "theirs:k"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
		t.Run("a Prefix beside it is refused, with the remedy", func(t *testing.T) {
			store := sessions.NewRedisStore(rdb, sessions.RedisConfig{NoPrefix: true, Prefix: "p:"})
			const want = `sessions: RedisStore: RedisConfig.NoPrefix contradicts the Prefix "p:": leave one of them out`
			if err := store.Validate(); err == nil || err.Error() != want {
				t.Errorf("Validate() = %v, want %s", err, want)
			}
			if err := store.Create(ctx, "k", []byte("v"), time.Hour); err == nil || err.Error() != want {
				t.Errorf("Create: %v, want the same", err)
			}
		})
	})
}
