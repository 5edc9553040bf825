package sessions

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedsessions/sessions/internal/protocol"
)

// An operation is what a verb or a commit may do, and what follows from its failure.
type operation struct {
	name string // in events
	// saves: it stores T. It does not run while a sign-in has failed, and its error is what Handler knows
	// when the response begins.
	saves bool
	// signs: it stores T under a new token. If it fails, nothing is saved until one succeeds.
	signs bool
	// reads: it saves nothing, so its failure is no EventFailed.
	reads bool
	// ends: it also works on a session that has ended elsewhere.
	ends bool
	// pending: its success does not settle the error of another verb.
	pending bool
}

var (
	opCommit  = &operation{name: "commit", saves: true}
	opSave    = &operation{name: "save", saves: true}
	opUpdate  = &operation{name: "update", saves: true}
	opReload  = &operation{name: "reload", reads: true}
	opTouch   = &operation{name: "touch", reads: true, pending: true}
	opSignIn  = &operation{name: "sign in", signs: true}
	opRenew   = &operation{name: "renew", signs: true}
	opDestroy = &operation{name: "destroy", ends: true}
)

var errNotSignedIn = errors.New("sessions: a SignIn or Renew of this request has not ended well, so nothing is saved")

// do runs a verb: one at a time, and what it does to the token is in the header before it returns.
func (m *core) do(ctx context.Context, op *operation, verb func(context.Context, *session) error) error {
	s := m.find(ctx)
	if s == nil {
		return ErrNoSession
	}
	if !s.enter(op.name) {
		return fmt.Errorf("%w: %s has waited %v for another verb of this request: return from the function of an Update before", ErrConflict, op.name, 2*m.engine.Timeout)
	}
	defer s.leave()
	s.live.use()
	if s.stored.Gone && !op.ends {
		s.saveErr = ErrGone
		return ErrGone
	}
	if s.signErr != nil && op.saves {
		return s.signErr
	}
	outcome, token := s.outcome, s.stored.Token
	if op.signs {
		s.signErr = errNotSignedIn // for a verb that panics
	}
	err := verb(ctx, s)
	if refusal, ok := errors.AsType[*protocol.Refusal](err); ok {
		return refusal.Err
	}
	switch {
	case err != nil:
		s.failed(op, err)
		if op.signs {
			s.signErr = err
		}
		if op.signs || op.saves || s.stored.Gone {
			s.saveErr = err
		}
	case !op.pending:
		s.saveErr, s.signErr = nil, nil
	}
	if s.outcome > OutcomeChanged && (s.outcome != outcome || s.stored.Token != token) && s.response != nil {
		s.response.writeHeader()
	}
	return err
}

// failed keeps the event of an operation that failed, unless it has one already.
func (s *session) failed(op *operation, err error) {
	if op.reads {
		if _, ok := errors.AsType[*DecodeError](err); ok {
			s.event(EventUndecodable, err)
		}
		return
	}
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrGone) {
		s.event(EventFailed, err)
	}
}
