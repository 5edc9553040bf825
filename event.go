package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Info is what is known about a session besides its T. Nothing in it
// authenticates: it may be logged and shown.
type Info struct {
	// ID names the session for logs and lists: a random UUID, the same from
	// creation through every renewal until the session ends. A foreign
	// [Layout] may call a session by its token; then it is for no log.
	ID string
	// Owner is whom the session belongs to, "" if nobody: what SessionOwner says
	// of the T that is stored, where T is [Owned].
	Owner string
	// Label is what [Config].Label said at creation or at the last renewal.
	Label string

	New        bool // not stored yet; all times are zero
	Current    bool // the session of the request that asks
	Remembered bool // signed in with [Remembered]

	CreatedAt       time.Time // creation, or the last sign-in
	LastSeenAt      time.Time // the last touch or write; in a passive request near the end of Lifetime it may be earlier
	AuthenticatedAt time.Time // the last [Manager.SignIn]; zero if never
	IdleUntil       time.Time // end of the session if nobody uses it again
	ExpiresAt       time.Time // end of the session however active it is; zero without a Lifetime
}

// An Event tells [Config].OnEvent what happened to a session.
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// Session is the session concerned, as far as it is known.
	Session Info
	// Op is what was being done: load, commit, or the verb in lower case.
	Op string
	// Duration is the time that Op took so far, the store's answers included.
	Duration time.Duration
	// Fields are the names of T's fields that the event is about, as the codec
	// writes them, never their values: those of EventMerged and EventConflict.
	Fields []string
	// Err is the error behind the event, if any.
	Err error

	first bool // of an outage: the one to log
}

// EventKind is the kind of an [Event].
type EventKind int

const (
	_ EventKind = iota

	EventCreated   // a session was stored for the first time
	EventSaved     // a changed session was written
	EventRenewed   // a session has a new token
	EventSignedIn  // a session has a new token and a newly authenticated user
	EventDestroyed // a session was destroyed by its own request

	EventExpired     // a session past its Lifetime was found and deleted
	EventGone        // a change was dropped because its session had ended
	EventMerged      // a save was merged with another one that came in between; Fields are taken from that one. A Merging T tells of none
	EventConflict    // two saves met, and of Fields, or without those of the whole T, only the later one's values stand; or with Err, the save was refused
	EventUndecodable // a stored record cannot be read; it is left as it is
	EventTwoSessions // a request carried two valid sessions; neither was used

	EventUnavailable  // the store did not answer
	EventRecovered    // the store answers again
	EventTouchSkipped // the store could read but not restart the idle expiry

	EventFailed      // a change could not be saved
	EventLateChange  // a change could not be kept, for it came too late
	EventUndelivered // a response that carried a new token may not have arrived

	eventInsecure // for the log alone
)

var eventNames = [...]string{
	EventCreated: "created", EventSaved: "saved", EventRenewed: "renewed",
	EventSignedIn: "signed in", EventDestroyed: "destroyed",
	EventExpired: "expired", EventGone: "gone", EventMerged: "merged", EventConflict: "conflict",
	EventUndecodable: "undecodable", EventTwoSessions: "two sessions",
	EventUnavailable: "unavailable", EventRecovered: "recovered",
	EventTouchSkipped: "touch skipped", EventFailed: "failed",
	EventLateChange: "late change", EventUndelivered: "undelivered",
}

// String returns the kind in lower-case words.
func (k EventKind) String() string {
	if k <= 0 || int(k) >= len(eventNames) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return eventNames[k]
}

// An Outcome is what a request did to its session, as its [Transport] and the
// caller of [Manager.Commit] need to know it.
type Outcome struct {
	// Kind says what the client must learn.
	Kind OutcomeKind
	// Token is the token that the client must present from now on: a new one
	// if Kind is OutcomeCreated or OutcomeRenewed, otherwise the one it
	// presented. For OutcomeDestroyed it is the one that is void. It is empty
	// where there is no session, or it has ended elsewhere.
	Token Token
	// Info is the session's.
	Info Info
	// Used says that the request looked at the session.
	Used bool
	// Attrs is what the [Layout] keeps in the record for its Transport.
	Attrs any
}

// OutcomeKind is the kind of an [Outcome].
type OutcomeKind int

const (
	OutcomeUnchanged OutcomeKind = iota // nothing to tell the client
	OutcomeChanged                      // stored under the token it has
	OutcomeCreated                      // a new session: send the token
	OutcomeRenewed                      // a new token for the same session: send it
	OutcomeDestroyed                    // ended: take the token back
)

// String returns the kind in lower case.
func (k OutcomeKind) String() string {
	switch k {
	case OutcomeUnchanged:
		return "unchanged"
	case OutcomeChanged:
		return "changed"
	case OutcomeCreated:
		return "created"
	case OutcomeRenewed:
		return "renewed"
	case OutcomeDestroyed:
		return "destroyed"
	}
	return fmt.Sprintf("OutcomeKind(%d)", int(k))
}

// event keeps an event until the session is free again.
func (s *session) event(kind EventKind, err error) {
	s.events = append(s.events, Event{
		Kind: kind, Session: s.info(), Op: s.op, Duration: time.Since(s.began), Err: err,
	})
}

// about keeps an event about a record that is not the request's session.
func (s *session) about(rec *Record, kind EventKind, err error) {
	s.event(kind, err)
	i := Info{ID: string(rec.ID), Owner: string(rec.Owner), Label: string(rec.Label), Remembered: rec.Remembered}
	if !rec.Created.IsZero() {
		i.CreatedAt, i.AuthenticatedAt = rec.Created, rec.Authenticated
		i.ExpiresAt = s.m.timeout[class(rec.Remembered)].end(rec.Created)
	}
	s.events[len(s.events)-1].Session = i
}

// failed keeps the event of a save that failed, unless it has one already.
func (s *session) failed(err error) {
	if s.op == "reload" || s.op == "touch" { // there was nothing to save
		if _, ok := errors.AsType[*DecodeError](err); ok {
			s.event(EventUndecodable, err)
		}
		return
	}
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrGone) {
		s.event(EventFailed, err)
	}
}

// The states of core.down.
const (
	answers int32 = iota
	refuses       // at least writes
	silent        // reads too
)

// check takes what a store returned: it notes when the store ceases to answer
// and when it does again, and makes a timeout the error that callers know. A
// server that is full, or read-only, or without its replicas still answers
// loads, and a full one deletes: that does not end an outage of writes, or each
// request would begin another one.
func (s *session) check(err error) error {
	reads := s.op == "load" || s.op == "touch" || s.op == "reload"
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrUnavailable):
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		was := s.m.down.Load()
		if was == silent || was == refuses && !reads && s.op != "destroy" {
			if s.m.down.CompareAndSwap(was, answers) {
				s.event(EventRecovered, nil)
			}
		}
		return err
	}
	s.event(EventUnavailable, err)
	first := &s.events[len(s.events)-1].first
	if reads {
		*first = s.m.down.Swap(silent) == answers
	} else {
		*first = s.m.down.CompareAndSwap(answers, refuses)
	}
	return err
}

// tell logs what nobody else would hear of and calls the hook.
func (m *core) tell(ctx context.Context, e Event) {
	level, msg := slog.LevelWarn, ""
	switch e.Kind {
	case eventInsecure:
		m.Logger.WarnContext(ctx, "sessions: a Secure cookie was sent over plain HTTP, where browsers drop it except on localhost: serve HTTPS, let the proxy set X-Forwarded-Proto, or for development use Cookie{Insecure: true}")
		return
	case EventUnavailable:
		if e.first {
			level, msg = slog.LevelError, "the store is unavailable"
		}
	case EventRecovered:
		level, msg = slog.LevelInfo, "the store answers again"
	case EventUndecodable:
		msg = "a stored session cannot be read and was left as it is"
	case EventTwoSessions:
		msg = "a request carried two valid sessions; neither was used"
	case EventFailed:
		level, msg = slog.LevelError, "a session could not be saved"
	case EventLateChange:
		msg = "a session was changed too late to be saved: call Save before the response begins"
	case EventUndelivered:
		level, msg = slog.LevelInfo, "a response with a new session token may not have arrived"
	}
	if msg != "" {
		id := e.Session.ID
		if _, ok := m.Layout.(identifier); ok && id != "" {
			id = digest(id)
		}
		attrs := []slog.Attr{slog.String("op", e.Op), slog.String("session", id)}
		if e.Err != nil {
			attrs = append(attrs, slog.String("err", e.Err.Error()))
		}
		m.Logger.LogAttrs(ctx, level, "sessions: "+msg, attrs...)
	}
	if m.OnEvent != nil {
		m.OnEvent(ctx, e)
	}
}

// info is the session's Info as of now.
func (s *session) info() Info {
	i := Info{New: !s.stored, Current: true}
	if !s.stored {
		i.ID = string(s.rec.ID)
		return i
	}
	r := &s.rec
	i.ID, i.Owner, i.Label, i.Remembered = string(r.ID), string(r.Owner), string(r.Label), r.Remembered
	if s.m.owned {
		i.Owner = s.base.owner
	}
	i.CreatedAt, i.AuthenticatedAt, i.LastSeenAt = r.Created, r.Authenticated, s.seen
	i.ExpiresAt = s.m.timeout[class(r.Remembered)].end(r.Created)
	i.IdleUntil = s.until
	if !i.ExpiresAt.IsZero() && i.ExpiresAt.Before(i.IdleUntil) {
		i.IdleUntil = i.ExpiresAt
	}
	return i
}

// result is the Outcome as of now. The token of a session that has ended
// elsewhere is nobody's any more.
func (s *session) result() Outcome {
	o := Outcome{Kind: s.outcome, Info: s.info(), Used: s.looked(), Attrs: s.rec.Attrs}
	switch {
	case s.gone:
	case s.token == "" && s.outcome == OutcomeDestroyed:
		o.Token = Token(s.void)
	default:
		o.Token = Token(s.token)
	}
	if o.Token == "" && (o.Kind == OutcomeCreated || o.Kind == OutcomeRenewed) {
		o.Kind = OutcomeUnchanged // nothing to send: what the client has is dead already, or newer
	}
	return o
}
