package sessions

import (
	"fmt"
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
