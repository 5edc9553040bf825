package sessions

import "time"

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
