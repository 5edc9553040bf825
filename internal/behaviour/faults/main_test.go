package faults_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestMain(m *testing.M) {
	kit.Parallel(32) // they wait for servers that are silent
	kit.MainForEachOwner(m)
}

// The Timeout of stores whose time is measured.
const timeout = time.Second

// quiet is how long the cause of an outage has to stay away before the outage has ended.
const quiet = 10 * time.Second

// bounded is a RedisStore with that Timeout.
func bounded(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:", Timeout: timeout})
}

// wantInTime runs f, and fails the test if it takes longer than Timeout plus a
// tenth each time: a busy machine is late by itself now and then, a store
// without a bound is late each time.
func wantInTime(t testing.TB, what string, f func()) {
	t.Helper()
	wantInTimeAfter(t, what, func() func() { return f })
}

// wantInTimeAfter is [wantInTime] for a function that has to be prepared each time.
func wantInTimeAfter(t testing.TB, what string, prepare func() (f func())) {
	t.Helper()
	var took, timer time.Duration
	for range 5 {
		f := prepare()
		start, passed := time.Now(), make(chan time.Duration, 1)
		time.AfterFunc(timeout, func() { passed <- time.Since(start) })
		f()
		took = time.Since(start)
		if took <= timeout+timeout/10 {
			return
		}
		if timer = <-passed; took <= timer+timeout/10 { // the timer is as late as the machine
			return
		}
	}
	t.Errorf("%s took %v, want at most a tenth of %v more than a timer, which took %v", what, took, timeout, timer)
}

// handle is one request with this token, for a handler that only acts.
func handle(m *sessions.Manager[kit.Session], token string, f func(ctx context.Context)) *http.Response {
	return kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context()) })), kit.With(token, "/"))
}

// wantUnavailable compares what a client sees of an outage.
func wantUnavailable(t testing.TB, res *http.Response) {
	t.Helper()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q, want 503 and one", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if c := res.Header["Set-Cookie"]; len(c) > 0 {
		t.Errorf("it sends a cookie: %q", c)
	}
}

// wantLines compares the beginnings of the lines of a log.
func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("log %q, want %q", got, want)
	}
}

// on makes a proxy do this to the commands of these names, and pass the others.
func on(proxy *redistest.Proxy, action redistest.Action, names ...string) {
	proxy.On(func(cmd []string) redistest.Action {
		if slices.Contains(names, strings.ToLower(cmd[0])) {
			return action
		}
		return redistest.Pass
	})
}

// A dial makes a client of the server at an address, and says how to close it.
type dial func(t testing.TB, addr string) (rdb redis.UniversalClient, end func() error)

func client(o redis.Options) dial {
	return func(_ testing.TB, addr string) (redis.UniversalClient, func() error) {
		o := o
		o.Addr = addr
		c := redis.NewClient(&o)
		return c, c.Close
	}
}

func cluster(o redis.ClusterOptions) dial {
	return func(_ testing.TB, addr string) (redis.UniversalClient, func() error) {
		o := o
		o.Addrs = []string{addr}
		c := redis.NewClusterClient(&o)
		return c, c.Close
	}
}

// oneNode is for a server that is no cluster.
func oneNode(o redis.ClusterOptions) dial {
	return func(t testing.TB, addr string) (redis.UniversalClient, func() error) {
		o := o
		o.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
		}
		return cluster(o)(t, addr)
	}
}

// failover is for the address of a sentinel.
func failover(o redis.FailoverOptions) dial {
	return func(_ testing.TB, addr string) (redis.UniversalClient, func() error) {
		o := o
		o.MasterName, o.SentinelAddrs = "sessions", []string{addr}
		c := redis.NewFailoverClient(&o)
		return c, c.Close
	}
}

// pipelined is an AutoPipeliner on another client.
func pipelined(d dial) dial {
	return func(t testing.TB, addr string) (redis.UniversalClient, func() error) {
		c, end := d(t, addr)
		p, err := c.AutoPipeline()
		kit.Must(t, err)
		return p, func() error { return errors.Join(p.Close(), end()) }
	}
}

// async is an asynchronous AutoPipeliner on another client: what it is given is waited for without a goroutine.
func async(d dial) dial {
	return func(t testing.TB, addr string) (redis.UniversalClient, func() error) {
		c, end := d(t, addr)
		p, err := c.AsyncAutoPipeline()
		kit.Must(t, err)
		return p, func() error { return errors.Join(p.Close(), end()) }
	}
}

// open is a client that is closed at the end of t.
func (d dial) open(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	rdb, end := d(t, addr)
	t.Cleanup(func() { end() })
	return rdb
}

// silent is a client of a server that accepts connections and never answers. It
// is closed after the server: an AutoPipeliner drains, for half a minute if need be.
func (d dial) silent(t testing.TB) redis.UniversalClient {
	t.Helper()
	var end func() error
	t.Cleanup(func() { end() })
	addr := redistest.Silent(t)
	var rdb redis.UniversalClient
	rdb, end = d(t, addr)
	return rdb
}
