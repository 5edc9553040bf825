package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
)

const (
	cookieName  = "__Host-session"
	cookieFlags = "; Path=/; HttpOnly; Secure; SameSite=Lax"
	cookieSent  = cookieName + "=TOKEN" + cookieFlags
	cookieEnded = cookieName + "=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
)

var tokenShape = regexp.MustCompile(`\b[sr][A-Z2-7]{26}\b`)

// wellFormed is a token that nobody has drawn; n tells several apart.
func wellFormed(n int) string { return fmt.Sprintf("s%026d", n) }

// masked is a response's header without Date and with TOKEN in the place of
// each token, to be compared as a whole: a header that nobody expects fails.
func masked(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		for _, l := range lines {
			if name != "Date" {
				out[name] = append(out[name], tokenShape.ReplaceAllString(l, "TOKEN"))
			}
		}
	}
	return out
}

func wantMasked(t *testing.T, got, want http.Header) {
	t.Helper()
	if got := masked(got); !reflect.DeepEqual(got, want) {
		t.Errorf("header:\n got %v\nwant %v", got, want)
	}
}

// tokenOf is the session token that a response sends, "" if none.
func tokenOf(h http.Header) string {
	for _, l := range h["Set-Cookie"] {
		if v, ok := strings.CutPrefix(l, cookieName+"="); ok {
			v, _, _ = strings.Cut(v, ";")
			return v
		}
	}
	return ""
}

// opLog is a store that remembers what was asked of it, as "Load" or
// "Create key".
type opLog struct {
	sessions.Store
	mu  sync.Mutex
	ops []string
}

func newOpLog() (*opLog, sessions.Store) {
	c := &opLog{}
	c.Store = &sessions.MemoryStore{}
	return c, &stepStore{Store: c.Store, before: func(op, key string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ops = append(c.ops, op+" "+key)
		return nil
	}}
}

// take returns the operations so far, without their keys, and forgets them.
func (c *opLog) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ops := []string{}
	for _, op := range c.ops {
		op, _, _ = strings.Cut(op, " ")
		ops = append(ops, op)
	}
	c.ops = nil
	return ops
}

// keysOf returns the keys of the operations of one kind so far.
func (c *opLog) keysOf(kind string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for _, op := range c.ops {
		if op, key, _ := strings.Cut(op, " "); op == kind {
			keys = append(keys, key)
		}
	}
	return keys
}

// desk is a Manager with one handler after the other, on a Recorder.
type desk struct {
	*sessions.Manager[Session]
	t testing.TB
}

func newDesk(t testing.TB, store sessions.Store, cfg sessions.Config) desk {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return desk{m, t}
}

// ask sends an https request with these Cookie lines to a handler.
func (d desk) ask(f func(w http.ResponseWriter, r *http.Request), cookies ...string) *http.Response {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	if len(cookies) > 0 {
		r.Header["Cookie"] = cookies
	}
	return d.send(r, f)
}

func (d desk) send(r *http.Request, f func(w http.ResponseWriter, r *http.Request)) *http.Response {
	w := httptest.NewRecorder()
	d.Handler(http.HandlerFunc(f)).ServeHTTP(w, r)
	return w.Result()
}

// seed stores a session with these views and returns its token.
func (d desk) seed(views int) string {
	d.t.Helper()
	ctx, err := d.Load(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	d.FromContext(ctx).Views = views
	o, err := d.Commit(ctx)
	if err != nil || o.Kind != sessions.OutcomeCreated {
		d.t.Fatalf("seeding: %v, %v", o.Kind, err)
	}
	return o.Token.Reveal()
}

// views reads what a token gives, 0 for nothing.
func (d desk) views(tokens ...string) int {
	d.t.Helper()
	ctx, err := d.Load(context.Background(), tokens...)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.FromContext(ctx).Views
}

func noHandler(http.ResponseWriter, *http.Request) {}

func viewOnce(_ http.ResponseWriter, r *http.Request) {
	sessions.FromContext[Session](r.Context()).Views++
}

func TestToken(t *testing.T) {
	t.Run("T1 a million draws are unique, and each of 26 places takes all 32 symbols", func(t *testing.T) {
		const n, places, symbols = 1_000_000, 26, 32 // 26 × 5 bits = 130
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		seen := make(map[string]struct{}, n)
		var used [places][256]bool
		for range n {
			token, err := sessions.DrawToken(d.Manager)
			if err != nil || len(token) != 1+places {
				t.Fatalf("%q, %v: want %d characters", token, err, 1+places)
			}
			seen[token] = struct{}{}
			for i := range places {
				used[i][token[1+i]] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d draws are unique", len(seen), n)
		}
		for i, set := range used {
			count := 0
			for _, in := range set {
				if in {
					count++
				}
			}
			if count != symbols {
				t.Errorf("place %d takes %d symbols, want %d", i, count, symbols)
			}
		}
	})
	t.Run("T1 a token needs no quotes in a cookie, and nothing public is in it", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Label: func(*http.Request) string { return "label" }})
		var id string
		res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).UserID = "alice"
			id = d.Info(r.Context()).ID
		})
		token := tokenOf(res.Header)
		if !tokenShape.MatchString(token) {
			t.Errorf("token %q", token)
		}
		if id == "" || strings.Contains(token, id) || strings.Contains(id, token[1:]) {
			t.Errorf("token %q, ID %q", token, id)
		}
	})

	failing := func(ok int, err error) func() (string, error) {
		n := 0
		return func() (string, error) {
			if n++; n > ok {
				return "", err
			}
			return wellFormed(n), nil
		}
	}
	t.Run("T1 a NewToken that fails gives an error response and no session", func(t *testing.T) {
		cause := errors.New("out of entropy")
		var handed error
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{
			NewToken: failing(2, cause), // New draws twice
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				handed = err
				w.WriteHeader(http.StatusInternalServerError)
			},
		})
		res := d.ask(viewOnce)
		if res.StatusCode != 500 || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d %v, want 500 without a cookie", res.StatusCode, res.Header)
		}
		if !errors.Is(handed, cause) {
			t.Errorf("ErrorHandler got %v, want %v", handed, cause)
		}
		if got := ops.take(); len(got) > 0 {
			t.Errorf("store calls %v, want none", got)
		}
	})
	t.Run("T1 the default answer to a failing NewToken says nothing of its error", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{NewToken: failing(2, errors.New("out of entropy"))})
		res := d.ask(viewOnce)
		wantMasked(t, res.Header, http.Header{
			"Content-Type": {"text/plain; charset=utf-8"}, "Content-Length": {"22"}, "X-Content-Type-Options": {"nosniff"},
			"Cache-Control": {"no-store"}, "Vary": {"Cookie"},
		})
		if body, _ := io.ReadAll(res.Body); string(body) != "Internal Server Error\n" {
			t.Errorf("body %q", body)
		}
	})
	t.Run("T1 a NewToken that begins to repeat itself never hands out a stored session", func(t *testing.T) {
		n := 0
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{NewToken: func() (string, error) {
			n++
			return wellFormed(min(n, 3)), nil
		}})
		first := tokenOf(d.ask(func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Views = 7
		}).Header)
		if first == "" {
			t.Fatal("the first session got no token")
		}
		res := d.ask(viewOnce)
		if res.StatusCode != 500 || tokenOf(res.Header) != "" {
			t.Errorf("second visitor: %d, token %q; want 500 and none", res.StatusCode, tokenOf(res.Header))
		}
		if got := d.views(first); got != 7 {
			t.Errorf("the first session has %d views, want 7", got)
		}
	})
	for _, tc := range []struct {
		desc string
		draw func() (string, error)
		want string
	}{
		{"fails", failing(0, errors.New("out of entropy")), "sessions: Config.NewToken: out of entropy"},
		{"repeats itself", func() (string, error) { return wellFormed(1), nil }, "draws the same token twice"},
		{"draws too little", drawing("AAAAAAAAAAAAAAAAAA%d"), "draw 20 to 128 letters"},
		{"draws nothing", drawing("%.0d"), "sessions: Config.NewToken"},
		{"draws too much", drawing(strings.Repeat("A", 128) + "%d"), "draw 20 to 128 letters"},
		{"draws a semicolon", drawing("AAAAAAAAAAAAAAAAAAAA;%d"), "draw 20 to 128 letters"},
		{"draws a newline", drawing("AAAAAAAAAAAAAAAAAAAA\r\n%d"), "draw 20 to 128 letters"},
		{"draws a space", drawing("AAAAAAAAAAAAAAAAAAAA %d"), "draw 20 to 128 letters"},
		{"draws what is not ASCII", drawing("AAAAAAAAAAAAAAAAAAAAé%d"), "draw 20 to 128 letters"},
		{"draws standard base64", drawing("AAAAAAAAAAAAAAAAAAAA+/==%d"), "draw 20 to 128 letters"},
	} {
		t.Run("T1 New refuses a NewToken that "+tc.desc, func(t *testing.T) {
			_, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{NewToken: tc.draw})
			if err == nil || !strings.Contains(err.Error(), "sessions: Config.NewToken: ") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}

	verbs := []struct {
		desc string
		cfg  sessions.Config
		do   func(m *sessions.Manager[Session], ctx context.Context) error
	}{
		{"a change", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return nil
		}},
		{"SaveUninitialized", sessions.Config{SaveUninitialized: true}, func(*sessions.Manager[Session], context.Context) error { return nil }},
		{"a change and Save", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return m.Save(ctx)
		}},
		{"a change and Renew", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return m.Renew(ctx)
		}},
		{"SignIn", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }},
		{"Destroy and a change", sessions.Config{}, func(m *sessions.Manager[Session], ctx context.Context) error {
			err := m.Destroy(ctx)
			m.FromContext(ctx).Views++
			return err
		}},
	}
	for _, tc := range verbs {
		t.Run("T2 a presented token that nobody knows is not adopted by "+tc.desc, func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, tc.cfg)
			planted := wellFormed(0)
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := tc.do(d.Manager, r.Context()); err != nil {
					t.Error(err)
				}
			}, cookieName+"="+planted)
			loaded, created := ops.keysOf("Load"), ops.keysOf("Create")
			if len(loaded) != 1 || len(created) != 1 {
				t.Fatalf("loaded %q, created %q; want one each", loaded, created)
			}
			if loaded[0] == created[0] {
				t.Error("the presented token became a key")
			}
			if got := tokenOf(res.Header); got == "" || got == planted {
				t.Errorf("sent token %q, presented %q", got, planted)
			}
			if ctx, _ := d.Load(context.Background(), planted); !d.Info(ctx).New {
				t.Error("the presented token is good for a session now")
			}
		})
	}
	t.Run("T2 the token of a destroyed session is not adopted either", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		old := d.seed(1)
		d.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := d.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		}, cookieName+"="+old)
		got := tokenOf(d.ask(viewOnce, cookieName+"="+old).Header)
		if got == "" || got == old || d.views(old) != 0 || d.views(got) != 1 {
			t.Errorf("token %q after %q; they give %d and %d views", got, old, d.views(got), d.views(old))
		}
	})
}

// drawing makes a NewToken of a format, each draw another.
func drawing(format string) func() (string, error) {
	n := 0
	return func() (string, error) {
		n++
		return fmt.Sprintf(format, n%10), nil
	}
}

func TestHostileToken(t *testing.T) {
	good := wellFormed(0)
	rows := []struct{ desc, value string }{
		{"nothing", ""},
		{"one byte", "s"},
		{"64 KiB", "s" + strings.Repeat("A", 64<<10)},
		{"one character too few", good[:20]},
		{"one character too many", "s" + strings.Repeat("A", 129)},
		{"no class", good[1:]},
		{"an unknown class", "x" + good[1:]},
		{"a class in the wrong case", "S" + good[1:]},
		{"what is not ASCII", good + "ä"},
		{"what is not UTF-8", good + "\xff\xfe"},
		{"a fullwidth letter", good + "Ａ"},
		{"CR LF and a header", good + "\r\nSet-Cookie: a=b"},
		{"CR LF and a Redis command", good + "\r\nFLUSHALL\r\n"},
		{"NUL", good + "\x00"},
		{"NUL alone", "\x00"},
		{"an object", "{}"},
		{"a hash tag", good + "{a}"},
		{"a wildcard", "*"},
		{"a wildcard in a token", good[:26] + "*"},
		{"a path", "../../../../../etc/passwd"},
		{"a colon", "session:" + good},
		{"percent signs", strings.ReplaceAll(good, "0", "%30")},
		{"quotes", `"` + good + `"`},
		{"a space", good[:10] + " " + good[10:]},
		{"an equals sign", good + "="},
		{"a signed cookie of express", "s%3A" + good + ".sig"},
	}
	for _, tc := range rows {
		t.Run("T3 a cookie with "+tc.desc+" is refused by its shape", func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			served := false
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				served = sessions.FromContext[Session](r.Context()).Views == 0
			}, cookieName+"="+tc.value)
			if got := ops.take(); len(got) > 0 {
				t.Errorf("store calls %v, want none", got)
			}
			if !served || res.StatusCode != 200 {
				t.Errorf("served is %t, status %d; want a fresh session and 200", served, res.StatusCode)
			}
			wantMasked(t, res.Header, http.Header{"Vary": {"Cookie"}, "Cache-Control": {"private"}})
		})
	}
	t.Run("T3 nor does it keep the visitor from getting a session", func(t *testing.T) {
		for _, tc := range rows {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			res := d.ask(viewOnce, cookieName+"="+tc.value)
			if got := ops.take(); !slices.Equal(got, []string{"Create"}) || res.StatusCode != 200 || d.views(tokenOf(res.Header)) != 1 {
				t.Errorf("%s: store calls %v, status %d, token %q", tc.desc, got, res.StatusCode, tokenOf(res.Header))
			}
		}
	})
	t.Run("T3 a bearer token of the wrong shape is refused as well", func(t *testing.T) {
		for _, tc := range rows {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header["Authorization"] = []string{"Bearer " + tc.value}
			res := d.send(r, func(http.ResponseWriter, *http.Request) {})
			if got := ops.take(); len(got) > 0 || res.StatusCode != 200 {
				t.Errorf("%s: store calls %v, status %d", tc.desc, got, res.StatusCode)
			}
		}
	})
	t.Run("T3 every token that has the shape is looked up", func(t *testing.T) {
		for _, token := range []string{
			good, "r" + good[1:], "s" + strings.Repeat("a", 20), "s" + strings.Repeat("Z", 128), "s-_-_-_-_-_-_-_-_-_-_-_",
		} {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			d.ask(noHandler, cookieName+"="+token)
			if got := ops.take(); !slices.Equal(got, []string{"Load"}) {
				t.Errorf("%s: store calls %v, want one Load", token, got)
			}
		}
	})
	t.Run("T3 cookie lines without end are no error", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		res := d.ask(noHandler, strings.Repeat("a=b; ", 1<<16)+cookieName, strings.Repeat(";", 1<<16), cookieName+"="+good)
		if got := ops.take(); !slices.Equal(got, []string{"Load"}) || res.StatusCode != 200 {
			t.Errorf("store calls %v, status %d; want the one good cookie found", got, res.StatusCode)
		}
	})
}

func TestTwoCookies(t *testing.T) {
	for _, other := range []struct {
		desc, value string
	}{
		{"an unknown one", wellFormed(1)}, {"one of the wrong shape", "tossed"}, {"an empty one", ""},
	} {
		for _, first := range []bool{true, false} {
			order := map[bool]string{true: "first", false: "last"}[first]
			t.Run("T4 a valid cookie that comes "+order+" beside "+other.desc+" is used", func(t *testing.T) {
				d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
				pairs := []string{cookieName + "=" + d.seed(7), cookieName + "=" + other.value}
				if !first {
					slices.Reverse(pairs)
				}
				for _, cookies := range [][]string{{strings.Join(pairs, "; ")}, pairs} { // HTTP/2 may split the line
					views := 0
					d.ask(func(_ http.ResponseWriter, r *http.Request) {
						views = sessions.FromContext[Session](r.Context()).Views
					}, cookies...)
					if views != 7 {
						t.Errorf("%q: %d views, want 7", cookies, views)
					}
				}
			})
		}
	}
	for _, reverse := range []bool{false, true} {
		t.Run(fmt.Sprintf("T4 the token before a renewal and the one after it are not two sessions, reversed %t", reverse), func(t *testing.T) {
			events := &recorder{}
			d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{OnEvent: events.on})
			old := d.seed(7)
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Renew(r.Context()); err != nil {
					t.Error(err)
				}
			}, cookieName+"="+old)
			events.kinds()
			tokens := []string{old, tokenOf(res.Header)}
			if reverse {
				slices.Reverse(tokens)
			}
			if got := d.views(tokens...); got != 7 {
				t.Errorf("%d views, want 7", got)
			}
			if got := events.kinds(); len(got) > 0 {
				t.Errorf("events %v, want none", got)
			}
		})
	}
	t.Run("T4 one valid token twice is one session, loaded once", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		token := d.seed(7)
		ops.take()
		views := 0
		d.ask(func(_ http.ResponseWriter, r *http.Request) {
			views = sessions.FromContext[Session](r.Context()).Views
		}, cookieName+"="+token+"; "+cookieName+"="+token)
		if got := ops.take(); views != 7 || !slices.Equal(got, []string{"Load"}) {
			t.Errorf("%d views, store calls %v", views, got)
		}
	})
	t.Run("T4 of two different valid ones neither is used, and an event tells", func(t *testing.T) {
		events := &recorder{}
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{OnEvent: events.on})
		mine, tossed := d.seed(7), d.seed(9)
		events.kinds()
		for _, cookies := range []string{mine + "; " + cookieName + "=" + tossed, tossed + "; " + cookieName + "=" + mine} {
			var views int
			var isNew bool
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				views, isNew = sessions.FromContext[Session](r.Context()).Views, d.Info(r.Context()).New
			}, cookieName+"="+cookies)
			if views != 0 || !isNew || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%d views, new is %t, %v; want a fresh session", views, isNew, res.Header)
			}
			if got := events.kinds(); !slices.Equal(got, []sessions.EventKind{sessions.EventTwoSessions}) {
				t.Errorf("events %v", got)
			}
		}
		if d.views(mine) != 7 || d.views(tossed) != 9 {
			t.Error("one of the two sessions was harmed")
		}
	})
	t.Run("T4 signing out with two valid ones ends both, and takes the cookie back", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		mine, tossed := d.seed(7), d.seed(9)
		res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
			if err := d.Destroy(r.Context()); err != nil {
				t.Error(err)
			}
		}, cookieName+"="+mine+"; "+cookieName+"="+tossed)
		if d.views(mine) != 0 || d.views(tossed) != 0 || !slices.Equal(res.Header["Set-Cookie"], []string{cookieEnded}) {
			t.Errorf("%d and %d views, %v", d.views(mine), d.views(tossed), res.Header)
		}
	})
	t.Run("T4 at most four are tried", func(t *testing.T) {
		for _, tc := range []struct{ at, views, loads int }{{1, 7, 4}, {4, 7, 4}, {5, 0, 4}, {9, 0, 4}} {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			var pairs []string
			for i := range 9 {
				pairs = append(pairs, cookieName+"="+wellFormed(i))
			}
			pairs[tc.at-1] = cookieName + "=" + d.seed(7)
			ops.take()
			views := 0
			d.ask(func(_ http.ResponseWriter, r *http.Request) {
				views = sessions.FromContext[Session](r.Context()).Views
			}, strings.Join(pairs, "; "))
			if got := ops.take(); views != tc.views || len(got) != tc.loads {
				t.Errorf("the valid one is number %d: %d views, store calls %v; want %d and %d", tc.at, views, got, tc.views, tc.loads)
			}
		}
	})
	t.Run("T4 at most four tokens of Load are tried", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		token := d.seed(7)
		ops.take()
		if got := d.views(wellFormed(1), wellFormed(2), wellFormed(3), wellFormed(4), token); got != 0 || len(ops.take()) != 4 {
			t.Errorf("%d views", got)
		}
	})
	t.Run("T4 the four share one time budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			hanging := hangingStore{budget: 2 * time.Second}
			d := newDesk(t, &hanging, sessions.Config{})
			began := time.Now()
			res := d.ask(noHandler, cookieName+"="+wellFormed(1)+"; "+cookieName+"="+wellFormed(2)+"; "+cookieName+"="+wellFormed(3)+"; "+cookieName+"="+wellFormed(4))
			if got := time.Since(began); got != hanging.budget || res.StatusCode != 503 {
				t.Errorf("%d after %v, want 503 after %v", res.StatusCode, got, hanging.budget)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			slow := hangingStore{budget: 2 * time.Second, answers: 600 * time.Millisecond}
			d := newDesk(t, &slow, sessions.Config{})
			began := time.Now()
			res := d.ask(noHandler, cookieName+"="+wellFormed(1)+"; "+cookieName+"="+wellFormed(2)+"; "+cookieName+"="+wellFormed(3)+"; "+cookieName+"="+wellFormed(4))
			if got := time.Since(began); got != slow.budget || res.StatusCode != 503 || slow.loads != 4 {
				t.Errorf("%d after %v and %d loads, want 503 after %v and 4", res.StatusCode, got, slow.loads, slow.budget)
			}
		})
	})
}

// hangingStore finds nothing, after a time or never.
type hangingStore struct {
	sessions.MemoryStore
	budget, answers time.Duration
	loads           int
}

func (s *hangingStore) Timeout() time.Duration { return s.budget }

func (s *hangingStore) Load(ctx context.Context, _ string, _ time.Duration) ([]byte, time.Duration, error) {
	s.loads++
	var answered <-chan time.Time
	if s.answers > 0 {
		answered = time.After(s.answers)
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-answered:
		return nil, 0, sessions.ErrNotFound
	}
}

func TestElsewhere(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		place func(r *http.Request, token string) *http.Request
	}{
		{"the query", func(r *http.Request, token string) *http.Request {
			r.URL.RawQuery = cookieName + "=" + token + "&session=" + token + "&token=" + token
			return r
		}},
		{"the path", func(r *http.Request, token string) *http.Request {
			r.URL.Path = "/;" + cookieName + "=" + token
			return r
		}},
		{"a form", func(r *http.Request, token string) *http.Request {
			r = httptest.NewRequest("POST", r.URL.String(), strings.NewReader(cookieName+"="+token+"&session="+token))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}},
		{"the Authorization header", func(r *http.Request, token string) *http.Request {
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}},
		{"other headers", func(r *http.Request, token string) *http.Request {
			for _, name := range []string{"Cookie2", "X-Session", "X-Auth-Token", "Set-Cookie", cookieName, "Proxy-Authorization"} {
				r.Header.Set(name, cookieName+"="+token)
			}
			return r
		}},
		{"a trailer", func(r *http.Request, token string) *http.Request {
			r.Trailer = http.Header{"Cookie": {cookieName + "=" + token}}
			return r
		}},
	} {
		t.Run("T5 a token in "+tc.desc+" is ignored", func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			token := d.seed(7)
			ops.take()
			views := 0
			d.send(tc.place(httptest.NewRequest("GET", "https://example.com/", nil), token), func(_ http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				views = sessions.FromContext[Session](r.Context()).Views
			})
			if got := ops.take(); views != 0 || len(got) > 0 {
				t.Errorf("%d views, store calls %v", views, got)
			}
		})
	}
	for _, name := range []string{
		"session", "Host-session", "__Secure-session", "__host-session", "__HOST-SESSION", "__Host-Session", "__Host-session2", "x__Host-session",
		"__Host session", "__Host-session[]", "%5F_Host-session", `"__Host-session"`,
		// A browser sees no prefix in these, so any host of the domain may set them.
		"\u00a0__Host-session", "\u2003__Host-session", "\u0085__Host-session", "\u3000__Host-session", "\v__Host-session", "\f__Host-session", "\r__Host-session",
		"__Host-session\u00a0", "__Host-session\u2028", "\x85__Host-session", "\xa0__Host-session", "=__Host-session", "\x00__Host-session",
	} {
		t.Run(fmt.Sprintf("T5 a token in a cookie named %q is ignored", name), func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			token := d.seed(7)
			ops.take()
			d.ask(noHandler, name+"="+token, "a=b; "+name+"="+token)
			if got := ops.take(); len(got) > 0 {
				t.Errorf("store calls %v, want none", got)
			}
		})
	}
}

func TestCookie(t *testing.T) {
	lasting := sessions.Config{IdleTimeout: time.Hour, Lifetime: 48 * time.Hour}
	for _, tc := range []struct {
		desc   string
		cookie sessions.Cookie
		want   string
	}{
		{"by default", sessions.Cookie{}, "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with SameSiteDefaultMode", sessions.Cookie{SameSite: http.SameSiteDefaultMode}, "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with SameSite Strict", sessions.Cookie{SameSite: http.SameSiteStrictMode}, "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Strict"},
		{"with SameSite None, Partitioned", sessions.Cookie{SameSite: http.SameSiteNoneMode, Partitioned: true}, "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
		{"with a Path", sessions.Cookie{Path: "/app"}, "__Secure-session=TOKEN; Path=/app; HttpOnly; Secure; SameSite=Lax"},
		{"with the Path /", sessions.Cookie{Path: "/"}, "__Host-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with a Domain", sessions.Cookie{Domain: "example.com"}, "__Secure-session=TOKEN; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{"with a Name", sessions.Cookie{Name: "sid"}, "sid=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with Insecure", sessions.Cookie{Insecure: true}, "session=TOKEN; Path=/; HttpOnly; SameSite=Lax"},
		{"with Insecure and a Domain", sessions.Cookie{Insecure: true, Domain: "example.com"}, "session=TOKEN; Path=/; Domain=example.com; HttpOnly; SameSite=Lax"},
		{"with Persist", sessions.Cookie{Persist: true}, "__Host-session=TOKEN; Path=/; Max-Age=172800; HttpOnly; Secure; SameSite=Lax"},
	} {
		t.Run("T6 the cookie "+tc.desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // for Max-Age
				cfg := lasting
				cfg.Transport = tc.cookie
				d := newDesk(t, &sessions.MemoryStore{}, cfg)
				res := d.ask(viewOnce)
				wantMasked(t, res.Header, http.Header{
					"Set-Cookie": {tc.want}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"},
				})

				// It comes back, is understood, and is taken back by the same flags.
				sent, _, _ := strings.Cut(res.Header["Set-Cookie"][0], ";")
				res = d.ask(func(_ http.ResponseWriter, r *http.Request) {
					if got := sessions.FromContext[Session](r.Context()).Views; got != 1 {
						t.Errorf("%d views, want 1", got)
					}
					if err := d.Destroy(r.Context()); err != nil {
						t.Error(err)
					}
				}, sent)
				ended := strings.ReplaceAll(tc.want, "; Max-Age=172800", "")
				ended = strings.Replace(ended, "=TOKEN", "=", 1)
				got := strings.Replace(strings.Join(res.Header["Set-Cookie"], "\n"), "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0", "", 1)
				if got != ended {
					t.Errorf("taken back by %q, want %q with Expires and Max-Age=0", res.Header["Set-Cookie"], ended)
				}
			})
		})
	}
}

func TestHeaderToken(t *testing.T) {
	for _, tc := range []struct {
		desc, name, header, scheme string
	}{
		{"Authorization: Bearer", "", "Authorization", "Bearer "},
		{"a named header", "X-Session", "X-Session", ""},
		{"a header named in another case", "x-SESSION", "X-Session", ""},
	} {
		t.Run("T8 "+tc.desc+" round-trips", func(t *testing.T) {
			d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Transport: sessions.HeaderToken{Name: tc.name}})
			sent := http.Header{tc.header: {tc.scheme + "TOKEN"}, "Vary": {tc.header}, "Cache-Control": {"private, no-store"}}
			res := d.ask(viewOnce)
			wantMasked(t, res.Header, sent)
			ask := func(f func(w http.ResponseWriter, r *http.Request), values ...string) *http.Response {
				r := httptest.NewRequest("GET", "https://example.com/", nil)
				r.Header[tc.header] = values
				return d.send(r, f)
			}
			token := res.Header.Get(tc.header)
			res = ask(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, sessions.FromContext[Session](r.Context()).Views)
			}, token)
			wantMasked(t, res.Header, http.Header{"Vary": {tc.header}, "Cache-Control": {"private"}, "Content-Type": {"text/plain; charset=utf-8"}})
			if body, _ := io.ReadAll(res.Body); string(body) != "1" {
				t.Errorf("body %q, want 1", body)
			}
			res = ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Renew(r.Context()); err != nil {
					t.Error(err)
				}
			}, token)
			wantMasked(t, res.Header, sent)
			if res.Header.Get(tc.header) == token {
				t.Error("Renew sent the old token")
			}
			token = res.Header.Get(tc.header)
			res = ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Destroy(r.Context()); err != nil {
					t.Error(err)
				}
			}, token)
			wantMasked(t, res.Header, http.Header{"Vary": {tc.header}, "Cache-Control": {"private, no-store"}})
			ask(func(_ http.ResponseWriter, r *http.Request) {
				if !d.Info(r.Context()).New {
					t.Error("the destroyed session is still there")
				}
			}, token)
		})
	}
	t.Run("T8 the scheme is compared without case, others are ignored", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
		token := d.seed(7)
		for _, tc := range []struct {
			value string
			loads int
		}{
			{"Bearer " + token, 1},
			{"bearer " + token, 1},
			{"BEARER " + token, 1},
			{"Bearer   " + token + " ", 1},
			{"Basic " + token, 0},
			{token, 0},
			{"Bearer" + token, 0},
			{"Bearer", 0},
			{"Bearer ", 0},
			{"", 0},
			{"Token " + token, 0},
			{"Bearer " + token + ", Bearer " + wellFormed(1), 0},
		} {
			ops.take()
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header["Authorization"] = []string{tc.value}
			d.send(r, noHandler)
			if got := ops.take(); len(got) != tc.loads {
				t.Errorf("Authorization: %q: store calls %v, want %d", tc.value, got, tc.loads)
			}
		}
	})
	t.Run("T8 a token from a header never becomes a cookie", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		header, cookie := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}}), newDesk(t, store, sessions.Config{})
		token := header.seed(7)
		bearing := func() *http.Request {
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}
		res := header.send(bearing(), func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Views++
			if err := header.Renew(r.Context()); err != nil {
				t.Error(err)
			}
		})
		if res.Header.Get("Authorization") == "" || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the header's manager answers with %v", res.Header)
		}
		token = strings.TrimPrefix(res.Header.Get("Authorization"), "Bearer ")
		res = cookie.send(bearing(), func(_ http.ResponseWriter, r *http.Request) {
			if got := sessions.FromContext[Session](r.Context()).Views; got != 0 {
				t.Errorf("the cookie's manager took a token from the header: %d views", got)
			}
		})
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the cookie's manager answers with %v", res.Header)
		}
	})
	t.Run("T8 a token from a cookie does not reach the header's manager", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
		token := d.seed(7)
		ops.take()
		d.ask(noHandler, cookieName+"="+token, "Authorization=Bearer "+token)
		if got := ops.take(); len(got) > 0 {
			t.Errorf("store calls %v, want none", got)
		}
	})
}

// TestHeaders is T9 and T10: what a handler put into the header, what the
// session did, and the whole header that the client then sees.
func TestHeaders(t *testing.T) {
	type row struct {
		desc    string
		handler http.Header // what the handler sets
		want    http.Header // what comes of it; nil: the same
	}
	h := func(lines ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(lines); i += 2 {
			out.Add(lines[i], lines[i+1])
		}
		return out
	}
	type act func(t *testing.T, m *sessions.Manager[Session], r *http.Request)
	read := func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.FromContext(r.Context()) }
	change := func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.FromContext(r.Context()).Views++ }
	verb := func(f func(m *sessions.Manager[Session], ctx context.Context) error) act {
		return func(t *testing.T, m *sessions.Manager[Session], r *http.Request) {
			if err := f(m, r.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	untouched := []row{
		{"nothing of the handler's", h(), nil},
		{"a cacheable page", h("Cache-Control", "public, max-age=60", "Vary", "Accept", "ETag", `"1"`, "Set-Cookie", "a=b"), nil},
	}
	used := []row{
		{"nothing of the handler's", h(), h("Vary", "Cookie", "Cache-Control", "private")},
		{"Vary of the handler's", h("Vary", "Accept-Encoding"), h("Vary", "Accept-Encoding", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with Cookie", h("Vary", "Cookie"), h("Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with cookie among others", h("Vary", "Accept, cookie ,Origin"), h("Vary", "Accept, cookie ,Origin", "Cache-Control", "private")},
		{"Vary with Cookie in a second line", h("Vary", "Accept", "Vary", "Cookie"), h("Vary", "Accept", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with a name that begins so", h("Vary", "Cookie2"), h("Vary", "Cookie2", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary: *", h("Vary", "*"), h("Vary", "*", "Cache-Control", "private")},
		{"Cache-Control of the handler's", h("Cache-Control", "public, max-age=60"), h("Vary", "Cookie", "Cache-Control", "public, max-age=60")},
		{"cookies of the handler's", h("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), h("Vary", "Cookie", "Cache-Control", "private", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
		{"other headers", h("X-Request-Id", "7", "Etag", `"1"`), h("Vary", "Cookie", "Cache-Control", "private", "X-Request-Id", "7", "Etag", `"1"`)},
	}
	sending := func(line string) []row {
		with := func(lines ...string) http.Header {
			out := h(lines...)
			out.Add("Vary", "Cookie")
			out.Add("Set-Cookie", line)
			return out
		}
		cache := func(desc, before, after string) row {
			return row{desc, h("Cache-Control", before), with("Cache-Control", after)}
		}
		return []row{
			{"nothing of the handler's", h(), with("Cache-Control", "private, no-store")},
			{"cookies of the handler's", h("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), with("Cache-Control", "private, no-store", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
			{"a cookie whose name begins so", h("Set-Cookie", cookieName+"2=x"), with("Cache-Control", "private, no-store", "Set-Cookie", cookieName+"2=x")},
			{"Vary of the handler's", h("Vary", "Accept-Encoding"), with("Vary", "Accept-Encoding", "Cache-Control", "private, no-store")},
			cache("public alone", "public", "no-store"),
			cache("public among others", "public, max-age=60, immutable", "max-age=60, immutable, no-store"),
			cache("s-maxage", "s-maxage=600, max-age=60", "max-age=60, no-store"),
			cache("another case", "Public, S-MaxAge=1, Max-Age=60", "Max-Age=60, no-store"),
			cache("no-store", "no-store", "no-store"),
			cache("no-store in another case", "NO-STORE, max-age=0", "NO-STORE, max-age=0"),
			cache("no-cache", "no-cache, must-revalidate", "no-cache, must-revalidate, no-store"),
			cache("a quoted list", `private="set-cookie, public", max-age=1`, `private="set-cookie, public", max-age=1, no-store`),
			cache("public with a value", `public="x", proxy-revalidate`, "proxy-revalidate, no-store"),
			cache("blanks and empty places", " ,public ,, s-maxage = 3 , max-age=1 ", "max-age=1, no-store"),
			cache("an extension that begins so", "public-ish, s-maxages=1", "public-ish, s-maxages=1, no-store"),
			{"two lines", h("Cache-Control", "public", "Cache-Control", "max-age=60"), with("Cache-Control", "max-age=60, no-store")},
			{"other headers", h("Etag", `"1"`, "Last-Modified", "x"), with("Cache-Control", "private, no-store", "Etag", `"1"`, "Last-Modified", "x")},
		}
	}
	for _, situation := range []struct {
		desc   string
		stored bool
		cfg    sessions.Config
		act    act
		rows   []row
	}{
		{"T9 a response without the session", false, sessions.Config{}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, untouched},
		{"T9 a response to a visitor whose session nobody asked for", true, sessions.Config{}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, untouched},
		{"T9 a response that Skip left out", true, sessions.Config{Skip: func(*http.Request) bool { return true }}, change, untouched},
		{"T9 a fresh session read", false, sessions.Config{}, read, used},
		{"T9 a stored session read", true, sessions.Config{}, read, used},
		{"T9 a stored session changed", true, sessions.Config{}, change, used},
		{"T9 a session looked up", true, sessions.Config{}, func(_ *testing.T, _ *sessions.Manager[Session], r *http.Request) {
			sessions.Lookup[Session](r.Context())
		}, used},
		{"T9 Info asked", true, sessions.Config{}, func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.Info(r.Context()) }, used},
		{"T9 Touch", true, sessions.Config{}, verb((*sessions.Manager[Session]).Touch), used},
		{"T9 Reload", true, sessions.Config{}, verb((*sessions.Manager[Session]).Reload), used},
		{"T9 Destroy of nothing", false, sessions.Config{}, verb((*sessions.Manager[Session]).Destroy), used},
		{"T10 a session created", false, sessions.Config{}, change, sending(cookieSent)},
		{"T10 a session created by SaveUninitialized", false, sessions.Config{SaveUninitialized: true}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, sending(cookieSent)},
		{"T10 a session renewed", true, sessions.Config{}, verb((*sessions.Manager[Session]).Renew), sending(cookieSent)},
		{"T10 a sign-in", true, sessions.Config{}, verb(func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }), sending(cookieSent)},
		{"T10 a session destroyed", true, sessions.Config{}, verb((*sessions.Manager[Session]).Destroy), sending(cookieEnded)},
		{"T10 verb after verb", true, sessions.Config{}, verb(func(m *sessions.Manager[Session], ctx context.Context) error {
			return errors.Join(m.SignIn(ctx), m.Renew(ctx), m.Destroy(ctx), m.SignIn(ctx), m.Renew(ctx))
		}), sending(cookieSent)},
	} {
		t.Run(situation.desc, func(t *testing.T) {
			for _, tc := range situation.rows {
				want := tc.want
				if want == nil {
					want = tc.handler
				}
				// Before the act, and after it: a verb has written its lines by then.
				for _, order := range []string{"set before", "set after"} {
					t.Run(tc.desc+", "+order, func(t *testing.T) {
						d := newDesk(t, &sessions.MemoryStore{}, situation.cfg)
						var cookies []string
						if situation.stored {
							cookies = []string{"x=y; " + cookieName + "=" + d.seed(7)}
						}
						res := d.ask(func(w http.ResponseWriter, r *http.Request) {
							if order == "set after" {
								situation.act(t, d.Manager, r)
							}
							for name, lines := range tc.handler {
								if name == "Set-Cookie" || name == "Vary" && order == "set after" {
									for _, l := range lines {
										w.Header().Add(name, l)
									}
									continue
								}
								w.Header()[name] = slices.Clone(lines)
							}
							if order == "set before" {
								situation.act(t, d.Manager, r)
							}
						}, cookies...)
						got := masked(res.Header)
						if order == "set after" { // the lines are there, in whatever order
							got, want = sortedHeader(got), sortedHeader(want)
							if slices.Contains(want["Vary"], "*") || len(got["Vary"]) > 1 && slices.Contains(got["Vary"], "Cookie") {
								delete(got, "Vary") // the handler added to a Vary that already had it
								want = maps.Clone(want)
								delete(want, "Vary")
							}
						}
						if !reflect.DeepEqual(got, want) {
							t.Errorf("header:\n got %v\nwant %v", got, want)
						}
					})
				}
			}
		})
	}
	t.Run("T9 a handler that clears the header does not clear the session's lines", func(t *testing.T) {
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		res := d.ask(func(w http.ResponseWriter, r *http.Request) {
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			clear(w.Header())
		})
		wantMasked(t, res.Header, http.Header{"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}})
	})
	t.Run("T9 slices that handlers share are not written to", func(t *testing.T) {
		shared := map[string][]string{}
		for _, name := range []string{"Set-Cookie", "Vary", "Cache-Control"} {
			shared[name] = append(make([]string, 0, 8), "x=y")
		}
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		d.ask(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), shared)
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		})
		for name, lines := range shared {
			if all := lines[:cap(lines)]; lines[0] != "x=y" || strings.Join(all[1:], "") != "" {
				t.Errorf("%s: the shared slice now holds %q", name, masked(http.Header{name: all}))
			}
		}
	})
	t.Run("T10 an error response that carries a verb's cookie is not for caches, whatever ErrorHandler says", func(t *testing.T) {
		var handed error
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{
			MaxSize: 2000,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				handed = err
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.WriteHeader(http.StatusTeapot)
			},
		})
		res := d.ask(func(w http.ResponseWriter, r *http.Request) {
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			d.FromContext(r.Context()).UserID = strings.Repeat("x", 3000)
		})
		if res.StatusCode != http.StatusTeapot || !errors.Is(handed, sessions.ErrTooLarge) {
			t.Errorf("%d, %v", res.StatusCode, handed)
		}
		wantMasked(t, res.Header, http.Header{
			"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"max-age=60, no-store"}, "Content-Length": {"0"},
		})
	})
	t.Run("T9 two managers name Vary once and keep each other's cookies", func(t *testing.T) {
		outer := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		inner := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Realm: "inner", Transport: sessions.Cookie{Name: "__Host-inner"}})
		res := outer.ask(func(w http.ResponseWriter, r *http.Request) {
			inner.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inner.FromContext(r.Context()).Views++
				outer.FromContext(r.Context()).Views++
			})).ServeHTTP(w, r)
		})
		got := sortedHeader(masked(res.Header))
		want := http.Header{
			"Set-Cookie": {"__Host-inner=TOKEN" + cookieFlags, cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("header:\n got %v\nwant %v", got, want)
		}
	})
}

func sortedHeader(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		out[name] = slices.Sorted(slices.Values(lines))
	}
	return out
}

func TestRealm(t *testing.T) {
	t.Run("T11 managers of two realms on one prefix refuse each other's tokens", func(t *testing.T) {
		eachRealmStore(t, func(t *testing.T, store sessions.Store) {
			users := newDesk(t, store, sessions.Config{Realm: "users"})
			admins := newDesk(t, store, sessions.Config{Realm: "admins"})
			plain := newDesk(t, store, sessions.Config{})
			tokens := map[string]desk{users.seed(1): users, admins.seed(2): admins, plain.seed(3): plain}
			views := map[desk]int{users: 1, admins: 2, plain: 3}
			for token, owner := range tokens {
				for d, n := range views {
					want := 0
					if d == owner {
						want = n
					}
					if got := d.views(token); got != want {
						t.Errorf("%d views, want %d", got, want)
					}
				}
			}
			for token, owner := range tokens {
				for d := range views {
					if d == owner {
						continue
					}
					res := d.ask(viewOnce, cookieName+"="+token)
					if got := tokenOf(res.Header); got == "" || got == token || owner.views(token) != views[owner] {
						t.Errorf("a foreign token and a write gave %q, and the session there %d views", got, owner.views(token))
					}
				}
			}
		})
	})
	t.Run("T11 a realm cannot be made to end in another's token", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		_, err := sessions.New[Session](store, sessions.Config{Realm: "users\x00s"})
		if err == nil || !strings.Contains(err.Error(), "Config.Realm") {
			t.Errorf("got %v, want an error that names Config.Realm", err)
		}
	})
	t.Run("T11 managers of one realm share sessions", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		a, b := newDesk(t, store, sessions.Config{Realm: "users"}), newDesk(t, store, sessions.Config{Realm: "users"})
		if got := b.views(a.seed(7)); got != 7 {
			t.Errorf("%d views, want 7", got)
		}
	})
}

func eachRealmStore(t *testing.T, f func(t *testing.T, store sessions.Store)) {
	t.Run("memory", func(t *testing.T) { f(t, &sessions.MemoryStore{}) })
	t.Run("miniredis", func(t *testing.T) { f(t, redisStore(miniClient(t))) })
}

// logBook keeps what a Logger is told, one line for each record.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (b *logBook) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestInsecureWarning(t *testing.T) {
	plain := func(header ...string) *http.Request {
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	t.Run("T12 a Secure cookie on plain HTTP warns once per Manager, naming Insecure", func(t *testing.T) {
		for range 2 { // a second Manager warns again
			log := &logBook{}
			d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Logger: log.logger()})
			d.send(plain(), func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[Session](r.Context()) })
			if got := log.take(); len(got) > 0 {
				t.Errorf("before any cookie: %q", got)
			}
			for range 3 {
				d.send(plain(), viewOnce)
			}
			got := log.take()
			if len(got) != 1 || !strings.HasPrefix(got[0], "level=WARN ") || !strings.Contains(got[0], "Insecure") {
				t.Errorf("log %q, want one warning that names Insecure", got)
			}
			if tokenShape.MatchString(strings.Join(got, "")) {
				t.Errorf("a token in the log: %q", got)
			}
		}
	})
	t.Run("T12 many requests at once warn once", func(t *testing.T) {
		log := &logBook{}
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Logger: log.logger()})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { d.send(plain(), viewOnce) })
		}
		wg.Wait()
		if got := log.take(); len(got) != 1 {
			t.Errorf("log %q, want one line", got)
		}
	})
	for _, tc := range []struct {
		desc string
		cfg  sessions.Config
		r    *http.Request
	}{
		{"TLS", sessions.Config{}, httptest.NewRequest("GET", "https://example.com/", nil)},
		{"a proxy that speaks TLS", sessions.Config{}, plain("X-Forwarded-Proto", "https")},
		{"a proxy that says it in capitals", sessions.Config{}, plain("X-Forwarded-Proto", "HTTPS")},
		{"an Insecure cookie", sessions.Config{Transport: sessions.Cookie{Insecure: true}}, plain()},
		{"a token in a header", sessions.Config{Transport: sessions.HeaderToken{}}, plain()},
	} {
		t.Run("T12 no warning with "+tc.desc, func(t *testing.T) {
			log := &logBook{}
			tc.cfg.Logger = log.logger()
			d := newDesk(t, &sessions.MemoryStore{}, tc.cfg)
			res := d.send(tc.r, viewOnce)
			if len(res.Header["Set-Cookie"])+len(res.Header["Authorization"]) != 1 {
				t.Errorf("no token was sent: %v", res.Header)
			}
			if got := log.take(); len(got) > 0 {
				t.Errorf("log %q, want nothing", got)
			}
		})
	}
}
