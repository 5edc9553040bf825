package sessions

import (
	"fmt"
	"io"
)

// An Outcome tells a Transport or Commit's caller what became of a session.
type Outcome struct {
	Kind OutcomeKind // what the client must learn
	// Token is what the client presents from now on; for OutcomeDestroyed the void one. Empty: there is no session.
	Token Token
	Info  Info
	Used  bool  // the request looked at the session
	Attrs any   // what the [Layout] keeps in the record for its Transport
	Ended []any // the Attrs of other sessions of this client that its sign-in or Destroy has ended
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

// A Token is the secret that stands for a session. It prints as [session token], but not from an unexported
// field.
type Token string

// Reveal returns the token itself: for a [Transport], never for a log.
func (t Token) Reveal() string { return string(t) }

// Format implements [fmt.Formatter].
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, "[session token]") }

// MarshalText keeps the token out of JSON and slog.
func (t Token) MarshalText() ([]byte, error) { return []byte("[session token]"), nil }
