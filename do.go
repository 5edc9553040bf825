package sessions

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedsessions/sessions/internal/protocol"
)

var errNotSignedIn = errors.New("sessions: a SignIn or Renew of this request has not ended well, so nothing is saved")

// do runs a verb: one at a time, and what it does to the token is in the header before it returns.
func (m *core) do(ctx context.Context, op *operation, verb func(context.Context, *session) error) error {
	s := m.find(ctx)
	if s == nil {
		return ErrNoSession
	}
	if !s.enter(op) {
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
		s.failed(err)
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
