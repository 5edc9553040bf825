package sessions

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/typedsessions/sessions/internal/goroutine"
)

// FromContext returns the session of the request that ctx belongs to: a live *T, the same each time, whose
// changes are saved. ctx may be a framework's own context, such as gin's or fiber's, but only until the handler
// returns, because the framework then uses it for another visitor's request. A visitor without a session gets a
// fresh T. If Handler did not wrap the route it panics. *T belongs to the request's goroutine. Its unexported
// fields and those tagged "-" are not stored: they last until the request ends, or until Update, Reload or a merge
// decodes T afresh.
func FromContext[T any](ctx context.Context) *T {
	s, ctx := find(ctx, typeKey[T]{})
	if s == nil {
		panic(missingMessage(ctx, reflect.TypeFor[T]()))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

// missingMessage says what is in the place of a session of a type, and the remedy.
func missingMessage(ctx context.Context, typ reflect.Type) string {
	root := rootOf(ctx)
	request := requestContext(root)
	if request != nil {
		ctx = request
	}
	manager := fmt.Sprintf("a Manager[%v]", typ)
	var others []string
	for s := range sessionsIn(ctx) {
		name := s.core.typ.reflected.String()
		if s.core.typ.reflected == typ {
			name += " by another Manager"
			manager = "this " + manager[len("a "):]
		}
		others = append(others, name)
	}
	only, instead := "", ""
	if len(others) > 0 {
		only = ", only of " + strings.Join(others, ", ")
	} else if name := reflect.TypeOf(root).String(); request == nil && !strings.HasPrefix(strings.TrimPrefix(name, "*"), "context.") {
		instead = fmt.Sprintf("; it is a %s: pass the request's context, such as c.Request.Context(), or the one that Load has returned", name)
	}
	for module, remedy := range frameworks {
		if goroutine.CalledIn(module) {
			instead = "; " + remedy
		}
	}
	return fmt.Sprintf("sessions: no session of %v in this context%s: wrap the route with the Handler of %s, or call its Load%s", typ, only, manager, instead)
}

// frameworks are those whose handlers are not reached by Handler alone: the path of the module, and the remedy. They are
// known by the callers, because what a program has put in the place of the middleware may have left no trace in the context.
var frameworks = map[string]string{
	"github.com/gin-gonic/gin": "with gin, put ginsessions.Middleware(m) before the route by Use, from github.com/typedsessions/sessions/contrib/gin, and pass c",
	"github.com/gofiber/fiber": "with fiber, put fibersessions.Middleware(m) before the route by Use, from github.com/typedsessions/sessions/contrib/fiber, and pass c; behind adaptor.HTTPMiddleware Handler has returned before the route runs",
	"google.golang.org/grpc":   "with gRPC, give grpc.NewServer the interceptors grpcsessions.Unary(m) and grpcsessions.Stream(m), from github.com/typedsessions/sessions/contrib/grpc",
}

// Lookup is FromContext for code that also runs without a session: it says false instead of a panic, and
// for a request that [Config].Skip names.
func Lookup[T any](ctx context.Context) (*T, bool) {
	s, ctx := find(ctx, typeKey[T]{})
	if s == nil || s.skipped {
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
	s, ctx := find(ctx, m.core)
	if s == nil {
		panic(missingMessage(ctx, m.core.typ.reflected))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

// Lookup is the function of that name for the sessions of m.
func (m *Manager[T]) Lookup(ctx context.Context) (*T, bool) {
	s, ctx := m.core.sessionOf(ctx)
	if s == nil {
		return nil, false
	}
	return s.live.get(s.core, ctx, s).(*T), true
}
