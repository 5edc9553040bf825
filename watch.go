package sessions

import (
	"context"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// Watch returns a child of ctx that ends when the session of ctx has ended, wherever that happens: by Destroy, a
// revocation, a limit, IdleTimeout, Lifetime or a change of its [Owned] owner (ASVS 5.0 7.4). It is for whatever
// outlives a request: a WebSocket, an event stream, a long poll (docs/live-connections.md). [context.Cause] is then
// [ErrGone]. A renewal does not end it.
//
// It ends at the latest one [Config].WatchInterval and one answer of the store after the session, and at once where
// ctx's own request destroys it. While the store does not answer, it goes on. It is over from the start if the session
// is not stored ([ErrGone]; Save a new one first), or if there is none in ctx ([ErrNoSession]). It is no activity: a
// session that is only watched ends by IdleTimeout.
//
// Call the CancelFunc when the context is of no use any more; the end of ctx does the same. A request's context ends when
// its handler returns: for what goes on after that, watch [context.WithoutCancel] of it. While any session is watched a
// Manager has one goroutine, which reads all of them together, once an interval. Watch is safe for concurrent use.
func (m *Manager[T]) Watch(ctx context.Context) (context.Context, context.CancelFunc) {
	return m.core.watch(ctx)
}

func (m *core) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	s, _ := m.sessionOf(ctx)
	request := requestContext(rootOf(ctx))
	switch {
	case request != nil && requestContext(ctx) != nil: // a framework uses its own context again, for another visitor's request
		ctx = request
	case request != nil && s != nil && request.Value(m) == any(s):
		ctx = within{ctx, request}
	default: // ctx has its end and its session by itself
		request = context.Background()
	}
	watched, cancel := context.WithCancelCause(ctx)
	if s == nil {
		cancel(ErrNoSession)
		return watched, func() {}
	}
	s.mu.Lock() // a renewal of this request that comes later tells the watch
	defer s.mu.Unlock()
	s.live.noteUsed()
	if !s.stored.Stored() || s.stored.Gone {
		cancel(ErrGone)
		return watched, func() {}
	}
	stop := m.engine.Watch(watchNotices{m}, &s.stored, s.base.Owner, func() { cancel(ErrGone) })
	unregister := context.AfterFunc(watched, stop)
	leave := context.AfterFunc(request, func() { cancel(context.Cause(request)) })
	return watched, func() {
		unregister()
		leave()
		stop()
		cancel(context.Canceled)
	}
}

// within is a context that was made of a framework's own one. It has the sessions of its request, also when the framework
// uses its own context again, for another visitor's request.
type within struct {
	context.Context
	request context.Context
}

func (c within) Value(key any) any {
	if s, ok := c.request.Value(key).(*session); ok {
		return s
	}
	return c.Context.Value(key)
}

// watchNotices reports how the store answers the goroutine that watches sessions.
type watchNotices struct{ *core }

// Decode and Adopt implement [protocol.Application]: nobody's *T is concerned.
func (watchNotices) Decode(record.Record) error { return nil }
func (watchNotices) Adopt()                     {}

// Notice implements [protocol.Application]: of an outage it reports the beginning and the end, not each interval.
func (m watchNotices) Notice(n protocol.Notice) {
	if n.Kind == protocol.Unavailable && !n.Outage.First {
		return
	}
	m.report(context.Background(), Event{Kind: noticeEvents[n.Kind], Op: "watch", Err: n.Err, outage: n.Outage})
}
