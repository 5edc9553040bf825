package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const clusterSlots = 16384

// copyAtOnce is a master's option: by default it waits five seconds for further
// replicas before it copies itself to one.
const copyAtOnce = "--repl-diskless-sync-delay"

// A Cluster is a Redis Cluster of real processes.
type Cluster struct {
	Addrs []string // of the masters it was started with
	Nodes []*Server
}

// StartCluster runs that many masters, each with an equal share of the slots,
// and waits until every one of them sees the whole. A master that is gone for two
// seconds has failed. With -short it skips t.
func StartCluster(t testing.TB, masters int) *Cluster {
	t.Helper()
	skipIfShort(t)
	c := &Cluster{}
	for i := range masters {
		node := c.start(t)
		c.Addrs = append(c.Addrs, node.Addr)
		slots := []any{"CLUSTER", "ADDSLOTS"}
		for slot := i * clusterSlots / masters; slot < (i+1)*clusterSlots/masters; slot++ {
			slots = append(slots, slot)
		}
		do(t, node, slots...)
		do(t, node, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		c.meet(t, node)
	}
	c.Addrs = slices.Clip(c.Addrs) // each client appends to the slice that it is given
	c.wait(t)
	return c
}

// AddReplica starts a replica of the node at index master and waits until it
// has joined and copied.
func (c *Cluster) AddReplica(t testing.TB, master int) *Server {
	t.Helper()
	replica := c.start(t)
	c.meet(t, replica)
	wait(t, replica, "CLUSTER INFO", fmt.Sprint("cluster_known_nodes:", len(c.Nodes)))
	do(t, replica, "CLUSTER", "REPLICATE", do(t, c.Nodes[master], "CLUSTER", "MYID"))
	wait(t, replica, "INFO replication", "role:slave", "master_link_status:up")
	c.wait(t)
	return replica
}

// Move moves a slot from one node to another, key by key, and calls between after each step.
func (c *Cluster) Move(t testing.TB, slot int64, from, to *Server, between func()) {
	t.Helper()
	fromID, toID := do(t, from, "CLUSTER", "MYID"), do(t, to, "CLUSTER", "MYID")
	do(t, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(t, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	between()
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys := do(t, from, "CLUSTER", "GETKEYSINSLOT", slot, 1).([]any)
		if len(keys) == 0 {
			break
		}
		do(t, from, "MIGRATE", host, port, keys[0], 0, 10_000)
		between()
	}
	do(t, to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	between()
	do(t, from, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	between()
}

// Client returns a default cluster client, closed at the end of t.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs})
	t.Cleanup(func() { client.Close() })
	return client
}

func (c *Cluster) start(t testing.TB) *Server {
	t.Helper()
	node := Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000", copyAtOnce, "0")
	c.Nodes = append(c.Nodes, node)
	return node
}

func (c *Cluster) meet(t testing.TB, node *Server) {
	t.Helper()
	host, port, _ := net.SplitHostPort(c.Nodes[0].Addr)
	do(t, node, "CLUSTER", "MEET", host, port)
}

func (c *Cluster) wait(t testing.TB) {
	t.Helper()
	for _, node := range c.Nodes {
		wait(t, node, "CLUSTER INFO", "cluster_state:ok", fmt.Sprint("cluster_slots_ok:", clusterSlots), fmt.Sprint("cluster_known_nodes:", len(c.Nodes)))
	}
}

// A Sentinel is a master with one replica, watched by three sentinels, two of
// which have to agree.
type Sentinel struct {
	Addrs      []string // of the sentinels
	MasterName string
	Master     *Server
	Replica    *Server
	Sentinels  []*Server
}

// StartSentinel waits until every sentinel knows the replica and the others,
// some seconds; with -short it skips t. A master that is gone for a second is
// replaced.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	skipIfShort(t)
	s := &Sentinel{MasterName: "sessions", Master: Start(t, copyAtOnce, "0")}
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	s.Replica = Start(t, "--replicaof", host+" "+port, copyAtOnce, "0")
	wait(t, s.Replica, "INFO replication", "master_link_status:up")
	for range 3 {
		sentinel := start(t, defaultPath(t), t.TempDir(), func(dir string, own int) []string {
			conf := filepath.Join(dir, "sentinel.conf") // a sentinel rewrites it
			lines := []string{
				"port " + strconv.Itoa(own), "bind 127.0.0.1", "dir " + dir,
				fmt.Sprintf("sentinel monitor %s %s %s 2", s.MasterName, host, port),
				"sentinel down-after-milliseconds " + s.MasterName + " 1000",
				"sentinel failover-timeout " + s.MasterName + " 5000",
			}
			if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatalf("redistest: %v", err)
			}
			return []string{conf, "--sentinel"}
		})
		// By default they look every ten seconds for replicas and say every two
		// that they are there. Only Redis 7 and later can be told otherwise.
		_, _ = try(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", 100, "PUBLISH-PERIOD", 100)
		s.Sentinels = append(s.Sentinels, sentinel)
		s.Addrs = append(s.Addrs, sentinel.Addr)
	}
	for _, sentinel := range s.Sentinels {
		wait(t, sentinel, "INFO sentinel", "status=ok", "slaves=1", "sentinels=3")
	}
	return s
}

// Client returns a default failover client, closed at the end of t.
func (s *Sentinel) Client(t testing.TB) *redis.Client {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs})
	t.Cleanup(func() { c.Close() })
	return c
}

func skipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("redistest: several processes; not with -short")
	}
}

// do runs a command on s.
func do(t testing.TB, s *Server, args ...any) any {
	t.Helper()
	reply, err := try(s, args...)
	if err != nil {
		t.Fatalf("redistest: %v: %v", args[:2], err)
	}
	return reply
}

func try(s *Server, args ...any) (any, error) {
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer c.Close()
	return c.Do(context.Background(), args...).Result()
}

// wait polls until the reply to command contains every one of the parts.
func wait(t testing.TB, s *Server, command string, parts ...string) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer c.Close()
	var args []any
	for word := range strings.FieldsSeq(command) {
		args = append(args, word)
	}
	err := poll(60*time.Second, func() error {
		reply, err := c.Do(context.Background(), args...).Text()
		if err != nil {
			return err
		}
		for _, part := range parts {
			if !strings.Contains(reply, part) {
				return fmt.Errorf("%s: no %s in:\n%s", command, part, reply)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
}
