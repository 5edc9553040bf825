package sessions

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/typedsessions/sessions/internal/protocol"
)

// HeaderToken carries the token in a header each way, and never in a cookie.
type HeaderToken struct {
	Name string // default: Authorization, with the Bearer scheme (RFC 6750 section 2.1)
}

func (t HeaderToken) header() (name, scheme string) {
	if t.Name == "" {
		return "Authorization", "Bearer "
	}
	return http.CanonicalHeaderKey(t.Name), ""
}

// Tokens implements [Transport].
func (t HeaderToken) Tokens(r *http.Request) []string {
	name, scheme := t.header()
	var tokens []string
	for _, v := range r.Header[name] {
		if len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) && len(tokens) < protocol.MaxCandidates {
			tokens = append(tokens, strings.Trim(v[len(scheme):], " \t"))
		}
	}
	return tokens
}

// Write implements [Transport].
func (t HeaderToken) Write(h http.Header, _ *http.Request, o Outcome) (sent bool) {
	name, scheme := t.header()
	switch o.Kind {
	case OutcomeCreated, OutcomeRenewed:
		h[name] = []string{scheme + o.Token.Reveal()}
		return true
	case OutcomeDestroyed:
		delete(h, name)
		return true
	}
	if o.Token == "" { // what a verb wrote before its session ended elsewhere
		delete(h, name)
	}
	return false
}

// Vary implements [Transport].
func (t HeaderToken) Vary() string {
	name, _ := t.header()
	return name
}

// Validate implements [Validator].
func (t HeaderToken) Validate() error {
	name, _ := t.header()
	for _, r := range name {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return fmt.Errorf("sessions: HeaderToken.Name: %q is not a header name (RFC 9110 section 5.1): use letters, digits and -", t.Name)
		}
	}
	switch name {
	case "Cookie", "Set-Cookie", "Host", "Content-Type", "Content-Length", "Connection", "Transfer-Encoding":
		return fmt.Errorf("sessions: HeaderToken.Name: %s has a meaning of its own: use Authorization or one such as X-Session", name)
	}
	return nil
}
