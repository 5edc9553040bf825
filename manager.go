package sessions

import (
	"context"
	"net/http"
)

// A Manager loads and saves the sessions of a program as values of T. It is
// safe for concurrent use; New makes it. A program needs one for each T. Two in
// one program need a cookie name and a [Config].Realm each, or they answer for
// each other's sessions.
type Manager[T any] struct {
	core *core
}

// New returns a Manager that keeps its sessions in store. T is a struct that
// the codec can encode and decode. The error names every mistake in cfg and T
// at once, each with its field and its remedy; New does no I/O.
func New[T any](store Store, cfg Config) (*Manager[T], error) {
	c, err := newCore(store, cfg, describe[T]())
	if err != nil {
		return nil, err
	}
	return &Manager[T]{c}, nil
}

// Handler gives every request that next serves its session. Whatever *T has
// become is saved before the first byte of the response leaves, by whatever
// door, so that whoever has seen a byte finds it saved; what changes after
// that is saved when next returns. A panic of next saves nothing more and goes
// on; a middleware that recovers belongs outside Handler. After a Hijack nothing
// is saved by itself: call Save.
//
// A request whose session cannot be loaded is answered by Config.ErrorHandler;
// next does not see it. Wrapping twice is wrapping once.
func (m *Manager[T]) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.core.serve(w, r, next)
	})
}

// Load finds the session of the first valid token and returns a context that
// carries it, for everything that is not HTTP: gRPC metadata, a WebSocket
// message, a job. It behaves as in Handler: at most four tokens are tried, an
// unknown one is no error, two different valid ones give neither. Skip, Passive
// and Label are for requests and not asked. On an error the context is ctx
// itself.
//
// Changes are saved by [Manager.Commit], and by the verbs; those after the last
// Commit are the caller's to lose.
func (m *Manager[T]) Load(ctx context.Context, tokens ...string) (context.Context, error) {
	s := new(session)
	if err := m.core.load(s, ctx, tokens, false); err != nil {
		return ctx, err
	}
	return s, nil
}

// Commit saves what has changed and tells what the client must learn of it: if
// the Outcome is OutcomeCreated or OutcomeRenewed its Token, if it is
// OutcomeDestroyed that its token is void. It may be called again; each call
// tells what happened since the last. The Outcome is valid with an error too: a
// verb may have made a new token before the save that failed. In an HTTP request Handler does all that:
// there Commit is Save, and tells what the response will say so far.
func (m *Manager[T]) Commit(ctx context.Context) (Outcome, error) {
	var o Outcome
	err := m.core.do(ctx, opCommit, func(ctx context.Context, s *session) error {
		err := s.commit(ctx)
		o = s.result()
		if s.request == nil && err == nil {
			s.outcome = OutcomeUnchanged
		}
		return err
	})
	return o, err
}
