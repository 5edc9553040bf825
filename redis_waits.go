package sessions

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

const (
	// maxRedisWaits caps the operations that are in a client at once. A server that hangs costs this many goroutines
	// or connections, whatever the number of requests.
	maxRedisWaits = 512

	// Half of it is for the masters of a cluster, each of which has masterWaits of its own. More masters than maxMasters
	// have what all share.
	maxMasters  = 16
	masterWaits = maxRedisWaits / 2 / maxMasters
)

// redisWaits admits operations to a client.
//
// A master of a cluster that does not answer keeps what all share and what is its own, so the others still have theirs.
type redisWaits struct {
	shared  chan struct{}
	cluster clusterClient // nil if the client is none

	// answered says that a node has answered. Then the client knows which master has which slots: asking it for the
	// master of a key does not wait for a node.
	answered atomic.Bool

	mu      sync.Mutex
	masters map[*redis.Client]chan struct{}
}

func newRedisWaits(rdb redis.UniversalClient) *redisWaits {
	cluster, ok := rdb.(clusterClient)
	if !ok {
		return &redisWaits{shared: make(chan struct{}, maxRedisWaits)}
	}
	return &redisWaits{
		shared:  make(chan struct{}, maxRedisWaits-maxMasters*masterWaits),
		cluster: cluster,
		masters: map[*redis.Client]chan struct{}{},
	}
}

// enter waits until ctx is done for the admission of an operation on key, empty for one on a node. What it returns is to
// be received from when the operation has ended; nil means that there was no admission.
func (w *redisWaits) enter(ctx context.Context, key string) (place chan struct{}) {
	own := w.ofMaster(ctx, key)
	select {
	case own <- struct{}{}:
		return own
	default:
	}
	select {
	case own <- struct{}{}:
		place = own
	case w.shared <- struct{}{}:
		place = w.shared
	case <-ctx.Done():
		return nil
	}
	if ctx.Err() != nil { // those before it had the same deadline, and left for that
		<-place
		return nil
	}
	return place
}

// ofMaster returns what the master of key has of its own, nil if it has nothing.
func (w *redisWaits) ofMaster(ctx context.Context, key string) chan struct{} {
	if w.cluster == nil || key == "" || !w.answered.Load() {
		return nil
	}
	master, err := w.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if own, ok := w.masters[master]; ok {
		return own
	}
	if len(w.masters) == maxMasters { // some may have gone
		maps.DeleteFunc(w.masters, func(_ *redis.Client, own chan struct{}) bool { return len(own) == 0 })
	}
	if len(w.masters) == maxMasters {
		return nil
	}
	own := make(chan struct{}, masterWaits)
	w.masters[master] = own
	return own
}

// note notes with what an operation has ended.
func (w *redisWaits) note(err error) {
	if w.cluster != nil && !w.answered.Load() && (err == nil || errors.Is(err, ErrNotFound)) {
		w.answered.Store(true)
	}
}
