package peers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/redistest"
)

// A world is what a scenario plays in: a peer's server, the proxy between it
// and an empty Redis, and visitors.
type world struct {
	t         *testing.T
	peer      peer
	hall      *hall
	redis     *redistest.Server
	rdb       *redis.Client
	proxy     *redistest.Proxy
	url       string
	transport *http.Transport
}

func newWorld(t *testing.T, p peer, server *redistest.Server, timeout time.Duration) *world {
	t.Helper()
	w := &world{t: t, peer: p, hall: &hall{timeout: timeout}, redis: server, rdb: server.Client(t)}
	if err := w.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	w.proxy = redistest.NewProxy(t, server.Addr)
	w.url = p.start(t, w.proxy.Addr, w.hall)
	w.transport = &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // each server has its own certificate
		MaxIdleConnsPerHost: 128,
	}
	t.Cleanup(func() {
		w.hall.openAll()
		w.transport.CloseIdleConnections()
	})
	return w
}

// second is the URL of another server of the same site, with its own
// connections to Redis, past the proxy.
func (w *world) second() string {
	w.t.Helper()
	url := w.peer.start(w.t, w.redis.Addr, w.hall)
	w.t.Cleanup(w.transport.CloseIdleConnections)
	return url
}

func (w *world) browser() *browser { return newBrowser(w.t, w.url, w.transport) }

// visitor is a browser whose session is ann's. It has been changed once, so
// that Redis knows the script that changes it.
func (w *world) visitor() *browser {
	w.t.Helper()
	b := w.browser()
	b.must("/set?k=User&v=ann")
	b.must("/set?k=Theme&v=plain")
	if got := b.read("User"); got != "ann" {
		w.t.Fatalf("no session to start with: the user is %q", got)
	}
	return b
}

// launch sends a request that will stand in its handler until it is opened.
func (w *world) launch(b *browser, path string) *visit {
	v := w.hall.expect()
	var ctx context.Context
	ctx, v.hangUp = context.WithCancel(context.Background())
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	go func() { v.answered <- b.do(ctx, path+sep+"visit="+v.id) }()
	return v
}

// start sends a request that nothing in the handler stops.
func (w *world) start(b *browser, path string) *visit {
	v := w.launch(b, path)
	v.open()
	return v
}

// park sends a request and returns when its handler has its session.
func (w *world) park(b *browser, path string) *visit {
	w.t.Helper()
	v := w.launch(b, path)
	w.loaded(v)
	return v
}

func (w *world) loaded(v *visit) {
	w.t.Helper()
	select {
	case <-v.arrived:
	case a := <-v.answered:
		w.t.Fatalf("answered before its handler had a session: %s", a)
	case <-time.After(deadlock):
		w.t.Fatal("the handler is not reached")
	}
}

// finish lets a request go on and returns its answer.
func (w *world) finish(v *visit) answer {
	w.t.Helper()
	v.open()
	a, err := w.within(v, deadlock)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.err != nil {
		w.t.Fatal(a.err)
	}
	return a
}

// within waits for the answer, but not for ever.
func (w *world) within(v *visit, patience time.Duration) (answer, error) {
	select {
	case a := <-v.answered:
		return a, nil
	case <-time.After(patience):
		return answer{}, fmt.Errorf("no answer after %v", patience)
	}
}

// abandon closes the browser's connection, waits until the server knows, and
// lets act free the request, and returns when that is done.
func (w *world) abandon(v *visit, act func()) {
	w.t.Helper()
	v.hangUp()
	<-v.answered
	if !w.peer.deaf {
		w.wait(v.gone, "the server to notice that the client hung up")
	}
	act()
	w.wait(v.finished, "the handler")
}

func (w *world) wait(done <-chan struct{}, what string) {
	w.t.Helper()
	select {
	case <-done:
	case <-time.After(deadlock):
		w.t.Fatalf("waited in vain for %s", what)
	}
}

// deadlock is how long nothing takes that happens at all.
const deadlock = 30 * time.Second

// holding counts the records in Redis that have the text in them.
func (w *world) holding(text string) int {
	w.t.Helper()
	n := 0
	for _, key := range w.keys() {
		v, err := w.rdb.Get(w.t.Context(), key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			w.t.Fatal(err)
		}
		if strings.Contains(v, text) {
			n++
		}
	}
	return n
}

func (w *world) keys() []string {
	w.t.Helper()
	keys, err := w.rdb.Keys(w.t.Context(), "*").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}
