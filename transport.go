package sessions

import (
	"net/http"
)

// A Transport carries the token between client and server. It never sees T or
// the store. Its methods are safe for concurrent use.
//
// A Transport may also implement [Validator], [OutcomeValidator],
// [SecureTransport] and [Attributor].
type Transport interface {
	// Tokens returns the candidates that r carries, at most four, in the
	// order in which to try them. What cannot be decoded is left out.
	Tokens(r *http.Request) []string

	// Write brings o into the response header and reports whether a token
	// went into it or was taken back by it. It is called after each verb
	// that made or voided a token, and once more before the header goes out
	// (for [OutcomeUnchanged] and [OutcomeChanged] too): it replaces what it
	// wrote before and leaves every other line.
	Write(h http.Header, r *http.Request, o Outcome) (sent bool)

	// Vary names the request header that Tokens reads, or several with commas.
	Vary() string
}

// An OutcomeValidator is a Transport that can tell in advance what it cannot write. [New] gives it what it
// will have to write, once with the timeouts of each class, and returns its error.
type OutcomeValidator interface {
	ValidateOutcome(o Outcome) error
}

// A SecureTransport is a Transport whose clients may drop the token on plain HTTP. If Secure is true, a token
// sent there is a line in the Manager's log, once.
type SecureTransport interface {
	Secure() bool
}

// An Attributor is a Transport that has something kept in the record of a session by its [Layout]: Attrs is
// asked when a session begins and at each sign-in, and comes back in [Outcome].Attrs. r is nil outside HTTP.
type Attributor interface {
	Attrs(r *http.Request, remembered bool) any
}
