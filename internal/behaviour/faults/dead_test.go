package faults_test

import (
	"context"
	"errors"
	"strings"
	"sync"
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
		"asynchronous AutoPipeliner":                     async(client(redis.Options{})),
		"asynchronous AutoPipeliner on a ClusterClient":  async(cluster(redis.ClusterOptions{})),
	} {
		t.Run("F1 the error of a server that is not there says connection refused, "+name, func(t *testing.T) {
			t.Parallel()
			const nobody = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
			wantNobody(t, func() redis.UniversalClient { return d.open(t, nobody) })
		})
	}

	t.Run("F1 the error of a node that is not there says connection refused", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, 3)
		var clients []redis.UniversalClient
		for range tries {
			rdb := c.Client(t)
			_, _, err := kit.RedisStore(rdb).Load(t.Context(), "k", time.Hour)
			kit.WantErr(t, "Load", err, sessions.ErrNotFound)
			clients = append(clients, rdb)
		}
		for _, node := range c.Nodes {
			node.Kill()
		}
		wantNobody(t, func() redis.UniversalClient {
			rdb := clients[0]
			clients = clients[1:]
			return rdb
		})
	})
}

// tries is how often wantNobody may open a client.
const tries = 12

// wantNobody runs all operations of a store at once. A busy machine may not have dialed often enough when the time is
// up: then it tries again, with another client, which knows nothing of the dials before.
func wantNobody(t *testing.T, open func() redis.UniversalClient) {
	t.Helper()
	late := map[string]error{}
	for range tries {
		// By itself a default client dials for 1.7 s before it says so, an AutoPipeliner for 3.3 s.
		rdb := open()
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout + timeout/2})
		operations := kit.RedisOperations(store)
		if _, ok := rdb.(*redis.AutoPipeliner); ok { // whose batches wait for each other's dials
			for _, op := range []string{"LoadMany", "Members", "Place", "Relist", "Revoke", "End"} {
				delete(operations, op)
			}
		}
		clear(late)
		var mu sync.Mutex
		var running sync.WaitGroup
		for op, run := range operations {
			running.Go(func() {
				err := run(context.Background())
				refused := errors.Is(err, syscall.ECONNREFUSED) && strings.Contains(err.Error(), "connection refused")
				if !errors.Is(err, sessions.ErrUnavailable) || !refused && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v, want connection refused", op, err)
				} else if !refused {
					mu.Lock()
					defer mu.Unlock()
					late[op] = err
				}
			})
		}
		running.Wait()
		if len(late) == 0 || t.Failed() {
			return
		}
	}
	t.Errorf("%d times: %v, want connection refused", tries, late)
}
