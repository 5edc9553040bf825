package faults_test

import (
	"context"
	"errors"
	"fmt"
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

// waits is a store whose writes wait for a replica, for half of the time.
func waits(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: kit.OwnerTimeout, WaitReplicas: 1})
}

// wantUnacknowledged wants the error of a write that is stored and may be lost.
func wantUnacknowledged(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, sessions.ErrRefused) || !redis.HasErrorPrefix(err, "WAIT ") {
		t.Errorf("%s: %v, want ErrUnavailable with WAIT, and not ErrRefused", what, err)
	}
}

// A store that waits for a replica is a store.
func TestReplicasContract(t *testing.T) {
	t.Parallel()
	if kit.Owner != "" {
		return // its keys are the suite's
	}
	run := func(t *testing.T, rdb redis.UniversalClient, masters ...*redis.Client) {
		storetest.Run(t, storetest.Options{
			New: func(t *testing.T) sessions.Store {
				for _, master := range masters {
					kit.Must(t, master.FlushAll(t.Context()).Err())
				}
				return waits(rdb)
			},
			Neighbour: func(*testing.T) sessions.Store {
				return sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: kit.OwnerTimeout, Prefix: "session", WaitReplicas: 1})
			},
			Advance: func(t *testing.T, d time.Duration) {
				for _, master := range masters {
					for _, key := range kit.Keys(t, master) {
						if left := master.PTTL(t.Context(), key).Val(); left <= d {
							master.Del(t.Context(), key)
						} else {
							master.PExpire(t.Context(), key, left-d)
						}
					}
				}
			},
		})
	}
	for _, b := range redistest.Servers(t) {
		for name, o := range map[string]redis.Options{"Client": {}, "Client with ContextTimeoutEnabled": {ContextTimeoutEnabled: true}} {
			t.Run("F20 "+name+", "+b.Version, func(t *testing.T) {
				t.Parallel()
				master := b.Start(t)
				master.StartReplica(t)
				run(t, client(o).open(t, master.Addr), master.Client(t))
			})
		}
	}
	t.Run("F20 ClusterClient", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t, 2)
		masters := []*redis.Client{c.Nodes[0].Client(t), c.Nodes[1].Client(t)}
		c.AddReplica(t, 0)
		c.AddReplica(t, 1)
		run(t, c.Client(t), masters...)
	})
}

// writes are the operations of a store that wait for replicas, each with something to write.
func writes(s *sessions.RedisStore) map[string]func(context.Context) error {
	all := kit.RedisOperations(s)
	for _, name := range []string{"Load", "Load(0)", "LoadMany", "Ping", "Members", "Keys", "Relist"} {
		delete(all, name)
	}
	return all
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run("F20 a write that no replica acknowledges is stored, can be read, and is ErrUnavailable, "+b.Version, func(t *testing.T) {
			t.Parallel()
			master := b.Start(t)
			replica := master.StartReplica(t)
			rdb := master.Client(t)
			patient := waits(rdb)
			hasty := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: kit.OwnerTimeout, WaitReplicas: 1, WaitTimeout: 10 * time.Millisecond})
			kit.Must(t, patient.Create(t.Context(), "k", []byte("v"), time.Hour))
			replica.Pause()
			for range 2 { // the second ones find what the first ones have written, and write nothing
				for name, write := range writes(hasty) {
					wantUnacknowledged(t, name, write(t.Context()))
				}
			}
			if data, _, err := hasty.Load(t.Context(), "new", 0); string(data) != "v" || err != nil {
				t.Errorf("Load = %q, %v, want what is not acknowledged", data, err)
			}
			if _, _, err := hasty.Load(t.Context(), "new", time.Hour); err != nil {
				t.Errorf("a read waits for a replica: %v", err)
			}
			replica.Resume()
			for name, write := range writes(patient) {
				if err := write(t.Context()); err != nil && !errors.Is(err, sessions.ErrExists) && !errors.Is(err, sessions.ErrNotFound) {
					t.Errorf("%s, when the replica is back: %v", name, err)
				}
			}
		})
	}

	proxied := func(t *testing.T) (*redistest.Proxy, *sessions.RedisStore, *redistest.Server) {
		master := redistest.Start(t)
		replica := master.StartReplica(t)
		proxy := redistest.NewProxy(t, master.Addr)
		return proxy, waits(client(redis.Options{}).open(t, proxy.Addr)), replica
	}
	for _, row := range []struct{ name, reply, says string }{
		{"is forbidden", "-NOPERM this user has no permissions to run the 'wait' command", "NOPERM "},
		{"is unknown", "-ERR unknown command 'WAIT', with args beginning with: SECRET", "ERR unknown command"},
	} {
		t.Run("F18 F20 X2 where WAIT "+row.name+" Ping says so, and each write", func(t *testing.T) {
			t.Parallel()
			proxy, s, _ := proxied(t)
			on(proxy, redistest.Refuse(row.reply), "wait")
			err := s.Ping(t.Context())
			if !errors.Is(err, sessions.ErrUnavailable) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("Ping: %v, want %s", err, row.says)
			}
			for name, write := range writes(s) {
				err := write(t.Context())
				wantUnacknowledged(t, name, err)
				if !strings.Contains(fmt.Sprintf("%v %+v", err, err), row.says) || strings.Contains(err.Error(), "SECRET") {
					t.Errorf("%s: %v, want %s", name, err, row.says)
				}
			}
		})
	}
	t.Run("F5 F20 a write that the server refuses waits for nobody, and is ErrRefused", func(t *testing.T) {
		t.Parallel()
		proxy, s, replica := proxied(t)
		kit.Must(t, s.Create(t.Context(), "k", []byte("v"), time.Hour))
		replica.Pause()
		defer replica.Resume()
		on(proxy, redistest.Refuse("-OOM command not allowed when used memory > 'maxmemory'."), "set", "evalsha", "eval", "del")
		for name, write := range writes(s) {
			kit.WantErr(t, name, write(t.Context()), sessions.ErrRefused)
		}
	})
	t.Run("F4 F20 the write and its WAIT are one round trip, and SCRIPT FLUSH is invisible", func(t *testing.T) {
		t.Parallel()
		master := redistest.Start(t)
		master.StartReplica(t)
		rdb := master.Client(t)
		var sent kit.Commands
		rdb.AddHook(&sent)
		s := waits(rdb)
		swap := func() {
			kit.Must(t, s.Create(t.Context(), "k", []byte("v"), time.Hour))
			sent.Take()
			_, err := s.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("w"), time.Hour)
			kit.OK(t, err)
		}
		swap()
		kit.Must(t, s.Delete(t.Context(), "k"))
		swap()
		if got := sent.Take(); got != "evalsha, wait" {
			t.Errorf("sent %q", got)
		}
		kit.Must(t, s.Delete(t.Context(), "k"))
		kit.Must(t, master.Client(t).ScriptFlush(t.Context()).Err())
		swap()
		if got := sent.Take(); got != "evalsha, wait, eval, wait" {
			t.Errorf("sent %q", got)
		}
	})
	for _, b := range redistest.Servers(t) {
		for _, lags := range []bool{false, true} {
			for _, verb := range []string{"SignIn", "Save", "Renew", "Destroy"} {
				t.Run(fmt.Sprintf("C8 F20 the retry that finds its own write waits for a replica too: %s, the replica lags: %t, %s", verb, lags, b.Version), func(t *testing.T) {
					t.Parallel()
					master := b.Start(t)
					replica := master.StartReplica(t)
					proxy := redistest.NewProxy(t, master.Addr)
					rdb := client(redis.Options{}).open(t, proxy.Addr)
					patient := kit.New[kit.Session](t, waits(rdb), sessions.Config{})
					token := kit.MustRequest(t, patient, "", kit.Put(patient, "ann"))
					kit.MustRequest(t, patient, token, kit.Put(patient, "bob")) // now the server knows the script
					lost := redistest.DropReply
					m := patient
					if lags {
						replica.Pause()
						m = kit.New[kit.Session](t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: kit.OwnerTimeout, WaitReplicas: 1, WaitTimeout: 10 * time.Millisecond}), sessions.Config{})
					}
					var once sync.Once
					proxy.On(func(cmd []string) (action redistest.Action) {
						action = redistest.Pass
						if name := strings.ToLower(cmd[0]); name == "set" || name == "evalsha" {
							once.Do(func() { action = lost })
						}
						return action
					})
					var err error
					_, _ = kit.Request(t.Context(), m, map[bool]string{false: token}[verb == "SignIn"], func(ctx context.Context) error {
						switch s := m.FromContext(ctx); verb {
						case "SignIn":
							s.UserID, s.Owner = "carl", kit.Owner
							err = m.SignIn(ctx)
						case "Save":
							s.UserID = "carl"
							err = m.Save(ctx)
						case "Renew":
							err = m.Renew(ctx)
						case "Destroy":
							err = m.Destroy(ctx)
						}
						return nil
					})
					if lags {
						wantUnacknowledged(t, verb, err)
					} else {
						kit.OK(t, err)
					}
				})
			}
		}
	}
}
