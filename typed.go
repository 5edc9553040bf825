package sessions

import (
	"context"
	"fmt"
	"reflect"
)

// FromContext returns the session of the request that ctx belongs to: a live
// *T, the same each time, whose changes are saved. It never fails; a visitor
// without a session gets a fresh T, which is stored once it changes.
//
// *T belongs to the request's goroutine. Its unexported fields and those
// tagged "-" live as long as the request.
//
// Where two managers have the same T, the inner Handler's answers;
// [Manager.FromContext] asks for one of them. Without any FromContext panics:
// that is a route that was not wrapped. [Lookup] does not.
func FromContext[T any](ctx context.Context) *T {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok {
		panic(missing(reflect.TypeFor[T]()))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

func missing(typ reflect.Type) string {
	return fmt.Sprintf("sessions: no session of %[1]v in this context: wrap the route with the Handler of a Manager[%[1]v], or call its Load", typ)
}

// Lookup is FromContext for code that also runs without a session: it says
// false where FromContext would panic, and for a request that [Config].Skip
// leaves out.
func Lookup[T any](ctx context.Context) (*T, bool) {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok || s.skipped {
		return nil, false
	}
	return s.live.get(s.core, ctx, s).(*T), true
}

// Take returns *p and resets it to its zero value: a message that is shown
// once.
func Take[V any](p *V) V {
	v := *p
	var zero V
	*p = zero
	return v
}

// FromContext is the function of that name for the sessions of m, where several
// managers share a T.
func (m *Manager[T]) FromContext(ctx context.Context) *T {
	s, ok := ctx.Value(m.core).(*session)
	if !ok {
		panic(missing(m.core.typ.typ))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

// Lookup is the function of that name for the sessions of m.
func (m *Manager[T]) Lookup(ctx context.Context) (*T, bool) {
	s := m.core.find(ctx)
	if s == nil {
		return nil, false
	}
	return s.live.get(s.core, ctx, s).(*T), true
}
