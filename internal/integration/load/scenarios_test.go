package load_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// servers are what one scenario runs on.
type servers struct {
	single   *redistest.Server
	proxy    *redistest.Proxy
	admin    *redis.Client // of single, beside the proxy
	sentinel *redistest.Sentinel
	cluster  *redistest.Cluster
}

// client is that of the process i: two that keep deadlines themselves, and between them a default one.
func (s *servers) client(t *testing.T, i int) redis.UniversalClient {
	const readTimeout = 1500 * time.Millisecond
	var c redis.UniversalClient
	switch keeps := i != 1; {
	case s.cluster != nil:
		c = redis.NewClusterClient(&redis.ClusterOptions{Addrs: s.cluster.Addrs, ReadTimeout: readTimeout})
	case s.sentinel != nil:
		c = redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: s.sentinel.MasterName, SentinelAddrs: s.sentinel.Addrs,
			ReadTimeout: readTimeout, DialerRetries: 1, ContextTimeoutEnabled: keeps,
		})
	default:
		c = redis.NewClient(&redis.Options{Addr: s.proxy.Addr, ReadTimeout: readTimeout, DialerRetries: 1, ContextTimeoutEnabled: keeps})
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func single(args ...string) func(t *testing.T) *servers {
	return func(t *testing.T) *servers {
		s := &servers{single: redistest.Start(t, args...)}
		s.proxy, s.admin = redistest.NewProxy(t, s.single.Addr), s.single.Client(t)
		return s
	}
}

func sentinel(t *testing.T) *servers { return &servers{sentinel: redistest.StartSentinel(t)} }

// cluster has three masters, and a replica of the first one.
func cluster(t *testing.T) *servers {
	s := &servers{cluster: redistest.StartCluster(t, 3)}
	s.cluster.AddReplica(t, 0)
	return s
}

// A scenario is one fault under load.
type scenario struct {
	name, proves string
	on           func(t *testing.T) *servers
	redis        sessions.RedisConfig
	setting      setting
	fault        func(t *testing.T, s *servers, d time.Duration) // returns when it is over
	bites        func(r row) error                               // nil: the load does not notice it
}

var scenarios = []scenario{
	{name: "no fault", proves: "F7", on: single()},
	{
		name: "no fault, sessions live for two seconds", proves: "L6", on: single(), setting: setting{life: 2 * time.Second},
		fault: func(_ *testing.T, _ *servers, d time.Duration) { <-time.After(max(d, 4*time.Second)) },
	},
	{
		name: "server killed, restarted with all it had", proves: "F1, F2, F4", on: single("--appendonly", "yes", "--appendfsync", "always"), bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			s.single.Kill()
			<-time.After(d)
			s.single.Restart()
		},
	},
	{
		name: "server killed, restarted empty", proves: "F1, F4", on: single(), setting: setting{allowed: allowed{loss: true}}, bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			s.single.Kill()
			<-time.After(d)
			s.single.Restart()
		},
	},
	{
		name: "server stopped (SIGSTOP)", proves: "F1, F8, F10", on: single(), bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			s.single.Pause()
			<-time.After(max(d, 1500*time.Millisecond))
			s.single.Resume()
		},
	},
	{
		name: "connections accepted, never answered", proves: "F1, F8", on: single(), bites: some,
		fault: proxied(1500*time.Millisecond, func([]string) redistest.Action { return redistest.Hang }),
	},
	{
		name: "each reply 5 s late", proves: "F8", on: single(), bites: some,
		fault: proxied(1500*time.Millisecond, func([]string) redistest.Action { return redistest.After(opens(5 * time.Second)) }),
	},
	{
		name: "each command 5 s late", proves: "F2, F8", on: single(), bites: some,
		fault: proxied(1500*time.Millisecond, func([]string) redistest.Action { return redistest.Before(opens(5 * time.Second)) }),
	},
	{
		name: "connection cut in the middle of a reply", proves: "F2", on: single(),
		fault: proxied(0, sometimes(redistest.CutReply)),
	},
	{name: "replies lost", proves: "F2", on: single(), fault: proxied(0, sometimes(redistest.DropReply))},
	{name: "connections closed before the command", proves: "F2", on: single(), fault: proxied(0, sometimes(redistest.Close))},
	{
		name: "SCRIPT FLUSH, all the time", proves: "F4", on: single(),
		fault: repeated(10*time.Millisecond, func(ctx context.Context, s *servers) { s.admin.ScriptFlush(ctx) }),
	},
	{
		name: "memory full (OOM, noeviction)", proves: "F5", on: single(), bites: some,
		fault: configured("maxmemory", "1", "0"),
	},
	{
		name: "snapshots fail (MISCONF)", proves: "F5", on: single(), bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			ctx := t.Context()
			dir := s.admin.ConfigGet(ctx, "dir").Val()["dir"]
			if err := os.MkdirAll(filepath.Join(dir, "dump.rdb", "occupied"), 0o700); err != nil {
				t.Fatal(err)
			}
			s.admin.ConfigSet(ctx, "save", "3600 1")
			s.admin.BgSave(ctx)
			redistest.Eventually(t, "a snapshot that fails", func() bool {
				return strings.Contains(s.admin.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err")
			})
			<-time.After(d)
			s.admin.ConfigSet(ctx, "stop-writes-on-bgsave-error", "no")
		},
	},
	{
		name: "replicas missing (NOREPLICAS)", proves: "F5", on: single(), bites: some,
		fault: configured("min-replicas-to-write", "1", "0"),
	},
	{
		name: "master turned into a replica (READONLY)", proves: "F5, F13", on: single(), bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			s.admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1")
			<-time.After(d)
			s.admin.Do(t.Context(), "REPLICAOF", "NO", "ONE")
		},
	},
	{
		name: "sessions and marks of renewals evicted", proves: "F6", on: single(), setting: setting{allowed: allowed{loss: true}},
		fault: evicted("string"),
	},
	{
		name: "indexes of users evicted", proves: "F6", on: single(), setting: setting{allowed: allowed{unlisted: true}},
		fault: evicted("zset"),
	},
	{name: "clients hang up", proves: "F3", on: single(), setting: setting{hangUps: true}},
	{
		name: "OnEvent and ErrorHandler panic", proves: "F9", on: single(), bites: some,
		setting: setting{edit: func(c *sessions.Config, faulty *atomic.Bool) {
			c.OnEvent = func(_ context.Context, e sessions.Event) {
				if faulty.Load() && e.Kind != sessions.EventLoaded && rand.IntN(5) == 0 {
					panic("OnEvent")
				}
			}
			c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
				if faulty.Load() && rand.IntN(2) == 0 {
					panic("ErrorHandler")
				}
				sessions.DefaultErrorHandler(w, r, err)
			}
		}},
		fault: configured("maxmemory", "1", "0"), // so that there are errors
	},
	{
		name: "connections killed (CLIENT KILL), all the time", proves: "F2", on: single(),
		fault: repeated(10*time.Millisecond, func(ctx context.Context, s *servers) {
			s.admin.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}),
	},
	{
		name: "CLIENT PAUSE", proves: "F8", on: single(), bites: some,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			d = max(d, 1500*time.Millisecond)
			s.admin.ClientPause(t.Context(), d)
			<-time.After(d)
		},
	},
	{
		name: "Sentinel: failover asked for", proves: "F7", on: sentinel, setting: setting{allowed: allowed{rollback: true}},
		fault: func(t *testing.T, s *servers, _ time.Duration) { s.failOver(t) },
	},
	{
		name: "Sentinel: the same, with WaitReplicas", proves: "F20", on: sentinel, redis: sessions.RedisConfig{WaitReplicas: 1},
		fault: func(t *testing.T, s *servers, _ time.Duration) { s.failOver(t) },
	},
	{
		name: "Sentinel: master killed", proves: "F7", on: sentinel, setting: setting{allowed: allowed{rollback: true}}, bites: some,
		fault: func(t *testing.T, s *servers, _ time.Duration) {
			s.sentinel.Master.Kill()
			s.promoted(t)
		},
	},
	{
		name: "Cluster: failover asked for", proves: "F7", on: cluster, setting: setting{allowed: allowed{rollback: true}},
		fault: func(t *testing.T, s *servers, _ time.Duration) {
			replica := s.cluster.Nodes[3].Client(t)
			var asked time.Time
			redistest.Eventually(t, "the promotion of the replica", func() bool {
				if time.Since(asked) > 6*time.Second { // it gives up after five
					asked = time.Now()
					if err := replica.ClusterFailover(t.Context()).Err(); err != nil {
						t.Fatal(err)
					}
				}
				return hasRole(t, replica, "master")
			})
		},
	},
	{
		name: "Cluster: master killed", proves: "F7, F11", on: cluster, setting: setting{allowed: allowed{rollback: true}}, bites: some,
		fault: func(t *testing.T, s *servers, _ time.Duration) {
			s.cluster.Nodes[0].Kill()
			isMaster(t, s.cluster.Nodes[3].Client(t))
		},
	},
	{
		name: "Cluster: slots move", proves: "F7", on: cluster,
		fault: func(t *testing.T, s *servers, d time.Duration) {
			from, to := s.cluster.Nodes[1], s.cluster.Nodes[2]
			c := from.Client(t)
			for until, moved := time.Now().Add(max(d, 2*time.Second)), 0; time.Now().Before(until); {
				var keys []string
				if keys, _ = c.Keys(t.Context(), "*").Result(); len(keys) == 0 {
					break
				}
				slot := c.ClusterKeySlot(t.Context(), keys[rand.IntN(len(keys))]).Val()
				s.cluster.Move(t, slot, from, to, func() { <-time.After(2 * time.Millisecond) })
				if moved++; moved == 200 {
					break
				}
			}
		},
	},
}

// proxied lasts for d, or least.
func proxied(least time.Duration, decide func([]string) redistest.Action) func(*testing.T, *servers, time.Duration) {
	return func(_ *testing.T, s *servers, d time.Duration) {
		s.proxy.On(decide)
		<-time.After(max(d, least))
		s.proxy.On(nil)
	}
}

// sometimes is the action for each eighth command of a session.
func sometimes(a redistest.Action) func([]string) redistest.Action {
	var n atomic.Int64
	return func(cmd []string) redistest.Action {
		if name := strings.ToLower(cmd[0]); name != "hello" && name != "client" && n.Add(1)%8 == 0 {
			return a
		}
		return redistest.Pass
	}
}

// opens is a gate that opens after d.
func opens(d time.Duration) *redistest.Gate {
	g := redistest.NewGate()
	time.AfterFunc(d, g.Open)
	return g
}

func repeated(pause time.Duration, f func(context.Context, *servers)) func(*testing.T, *servers, time.Duration) {
	return func(t *testing.T, s *servers, d time.Duration) {
		for until := time.Now().Add(d); time.Now().Before(until); {
			f(t.Context(), s)
			<-time.After(pause)
		}
	}
}

// configured sets an option of the server, and sets it back.
func configured(option, bad, good string) func(*testing.T, *servers, time.Duration) {
	return func(t *testing.T, s *servers, d time.Duration) {
		for _, value := range []string{bad, good} {
			if err := s.admin.ConfigSet(t.Context(), option, value).Err(); err != nil {
				t.Fatal(err)
			}
			if value == bad {
				<-time.After(d)
			}
		}
	}
}

// evicted deletes random keys of one type: as a server that is full does, but more of them.
func evicted(kind string) func(*testing.T, *servers, time.Duration) {
	return repeated(10*time.Millisecond, func(ctx context.Context, s *servers) {
		key := s.admin.RandomKey(ctx).Val()
		if s.admin.Type(ctx, key).Val() == kind {
			s.admin.Del(ctx, key)
		}
	})
}

// failOver asks a sentinel for it, and waits until there is another master.
func (s *servers) failOver(t *testing.T) {
	c := redis.NewSentinelClient(&redis.Options{Addr: s.sentinel.Addrs[0]})
	defer c.Close()
	redistest.Eventually(t, "a sentinel that begins a failover", func() bool {
		return c.Failover(t.Context(), s.sentinel.MasterName).Err() == nil
	})
	s.promoted(t)
}

func (s *servers) promoted(t *testing.T) { isMaster(t, s.sentinel.Replica.Client(t)) }

func isMaster(t *testing.T, c *redis.Client) {
	redistest.Eventually(t, "the promotion of the replica", func() bool { return hasRole(t, c, "master") })
}

func hasRole(t *testing.T, c *redis.Client, role string) bool {
	return strings.Contains(c.Info(t.Context(), "replication").Val(), "role:"+role)
}

// A row is the outcome of a scenario.
type row struct {
	sc *scenario
	stats
	recovered  time.Duration // from the end of the fault to that of the last request that failed
	rolledBack int
	wrong      int
}

// table is what docs/faults.md has.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| scenario | proves | sent | 2xx | 4xx | 5xx | no answer | hung up | longest | recovered after | rolled back | wrong |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d | %.2f s | %.2f s | %d | %d |\n", r.sc.name, r.sc.proves,
			r.sent, r.ok, r.refused, r.unavailable, r.unanswered, r.gaveUp, r.longest.Seconds(), r.recovered.Seconds(), r.rolledBack, r.wrong)
	}
	return b.String()
}

const pagePath = "../../../docs/faults.md"

// writePage puts the table between the markers of the page.
func writePage(t *testing.T, table string) {
	page, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), "<!-- begin -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatalf("%s has no markers", pagePath)
	}
	dated := fmt.Sprintf("Run of %s, with %v for each fault.\n\n", time.Now().UTC().Format(time.DateOnly), *lasts)
	if err := os.WriteFile(pagePath, []byte(before+"<!-- begin -->\n"+dated+table+"<!-- end -->"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
