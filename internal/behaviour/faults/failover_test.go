package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A pair is a master with the replica that takes its place, behind one client.
type pair struct {
	rdb             redis.UniversalClient
	master, replica *redistest.Server
	dies            []*redistest.Server // the master, and what dies with it
}

func clusterPair(t *testing.T) pair {
	c := redistest.StartCluster(t, 3)
	replica := c.AddReplica(t, 0)
	return pair{c.Client(t), c.Nodes[0], replica, c.Nodes[:1]}
}

func sentinelPair(t *testing.T) pair {
	s := redistest.StartSentinel(t)
	return pair{s.Client(t), s.Master, s.Replica, []*redistest.Server{s.Master}}
}

// hostPair is a sentinelPair where the sentinel that the client listens to is on the master's host.
func hostPair(t *testing.T) pair {
	s := redistest.StartSentinel(t)
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: s.Addrs, ReadTimeout: 1500 * time.Millisecond})
	t.Cleanup(func() { rdb.Close() })
	dies := []*redistest.Server{s.Master}
	redistest.Eventually(t, "a sentinel that the client listens to", func() bool {
		for _, sentinel := range s.Sentinels {
			if rdb.Ping(t.Context()); strings.Contains(sentinel.Client(t).Do(t.Context(), "CLIENT", "LIST").String(), "cmd=subscribe") {
				dies = append(dies, sentinel)
				return true
			}
		}
		return false
	})
	return pair{rdb, s.Master, s.Replica, dies}
}

// A visitor counts in a session that is on the master.
type visitor struct {
	m               *sessions.Manager[kit.Session]
	name, token     string
	tried, answered int
}

// visit counts one up. The time without a master gives errors, and nothing else.
func (v *visitor) visit(t *testing.T) (ok bool) {
	v.tried++
	_, err := kit.Request(context.Background(), v.m, v.token, func(ctx context.Context) error {
		return v.m.Update(ctx, func(s *kit.Session) error {
			if s.UserID != v.name {
				t.Errorf("the session of %q is %q's", v.name, s.UserID)
			}
			s.Views++
			return nil
		})
	})
	if err == nil {
		v.answered++
	} else if !errors.Is(err, sessions.ErrUnavailable) {
		t.Errorf("%q gets %v", v.name, err)
	}
	return err == nil
}

// failover has ten visitors while the master dies, and returns how long after the promotion of the replica each of
// them has had an answer.
func (p pair) failover(t *testing.T, c sessions.Codec, die func(*redistest.Server)) (took time.Duration) {
	var log kit.Log
	m := kit.New[kit.Session](t, sessions.NewRedisStore(p.rdb, sessions.RedisConfig{}), sessions.Config{Codec: c, Logger: log.Logger()})
	master := p.master.Client(t)
	var all []*visitor
	for i := 0; len(all) < 10; i++ {
		v := &visitor{m: m, name: fmt.Sprint("visitor ", i)}
		redistest.Eventually(t, "a session", func() bool {
			o, err := kit.Request(t.Context(), m, "", func(ctx context.Context) error {
				s := m.FromContext(ctx)
				if s.UserID = v.name; kit.Owner != "" {
					s.Owner = v.name // each in a slot of their own
				}
				return nil
			})
			v.token = o.Token.Reveal()
			return err == nil
		})
		if master.Exists(t.Context(), "session:"+kit.KeyOf(v.token)).Val() == 1 {
			all = append(all, v)
		}
	}
	kit.Must(t, master.Wait(t.Context(), 1, 10*time.Second).Err())
	log.Take()

	var running, visited sync.WaitGroup
	visited.Add(len(all))
	var promoted atomic.Pointer[time.Time]
	times := make([]time.Duration, len(all))
	for i, v := range all {
		running.Go(func() {
			v.visit(t)
			visited.Done()
			for range time.Tick(5 * time.Millisecond) {
				since := promoted.Load()
				if ok := v.visit(t); since != nil && (ok || time.Since(*since) > 20*time.Second) {
					times[i] = time.Since(*since)
					return
				}
			}
		})
	}
	visited.Wait()
	for _, s := range p.dies {
		die(s)
	}
	replica := p.replica.Client(t)
	redistest.Eventually(t, "the promotion", func() bool {
		role, err := replica.Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	})
	now := time.Now()
	promoted.Store(&now)
	running.Wait()

	lost := 0
	for i, v := range all {
		took = max(took, times[i])
		redistest.Eventually(t, "an answer", func() bool {
			ctx, err := m.Load(t.Context(), v.token)
			if err != nil {
				return false
			}
			s := m.FromContext(ctx)
			if s.UserID != v.name || s.Views > v.tried {
				t.Errorf("%q tried %d times and finds %+v", v.name, v.tried, *s)
			}
			lost += max(0, v.answered-s.Views)
			return true
		})
	}
	t.Logf("answers %v after the promotion, %d writes lost", took.Round(time.Millisecond), lost)
	begun := map[string]int{}
	for _, line := range log.Take() {
		if _, cause, ok := strings.Cut(line, " cause="); ok && strings.Contains(line, "the store is unavailable") {
			cause, _, _ = strings.Cut(cause, " err=")
			begun[cause]++
		}
	}
	for cause, n := range begun {
		if n > 1 {
			t.Errorf("%d lines tell of the outage %s", n, cause)
		}
	}
	return took
}

func TestFailover(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		start func(t *testing.T) pair
		codec sessions.Codec
		die   func(*redistest.Server)
		limit time.Duration
	}{
		{"F7 F11 F12 a Cluster's master is killed", clusterPair, sessions.JSON{}, (*redistest.Server).Kill, 2 * time.Second},
		{"F7 F11 F12 a Cluster's master hangs", clusterPair, sessions.MsgPack{}, (*redistest.Server).Pause, 2 * time.Second},
		{"F7 F12 a Sentinel's master is killed", sentinelPair, sessions.MsgPack{}, (*redistest.Server).Kill, 5 * time.Second},
		{"F7 F12 a Sentinel's master hangs", sentinelPair, sessions.JSON{}, (*redistest.Server).Pause, 5 * time.Second},
		{"F7 F12 the host of a Sentinel's master hangs, and ReadTimeout is below DialTimeout", hostPair, sessions.JSON{}, (*redistest.Server).Pause, 10 * time.Second},
	} {
		t.Run(row.name+": good answers come by themselves soon after the promotion, and none is wrong", func(t *testing.T) {
			t.Parallel()
			var took time.Duration
			for range 3 { // a busy machine is late by itself now and then
				if took = row.start(t).failover(t, row.codec, row.die); took <= row.limit {
					return
				}
			}
			t.Errorf("answers %v after the promotion, want at most %v", took, row.limit)
		})
	}
}

func TestSlotMoves(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		codec    sessions.Codec
		replicas int
	}{
		{"F7 json", sessions.JSON{}, 0},
		{"F7 msgpack", sessions.MsgPack{}, 0},
		{"F7 F20 WaitReplicas", sessions.JSON{}, 1},
	} {
		c := row.codec
		t.Run(row.name+": a slot moves under load, key by key: no answer is wrong, none is an error, and nothing is lost", func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t, 3)
			for i := range 3 * row.replicas {
				cluster.AddReplica(t, i)
			}
			store := &kit.Store{Store: sessions.NewRedisStore(cluster.Client(t), sessions.RedisConfig{Prefix: "{one slot}", Timeout: kit.OwnerTimeout, WaitReplicas: row.replicas})}
			m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
			slot := cluster.Nodes[0].Client(t).ClusterKeySlot(t.Context(), "{one slot}").Val()
			from := cluster.Nodes[slot*3/16384]
			to := cluster.Nodes[(slot*3/16384+1)%3]
			var all []*visitor
			for i := range 10 {
				name := fmt.Sprint("visitor ", i)
				all = append(all, &visitor{m: m, name: name, token: kit.MustRequest(t, m, "", kit.Put(m, name))})
			}
			rounds := 0
			var renewed, refused atomic.Int32
			cluster.Move(t, slot, from, to, func() {
				rounds++
				var running sync.WaitGroup
				for i, v := range all {
					running.Go(func() {
						for range 3 {
							v.visit(t)
						}
						if (i+rounds)%5 == 0 {
							o, err := kit.Request(t.Context(), m, v.token, m.Renew)
							if kit.Owner != "" && errors.Is(err, sessions.ErrRefused) {
								refused.Add(1) // the index is on the one node, and the session on the other
							} else {
								kit.OK(t, err)
								renewed.Add(1)
								v.token = o.Token.Reveal()
							}
						}
						short := kit.Edit(t, m, "", func(s *kit.Session) { s.UserID = "short" })
						_, err := kit.Request(t.Context(), m, short, m.Destroy)
						kit.OK(t, err)
						ctx, err := m.Load(t.Context(), short)
						if kit.OK(t, err); err == nil && !m.Info(ctx).New {
							t.Error("a session lives after its end")
						}
					})
				}
				running.Wait()
			})
			t.Logf("%d renewals, %d refused", renewed.Load(), refused.Load())
			store.WantExact(t, kit.Owner)
			if rounds < 10 {
				t.Errorf("only %d steps", rounds)
			}
			for _, v := range all {
				if s := kit.Stored(t, m, v.token); s.Views != v.tried || v.answered != v.tried || s.UserID != v.name {
					t.Errorf("%q: %d of %d answered, %d views of %q", v.name, v.answered, v.tried, s.Views, s.UserID)
				}
			}
			if n := len(kit.Keys(t, from.Client(t))); n > 0 {
				t.Errorf("%d keys are left on the old node", n)
			}
		})
	}
}

// What is not answered makes a cluster's client look which master has which slots, without anybody's waiting for it.
func TestTopologyLooks(t *testing.T) {
	t.Parallel()
	// open is a store on a cluster of one node, and counts how often its client looks after the first time, which calls look.
	open := func(t *testing.T, addr string, timeout time.Duration, look func()) (*sessions.RedisStore, *redis.ClusterClient, *atomic.Int32) {
		looks := &atomic.Int32{}
		looks.Store(-1)
		rdb := redis.NewClusterClient(&redis.ClusterOptions{MaxRedirects: -1, ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			if looks.Add(1) > 0 {
				look()
			}
			return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
		}})
		t.Cleanup(func() { rdb.Close() })
		kit.Must(t, rdb.ForEachMaster(t.Context(), func(context.Context, *redis.Client) error { return nil }))
		return sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), rdb, looks
	}
	nothing := func() {}
	load := func(t *testing.T, s *sessions.RedisStore, ctx context.Context) {
		_, _, err := s.Load(ctx, "k", time.Minute)
		kit.WantErr(t, "Load", err, sessions.ErrUnavailable)
	}

	for name, addr := range map[string]func(t *testing.T) string{
		"accepts and never answers": func(t *testing.T) string { return redistest.Silent(t) },
		"is not there":              func(*testing.T) string { return "127.0.0.1:1" },
	} {
		t.Run("F11 a node that "+name+" makes it look again, four times a second at most", func(t *testing.T) {
			t.Parallel()
			s, _, looks := open(t, addr(t), 100*time.Millisecond, nothing)
			start := time.Now()
			for range 10 {
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() { load(t, s, t.Context()) })
				}
				all.Wait()
			}
			most := int32(time.Since(start)/(250*time.Millisecond)) + 1
			if n := looks.Load(); n < 2 || n > most {
				t.Errorf("%d looks in %v, want two or more and at most %d", n, time.Since(start), most)
			}
		})
	}

	for _, refusal := range []string{
		"-OOM command not allowed when used memory > 'maxmemory'.", "-WRONGTYPE Operation against a key holding the wrong kind of value",
		"-NOPERM this user has no permissions", "-NOREPLICAS Not enough good replicas to write.", "-ERR unknown command",
	} {
		t.Run("F11 a server that refuses is there, so nobody looks: "+refusal, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, kit.MiniRedis(t).Options().Addr)
			s, _, looks := open(t, proxy.Addr, 20*time.Second, nothing)
			_, _, err := s.Load(t.Context(), "k", time.Minute)
			kit.WantErr(t, "Load", err, sessions.ErrNotFound)
			on(proxy, redistest.Refuse(refusal), "getex", "get", "pttl")
			for range 100 {
				load(t, s, t.Context())
			}
			if n := looks.Load(); n > 0 {
				t.Errorf("%d looks", n)
			}
		})
	}

	t.Run("F11 callers with little time, or who have gone, make nobody look", func(t *testing.T) {
		t.Parallel()
		s, _, looks := open(t, redistest.Silent(t), 20*time.Second, nothing)
		late := false // the machine
		for i := range 20 {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if i%2 == 0 {
				load(t, s, ctx)
				late = late || time.Since(start) >= 20*time.Millisecond
			} else {
				ctx, gone := context.WithCancel(t.Context())
				time.AfterFunc(time.Millisecond, gone)
				_, _, err := s.Load(ctx, "k", time.Minute)
				kit.WantErr(t, "Load", err, context.Canceled)
			}
			cancel()
		}
		if n := looks.Load(); n > 0 && !late {
			t.Errorf("%d looks", n)
		}
	})

	t.Run("F11 callers who wait for a twentieth of the Timeout make it look", func(t *testing.T) {
		t.Parallel()
		s, _, looks := open(t, redistest.Silent(t), time.Second, nothing)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		load(t, s, ctx)
		redistest.Eventually(t, "a look", func() bool { return looks.Load() > 0 })
	})

	t.Run("F11 a client that is closed makes nobody look", func(t *testing.T) {
		t.Parallel()
		s, rdb, looks := open(t, "127.0.0.1:1", 20*time.Second, nothing)
		kit.Must(t, rdb.Close())
		for range 20 {
			_, _, err := s.Load(t.Context(), "k", time.Minute)
			kit.WantErr(t, "Load", err, redis.ErrClosed)
		}
		if n := looks.Load(); n > 0 {
			t.Errorf("%d looks", n)
		}
	})

	t.Run("F9 F11 a hook of the client that panics at a look ends neither the program nor the looking", func(t *testing.T) {
		t.Parallel()
		s, _, looks := open(t, "127.0.0.1:1", 100*time.Millisecond, func() { panic("a hook's") })
		load(t, s, t.Context())
		redistest.Eventually(t, "two looks", func() bool { return looks.Load() > 1 })
	})
}
