package faults_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A user signs in again and again, and out with the oldest session, and knows what was answered.
type user struct {
	m    *sessions.Manager[kit.Session]
	name string
	in   []string // tokens of sign-ins that were done, and that no sign-out has been tried with
	out  []string // tokens of sign-outs that were done

	tried, done atomic.Int64 // since the last look
}

// round is one sign-in, and one sign-out of a session that is some rounds old.
func (u *user) round(t *testing.T) {
	note := func(err error) bool {
		u.tried.Add(1)
		if err == nil {
			u.done.Add(1)
		} else if !errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%s: %v", u.name, err)
		}
		return err == nil
	}
	var err error
	o, _ := kit.Request(context.Background(), u.m, "", func(ctx context.Context) error {
		s := u.m.FromContext(ctx)
		if s.UserID = u.name; kit.Owner != "" {
			s.Owner = u.name
		}
		err = u.m.SignIn(ctx)
		return nil
	})
	if note(err) {
		u.in = append(u.in, o.Token.Reveal())
	}
	if len(u.in) > 5 {
		token := u.in[0]
		u.in = u.in[1:]
		_, loadErr := kit.Request(context.Background(), u.m, token, func(ctx context.Context) error {
			err = u.m.Destroy(ctx)
			return nil
		})
		if note(errors.Join(loadErr, err)) {
			u.out = append(u.out, token)
		}
	}
}

// What a write told is in the replica that takes the place of the master.
func TestAcknowledged(t *testing.T) {
	t.Parallel()
	type topology struct {
		rdb             redis.UniversalClient
		master, replica *redistest.Server
		prefix          string
		fail            func(t *testing.T) // may be called again
	}
	sentinel := func(fail func(t *testing.T, s *redistest.Sentinel)) func(t *testing.T) topology {
		return func(t *testing.T) topology {
			s := redistest.StartSentinel(t)
			return topology{s.Client(t), s.Master, s.Replica, "session:", func(t *testing.T) { fail(t, s) }}
		}
	}
	for name, start := range map[string]func(t *testing.T) topology{
		"SENTINEL FAILOVER": sentinel(func(t *testing.T, s *redistest.Sentinel) {
			s.Sentinels[0].Client(t).Do(t.Context(), "SENTINEL", "FAILOVER", s.MasterName)
		}),
		"a Sentinel's master is killed": sentinel(func(_ *testing.T, s *redistest.Sentinel) { s.Master.Kill() }),
		"a Cluster's master is killed": func(t *testing.T) topology {
			c := redistest.StartCluster(t, 3)
			replica := c.AddReplica(t, 0)
			prefix := ""
			for i := 0; prefix == ""; i++ { // of the first master
				if tag := fmt.Sprintf("{%d}", i); c.Nodes[0].Client(t).ClusterKeySlot(t.Context(), tag).Val() < 16384/3 {
					prefix = tag
				}
			}
			return topology{c.Client(t), c.Nodes[0], replica, prefix, func(*testing.T) { c.Nodes[0].Kill() }}
		},
	} {
		for _, replicas := range []int{0, 1} {
			t.Run(fmt.Sprintf("F7 F20 a replica lags, and %s: with WaitReplicas %d sign-ins and sign-outs that were done are lost only if it is 0", name, replicas), func(t *testing.T) {
				t.Parallel()
				at := start(t)
				cfg := sessions.RedisConfig{Prefix: at.prefix, Timeout: 2 * time.Second, WaitReplicas: replicas}
				if replicas > 0 {
					cfg.WaitTimeout = 50 * time.Millisecond
				}
				m := kit.New[kit.Session](t, sessions.NewRedisStore(at.rdb, cfg), sessions.Config{})
				users := make([]*user, 4)
				stop := make(chan struct{})
				var running sync.WaitGroup
				for i := range users {
					u := &user{m: m, name: fmt.Sprint("user ", i)}
					users[i] = u
					running.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
								u.round(t)
							}
						}
					})
				}
				// each waits until every user has tried, or has done, that much more.
				each := func(what string, count func(u *user) *atomic.Int64, more int64) {
					for _, u := range users {
						count(u).Store(0)
					}
					for _, u := range users {
						redistest.Eventually(t, what, func() bool { return count(u).Load() > more })
					}
				}
				each("sign-ins and sign-outs", func(u *user) *atomic.Int64 { return &u.done }, 20)
				at.master.Isolate(t) // not for long: a Sentinel promotes no replica that has been alone for ten seconds
				if replicas == 0 {
					each("sign-ins and sign-outs that the replica does not get", func(u *user) *atomic.Int64 { return &u.done }, 20)
				} else {
					each("sign-ins and sign-outs that nobody acknowledges", func(u *user) *atomic.Int64 { return &u.tried }, 5)
				}
				replica := at.replica.Client(t)
				redistest.Eventually(t, "the promotion", func() bool {
					if role, err := replica.Do(t.Context(), "ROLE").Slice(); err == nil && role[0] == "master" {
						return true
					}
					at.fail(t) // a sentinel without fresh news of the replica gives up
					return false
				})
				close(stop)
				running.Wait()

				store := sessions.NewRedisStore(replica, sessions.RedisConfig{Prefix: at.prefix, Timeout: kit.OwnerTimeout})
				redistest.Eventually(t, "its answer", func() bool {
					_, _, err := store.Load(t.Context(), "k", time.Minute)
					return errors.Is(err, sessions.ErrNotFound)
				})
				now := kit.New[kit.Session](t, store, sessions.Config{})
				var lostIn, lostOut, in, out int
				for _, u := range users {
					for _, token := range u.in {
						if in++; !kit.Alive(t, now, token) {
							lostIn++
						}
					}
					for _, token := range u.out {
						if out++; kit.Alive(t, now, token) {
							lostOut++
						}
					}
				}
				t.Logf("lost: %d of %d sign-ins, %d of %d sign-outs", lostIn, in, lostOut, out)
				if lost := lostIn > 0 && lostOut > 0; lost != (replicas == 0) || replicas > 0 && lostIn+lostOut > 0 {
					t.Errorf("%d sign-ins and %d sign-outs are lost", lostIn, lostOut)
				}
				if in == 0 || out == 0 {
					t.Errorf("%d sign-ins and %d sign-outs were done", in, out)
				}
			})
		}
	}
}
