package faults_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestPing(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
	wantDown := func(t *testing.T, err error, addr string) {
		t.Helper()
		kit.WantErr(t, "Ping", err, sessions.ErrUnavailable)
		if want := ": check that a server runs at " + addr; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Ping = %v, want %q in it", err, want)
		}
	}

	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		t.Run("F18 a server that answers", func(t *testing.T) { kit.OK(t, kit.RedisStore(rdb).Ping(t.Context())) })
	})

	t.Run("F18 through an AutoPipeliner", func(t *testing.T) {
		for _, d := range []dial{pipelined(client(brief)), async(client(brief))} {
			kit.OK(t, kit.RedisStore(d.open(t, redistest.Start(t).Addr)).Ping(t.Context()))
		}
	})

	t.Run("F18 one that is not there", func(t *testing.T) {
		for _, d := range []dial{client(redis.Options{DialerRetries: 1}), client(redis.Options{DialerRetries: 1, ContextTimeoutEnabled: true}), cluster(redis.ClusterOptions{DialerRetries: 1})} {
			rdb := d.open(t, nobody)
			err := bounded(rdb).Ping(t.Context())
			wantDown(t, err, nobody+" and takes")
			if err != nil && !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%T: Ping = %v, want connection refused", rdb, err)
			}
		}
	})

	t.Run("F18 one behind sentinels that are not there", func(t *testing.T) {
		rdb := failover(redis.FailoverOptions{DialerRetries: 1}).open(t, nobody)
		wantDown(t, bounded(rdb).Ping(t.Context()), "the client's address")
	})

	t.Run("F18 one that asks for a password", func(t *testing.T) {
		server := redistest.Start(t, "--requirepass", "hidden")
		rdb := client(redis.Options{Password: "wrong"}).open(t, server.Addr)
		err := kit.RedisStore(rdb).Ping(t.Context())
		wantDown(t, err, server.Addr+" and takes")
		if err != nil && (strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "wrong")) {
			t.Errorf("Ping = %v shows a password", err)
		}
	})

	t.Run("F18 a silent one costs Timeout, or less if the caller has less", func(t *testing.T) {
		t.Parallel()
		rdb := client(redis.Options{}).silent(t)
		wantInTime(t, "Ping", func() { wantDown(t, bounded(rdb).Ping(t.Context()), "127.0.0.1:") })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		start := time.Now()
		wantDown(t, bounded(rdb).Ping(ctx), "127.0.0.1:")
		if took := time.Since(start); took > timeout/2 {
			t.Errorf("it took %v of the caller's 20 ms", took)
		}
	})

	t.Run("F18 a caller who has gone is no outage, and a client that cannot work says why", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		rdb := client(redis.Options{}).open(t, redistest.Silent(t))
		if err := kit.RedisStore(rdb).Ping(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("Ping = %v, want context.Canceled alone", err)
		}
		s := sessions.NewRedisStore(nil, sessions.RedisConfig{})
		if got, want := s.Ping(t.Context()), s.Validate(); got != want || got == nil {
			t.Errorf("Ping = %v, want %v", got, want)
		}
	})

	t.Run("F18 in a cluster each master has to answer, and replicas need not", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, 3)
		replica := c.AddReplica(t, 1)
		store := kit.RedisStore(c.Client(t))
		kit.OK(t, store.Ping(t.Context()))
		replica.Kill()
		kit.OK(t, store.Ping(t.Context()))
		c.Nodes[2].Kill()
		wantDown(t, store.Ping(t.Context()), strings.Join(c.Addrs, ", "))
		c.Nodes[2].Restart()
		redistest.Eventually(t, "Ping", func() bool { return store.Ping(t.Context()) == nil })
	})
}

// The functions of docs/redis.md that open a client. Recipe begins.

func openServer(url string) (redis.UniversalClient, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opts.ContextTimeoutEnabled, opts.DialerRetries = true, 1
	return redis.NewClient(opts), nil
}

func openSentinel(url string) (redis.UniversalClient, error) {
	opts, err := redis.ParseFailoverURL(url)
	if err != nil {
		return nil, err
	}
	opts.ContextTimeoutEnabled, opts.DialerRetries = true, 1
	opts.ReadTimeout = 1500 * time.Millisecond // above the store's Timeout, below DialTimeout
	return redis.NewFailoverClient(opts), nil
}

func openCluster(url string) (redis.UniversalClient, error) {
	opts, err := redis.ParseClusterURL(url)
	if err != nil {
		return nil, err
	}
	opts.DialerRetries = 1
	return redis.NewClusterClient(opts), nil
}

// Recipe ends.

func TestClientsFromURLs(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("ping_test.go")
	kit.Must(t, err)
	page, err := os.ReadFile("../../../docs/redis.md")
	kit.Must(t, err)
	_, recipe, _ := strings.Cut(string(source), "Recipe begins.\n\n")
	recipe, _, _ = strings.Cut(recipe, "\n// Recipe ends.")
	if len(recipe) < 500 || !strings.Contains(string(page), "```go\n"+recipe+"```") {
		t.Errorf("docs/redis.md does not show how to open a client as it is here:\n%s", recipe)
	}

	// wantOpen stores and loads by a client from this URL.
	wantOpen := func(t *testing.T, open func(string) (redis.UniversalClient, error), url string, prepare ...func(redis.UniversalClient)) {
		t.Helper()
		rdb, err := open(url)
		kit.Must(t, err)
		t.Cleanup(func() { rdb.Close() })
		for _, p := range prepare {
			p(rdb)
		}
		store := kit.RedisStore(rdb)
		kit.OK(t, store.Ping(t.Context()))
		kit.OK(t, store.Create(t.Context(), "k", []byte("v"), time.Minute))
		data, _, err := store.Load(t.Context(), "k", time.Minute)
		if err != nil || string(data) != "v" {
			t.Errorf("Load = %q, %v", data, err)
		}
	}
	t.Run("F18 a server", func(t *testing.T) {
		addr := redistest.Start(t, "--requirepass", "pw").Addr
		wantOpen(t, openServer, fmt.Sprintf("redis://default:pw@%s/3", addr))
	})
	t.Run("F18 a server by TLS", func(t *testing.T) {
		addr, roots := redistest.OverTLS(t, redistest.Start(t).Addr)
		trust := func(rdb redis.UniversalClient) { rdb.(*redis.Client).Options().TLSConfig.RootCAs = roots }
		wantOpen(t, openServer, "rediss://"+addr, trust)
	})
	t.Run("F18 one behind sentinels", func(t *testing.T) {
		s := redistest.StartSentinel(t)
		wantOpen(t, openSentinel, fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", s.Addrs[0], s.MasterName, s.Addrs[1], s.Addrs[2]))
	})
	t.Run("F18 a cluster", func(t *testing.T) {
		c := redistest.StartCluster(t, 3)
		wantOpen(t, openCluster, fmt.Sprintf("redis://%s?addr=%s", c.Addrs[0], c.Addrs[1]))
	})
}
