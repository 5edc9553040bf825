package sessions

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A topology has a cluster's client look again which master has which slots, as long as operations are not answered.
//
// By itself a ClusterClient looks once a minute, and when a node redirects it. A node that has died redirects
// nobody, so the client would ask it for up to a minute after a replica has taken over.
type topology struct {
	client clusterClient // nil if the store's client is none
	looks  chan struct{} // those that wait for a node

	mu      sync.Mutex
	until   time.Time // when to stop
	running bool
}

// clusterClient is [redis.ClusterClient], whose ForEachMaster looks first. Its ReloadState has one look at a time: if
// that asks a node that is stopped, it ends with the client's ReadTimeout.
type clusterClient interface {
	ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
}

const (
	topologyInterval = 250 * time.Millisecond // between two looks
	topologyTime     = 4 * time.Second        // to go on after the last error, and for one look
	topologyWait     = 20 * time.Millisecond  // for an answer, before it says something that there was none
	maxTopologyLooks = 8                      // at once
)

func (t *topology) init(rdb redis.UniversalClient) {
	if c, ok := rdb.(clusterClient); ok {
		t.client, t.looks = c, make(chan struct{}, maxTopologyLooks)
	}
}

// noteError is called with the error of each operation and does not wait. An operation that was given up early,
// because its caller had little time left, tells nothing.
func (t *topology) noteError(err error, began time.Time, timeout time.Duration) {
	if t.client == nil || !mayBeGone(err) || errors.Is(err, context.DeadlineExceeded) && time.Since(began) < min(timeout/4, topologyWait) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Now().Add(topologyTime)
	if !t.running {
		t.running = true
		go t.run()
	}
}

// mayBeGone is false of an error by which a server has answered, unless the cluster is changing, and of a client that
// is closed.
func mayBeGone(err error) bool {
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, redis.ErrClosed) {
		return false
	}
	_, answered := errors.AsType[redis.Error](err)
	return !answered || redis.HasErrorPrefix(err, "CLUSTERDOWN") || redis.HasErrorPrefix(err, "LOADING")
}

// run looks until the time is up. A look may ask the very node that does not answer, so the next one does not wait
// for it.
func (t *topology) run() {
	for t.goOn() {
		select {
		case t.looks <- struct{}{}:
			go t.look()
		default:
		}
		time.Sleep(topologyInterval)
	}
}

// look has the client look once. A panic, a hook's, ends here: there is no caller who could recover.
func (t *topology) look() {
	defer func() {
		<-t.looks
		_ = recover()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), topologyTime)
	defer cancel()
	_ = t.client.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
}

func (t *topology) goOn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = time.Now().Before(t.until)
	return t.running
}
