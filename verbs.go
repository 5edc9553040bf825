package sessions

import (
	"context"
	"errors"
	"slices"

	"github.com/typedsessions/sessions/internal/record"
)

// Save saves the session now instead of at the first byte of the response, and
// tells the caller whether that worked. It does nothing if T has not changed.
//
// Like every verb it is done when it returns nil; it does not stop when ctx is
// cancelled, for a client that hangs up must not lose what it did; and it
// returns [ErrUnavailable] after the store's Timeout, which begins when the
// writers of this session before it in this process are done, [ErrGone] if the session
// ended meanwhile, [ErrTooLarge], [ErrConflict], [ErrCommitted] for a new
// session after the header has gone, and [ErrNoSession] for a context without
// one.
//
// After an error the response is the handler's: the automatic save no longer
// replaces it. It still saves what the handler has mended in *T, for one that
// was too large say, but it does not ask a store again that was unavailable.
//
// Verbs run one at a time. Touch and Info may run beside the handler; the others
// read or write *T, and those that make or void a token the response header,
// which both belong to the request's goroutine.
func (m *Manager[T]) Save(ctx context.Context) error {
	return m.core.do(ctx, opSave, func(ctx context.Context, s *session) error { return s.commit(ctx) })
}

// Reload replaces *T by what is stored now and restarts the idle timeout. What
// the request had changed is lost. A session that was never stored becomes
// fresh.
func (m *Manager[T]) Reload(ctx context.Context) error {
	return m.core.do(ctx, opReload, within((*session).reload))
}

// Touch restarts the idle timeout, as loading the session did: for a handler
// that runs long, or a request that [Config].Passive made passive. It does
// nothing for a session that was never stored.
func (m *Manager[T]) Touch(ctx context.Context) error {
	return m.core.do(ctx, opTouch, within((*session).touch))
}

// A SignInOption changes what [Manager.SignIn] does.
type SignInOption int

// Remembered gives the session the timeouts of [Config].Remember and a cookie
// that persists. A sign-in without it takes both away again.
const Remembered SignInOption = 1

// SignIn says that the user has just proved who they are. The session gets a
// new token, which ends session fixation (OWASP Session Management, ASVS 5.0
// 7.2.4); CreatedAt, and with it the Lifetime, and AuthenticatedAt restart.
// *T keeps its content: write the user into it before, and reset what an
// anonymous visitor may not hand on.
//
// From the moment SignIn has claimed the session the old token is refused. If
// the response with the new one is lost, the user signs in again. SignIn
// stores a session that was not.
//
// If it fails, what the handler wrote into T is not stored, by the automatic
// save neither: nobody is signed in under the token from before. That holds
// until a SignIn or Renew succeeds, or Reload or Destroy resets T.
func (m *Manager[T]) SignIn(ctx context.Context, opts ...SignInOption) error {
	return m.core.do(ctx, opSignIn, func(ctx context.Context, s *session) error {
		r := signIn(s.began, slices.Contains(opts, Remembered))
		if !s.stored.Stored() {
			mine, _, err := s.encode()
			if err != nil {
				return err
			}
			rec := s.newRecord()
			r.header(&rec)
			return s.create(ctx, mine, rec)
		}
		return s.renew(ctx, r)
	})
}

// Renew gives the session a new token and leaves everything else, deadlines
// included: after any change of privilege (ASVS 5.0 7.2.4). Like SignIn it
// refuses the old token at once, and if it fails nothing is stored. A session
// that was never stored is saved, if T has changed: there is no token to replace.
func (m *Manager[T]) Renew(ctx context.Context) error {
	return m.core.do(ctx, opRenew, func(ctx context.Context, s *session) error {
		if !s.stored.Stored() {
			return s.commit(ctx)
		}
		return s.renew(ctx, &renewal{EventRenewed, func(*record.Record) {}})
	})
}

// renew gives a stored session a new token.
func (s *session) renew(ctx context.Context, r *renewal) error {
	mine, changed, err := s.encode()
	if err != nil {
		return err
	}
	return s.write(ctx, &edit{s: s, mine: mine, changed: changed, renewal: r})
}

// Destroy ends the session: sign-out. The record is gone when it returns nil,
// also if the token was renewed meanwhile, and the response expires the
// cookie. A request whose token had been renewed by another one within the
// last ten seconds ends that session too, and one that carried two valid
// sessions ends both. *T becomes fresh; writing to it starts a new session.
//
// On an error the session lives, and so does its cookie; it is [ErrGone] in a
// request that took longer than ten seconds and no longer finds the session,
// which may have been destroyed or renewed.
func (m *Manager[T]) Destroy(ctx context.Context) error {
	return m.core.do(ctx, opDestroy, within((*session).destroy))
}

// Info tells what is known about the session besides T; the zero Info if ctx
// carries none.
func (m *Manager[T]) Info(ctx context.Context) Info {
	s := m.core.find(ctx)
	if s == nil {
		return Info{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.use()
	s.stored.ID()
	return s.info()
}

// destroy ends everything that the request's tokens stand for.
func (s *session) destroy(ctx context.Context) error {
	had, err := s.stored.Destroy(ctx)
	if errors.Is(err, ErrGone) {
		s.event(EventGone, ErrGone)
		s.forget()
	}
	if err != nil {
		return err
	}
	if had {
		s.event(EventDestroyed, nil)
		s.outcome, s.ended = OutcomeDestroyed, s.stored.Token
	}
	s.wrote = true // SaveUninitialized does not apply any more: the end was asked for
	attrs := s.stored.Record.Attrs
	s.forget()
	s.stored.Record.Attrs = attrs // by them the Transport takes back what it sent
	return nil
}

// within gives a verb the time of one operation.
func within(verb func(*session, context.Context) error) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		ctx, cancel := s.core.engine.Detach(ctx)
		defer cancel()
		return verb(s, ctx)
	}
}
