package express_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A line is a service whose connection to Redis loses what it is told to.
type line struct {
	*place
	mu     sync.Mutex
	sent   []string // the writes that came through, by name
	losing func(cmd string, nth int) redistest.Action
}

// decide counts the writes of each name and asks losing what becomes of them.
func (l *line) decide(cmd []string) redistest.Action {
	name := strings.ToLower(cmd[0])
	if !slices.Contains([]string{"set", "evalsha", "eval", "del"}, name) {
		return redistest.Pass
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, name)
	nth := 0
	for _, s := range l.sent {
		if s == name {
			nth++
		}
	}
	if l.losing == nil {
		return redistest.Pass
	}
	return l.losing(name, nth)
}

// lose makes f decide from now on, counting from one; nil ends it. It returns
// what was sent until then.
func (l *line) lose(f func(cmd string, nth int) redistest.Action) (sent []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, l.sent, l.losing = l.sent, nil, f
	return sent
}

// reset leaves nothing but the session, and the script loaded.
func (l *line) reset() {
	l.t.Helper()
	l.lose(nil)
	l.ok(l.node.FlushAll(l.t.Context()).Err())
	l.put(sid, nodeDoc("900000", `,"views":6`), 900)
	l.ask(view, mine(""))
	l.lose(nil)
	l.told()
}

// eachLine runs a test with every kind of client, each with its default retries.
func eachLine(t *testing.T, f func(t *testing.T, l *line)) {
	single := func(t *testing.T, l *line, o *redis.Options) (*redis.Client, *redis.Client) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		proxy.On(l.decide)
		o.Addr = proxy.Addr
		rdb := redis.NewClient(o)
		t.Cleanup(func() { rdb.Close() })
		return rdb, server.Client(t)
	}
	for _, kind := range []struct {
		name string
		make func(t *testing.T, l *line) (rdb redis.UniversalClient, node *redis.Client)
	}{
		{"a default client", func(t *testing.T, l *line) (redis.UniversalClient, *redis.Client) {
			return single(t, l, &redis.Options{})
		}},
		{"five retries", func(t *testing.T, l *line) (redis.UniversalClient, *redis.Client) {
			return single(t, l, &redis.Options{MaxRetries: 5, ContextTimeoutEnabled: true})
		}},
		{"an AutoPipeliner", func(t *testing.T, l *line) (redis.UniversalClient, *redis.Client) {
			rdb, node := single(t, l, &redis.Options{})
			ap, err := rdb.AutoPipeline()
			if err != nil {
				t.Fatal(err)
			}
			return ap, node
		}},
		{"an asynchronous AutoPipeliner", func(t *testing.T, l *line) (redis.UniversalClient, *redis.Client) {
			rdb, node := single(t, l, &redis.Options{})
			ap, err := rdb.AsyncAutoPipeline()
			if err != nil {
				t.Fatal(err)
			}
			return ap, node
		}},
		{"a cluster", func(t *testing.T, l *line) (redis.UniversalClient, *redis.Client) {
			cluster := redistest.StartCluster(t, 1)
			proxy := redistest.NewProxy(t, cluster.Addrs[0])
			proxy.On(l.decide)
			rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, proxy.Addr)
			}})
			t.Cleanup(func() { rdb.Close() })
			return rdb, cluster.Nodes[0].Client(t)
		}},
	} {
		if testing.Short() && kind.name != "a default client" {
			continue // a short run has one kind of client
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			l := &line{}
			rdb, node := kind.make(t, l)
			l.place = placeOn(t, rdb, node, express.Options{})
			f(t, l)
		})
	}
}

// first is a fault of the first n commands of a name.
func first(n int, name string, a redistest.Action) func(string, int) redistest.Action {
	return func(cmd string, nth int) redistest.Action {
		if cmd == name && nth <= n {
			return a
		}
		return redistest.Pass
	}
}

const unavailable = "sessions: store unavailable"

func TestLostReplies(t *testing.T) {
	t.Parallel()
	eachLine(t, func(t *testing.T, l *line) {
		count := said(func(ctx context.Context, _ *cart) error {
			return l.Update(ctx, func(c *cart) error { c.Views++; return nil })
		})
		save := said(func(ctx context.Context, c *cart) error { c.Views++; return l.Save(ctx) })

		for verb, f := range map[string]handler{"Update": count, "Save": save} {
			for name, row := range map[string]struct {
				action redistest.Action
				views  int
			}{"applied": {redistest.DropReply, 8}, "not applied": {redistest.Close, 7}} {
				t.Run("C10 "+verb+", "+name+", is ErrUnavailable, and not sent again", func(t *testing.T) {
					l.reset()
					l.lose(first(1, "evalsha", row.action))
					res := l.ask(f, mine(""))
					if b := body(res); b != unavailable {
						t.Errorf("it answers %q", b)
					}
					if sent := l.lose(nil); !slices.Equal(sent, []string{"evalsha"}) {
						t.Errorf("sent %q", sent)
					}
					if doc := l.doc(sid); !strings.Contains(doc, fmt.Sprintf(`"views":%d`, row.views)) {
						t.Errorf("stored %s, want %d views", doc, row.views)
					}
					kinds, _ := l.told()
					if !slices.Equal(kinds, []sessions.EventKind{sessions.EventUnavailable}) {
						t.Errorf("events %v", kinds)
					}
					// The next request counts once more, and once.
					if b := body(l.ask(f, mine(""))); b != "<nil>" {
						t.Errorf("the next one: %q", b)
					}
					if doc := l.doc(sid); !strings.Contains(doc, fmt.Sprintf(`"views":%d`, row.views+1)) {
						t.Errorf("then stored %s", doc)
					}
				})
			}
		}

		t.Run("C10 what is saved with the response is a 503, without a cookie", func(t *testing.T) {
			l.reset()
			l.lose(first(1, "evalsha", redistest.DropReply))
			res := l.ask(view, mine(""))
			if sent := l.lose(nil); res.StatusCode != 503 || len(l.lines(res)) > 0 || len(sent) != 1 {
				t.Errorf("%d, Set-Cookie %q, sent %q", res.StatusCode, l.lines(res), sent)
			}
		})

		t.Run("C10 trying again in the same request stores a plain change once", func(t *testing.T) {
			l.reset()
			l.lose(first(2, "evalsha", redistest.DropReply))
			res := l.ask(said(func(ctx context.Context, c *cart) error {
				c.Views = 8
				for range 2 {
					if err := l.Save(ctx); err == nil {
						t.Error("no error")
					}
				}
				return l.Save(ctx)
			}), mine(""))
			if b := body(res); b != "<nil>" || !strings.Contains(l.doc(sid), `"views":8`) {
				t.Errorf("it answers %q, stored %s", b, l.doc(sid))
			}
		})

		t.Run("F4 SCRIPT FLUSH is invisible, and its EVAL sent once", func(t *testing.T) {
			l.reset()
			l.ok(l.node.ScriptFlush(t.Context()).Err())
			if b := body(l.ask(count, mine(""))); b != "<nil>" || !slices.Equal(l.lose(nil), []string{"evalsha", "eval"}) || !strings.Contains(l.doc(sid), `"views":8`) {
				t.Errorf("it answers %q, stored %s", b, l.doc(sid))
			}
			l.ok(l.node.ScriptFlush(t.Context()).Err())
			l.lose(first(1, "eval", redistest.DropReply))
			if b := body(l.ask(count, mine(""))); b != unavailable || !slices.Equal(l.lose(nil), []string{"evalsha", "eval"}) || !strings.Contains(l.doc(sid), `"views":9`) {
				t.Errorf("it answers %q, stored %s", b, l.doc(sid))
			}
		})

		t.Run("C10 a lost reply to the first save of a session is recognised", func(t *testing.T) {
			l.reset()
			l.ok(l.node.FlushAll(t.Context()).Err())
			l.lose(first(1, "set", redistest.DropReply))
			res := l.ask(view)
			sent := l.lose(nil)
			cookie, now := l.cookieOf(res)
			if keys := l.keys(); !slices.Equal(keys, []string{"sess:" + now}) || !slices.Equal(sent, []string{"set", "set"}) {
				t.Errorf("keys %q, the cookie has %s, sent %q", keys, now, sent)
			}
			l.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
				if c.Views != 1 {
					t.Errorf("%d views", c.Views)
				}
			}, cookie)
		})
	})
}

// A renewal is a copy, and a swap that deletes. Whatever gets lost of it, nobody
// ever holds two live sids.
func TestLostRenewals(t *testing.T) {
	t.Parallel()
	eachLine(t, func(t *testing.T, l *line) {
		verbs := map[string]handler{
			"Renew":  said(func(ctx context.Context, _ *cart) error { return l.Renew(ctx) }),
			"SignIn": said(func(ctx context.Context, c *cart) error { c.User = "ann"; return l.SignIn(ctx) }),
		}
		for verb, f := range verbs {
			for _, row := range []struct {
				name   string
				losing func(string, int) redistest.Action
				says   string
			}{
				{"nothing", nil, "<nil>"},
				{"the reply to the copy", first(1, "set", redistest.DropReply), "<nil>"},
				{"the copy", first(1, "set", redistest.Close), "<nil>"},
				{"every reply to the copy", first(1000, "set", redistest.DropReply), unavailable},
				{"every copy", first(1000, "set", redistest.Close), unavailable},
				{"the reply to the swap", first(1, "evalsha", redistest.DropReply), gone},
				{"the swap", first(1, "evalsha", redistest.Close), "<nil>"},
				{"two replies to the swap", first(2, "evalsha", redistest.DropReply), gone},
				{"two swaps", first(2, "evalsha", redistest.Close), "<nil>"},
				{"every reply to the swap", first(1000, "evalsha", redistest.DropReply), unavailable},
				{"every swap", first(1000, "evalsha", redistest.Close), unavailable},
				{"the deletion of the copy too", func(cmd string, nth int) redistest.Action {
					if cmd == "evalsha" && nth == 1 || cmd == "del" {
						return redistest.DropReply
					}
					return redistest.Pass
				}, gone},
			} {
				t.Run("C5 "+verb+" loses "+row.name, func(t *testing.T) {
					l.reset()
					l.lose(row.losing)
					res := l.ask(f, mine(""))
					l.lose(nil)
					said, lines := body(res), l.lines(res)

					copies := 1
					if row.says == gone && verb == "SignIn" { // it begins a session of its own
						row.says = "<nil>"
						if strings.HasPrefix(row.name, "the deletion") {
							copies = 2
						}
					}
					if said != row.says || (said == "<nil>") != (len(lines) == 1) {
						t.Errorf("it answers %q, want %q, and sends %q", said, row.says, lines)
					}
					live := []string{}
					if l.doc(sid) != "" {
						live = append(live, sid)
					}
					if len(lines) > 0 {
						if _, now := l.cookieOf(res); l.doc(now) != "" {
							live = append(live, now)
						}
					}
					if len(live) > 1 || said == "<nil>" && len(live) != 1 {
						t.Errorf("it answers %q, and live are %q", said, live)
					}
					// A copy that could not be taken back stays until its time
					// is up, under a sid that nobody was told.
					if keys := l.keys(); len(keys) > copies && said != unavailable {
						t.Errorf("it answers %q, and stored are %q", said, keys)
					}
					if said != "<nil>" && strings.Contains(l.doc(sid), "ann") {
						t.Errorf("it answers %q, and under the old sid is %s", said, l.doc(sid))
					}
				})
			}
		}
	})
}

func TestOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	const n = 30
	t.Run("F7 sessions lie on every node, and each command goes to its own", func(t *testing.T) {
		var mu sync.Mutex
		swaps := map[string]int{}
		proxies := map[string]string{}
		for _, node := range cluster.Nodes {
			proxy := redistest.NewProxy(t, node.Addr)
			proxies[node.Addr] = proxy.Addr
			proxy.On(func(cmd []string) redistest.Action {
				if strings.EqualFold(cmd[0], "evalsha") {
					mu.Lock()
					defer mu.Unlock()
					swaps[node.Addr]++
				}
				return redistest.Pass
			})
		}
		rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, proxies[addr])
		}})
		defer rdb.Close()
		p := placeOn(t, rdb, cluster.Nodes[0].Client(t), express.Options{})
		for range n {
			cookie, _ := p.cookieOf(p.ask(view))
			for range 2 {
				p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
					if err := p.Update(r.Context(), func(c *cart) error { c.Views++; return nil }); err != nil {
						t.Error(err)
					}
				}, cookie)
			}
			res := p.ask(p.do(p.Renew), cookie)
			if cookie, _ = p.cookieOf(res); res.StatusCode != 200 {
				t.Errorf("status %d", res.StatusCode)
			}
			p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
				if c.Views != 3 {
					t.Errorf("%d views, want 3", c.Views)
				}
			}, cookie)
		}
		total := 0
		for _, count := range swaps {
			total += count
		}
		if len(swaps) != 3 || total != 3*n {
			t.Errorf("swaps by node: %v, want %d in all: none was sent to a wrong one", swaps, 3*n)
		}
	})
	t.Run("K12 Check looks through every master", func(t *testing.T) {
		got, err := express.Check[cart](t.Context(), cluster.Client(t), express.Options{})
		if err != nil || got.Sessions != n || len(got.Misfits) > 0 {
			t.Errorf("%+v, %v, want %d sessions that fit", got, err, n)
		}
	})
}

// Where the server does not say when a key expires, nobody is taken to keep it
// for longer: reads restart the expiry, and what is saved ends.
func TestExpiryUnknown(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { rdb.Close() })
	var forbidden atomic.Value
	forbidden.Store("pttl")
	proxy.On(func(cmd []string) redistest.Action {
		if slices.Contains(strings.Fields(forbidden.Load().(string)), cmd[0]) {
			return redistest.Refuse("-NOPERM User node has no permissions to run the '" + cmd[0] + "' command")
		}
		return redistest.Pass
	})
	p := placeOn(t, rdb, server.Client(t), express.Options{Rolling: true, Cookie: express.Cookie{MaxAge: quarter}})
	reload := p.do(p.Reload)
	for _, row := range []struct {
		name, forbidden string
		f               handler
		left            time.Duration
	}{
		{"L4 F14 it is read", "pttl", nothing, quarter},
		{"L5 F14 it is changed", "pttl", view, quarter},
		{"L4 F14 it is touched by a verb", "pttl", p.do(p.Touch), quarter},
		{"L4 F14 it is reloaded and changed", "pttl", func(w http.ResponseWriter, r *http.Request, c *cart) { reload(w, r, c); view(w, r, c) }, quarter},
		{"L5 F14 neither may it be touched, and it is read", "pttl getex pexpire expire", nothing, time.Minute},
		{"L5 F14 neither may it be touched, and it is reloaded and changed", "pttl getex pexpire expire", func(w http.ResponseWriter, r *http.Request, c *cart) { reload(w, r, c); view(w, r, c) }, quarter},
	} {
		t.Run(row.name, func(t *testing.T) {
			forbidden.Store(row.forbidden)
			p.put(sid, nodeDoc("900000", `,"views":7`), 60)
			p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) {
				if until := time.Until(p.Info(r.Context()).IdleUntil); !near(until, quarter) {
					t.Errorf("Info says that it ends in %v", until)
				}
				row.f(w, r, c)
			}, mine(""))
			if left := p.ttl(sid); !near(left, row.left) {
				t.Errorf("it ends in %v, want %v", left, row.left)
			}
		})
	}
}
