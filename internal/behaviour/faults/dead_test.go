package faults_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A client dials a server that is not there again and again until the time is
// up. The error is not that the time was up.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	keeps := redis.Options{ContextTimeoutEnabled: true}
	for name, d := range map[string]dial{
		"Client":                      client(redis.Options{}),
		"Client that keeps deadlines": client(keeps),
		"ClusterClient":               cluster(redis.ClusterOptions{}),
		"FailoverClient that dials its sentinels once": failover(redis.FailoverOptions{DialerRetries: 1, MaxRetries: -1}),
		"AutoPipeliner": pipelined(client(redis.Options{})),
		"AutoPipeliner on a client that keeps deadlines": pipelined(client(keeps)),
		"AutoPipeliner on a ClusterClient":               pipelined(cluster(redis.ClusterOptions{})),
	} {
		t.Run("F1 the error of a server that is not there says connection refused, "+name, func(t *testing.T) {
			t.Parallel()
			nobody, err := net.Listen("tcp", "127.0.0.1:0")
			kit.Must(t, err)
			kit.Must(t, nobody.Close())
			wantNobody(t, d.open(t, nobody.Addr().String()))
		})
	}

	t.Run("F1 the error of a node that is not there says connection refused", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, 3)
		rdb := c.Client(t)
		_, _, err := kit.RedisStore(rdb).Load(t.Context(), "k", time.Hour)
		kit.WantErr(t, "Load", err, sessions.ErrNotFound)
		for _, node := range c.Nodes {
			node.Kill()
		}
		wantNobody(t, rdb)
	})
}

// wantNobody runs all operations of a store at once.
func wantNobody(t *testing.T, rdb redis.UniversalClient) {
	// By itself a default client dials for 1.7 s before it says so, an AutoPipeliner for 3.3 s.
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout + timeout/2})
	for op, run := range kit.RedisOperations(store) {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			err := run(context.Background())
			if !errors.Is(err, sessions.ErrUnavailable) || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%v, want connection refused", err)
			}
		})
	}
}
