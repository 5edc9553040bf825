package storetest_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
	"github.com/typedsessions/sessions/storetest"
)

func TestMiniredis(t *testing.T) {
	t.Parallel()
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { rdb.Close() })
	runRedis(t, rdb, func(_ *testing.T, d time.Duration) { mr.FastForward(d) })
}

func TestRedis(t *testing.T) {
	for _, server := range redistest.Servers(t) {
		t.Run(server.Version, func(t *testing.T) {
			rdb := server.Start(t).Client(t)
			runRedis(t, rdb, func(t *testing.T, d time.Duration) {
				if err := age(t.Context(), rdb, d); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestRedisAddrs runs on servers that somebody else has started, named by
// SESSIONS_REDIS_ADDRS as a list with commas: GitHub's service containers.
func TestRedisAddrs(t *testing.T) {
	for addr := range strings.SplitSeq(os.Getenv("SESSIONS_REDIS_ADDRS"), ",") {
		if addr == "" {
			continue
		}
		t.Run(addr, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { rdb.Close() })
			runRedis(t, rdb, func(t *testing.T, d time.Duration) {
				if err := age(t.Context(), rdb, d); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	rdb := redistest.StartCluster(t, 3).Client(t)
	runRedis(t, rdb, func(t *testing.T, d time.Duration) {
		err := rdb.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			return age(ctx, node, d)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	master := sentinel.Master.Client(t)
	runRedis(t, sentinel.Client(t), func(t *testing.T, d time.Duration) {
		if err := age(t.Context(), master, d); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRedisTLS(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	addr, roots := redistest.OverTLS(t, server.Addr)
	runRedisAs(t, server, &redis.Options{Addr: addr, TLSConfig: &tls.Config{RootCAs: roots}})
}

// TestRedisACL has a user who may do what docs/redis.md says, and nothing else.
func TestRedisACL(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "As an ACL: `~session:* ")
	acl, _, ok := strings.Cut(rest, "`")
	if !ok {
		t.Fatal("docs/redis.md has no ACL where this test looks for it")
	}
	server := redistest.Start(t)
	rules := []any{"ACL", "SETUSER", "app", "on", ">pw", "~*", "-@all"}
	for rule := range strings.FieldsSeq(acl) {
		rules = append(rules, rule)
	}
	if err := server.Client(t).Do(t.Context(), rules...).Err(); err != nil {
		t.Fatal(err)
	}
	runRedisAs(t, server, &redis.Options{Addr: server.Addr, Username: "app", Password: "pw"})
}

// runRedisAs runs the suite with these options, while time passes through another client.
func runRedisAs(t *testing.T, server *redistest.Server, o *redis.Options) {
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() })
	admin := server.Client(t)
	runRedis(t, rdb, func(t *testing.T, d time.Duration) {
		if err := age(t.Context(), admin, d); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRedisAutoPipeliner(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client(t)
	pipeliner, err := rdb.AutoPipeline()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipeliner.Close() })
	runRedis(t, pipeliner, func(t *testing.T, d time.Duration) {
		if err := age(t.Context(), rdb, d); err != nil {
			t.Fatal(err)
		}
	})
}

// runRedis runs the suite on one server. Every store has a prefix of its own.
func runRedis(t *testing.T, rdb redis.UniversalClient, advance func(*testing.T, time.Duration)) {
	stores, run := 0, rand.Text()
	newStore := func(t *testing.T) sessions.Store {
		stores++
		return sessions.NewRedisStore(rdb, sessions.RedisConfig{
			Prefix:  fmt.Sprintf("%s:%d:", run, stores),
			Timeout: 10 * time.Second, // a busy machine is not a fault here
		})
	}
	storetest.Run(t, storetest.Options{New: newStore, Neighbour: newStore, Advance: advance})
}

// age makes all keys of one node d older. One without an expiry stays.
func age(ctx context.Context, node *redis.Client, d time.Duration) error {
	var keys []string
	it := node.Scan(ctx, 0, "*", 1000).Iterator()
	for it.Next(ctx) {
		keys = append(keys, it.Val())
	}
	if err := it.Err(); err != nil {
		return err
	}
	if len(keys) == 0 {
		return nil
	}
	left := make([]*redis.DurationCmd, len(keys))
	if _, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			left[i] = p.PTTL(ctx, key)
		}
		return nil
	}); err != nil {
		return err
	}
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			if left := left[i].Val(); left > d {
				p.PExpire(ctx, key, left-d)
			} else if left >= 0 {
				p.Del(ctx, key)
			}
		}
		return nil
	})
	return err
}
