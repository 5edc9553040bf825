package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A rig is an app whose requests can be parked at each step of the store. Its
// routes are the verbs; the answer is what the verb returned.
type rig struct {
	*app
	rdb   *redis.Client
	steps *steps
}

func newRig(t *testing.T, rdb *redis.Client, cfg sessions.Config) *rig {
	t.Helper()
	rdb.FlushAll(t.Context())
	s := &steps{}
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second}) // a busy machine is no fault here
	r := &rig{newApp(t, &stepStore{Store: store, before: s.hook("before"), after: s.hook("after")}, cfg), rdb, s}
	verbs(r.mux, r.m)
	return r
}

// verbs are the routes of a rig. A query "v" is put into T before the verb runs.
func verbs(mux *http.ServeMux, m *sessions.Manager[Session]) {
	route := func(path string, verb func(context.Context) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if v := r.FormValue("v"); v != "" {
				m.FromContext(r.Context()).UserID = v
			}
			fmt.Fprint(w, named(verb(r.Context())))
		})
	}
	route("/set", func(context.Context) error { return nil }) // saved by the first byte
	route("/save", m.Save)
	route("/touch", m.Touch)
	route("/reload", m.Reload)
	route("/renew", m.Renew)
	route("/signin", func(ctx context.Context) error { return m.SignIn(ctx) })
	route("/destroy", m.Destroy)
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, m.FromContext(r.Context()).UserID)
	})
	mux.HandleFunc("/id", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, m.Info(r.Context()).ID)
	})
}

// named is the name of the error that a caller branches on.
func named(err error) string {
	if err == nil {
		return "ok"
	}
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	return err.Error()
}

var sentinels = map[string]error{
	"ErrUnavailable": sessions.ErrUnavailable, "ErrNewerVersion": sessions.ErrNewerVersion,
	"ErrConflict": sessions.ErrConflict, "ErrGone": sessions.ErrGone, "ErrTooLarge": sessions.ErrTooLarge,
	"ErrCommitted": sessions.ErrCommitted, "ErrNoSession": sessions.ErrNoSession,
}

// records are the values in the store that are not marks, by key.
func (r *rig) records() map[string]string {
	r.t.Helper()
	found := map[string]string{}
	for _, k := range keys(r.t, r.rdb) {
		v, err := r.rdb.Get(context.Background(), k).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			r.t.Fatal(err)
		}
		if err == nil && !isMark(v) {
			found[k] = v
		}
	}
	return found
}

func isMark(record string) bool {
	header, _, _ := strings.Cut(record, "\n")
	return strings.Contains(header, `"successor":`)
}

// visitor is a browser with a session that says who it is.
func (r *rig) visitor(name string) *browser {
	r.t.Helper()
	b := r.browser()
	if a := b.get("/set?v=" + name); a.StatusCode != 200 || b.token() == "" {
		r.t.Fatalf("no session to start with: %d %q", a.StatusCode, a.body)
	}
	return b
}

// steps are the places where a stepStore can park an operation.
type steps struct {
	mu    sync.Mutex
	armed map[string]*gate
}

// at closes the gate at a step like "before CompareAndSwap" for the next
// operation that comes by.
func (s *steps) at(step string) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed == nil {
		s.armed = map[string]*gate{}
	}
	g := newGate()
	s.armed[step] = g
	return g
}

func (s *steps) hook(when string) func(op, key string) error {
	return func(op, _ string) error {
		s.mu.Lock()
		g := s.armed[when+" "+op]
		delete(s.armed, when+" "+op)
		s.mu.Unlock()
		if g != nil {
			g.pass()
		}
		return nil
	}
}

// park starts a request, waits until it stands at the step, lets act run, and
// returns the request's answer.
func (r *rig) park(b *browser, path, step string, act func()) answer {
	r.t.Helper()
	g := r.steps.at(step)
	done := b.start(path)
	select {
	case <-g.arrived:
	case a := <-done:
		r.t.Fatalf("%s never comes to %q; it answers %d %q", path, step, a.StatusCode, a.body)
	}
	act()
	g.open()
	return <-done
}

// eachRig runs a test with both codecs, on miniredis and on a real server.
func eachRig(t *testing.T, f func(t *testing.T, r *rig)) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, newRig(t, rdb, sessions.Config{Codec: c})) })
	})
}

// mustGet is get with an answer that the test presupposes.
func (b *browser) mustGet(path, want string) {
	b.a.t.Helper()
	if a := b.get(path); a.StatusCode != 200 || a.body != want {
		b.a.t.Fatalf("%s: %d %q, want %q", path, a.StatusCode, a.body, want)
	}
}

// What is destroyed between a request's load and its answer stays destroyed,
// whatever the request does and wherever it stands meanwhile.
func TestDestroyedStaysDestroyed(t *testing.T) {
	rows := []struct {
		id, path, step string
		status         int
		body           string
	}{
		{"C1 a request that only reads", "/get", "after Load", 200, "ann"},
		{"C1 a change saved by the first byte, destroyed after the load", "/set?v=bob", "after Load", 409, "Conflict\n"},
		{"C1 a change saved by the first byte, destroyed before the swap", "/set?v=bob", "before CompareAndSwap", 409, "Conflict\n"},
		{"C1 a change destroyed after its swap", "/set?v=bob", "after CompareAndSwap", 200, "ok"},
		{"C1 Save, destroyed after the load", "/save?v=bob", "after Load", 200, "ErrGone"},
		{"C1 Save, destroyed before the swap", "/save?v=bob", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 Renew, destroyed after the load", "/renew", "after Load", 200, "ErrGone"},
		{"C1 Renew, destroyed before the copy", "/renew", "before Create", 200, "ErrGone"},
		{"C1 Renew, destroyed after the copy", "/renew", "after Create", 200, "ErrGone"},
		{"C1 Renew, destroyed before the claim", "/renew", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 SignIn, destroyed after the load", "/signin?v=bob", "after Load", 200, "ErrGone"},
		{"C1 SignIn, destroyed before the copy", "/signin?v=bob", "before Create", 200, "ErrGone"},
		{"C1 SignIn, destroyed before the claim", "/signin?v=bob", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 Destroy, destroyed before its swap", "/destroy", "before CompareAndSwap", 200, "ok"},
		{"C6 Touch, destroyed after the load", "/touch", "after Load", 200, "ErrGone"},
		{"C6 Reload, destroyed after the load", "/reload", "after Load", 200, "ErrGone"},
		{"C6 a load that touches a session destroyed just before", "/get", "before Load", 200, ""},
	}
	eachRig(t, func(t *testing.T, r *rig) {
		for _, row := range rows {
			t.Run(row.id, func(t *testing.T) {
				b := r.visitor("ann")
				a := r.park(b.clone(), row.path, row.step, func() { b.clone().mustGet("/destroy", "ok") })
				if a.StatusCode != row.status || a.body != row.body {
					t.Errorf("it answers %d %q, want %d %q", a.StatusCode, a.body, row.status, row.body)
				}
				if left := keys(t, r.rdb); len(left) > 0 {
					t.Errorf("keys left: %q", left)
				}
				if c := a.setCookies(); len(c) > 0 && row.path != "/destroy" {
					t.Errorf("it sends a cookie: %q", c)
				}
			})
		}

		t.Run("C6 Touch parked before its touch", func(t *testing.T) {
			b := r.visitor("ann")
			tab := b.clone()
			var second *gate
			done := make(chan answer)
			// The first Load is the request's, the second Touch's own.
			first := r.steps.at("after Load")
			go func() { done <- tab.get("/touch") }()
			first.wait()
			second = r.steps.at("before Load")
			first.open()
			second.wait()
			b.clone().mustGet("/destroy", "ok")
			second.open()
			if a := <-done; a.body != "ErrGone" || len(a.setCookies()) > 0 {
				t.Errorf("Touch of a destroyed session: %q, cookies %q", a.body, a.setCookies())
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
		})

		t.Run("C2 a delete that lands after a save has seen a conflict and before it tries again", func(t *testing.T) {
			b := r.visitor("ann")
			a := r.park(b.clone(), "/save?v=bob", "before CompareAndSwap", func() {
				b.clone().mustGet("/save?v=eve", "ok")
				// The save now finds a conflict, and stands behind it.
				conflict := r.steps.at("after CompareAndSwap")
				go func() {
					conflict.wait()
					b.clone().mustGet("/destroy", "ok")
					conflict.open()
				}()
			})
			if a.body != "ErrGone" {
				t.Errorf("Save = %s, want ErrGone", a.body)
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
			if kinds := r.events.kinds(); !slices.Contains(kinds, sessions.EventConflict) {
				t.Errorf("the save saw no conflict: %v", kinds)
			}
		})

		t.Run("C3 a save never creates a new session with the destroyed one's data", func(t *testing.T) {
			r.mux.HandleFunc("/view", func(w http.ResponseWriter, req *http.Request) {
				r.m.FromContext(req.Context()).Views++
				fmt.Fprint(w, named(r.m.Save(req.Context())))
			})
			for _, step := range []string{"before Load", "after Load", "before CompareAndSwap"} {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann-secret")
				r.park(b.clone(), "/view", step, func() { b.clone().mustGet("/destroy", "ok") })
				for k, v := range r.records() {
					if strings.Contains(v, "ann-secret") {
						t.Errorf("%s: %s holds what was destroyed: %q", step, k, v)
					}
				}
			}
		})
	})
}

// The swap is one command, but the first one after a restart of the server is
// two: EVALSHA, which the server does not know, and EVAL.
func TestDestroyBetweenTheCommandsOfOneSwap(t *testing.T) {
	t.Run("C2 a delete that lands between EVALSHA and EVAL", func(t *testing.T) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		r := newRig(t, rdb, sessions.Config{})
		direct := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		server.Client(t).ScriptFlush(t.Context())
		g := redistest.NewGate()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "eval") {
				return redistest.Before(g)
			}
			return redistest.Pass
		})
		done := b.clone().start("/save?v=bob")
		<-g.Reached()
		other := direct.browser()
		other.c.Jar.SetCookies(other.request("/").URL, b.cookies())
		other.mustGet("/destroy", "ok")
		g.Open()
		if a := <-done; a.body != "ErrGone" || len(a.setCookies()) > 0 {
			t.Errorf("Save: %q, cookies %q, want ErrGone and none", a.body, a.setCookies())
		}
		if left := keys(t, rdb); len(left) > 0 {
			t.Errorf("keys left: %q", left)
		}
	})
}

// Under a token that was renewed meanwhile nothing is saved, and no answer
// takes the new token away from the browser.
func TestRenewedMeanwhile(t *testing.T) {
	rows := []struct {
		path, step string
		status     int
		body       string
	}{
		{"/get", "after Load", 200, "ann"},
		{"/set?v=eve", "after Load", 409, "Conflict\n"},
		{"/set?v=eve", "before CompareAndSwap", 409, "Conflict\n"},
		{"/set?v=eve", "after CompareAndSwap", 200, "ok"},
		{"/save?v=eve", "after Load", 200, "ErrGone"},
		{"/save?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/touch", "after Load", 200, "ErrGone"},
		{"/reload", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "before Create", 200, "ErrGone"},
		{"/renew?v=eve", "after Create", 200, "ErrGone"},
		{"/renew?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/signin?v=eve", "after Load", 200, "ErrGone"},
		{"/signin?v=eve", "before CompareAndSwap", 200, "ErrGone"},
	}
	eachRig(t, func(t *testing.T, r *rig) {
		for _, verb := range []string{"/renew", "/signin"} {
			for _, row := range rows {
				name := fmt.Sprintf("C4 C14 %s %s while another tab does %s", row.path, row.step, verb)
				t.Run(name, func(t *testing.T) {
					r.rdb.FlushAll(t.Context())
					b := r.visitor("ann")
					old, other := b.clone(), b.clone()
					id := b.get("/id").body
					a := r.park(b.clone(), row.path, row.step, func() { other.mustGet(verb+"?v=bob", "ok") })
					if a.StatusCode != row.status || a.body != row.body {
						t.Errorf("it answers %d %q, want %d %q", a.StatusCode, a.body, row.status, row.body)
					}
					if c := a.setCookies(); len(c) > 0 {
						t.Errorf("it sends a cookie: %q", c)
					}
					if a := old.get("/get"); a.body != "" {
						t.Errorf("the old token still finds %q", a.body)
					}
					if a := other.get("/get"); a.body != "bob" {
						t.Errorf("the new token finds %q, want bob", a.body)
					}
					if got := other.get("/id").body; got != id {
						t.Errorf("the ID has become %s, want %s", got, id)
					}
					if left := r.records(); len(left) != 1 {
						t.Errorf("%d records, want the renewed one alone: %q", len(left), left)
					}
				})
			}
		}

		t.Run("C4 a save that succeeds while a renewal stands before its claim is in the renewed session", func(t *testing.T) {
			for _, step := range []string{"after Load", "before Create", "before CompareAndSwap"} {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := b.clone()
				a := r.park(b, "/renew", step, func() { other.mustGet("/save?v=eve", "ok") })
				if a.body != "ok" {
					t.Fatalf("Renew = %s", a.body)
				}
				if a := b.get("/get"); a.body != "eve" {
					t.Errorf("%s: the renewed session has %q, and eve was saved", step, a.body)
				}
			}
		})

		// The request was sent before the sign-in and reached the store after
		// it: to the browser that is no difference.
		for _, path := range []string{"/set?v=eve", "/save?v=eve", "/renew?v=eve"} {
			t.Run("C14 a request with the old token that loads after the sign-in sends no cookie, "+path, func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := b.clone()
				a := r.park(b.clone(), path, "before Load", func() { other.mustGet("/signin?v=bob", "ok") })
				if c := a.setCookies(); len(c) > 0 {
					t.Errorf("it sends a cookie, which replaces the signed-in one in the browser: %d %q %q", a.StatusCode, a.body, c)
				}
				if a := other.get("/get"); a.body != "bob" {
					t.Errorf("the new token finds %q, want bob", a.body)
				}
			})
		}
	})
}

func TestDestroyFollowsRenewals(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig) {
		steps := []string{"after Load", "before CompareAndSwap"}
		for _, step := range steps {
			t.Run("C16 Destroy parked "+step+" while the token is renewed", func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := b.clone()
				a := r.park(b.clone(), "/destroy", step, func() { other.mustGet("/renew", "ok") })
				if a.body != "ok" {
					t.Errorf("Destroy = %s", a.body)
				}
				if left := r.records(); len(left) > 0 {
					t.Errorf("records left: %q", left)
				}
				if a := other.get("/get"); a.body != "" {
					t.Errorf("the renewed token still finds %q", a.body)
				}
			})
		}

		for _, chain := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("C16 a request with the old token ends what %d renewals made of it", chain), func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				old := b.clone()
				for range chain {
					b.mustGet("/renew", "ok")
				}
				a := old.get("/destroy")
				if a.body != "ok" || len(a.setCookies()) != 1 {
					t.Errorf("Destroy = %s with cookies %q, want one that expires", a.body, a.setCookies())
				}
				if left := r.records(); len(left) > 0 {
					t.Errorf("records left: %q", left)
				}
				if a := b.get("/get"); a.body != "" {
					t.Errorf("the renewed token still finds %q", a.body)
				}
			})
		}

		t.Run("C16 Destroy goes on through a change of the renewed session between its look and its swap", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			b := r.visitor("ann")
			old := b.clone()
			b.mustGet("/renew", "ok")
			// The old token's Destroy looks at the mark's successor, then swaps.
			a := r.park(old, "/destroy", "before CompareAndSwap", func() { b.mustGet("/save?v=bob", "ok") })
			if left := r.records(); a.body != "ok" || len(left) > 0 {
				t.Errorf("Destroy = %s, records left: %q", a.body, left)
			}
		})

		t.Run("C16 Destroy after a write under the old token ends the renewed session too", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			path := "/save-destroy"
			r.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
				r.m.FromContext(req.Context()).Flash = "bye"
				saved := r.m.Save(req.Context())
				fmt.Fprint(w, named(saved), " ", named(r.m.Destroy(req.Context())))
			})
			b := r.visitor("ann")
			old := b.clone()
			b.mustGet("/renew", "ok")
			a := old.get(path)
			if left := r.records(); !strings.HasSuffix(a.body, " ok") || len(left) > 0 {
				t.Errorf("Save, Destroy = %s, records left: %q", a.body, left)
			}
		})
	})
}

// mustNew is a Manager whose events and log nobody reads, unless cfg says so.
func mustNew(t testing.TB, store sessions.Store, cfg sessions.Config) *sessions.Manager[Session] {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request is a request without HTTP: load, f, commit.
func request(ctx context.Context, m *sessions.Manager[Session], token string, f func(context.Context) error) (sessions.Outcome, error) {
	ctx, err := m.Load(ctx, token)
	if err != nil {
		return sessions.Outcome{}, err
	}
	if err := f(ctx); err != nil {
		o, _ := m.Commit(ctx)
		return o, err
	}
	return m.Commit(ctx)
}

// mustRequest is request, with the token that the client has afterwards.
func mustRequest(t testing.TB, m *sessions.Manager[Session], token string, f func(context.Context) error) string {
	t.Helper()
	o, err := request(t.Context(), m, token, f)
	if err != nil {
		t.Fatal(err)
	}
	switch o.Kind {
	case sessions.OutcomeCreated, sessions.OutcomeRenewed:
		return o.Token.Reveal()
	}
	return token
}

// put makes UserID v.
func put(m *sessions.Manager[Session], v string) func(context.Context) error {
	return func(ctx context.Context) error {
		m.FromContext(ctx).UserID = v
		return nil
	}
}

// alive reports whether the token finds a session, without touching anything
// but its idle timeout.
func alive(t testing.TB, m *sessions.Manager[Session], token string) bool {
	t.Helper()
	ctx, err := m.Load(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return !m.Info(ctx).New
}

// The mark of a renewal stands for ten seconds. The clock is the bubble's.
func TestMarksEnd(t *testing.T) {
	run := func(name string, f func(t *testing.T, m *sessions.Manager[Session], old string)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := mustNew(t, new(sessions.MemoryStore), sessions.Config{})
				f(t, m, mustRequest(t, m, "", put(m, "ann")))
			})
		})
	}
	run("C16 ten seconds long Destroy with the old token ends the renewed session", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(10*time.Second - time.Millisecond)
		mustRequest(t, m, old, m.Destroy)
		if alive(t, m, renewed) {
			t.Error("the renewed session lives")
		}
	})
	run("C16 after ten seconds the old token is like any unknown one", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(10 * time.Second)
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, renewed) {
			t.Error("an old token ends a session after ten seconds")
		}
	})
	run("C16 requests with the old token do not prolong its mark", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		for range 12 {
			if alive(t, m, old) {
				t.Fatal("the old token finds a session")
			}
			time.Sleep(time.Second)
		}
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, renewed) {
			t.Error("an old token that was presented again and again ends a session after ten seconds")
		}
	})
	run("C16 each mark of a chain has ten seconds of its own", func(t *testing.T, m *sessions.Manager[Session], old string) {
		second := mustRequest(t, m, old, m.Renew)
		time.Sleep(8 * time.Second)
		third := mustRequest(t, m, second, m.Renew)
		time.Sleep(4 * time.Second)
		mustRequest(t, m, old, m.Destroy)
		if !alive(t, m, third) {
			t.Error("the first token, twelve seconds old, ends the session")
		}
		mustRequest(t, m, second, m.Destroy)
		if alive(t, m, third) {
			t.Error("the second token, four seconds old, does not end the session")
		}
	})
	run("C16 a session renewed and used for an hour is still found by the new token alone", func(t *testing.T, m *sessions.Manager[Session], old string) {
		renewed := mustRequest(t, m, old, m.Renew)
		for range 60 {
			time.Sleep(time.Minute)
			if alive(t, m, old) || !alive(t, m, renewed) {
				t.Fatal("the tokens have changed places")
			}
		}
	})
	run("C16 Destroy in a request that began before the renewal and took longer than a mark says that it missed", func(t *testing.T, m *sessions.Manager[Session], old string) {
		slow, err := m.Load(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		renewed := mustRequest(t, m, old, m.Renew)
		time.Sleep(11 * time.Second)
		if err := m.Destroy(slow); !errors.Is(err, sessions.ErrGone) || !alive(t, m, renewed) {
			t.Errorf("Destroy = %v, renewed session alive %t; want ErrGone, for it cannot know where the session went", err, alive(t, m, renewed))
		}
		if err := m.Destroy(slow); err != nil || m.FromContext(slow).UserID != "" {
			t.Errorf("the next Destroy = %v with %+v, want a fresh start", err, m.FromContext(slow))
		}
	})
}

// An explorer plays actors against one store in every order there is. Each
// operation of an actor waits until the explorer lets it go, with or without a
// fault; a run is a list of such choices, and the runs are the leaves of their
// tree, which it walks depth first.
type explorer struct {
	sessions.Store         // of this run
	faults         []fault // that an operation may have
	budget         int     // how many of them one run may have
	bubble         bool    // in a synctest bubble
	pick           func(n int) int

	actors  []*actor
	late    []func() // requests on their way that the actor has given up
	running int
	reports chan *actor
	trace   []string
}

type fault int

const (
	none        fault = iota
	lostRequest       // the store never gets it
	lostReply         // applied, and the actor is told that nobody answered
	lostReplies       // the same for this one and for every further try of it
	repeated          // the client has lost the reply and sends it again by itself
	delayed           // the actor gives up, and it is applied some time later
)

var faultNames = [...]string{"", " request lost", " reply lost", " reply lost, always", " repeated", " delayed"}

// An actor is one request.
type actor struct {
	name   string
	do     func(ctx context.Context)
	op     string // where it is parked
	go_    chan fault
	parked bool
	done   bool
	sticky map[string]bool
	lost   int // swaps that may have been applied, and it was told that nobody answered
}

type actorKey struct{}

func (e *explorer) Timeout() time.Duration { return time.Hour }

// step parks the actor that ctx belongs to.
func (e *explorer) step(ctx context.Context, op string, apply func(context.Context) error) error {
	a, ok := ctx.Value(actorKey{}).(*actor)
	if !ok {
		return apply(ctx)
	}
	a.op = op
	e.reports <- a
	f := <-a.go_
	if a.sticky[op] {
		f = lostReplies
	}
	unanswered := fmt.Errorf("%w: %s", sessions.ErrUnavailable, "a fault of the test")
	switch f {
	case lostRequest:
		return unanswered
	case lostReplies:
		a.sticky[op] = true
		fallthrough
	case lostReply:
		if op == "CompareAndSwap" {
			a.lost++
		}
		apply(ctx)
		return unanswered
	case repeated:
		apply(ctx)
		return e.step(ctx, op, apply)
	case delayed:
		if op == "CompareAndSwap" {
			a.lost++
		}
		ctx := context.WithoutCancel(ctx)
		e.late = append(e.late, func() { apply(ctx) })
		return unanswered
	}
	return apply(ctx)
}

func (e *explorer) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	err = e.step(ctx, "Load", func(ctx context.Context) (err error) {
		data, left, err = e.Store.Load(ctx, key, touch)
		return err
	})
	return data, left, err
}

func (e *explorer) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	data = slices.Clone(data)
	return e.step(ctx, "Create", func(ctx context.Context) error { return e.Store.Create(ctx, key, data, ttl) })
}

func (e *explorer) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	prefix, data = slices.Clone(prefix), slices.Clone(data)
	err = e.step(ctx, "CompareAndSwap", func(ctx context.Context) (err error) {
		current, err = e.Store.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (e *explorer) Delete(ctx context.Context, key string) error {
	return e.step(ctx, "Delete", func(ctx context.Context) error { return e.Store.Delete(ctx, key) })
}

// play is one run: it starts the actors and lets them go, one step at a time,
// until all have finished and nothing is on its way.
func (e *explorer) play(ctx context.Context, actors ...*actor) {
	e.actors, e.late, e.trace, e.running = actors, nil, nil, len(actors)
	e.reports = make(chan *actor, len(actors))
	faults := 0
	for _, a := range actors {
		a.go_, a.sticky = make(chan fault), map[string]bool{}
		go func() {
			a.do(context.WithValue(ctx, actorKey{}, a))
			a.done = true
			e.reports <- a
		}()
	}
	for {
		e.settle()
		type choice struct {
			a    *actor
			f    fault
			late int
		}
		var choices []choice
		for _, a := range actors {
			if !a.parked {
				continue
			}
			choices = append(choices, choice{a: a})
			for _, f := range e.faults {
				if faults < e.budget && !a.sticky[a.op] && (f != repeated && f != delayed || a.op != "Load") {
					choices = append(choices, choice{a: a, f: f})
				}
			}
		}
		for i := range e.late {
			choices = append(choices, choice{late: i})
		}
		if len(choices) == 0 {
			return
		}
		c := choices[e.pick(len(choices))]
		if c.a == nil {
			apply := e.late[c.late]
			e.late = slices.Delete(slices.Clone(e.late), c.late, c.late+1)
			e.trace = append(e.trace, "the delayed one arrives")
			apply()
			continue
		}
		if c.f != none {
			faults++
		}
		e.trace = append(e.trace, c.a.name+" "+c.a.op+faultNames[c.f])
		c.a.parked = false
		e.running++
		c.a.go_ <- c.f
	}
}

// settle waits until everybody who was let go stands at the next step, or has
// finished, or waits for somebody who stands.
func (e *explorer) settle() {
	if e.bubble {
		synctest.Wait()
	}
	for e.running > 0 {
		var a *actor
		if e.bubble {
			select {
			case a = <-e.reports:
			default:
				return
			}
		} else {
			a = <-e.reports
		}
		a.parked = !a.done
		e.running--
	}
}

// all calls run once for each leaf of the tree of choices and returns how many
// there are.
func (e *explorer) all(t *testing.T, run func()) (runs int) {
	var path, width []int
	for {
		depth := 0
		e.pick = func(n int) int {
			if depth == len(path) {
				path, width = append(path, 0), append(width, n)
			}
			if width[depth] != n {
				t.Fatalf("the run is not the function of its choices that it has to be: %d choices, were %d, after\n%s", n, width[depth], e)
			}
			depth++
			return path[depth-1]
		}
		run()
		runs++
		if t.Failed() {
			t.Fatalf("after\n%s", e)
		}
		for len(path) > 0 && path[len(path)-1] == width[len(path)-1]-1 {
			path, width = path[:len(path)-1], width[:len(width)-1]
		}
		if len(path) == 0 {
			return runs
		}
		path[len(path)-1]++
	}
}

// String is the run so far.
func (e *explorer) String() string { return strings.Join(e.trace, "\n") }

// An arena is an explorer with servers in front of it.
type arena struct {
	explorer
	m       *sessions.Manager[Session] // of the test itself
	servers []http.Handler
	created map[string]bool
	mu      sync.Mutex
	reset   func() sessions.Store // an empty store
}

// newArena has n servers: processes of their own, or the same one.
func newArena(t *testing.T, c sessions.Codec, n int, same bool) *arena {
	a := &arena{reset: func() sessions.Store { return new(sessions.MemoryStore) }}
	a.Store = a.reset()
	a.m = mustNew(t, a, sessions.Config{Codec: c})
	for i := range n {
		if same && i > 0 {
			a.servers = append(a.servers, a.servers[0])
			continue
		}
		m := mustNew(t, a, sessions.Config{Codec: c})
		mux := http.NewServeMux()
		verbs(mux, m)
		mux.HandleFunc("/renew-renew", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, named(m.Renew(r.Context())), " ", named(m.Renew(r.Context())))
		})
		// Without a session these do nothing: that would start another one.
		known := func(path string, verb func(context.Context) string) {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				if m.Info(r.Context()).New {
					fmt.Fprint(w, "new")
					return
				}
				fmt.Fprint(w, verb(r.Context()))
			})
		}
		save := func(ctx context.Context) string {
			m.FromContext(ctx).Views++
			return named(m.Save(ctx))
		}
		known("/signin-known", func(ctx context.Context) string { return named(m.SignIn(ctx)) })
		known("/save-known", save)
		known("/renew-save", func(ctx context.Context) string { return named(m.Renew(ctx)) + " " + save(ctx) })
		known("/save-renew", func(ctx context.Context) string { return save(ctx) + " " + named(m.Renew(ctx)) })
		a.servers = append(a.servers, m.Handler(mux))
	}
	return a
}

func (a *arena) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	a.mu.Lock()
	a.created[key] = true
	a.mu.Unlock()
	return a.explorer.Create(ctx, key, data, ttl)
}

// clear empties the store and returns the token of a new session in it.
func (a *arena) clear(t *testing.T) string {
	a.Store, a.created = a.reset(), map[string]bool{}
	return mustRequest(t, a.m, "", put(a.m, "ann"))
}

// records are the keys under which there is something that is no mark.
func (a *arena) records(t *testing.T) []string {
	var found []string
	for key := range a.created {
		data, _, err := a.Store.Load(t.Context(), key, 0)
		if err != nil && !errors.Is(err, sessions.ErrNotFound) {
			t.Fatal(err)
		}
		if err == nil && !isMark(string(data)) {
			found = append(found, key)
		}
	}
	return found
}

// A visit is one request of an actor and what came of it.
type visit struct {
	*actor
	path   string
	status int
	body   string
	cookie *http.Cookie
}

// visits are actors: one for each path, all with the same token.
func (a *arena) visits(token string, paths ...string) []*visit {
	var vs []*visit
	for i, path := range paths {
		v := &visit{actor: &actor{name: string(rune('A'+i)) + " " + path}, path: path}
		v.do = func(ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, "GET", "https://example.com"+path, nil)
			r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
			w := httptest.NewRecorder()
			a.servers[i].ServeHTTP(w, r)
			v.status, v.body = w.Code, w.Body.String()
			for _, c := range w.Result().Cookies() {
				v.cookie = c
			}
		}
		vs = append(vs, v)
	}
	return vs
}

func actors(vs []*visit) []*actor {
	var as []*actor
	for _, v := range vs {
		as = append(as, v.actor)
	}
	return as
}

// known are the tokens that some client has, the first one included.
func known(first string, vs []*visit) []string {
	tokens := []string{first}
	for _, v := range vs {
		if v.cookie != nil && v.cookie.MaxAge >= 0 {
			tokens = append(tokens, v.cookie.Value)
		}
	}
	return tokens
}

// live are those tokens that find a session.
func (a *arena) live(t *testing.T, tokens []string) []string {
	var found []string
	for _, token := range tokens {
		if alive(t, a.m, token) {
			found = append(found, token)
		}
	}
	return found
}

var allFaults = []fault{lostRequest, lostReply, lostReplies, repeated, delayed}

// bubbled runs f in a synctest bubble, where the explorer sees of everybody
// whether he stands or waits.
func bubbled(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// Several renewals at once leave one session that somebody has the token of.
func TestRenewalsAtOnce(t *testing.T) {
	// check is what holds after every run. It returns the number of copies
	// that nobody has a token for.
	check := func(t *testing.T, a *arena, first string, vs []*visit, lostForGood *int) (orphans int) {
		t.Helper()
		tokens := known(first, vs)
		live := a.live(t, tokens)
		switch {
		case len(live) > 1:
			t.Errorf("%d live sessions: %q", len(live), answers(vs))
		case len(live) == 1:
			err := func() error {
				_, err := request(t.Context(), a.m, live[0], func(ctx context.Context) error {
					if got := a.m.FromContext(ctx).UserID; got != "ann" {
						return fmt.Errorf("its data is %q", got)
					}
					return nil
				})
				return err
			}()
			if err != nil {
				t.Errorf("the live session: %v", err)
			}
		case slices.ContainsFunc(vs, func(v *visit) bool { return unanswered(v) && v.lost >= 1 }):
			// Somebody's claim was applied and none of the replies came
			// through: the visitor has to sign in again.
			*lostForGood++
		default:
			t.Errorf("no live session: %q", answers(vs))
		}
		for _, v := range vs {
			if v.body != "ok" && v.cookie != nil {
				t.Errorf("%s failed with %s and sends a cookie", v.name, v.body)
			}
		}
		return len(a.records(t)) - len(live)
	}

	pairs := [][]string{{"/renew", "/renew"}, {"/renew", "/signin-known"}}
	for _, same := range []bool{false, true} {
		where := "in two processes"
		if same {
			where = "in one process"
		}
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			bubbled(t, "C5 two renewals in every order, "+where, func(t *testing.T) {
				a := newArena(t, c, 2, same)
				a.bubble = true
				for _, pair := range pairs {
					wins := map[string]int{}
					runs := a.all(t, func() {
						first := a.clear(t)
						vs := a.visits(first, pair...)
						a.play(t.Context(), actors(vs)...)
						never := 0
						if n := check(t, a, first, vs, &never); n != 0 || never != 0 {
							t.Errorf("without a fault: %d copies that nobody has a token for, %d sign-outs", n, never)
						}
						for _, v := range vs {
							if v.cookie != nil {
								wins[v.name]++
							}
						}
					})
					t.Logf("%v: %d orders; won by %v", pair, runs, wins)
					if len(wins) != 2 {
						t.Errorf("one of two never wins: %v", wins)
					}
				}
			})
		})

		bubbled(t, "C5 two renewals in every order with one fault at every step, "+where, func(t *testing.T) {
			for _, f := range allFaults {
				a := newArena(t, sessions.JSON{}, 2, same)
				a.bubble, a.budget, a.faults = true, 1, []fault{f}
				signedOut, orphans := 0, 0
				runs := a.all(t, func() {
					first := a.clear(t)
					vs := a.visits(first, "/renew", "/renew")
					a.play(t.Context(), actors(vs)...)
					orphans += check(t, a, first, vs, &signedOut)
				})
				t.Logf("%s: %d runs, %d copies that nobody has a token for, %d sign-outs", faultNames[f], runs, orphans, signedOut)
				if signedOut > 0 && f != lostReplies {
					t.Errorf("%s: %d of %d runs leave no session", faultNames[f], signedOut, runs)
				}
			}
		})
	}

	bubbled(t, "C5 two renewals in every order with two lost replies", func(t *testing.T) {
		a := newArena(t, sessions.JSON{}, 2, false)
		a.bubble, a.budget, a.faults = true, 2, []fault{lostReply, repeated}
		signedOut, orphans := 0, 0
		runs := a.all(t, func() {
			first := a.clear(t)
			vs := a.visits(first, "/renew", "/renew")
			a.play(t.Context(), actors(vs)...)
			orphans += check(t, a, first, vs, &signedOut)
		})
		t.Logf("%d runs, %d copies that nobody has a token for, %d sign-outs", runs, orphans, signedOut)
		if signedOut > 0 {
			t.Errorf("%d of %d runs leave no session", signedOut, runs)
		}
	})

	for n := 3; n <= 8; n++ {
		bubbled(t, fmt.Sprintf("C5 %d renewals with faults in random orders", n), func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, n, n%2 == 0)
			a.bubble = true
			signedOut, orphans, runs := 0, 0, 100
			for seed := range uint64(runs) {
				rnd := rand.New(rand.NewPCG(seed, uint64(n)))
				a.pick = rnd.IntN
				a.budget, a.faults = 0, nil
				if seed%2 == 1 {
					a.budget, a.faults = rnd.IntN(n)+1, allFaults
				}
				first := a.clear(t)
				var paths []string
				for range n {
					paths = append(paths, "/renew")
				}
				vs := a.visits(first, paths...)
				a.play(t.Context(), actors(vs)...)
				copies := check(t, a, first, vs, &signedOut)
				orphans += copies
				if a.budget == 0 && copies != 0 {
					t.Errorf("without a fault: %d copies that nobody has a token for", copies)
				}
				if t.Failed() {
					t.Fatalf("seed %d, after\n%s", seed, a)
				}
			}
			t.Logf("%d runs, %d copies that nobody has a token for, %d sign-outs", runs, orphans, signedOut)
		})
	}

	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("C5 two renewals in every order", func(t *testing.T) {
				a := newArena(t, c, 2, false)
				a.reset = flushed(t, rdb)
				runs := a.all(t, func() {
					first := a.clear(t)
					vs := a.visits(first, "/renew", "/renew")
					a.play(t.Context(), actors(vs)...)
					never := 0
					if n := check(t, a, first, vs, &never); n != 0 || never != 0 {
						t.Errorf("without a fault: %d copies that nobody has a token for, %d sign-outs", n, never)
					}
				})
				t.Logf("%d orders", runs)
			})
		})
	})

	// Nothing can tell then whether the claim was applied, and the new token
	// leaves only when it was: the visitor signs in again.
	t.Run("C5 the claim whose every reply is lost leaves no second session and is ErrUnavailable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 1, false)
			a.bubble, a.budget, a.faults = true, 1, []fault{lostReplies}
			a.pick = func(n int) int {
				if a.actors[0].op == "CompareAndSwap" {
					return n - 1 // the fault, while there is one to have
				}
				return 0
			}
			first := a.clear(t)
			vs := a.visits(first, "/renew")
			a.play(t.Context(), actors(vs)...)
			if live := a.live(t, known(first, vs)); len(live) > 1 || !strings.Contains(strings.Join(answers(vs), ""), "ErrUnavailable") {
				t.Errorf("%d live sessions, want one at the most; Renew answers %q after\n%s", len(live), answers(vs), a)
			}
		})
	})
}

// flushed returns what empties a database and makes a store on it.
func flushed(t *testing.T, rdb *redis.Client) func() sessions.Store {
	return func() sessions.Store {
		rdb.FlushAll(t.Context())
		return sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})
	}
}

func answers(vs []*visit) []string {
	var as []string
	for _, v := range vs {
		as = append(as, v.name+": "+v.body)
	}
	return as
}

// unanswered says that the visit ended in ErrUnavailable.
func unanswered(v *visit) bool { return strings.Contains(v.body, "ErrUnavailable") || v.status == 503 }

// A session that was destroyed is dead under every token, wherever the
// renewals stand.
func TestDestroyAmongRenewals(t *testing.T) {
	check := func(t *testing.T, a *arena, first string, vs []*visit, effective *int) {
		t.Helper()
		live := a.live(t, known(first, vs))
		if len(live) > 1 {
			t.Errorf("%d live sessions: %q", len(live), answers(vs))
		}
		for _, v := range vs {
			if v.path != "/destroy" || v.body != "ok" {
				continue
			}
			*effective++
			if len(live) > 0 {
				t.Errorf("Destroy returned nil, and a session lives: %q", answers(vs))
			}
			if n := len(a.records(t)); n > 0 && a.budget == 0 {
				t.Errorf("%d records left without a fault: %q", n, answers(vs))
			}
		}
	}
	explore := func(t *testing.T, a *arena, paths ...string) {
		t.Helper()
		effective := 0
		runs := a.all(t, func() {
			first := a.clear(t)
			vs := a.visits(first, paths...)
			a.play(t.Context(), actors(vs)...)
			check(t, a, first, vs, &effective)
		})
		t.Logf("%v: %d runs, Destroy returned nil %d times", paths, runs, effective)
		if effective < runs/4 {
			t.Errorf("Destroy returned nil in %d of %d runs only: that proves little", effective, runs)
		}
	}
	for _, same := range []bool{false, true} {
		where := "in two processes"
		if same {
			where = "in one process"
		}
		bubbled(t, "C15 C16 Destroy and Renew in every order, "+where, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 2, same)
			a.bubble = true
			for _, path := range []string{"/renew", "/signin-known", "/renew-renew", "/renew-save", "/save-renew", "/save-known", "/touch", "/reload", "/destroy"} {
				explore(t, a, "/destroy", path)
			}
		})
		bubbled(t, "C15 Destroy and Renew in every order with one fault at every step, "+where, func(t *testing.T) {
			a := newArena(t, sessions.JSON{}, 2, same)
			a.bubble, a.budget, a.faults = true, 1, allFaults
			explore(t, a, "/destroy", "/renew")
		})
	}
	bubbled(t, "C1 Destroy and a save in every order with two faults", func(t *testing.T) {
		a := newArena(t, sessions.JSON{}, 2, false)
		a.bubble, a.budget, a.faults = true, 2, allFaults
		explore(t, a, "/destroy", "/save-known")
	})
	bubbled(t, "C15 Destroy and two renewals in every order", func(t *testing.T) {
		a := newArena(t, sessions.MsgPack{}, 3, false)
		a.bubble = true
		explore(t, a, "/destroy", "/renew", "/renew")
	})
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			t.Run("C15 C16 Destroy and Renew in every order", func(t *testing.T) {
				a := newArena(t, c, 2, false)
				a.reset = flushed(t, rdb)
				explore(t, a, "/destroy", "/renew")
			})
		})
	})
}

func TestManyWriters(t *testing.T) {
	const writers = 64
	eachRig(t, func(t *testing.T, r *rig) {
		// all sends one request of each writer, lets every one load before
		// any goes on, and counts the answers.
		all := func(b *browser, meanwhile func()) (statuses map[int]int) {
			loaded, release := make(chan struct{}, writers), make(chan struct{})
			path := "/write-" + b.token()
			r.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
				s := r.m.FromContext(req.Context())
				loaded <- struct{}{}
				<-release
				s.UserID = req.FormValue("v")
				fmt.Fprint(w, "ok")
			})
			var answers []<-chan answer
			for i := range writers {
				answers = append(answers, b.clone().start(fmt.Sprintf("%s?v=w%d", path, i)))
			}
			for range writers {
				<-loaded
			}
			close(release)
			meanwhile()
			statuses = map[int]int{}
			for _, done := range answers {
				a := <-done
				statuses[a.StatusCode]++
				if c := a.setCookies(); len(c) > 0 {
					t.Errorf("a writer sends a cookie: %q", c)
				}
			}
			return statuses
		}

		t.Run("C12 of many writers at once the last one wins and nobody gets an error", func(t *testing.T) {
			b := r.visitor("ann")
			if got := all(b, func() {}); got[200] != writers {
				t.Errorf("answers by status: %v", got)
			}
			if a := b.get("/get"); !strings.HasPrefix(a.body, "w") {
				t.Errorf("the session holds %q, of none of the writers", a.body)
			}
		})

		t.Run("C1 many writers and one who destroys leave nothing", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			b := r.visitor("ann")
			got := all(b, func() { b.clone().mustGet("/destroy", "ok") })
			if got[200]+got[409] != writers {
				t.Errorf("answers by status: %v", got)
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
		})
	})
}

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

// contended is a store where somebody else always gets there first.
type contended struct {
	sessions.MemoryStore
	write func(ctx context.Context)
	delay time.Duration
	busy  bool
}

func (s *contended) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if !s.busy && s.write != nil {
		s.busy = true
		s.write(context.WithoutCancel(ctx))
		s.busy = false
	}
	current, err := s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
	if !s.busy && s.write != nil {
		time.Sleep(s.delay)
	}
	return current, err
}

func TestOutOfTime(t *testing.T) {
	for _, verb := range []string{"save", "renew", "destroy"} {
		t.Run("C11 a "+verb+" that others keep overtaking ends in ErrConflict and leaves their data", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &contended{delay: 300 * time.Millisecond}
				m := mustNew(t, store, sessions.Config{})
				token := mustRequest(t, m, "", put(m, "ann"))
				other := mustNew(t, store, sessions.Config{})
				n := 0
				store.write = func(ctx context.Context) {
					n++
					if _, err := request(ctx, other, token, put(other, fmt.Sprint("other", n))); err != nil {
						t.Error(err)
					}
				}
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				m.FromContext(ctx).UserID = "mine"
				start := time.Now()
				switch verb {
				case "save":
					err = m.Save(ctx)
				case "renew":
					err = m.Renew(ctx)
				case "destroy":
					err = m.Destroy(ctx)
				}
				if !errors.Is(err, sessions.ErrConflict) || errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("%v, want ErrConflict", err)
				}
				if took := time.Since(start); took > 1300*time.Millisecond {
					t.Errorf("it took %v with a second of time", took)
				}
				store.write = nil
				mustRequest(t, m, token, func(ctx context.Context) error {
					if got, want := m.FromContext(ctx).UserID, fmt.Sprint("other", n); got != want {
						t.Errorf("stored is %q, want %q", got, want)
					}
					return nil
				})
			})
		})
	}
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
				once(proxy, "evalsha", func(n int) redistest.Action {
					switch n {
					case 1:
						return redistest.DropReply
					case 2:
						return redistest.Before(g)
					}
					return redistest.Pass
				})
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
