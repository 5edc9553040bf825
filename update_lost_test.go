package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// The client of a store repeats a swap whose reply got lost, and finds its own
// write, or what others have made of it.
func TestUpdateWhoseReplyIsLost(t *testing.T) {
	type lossy struct {
		m     *sessions.Manager[Session] // behind the proxy
		proxy *redistest.Proxy
		swaps atomic.Int32
		other func() *sessions.Manager[Session] // another process, beside it
		token string
		log   *recorder
	}
	start := func(t *testing.T, c sessions.Codec, retries int) *lossy {
		server := redistest.Start(t)
		l := &lossy{proxy: redistest.NewProxy(t, server.Addr), log: &recorder{}}
		rdb := redis.NewClient(&redis.Options{Addr: l.proxy.Addr, MaxRetries: retries})
		t.Cleanup(func() { rdb.Close() })
		direct := server.Client(t)
		l.other = func() *sessions.Manager[Session] {
			return mustNew(t, redisStore(direct), sessions.Config{Codec: c})
		}
		l.m = mustNew(t, redisStore(rdb), sessions.Config{Codec: c, OnEvent: l.log.on})
		l.token = mustRequest(t, l.m, "", put(l.m, "ann"))
		mustRequest(t, l.m, l.token, put(l.m, "warm")) // the script is loaded now
		l.log.kinds()
		return l
	}
	swaps := func(l *lossy, a func(n int) redistest.Action) {
		l.proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "evalsha") {
				return a(int(l.swaps.Add(1)))
			}
			return redistest.Pass
		})
	}
	wantEvents := func(t *testing.T, l *lossy, want ...sessions.EventKind) {
		t.Helper()
		if got := l.log.kinds(); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	// change puts something plain into T, which Update stores as well.
	change := func(m *sessions.Manager[Session], ctx context.Context) *Session {
		s := m.FromContext(ctx)
		s.Flash = "mine"
		return s
	}

	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		for _, lost := range []int{1, 3} {
			t.Run(fmt.Sprintf("C10 an Update that loses %d replies counts once and is no conflict", lost), func(t *testing.T) {
				l := start(t, c, 0)
				swaps(l, func(n int) redistest.Action {
					if n <= lost {
						return redistest.DropReply
					}
					return redistest.Pass
				})
				calls := 0
				mustRequest(t, l.m, l.token, func(ctx context.Context) error {
					s := change(l.m, ctx)
					err := l.m.Update(ctx, func(s *Session) error { calls++; return viewed(s) })
					if s.Views != 1 || s.Flash != "mine" {
						t.Errorf("*T is %+v", *s)
					}
					return err
				})
				if calls != 1 || l.swaps.Load() != int32(lost)+1 {
					t.Errorf("%d calls of fn, %d commands", calls, l.swaps.Load())
				}
				wantEvents(t, l, sessions.EventSaved)
				wantViews(t, l.other(), l.token, 1)
			})
		}

		t.Run("C10 an Update whose client does not repeat is ErrUnavailable, says what it does not know, and puts *T back", func(t *testing.T) {
			l := start(t, c, -1)
			swaps(l, func(int) redistest.Action { return redistest.DropReply })
			ctx, err := l.m.Load(t.Context(), l.token)
			must(t, err)
			s := change(l.m, ctx)
			err = l.m.Update(ctx, viewed)
			if !errors.Is(err, sessions.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "may or may not be stored") {
				t.Errorf("Update = %v", err)
			}
			if s.Views != 0 || s.Flash != "mine" {
				t.Errorf("*T is %+v", *s)
			}
			if l.swaps.Load() != 1 {
				t.Errorf("%d commands", l.swaps.Load())
			}
			wantViews(t, l.other(), l.token, 1) // it was, and nobody could know
		})

		for _, processes := range []int{1, 7} {
			t.Run(fmt.Sprintf("C10 an Update finds itself behind forty Updates of %d other processes", processes), func(t *testing.T) {
				l := start(t, c, 0)
				g := redistest.NewGate()
				swaps(l, lostThenParked(g))
				done := make(chan error)
				go func() {
					_, err := request(t.Context(), l.m, l.token, func(ctx context.Context) error { return l.m.Update(ctx, viewed) })
					done <- err
				}()
				<-g.Reached()
				var others []*sessions.Manager[Session]
				for range processes {
					others = append(others, l.other())
				}
				for i := range 40 {
					m := others[i%processes]
					mustRequest(t, m, l.token, func(ctx context.Context) error { return m.Update(ctx, viewed) })
				}
				g.Open()
				if err := <-done; err != nil || l.swaps.Load() != 2 {
					t.Errorf("Update = %v after %d commands, want its own write found by the second", err, l.swaps.Load())
				}
				wantEvents(t, l, sessions.EventSaved)
				wantViews(t, l.other(), l.token, 41)
			})
		}

		t.Run("C10 an Update whose session another process renews before the repetition is done, and in the renewed session", func(t *testing.T) {
			l := start(t, c, 0)
			g := redistest.NewGate()
			swaps(l, lostThenParked(g))
			done := make(chan error)
			go func() {
				_, err := request(t.Context(), l.m, l.token, func(ctx context.Context) error {
					change(l.m, ctx)
					return l.m.Update(ctx, viewed)
				})
				done <- err
			}()
			<-g.Reached()
			other := l.other()
			renewed := mustRequest(t, other, l.token, other.Renew)
			g.Open()
			if err := <-done; err != nil {
				t.Errorf("Update = %v", err)
			}
			wantEvents(t, l, sessions.EventSaved)
			wantViews(t, other, renewed, 1)
			mustRequest(t, other, renewed, func(ctx context.Context) error {
				if s := other.FromContext(ctx); s.Flash != "mine" {
					t.Errorf("the renewed session is %+v", *s)
				}
				return nil
			})
			if alive(t, other, l.token) {
				t.Error("the old token lives")
			}
		})
	})
}

// retried is a store whose client loses the reply to the first swap, and
// repeats it when the gate is opened.
type retried struct {
	sessions.MemoryStore
	gate *gate // nil: there is no loss
}

func (s *retried) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if g := s.gate; g != nil {
		s.gate = nil
		g.pass()
		return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	}
	return current, err
}

// A process has one write of a session on its way at a time: while it does not
// know what has become of the first, the second waits.
func TestUpdatesBehindALostReply(t *testing.T) {
	verbs := map[string]func(m *sessions.Manager[Session], ctx context.Context, field func(s *Session)) error{
		"Save": func(m *sessions.Manager[Session], ctx context.Context, field func(s *Session)) error {
			field(m.FromContext(ctx))
			return m.Save(ctx)
		},
		"Update": func(m *sessions.Manager[Session], ctx context.Context, field func(s *Session)) error {
			return m.Update(ctx, func(s *Session) error { field(s); return viewed(s) })
		},
	}
	for first, one := range verbs {
		for second, two := range verbs {
			t.Run("C10 "+second+" behind "+first+" whose reply was lost, both of one process: each is stored once, and neither is a conflict", func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						store, log := &retried{}, &recorder{}
						m := mustNew(t, store, sessions.Config{Codec: c, OnEvent: log.on})
						token := mustRequest(t, m, "", put(m, "ann"))
						var ctxs []context.Context // both have loaded before either writes
						for range 2 {
							ctx, err := m.Load(t.Context(), token)
							must(t, err)
							ctxs = append(ctxs, ctx)
						}
						log.kinds()
						g := newGate()
						store.gate = g
						done := make(chan error, 2)
						go func() { done <- one(m, ctxs[0], func(s *Session) { s.UserID = "one" }) }()
						g.wait()
						go func() { done <- two(m, ctxs[1], func(s *Session) { s.Flash = "two" }) }()
						synctest.Wait() // the second waits for its turn
						g.open()
						for range 2 {
							if err := <-done; err != nil {
								t.Error(err)
							}
						}
						kinds := slices.DeleteFunc(log.kinds(), func(k sessions.EventKind) bool { return k == sessions.EventMerged })
						if !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved, sessions.EventSaved}) {
							t.Errorf("events %v, want two saves", kinds)
						}
						want := 0
						for _, verb := range []string{first, second} {
							if verb == "Update" {
								want++
							}
						}
						mustRequest(t, m, token, func(ctx context.Context) error {
							if s := m.FromContext(ctx); s.Views != want || s.UserID != "one" || s.Flash != "two" {
								t.Errorf("stored is %+v, want %d views and both changes", *s, want)
							}
							return nil
						})
					})
				})
			})
		}
	}

	// What others do between a swap and its repetition.
	meanwhile := map[string]struct {
		acts func(t *testing.T, other *sessions.Manager[Session], token string) string
		err  error
	}{
		"renews it": {func(t *testing.T, other *sessions.Manager[Session], token string) string {
			return mustRequest(t, other, token, other.Renew)
		}, nil},
		"renews it twice": {func(t *testing.T, other *sessions.Manager[Session], token string) string {
			return mustRequest(t, other, mustRequest(t, other, token, other.Renew), other.Renew)
		}, nil},
		"signs in, with an Update before and one behind": {func(t *testing.T, other *sessions.Manager[Session], token string) string {
			none := func(ctx context.Context) error { return other.Update(ctx, func(*Session) error { return nil }) }
			mustRequest(t, other, token, none)
			token = mustRequest(t, other, token, func(ctx context.Context) error { return other.SignIn(ctx) })
			return mustRequest(t, other, token, none)
		}, nil},
		"destroys it": {func(t *testing.T, other *sessions.Manager[Session], token string) string {
			return mustRequest(t, other, token, other.Destroy)
		}, sessions.ErrGone},
	}
	for name, row := range meanwhile {
		t.Run("C10 an Update is applied, another process "+name+", and the swap is repeated", func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				synctest.Test(t, func(t *testing.T) {
					store := &retried{}
					m := mustNew(t, store, sessions.Config{Codec: c})
					other := mustNew(t, &store.MemoryStore, sessions.Config{Codec: c})
					token := mustRequest(t, m, "", put(m, "ann"))
					ctx, err := m.Load(t.Context(), token)
					must(t, err)
					g := newGate()
					store.gate = g
					done := make(chan error)
					go func() { done <- m.Update(ctx, viewed) }()
					g.wait()
					renewed := row.acts(t, other, token)
					g.open()
					want := 1
					if row.err != nil {
						want = 0
					}
					if err := <-done; !errors.Is(err, row.err) {
						t.Errorf("Update = %v, want %v", err, row.err)
					}
					wantViews(t, other, renewed, want)
					if got := m.FromContext(ctx).Views; got != want {
						t.Errorf("*T has %d views, want %d", got, want)
					}
					if err := m.Update(ctx, viewed); !errors.Is(err, sessions.ErrGone) {
						t.Errorf("the next Update under the old token = %v, want ErrGone", err)
					}
					wantViews(t, other, renewed, want)
				})
			})
		})
	}
}
