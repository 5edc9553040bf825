package sessions

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// FirstOf is a Transport for clients of several kinds, such as browsers and programs: FirstOf(HeaderToken{}, Cookie{}). The
// first of the transports that finds a token in a request serves that request alone, whether or not the token is valid, and
// the last one serves each request without a token. So a client is answered in the kind by which it came, and a token never
// changes from one kind to another. Cookies are the last ones, because browsers send them by themselves.
//
// A client of another kind than the last begins its session with a second Manager that has its Transport alone, on the same
// store and with the same Config otherwise: see the example.
func FirstOf(transports ...Transport) Transport {
	f := &firstOf{}
	var errs []error
	var names []string
	for i, t := range transports {
		if _, nested := t.(*firstOf); nested {
			errs = append(errs, fmt.Errorf("sessions: FirstOf: transport %d is a FirstOf itself: put its transports here, in the order in which they come first", i+1))
		} else if isNil(t) {
			errs = append(errs, fmt.Errorf("sessions: FirstOf: transport %d is nil: leave it out, or give it a value", i+1))
		} else {
			f.transports = append(f.transports, t)
			names = append(names, t.Vary())
		}
	}
	if len(f.transports) == 0 {
		errs = append(errs, errors.New("sessions: FirstOf: it has no transport: use FirstOf(HeaderToken{}, Cookie{}), or leave Config.Transport out for a cookie alone"))
		f.transports = []Transport{Cookie{}}
	}
	f.vary, f.invalid = strings.Join(names, ", "), errors.Join(errs...)
	return f
}

// A firstOf has at least one transport. None is nil or a firstOf.
type firstOf struct {
	transports []Transport
	vary       string
	invalid    error
}

// choose returns the tokens of a request, and how far from the last the transport is that serves it.
func (f *firstOf) choose(r *http.Request) (tokens []string, fromLast int) {
	for i, t := range f.transports {
		if tokens := t.Tokens(r); len(tokens) > 0 {
			return tokens, len(f.transports) - 1 - i
		}
	}
	return nil, 0
}

func (f *firstOf) at(fromLast int) Transport { return f.transports[len(f.transports)-1-fromLast] }

// Tokens implements [Transport].
func (f *firstOf) Tokens(r *http.Request) []string {
	tokens, _ := f.choose(r)
	return tokens
}

// Write implements [Transport]. A Manager calls that of the transport that it has chosen when the request came, because a
// handler may have taken the token off the request since.
func (f *firstOf) Write(h http.Header, r *http.Request, o Outcome) (sent bool) {
	_, fromLast := f.choose(r)
	return f.at(fromLast).Write(h, r, o)
}

// Vary implements [Transport].
func (f *firstOf) Vary() string { return f.vary }

// Validate implements [Validator]. Each of the transports is validated beside it.
func (f *firstOf) Validate() error {
	errs := []error{f.invalid}
	r, err := http.NewRequest(http.MethodGet, "https://localhost/", nil)
	if err != nil {
		return err
	}
	for i, t := range f.transports {
		_, isCookie := t.(CookieTransport)
		for _, later := range f.transports[i+1:] {
			if sharePlace(t, later, r) {
				errs = append(errs, fmt.Errorf("sessions: FirstOf: two transports keep the token in the same cookie or header (%s): give each a name of its own, or leave one out", t.Vary()))
			} else if _, ok := later.(CookieTransport); isCookie && !ok {
				errs = append(errs, fmt.Errorf("sessions: FirstOf: the cookie of a %T is before a %T: put cookies last, because browsers send them by themselves, and a token that a client sends on purpose goes before", t, later))
			}
		}
	}
	return errors.Join(errs...)
}

// ValidateOutcome implements [OutcomeValidator].
func (f *firstOf) ValidateOutcome(o Outcome) error {
	var errs []error
	for _, t := range f.transports {
		if v, ok := t.(OutcomeValidator); ok {
			errs = append(errs, v.ValidateOutcome(o))
		}
	}
	return errors.Join(errs...)
}

// transportsIn are the transports of which t consists.
func transportsIn(t Transport) []Transport {
	if f, ok := t.(*firstOf); ok {
		return f.transports
	}
	return []Transport{t}
}

// sharePlaces is sharePlace for transports that may be a FirstOf each.
func sharePlaces(a, b Transport, r *http.Request) bool {
	for _, x := range transportsIn(a) {
		for _, y := range transportsIn(b) {
			if sharePlace(x, y, r) {
				return true
			}
		}
	}
	return false
}

// transportFor returns the transport that serves a request, by how far it is from the last one.
func transportFor(t Transport, fromLast uint8) Transport {
	if f, ok := t.(*firstOf); ok {
		return f.at(int(fromLast))
	}
	return t
}

// tokensOf returns the tokens of a request, and what transportFor needs. Those of a cookie lie in space, which saves an
// allocation.
func tokensOf(t Transport, r *http.Request, space []string) (tokens []string, fromLast uint8) {
	switch t := t.(type) {
	case Cookie:
		return t.appendTokens(space, r), 0
	case *firstOf:
		tokens, n := t.choose(r)
		return tokens, uint8(n)
	}
	return t.Tokens(r), 0
}

// needsInfo tells whether Write of t may look at the Info of an Outcome of that kind.
func needsInfo(t Transport, kind OutcomeKind) bool {
	switch t.(type) {
	case Cookie:
		return kind == OutcomeCreated || kind == OutcomeRenewed
	case HeaderToken:
		return false
	}
	return true
}
