package sessions

import (
	"context"
	"fmt"
	"reflect"
	"strings"
)

// FromContext returns the session of the request that ctx belongs to: a live *T, the same each time, whose
// changes are saved. A visitor without a session gets a fresh T. If Handler did not wrap the route it
// panics. *T belongs to the request's goroutine. Its unexported fields and those tagged "-" are not stored:
// they last until the request ends, or until Update, Reload or a merge decodes T afresh.
func FromContext[T any](ctx context.Context) *T {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok {
		panic(missingMessage(ctx, reflect.TypeFor[T]()))
	}
	return s.live.get(s.core, ctx, s).(*T)
}

// missingMessage says what is in the place of a session of a type, and the remedy.
func missingMessage(ctx context.Context, typ reflect.Type) string {
	var others []string
	for s := range sessionsIn(ctx) {
		name := s.core.typ.reflected.String()
		if s.core.typ.reflected == typ {
			name += " by another Manager"
		}
		others = append(others, name)
	}
	only, instead := "", ""
	if len(others) > 0 {
		only = ", only of " + strings.Join(others, ", ")
	} else if root := rootOf(ctx); !strings.HasPrefix(strings.TrimPrefix(root, "*"), "context.") {
		instead = fmt.Sprintf("; it is a %s: pass the request's context, such as c.Request.Context(), or the one that Load has returned", root)
	}
	return fmt.Sprintf("sessions: no session of %[1]v in this context%[2]s: wrap the route with the Handler of a Manager[%[1]v], or call its Load%[3]s", typ, only, instead)
}

// rootOf names the type of the context of which ctx was made, so that a framework's context is known behind a
// context.WithTimeout too. It goes by types, because what contexts print holds values.
func rootOf(ctx context.Context) string {
	v := reflect.ValueOf(ctx)
	for reflect.Indirect(v).Kind() == reflect.Struct {
		parent := reflect.Indirect(v).FieldByName("Context")
		if !parent.IsValid() || parent.Kind() != reflect.Interface || parent.IsNil() {
			break
		}
		v = parent.Elem()
	}
	return v.Type().String()
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
		panic(missingMessage(ctx, m.core.typ.reflected))
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
