package sessions

import (
	"context"
	"errors"
	"slices"

	"github.com/typedsessions/sessions/internal/record"
)

// Save saves the session now, if T has changed, instead of before the first byte of the response. Every
// verb is done when it returns nil, and does not stop when ctx is cancelled. Its errors are
// [ErrUnavailable] after the store's Timeout, [ErrGone], [ErrTooLarge], [ErrConflict], [ErrCommitted] for a
// new session after the header was sent, and [ErrNoSession]; after one, the response is the handler's
// (docs/errors.md). Verbs belong to the request's goroutine; only Touch and Info may run beside it.
func (m *Manager[T]) Save(ctx context.Context) error {
	return m.core.runVerb(ctx, opSave, func(ctx context.Context, s *session) error { return s.saveIfChanged(ctx) })
}

// Reload replaces *T by what is stored now and restarts the idle timeout. What the request had changed is
// lost. After an error *T is as before, and the response is the handler's, as after Save.
func (m *Manager[T]) Reload(ctx context.Context) error {
	return m.core.runVerb(ctx, opReload, withTimeout((*session).reload))
}

// Touch restarts the idle timeout, for a long request or a [Config].Passive one. After an error the
// response is the handler's, as after Save; after [ErrUnavailable] *T is saved only if a later verb succeeds.
func (m *Manager[T]) Touch(ctx context.Context) error {
	return m.core.runVerb(ctx, opTouch, withTimeout((*session).touch))
}

// A SignInOption changes what [Manager.SignIn] does.
type SignInOption int

// Remembered sets [Config].Remember's timeouts and makes the cookie persist.
const Remembered SignInOption = 1

// SignIn says that the user has just proved who they are. The session gets a new token, against session
// fixation (OWASP Session Management, ASVS 5.0 7.2.4), and the old one is refused; CreatedAt, the deadlines
// and AuthenticatedAt restart. *T keeps its content: write the user into it before, and reset what an
// anonymous visitor may not hand on. A session that was not stored is stored. If it has ended elsewhere, or
// was renewed, SignIn begins one of its own with a new ID. Of two valid sessions both end. If SignIn fails,
// nothing is saved until a SignIn or Renew succeeds, or Reload or Destroy resets T.
func (m *Manager[T]) SignIn(ctx context.Context, opts ...SignInOption) error {
	return m.core.runVerb(ctx, opSignIn, func(ctx context.Context, s *session) error {
		r := signInRenewal(s.began, slices.Contains(opts, Remembered))
		if s.stored.Stored() && !s.stored.Gone {
			if err := s.renew(ctx, r); !errors.Is(err, ErrGone) {
				return err
			}
		}
		return s.createSignedIn(ctx, r.changeHeader)
	})
}

// Renew gives the session a new token and keeps everything else, deadlines included: after any change of
// privilege (ASVS 5.0 7.2.4). It is not for a rotation by the clock (OWASP's renewal timeout), because requests
// under way lose their session, see [Info].RenewedElsewhere: [Config].Lifetime and the SignIn after it limit
// what a stolen token is good for. A failure is as with SignIn. A session that was never stored is saved if T
// has changed.
func (m *Manager[T]) Renew(ctx context.Context) error {
	return m.core.runVerb(ctx, opRenew, func(ctx context.Context, s *session) error {
		if !s.stored.Stored() {
			return s.saveIfChanged(ctx)
		}
		return s.renew(ctx, &renewal{EventRenewed, func(*record.Record) {}})
	})
}

// Destroy ends the session: sign-out. When it returns nil the record is gone, also if another request
// renewed it in the last ten seconds (unless the store evicts keys: docs/redis.md), and the response expires
// the cookie. Of two valid sessions both end. *T becomes fresh. On an error the session may live on, the cookie
// stays, and the response is the handler's; [ErrGone] says that it was not found: it has ended or was renewed.
func (m *Manager[T]) Destroy(ctx context.Context) error {
	return m.core.runVerb(ctx, opDestroy, withTimeout((*session).destroy))
}

// Info tells what is known about the session besides T; zero if there is none.
func (m *Manager[T]) Info(ctx context.Context) Info {
	s := m.core.sessionOf(ctx)
	if s == nil {
		return Info{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.noteUsed()
	s.stored.ID() // draws the ID of a session that is not stored
	return s.info()
}

// destroy ends everything that the request's tokens stand for.
func (s *session) destroy(ctx context.Context) error {
	had, err := s.stored.Destroy(ctx)
	if errors.Is(err, ErrGone) {
		s.addEvent(EventGone, ErrGone)
		s.reset()
	}
	if err != nil {
		return err
	}
	s.ended = append(s.ended, s.stored.RefusedAttrs()...)
	if had {
		s.addEvent(EventDestroyed, nil)
		s.outcome, s.destroyedToken = OutcomeDestroyed, s.stored.Token
	}
	s.wrote = true // SaveUninitialized does not apply any more: the end was asked for
	attrs := s.stored.Record.Attrs
	s.reset()
	s.stored.Record.Attrs = attrs // the Transport needs them to expire the cookie
	return nil
}

// withTimeout calls a verb with a context that lasts for the store's Timeout and is not cancelled with ctx.
func withTimeout(verb func(*session, context.Context) error) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		ctx, cancel := s.core.engine.SaveContext(ctx)
		defer cancel()
		return verb(s, ctx)
	}
}
