package sessions_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What was not loaded is not overwritten.
func TestFailedLoad(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig) {
		store := &stepStore{Store: sessions.NewRedisStore(r.rdb, sessions.RedisConfig{})}
		m := mustNew(t, store, sessions.Config{})
		token := mustRequest(t, m, "", put(m, "ann"))
		stored := r.records()
		failing := func(op, _ string) error {
			if op != "Load" {
				t.Errorf("%s after a failed load", op)
				return nil
			}
			return fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)
		}
		for name, hooks := range map[string][2]func(op, key string) error{
			"did not reach the store": {failing, nil},
			"was answered too late":   {nil, failing},
		} {
			t.Run("C13 after a load that "+name+" the handler does not run and nothing is written", func(t *testing.T) {
				store.before, store.after = hooks[0], hooks[1]
				defer func() { store.before, store.after = nil, nil }()
				h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					t.Error("the handler runs")
					m.FromContext(req.Context()).UserID = "eve"
				}))
				req, w := httptest.NewRequest("GET", "https://example.com/", nil), httptest.NewRecorder()
				req.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
				h.ServeHTTP(w, req)
				if w.Code != 503 || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("status %d, cookie %q", w.Code, w.Header().Get("Set-Cookie"))
				}
				ctx, err := m.Load(t.Context(), token)
				if !errors.Is(err, sessions.ErrUnavailable) || ctx != t.Context() {
					t.Errorf("Load: %v, and a context of its own: %v", err, ctx != t.Context())
				}
				for name, err := range map[string]error{
					"Save": m.Save(ctx), "Renew": m.Renew(ctx), "SignIn": m.SignIn(ctx), "Destroy": m.Destroy(ctx),
				} {
					if !errors.Is(err, sessions.ErrNoSession) {
						t.Errorf("%s: %v, want ErrNoSession", name, err)
					}
				}
				if got := r.records(); !maps.Equal(got, stored) {
					t.Errorf("stored %q, was %q", got, stored)
				}
			})
		}
	})
}

// The client of a store repeats a command whose reply got lost.
func TestLostReplies(t *testing.T) {
	start := func(t *testing.T, c sessions.Codec) (*rig, *redistest.Proxy, *redis.Client) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		return newRig(t, rdb, sessions.Config{Codec: c}), proxy, server.Client(t)
	}
	// once does a to the first command of that name, and tells how many came.
	once := func(proxy *redistest.Proxy, name string, a func(n int) redistest.Action) *atomic.Int32 {
		var n atomic.Int32
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], name) {
				return a(int(n.Add(1)))
			}
			return redistest.Pass
		})
		return &n
	}
	drop := func(first int) func(n int) redistest.Action {
		return func(n int) redistest.Action {
			if n <= first {
				return redistest.DropReply
			}
			return redistest.Pass
		}
	}

	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		for _, lost := range []int{1, 3} {
			t.Run(fmt.Sprintf("C10 a new session whose SET loses %d replies is one session and no error", lost), func(t *testing.T) {
				r, proxy, _ := start(t, c)
				sent := once(proxy, "set", drop(lost))
				b := r.browser()
				if a := b.get("/set?v=ann"); a.StatusCode != 200 || sent.Load() != int32(lost)+1 {
					t.Errorf("%d %q after %d commands", a.StatusCode, a.body, sent.Load())
				}
				if a := b.get("/get"); a.body != "ann" {
					t.Errorf("the session holds %q", a.body)
				}
				if left := keys(t, r.rdb); len(left) != 1 {
					t.Errorf("%d keys: %q", len(left), left)
				}
				if kinds := r.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventCreated}) {
					t.Errorf("events %v", kinds)
				}
			})

			t.Run(fmt.Sprintf("C10 a save that loses %d replies is one save and no conflict", lost), func(t *testing.T) {
				r, proxy, _ := start(t, c)
				b := r.visitor("ann")
				b.mustGet("/save?v=warm", "ok") // the script is loaded now
				r.events.kinds()
				sent := once(proxy, "evalsha", drop(lost))
				if a := b.get("/save?v=bob"); a.body != "ok" || sent.Load() != int32(lost)+1 {
					t.Errorf("%d %q after %d commands", a.StatusCode, a.body, sent.Load())
				}
				if a := b.get("/get"); a.body != "bob" {
					t.Errorf("the session holds %q", a.body)
				}
				if kinds := r.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved}) {
					t.Errorf("events %v", kinds)
				}
			})

			t.Run(fmt.Sprintf("C5 a renewal whose claim loses %d replies knows its own mark", lost), func(t *testing.T) {
				r, proxy, _ := start(t, c)
				b := r.visitor("ann")
				b.mustGet("/save?v=warm", "ok")
				old := b.token()
				sent := once(proxy, "evalsha", drop(lost))
				if a := b.get("/renew"); a.body != "ok" || sent.Load() != int32(lost)+1 || b.token() == old {
					t.Errorf("%d %q after %d commands, new token %v", a.StatusCode, a.body, sent.Load(), b.token() != old)
				}
				if a := b.get("/get"); a.body != "warm" {
					t.Errorf("the session holds %q", a.body)
				}
				if left := r.records(); len(left) != 1 {
					t.Errorf("%d records: %q", len(left), left)
				}
			})

			t.Run(fmt.Sprintf("C10 a sign-out that loses %d replies is a sign-out", lost), func(t *testing.T) {
				r, proxy, _ := start(t, c)
				b := r.visitor("ann")
				b.mustGet("/save?v=warm", "ok")
				once(proxy, "evalsha", drop(lost))
				if a := b.get("/destroy"); a.body != "ok" || b.token() != "" {
					t.Errorf("%d %q", a.StatusCode, a.body)
				}
				if left := keys(t, r.rdb); len(left) != 0 {
					t.Errorf("keys left: %q", left)
				}
			})
		}

		for _, processes := range []int{1, 7} {
			t.Run(fmt.Sprintf("C10 a save finds itself behind thirty writes of %d other processes", processes), func(t *testing.T) {
				r, proxy, direct := start(t, c)
				b := r.visitor("ann")
				b.mustGet("/save?v=warm", "ok")
				r.events.kinds()
				g := redistest.NewGate()
				once(proxy, "evalsha", lostThenParked(g))
				done := b.start("/save?v=mine")
				<-g.Reached()
				var others []*sessions.Manager[Session]
				for range processes {
					others = append(others, mustNew(t, redisStore(direct), sessions.Config{Codec: c}))
				}
				for i := range 30 {
					m := others[i%processes]
					mustRequest(t, m, b.token(), put(m, fmt.Sprint("other", i)))
				}
				g.Open()
				if a := <-done; a.body != "ok" {
					t.Errorf("Save = %s", a.body)
				}
				if kinds := r.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventSaved}) {
					t.Errorf("events %v, want the save alone: a conflict would be with itself", kinds)
				}
				if a := b.get("/get"); a.body != "other29" {
					t.Errorf("the session holds %q, and the last one wrote other29", a.body)
				}
			})
		}
	})
}

// lostThenParked loses the reply to the first command of its kind, and parks the
// repetition before the server gets it.
func lostThenParked(g *redistest.Gate) func(n int) redistest.Action {
	return func(n int) redistest.Action {
		switch n {
		case 1:
			return redistest.DropReply
		case 2:
			return redistest.Before(g)
		}
		return redistest.Pass
	}
}
