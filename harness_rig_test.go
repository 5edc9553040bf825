package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// gate parks whoever passes it: the test waits until it has arrived, acts, and
// opens. An unarmed gate lets everybody through.
type gate struct {
	arrived, opened chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

// pass parks the caller until open.
func (g *gate) pass() {
	close(g.arrived)
	<-g.opened
}

func (g *gate) wait() { <-g.arrived }
func (g *gate) open() { close(g.opened) }

// A rig is an app whose requests can be parked at each step of the store. Its
// routes are the verbs; the answer is what the verb returned.
type rig struct {
	*app
	rdb    *redis.Client
	steps  *steps
	second *app // another process, whose requests are never parked
}

// elsewhere is b with its requests sent to the other process: in one process
// the writers of a session take turns, so whoever is to act while another one
// is parked must be in the other.
func (r *rig) elsewhere(b *browser) *browser { return &browser{r.second, b.c} }

func newRig(t *testing.T, rdb *redis.Client, cfg sessions.Config) *rig {
	t.Helper()
	rdb.FlushAll(t.Context())
	s := &steps{}
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second}) // a busy machine is no fault here
	r := &rig{
		newApp(t, &stepStore{Store: store, before: s.hook("before"), after: s.hook("after")}, cfg), rdb, s,
		newApp(t, store, cfg),
	}
	verbs(r.mux, r.m)
	verbs(r.second.mux, r.second.m)
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
