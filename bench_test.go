package sessions_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// Shop is the T of a typical application: a person, a few roles, a cart.
type Shop struct {
	UserID string     `json:"user_id"`
	Email  string     `json:"email"`
	Roles  []string   `json:"roles"`
	Views  int        `json:"views"`
	Seen   time.Time  `json:"seen"`
	Cart   []kit.Item `json:"cart"`
}

// OwnedShop is a Shop that knows whose it is.
type OwnedShop struct{ Shop }

// SessionOwner implements [sessions.Owned].
func (s *OwnedShop) SessionOwner() string { return s.UserID }

// fill makes s a session of about size bytes, as JSON; at least 300.
func (s *Shop) fill(size int) {
	*s = Shop{
		UserID: "user-4711", Email: "someone@example.com", Roles: []string{"customer", "reviewer"}, Views: 1,
		Seen: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Cart: []kit.Item{{SKU: "SKU-0001", Qty: 1}, {SKU: "SKU-0002", Qty: 2}, {SKU: "SKU-0003", Qty: 3}},
	}
	if size > 300 {
		s.Email = strings.Repeat("x", size-300) + s.Email
	}
}

// A sink is a ResponseWriter that costs nothing.
type sink struct {
	h      http.Header
	status int
}

func (w *sink) Header() http.Header         { return w.h }
func (w *sink) Write(p []byte) (int, error) { return len(p), nil }
func (w *sink) WriteHeader(status int)      { w.status = status }

// cost is a handler, the request it gets, and how many allocations one takes.
type cost struct {
	h http.Handler
	r *http.Request
	w sink
}

func newCost(h http.Handler, cookie string) *cost {
	c := &cost{h: h, r: httptest.NewRequest("GET", "https://example.com/", nil), w: sink{h: http.Header{}}}
	if cookie != "" {
		c.r.Header.Set("Cookie", cookie)
	}
	return c
}

func (c *cost) serve() {
	clear(c.w.h)
	c.w.status = 0
	c.h.ServeHTTP(&c.w, c.r)
}

func (c *cost) allocs(t *testing.T) float64 {
	t.Helper()
	n := testing.AllocsPerRun(200, c.serve)
	if c.w.status != http.StatusNoContent {
		t.Fatalf("status %d", c.w.status)
	}
	return n
}

// bytes is how much a request allocates.
func (c *cost) bytes() uint64 {
	const n = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		c.serve()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / n
}

// shop is a Manager of Shop and the cookie of one that is filled.
func shop(t testing.TB, store sessions.Store, codec sessions.Codec, size int) (*sessions.Manager[Shop], string) {
	t.Helper()
	m := kit.New[Shop](t, store, sessions.Config{Codec: codec})
	ctx, s := kit.Load(t, m)
	s.fill(size)
	return m, kit.CookieName + "=" + kit.Commit(t, m, ctx).Token.Reveal()
}

// relists counts the steps that list a session again.
type relists struct {
	sessions.MemoryStore
	n int
}

func (s *relists) Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	s.n++
	return s.MemoryStore.Relist(ctx, index, key, prefix, member, created, ttl)
}

var noContent = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// reads a session that is there.
func reads(t testing.TB) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := sessions.FromContext[Shop](r.Context()); s.UserID != "user-4711" || len(s.Cart) != 3 {
			t.Errorf("read %+v", s)
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func TestAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates too")
	}
	bare := newCost(noContent, "").allocs(t)

	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		t.Run(codec.Name(), func(t *testing.T) {
			m, cookie := shop(t, new(sessions.MemoryStore), codec, 300)
			t.Run("no cookie, unused", func(t *testing.T) {
				if got := newCost(m.Handler(noContent), "").allocs(t) - bare; got > 2 {
					t.Errorf("%v allocations above the bare handler, want at most 2", got)
				} else {
					t.Logf("%v above the bare handler", got)
				}
				// An exchange and a copy of the request. Eight bytes more of the exchange, and the allocator takes 256 more for it.
				if got := newCost(m.Handler(noContent), "").bytes(); got > 1900 {
					t.Errorf("%v bytes, want 1,856", got)
				}
			})
			t.Run("FromContext", func(t *testing.T) {
				ctx, _ := kit.Load(t, m, strings.TrimPrefix(cookie, kit.CookieName+"="))
				if got := testing.AllocsPerRun(100, func() { _ = sessions.FromContext[Shop](ctx) }); got != 0 {
					t.Errorf("%v allocations, want none", got)
				}
				if got := testing.AllocsPerRun(100, func() { _, _ = sessions.Lookup[Shop](ctx) }); got != 0 {
					t.Errorf("Lookup: %v allocations, want none", got)
				}
			})
		})
	}

	// A read: loaded, looked at, nothing changed.
	read := func(store sessions.Store, codec sessions.Codec, budget float64) func(t *testing.T) {
		return func(t *testing.T) {
			m, cookie := shop(t, store, codec, 300)
			got := newCost(m.Handler(reads(t)), cookie).allocs(t) - bare
			if got > budget {
				t.Errorf("%v allocations above the bare handler, want at most %v", got, budget)
			}
			t.Logf("%v above the bare handler", got)
		}
	}
	t.Run("O12 a read of a session that is listed allocates no more than of one that is not", func(t *testing.T) {
		store := &relists{}
		cost := func(store sessions.Store) float64 {
			m := kit.New[OwnedShop](t, store, sessions.Config{})
			token := kit.Edit(t, m, "", func(s *OwnedShop) { s.fill(300) })
			m = kit.New[OwnedShop](t, store, sessions.Config{}) // another process
			return newCost(m.Handler(noContent), kit.CookieName+"="+token).allocs(t)
		}
		want := cost(struct{ sessions.Store }{store})
		if got := cost(store); got > want || store.n != 1 {
			t.Errorf("%v allocations, want at most %v; it is listed %d times, want once", got, want, store.n)
		}
	})
	t.Run("msgpack read, MemoryStore", read(new(sessions.MemoryStore), sessions.MsgPack{}, 18))
	t.Run("json read, MemoryStore", read(new(sessions.MemoryStore), sessions.JSON{}, 24))
	t.Run("on Redis", func(t *testing.T) {
		addr := redistest.Start(t).Addr
		for _, client := range []struct {
			name                  string
			options               redis.Options
			msgpackMost, jsonMost float64
		}{
			{"a client that keeps deadlines", redis.Options{Addr: addr, ContextTimeoutEnabled: true}, 27, 33},
			// It is waited for in a goroutine, with a timer.
			{"a default client", redis.Options{Addr: addr}, 35, 41},
		} {
			t.Run(client.name, func(t *testing.T) {
				rdb := redis.NewClient(&client.options)
				t.Cleanup(func() { rdb.Close() })
				t.Run("msgpack read", read(kit.RedisStore(rdb), sessions.MsgPack{}, client.msgpackMost))
				t.Run("json read", read(kit.RedisStore(rdb), sessions.JSON{}, client.jsonMost))
			})
		}
	})
}

// Each benchmark of a request runs beside a bare handler that sends plain
// commands for the same to the same server and does nothing else; x-raw is how
// many times longer the request with a session takes. x-hand is that for a
// handler that also decodes a Shop, changes it and encodes it, as everybody has to who keeps
// one in Redis by hand. The handlers take turns of some requests each, and the
// ratio is that of the median turns: what slows the machine for a while slows them all.
const turn = 40

// A raw handler is what a request would cost without the library.
func raw(b *testing.B, do func(ctx context.Context) error) *baseline { return beside(b, "x-raw", do) }

func beside(b *testing.B, name string, do func(ctx context.Context) error) *baseline {
	return &baseline{name, newCost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(r.Context()); err != nil {
			b.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	}), "")}
}

// A baseline is a handler to compare with, and the name of the ratio.
type baseline struct {
	name string
	*cost
}

func (c *cost) run(b *testing.B, baselines ...*baseline) {
	b.Helper()
	all := append([]*baseline{{"", c}}, baselines...)
	turns := make([][]time.Duration, len(all))
	round := func() {
		for i, one := range all {
			start := time.Now()
			for range turn {
				one.serve()
			}
			turns[i] = append(turns[i], time.Since(start))
		}
	}
	for range 5 { // connections, pools, caches
		round()
	}
	clear(turns)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%turn == 0 {
			b.StopTimer()
			round()
			b.StartTimer()
		}
		c.serve()
	}
	if c.w.status != http.StatusNoContent {
		b.Fatalf("status %d", c.w.status)
	}
	median := func(t []time.Duration) float64 {
		slices.Sort(t)
		return float64(t[len(t)/2])
	}
	own := median(turns[0])
	for i, one := range baselines {
		b.ReportMetric(own/median(turns[i+1]), one.name)
	}
}

func BenchmarkRequest(b *testing.B) {
	const ttl = time.Hour
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(b).Addr, ContextTimeoutEnabled: true})
	b.Cleanup(func() { rdb.Close() })
	store := kit.RedisStore(rdb)

	// These ask nothing of the server, whatever codec and size.
	m, cookie := shop(b, store, sessions.JSON{}, 300)
	for name, h := range map[string]http.Handler{
		"bare":              noContent,
		"unused, no cookie": m.Handler(noContent),
		"used, no cookie": m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = sessions.FromContext[Shop](r.Context()).Views
			w.WriteHeader(http.StatusNoContent)
		})),
	} {
		b.Run(name, func(b *testing.B) {
			c := newCost(h, "")
			b.ReportAllocs()
			for b.Loop() {
				c.serve()
			}
		})
	}
	b.Run("FromContext", func(b *testing.B) {
		ctx, _ := kit.Load(b, m, strings.TrimPrefix(cookie, kit.CookieName+"="))
		b.ReportAllocs()
		for b.Loop() {
			_ = sessions.FromContext[Shop](ctx)
		}
	})

	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		for _, size := range []int{300, 8 << 10} {
			run := func(op string, f func(b *testing.B, value []byte)) {
				b.Run(fmt.Sprintf("%s/%s/%d", op, codec.Name(), size), func(b *testing.B) {
					value := make([]byte, size)
					if err := rdb.Set(b.Context(), "raw", value, ttl).Err(); err != nil {
						b.Fatal(err)
					}
					var s Shop
					s.fill(size)
					data, err := codec.Marshal(&s)
					kit.Must(b, err)
					if err := rdb.Set(b.Context(), "hand", data, ttl).Err(); err != nil {
						b.Fatal(err)
					}
					f(b, value)
				})
			}
			getex := func(ctx context.Context) error { return rdb.GetEx(ctx, "raw", ttl).Err() }

			run("read", func(b *testing.B, _ []byte) {
				m, cookie := shop(b, store, codec, size)
				newCost(m.Handler(reads(b)), cookie).run(b, raw(b, getex))
			})
			changed := func(b *testing.B, value []byte, m *sessions.Manager[Shop], cookie string) {
				newCost(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					sessions.FromContext[Shop](r.Context()).Views++
					w.WriteHeader(http.StatusNoContent)
				})), cookie).run(b, raw(b, func(ctx context.Context) error {
					if err := getex(ctx); err != nil {
						return err
					}
					return rdb.Set(ctx, "raw", value, ttl).Err()
				}), beside(b, "x-hand", func(ctx context.Context) error {
					data, err := rdb.GetEx(ctx, "hand", ttl).Bytes()
					if err != nil {
						return err
					}
					var s Shop
					if err := codec.Unmarshal(data, &s); err != nil {
						return err
					}
					s.Views++
					if data, err = codec.Marshal(&s); err != nil {
						return err
					}
					return rdb.Set(ctx, "hand", data, ttl).Err()
				}))
			}
			run("changed", func(b *testing.B, value []byte) {
				m, cookie := shop(b, store, codec, size)
				changed(b, value, m, cookie)
			})
			run("changed-of-another-process", func(b *testing.B, value []byte) {
				_, cookie := shop(b, store, codec, size)
				m, _ := shop(b, store, codec, size)
				changed(b, value, m, cookie)
			})
			run("new", func(b *testing.B, value []byte) {
				m, _ := shop(b, store, codec, size)
				newCost(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					sessions.FromContext[Shop](r.Context()).fill(size)
					w.WriteHeader(http.StatusNoContent)
				})), "").run(b, raw(b, func(ctx context.Context) error {
					return rdb.SetNX(ctx, rand.Text(), value, ttl).Err()
				}))
			})
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	var v Shop
	v.fill(300)
	for _, c := range fieldCodecs {
		data, err := c.Marshal(&v)
		kit.Must(b, err)
		b.Run(c.Name()+"/marshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(&v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "bytes")
		})
		b.Run(c.Name()+"/unmarshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Unmarshal(data, new(Shop)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.Name()+"/split", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Split(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The raw command beside what the store makes of it.
func BenchmarkRedisStoreLoad(b *testing.B) {
	server := redistest.Start(b)
	ctx := context.Background()
	near, cancel := context.WithTimeout(ctx, 59*time.Minute)
	defer cancel()
	clients := redisTwoWays(b, server.Addr)
	if err := clients[0].Set(ctx, "session:k", make([]byte, 300), time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		load func() error
	}{
		{"raw GETEX", func() error { return clients[0].GetEx(ctx, "session:k", time.Hour).Err() }},
		{"default client", redisLoader(clients[0], ctx)},
		{"default client, caller's deadline", redisLoader(clients[0], near)},
		{"ContextTimeoutEnabled", redisLoader(clients[1], ctx)},
		{"ContextTimeoutEnabled, caller's deadline", redisLoader(clients[1], near)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.load(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func redisLoader(rdb redis.UniversalClient, ctx context.Context) func() error {
	s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: time.Hour})
	return func() error { _, _, err := s.Load(ctx, "k", time.Hour); return err }
}
