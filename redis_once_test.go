package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// onceConfig is the store for the format of another program.
var onceConfig = sessions.RedisConfig{SwapOnce: true, NoPrefix: true, Timeout: 20 * time.Second}

// A swapper is a client behind proxies, and what reached the servers.
type swapper struct {
	rdb   redis.UniversalClient
	fault atomic.Pointer[func(cmd []string) redistest.Action]
	cmds  chan string
}

// on makes f decide what happens to each command of a swap; nil: nothing.
func (s *swapper) on(f func(cmd []string) redistest.Action) { s.fault.Store(&f) }

func (s *swapper) decide(cmd []string) redistest.Action {
	name := strings.ToLower(cmd[0])
	if name == "evalsha" || name == "eval" {
		s.cmds <- name
		if f := s.fault.Load(); f != nil && *f != nil {
			return (*f)(cmd)
		}
	}
	return redistest.Pass
}

// sent returns the names of the swap's commands since the last call.
func (s *swapper) sent() (names []string) {
	for {
		select {
		case name := <-s.cmds:
			names = append(names, name)
		default:
			return names
		}
	}
}

// eachSwapper runs a test with every kind of client, each with its default
// retries, on servers of its own.
func eachSwapper(t *testing.T, f func(t *testing.T, s *swapper, direct *redis.Client)) {
	single := func(t *testing.T, s *swapper, o *redis.Options) (*redis.Client, *redistest.Server) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		proxy.On(s.decide)
		o.Addr = proxy.Addr
		rdb := redis.NewClient(o)
		t.Cleanup(func() { rdb.Close() })
		return rdb, server
	}
	for _, kind := range []struct {
		name string
		make func(t *testing.T, s *swapper) *redis.Client
	}{
		{"a default client", func(t *testing.T, s *swapper) *redis.Client {
			rdb, server := single(t, s, &redis.Options{})
			s.rdb = rdb
			return server.Client(t)
		}},
		{"ContextTimeoutEnabled, ten retries", func(t *testing.T, s *swapper) *redis.Client {
			rdb, server := single(t, s, &redis.Options{ContextTimeoutEnabled: true, MaxRetries: 10})
			s.rdb = rdb
			return server.Client(t)
		}},
		{"an AutoPipeliner", func(t *testing.T, s *swapper) *redis.Client {
			rdb, server := single(t, s, &redis.Options{})
			s.rdb = redisAutoPipeliner(t, rdb)
			return server.Client(t)
		}},
		{"an asynchronous AutoPipeliner", func(t *testing.T, s *swapper) *redis.Client {
			rdb, server := single(t, s, &redis.Options{})
			s.rdb = redisAsyncPipeliner(t, rdb)
			return server.Client(t)
		}},
		{"a ClusterClient", func(t *testing.T, s *swapper) *redis.Client {
			cluster := redistest.StartCluster(t, 1)
			s.rdb = clusterBehind(t, cluster, s.decide)
			return cluster.Nodes[0].Client(t)
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := &swapper{cmds: make(chan string, 1000)}
			f(t, s, kind.make(t, s))
		})
	}
}

// clusterBehind is a client of a cluster with a proxy in front of each node.
func clusterBehind(t *testing.T, cluster *redistest.Cluster, decide func(cmd []string) redistest.Action) *redis.ClusterClient {
	proxies := map[string]string{}
	for _, node := range cluster.Nodes {
		proxy := redistest.NewProxy(t, node.Addr)
		proxy.On(decide)
		proxies[node.Addr] = proxy.Addr
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, proxies[addr])
	}})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}

func TestRedisStoreSwapsOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	// start stores k = v0, with the script loaded.
	start := func(t *testing.T, s *swapper, cfg sessions.RedisConfig) *sessions.RedisStore {
		t.Helper()
		store := sessions.NewRedisStore(s.rdb, cfg)
		kit.Must(t, store.Create(ctx, "k", []byte("warm"), time.Hour))
		_, err := store.CompareAndSwap(ctx, "k", []byte("warm"), []byte("v0"), time.Hour)
		kit.Must(t, err)
		s.sent()
		return store
	}
	swap := func(store *sessions.RedisStore, from, to string) (string, error) {
		current, err := store.CompareAndSwap(ctx, "k", []byte(from), []byte(to), time.Hour)
		return string(current), err
	}
	once := func(n int, a redistest.Action) func([]string) redistest.Action {
		var seen atomic.Int32
		return func([]string) redistest.Action {
			if int(seen.Add(1)) <= n {
				return a
			}
			return redistest.Pass
		}
	}

	eachSwapper(t, func(t *testing.T, s *swapper, direct *redis.Client) {
		for name, action := range map[string]redistest.Action{"applied": redistest.DropReply, "not applied": redistest.Close} {
			t.Run("C10 a swap whose reply is lost, "+name+", is ErrUnavailable and sent once", func(t *testing.T) {
				store := start(t, s, onceConfig)
				s.on(once(1, action))
				if _, err := swap(store, "v", "w1"); !errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
				if got := s.sent(); len(got) != 1 {
					t.Errorf("sent %q, want one", got)
				}
				want := map[string]string{"applied": "w1", "not applied": "v0"}[name]
				if got := direct.Get(ctx, "k").Val(); got != want {
					t.Errorf("stored %q, want %q", got, want)
				}
				s.on(nil)
				if _, err := swap(store, want, "w2"); err != nil {
					t.Errorf("the next one: %v", err)
				}
				direct.FlushAll(ctx)
			})
		}

		t.Run("C10 a deleting swap whose reply is lost is ErrUnavailable and sent once", func(t *testing.T) {
			store := start(t, s, onceConfig)
			s.on(once(1, redistest.DropReply))
			_, err := store.CompareAndSwap(ctx, "k", []byte("v"), nil, 0)
			if got := s.sent(); !errors.Is(err, sessions.ErrUnavailable) || len(got) != 1 || direct.Exists(ctx, "k").Val() != 0 {
				t.Errorf("error %v after %q", err, got)
			}
			s.on(nil)
			direct.FlushAll(ctx)
		})

		t.Run("S4 a conflict shows what is stored", func(t *testing.T) {
			store := start(t, s, onceConfig)
			if current, err := swap(store, "other", "w"); current != "v0" || !errors.Is(err, sessions.ErrConflict) {
				t.Errorf("%q, %v, want v0 and ErrConflict", current, err)
			}
			direct.FlushAll(ctx)
			if current, err := swap(store, "v", "w"); current != "" || !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("%q, %v, want ErrNotFound", current, err)
			}
		})

		t.Run("F4 SCRIPT FLUSH is invisible", func(t *testing.T) {
			store := start(t, s, onceConfig)
			kit.Must(t, direct.ScriptFlush(ctx).Err())
			if _, err := swap(store, "v0", "v1"); err != nil {
				t.Error(err)
			}
			if got, want := s.sent(), []string{"evalsha", "eval"}; !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
			if got := direct.Get(ctx, "k").Val(); got != "v1" {
				t.Errorf("stored %q, want v1", got)
			}
			if _, err := swap(store, "v1", "v2"); err != nil || !slices.Equal(s.sent(), []string{"evalsha"}) {
				t.Errorf("the next one: %v", err)
			}
			direct.FlushAll(ctx)
		})

		t.Run("C10 the EVAL behind a NOSCRIPT is sent once too", func(t *testing.T) {
			store := start(t, s, onceConfig)
			kit.Must(t, direct.ScriptFlush(ctx).Err())
			s.on(func(cmd []string) redistest.Action {
				if strings.EqualFold(cmd[0], "eval") {
					return redistest.DropReply
				}
				return redistest.Pass
			})
			if _, err := swap(store, "v0", "v1"); !errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("error %v, want ErrUnavailable", err)
			}
			if got, want := s.sent(), []string{"evalsha", "eval"}; !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
			s.on(nil)
			direct.FlushAll(ctx)
		})

		t.Run("a refusal keeps its words", func(t *testing.T) {
			store := start(t, s, onceConfig)
			s.on(func([]string) redistest.Action { return redistest.Refuse("-OOM command not allowed") })
			_, err := swap(store, "v0", "v1")
			redisWantRefused(t, "CompareAndSwap", err, "OOM")
			s.on(nil)
			direct.FlushAll(ctx)
		})

		t.Run("C10 without SwapOnce the client sends it again", func(t *testing.T) {
			if strings.Contains(t.Name(), "AutoPipeliner") {
				t.Skip("what an AutoPipeliner repeats is its own affair")
			}
			store := start(t, s, sessions.RedisConfig{NoPrefix: true, Timeout: 20 * time.Second})
			s.on(once(1, redistest.Close))
			if _, err := swap(store, "v0", "v1"); err != nil || len(s.sent()) != 2 {
				t.Errorf("error %v, want none after the second command", err)
			}
			s.on(nil)
			direct.FlushAll(ctx)
		})
	})
}

// Whoever sends a command once must not lose it to a connection that had died
// before, in its pool.
func TestRedisStoreOnceAfterARestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	t.Run("F4 the first swaps after a restart find the server again", func(t *testing.T) {
		server := redistest.Start(t)
		for _, c := range redisTwoWays(t, server.Addr) {
			store := sessions.NewRedisStore(c, onceConfig)
			_, err := store.CompareAndSwap(ctx, "k", nil, []byte("v"), time.Hour)
			if !errors.Is(err, sessions.ErrNotFound) {
				t.Fatal(err)
			}
			server.Restart()
			if _, err := store.CompareAndSwap(ctx, "k", nil, []byte("v"), time.Hour); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("error %v, want ErrNotFound", err)
			}
		}
	})
}

func TestRedisStoreOnceOnACluster(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	t.Run("F7 each swap goes to the node of its key, the EVAL behind a NOSCRIPT too", func(t *testing.T) {
		cluster := redistest.StartCluster(t, 3)
		s := &swapper{cmds: make(chan string, 1000)}
		rdb := clusterBehind(t, cluster, s.decide)
		store := sessions.NewRedisStore(rdb, onceConfig)
		const n = 60
		for i := range n {
			kit.Must(t, store.Create(ctx, fmt.Sprint("key", i), []byte("v"), time.Hour))
		}
		for round := range 2 { // the first one teaches three nodes the script
			for i := range n {
				if _, err := store.CompareAndSwap(ctx, fmt.Sprint("key", i), nil, fmt.Append(nil, "w", round), time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			want := n
			if round == 0 {
				want += 3
			}
			if got := len(s.sent()); got != want {
				t.Errorf("round %d: %d commands, want %d: somebody was sent elsewhere", round, got, want)
			}
		}
	})
}
