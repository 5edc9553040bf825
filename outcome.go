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
	Used  bool // the request looked at the session
	// Touched says that the request has restarted the idle timeout, so the session was there. Where the token does not
	// say by which timeout (see [Layout]), it says that of the moment at which the header is written: a Transport that
	// sends an old token again must not do so without it, because the session may have a new one by now.
	Touched bool
	Attrs   any // what the [Layout] keeps in the record for its Transport
	// Ended are the Attrs by which the client may hold more than it is to keep: of sessions that its sign-in or Destroy
	// has ended, and of the one from before a sign-in or a new session.
	Ended []any
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
