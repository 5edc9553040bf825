package races_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
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
	codec  sessions.Codec
	proxy  *redistest.Proxy
	direct *redis.Client // of the server itself
}

func newProxied(t *testing.T, c sessions.Codec) *proxied {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { rdb.Close() })
	return &proxied{kit.NewProcesses(t, rdb, sessions.Config{Codec: c}), c, proxy, server.Client(t)}
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
	// each runs a test with both codecs, with a session of ann and the script loaded.
	each := func(name string, f func(t *testing.T, p *proxied, b *kit.Browser)) {
		t.Run(name, func(t *testing.T) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				t.Parallel()
				p := newProxied(t, c)
				b := p.Visitor("ann")
				b.MustGet("/save?v=warm", "ok")
				p.Events.Take()
				f(t, p, b)
			})
		})
	}

	for _, lost := range []int{1, 3} {
		drop := func(n int) redistest.Action {
			if n <= lost {
				return redistest.DropReply
			}
			return redistest.Pass
		}
		wantSent := func(t *testing.T, sent *atomic.Int32) {
			t.Helper()
			if got := int(sent.Load()); got != lost+1 {
				t.Errorf("%d commands, want %d", got, lost+1)
			}
		}
		each(fmt.Sprintf("C10 a new session whose SET loses %d replies is one session and no error", lost), func(t *testing.T, p *proxied, _ *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			sent := p.on("set", drop)
			b := p.Browser()
			b.MustGet("/set?v=ann", "ok")
			wantSent(t, sent)
			wantUser(t, "it", b, "ann")
			wantKeys(t, p.Processes, 1)
			p.WantEvents(t, sessions.EventCreated)
		})
		each(fmt.Sprintf("C10 a save that loses %d replies is one save and no conflict", lost), func(t *testing.T, p *proxied, b *kit.Browser) {
			sent := p.on("evalsha", drop)
			b.MustGet("/save?v=bob", "ok")
			wantSent(t, sent)
			wantUser(t, "it", b, "bob")
			p.WantEvents(t, sessions.EventSaved)
		})
		each(fmt.Sprintf("C5 a renewal whose claim loses %d replies knows its own mark", lost), func(t *testing.T, p *proxied, b *kit.Browser) {
			old := b.Token()
			sent := p.on("evalsha", drop)
			if b.MustGet("/renew", "ok"); b.Token() == old {
				t.Error("the token is the old one")
			}
			wantSent(t, sent)
			wantUser(t, "it", b, "warm")
			wantRecords(t, p.Processes, 1)
		})
		each(fmt.Sprintf("C10 a sign-out that loses %d replies is a sign-out", lost), func(t *testing.T, p *proxied, b *kit.Browser) {
			p.on("evalsha", drop)
			if b.MustGet("/destroy", "ok"); b.Token() != "" {
				t.Error("the browser has a token")
			}
			wantKeys(t, p.Processes, 0)
		})
	}

	for _, processes := range []int{1, 7} {
		each(fmt.Sprintf("C10 a save finds itself behind thirty writes of %d other processes", processes), func(t *testing.T, p *proxied, b *kit.Browser) {
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
			for range processes {
				others = append(others, kit.New[kit.Session](t, kit.RedisStore(p.direct), sessions.Config{Codec: p.codec}))
			}
			for i := range 30 {
				m := others[i%processes]
				kit.MustRequest(t, m, b.Token(), kit.Put(m, fmt.Sprint("other", i)))
			}
			g.Open()
			if res := <-done; res.Text != "ok" {
				t.Errorf("Save = %s", res.Text)
			}
			p.WantEvents(t, sessions.EventSaved) // alone: a conflict would be with itself
			wantUser(t, "it", b, "other29")
		})
	}
}
