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
	// saves says that it stores T under the token it has. It does not run while signErr is set.
	saves bool
	// renews says that it stores T under a new token. If it fails, nothing is saved until one succeeds.
	renews bool
	// savesNothing says that its failure is no EventFailed.
	savesNothing bool
	// needsSession says that it is ErrGone on a session that has ended elsewhere. The others may sign somebody in, or
	// are done with it.
	needsSession bool
	// keepsErrors says that its success leaves an earlier verb's error in force, except that the store answers again.
	keepsErrors bool
}

var (
	opCommit  = &operation{name: "commit", saves: true}
	opSave    = &operation{name: "save", saves: true}
	opUpdate  = &operation{name: "update", saves: true}
	opReload  = &operation{name: "reload", savesNothing: true, needsSession: true}
	opTouch   = &operation{name: "touch", savesNothing: true, keepsErrors: true, needsSession: true}
	opSignIn  = &operation{name: "sign in", renews: true}
	opRenew   = &operation{name: "renew", renews: true, needsSession: true}
	opDestroy = &operation{name: "destroy"}
)

var errNotRenewed = errors.New("sessions: a SignIn or Renew of this request has failed, so nothing is saved")

// runVerb runs a verb, one at a time. If the verb changes the token, runVerb writes it into the header.
func (m *core) runVerb(ctx context.Context, op *operation, verb func(context.Context, *session) error) error {
	s := m.sessionOf(ctx)
	if s == nil {
		return ErrNoSession
	}
	if !s.begin(op.name) {
		return s.failToBegin(op)
	}
	defer s.end()
	s.live.noteUsed()
	s.byCommit = false
	if s.signErr != nil && op.saves {
		return s.signErr
	}
	outcome, token := s.outcome, s.stored.Token
	if op.renews {
		s.signErr = errNotRenewed // it stays if the verb panics
	}
	err := ErrGone
	if !s.stored.Gone || !op.needsSession {
		err = verb(ctx, s)
	}
	if refusal, ok := errors.AsType[*protocol.Refusal](err); ok {
		return refusal.Err
	}
	switch {
	case err != nil:
		s.noteFailure(op, err)
		if op.renews {
			s.signErr = err
		}
		s.saveErr = err
		if errors.Is(err, ErrUnavailable) {
			s.lossTold = s.unanswered && s.lossTold || op.saves || op.renews
			s.unanswered = true
		}
	case op.saves: // signErr was nil, unless a sign-in could not begin meanwhile
		s.saveErr = nil
	case !op.keepsErrors:
		s.saveErr, s.signErr = nil, nil
	}
	if err == nil {
		s.unanswered = false
	}
	if s.outcome > OutcomeChanged && (s.outcome != outcome || s.stored.Token != token) && s.response != nil {
		s.response.writeHeader()
	}
	return err
}

// failToBegin is the end of a verb that gets no turn, because the function of an Update is running. What is true of
// a verb that fails is true of this one.
func (s *session) failToBegin(op *operation) error {
	err := fmt.Errorf("%w: %s has waited for the function of an Update of this request: return from it before", ErrConflict, op.name)
	s.mu.Lock() // it is free while the function runs
	if op.renews {
		s.signErr = err
	}
	s.saveErr = err
	failed := Event{Kind: EventFailed, Session: s.info(), Op: op.name, Err: err}
	s.mu.Unlock()
	if !op.savesNothing {
		s.core.report(s, failed)
	}
	return err
}

// noteFailure keeps the event of an operation that failed, unless it has one already.
func (s *session) noteFailure(op *operation, err error) {
	if op.savesNothing {
		if _, ok := errors.AsType[*DecodeError](err); ok {
			s.addEvent(EventUndecodable, err)
		}
		return
	}
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrGone) {
		s.addEvent(EventFailed, err)
	}
}
