package update_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// timeout is that of a store which says none.
const timeout = time.Second

func TestOutOfTime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		deadline    time.Duration // of ctx, if it has one
		least, most time.Duration
	}{
		{"after twice the Timeout", 0, 1600 * time.Millisecond, 2300 * time.Millisecond},
		{"at the deadline of ctx", 700 * time.Millisecond, 300 * time.Millisecond, 1000 * time.Millisecond},
	} {
		kit.EachBubble(t, "C11 an Update that others keep overtaking ends in ErrConflict "+row.name+", with their data stored and *T as it was", func(t *testing.T, c sessions.Codec) {
			p := newPair(t, limited{kit.Memory(), timeout}, sessions.Config{Codec: c}, kit.Full())
			ctx, s := p.load()
			s.Flash = "mine"
			tags, n := s.Tags, 0
			p.store.Before = func(op, _ string) error {
				if op == "CompareAndSwap" {
					n++
					p.elsewhere(func(s *kit.Session) { s.UserID = fmt.Sprint("other", n) })
				}
				return nil
			}
			p.store.After = func(op, _ string) error {
				if op == "CompareAndSwap" {
					time.Sleep(300 * time.Millisecond)
				}
				return nil
			}
			if row.deadline != 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, time.Now().Add(row.deadline))
				defer cancel()
			}
			start := time.Now()
			err := p.mine.Update(ctx, func(s *kit.Session) error { s.Tags["lost"] = "x"; return viewed(s) })
			if !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Update = %v, want ErrConflict", err)
			}
			if took := time.Since(start); took < row.least || took > row.most {
				t.Errorf("it took %v, want %v to %v", took, row.least, row.most)
			}
			tags["same"] = "x"
			want := kit.Full()
			want.Flash, want.Tags["same"] = "mine", "x"
			wantState(t, "*T", *s, want)
			want = kit.Full()
			want.UserID = fmt.Sprint("other", n)
			p.want(want)
		})
	}

	kit.EachBubble(t, "F3 a ctx that is cancelled, before or in fn, does not stop an Update", func(t *testing.T, c sessions.Codec) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Codec: c})
		for _, before := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			live, err := m.Load(ctx, token)
			kit.Must(t, err)
			if before {
				cancel()
			}
			kit.Must(t, m.Update(live, func(s *kit.Session) error {
				cancel()
				return viewed(s)
			}))
			wantViews(t, m, token, 1)
		}
	})
}

// The client hangs up while its request stands in an Update.
func TestClientHangsUp(t *testing.T) {
	t.Parallel()
	t.Run("F3 an Update completes though its client has hung up", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.HTTP2, kit.RedisStore(kit.MiniRedis(t)), sessions.Config{Codec: c})
			hung, done := make(chan (<-chan struct{}), 1), make(chan error, 1)
			a.Mux.HandleFunc("/update", func(_ http.ResponseWriter, r *http.Request) {
				hung <- r.Context().Done()
				done <- a.Update(r.Context(), viewed)
			})
			b := a.Browser().Login()
			g := a.Store.At("before CompareAndSwap")
			ctx, hangUp := context.WithCancel(t.Context())
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				if res, err := b.Send(b.Request("GET", "/update").WithContext(ctx)); err == nil {
					res.Body.Close()
				}
			}()
			g.Wait()
			hangUp()
			<-<-hung
			g.Open()
			kit.OK(t, <-done)
			<-answered
			wantViews(t, a.Manager, b.Token(), 1)
		})
	})
}

// hanging is a store that from some moment on does not answer swaps.
type hanging struct {
	sessions.MemoryStore
	hangs bool
	swaps int
}

func (s *hanging) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	s.swaps++ // the queue lets one at a time do this
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// internal/behaviour/faults has the same with a Redis that hangs.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	const writers = 10
	kit.EachBubble(t, "F10 ten Updates and saves of one session, a twentieth of the Timeout apart, whose store hangs after the load are unavailable within Timeout plus a tenth", func(t *testing.T, c sessions.Codec) {
		const apart = timeout / 20
		store := &hanging{}
		m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		var ctxs []context.Context
		for range writers {
			ctx, _ := kit.Load(t, m, token)
			ctxs = append(ctxs, ctx)
		}
		store.hangs, store.swaps = true, 0
		start := time.Now()
		var all sync.WaitGroup
		for i, ctx := range ctxs {
			all.Go(func() {
				time.Sleep(time.Duration(i) * apart)
				var err error
				if i < writers/2 {
					m.FromContext(ctx).Flash = "mine"
					err = m.Save(ctx)
				} else {
					err = m.Update(ctx, viewed)
				}
				kit.WantErr(t, fmt.Sprint("writer ", i), err, sessions.ErrUnavailable)
				if took := time.Since(start); took > timeout*11/10 {
					t.Errorf("writer %d ends after %v", i, took)
				}
				if s := m.FromContext(ctx); s.Views != 0 {
					t.Errorf("writer %d: *T is %+v", i, *s)
				}
			})
		}
		all.Wait()
		if store.swaps != 1 {
			t.Errorf("%d swaps were sent, want one", store.swaps)
		}
		store.hangs = false
		kit.MustRequest(t, m, token, view(m))
		wantViews(t, m, token, 1)
	})
}

// Writers of one process wait for each other, and so for the functions of
// their Updates.
func TestBehindASlowFunction(t *testing.T) {
	t.Parallel()
	// begin stores a session of a process whose store has the usual Timeout.
	begin := func(t *testing.T, c sessions.Codec) (m *sessions.Manager[kit.Session], events *kit.Events, token string) {
		events = &kit.Events{}
		m = kit.New[kit.Session](t, limited{kit.Memory(), timeout}, sessions.Config{Codec: c, OnEvent: events.On})
		token = kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		events.Take()
		return m, events, token
	}
	// slowly starts an Update whose function takes its time, and comes back
	// when it is in it.
	slowly := func(t *testing.T, m *sessions.Manager[kit.Session], token string, took time.Duration) <-chan error {
		ctx, _ := kit.Load(t, m, token)
		done := make(chan error, 1)
		go func() {
			done <- m.Update(ctx, func(s *kit.Session) error { time.Sleep(took); return viewed(s) })
		}()
		synctest.Wait()
		return done
	}
	writers := map[string]func(m *sessions.Manager[kit.Session], ctx context.Context) error{
		"an Update": func(m *sessions.Manager[kit.Session], ctx context.Context) error { return m.Update(ctx, viewed) },
		"a save": func(m *sessions.Manager[kit.Session], ctx context.Context) error {
			m.FromContext(ctx).Flash = "mine"
			return m.Save(ctx)
		},
	}
	for what, write := range writers {
		kit.EachBubble(t, "C9 C11 "+what+" behind an Update with a slow function gets its turn when that returns, be it later than the store's Timeout", func(t *testing.T, c sessions.Codec) {
			m, _, token := begin(t, c)
			ctx, _ := kit.Load(t, m, token)
			slow := slowly(t, m, token, 1500*time.Millisecond)
			start := time.Now()
			kit.OK(t, write(m, ctx))
			if took := time.Since(start); took != 1500*time.Millisecond {
				t.Errorf("after %v, want 1.5s", took)
			}
			kit.OK(t, <-slow)
		})
	}

	kit.EachBubble(t, "C11 a save behind an Update with a slow function gets ErrConflict after twice the Timeout, and an event says so", func(t *testing.T, c sessions.Codec) {
		m, events, token := begin(t, c)
		ctx, _ := kit.Load(t, m, token)
		slow := slowly(t, m, token, 5*time.Second)
		start := time.Now()
		kit.WantErr(t, "Save", writers["a save"](m, ctx), sessions.ErrConflict)
		if took := time.Since(start); took != 2*timeout {
			t.Errorf("after %v, want %v", took, 2*timeout)
		}
		if kinds := events.Kinds(); !slices.Contains(kinds, sessions.EventConflict) {
			t.Errorf("events %v, want a conflict among them", kinds)
		}
		kit.OK(t, <-slow)
		wantViews(t, m, token, 1)
	})

	kit.EachBubble(t, "C9 an fn that takes 5s is stored: it is no outage of a store whose Timeout is 1s", func(t *testing.T, c sessions.Codec) {
		m, events, token := begin(t, c)
		kit.WantErr(t, "Update", <-slowly(t, m, token, 5*time.Second), nil)
		events.Want(t, sessions.EventSaved)
		wantViews(t, m, token, 1)
	})

	kit.EachBubble(t, "C9 writers of one process go in the order in which they came", func(t *testing.T, c sessions.Codec) {
		m, _, token := begin(t, c)
		slow := slowly(t, m, token, 500*time.Millisecond)
		var all sync.WaitGroup
		for i := range 20 {
			ctx, _ := kit.Load(t, m, token)
			all.Go(func() {
				kit.OK(t, m.Update(ctx, func(s *kit.Session) error {
					s.Cart = append(s.Cart, kit.Item{Qty: i})
					return nil
				}))
			})
			synctest.Wait()
		}
		all.Wait()
		kit.Must(t, <-slow)
		cart := kit.Stored(t, m, token).Cart
		if len(cart) != 20 || !slices.IsSortedFunc(cart, func(a, b kit.Item) int { return a.Qty - b.Qty }) {
			t.Errorf("the order is %v", cart)
		}
	})
}
