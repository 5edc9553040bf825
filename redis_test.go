package sessions_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
	"github.com/typedsessions/sessions/storetest"
)

// Options that give up on a client's own retries and on a prefix of its own leave
// the Store's contract as it is, and so does each kind of client.
func TestRedisStoreContract(t *testing.T) {
	t.Parallel()
	type kind struct {
		name  string
		start func(t *testing.T) (rdb redis.UniversalClient, nodes []*redis.Client)
	}
	single := func(of func(t *testing.T, rdb *redis.Client) redis.UniversalClient) func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
		return func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
			server := redistest.Start(t)
			return of(t, server.Client(t)), []*redis.Client{server.Client(t)}
		}
	}
	kinds := []kind{
		{"FailoverClient", func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
			sentinel := redistest.StartSentinel(t)
			return sentinel.Client(t), []*redis.Client{sentinel.Master.Client(t)}
		}},
		{"ClusterClient", func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
			cluster := redistest.StartCluster(t, 3)
			var nodes []*redis.Client
			for _, node := range cluster.Nodes {
				nodes = append(nodes, node.Client(t))
			}
			return cluster.Client(t), nodes
		}},
		{"miniredis", func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
			rdb := kit.MiniRedis(t)
			return rdb, []*redis.Client{rdb}
		}},
		{"AutoPipeliner", single(func(t *testing.T, rdb *redis.Client) redis.UniversalClient { return redisAutoPipeliner(t, rdb) })},
		{"asynchronous AutoPipeliner", single(func(t *testing.T, rdb *redis.Client) redis.UniversalClient { return redisAsyncPipeliner(t, rdb) })},
	}
	for _, b := range redistest.Servers(t) {
		for i, name := range []string{"default client", "ContextTimeoutEnabled"} {
			kinds = append(kinds, kind{b.Version + ", " + name, func(t *testing.T) (redis.UniversalClient, []*redis.Client) {
				server := b.Start(t)
				return redisTwoWays(t, server.Addr)[i], []*redis.Client{server.Client(t)}
			}})
		}
	}
	const patient = 20 * time.Second // a busy machine is no fault here
	for _, k := range kinds {
		if testing.Short() && k.name != "miniredis" && !strings.Contains(k.name, "client") {
			continue // a short run has miniredis and single servers
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			rdb, nodes := k.start(t)
			t.Run("by default", func(t *testing.T) {
				redisContract(t, rdb, nodes, sessions.RedisConfig{Timeout: patient}, sessions.RedisConfig{Timeout: patient, Prefix: "session"})
			})
			t.Run("SwapOnce and NoPrefix", func(t *testing.T) {
				redisContract(t, rdb, nodes, onceConfig, sessions.RedisConfig{Timeout: patient, SwapOnce: true})
			})
		})
	}
}

// redisContract runs the exported suite against stores of rdb, whose keys are on nodes.
func redisContract(t *testing.T, rdb redis.UniversalClient, nodes []*redis.Client, cfg, neighbour sessions.RedisConfig) {
	storetest.Run(t, storetest.Options{
		New: func(t *testing.T) sessions.Store {
			for _, node := range nodes {
				kit.Must(t, node.FlushAll(t.Context()).Err())
			}
			return sessions.NewRedisStore(rdb, cfg)
		},
		Neighbour: func(*testing.T) sessions.Store { return sessions.NewRedisStore(rdb, neighbour) },
		// A server's clock cannot be moved: time passes by taking it off every TTL.
		Advance: func(t *testing.T, d time.Duration) {
			for _, node := range nodes {
				for _, key := range kit.Keys(t, node) {
					left := node.PTTL(t.Context(), key).Val()
					if left == -1 {
						t.Errorf("%q has no expiry", key)
					} else if left <= d {
						node.Del(t.Context(), key)
					} else {
						node.PExpire(t.Context(), key, left-d)
					}
				}
			}
		},
	})
}

func TestRedisStoreCommands(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rdb, sent := redisRecorder(t)
	s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "p:", Timeout: 20 * time.Second})
	create := func() { s.Create(ctx, "k", []byte("value"), time.Hour) }
	gone := func() { s.Delete(ctx, "k") }
	swap := func() { s.CompareAndSwap(ctx, "k", []byte("val"), []byte("next"), time.Minute) }
	sha := redis.NewScript("").Hash() // any: what counts is the command

	swap() // the first one teaches the server the script
	for _, tt := range []struct {
		name   string
		before func()
		op     func()
		want   []string
	}{
		{"Load, touching", create, func() { s.Load(ctx, "k", time.Minute) }, []string{"getex p:k ex 60"}},
		{"Load, touching for less than a second", create, func() { s.Load(ctx, "k", 1500*time.Microsecond) }, []string{"getex p:k px 1"}},
		{"Load, touching for less than a millisecond", create, func() { s.Load(ctx, "k", 1) }, []string{"getex p:k px 1"}},
		{"Load of nothing", gone, func() { s.Load(ctx, "k", time.Minute) }, []string{"getex p:k ex 60"}},
		{"S5 Load, not touching, is never GETEX", create, func() { s.Load(ctx, "k", 0) }, []string{"get p:k", "pttl p:k"}},
		{"Create", gone, create, []string{"set p:k value ex 3600 nx"}},
		{"Create on an existing key", create, create, []string{"set p:k value ex 3600 nx"}},
		{"CompareAndSwap", create, swap, []string{"evalsha " + sha + " 1 p:k val next 60000"}},
		{"CompareAndSwap that deletes", create, func() { s.CompareAndSwap(ctx, "k", []byte("val"), nil, 0) }, []string{"evalsha " + sha + " 1 p:k val"}},
		{"Delete", create, func() { s.Delete(ctx, "k") }, []string{"del p:k"}},
		{"no ttl: nothing is sent", gone, func() { s.Create(ctx, "k", nil, 0); s.CompareAndSwap(ctx, "k", nil, []byte{}, -1) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.before()
			sent()
			tt.op()
			got := sent()
			for i, cmd := range got {
				if words := strings.Fields(cmd); words[0] == "evalsha" {
					words[1] = sha
					got[i] = strings.Join(words, " ")
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRedisStoreTTL(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rdb := redistest.Start(t).Client(t)
	s := kit.RedisStore(rdb)

	t.Run("a key without an expiry is loaded, and touching gives it one", func(t *testing.T) {
		rdb.Set(ctx, "session:k", "v", 0)
		if data, left, err := s.Load(ctx, "k", 0); string(data) != "v" || left != math.MaxInt64 || err != nil {
			t.Errorf("Load(0) = %q, %v, %v, want v, the largest Duration, nil", data, left, err)
		}
		if _, left, err := s.Load(ctx, "k", time.Hour); left != time.Hour || err != nil {
			t.Errorf("Load(1h) = %v, %v", left, err)
		}
		if left := rdb.TTL(ctx, "session:k").Val(); left != time.Hour {
			t.Errorf("TTL = %v after touching, want 1h", left)
		}
	})
	t.Run("the longest Duration is a TTL", func(t *testing.T) {
		kit.Must(t, s.Create(ctx, "long", []byte("v"), math.MaxInt64))
		if _, err := s.CompareAndSwap(ctx, "long", []byte("v"), []byte("w"), math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		if left := rdb.PTTL(ctx, "session:long").Val(); left < 290*365*24*time.Hour {
			t.Errorf("PTTL = %v", left)
		}
	})
	t.Run("a TTL longer than that is the longest Duration", func(t *testing.T) {
		rdb.Do(ctx, "SET", "session:longer", "v", "EX", "10000000000")
		if _, left, err := s.Load(ctx, "longer", 0); left != math.MaxInt64 || err != nil {
			t.Errorf("Load(0) = %v, %v", left, err)
		}
	})
}

func TestRedisStoreValidate(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	cluster := func(o redis.ClusterOptions) redis.UniversalClient {
		c := redis.NewClusterClient(&o)
		t.Cleanup(func() { c.Close() })
		return c
	}
	single := redis.NewClient(&redis.Options{})
	defer single.Close()

	for _, tt := range []struct {
		name string
		rdb  redis.UniversalClient
		cfg  sessions.RedisConfig
		want []string // a part of each line
	}{
		{"a Client", single, sessions.RedisConfig{}, nil},
		{"a ClusterClient", cluster(redis.ClusterOptions{}), sessions.RedisConfig{}, nil},
		{"an AutoPipeliner", redisAutoPipeliner(t, single), sessions.RedisConfig{}, nil},
		{"nil", nil, sessions.RedisConfig{}, []string{"redis.NewClient"}},
		{"a nil *Client", (*redis.Client)(nil), sessions.RedisConfig{}, []string{"redis.NewClient"}},
		{"a nil *ClusterClient", (*redis.ClusterClient)(nil), sessions.RedisConfig{}, []string{"redis.NewClient"}},
		{"a nil *AutoPipeliner", (*redis.AutoPipeliner)(nil), sessions.RedisConfig{}, []string{"redis.NewClient"}},
		{"a Ring", ring, sessions.RedisConfig{}, []string{"use a *redis.Client or *redis.ClusterClient"}},
		{"ReadOnly", cluster(redis.ClusterOptions{ReadOnly: true}), sessions.RedisConfig{}, []string{"ClusterOptions.ReadOnly"}},
		{"RouteByLatency", cluster(redis.ClusterOptions{RouteByLatency: true}), sessions.RedisConfig{}, []string{"ClusterOptions.RouteByLatency"}},
		{"RouteRandomly", cluster(redis.ClusterOptions{RouteRandomly: true}), sessions.RedisConfig{}, []string{"ClusterOptions.RouteRandomly"}},
		{"a Prefix with braces", single, sessions.RedisConfig{Prefix: "{app}a{}:"}, nil},
		{"a Prefix with open braces", single, sessions.RedisConfig{Prefix: "a}{"}, nil},
		{"a Prefix with empty braces", single, sessions.RedisConfig{Prefix: "a}{}{app}:"}, []string{"RedisConfig.Prefix \"a}{}{app}:\" has the empty braces {} first"}},
		{"a negative Timeout", single, sessions.RedisConfig{Timeout: -1}, []string{"RedisConfig.Timeout"}},
		{"a Timeout without its unit", single, sessions.RedisConfig{Timeout: 2}, []string{"RedisConfig.Timeout is 2ns, less than a millisecond"}},
		{"WaitReplicas", single, sessions.RedisConfig{WaitReplicas: 2, WaitTimeout: 999 * time.Millisecond}, nil},
		{"WaitReplicas of a ClusterClient", cluster(redis.ClusterOptions{}), sessions.RedisConfig{WaitReplicas: 1}, nil},
		{"WaitReplicas of an AutoPipeliner", redisAutoPipeliner(t, single), sessions.RedisConfig{WaitReplicas: 1}, []string{"nobody knows that of a *redis.AutoPipeliner"}},
		{"negative WaitReplicas", single, sessions.RedisConfig{WaitReplicas: -1}, []string{"RedisConfig.WaitReplicas is -1"}},
		{"a WaitTimeout alone", single, sessions.RedisConfig{WaitTimeout: time.Millisecond}, []string{"RedisConfig.WaitTimeout is for WaitReplicas"}},
		{"a WaitTimeout without its unit", single, sessions.RedisConfig{WaitReplicas: 1, WaitTimeout: 200}, []string{"RedisConfig.WaitTimeout is 200ns"}},
		{"a WaitTimeout of the Timeout", single, sessions.RedisConfig{WaitReplicas: 1, WaitTimeout: time.Second}, []string{"RedisConfig.WaitTimeout is 1s, and the whole operation has the Timeout of 1s"}},
		{"all at once", cluster(redis.ClusterOptions{RouteByLatency: true, RouteRandomly: true}), sessions.RedisConfig{Timeout: -1}, []string{"RouteByLatency", "RouteRandomly", "Timeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sessions.NewRedisStore(tt.rdb, tt.cfg)
			err := s.Validate()
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(tt.want) {
				t.Fatalf("Validate() = %q, want %d problems", lines, len(tt.want))
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, "sessions: RedisStore: ") || !strings.Contains(line, tt.want[i]) {
					t.Errorf("Validate() = %q, want it to name %q", line, tt.want[i])
				}
			}
			if s.Timeout() != time.Second {
				t.Errorf("Timeout() = %v, want 1s", s.Timeout())
			}
			if err == nil {
				return
			}
			for name, op := range kit.RedisOperations(s) {
				if got := op(t.Context()); got == nil || got.Error() != err.Error() {
					t.Errorf("%s: error %v, want Validate's", name, got)
				}
			}
		})
	}
}

func TestRedisStoreZero(t *testing.T) {
	t.Parallel()
	t.Run("T7 New refuses a RedisStore that NewRedisStore has not made", func(t *testing.T) {
		_, err := sessions.New[kit.Session](&sessions.RedisStore{}, sessions.Config{})
		wantComplaints(t, err, "sessions: RedisStore: its zero value has no client: make it with NewRedisStore")
	})
}

func TestRedisStoreBorrowsTheClient(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := kit.RedisStore(rdb)

	t.Run("S14 the constructor starts no goroutine", func(t *testing.T) {
		clients := redisTwoWays(t, server.Addr)
		before := runtime.NumGoroutine()
		for _, c := range clients {
			sessions.NewRedisStore(c, sessions.RedisConfig{})
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines more", n-before)
		}
	})
	t.Run("S13 its options stay as they were", func(t *testing.T) {
		after, fresh := rdb.Options(), server.Client(t).Options()
		if after.ContextTimeoutEnabled || after.ReadTimeout != fresh.ReadTimeout || after.WriteTimeout != fresh.WriteTimeout {
			t.Errorf("ContextTimeoutEnabled %t, ReadTimeout %v, WriteTimeout %v", after.ContextTimeoutEnabled, after.ReadTimeout, after.WriteTimeout)
		}
	})
	t.Run("its hooks see every command, those added later too", func(t *testing.T) {
		for _, c := range redisTwoWays(t, server.Addr) {
			var seen []string
			hook := func(when string) redisHook {
				return func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
					seen = append(seen, when+" "+cmd.Name())
					return next(ctx, cmd)
				}
			}
			c.AddHook(hook("before"))
			s := sessions.NewRedisStore(c, sessions.RedisConfig{})
			c.AddHook(hook("after"))
			s.Load(ctx, "k", time.Minute)
			if want := []string{"before getex", "after getex"}; !slices.Equal(seen, want) {
				t.Errorf("%v: hooks saw %q, want %q", c, seen, want)
			}
		}
	})
	t.Run("S13 it is open when the store is gone", func(t *testing.T) {
		for name, op := range kit.RedisOperations(s) {
			if err := op(ctx); err != nil && !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s = nil
		runtime.GC()
		if err := rdb.Ping(ctx).Err(); err != nil {
			t.Errorf("the borrowed client: %v", err)
		}
	})
	t.Run("a closed client is an outage", func(t *testing.T) {
		rdb := server.Client(t)
		s := kit.RedisStore(rdb)
		rdb.Close()
		if _, _, err := s.Load(ctx, "k", 0); !errors.Is(err, sessions.ErrUnavailable) || !errors.Is(err, redis.ErrClosed) {
			t.Errorf("error %v, want ErrUnavailable and redis.ErrClosed", err)
		}
	})
}

// redisTwoWays are a default client, which has to be waited for, and one that
// keeps deadlines by itself.
func redisTwoWays(t testing.TB, addr string) []redis.UniversalClient {
	var clients []redis.UniversalClient
	for _, keeps := range []bool{false, true} {
		c := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: keeps})
		t.Cleanup(func() { c.Close() })
		clients = append(clients, c)
	}
	return clients
}

func redisAutoPipeliner(t *testing.T, c redis.UniversalClient) *redis.AutoPipeliner {
	t.Helper()
	ap, err := c.AutoPipeline()
	kit.Must(t, err)
	return ap
}

func redisAsyncPipeliner(t *testing.T, c *redis.Client) redis.UniversalClient {
	t.Helper()
	ap, err := c.AsyncAutoPipeline()
	kit.Must(t, err)
	return ap
}

// redisRecorder returns a client and what reached the server since the last
// call, the client's own handshake left out.
func redisRecorder(t *testing.T) (rdb *redis.Client, sent func() []string) {
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	var mu sync.Mutex
	var cmds []string
	own := map[string]bool{"hello": true, "client": true}
	proxy.On(func(cmd []string) redistest.Action {
		if !own[cmd[0]] {
			mu.Lock()
			defer mu.Unlock()
			cmds = append(cmds, strings.Join(cmd, " "))
		}
		return redistest.Pass
	})
	rdb = redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { rdb.Close() })
	return rdb, func() []string {
		mu.Lock()
		defer mu.Unlock()
		got := cmds
		cmds = nil
		return got
	}
}
