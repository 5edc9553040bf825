package redistest

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// StartReplica runs a replica of s and waits until it has copied.
func (s *Server) StartReplica(t testing.TB) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	do(t, s, "CONFIG", "SET", strings.TrimLeft(copyAtOnce, "-"), 0)
	replica := Binary{Path: s.path}.Start(t, "--replicaof", host+" "+port, copyAtOnce, "0")
	wait(t, replica, "INFO replication", "master_link_status:up")
	return replica
}

// Isolate takes the replicas off s for good: nobody can connect from now on, and who else is connected stays.
func (s *Server) Isolate(t testing.TB) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, PoolSize: 1, PipelinePoolSize: -1})
	defer c.Close()
	ctx := context.Background()
	if err := c.ConfigSet(ctx, "maxclients", "1").Err(); err != nil {
		t.Fatalf("redistest: %v", err)
	}
	Eventually(t, "the end of the replicas' connections", func() bool {
		c.Do(ctx, "CLIENT", "KILL", "TYPE", "replica")
		return strings.Contains(c.Info(ctx, "replication").Val(), "connected_slaves:0")
	})
}
