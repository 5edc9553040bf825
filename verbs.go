package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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

// A SignInOption says more of an authentication to [Manager.SignIn] and [Manager.Reauthenticate]: [Remembered],
// [AuthenticatedAt] or [AuthenticatedBy]. Of two of one kind the last counts.
type SignInOption interface {
	addTo(authentication) authentication
}

// Remembered, for SignIn alone, sets [Config].Remember's timeouts and makes the cookie persist.
const Remembered rememberedOption = true

type rememberedOption bool

func (o rememberedOption) addTo(a authentication) authentication {
	a.remembered = bool(o)
	return a
}

// AuthenticatedAt says when the user proved who they are, if that was not now: the claim auth_time of OpenID Connect, or
// what another session library knew of a session that is taken over. It becomes [Info].AuthenticatedAt and moves no
// deadline. A time up to five minutes ahead is another server's clock and counts as now. A later one, and the zero time
// (there was no such claim), are an error.
func AuthenticatedAt(t time.Time) SignInOption { return authenticatedAt(t) }

type authenticatedAt time.Time

func (o authenticatedAt) addTo(a authentication) authentication {
	a.at = time.Time(o)
	return a
}

// AuthenticatedBy says how the user has proved who they are, such as "pwd" or "passkey" (RFC 8176 has values): it
// becomes [Info].Method, until the next authentication. It has at most 128 bytes of printable UTF-8, or is an error.
func AuthenticatedBy(method string) SignInOption { return authenticatedBy(method) }

type authenticatedBy string

func (o authenticatedBy) addTo(a authentication) authentication {
	a.method = string(o)
	return a
}

// SignIn says that the user has just proved who they are. The session gets a new token, against session
// fixation (OWASP Session Management, ASVS 5.0 7.2.4), and the old one is refused; CreatedAt, the deadlines
// and AuthenticatedAt restart, and Method is what the options say. *T keeps its content: write the user into it before, and reset what an
// anonymous visitor may not hand on. A session that was not stored is stored. If it has ended elsewhere, or
// was renewed, SignIn begins one of its own with a new ID. Of two valid sessions both end. If SignIn fails,
// nothing is saved until a SignIn or Renew succeeds, or Reload or Destroy resets T. Options that the [Layout] cannot keep
// are [errors.ErrUnsupported].
func (m *Manager[T]) SignIn(ctx context.Context, opts ...SignInOption) error {
	return m.core.runVerb(ctx, opSignIn, func(ctx context.Context, s *session) error {
		a, err := s.readOptions(opts)
		if err != nil {
			return err
		}
		r := signInRenewal(s.began, a)
		if s.stored.Stored() && !s.stored.Gone {
			if err := s.renew(ctx, r); !errors.Is(err, ErrGone) {
				return err
			}
		}
		return s.createSignedIn(ctx, r.changeHeader)
	})
}

// Reauthenticate says that the session's user has proved again who they are: a step-up, before something that needs a
// recent proof ([Manager.Fresh]). The session gets a new token; AuthenticatedAt is now, or as the options say, and Method
// what they say. CreatedAt, the deadlines, Remembered, the ID and T stay. [ErrGone] says that the session has ended, or
// was renewed: so ends the second click of a double click. Answer it by the same redirect as the first one, because its
// cookie is on its way. A browser may also give the first request up at the second click: nobody would get its cookie.
//
//	if r.Context().Err() != nil {
//		return
//	}
//	err := m.Reauthenticate(r.Context())
//	if err != nil && !errors.Is(err, sessions.ErrGone) {
//		http.Error(w, "please try again", http.StatusServiceUnavailable)
//		return
//	}
//	http.Redirect(w, r, "/account", http.StatusSeeOther)
//
// Where nobody has signed in yet, or T has another owner, it is an error: that is a SignIn. So is Remembered. A Layout
// without times, such as express's, is [errors.ErrUnsupported]. A failure is as with SignIn. It is no protection against
// CSRF: [http.CrossOriginProtection].
func (m *Manager[T]) Reauthenticate(ctx context.Context, opts ...SignInOption) error {
	return m.core.runVerb(ctx, opReauthenticate, func(ctx context.Context, s *session) error {
		a, err := s.readOptions(opts)
		switch {
		case err != nil:
			return err
		case a.remembered:
			return errRememberedAgain
		case !s.core.keeps.time:
			return fmt.Errorf("sessions: Reauthenticate: the Layout keeps no time of authentication: keep it in T, and call Renew: %w", errors.ErrUnsupported)
		case !s.stored.Stored():
			return s.stored.NoteEnded()
		case s.stored.Record.Authenticated.IsZero():
			return errNobody
		}
		return s.renew(ctx, &renewal{kind: EventRenewed, changeHeader: a.putInto, sameOwner: true})
	})
}

var (
	errRememberedAgain = errors.New("sessions: Reauthenticate: it keeps the deadlines, so Remembered is for SignIn")
	errNobody          = errors.New("sessions: Reauthenticate: nobody has signed in in this session: call SignIn")
	errAuthTime        = errors.New("sessions: AuthenticatedAt: the time is zero, or more than five minutes ahead: give the one at which the user proved who they are, or leave the option out")
	errMethod          = errors.New("sessions: AuthenticatedBy: the method is no printable UTF-8 of at most 128 bytes")
)

const (
	maxMethod = 128             // the URI of an OpenID Connect acr fits
	maxAhead  = 5 * time.Minute // of another server's clock
)

// readOptions reads the options of an authentication that is stored now.
func (s *session) readOptions(opts []SignInOption) (authentication, error) {
	a := authentication{at: s.began}
	for _, o := range opts {
		a = o.addTo(a)
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case !a.at.After(time.Time{}) || a.at.After(s.began.Add(maxAhead)):
		return a, errAuthTime
	case len(a.method) > maxMethod || !utf8.ValidString(a.method) || strings.ContainsFunc(a.method, unprintable):
		return a, errMethod
	case a.at != s.began && !s.core.keeps.time, a.method != "" && !s.core.keeps.method:
		return a, fmt.Errorf("sessions: the Layout does not keep what AuthenticatedAt or AuthenticatedBy says: keep it in T: %w", errors.ErrUnsupported)
	}
	if a.at.After(s.began) {
		a.at = s.began
	}
	return a, nil
}

// Fresh returns a handler that serves next where the session's user has proved less than d ago who they are, and stale
// in every other case, also without a session and for a request that [Config].Skip names (ASVS 5.0 7.5.1, 7.5.3). Both
// get the request as it came. It goes within Handler, calls no store, and tells caches that the session was used; a
// browser's own cache may show what next has answered until that says no-store. stale asks for the proof again, as by a
// redirect to a form whose POST ends in [Manager.Reauthenticate]. Neither that form nor its POST goes within Fresh.
func (m *Manager[T]) Fresh(d time.Duration, next, stale http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := stale
		if m.Info(r.Context()).AuthenticatedWithin(d) {
			h = next
		}
		h.ServeHTTP(w, r)
	})
}

// Renew gives the session a new token and keeps everything else, deadlines included: after any change of
// privilege (ASVS 5.0 7.2.4). It is not for a rotation by the clock (OWASP's renewal timeout), because requests
// under way lose their session, see [Info].RenewedElsewhere: [Config].Lifetime and the SignIn after it limit
// what a stolen token is good for. A failure is as with SignIn. [ErrGone] says that the session has ended; where
// T goes from nobody to an owner ([Owned]), Renew then begins one of its own, as SignIn does. A session that was
// never stored is saved if T has changed.
func (m *Manager[T]) Renew(ctx context.Context) error {
	return m.core.runVerb(ctx, opRenew, func(ctx context.Context, s *session) error {
		switch err := s.readOnlyErr(); {
		case err != nil:
			return err
		case s.stored.Gone:
		case !s.stored.Stored():
			return s.saveIfChanged(ctx)
		default:
			if err := s.renew(ctx, unchanged()); !errors.Is(err, ErrGone) {
				return err
			}
		}
		mine, _, err := s.encodeAndCompare(nil)
		if err != nil || !s.signsIn(mine) {
			return s.stored.NoteEnded()
		}
		return s.createSignedIn(ctx, nil)
	})
}

// Destroy ends the session: sign-out. When it returns nil the record is gone, also if another request
// renewed it in the last ten seconds (unless the store evicts keys: docs/redis.md), and the response expires
// the cookie, or sends none if the request itself began the session. Of two valid sessions both end. *T becomes
// fresh. On an error the session may live on, the cookie stays, and the response is the handler's; [ErrGone] says
// that it was not found: it has ended or was renewed.
func (m *Manager[T]) Destroy(ctx context.Context) error {
	return m.core.runVerb(ctx, opDestroy, withTimeout((*session).destroy))
}

// Info tells what is known about the session besides T; zero if there is none.
func (m *Manager[T]) Info(ctx context.Context) Info {
	s, _ := m.core.sessionOf(ctx)
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
	key := s.stored.Key
	had, err := s.stored.Destroy(ctx)
	if errors.Is(err, ErrGone) {
		s.addEvent(EventGone, ErrGone)
		s.reset()
	}
	if err != nil {
		return err
	}
	s.core.engine.WatchEnded(key)
	s.ended = append(s.ended, s.stored.RefusedAttrs()...)
	switch {
	case !had:
	case s.clientHas || s.headerSent:
		s.addEvent(EventDestroyed, nil)
		s.outcome, s.destroyedToken = OutcomeDestroyed, s.stored.Token
	default: // it began in this request: what the client has is none of its tokens, and may be another session's
		s.addEvent(EventDestroyed, nil)
		s.withdraw()
	}
	s.wrote = true // SaveUninitialized does not apply any more: the end was asked for
	s.reset()
	return nil
}

// withdraw takes the token of a session that has ended out of the header, with nothing in its place.
func (s *session) withdraw() {
	s.stored.Gone = true
	if s.response != nil {
		s.response.writeHeader()
	}
	s.outcome = OutcomeUnchanged
}

// withTimeout calls a verb with a context that lasts for the store's Timeout and is not cancelled with ctx.
func withTimeout(verb func(*session, context.Context) error) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		saving := s.core.engine.SaveContext(ctx)
		defer saving.Stop()
		return verb(s, saving)
	}
}
