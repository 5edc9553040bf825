package sessions

import (
	"context"
	"fmt"
	"reflect"
)

// FromContext returns the session of the request that ctx belongs to: a live *T, the same each time, whose
// changes are saved. A visitor without a session gets a fresh T. If Handler did not wrap the route it
// panics. *T belongs to the request's goroutine. Its unexported fields and those tagged "-" are not stored:
// they last until the request ends, or until Update, Reload or a merge decodes T afresh.
func FromContext[T any](ctx context.Context) *T {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok {
		panic(missingMessage(reflect.TypeFor[T]()))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

func missingMessage(typ reflect.Type) string {
	return fmt.Sprintf("sessions: no session of %[1]v in this context: wrap the route with the Handler of a Manager[%[1]v], or call its Load", typ)
}

// Lookup is FromContext for code that also runs without a session: it says false instead of a panic, and
// for a request that [Config].Skip names.
func Lookup[T any](ctx context.Context) (*T, bool) {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok || s.skipped {
		return nil, false
	}
	return s.live.get(s.core, ctx, s).(*T), true
}

// Take returns *p and resets it to its zero value: for a message shown once.
func Take[V any](p *V) V {
	v := *p
	var zero V
	*p = zero
	return v
}

// FromContext is the function of that name for the sessions of m.
func (m *Manager[T]) FromContext(ctx context.Context) *T {
	s, ok := ctx.Value(m.core).(*session)
	if !ok {
		panic(missingMessage(m.core.typ.reflected))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

// Lookup is the function of that name for the sessions of m.
func (m *Manager[T]) Lookup(ctx context.Context) (*T, bool) {
	s := m.core.sessionOf(ctx)
	if s == nil {
		return nil, false
	}
	return s.live.get(s.core, ctx, s).(*T), true
}
