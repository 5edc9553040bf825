package listing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/record"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A replica may lack the last writes of its master. It has an index and the sessions on it as they were at one moment:
// so what is alive is listed, whatever is lost.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (rdb redis.UniversalClient, master *redistest.Server){
		"Sentinel": func(t *testing.T) (redis.UniversalClient, *redistest.Server) {
			s := redistest.StartSentinel(t)
			return s.Client(t), s.Master
		},
		"Cluster": func(t *testing.T) (redis.UniversalClient, *redistest.Server) {
			c := redistest.StartCluster(t, 3)
			c.AddReplica(t, 0)
			return c.Client(t), c.Nodes[0]
		},
	} {
		t.Run("O8 F6 the master of users' sessions dies: "+name, func(t *testing.T) {
			t.Parallel()
			rdb, master := start(t)
			f := &failover{users: 8, keys: map[string]map[string]bool{}}
			for range 3 {
				f.processes = append(f.processes, kit.New[session](t, f.noting(sessions.NewRedisStore(rdb, sessions.RedisConfig{})), sessions.Config{MaxPerOwner: 3}))
			}
			var all sync.WaitGroup
			for range 12 {
				all.Go(func() {
					for f.phase.Load() < 2 {
						f.request(t)
					}
				})
			}
			f.until(t, 500)
			master.Kill()
			f.phase.Store(1)
			redistest.Eventually(t, "an answer for every user", func() bool {
				for user := range f.users {
					if _, err := signIn(f.processes[0], "", f.name(user)); err != nil {
						return false
					}
				}
				return true
			})
			f.until(t, f.done.Load()+500)
			f.phase.Store(2)
			all.Wait()
			f.check(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: kit.OwnerTimeout}))
		})
	}
}

type failover struct {
	users     int
	processes []*manager
	phase     atomic.Int32 // 1: the master is dead; 2: it is over
	done      atomic.Int64 // requests that were answered

	mu   sync.Mutex
	keys map[string]map[string]bool // of records, by user
}

func (f *failover) name(user int) string { return fmt.Sprint("user ", user) }

func (f *failover) until(t *testing.T, n int64) {
	redistest.Eventually(t, "enough requests", func() bool { return f.done.Load() >= n })
}

// request is a visitor who signs in, and perhaps renews, signs out or revokes the user's sessions.
func (f *failover) request(t *testing.T) {
	m, user := f.processes[rand.N(len(f.processes))], f.name(rand.N(f.users))
	err := func() error {
		visitor, err := kit.Request(context.Background(), m, "", func(ctx context.Context) error { m.FromContext(ctx).Views = 1; return nil })
		if err != nil {
			return err
		}
		token, err := signIn(m, visitor.Token.Reveal(), user)
		if err != nil {
			return err
		}
		switch rand.N(8) {
		case 0:
			_, err = m.RevokeAll(context.Background(), user)
		case 1:
			_, err = kit.Request(context.Background(), m, token, m.Destroy)
		case 2, 3, 4:
			_, err = kit.Request(context.Background(), m, token, func(ctx context.Context) error {
				if m.Info(ctx).New { // others have signed in
					return nil
				}
				return m.Renew(ctx)
			})
		}
		return err
	}()
	if err == nil {
		f.done.Add(1)
	} else if !errors.Is(err, sessions.ErrUnavailable) && !errors.Is(err, sessions.ErrGone) && !errors.Is(err, sessions.ErrConflict) {
		t.Error(err)
	}
}

// noting notes the keys that a store is given.
func (f *failover) noting(store sessions.OwnerStore) sessions.OwnerStore {
	return &notingStore{store, f}
}

type notingStore struct {
	sessions.OwnerStore
	f *failover
}

func (s *notingStore) Timeout() time.Duration { return s.OwnerStore.(sessions.Timed).Timeout() }

func (s *notingStore) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	s.f.mu.Lock()
	for _, key := range []string{p.Old, p.New} {
		if s.f.keys[p.Index] == nil {
			s.f.keys[p.Index] = map[string]bool{}
		}
		s.f.keys[p.Index][key] = true
	}
	s.f.mu.Unlock()
	return s.OwnerStore.Place(ctx, p)
}

// check looks for what is alive, and is no copy.
func (f *failover) check(t *testing.T, store sessions.OwnerStore) {
	t.Helper()
	live := 0
	for index, keys := range f.keys {
		members, err := store.Members(t.Context(), index)
		kit.Must(t, err)
		of := 0
		for key := range keys {
			if key == "" {
				continue
			}
			data, left, err := store.LoadMany(t.Context(), []string{key}, 0)
			kit.Must(t, err)
			if data[0] == nil || left[0] <= markTTL {
				continue
			}
			r, err := record.Open(data[0])
			if kit.Must(t, err); r.IsMark() || index != indexOf(string(r.Owner)) {
				continue
			}
			if of++; !slices.Contains(members, record.Member(r.ID, key)) {
				t.Errorf("a session of %s is alive and not listed", r.Owner)
			}
		}
		if live += of; of > 3 {
			t.Errorf("%d sessions of one user are alive", of)
		}
	}
	if t.Logf("%d requests were answered, %d sessions are alive", f.done.Load(), live); live == 0 {
		t.Error("nothing is left to look at")
	}
}
