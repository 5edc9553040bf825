package sessions

import (
	"fmt"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Info is what is known about a session besides T. It may be logged and shown.
type Info struct {
	// ID is a random UUID, the same until the session ends. An [Identifier] may use the token: then never log it.
	ID              string
	Owner           string    // what SessionOwner says of the stored T, if T is [Owned]; "" is nobody
	Label           string    // what [Config].Label said at creation or at the last renewal
	New             bool      // not stored yet; all times but IdleUntil are zero
	Current         bool      // the session of the request that asks
	Remembered      bool      // signed in with [Remembered]
	CreatedAt       time.Time // creation, or the last sign-in
	LastSeenAt      time.Time // the last touch or write; in a passive request near the end of Lifetime it may be earlier
	AuthenticatedAt time.Time // when the user last proved who they are: [Manager.SignIn], [Manager.Reauthenticate]; zero if never
	Method          string    // how they did so then: what [AuthenticatedBy] said, or ""
	IdleUntil       time.Time // end of the session if nobody uses it again; of one that is New, if it is stored now
	ExpiresAt       time.Time // end of the session however active it is; zero without a Lifetime

	// RenewedElsewhere says that a request with New looks like nobody's because another one has just renewed its
	// token, at most ten seconds ago. The client gets the new one there: let it ask again (docs/concurrency.md).
	RenewedElsewhere bool
}

// AuthenticatedWithin tells whether the user has proved less than d ago who they are. If they never have, or no time is
// kept (package express), it is false for every d.
func (i Info) AuthenticatedWithin(d time.Duration) bool {
	return !i.AuthenticatedAt.IsZero() && max(0, time.Since(i.AuthenticatedAt)) < d // another server's clock may be ahead
}

// An Event tells [Config].OnEvent what happened to a session.
type Event struct {
	Kind     EventKind
	Session  Info             // as far as it is known
	Op       string           // load, commit, or the verb in lower case
	Duration time.Duration    // of Op so far, the store's answers included; 0 where the event is no part of one
	Fields   []string         // of EventMerged and EventConflict: names as the codec writes them, never values
	Count    int              // of EventUnknownTokens: of the burst, since the last one
	Err      error            // the error behind the event, if any
	outage   *protocol.Outage // of EventUnavailable and EventRecovered, for the log
	route    string           // method and pattern, where the log tells them
}

// EventKind is the kind of an [Event].
type EventKind int

const (
	_ EventKind = iota

	// EventLoaded and EventNotFound end each load that has asked the store, so there is one for nearly every request. A load
	// that failed has neither of them, but an EventUnavailable or an EventUndecodable.
	EventLoaded   // a session was loaded
	EventNotFound // a request's tokens stand for no session, or for none that it can use: it is served as one without

	EventCreated      // a session was stored for the first time
	EventSaved        // a changed session was written
	EventRenewed      // a session has a new token; after a Reauthenticate Op says so
	EventSignedIn     // a session has a new token and a newly authenticated user
	EventDestroyed    // a session was destroyed by its own request
	EventRevoked      // a session was ended by another one of its user, or for its user; with Op "load" the one that the request came with
	EventEvicted      // a session was ended because its user has begun more than [Config].MaxPerOwner
	EventExpired      // a session past its Lifetime was found and deleted
	EventGone         // a change was dropped because its session had ended
	EventMerged       // a save was merged with another request's, which changed Fields. A Merging T has no such event
	EventConflict     // of Fields (without any: of T) only the later of two saves stands; with Err, the save was refused
	EventUndecodable  // a stored record cannot be read; it is left as it is
	EventTwoSessions  // a request carried two valid sessions; neither was used
	EventUnavailable  // the store did not answer
	EventRecovered    // the store answers again: ten seconds or longer after it last failed for one cause
	EventTouchSkipped // the store could read but not restart the idle expiry
	EventFailed       // a change could not be saved
	EventLateChange   // a change came too late to be kept
	EventUndelivered  // a response that carried a new token may not have arrived
	EventLateUse      // the session was used, but the header had gone without Vary: before the first look, or past Handler's writer
	EventWithheld     // nothing was created for a cross-site request without its cookie, see docs/cookies.md
	// EventUnknownTokens tells that at least a hundred tokens within a minute were well-formed and found nowhere: somebody
	// guesses, or the store has lost its records. There is one a minute at most, with the Count.
	EventUnknownTokens

	eventInsecure // for the log alone
)

var eventNames = [...]string{
	EventLoaded: "loaded", EventNotFound: "not found",
	EventCreated: "created", EventSaved: "saved", EventRenewed: "renewed",
	EventSignedIn: "signed in", EventDestroyed: "destroyed",
	EventRevoked: "revoked", EventEvicted: "evicted", EventExpired: "expired", EventGone: "gone", EventMerged: "merged", EventConflict: "conflict",
	EventUndecodable: "undecodable", EventTwoSessions: "two sessions",
	EventUnavailable: "unavailable", EventRecovered: "recovered",
	EventTouchSkipped: "touch skipped", EventFailed: "failed",
	EventLateChange: "late change", EventUndelivered: "undelivered", EventLateUse: "late use",
	EventWithheld: "withheld", EventUnknownTokens: "unknown tokens",
}

// String returns the kind in lower-case words.
func (k EventKind) String() string {
	if k <= 0 || int(k) >= len(eventNames) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return eventNames[k]
}
