package sessions_test

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
	"github.com/typedsessions/sessions/internal/redistest"
)

// updateBubble runs a test with both codecs in fake time.
func updateBubble(t *testing.T, name string, f func(t *testing.T, c sessions.Codec)) {
	t.Run(name, func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			synctest.Test(t, func(t *testing.T) { f(t, c) })
		})
	})
}

func TestUpdateOutOfTime(t *testing.T) {
	rows := []struct {
		name        string
		deadline    time.Duration // of ctx, if it has one
		least, most time.Duration
	}{
		{"after twice the Timeout", 0, 1600 * time.Millisecond, 2300 * time.Millisecond},
		{"at the deadline of ctx", 700 * time.Millisecond, 300 * time.Millisecond, 1000 * time.Millisecond},
		{"after twice the Timeout where ctx has a later deadline", time.Minute, 1600 * time.Millisecond, 2300 * time.Millisecond},
		{"at once where the deadline of ctx has passed", -time.Second, 0, 300 * time.Millisecond},
	}
	for _, row := range rows {
		updateBubble(t, "C11 an Update that others keep overtaking ends in ErrConflict "+row.name+", with their data stored and *T as it was", func(t *testing.T, c sessions.Codec) {
			store := &contended{delay: 300 * time.Millisecond}
			m, other := mustNew(t, store, sessions.Config{Codec: c}), mustNew(t, store, sessions.Config{Codec: c})
			token := mustRequest(t, m, "", func(ctx context.Context) error { *m.FromContext(ctx) = full(); return nil })
			n := 0
			store.write = func(ctx context.Context) {
				n++
				if _, err := request(ctx, other, token, put(other, fmt.Sprint("other", n))); err != nil {
					t.Error(err)
				}
			}
			ctx, err := m.Load(t.Context(), token)
			must(t, err)
			s := m.FromContext(ctx)
			s.Flash = "mine"
			tags := s.Tags
			if row.deadline != 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, time.Now().Add(row.deadline))
				defer cancel()
			}
			start := time.Now()
			err = m.Update(ctx, func(s *Session) error { s.Tags["lost"] = "x"; return viewed(s) })
			if !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
				t.Errorf("Update = %v, want ErrConflict", err)
			}
			if took := time.Since(start); took < row.least || took > row.most {
				t.Errorf("it took %v, want %v to %v", took, row.least, row.most)
			}
			tags["same"] = "x"
			if s.Views != full().Views || s.UserID != "u1" || s.Flash != "mine" || s.Tags["lost"] != "" || s.Tags["same"] != "x" {
				t.Errorf("*T is %+v", *s)
			}
			store.write = nil
			mustRequest(t, other, token, func(ctx context.Context) error {
				if got := other.FromContext(ctx); got.UserID != fmt.Sprint("other", n) || got.Views != full().Views || got.Flash != full().Flash {
					t.Errorf("stored is %+v after %d writes of others", *got, n)
				}
				return nil
			})
		})
	}

	updateBubble(t, "F3 a ctx that is cancelled, before or in fn, does not stop an Update", func(t *testing.T, c sessions.Codec) {
		m := mustNew(t, &sessions.MemoryStore{}, sessions.Config{Codec: c})
		for want := 1; want <= 3; want++ {
			ctx, cancel := context.WithCancel(t.Context())
			token := mustRequest(t, m, "", put(m, "ann"))
			live, err := m.Load(ctx, token)
			must(t, err)
			if want == 1 {
				cancel()
			}
			must(t, m.Update(live, func(s *Session) error {
				cancel()
				return viewed(s)
			}))
			wantViews(t, m, token, 1)
		}
	})
}

// The client hangs up while its request stands in an Update.
func TestUpdateWhoseClientHangsUp(t *testing.T) {
	for _, step := range []string{"before CompareAndSwap", "after CompareAndSwap"} {
		t.Run("F3 an Update completes though its client has hung up "+step, func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				r := newRig(t, miniClient(t), sessions.Config{Codec: c})
				hung, done := make(chan (<-chan struct{}), 1), make(chan error, 1)
				r.mux.HandleFunc("/update", func(_ http.ResponseWriter, req *http.Request) {
					hung <- req.Context().Done()
					done <- r.m.Update(req.Context(), viewed)
				})
				b := r.visitor("ann")
				g := r.steps.at(step)
				ctx, hangUp := context.WithCancel(t.Context())
				answered := make(chan struct{})
				go func() {
					defer close(answered)
					if res, err := b.c.Do(b.request("/update").WithContext(ctx)); err == nil {
						res.Body.Close()
					}
				}()
				g.wait()
				hangUp()
				<-<-hung
				g.open()
				if err := <-done; err != nil {
					t.Errorf("Update = %v", err)
				}
				<-answered
				wantViews(t, r.m, b.token(), 1)
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

func TestUpdateOfAStoreThatHangs(t *testing.T) {
	const writers, timeout = 10, time.Second
	for name, apart := range map[string]time.Duration{"at once": 0, "a twentieth of the Timeout apart": timeout / 20} {
		for kind, saves := range map[string]int{"Updates": 0, "Updates and saves": writers / 2} {
			updateBubble(t, fmt.Sprintf("F10 ten %s of one session, %s, whose store hangs after the load are unavailable within Timeout plus a tenth", kind, name), func(t *testing.T, c sessions.Codec) {
				store := &hanging{}
				m := mustNew(t, store, sessions.Config{Codec: c})
				token := mustRequest(t, m, "", put(m, "ann"))
				var ctxs []context.Context
				for range writers {
					ctx, err := m.Load(t.Context(), token)
					must(t, err)
					ctxs = append(ctxs, ctx)
				}
				store.hangs = true
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
						if !errors.Is(err, sessions.ErrUnavailable) {
							t.Errorf("writer %d: %v", i, err)
						}
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
				mustRequest(t, m, token, func(ctx context.Context) error { return m.Update(ctx, viewed) })
				wantViews(t, m, token, 1)
			})
		}
	}

	t.Run("F10 ten Updates and saves of one session whose Redis hangs after the load are unavailable within Timeout plus a tenth", func(t *testing.T) {
		const timeout = 2 * time.Second
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		m := mustNew(t, sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: timeout}), sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		var loaded, all sync.WaitGroup
		release := make(chan struct{})
		loaded.Add(writers)
		for i := range writers {
			h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				loaded.Done()
				<-release
				if i%2 == 0 {
					m.FromContext(r.Context()).Views++
				} else if err := m.Update(r.Context(), viewed); !errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("Update = %v", err)
				} else {
					w.WriteHeader(503)
				}
			}))
			all.Go(func() {
				if res := serve(h, with(token, "/")); res.StatusCode != 503 {
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
		loaded.Wait()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.HasPrefix(strings.ToLower(cmd[0]), "eval") {
				return redistest.Hang
			}
			return redistest.Pass
		})
		start := time.Now()
		close(release)
		all.Wait()
		if took := time.Since(start); took > timeout*11/10 {
			t.Errorf("the last one answered after %v", took)
		}
	})
}

// Writers of one process wait for each other, and so for the functions of
// their Updates.
func TestUpdateBehindASlowFunction(t *testing.T) {
	// slowly starts an Update whose function takes its time, and comes back
	// when it is in it.
	slowly := func(t *testing.T, m *sessions.Manager[Session], token string, took time.Duration) <-chan error {
		ctx, err := m.Load(t.Context(), token)
		must(t, err)
		done := make(chan error, 1)
		go func() {
			done <- m.Update(ctx, func(s *Session) error { time.Sleep(took); return viewed(s) })
		}()
		synctest.Wait()
		return done
	}
	writers := map[string]func(m *sessions.Manager[Session], ctx context.Context) error{
		"an Update": func(m *sessions.Manager[Session], ctx context.Context) error { return m.Update(ctx, viewed) },
		"a save": func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Flash = "mine"
			return m.Save(ctx)
		},
	}
	rows := []struct {
		name         string
		fn, deadline time.Duration
		err          error // of the one that waits
		took         time.Duration
	}{
		{"gets its turn when that returns", 500 * time.Millisecond, 0, nil, 500 * time.Millisecond},
		{"gets its turn when that returns, be it later than the store's Timeout", 1500 * time.Millisecond, 0, nil, 1500 * time.Millisecond},
		{"gets ErrConflict after twice the Timeout", 5 * time.Second, 0, sessions.ErrConflict, 2 * time.Second},
		{"gets ErrConflict at the deadline of its ctx", 5 * time.Second, 300 * time.Millisecond, sessions.ErrConflict, 300 * time.Millisecond},
	}
	for _, row := range rows {
		for what, write := range writers {
			if what == "a save" && row.deadline > 0 {
				continue // it has a deadline of its own
			}
			updateBubble(t, "C9 C11 "+what+" behind an Update with a slow function "+row.name, func(t *testing.T, c sessions.Codec) {
				m := mustNew(t, &sessions.MemoryStore{}, sessions.Config{Codec: c})
				token := mustRequest(t, m, "", put(m, "ann"))
				ctx, err := m.Load(t.Context(), token)
				must(t, err)
				slow := slowly(t, m, token, row.fn)
				if row.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.deadline)
					defer cancel()
				}
				start := time.Now()
				if err := write(m, ctx); !errors.Is(err, row.err) {
					t.Errorf("it gets %v, want %v", err, row.err)
				}
				if took := time.Since(start); took != row.took {
					t.Errorf("after %v, want %v", took, row.took)
				}
				<-slow
			})
		}
	}

	for _, took := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second} {
		updateBubble(t, fmt.Sprintf("C9 an fn that takes %v is stored: it is no outage of a store whose Timeout is 1s", took), func(t *testing.T, c sessions.Codec) {
			log := &recorder{}
			m := mustNew(t, &sessions.MemoryStore{}, sessions.Config{Codec: c, OnEvent: log.on})
			token := mustRequest(t, m, "", put(m, "ann"))
			log.kinds()
			if err := <-slowly(t, m, token, took); err != nil {
				t.Errorf("Update = %v", err)
			}
			if kinds := log.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved}) {
				t.Errorf("events %v", kinds)
			}
			wantViews(t, m, token, 1)
		})
	}

	updateBubble(t, "C9 writers of one process go in the order in which they came", func(t *testing.T, c sessions.Codec) {
		m := mustNew(t, &sessions.MemoryStore{}, sessions.Config{Codec: c})
		token := mustRequest(t, m, "", put(m, "ann"))
		slow := slowly(t, m, token, 500*time.Millisecond)
		var all sync.WaitGroup
		for i := range 20 {
			ctx, err := m.Load(t.Context(), token)
			must(t, err)
			all.Go(func() {
				if err := m.Update(ctx, func(s *Session) error {
					s.Cart = append(s.Cart, Item{Qty: i})
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		must(t, <-slow)
		mustRequest(t, m, token, func(ctx context.Context) error {
			cart := m.FromContext(ctx).Cart
			if len(cart) != 20 || !slices.IsSortedFunc(cart, func(a, b Item) int { return a.Qty - b.Qty }) {
				t.Errorf("the order is %v", cart)
			}
			return nil
		})
	})
}
