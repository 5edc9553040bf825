package sessions

import (
	"fmt"
	"io"
)

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

// A Token is the secret that stands for a session. It prints as
// [session token] whatever the verb; Reveal gives the text. Do not keep one in
// an unexported field of a struct that is printed: there fmt does not ask it.
type Token string

// Reveal returns the token itself: for a [Transport], never for a log.
func (t Token) Reveal() string { return string(t) }

// Format implements [fmt.Formatter].
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, "[session token]") }

// MarshalText keeps the token out of JSON and of slog.
func (t Token) MarshalText() ([]byte, error) { return []byte("[session token]"), nil }
