package update_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A lossy process has a proxy before its Redis that can lose replies. The other
// process is beside it.
type lossy struct {
	mine   *sessions.Manager[kit.Session]
	other  func() *sessions.Manager[kit.Session] // a new one for each call
	proxy  *redistest.Proxy
	swaps  atomic.Int32
	events kit.Events // of mine
	token  string
}

func newLossy(t *testing.T, server *redistest.Server, c sessions.Codec, retries int) *lossy {
	l := &lossy{proxy: redistest.NewProxy(t, server.Addr)}
	rdb := redis.NewClient(&redis.Options{Addr: l.proxy.Addr, MaxRetries: retries})
	t.Cleanup(func() { rdb.Close() })
	direct := server.Client(t)
	l.other = func() *sessions.Manager[kit.Session] {
		return kit.New[kit.Session](t, kit.RedisStore(direct), sessions.Config{Codec: c})
	}
	l.mine = kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{Codec: c, OnEvent: l.events.On})
	l.token = kit.MustRequest(t, l.mine, "", kit.Put(l.mine, "ann"))
	kit.MustRequest(t, l.mine, l.token, kit.Put(l.mine, "warm")) // the script is loaded now
	l.events.Take()
	return l
}

// onSwap says what happens to the nth swap from now on.
func (l *lossy) onSwap(action func(n int) redistest.Action) {
	l.proxy.On(func(cmd []string) redistest.Action {
		if strings.EqualFold(cmd[0], "evalsha") {
			return action(int(l.swaps.Add(1)))
		}
		return redistest.Pass
	})
}

// loseAndPark loses the reply to the first swap of an Update that adds a view and
// changes T besides, lets act run before the swap is repeated, and returns what
// the Update does.
func (l *lossy) loseAndPark(t *testing.T, act func()) error {
	g := redistest.NewGate()
	l.onSwap(func(n int) redistest.Action {
		switch n {
		case 1:
			return redistest.DropReply
		case 2:
			return redistest.Before(g)
		}
		return redistest.Pass
	})
	done := make(chan error)
	go func() {
		_, err := kit.Request(t.Context(), l.mine, l.token, func(ctx context.Context) error {
			l.mine.FromContext(ctx).Flash = "mine"
			return l.mine.Update(ctx, viewed)
		})
		done <- err
	}()
	<-g.Reached()
	act()
	g.Open()
	return <-done
}

// The client of a store repeats a swap whose reply got lost, and finds its own
// write, or what others have made of it.
func TestReplyIsLost(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Parallel()
		server := redistest.Start(t)
		t.Run("C10 an Update that loses three replies counts once and is no conflict", func(t *testing.T) {
			const lost = 3
			l := newLossy(t, server, c, 0)
			l.onSwap(func(n int) redistest.Action {
				if n <= lost {
					return redistest.DropReply
				}
				return redistest.Pass
			})
			calls := 0
			kit.MustRequest(t, l.mine, l.token, func(ctx context.Context) error {
				s := l.mine.FromContext(ctx)
				s.Flash = "mine"
				err := l.mine.Update(ctx, func(s *kit.Session) error { calls++; return viewed(s) })
				if s.Views != 1 || s.Flash != "mine" {
					t.Errorf("*T is %+v", *s)
				}
				return err
			})
			if calls != 1 || l.swaps.Load() != lost+1 {
				t.Errorf("%d calls of fn, %d commands", calls, l.swaps.Load())
			}
			l.events.Want(t, sessions.EventSaved)
			wantViews(t, l.other(), l.token, 1)
		})

		t.Run("C10 an Update whose client does not repeat is ErrUnavailable, says what it does not know, and puts *T back", func(t *testing.T) {
			l := newLossy(t, server, c, -1)
			l.onSwap(func(int) redistest.Action { return redistest.DropReply })
			ctx, s := kit.Load(t, l.mine, l.token)
			s.Flash = "mine"
			err := l.mine.Update(ctx, viewed)
			if !errors.Is(err, sessions.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "may or may not be stored") {
				t.Errorf("Update = %v", err)
			}
			if s.Views != 0 || s.Flash != "mine" || l.swaps.Load() != 1 {
				t.Errorf("*T is %+v after %d commands", *s, l.swaps.Load())
			}
			wantViews(t, l.other(), l.token, 1) // it was, and nobody could know
		})

		t.Run("C10 an Update finds itself behind forty Updates of seven other processes", func(t *testing.T) {
			l := newLossy(t, server, c, 0)
			err := l.loseAndPark(t, func() {
				var others []*sessions.Manager[kit.Session]
				for range 7 {
					others = append(others, l.other())
				}
				for i := range 40 {
					m := others[i%len(others)]
					kit.MustRequest(t, m, l.token, view(m))
				}
			})
			if err != nil || l.swaps.Load() != 2 {
				t.Errorf("Update = %v after %d commands, want its own write found by the second", err, l.swaps.Load())
			}
			l.events.Want(t, sessions.EventSaved)
			wantViews(t, l.other(), l.token, 41)
		})

		t.Run("C10 an Update whose session another process renews before the repetition is done, and in the renewed session", func(t *testing.T) {
			l := newLossy(t, server, c, 0)
			other, renewed := l.other(), ""
			kit.OK(t, l.loseAndPark(t, func() { renewed = kit.Verb(t, other, l.token, "Renew") }))
			l.events.Want(t, sessions.EventSaved)
			if got := kit.Stored(t, other, renewed); got.Views != 1 || got.Flash != "mine" {
				t.Errorf("the renewed session is %+v", got)
			}
			if kit.Alive(t, other, l.token) {
				t.Error("the old token lives")
			}
		})
	})
}

// retried is a store whose client loses the reply to the first swap, and
// repeats it when the gate is opened.
type retried struct {
	sessions.MemoryStore
	gate *kit.Gate // nil: there is no loss
}

func (s *retried) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if g := s.gate; g != nil {
		s.gate = nil
		g.Pass()
		return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	}
	return current, err
}

// A process has one write of a session on its way at a time: while it does not
// know what has become of the first, the second waits.
func TestBehindALostReply(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "C10 an Update behind a save whose reply was lost, both of one process: each is stored once, and neither is a conflict", func(t *testing.T, c sessions.Codec) {
		store, events := &retried{}, &kit.Events{}
		m := kit.New[kit.Session](t, store, sessions.Config{Codec: c, OnEvent: events.On})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		saves, one := kit.Load(t, m, token) // both have loaded before either writes
		updates, _ := kit.Load(t, m, token)
		events.Take()
		g := kit.NewGate()
		store.gate = g
		done := make(chan error, 2)
		one.UserID = "one"
		go func() { done <- m.Save(saves) }()
		g.Wait()
		go func() { done <- m.Update(updates, func(s *kit.Session) error { s.Flash = "two"; return viewed(s) }) }()
		synctest.Wait() // the second waits for its turn
		g.Open()
		for range 2 {
			kit.OK(t, <-done)
		}
		events.Want(t, sessions.EventSaved, sessions.EventSaved)
		wantState(t, "stored", kit.Stored(t, m, token), kit.Session{UserID: "one", Flash: "two", Views: 1})
	})

	kit.EachBubble(t, "C10 an Update is applied, another process destroys the session, and the swap is repeated", func(t *testing.T, c sessions.Codec) {
		store := &retried{}
		m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
		other := kit.New[kit.Session](t, &store.MemoryStore, sessions.Config{Codec: c})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		ctx, s := kit.Load(t, m, token)
		g := kit.NewGate()
		store.gate = g
		done := make(chan error)
		go func() { done <- m.Update(ctx, viewed) }()
		g.Wait()
		kit.Verb(t, other, token, "Destroy")
		g.Open()
		kit.WantErr(t, "Update", <-done, sessions.ErrGone)
		if s.Views != 0 || kit.Alive(t, other, token) {
			t.Errorf("*T has %d views, the session lives: %t", s.Views, kit.Alive(t, other, token))
		}
		kit.WantErr(t, "the next Update", m.Update(ctx, viewed), sessions.ErrGone)
	})
}
