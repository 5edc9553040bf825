package sessions

import (
	"context"
	"net/http"

	"github.com/typedsessions/sessions/internal/protocol"
)

// A Manager loads and saves sessions as values of T. It is safe for concurrent use. Two in one program need
// a cookie name and a [Config].Realm each, unless they share their sessions ([FirstOf]); Handlers that nest with one cookie panic.
type Manager[T any] struct {
	core *core
}

// New returns a Manager on store. T is a struct that the codec can encode and decode. The error names every
// mistake in cfg and T; New does no I/O.
func New[T any](store Store, cfg Config) (*Manager[T], error) {
	c, err := newCore(store, cfg, typeInfoOf[T]())
	if err != nil {
		return nil, err
	}
	return &Manager[T]{c}, nil
}

// Handler gives every request that next serves its session. What *T has become is saved before the first
// byte of the response leaves; what changes later is saved when next returns. If the session cannot be
// loaded, [Config].ErrorHandler answers instead of next (a record that cannot be read: [Config].OnUndecodable). A
// panic of next saves nothing more and goes on. After a Hijack nothing is saved by itself: call Save.
func (m *Manager[T]) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.core.serve(w, r, next)
	})
}

// Load returns a context with the session of the first valid token, for WebSocket messages and jobs; for gRPC see contrib/grpc.
// An unknown token is no error; with an error (a [*DecodeError] only by [UndecodableFail]) the context is ctx.
// Changes are saved by [Manager.Commit] and the verbs.
func (m *Manager[T]) Load(ctx context.Context, tokens ...string) (context.Context, error) {
	s := new(session)
	if err := m.core.load(s, ctx, tokens, protocol.AtOnce, nil); err != nil {
		return ctx, err
	}
	return s, nil
}

// Commit saves what has changed and tells what the client must learn since the last Commit, with an error
// too. In Handler's requests it is Save.
func (m *Manager[T]) Commit(ctx context.Context) (Outcome, error) {
	var o Outcome
	err := m.core.runVerb(ctx, opCommit, func(ctx context.Context, s *session) error {
		err := s.saveIfChanged(ctx)
		o = s.result()
		if s.request == nil {
			s.clientHas = s.clientHas || o.Kind == OutcomeCreated || o.Kind == OutcomeRenewed
			if err == nil {
				s.outcome, s.ended = OutcomeUnchanged, nil
			}
		}
		return err
	})
	return o, err
}
