package sessions

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// FromContext returns the session of the request that ctx belongs to: a live
// *T, the same each time, whose changes are saved. It never fails; a visitor
// without a session gets a fresh T, which is stored once it changes.
//
// *T belongs to the request's goroutine. Its unexported fields and those
// tagged "-" live as long as the request.
//
// Where two managers have the same T, the inner Handler's answers;
// [Manager.FromContext] asks for one of them. Without any FromContext panics:
// that is a route that was not wrapped. [Lookup] does not.
func FromContext[T any](ctx context.Context) *T {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok {
		panic(missing(reflect.TypeFor[T]()))
	}
	return s.value(ctx).(*T)
}

func missing(typ reflect.Type) string {
	return fmt.Sprintf("sessions: no session of %[1]v in this context: wrap the route with the Handler of a Manager[%[1]v], or call its Load", typ)
}

// Lookup is FromContext for code that also runs without a session: it says
// false where FromContext would panic, and for a request that [Config].Skip
// leaves out.
func Lookup[T any](ctx context.Context) (*T, bool) {
	s, ok := ctx.Value(typeKey[T]{}).(*session)
	if !ok || s.skipped {
		return nil, false
	}
	return s.value(ctx).(*T), true
}

// Take returns *p and resets it to its zero value: a message that is shown
// once.
func Take[V any](p *V) V {
	v := *p
	var zero V
	*p = zero
	return v
}

// FromContext is the function of that name for the sessions of m, where several
// managers share a T.
func (m *Manager[T]) FromContext(ctx context.Context) *T {
	s, ok := ctx.Value(m.core).(*session)
	if !ok {
		panic(missing(m.core.typ))
	}
	return s.value(ctx).(*T)
}

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
	return m.do(ctx, "save", func(ctx context.Context, s *session) error { return s.commit(ctx) })
}

// Reload replaces *T by what is stored now and restarts the idle timeout. What
// the request had changed is lost. A session that was never stored becomes
// fresh.
func (m *Manager[T]) Reload(ctx context.Context) error {
	return m.do(ctx, "reload", within((*session).reload))
}

// Touch restarts the idle timeout, as loading the session did: for a handler
// that runs long, or a request that [Config].Passive made passive. It does
// nothing for a session that was never stored.
func (m *Manager[T]) Touch(ctx context.Context) error {
	return m.do(ctx, "touch", within((*session).touch))
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
	return m.do(ctx, "sign in", func(ctx context.Context, s *session) error {
		renew := signIn(s.began, opts)
		mine, changed, err := s.changed()
		switch {
		case err != nil:
			return err
		case s.stored:
			return s.write(ctx, &change{mine: mine, changed: changed, renew: renew, kind: EventSignedIn})
		}
		rec := s.newRecord()
		renew(&rec)
		return s.create(ctx, mine, rec)
	})
}

// Renew gives the session a new token and leaves everything else, deadlines
// included: after any change of privilege (ASVS 5.0 7.2.4). Like SignIn it
// refuses the old token at once, and if it fails nothing is stored. A session
// that was never stored is saved, if T has changed: there is no token to replace.
func (m *Manager[T]) Renew(ctx context.Context) error {
	return m.do(ctx, "renew", func(ctx context.Context, s *session) error {
		if !s.stored {
			return s.commit(ctx)
		}
		mine, changed, err := s.changed()
		if err != nil {
			return err
		}
		return s.write(ctx, &change{mine: mine, changed: changed, renew: func(*Record) {}, kind: EventRenewed})
	})
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
	return m.do(ctx, "destroy", within((*session).destroy))
}

// Info tells what is known about the session besides T; the zero Info if ctx
// carries none.
func (m *Manager[T]) Info(ctx context.Context) Info {
	s := m.find(ctx)
	if s == nil {
		return Info{}
	}
	if !s.updating() {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	s.notice()
	s.id()
	return s.info()
}

func (m *Manager[T]) find(ctx context.Context) *session {
	s, ok := ctx.Value(m.core).(*session)
	if !ok || s.skipped {
		return nil
	}
	return s
}

// do runs one verb: alone, and into the header before anybody is told.
func (m *Manager[T]) do(ctx context.Context, op string, verb func(context.Context, *session) error) error {
	s := m.find(ctx)
	switch {
	case s == nil:
		return ErrNoSession
	case s.updating():
		return fmt.Errorf("sessions: %s in the function of an Update: return from it before", op)
	}
	s.lock(op)
	defer s.release()
	s.notice()
	if s.gone && op != "destroy" {
		s.told = ErrGone
		return ErrGone
	}
	signs := op == "sign in" || op == "renew"
	saves := op == "save" || op == "commit" || op == "update"
	if s.barred != nil && saves {
		return s.barred
	}
	outcome, token := s.outcome, s.token
	if signs {
		s.barred = errBarred // if it panics
	}
	err := verb(ctx, s)
	if callers, ok := errors.AsType[*callersError](err); ok {
		return callers.err
	}
	switch {
	case err != nil:
		s.failed(err)
		if signs {
			s.barred = err
		}
		if signs || saves || s.gone {
			s.told = err
		}
	case op != "touch":
		s.told, s.barred = nil, nil
	}
	if s.outcome > OutcomeChanged && (s.outcome != outcome || s.token != token) {
		s.writeHeader()
	}
	return err
}

var errBarred = errors.New("sessions: a SignIn or Renew of this request has not ended well, so nothing is saved")

// within gives a verb the time of one operation.
func within(verb func(*session, context.Context) error) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		ctx, cancel := s.detach(ctx)
		defer cancel()
		return verb(s, ctx)
	}
}

// Defaulted is implemented by a *T whose fresh value is not the zero value:
// SessionDefaults fills it in for a new session, and for one that was
// destroyed. A stored record is decoded into a zero T. What it draws at random
// is drawn again for each visitor until T has changed and is stored.
type Defaulted interface{ SessionDefaults() }

// Owned is implemented by a *T that knows whose session it is: SessionOwner
// returns the user's ID, "" for nobody. It is kept beside T, see [Info].Owner.
//
// A save that changes the owner renews the token by itself: to another owner it
// is [Manager.SignIn] without options, to none it is [Manager.Renew], and
// AuthenticatedAt is reset. So session fixation (OWASP Session Management) is
// not a matter of remembering a call. After the response has begun there is no
// new token: the change is [ErrCommitted]. Where the stored session has another
// owner than the one that a request loaded, the request's change is not merged
// into it: [ErrGone].
//
// SessionOwner is asked often, of a zero T too, and answers from T alone.
type Owned interface{ SessionOwner() string }

// Versioned is implemented by a *T whose meaning has changed in a way that
// adding and removing fields does not cover.
//
// SessionVersion returns T's version, the same number always: 1 or more, for a
// T that was never Versioned was 0. A record of an older version is given to
// UpgradeSession on a zero T: decode decodes the old data into whatever has the
// old shape, and may be called more than once; fields that T does not know are
// not kept. The upgrade alone is no change: it is stored with the next one. Its
// error, or a panic, is a [*DecodeError]: the visitor starts fresh, and the
// record stays.
//
// A record of a newer version is never overwritten, though Destroy ends it:
// loading it is [ErrNewerVersion]. While a fleet changes over, old builds answer so for the sessions that
// new ones have written, and for builds from before T was Versioned every
// version is newer.
type Versioned interface {
	SessionVersion() int
	UpgradeSession(from int, decode func(v any) error) error
}

// owner is whose v, a *T, is.
func (m *core) owner(v any) string {
	if !m.owned {
		return ""
	}
	return v.(Owned).SessionOwner()
}

// A DecodeError says that a stored record cannot be read: it is broken, or
// foreign, or larger than [Config].MaxSize. The record is left as it is.
type DecodeError struct {
	ID   string // the session's, as far as it could be read
	Path string // the field of T, or the part of the record, as far as known
	Err  error
}

// Error names the session and the part, never the content.
func (e *DecodeError) Error() string {
	msg := "sessions: record"
	if e.ID != "" {
		msg += fmt.Sprintf(" %.64q", e.ID)
	}
	if e.Path != "" {
		msg += ": " + e.Path
	}
	return msg + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }
