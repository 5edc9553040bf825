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
	// needsSession says that it fails where the session has ended elsewhere or cannot be read. The others may sign
	// somebody in or store nothing, or are done with it.
	needsSession bool
	// aboutOthers says that it is about other sessions than the request's, of which its result says nothing.
	aboutOthers bool
	// keepsErrors says that its success leaves an earlier verb's error in force, except that the store answers again.
	keepsErrors bool
}

var (
	opCommit         = &operation{name: commitName, saves: true}
	opSave           = &operation{name: "save", saves: true}
	opUpdate         = &operation{name: "update", saves: true}
	opReload         = &operation{name: "reload", savesNothing: true, needsSession: true}
	opTouch          = &operation{name: "touch", savesNothing: true, keepsErrors: true, needsSession: true}
	opSignIn         = &operation{name: "sign in", renews: true}
	opRenew          = &operation{name: "renew", renews: true}
	opReauthenticate = &operation{name: "reauthenticate", renews: true, needsSession: true}
	opDestroy        = &operation{name: "destroy"}
	opSessions       = &operation{name: "sessions", aboutOthers: true}
	opSessionsOf     = &operation{name: "sessions of", aboutOthers: true}
	opRevoke         = &operation{name: "revoke"}
	opRevokeOthers   = &operation{name: "revoke others", aboutOthers: true}
	opRevokeAll      = &operation{name: "revoke all"}
	opUpdateAll      = &operation{name: "update all", saves: true}
)

var errNotRenewed = errors.New("sessions: a SignIn, Reauthenticate or Renew of this request has failed, so nothing is saved")

// runVerb runs a verb, one at a time. If the verb changes the token, runVerb writes it into the header.
func (m *core) runVerb(ctx context.Context, op *operation, verb func(context.Context, *session) error) error {
	s, ctx := m.sessionOf(ctx)
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
	var err error
	if op.needsSession {
		err = s.unusableErr()
	}
	if err == nil {
		err = verb(ctx, s)
	}
	if refusal, ok := errors.AsType[*protocol.Refusal](err); ok {
		return refusal.Err
	}
	switch {
	case op.aboutOthers:
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
	if err == nil && !op.aboutOthers {
		s.unanswered = false
	}
	if s.outcome > OutcomeChanged && (s.outcome != outcome || s.stored.Token != token) && s.response != nil {
		s.response.writeHeader()
	}
	return err
}

// unusableErr is why there is no session for a verb that needs one.
func (s *session) unusableErr() error {
	if s.stored.Gone {
		return s.stored.NoteEnded()
	}
	return s.readOnlyErr()
}

// failToBegin is the end of a verb that gets no turn, because the function of an Update is running. What is true of
// a verb that fails is true of this one.
func (s *session) failToBegin(op *operation) error {
	err := fmt.Errorf("%w: %s has waited for the function of an Update of this request: return from it before", ErrConflict, op.name)
	if op.aboutOthers {
		return err
	}
	s.mu.Lock() // it is free while the function runs
	if op.renews {
		s.signErr = err
	}
	s.saveErr = err
	failed := Event{Kind: EventFailed, Session: s.info(), Op: op.name, Err: err, route: s.routeFor(EventFailed)}
	s.mu.Unlock()
	if !op.savesNothing {
		s.core.report(s, failed)
	}
	return err
}

// noteFailure keeps the event of an operation that failed, unless it has one already.
func (s *session) noteFailure(op *operation, err error) {
	if op.savesNothing {
		if _, ok := errors.AsType[*DecodeError](err); ok && s.stored.Unreadable == nil { // of that the load has told
			s.addEvent(EventUndecodable, err)
		}
		return
	}
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrGone) {
		s.addEvent(EventFailed, err)
	}
}
