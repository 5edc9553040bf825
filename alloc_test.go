package sessions_test

import (
	"net/http"
	"net/http/httptest"
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

// shop is a Manager of Shop and the cookie of one that is filled.
func shop(t testing.TB, store sessions.Store, codec sessions.Codec, size int) (*sessions.Manager[Shop], string) {
	t.Helper()
	m := kit.New[Shop](t, store, sessions.Config{Codec: codec})
	ctx, s := kit.Load(t, m)
	s.fill(size)
	return m, kit.CookieName + "=" + kit.Commit(t, m, ctx).Token.Reveal()
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
				if got := newCost(m.Handler(noContent), "").allocs(t) - bare; got > 8 {
					t.Errorf("%v allocations above the bare handler, want at most 8", got)
				} else {
					t.Logf("%v above the bare handler", got)
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
	t.Run("msgpack read, MemoryStore", read(new(sessions.MemoryStore), sessions.MsgPack{}, 26))
	t.Run("json read, MemoryStore", read(new(sessions.MemoryStore), sessions.JSON{}, 32))
	t.Run("on Redis", func(t *testing.T) {
		addr := redistest.Start(t).Addr
		for _, client := range []struct {
			name                  string
			options               redis.Options
			msgpackMost, jsonMost float64
		}{
			{"a client that keeps deadlines", redis.Options{Addr: addr, ContextTimeoutEnabled: true}, 34, 40},
			// It is waited for in a goroutine, with a timer.
			{"a default client", redis.Options{Addr: addr}, 42, 48},
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
