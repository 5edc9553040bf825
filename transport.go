package sessions

import (
	"net/http"
)

// A Transport carries the token between client and server. It is safe for concurrent use, and may also be a
// [Validator], an [OutcomeValidator], a [SecureTransport] and an [Attributor].
type Transport interface {
	// Tokens returns the candidates that r carries, at most four, in the order in which to try them.
	Tokens(r *http.Request) []string
	// Write brings o into h, in place of what it wrote before, and says whether h now sends a token or takes one
	// back. It is called after each verb that made or voided a token, and before the header goes out.
	Write(h http.Header, r *http.Request, o Outcome) (sent bool)
	Vary() string // names the request header that Tokens reads, or several with commas
}

// An OutcomeValidator is a Transport that tells [New] what it cannot write.
type OutcomeValidator interface {
	ValidateOutcome(o Outcome) error
}

// A SecureTransport says whether clients drop its token on plain HTTP.
type SecureTransport interface {
	Secure() bool
}

// An Attributor is a Transport with a value for [Outcome].Attrs. It is asked when a session begins and at
// each sign-in. r is nil outside HTTP.
type Attributor interface {
	Attrs(r *http.Request, remembered bool) any
}

// transportAttrs is what the Transport wants to have kept with a session that begins with r.
func transportAttrs(t Transport, r *http.Request, remembered bool) any {
	if a, ok := t.(Attributor); ok {
		return a.Attrs(r, remembered)
	}
	return nil
}
