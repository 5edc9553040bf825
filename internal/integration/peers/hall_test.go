package peers_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A hall is where the requests of one cell meet: the test finds there the ones
// that it has started, and their handlers wait there until it lets them go on.
type hall struct {
	timeout     time.Duration // RedisConfig.Timeout of ours; 0 is the default
	undelivered atomic.Int64  // how often a library told that a token may not have arrived; ours alone can

	mu     sync.Mutex
	visits []*visit
}

// A visit is one request that the test watches while it runs.
type visit struct {
	id       string
	arrived  chan struct{} // closed when the handler stands there, its session loaded
	opened   chan struct{} // closed to let it go on
	gone     chan struct{} // closed when the server has noticed that the client hung up
	finished chan struct{} // closed when the handler, and what saves after it, is done
	answered chan answer
	hangUp   context.CancelFunc
	openOnce sync.Once
}

func (h *hall) expect() *visit {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &visit{
		id:       strconv.Itoa(len(h.visits)),
		arrived:  make(chan struct{}),
		opened:   make(chan struct{}),
		gone:     make(chan struct{}),
		finished: make(chan struct{}),
		answered: make(chan answer, 1),
	}
	h.visits = append(h.visits, v)
	return v
}

// find returns nil for a request that nobody watches.
func (h *hall) find(id string) *visit {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i, err := strconv.Atoi(id); err == nil && i < len(h.visits) {
		return h.visits[i]
	}
	return nil
}

// enter is called by the server around everything else; what it returns, when
// that is done.
func (h *hall) enter(ctx context.Context, id string) (leave func()) {
	v := h.find(id)
	if v == nil {
		return func() {}
	}
	context.AfterFunc(ctx, func() { close(v.gone) })
	return func() { close(v.finished) }
}

// park is called by the handler.
func (h *hall) park(id string) {
	if v := h.find(id); v != nil {
		close(v.arrived)
		<-v.opened
	}
}

func (v *visit) open() { v.openOnce.Do(func() { close(v.opened) }) }

func (h *hall) openAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.visits {
		v.open()
	}
}
