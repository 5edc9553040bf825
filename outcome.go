package sessions

import "fmt"

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
