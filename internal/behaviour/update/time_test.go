package update_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
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
		{"after twice the Timeout where ctx has a later deadline", time.Minute, 1600 * time.Millisecond, 2300 * time.Millisecond},
		{"at once where the deadline of ctx has passed", -time.Second, 0, 300 * time.Millisecond},
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
	for _, step := range []string{"before CompareAndSwap", "after CompareAndSwap"} {
		t.Run("F3 an Update completes though its client has hung up "+step, func(t *testing.T) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				a := kit.NewApp(t, kit.HTTP2, kit.RedisStore(kit.MiniRedis(t)), sessions.Config{Codec: c})
				hung, done := make(chan (<-chan struct{}), 1), make(chan error, 1)
				a.Mux.HandleFunc("/update", func(_ http.ResponseWriter, r *http.Request) {
					hung <- r.Context().Done()
					done <- a.Update(r.Context(), viewed)
				})
				b := a.Browser().Login()
				g := a.Store.At(step)
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

func TestStoreHangs(t *testing.T) {
	const writers = 10
	for name, apart := range map[string]time.Duration{"at once": 0, "a twentieth of the Timeout apart": timeout / 20} {
		for kind, saves := range map[string]int{"Updates": 0, "Updates and saves": writers / 2} {
			kit.EachBubble(t, fmt.Sprintf("F10 ten %s of one session, %s, whose store hangs after the load are unavailable within Timeout plus a tenth", kind, name), func(t *testing.T, c sessions.Codec) {
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
						if i < saves {
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
	}

	// Not in parallel: a tenth of the Timeout is little for a busy machine.
	t.Run("F10 ten Updates and saves of one session whose Redis hangs after the load are unavailable within Timeout plus a tenth", func(t *testing.T) {
		const timeout = 2 * time.Second
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		m := kit.New[kit.Session](t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		token, crowd := kit.MustRequest(t, m, "", kit.Put(m, "ann")), newCrowd()
		for i := range writers {
			crowd.join(func(wait func()) {
				res := kit.Serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					wait()
					if i%2 == 0 {
						m.FromContext(r.Context()).Views++
						return
					}
					kit.WantErr(t, "Update", m.Update(r.Context(), viewed), sessions.ErrUnavailable)
					w.WriteHeader(503)
				})), kit.With(token, "/"))
				if res.StatusCode != 503 {
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
		crowd.loaded.Wait()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.HasPrefix(strings.ToLower(cmd[0]), "eval") {
				return redistest.Hang
			}
			return redistest.Pass
		})
		start := time.Now()
		crowd.release()
		if took := time.Since(start); took > timeout*11/10 {
			t.Errorf("the last one answered after %v", took)
		}
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
	for _, row := range []struct {
		name         string
		fn, deadline time.Duration
		err          error // of the one that waits
		took         time.Duration
	}{
		{"gets its turn when that returns", 500 * time.Millisecond, 0, nil, 500 * time.Millisecond},
		{"gets its turn when that returns, be it later than the store's Timeout", 1500 * time.Millisecond, 0, nil, 1500 * time.Millisecond},
		{"gets ErrConflict after twice the Timeout", 5 * time.Second, 0, sessions.ErrConflict, 2 * timeout},
		{"gets ErrConflict at the deadline of its ctx", 5 * time.Second, 300 * time.Millisecond, sessions.ErrConflict, 300 * time.Millisecond},
	} {
		for what, write := range writers {
			if what == "a save" && row.deadline > 0 {
				continue // it has a deadline of its own
			}
			kit.EachBubble(t, "C9 C11 "+what+" behind an Update with a slow function "+row.name, func(t *testing.T, c sessions.Codec) {
				m, _, token := begin(t, c)
				ctx, _ := kit.Load(t, m, token)
				slow := slowly(t, m, token, row.fn)
				if row.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.deadline)
					defer cancel()
				}
				start := time.Now()
				kit.WantErr(t, what, write(m, ctx), row.err)
				if took := time.Since(start); took != row.took {
					t.Errorf("after %v, want %v", took, row.took)
				}
				<-slow
			})
		}
	}

	for _, took := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second} {
		kit.EachBubble(t, fmt.Sprintf("C9 an fn that takes %v is stored: it is no outage of a store whose Timeout is 1s", took), func(t *testing.T, c sessions.Codec) {
			m, events, token := begin(t, c)
			kit.WantErr(t, "Update", <-slowly(t, m, token, took), nil)
			events.Want(t, sessions.EventSaved)
			wantViews(t, m, token, 1)
		})
	}

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
