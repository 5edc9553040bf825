package races_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What was not loaded is not overwritten.
func TestFailedLoad(t *testing.T) {
	t.Parallel()
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		store := &kit.Store{Store: kit.RedisStore(p.Redis)}
		m := kit.New[kit.Session](t, store, sessions.Config{})
		token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		stored := p.Records()
		for name, step := range map[string]string{
			"did not reach the store": "before Load",
			"was answered too late":   "after Load",
		} {
			t.Run("C13 after a load that "+name+" the handler does not run and nothing is written", func(t *testing.T) {
				store.Calls()
				store.Fail(fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable), step)
				defer store.Heal()
				res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					t.Error("the handler runs")
					m.FromContext(r.Context()).UserID = "eve"
				})), kit.With(token, "/"))
				if res.StatusCode != 503 || res.Header.Get("Set-Cookie") != "" {
					t.Errorf("status %d, cookie %q", res.StatusCode, res.Header.Get("Set-Cookie"))
				}
				ctx, err := m.Load(t.Context(), token)
				if !errors.Is(err, sessions.ErrUnavailable) || ctx != t.Context() {
					t.Errorf("Load: %v, and a context of its own: %v", err, ctx != t.Context())
				}
				for _, verb := range []string{"Save", "Renew", "SignIn", "Destroy"} {
					kit.WantErr(t, verb, kit.Call(m, ctx, verb), sessions.ErrNoSession)
				}
				store.WantCalls(t, "two loads", "Load Load")
				if got := p.Records(); !maps.Equal(got, stored) {
					t.Errorf("stored %q, was %q", got, stored)
				}
			})
		}
	})
}

// proxied are processes on a real server behind a proxy.
type proxied struct {
	*kit.Processes
	proxy  *redistest.Proxy
	direct *redis.Client // of the server itself
}

func newProxied(t *testing.T, server *redistest.Server, c sessions.Codec) *proxied {
	proxy := redistest.NewProxy(t, server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { rdb.Close() })
	return &proxied{kit.NewProcesses(t, rdb, sessions.Config{Codec: c}), proxy, server.Client(t)}
}

// on lets act decide on each command of that name, and counts them.
func (p *proxied) on(name string, act func(n int) redistest.Action) *atomic.Int32 {
	var n atomic.Int32
	p.proxy.On(func(cmd []string) redistest.Action {
		if strings.EqualFold(cmd[0], name) {
			return act(int(n.Add(1)))
		}
		return redistest.Pass
	})
	return &n
}

// The client of a store repeats a command whose reply got lost.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Parallel()
		server := redistest.Start(t)
		// row is a test with a session of ann and the script loaded.
		row := func(name string, f func(t *testing.T, p *proxied, b *kit.Browser)) {
			t.Run(name, func(t *testing.T) {
				p := newProxied(t, server, c)
				b := p.Visitor("ann")
				b.MustGet("/save?v=warm", "ok")
				p.Events.Take()
				f(t, p, b)
			})
		}

		const lost = 3 // go-redis sends a command four times at the most
		drop := func(n int) redistest.Action {
			if n <= lost {
				return redistest.DropReply
			}
			return redistest.Pass
		}
		wantSent := func(t *testing.T, sent *atomic.Int32, more int) {
			t.Helper()
			if got := int(sent.Load()); got != lost+1+more {
				t.Errorf("%d commands, want %d", got, lost+1+more)
			}
		}
		row("C10 a new session whose SET loses its replies is one session and no error", func(t *testing.T, p *proxied, _ *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			sent := p.on(kit.Steps("set", "evalsha"), drop)
			b := p.Browser()
			b.MustGet("/set?v=ann&owner="+kit.Owner, "ok")
			wantSent(t, sent, 0)
			wantUser(t, "it", b, "ann")
			wantKeys(t, p.Processes, 1)
			if kinds := p.Events.Kinds(); kinds[0] != sessions.EventCreated || slices.Contains(kinds[1:], sessions.EventCreated) {
				t.Errorf("events %v", kinds)
			}
		})
		row("C10 a save that loses its replies is one save and no conflict", func(t *testing.T, p *proxied, b *kit.Browser) {
			sent := p.on("evalsha", drop)
			b.MustGet("/save?v=bob", "ok")
			wantSent(t, sent, 0)
			wantUser(t, "it", b, "bob")
			p.WantEvents(t, sessions.EventSaved)
		})
		row("C5 a renewal whose claim loses its replies knows its own mark", func(t *testing.T, p *proxied, b *kit.Browser) {
			old := b.Token()
			sent := p.on("evalsha", drop)
			if b.MustGet("/renew", "ok"); b.Token() == old {
				t.Error("the token is the old one")
			}
			looks := 0
			if kit.Owner != "" {
				looks++ // whether the session is listed, for no answer has said so
			}
			wantSent(t, sent, looks)
			wantUser(t, "it", b, "warm")
			wantRecords(t, p.Processes, 1)
		})
		row("C10 a sign-out that loses its replies is a sign-out", func(t *testing.T, p *proxied, b *kit.Browser) {
			p.on("evalsha", drop)
			if b.MustGet("/destroy", "ok"); b.Token() != "" {
				t.Error("the browser has a token")
			}
			wantKeys(t, p.Processes, 0)
		})

		row("C10 a save finds itself behind thirty writes of seven other processes", func(t *testing.T, p *proxied, b *kit.Browser) {
			g := redistest.NewGate()
			p.on("evalsha", func(n int) redistest.Action {
				switch n {
				case 1:
					return redistest.DropReply
				case 2: // the repetition, before the server gets it
					return redistest.Before(g)
				}
				return redistest.Pass
			})
			done := b.Start("/save?v=mine")
			<-g.Reached()
			var others []*sessions.Manager[kit.Session]
			for range 7 {
				others = append(others, kit.New[kit.Session](t, kit.RedisStore(p.direct), sessions.Config{Codec: c}))
			}
			for i := range 30 {
				m := others[i%len(others)]
				kit.MustRequest(t, m, b.Token(), kit.Put(m, fmt.Sprint("other", i)))
			}
			g.Open()
			if res := <-done; res.Text != "ok" {
				t.Errorf("Save = %s", res.Text)
			}
			p.WantEvents(t, sessions.EventSaved) // alone: a conflict would be with itself
			wantUser(t, "it", b, "other29")
		})
	})
}
