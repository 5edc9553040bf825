package express_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// cart is the T of these tests. A Node app has it under the same names.
type cart struct {
	User  string `json:"user,omitempty"`
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

const secret = "keyboard cat"

// A place is a Manager on a Redis that it shares with a plain client, which
// does there what connect-redis does.
type place struct {
	*sessions.Manager[cart]
	t      testing.TB
	o      express.Options
	node   *redis.Client
	server *miniredis.Miniredis // whose clock the test moves; nil for a real one

	mu     sync.Mutex
	log    bytes.Buffer
	events []sessions.Event
}

// newPlace is a place on a miniredis of its own. Its log and events are kept,
// and its secret is "keyboard cat" unless o has others.
func newPlace(t testing.TB, o express.Options) *place {
	t.Helper()
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { rdb.Close() })
	p := placeOn(t, rdb, rdb, o)
	p.server = server
	return p
}

func placeOn(t testing.TB, rdb redis.UniversalClient, node *redis.Client, o express.Options) *place {
	t.Helper()
	p := &place{t: t, node: node}
	if o.Secrets == nil {
		o.Secrets = []string{secret}
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second // a busy machine is no fault here
	}
	o.Logger = slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.OnEvent = func(_ context.Context, e sessions.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !kit.IsLoad(e) {
			p.events = append(p.events, e)
		}
	}
	p.o = o
	var err error
	if p.Manager, err = express.New[cart](rdb, o); err != nil {
		t.Fatal(err)
	}
	return p
}

// beside is another service on the same Redis.
func (p *place) beside(o express.Options) *place {
	p.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: p.node.Options().Addr})
	p.t.Cleanup(func() { rdb.Close() })
	other := placeOn(p.t, rdb, p.node, o)
	other.server = p.server
	return other
}

// Write takes the log.
func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *place) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// told returns the events so far and forgets them.
func (p *place) told() (kinds []sessions.EventKind, events []sessions.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	events, p.events = p.events, nil
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds, events
}

// put stores a document as Node does.
func (p *place) put(sid, document string, seconds int) {
	p.t.Helper()
	p.ok(p.node.Do(p.t.Context(), "SET", "sess:"+sid, document, "EX", seconds).Err())
}

// doc is what is stored, "" for nothing.
func (p *place) doc(sid string) string {
	p.t.Helper()
	v, err := p.node.Get(p.t.Context(), "sess:"+sid).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		p.t.Fatal(err)
	}
	return v
}

func (p *place) ttl(sid string) time.Duration {
	p.t.Helper()
	left, err := p.node.TTL(p.t.Context(), "sess:"+sid).Result()
	p.ok(err)
	return left
}

// keys are all keys.
func (p *place) keys() []string {
	p.t.Helper()
	keys, err := p.node.Keys(p.t.Context(), "*").Result()
	p.ok(err)
	slices.Sort(keys)
	return keys
}

func (p *place) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// A handler is what one request does.
type handler = func(w http.ResponseWriter, r *http.Request, c *cart)

func nothing(http.ResponseWriter, *http.Request, *cart) {}

func view(_ http.ResponseWriter, _ *http.Request, c *cart) { c.Views++ }

// ask is an https request with these Cookie lines.
func (p *place) ask(f handler, cookies ...string) *http.Response {
	return p.send(httptest.NewRequest("GET", "https://example.com/", nil), f, cookies...)
}

func (p *place) send(r *http.Request, f handler, cookies ...string) *http.Response {
	for _, line := range cookies {
		if line != "" {
			r.Header["Cookie"] = append(r.Header["Cookie"], line)
		}
	}
	w := httptest.NewRecorder()
	p.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f(w, r, p.FromContext(r.Context()))
	})).ServeHTTP(w, r)
	return w.Result()
}

// do is a handler that runs verbs one after another, which must succeed.
func (p *place) do(verbs ...func(context.Context) error) handler {
	return func(_ http.ResponseWriter, r *http.Request, _ *cart) {
		for i, verb := range verbs {
			if err := verb(r.Context()); err != nil {
				p.t.Errorf("verb %d: %v", i, err)
			}
		}
	}
}

// cookieOf is the cookie that a response sets and its sid.
func (p *place) cookieOf(res *http.Response) (cookie, sid string) {
	p.t.Helper()
	lines := p.lines(res)
	if len(lines) != 1 {
		p.t.Fatalf("Set-Cookie %q, want one of the session's", lines)
	}
	return pair(lines[0]), sidIn(lines[0])
}

// sidIn is the sid of a Set-Cookie line.
func sidIn(line string) string {
	_, sid, _ := strings.Cut(line, "=s%3A")
	sid, _, _ = strings.Cut(sid, ".")
	return sid
}

// lines are the Set-Cookie lines of the session.
func (p *place) lines(res *http.Response) (mine []string) {
	for _, line := range res.Header["Set-Cookie"] {
		if strings.HasPrefix(line, cmpName(p.o.Name)+"=") {
			mine = append(mine, line)
		}
	}
	return mine
}

func cmpName(name string) string {
	if name == "" {
		return "connect.sid"
	}
	return name
}

// sid is a sid of Node's, and its document and cookie.
const sid = "OU3rIg23j3u-30qlM1_IsOHh71RAyPYw"

func nodeDoc(age, rest string) string {
	return fmt.Sprintf(`{"cookie":{"originalMaxAge":%s,"expires":"2026-11-23T06:12:09.884Z","httpOnly":true,"path":"/"}%s}`, age, rest)
}

func mine(name string) string { return signed(cmpName(name), sid, secret) }

func TestIdentity(t *testing.T) {
	t.Run("Info.ID is the sid, from when the session is stored", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		var before, after, renewed string
		res := p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			before = p.Info(r.Context()).ID
			c.Views = 1
			p.ok(p.Save(r.Context()))
			after = p.Info(r.Context()).ID
		})
		cookie, sid := p.cookieOf(res)
		if before != "" || after != sid || len(sid) != 32 {
			t.Errorf("%q before, %q after, the cookie has %q", before, after, sid)
		}
		res = p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
			before = p.Info(r.Context()).ID
			p.ok(p.Renew(r.Context()))
			renewed = p.Info(r.Context()).ID
		}, cookie)
		if _, now := p.cookieOf(res); before != sid || renewed != now || now == sid {
			t.Errorf("%q before, %q after Renew, the cookie has %q", before, renewed, now)
		}
	})

	t.Run("C21 a renewal leaves no mark, so a request with the old sid cannot be told from a visitor's", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		cookie, _ := p.cookieOf(p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) { c.Views = 1 }))
		p.ask(p.do(p.Renew), cookie)
		p.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
			if i := p.Info(r.Context()); !i.New || i.RenewedElsewhere {
				t.Errorf("it is %+v", i)
			}
		}, cookie)
	})

	t.Run("events have the sid, the log a hash of it", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, "{}", 300)
		p.ask(nothing, mine(""))
		kinds, events := p.told()
		if !slices.Equal(kinds, []sessions.EventKind{sessions.EventUndecodable}) || events[0].Session.ID != sid {
			t.Fatalf("events %+v", events)
		}
		if log := p.logged(); !strings.Contains(log, "cannot be read") || strings.Contains(log, sid) {
			t.Errorf("the log says %s", log)
		}
		if got := p.doc(sid); got != "{}" {
			t.Errorf("stored is %q", got)
		}
	})

	t.Run("T2 an unknown sid is never adopted, signed or not", func(t *testing.T) {
		for _, cookie := range []string{mine(""), "connect.sid=s%3A" + sid + ".bad", "connect.sid=" + sid} {
			p := newPlace(t, express.Options{})
			if _, got := p.cookieOf(p.ask(view, cookie)); got == sid || p.doc(sid) != "" {
				t.Errorf("it goes on as %s, %q", got, p.keys())
			}
		}
	})

	t.Run("L2 an unknown sid and nothing written: nothing is stored or sent", func(t *testing.T) {
		p := newPlace(t, express.Options{Rolling: true})
		if res := p.ask(nothing, mine("")); len(p.lines(res)) > 0 || len(p.keys()) > 0 {
			t.Errorf("%q, %q", p.lines(res), p.keys())
		}
	})
}

func TestTwoCookies(t *testing.T) {
	const other = "another-30qlM1_IsOHh71RAyPYw"
	for _, row := range []struct {
		name    string
		cookies []string
		views   int
		events  []sessions.EventKind
	}{
		{"T4 an invalid one before a valid one", []string{"connect.sid=s%3Ax.y; " + mine("")}, 7, nil},
		{"T4 a valid one before an invalid one", []string{mine("") + "; connect.sid=x"}, 7, nil},
		{"T4 on two lines", []string{"connect.sid=", "a=b; " + mine("")}, 7, nil},
		{"T4 a signed one of no session before", []string{signed("connect.sid", "nobody", secret) + "; " + mine("")}, 7, nil},
		{"T4 the same one twice", []string{mine("") + "; " + mine("")}, 7, nil},
		{"T4 behind thirty-one that are not signed", []string{strings.Repeat("connect.sid=x; ", 31) + mine("")}, 7, nil},
		{"T4 two different valid ones: neither", []string{mine("") + "; " + signed("connect.sid", other, secret)}, 0, []sessions.EventKind{sessions.EventTwoSessions}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{})
			p.put(sid, nodeDoc("900000", `,"views":7`), 900)
			p.put(other, nodeDoc("900000", `,"views":8`), 900)
			views := -1
			res := p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) { views = c.Views }, row.cookies...)
			kinds, _ := p.told()
			if views != row.views || !slices.Equal(kinds, row.events) || len(p.lines(res)) > 0 {
				t.Errorf("%d views, events %v, Set-Cookie %q; want %d, %v, none", views, kinds, p.lines(res), row.views, row.events)
			}
			if log := p.logged(); strings.Contains(log, sid) || strings.Contains(log, other) {
				t.Errorf("the log says %s", log)
			}
		})
	}

	t.Run("L21 L13 SignIn of a request with two ends both, and expires the cookies that the new one does not replace", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		p.put(other, strings.Replace(nodeDoc("900000", `,"views":8`), `"path":"/"`, `"domain":"example.com","path":"/shop"`, 1), 900)
		res := p.ask(p.do(func(ctx context.Context) error { return p.SignIn(ctx) }), mine("")+"; "+signed("connect.sid", other, secret))
		const expired = "connect.sid=; Domain=example.com; Path=/shop; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"
		keys, lines := p.keys(), p.lines(res)
		if len(keys) != 1 || keys[0] == "sess:"+sid || keys[0] == "sess:"+other || len(lines) != 2 || lines[0] != expired || !strings.HasSuffix(lines[1], "; Path=/; HttpOnly") {
			t.Errorf("keys left: %q; it sends %q, want %q and a new one", keys, lines, expired)
		}
	})

	t.Run("L21 L13 cookies of two that a SignIn has ended are expired when a later one succeeds, and told to one Commit", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		p.put(other, strings.Replace(nodeDoc("900000", `,"views":8`), `"path":"/"`, `"domain":"example.com","path":"/shop"`, 1), 900)
		ctx, err := p.Load(t.Context(), sid, other)
		p.ok(err)
		p.FromContext(ctx).Note = strings.Repeat("x", 5<<20)
		if err := p.SignIn(ctx); !errors.Is(err, sessions.ErrTooLarge) {
			t.Fatal(err)
		}
		p.FromContext(ctx).Note = ""
		p.ok(p.SignIn(ctx))
		for _, want := range []int{2, 0} {
			if o, err := p.Commit(ctx); err != nil || len(o.Ended) != want {
				t.Errorf("%v, %d cookies have ended, want %d", err, len(o.Ended), want)
			}
		}
	})

	t.Run("L10 L13 Destroy of a request with two expires both cookies", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		p.put(other, strings.Replace(nodeDoc("900000", `,"views":8`), `"path":"/"`, `"domain":"example.com","path":"/shop"`, 1), 900)
		res := p.ask(p.do(p.Destroy), mine("")+"; "+signed("connect.sid", other, secret))
		const expired, at = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly", "connect.sid=; "
		if lines := p.lines(res); !slices.Equal(lines, []string{at + "Domain=example.com; Path=/shop; " + expired, at + "Path=/; " + expired}) {
			t.Errorf("it sends %q", lines)
		}
	})

	t.Run("C16 Destroy of a request with two ends both", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		p.put(other, nodeDoc("900000", `,"views":8`), 900)
		p.ask(p.do(p.Destroy), mine("")+"; "+signed("connect.sid", other, secret))
		if keys := p.keys(); len(keys) > 0 {
			t.Errorf("keys left: %q", keys)
		}
	})
}
