package listing_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/record"
)

var roundsFlag = flag.Int("listing.rounds", 20, "how many `rounds` of sign-ins race a RevokeAll")

// eachStore runs a test with a MemoryStore and with each Redis.
func eachStore(t *testing.T, f func(t *testing.T, store func() sessions.OwnerStore)) {
	t.Run("memory", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		f(t, func() sessions.OwnerStore { return store })
	})
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		f(t, func() sessions.OwnerStore { return redisStore(rdb) }) // one for each process
	})
}

func redisStore(rdb *redis.Client) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: kit.OwnerTimeout})
}

// signIn is a whole request that signs a user in.
func signIn(m *manager, token, user string) (string, error) {
	out, err := kit.Request(context.Background(), m, token, func(ctx context.Context) error { return signInAs(user)(m, ctx) })
	if err != nil {
		return "", err
	}
	return out.Token.Reveal(), nil
}

// alive are those of the tokens under which there is a session, and listed those of them that are on the user's index. No
// session is read as a request reads it, which would list it.
func alive(t *testing.T, store sessions.OwnerStore, user string, tokens []string) (live, listed []string) {
	t.Helper()
	members, err := store.Members(t.Context(), indexOf(user))
	kit.Must(t, err)
	keys := make([]string, len(tokens))
	for i, token := range tokens {
		keys[i] = kit.KeyOf(token)
	}
	data, _, err := store.LoadMany(t.Context(), keys, 0)
	kit.Must(t, err)
	for i, token := range tokens {
		if data[i] == nil {
			continue
		}
		r, err := record.Open(data[i])
		kit.Must(t, err)
		if r.IsMark() {
			continue
		}
		live = append(live, token)
		if slices.Contains(members, record.Member(r.ID, keys[i])) {
			listed = append(listed, token)
		}
	}
	return live, listed
}

// However many sign-ins there are at once, as many sessions as the limit allows are alive and listed.
func TestLimit(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store func() sessions.OwnerStore) {
		for name, policy := range map[string]sessions.OwnerLimit{"EvictOldest": sessions.EvictOldest, "Reject": sessions.Reject} {
			t.Run("O7 O9 many sign-ins at once under a limit of three by "+name, func(t *testing.T) {
				const limit = 3
				signIns := 50
				if kit.RaceEnabled { // which takes ten times as long, on a busy machine more than the Timeout
					signIns = 20
				}
				var processes []*manager
				for range 4 {
					processes = append(processes, kit.New[session](t, store(), sessions.Config{MaxPerOwner: limit, OnOwnerLimit: policy}))
				}
				tokens, errs := make([]string, signIns), make([]error, signIns)
				visitors := make([]string, signIns)
				for i := range visitors {
					if i%2 == 0 { // the others come without a session
						visitors[i] = kit.Edit(t, processes[0], "", func(s *session) { s.Views = 1 })
					}
				}
				var all sync.WaitGroup
				for i := range signIns {
					all.Go(func() {
						for errs[i] = sessions.ErrConflict; errors.Is(errs[i], sessions.ErrConflict); { // its time was up on a busy machine
							tokens[i], errs[i] = signIn(processes[i%len(processes)], visitors[i], name)
						}
					})
				}
				all.Wait()
				refused := 0
				for _, err := range errs {
					if policy == sessions.Reject && errors.Is(err, sessions.ErrOwnerLimit) {
						refused++
					} else {
						kit.OK(t, err)
					}
				}
				if want := signIns - limit; policy == sessions.Reject && refused != want {
					t.Errorf("%d were refused, want %d", refused, want)
				}
				tokens = slices.DeleteFunc(tokens, func(token string) bool { return token == "" })
				live, listed := alive(t, store(), name, tokens)
				if len(live) != limit || len(listed) != limit {
					t.Errorf("%d are alive, %d of them listed, want %d", len(live), len(listed), limit)
				}
				infos, err := processes[0].SessionsOf(t.Context(), name)
				kit.Must(t, err)
				if len(infos) != limit {
					t.Errorf("SessionsOf has %d", len(infos))
				}
				token, err := signIn(processes[1], "", name)
				if policy == sessions.Reject {
					kit.WantErr(t, "one more", err, sessions.ErrOwnerLimit)
					return
				}
				kit.Must(t, err)
				if live, _ = alive(t, store(), name, append(live, token)); len(live) != limit || live[len(live)-1] != token {
					t.Errorf("after one more %d are alive", len(live))
				}
				for _, i := range infos {
					if err := processes[0].Revoke(t.Context(), name, i.ID); err == nil {
						continue
					} else if !errors.Is(err, sessions.ErrNotFound) {
						t.Error(err)
					}
					if slices.ContainsFunc(infos, func(other sessions.Info) bool { return other.CreatedAt.Before(i.CreatedAt) }) {
						t.Errorf("it has ended one of %v of %v", i.CreatedAt, infos)
					}
				}
			})
		}
	})
}

// A distant store is a round trip away.
type distant struct{ *sessions.MemoryStore }

const roundTrip = time.Millisecond

func (s distant) Timeout() time.Duration { return time.Second }

func (s distant) Place(ctx context.Context, p sessions.Placement) (sessions.Placed, error) {
	time.Sleep(roundTrip / 2)
	placed, err := s.MemoryStore.Place(ctx, p)
	time.Sleep(roundTrip / 2)
	return placed, err
}

// Sign-ins at once do not keep each other for long: the time of one is a second.
func TestLimitIsQuick(t *testing.T) {
	kit.Bubble(t, "O9 50 sign-ins at once under a limit of three take less than 300 round trips", func(t *testing.T) {
		m := kit.New[session](t, distant{&sessions.MemoryStore{}}, sessions.Config{MaxPerOwner: 3})
		began := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				_, err := signIn(m, "", "ann")
				kit.OK(t, err)
			})
		}
		all.Wait()
		if took := time.Since(began); took > 300*roundTrip {
			t.Errorf("they took %v", took)
		} else {
			t.Log(took)
		}
	})
}

// What is alive after sign-ins and renewals that race a RevokeAll is listed, and what had begun before has ended.
func TestRevokeAllRaces(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store func() sessions.OwnerStore) {
		t.Run(fmt.Sprintf("O6 O8 200 sign-ins race a RevokeAll, %d rounds", *roundsFlag), func(t *testing.T) {
			var processes []*manager
			for range 4 {
				processes = append(processes, kit.New[session](t, store(), sessions.Config{}))
			}
			survivors, ended, began := 0, 0, time.Now()
			for round := range *roundsFlag {
				s, e := revokeRound(t, store(), processes, fmt.Sprint("user ", round))
				survivors, ended = survivors+s, ended+e
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
			t.Logf("%d sessions have survived, and %d have been revoked, in %v", survivors, ended, time.Since(began).Round(time.Millisecond))
			if ended == 0 {
				t.Error("they have not raced")
			}
		})
	})
}

func revokeRound(t *testing.T, store sessions.OwnerStore, processes []*manager, user string) (survivors, ended int) {
	t.Helper()
	const signIns = 200
	begin, revoked := make(chan struct{}), atomic.Bool{} // revoked: RevokeAll was called
	after := rand.N(signIns * 3 / 4)                     // so many have signed in
	var done atomic.Int64
	type client struct {
		token  string
		before bool // it had its token before
	}
	clients := make([]client, signIns)
	connections := make(chan bool, 20) // otherwise RevokeAll would wait for its turn behind all sign-ins
	var all sync.WaitGroup
	for i := range clients {
		m, c := processes[i%len(processes)], &clients[i]
		all.Go(func() {
			connections <- true
			defer func() { <-connections }()
			token, err := signIn(m, "", user)
			kit.OK(t, err)
			c.token, c.before = token, !revoked.Load()
			if done.Add(1) == int64(after)+1 {
				close(begin)
			}
			if i%2 > 0 || token == "" {
				return
			}
			switch out, err := kit.Request(context.Background(), m, token, m.Renew); {
			case err == nil && out.Kind == sessions.OutcomeRenewed:
				c.token = out.Token.Reveal()
			case err != nil && !errors.Is(err, sessions.ErrGone):
				t.Errorf("Renew: %v", err)
			}
		})
	}
	n := 0
	all.Go(func() {
		<-begin
		revoked.Store(true)
		var err error
		n, err = processes[0].RevokeAll(context.Background(), user)
		kit.OK(t, err)
	})
	all.Wait()
	if t.Failed() { // some have no token
		return survivors, ended
	}
	var tokens, before []string
	for _, c := range clients {
		if tokens = append(tokens, c.token); c.before {
			before = append(before, c.token)
		}
	}
	live, listed := alive(t, store, user, tokens)
	if len(live) != len(listed) {
		t.Errorf("%d are alive, and %d of them are listed", len(live), len(listed))
	}
	if old, _ := alive(t, store, user, before); len(old) > 0 {
		t.Errorf("%d of %d that had begun before the RevokeAll are alive", len(old), len(before))
	}
	infos, err := processes[1].SessionsOf(t.Context(), user)
	kit.Must(t, err)
	if len(infos) != len(live) || len(live)+n != signIns {
		t.Errorf("%d are alive, %d in the list, and %d were revoked, of %d", len(live), len(infos), n, signIns)
	}
	return len(live), n
}

// A commandCount counts the commands of a Redis client.
type commandCount struct{ n atomic.Int64 }

func (c *commandCount) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *commandCount) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commandCount) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// What a user's list costs depends on that user's sessions alone.
func TestListCost(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		users := 1000
		if testing.Short() {
			users = 50
		}
		t.Run(fmt.Sprintf("O1 O3 a user's list and its end among %d sessions of %d users", 10*users, users), func(t *testing.T) {
			count := &commandCount{}
			rdb.AddHook(count)
			m := kit.New[session](t, redisStore(rdb), sessions.Config{})
			signInAll := func(user string, n int) {
				for range n {
					_, err := signIn(m, "", user)
					kit.Must(t, err)
				}
			}
			costs := func(user string, n int) (list, revoke int64) {
				signInAll(user, n)
				before := count.n.Load()
				infos, err := m.SessionsOf(t.Context(), user)
				kit.Must(t, err)
				list = count.n.Load() - before
				ended, err := m.RevokeAll(t.Context(), user)
				kit.Must(t, err)
				if len(infos) != n || ended != n {
					t.Errorf("%d are listed and %d ended, want %d", len(infos), ended, n)
				}
				return list, count.n.Load() - before - list
			}
			costs("the scripts are sent once, and the connection is made", 1)
			sizes := []int{1, 3, 10}
			alone := map[int][2]int64{}
			for _, n := range sizes {
				list, revoke := costs(fmt.Sprint("alone ", n), n)
				alone[n] = [2]int64{list, revoke}
				if want := int64(1 + 2*n); list != want || revoke != 3 {
					t.Errorf("%d sessions: a list is %d commands and a RevokeAll %d, want %d and 3", n, list, revoke, want)
				}
			}
			for user := range users {
				signInAll(fmt.Sprint("user ", user), 10)
			}
			for _, n := range sizes {
				if list, revoke := costs(fmt.Sprint("among ", n), n); list != alone[n][0] || revoke != alone[n][1] {
					t.Errorf("%d sessions: %d and %d commands among others, %v alone", n, list, revoke, alone[n])
				}
			}
		})
	})
}
