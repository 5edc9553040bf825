package sessions

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// A Transport carries the token between client and server. It is safe for concurrent use, and may also be a
// [Validator], an [OutcomeValidator], a [SecureTransport], a [CookieTransport] and an [Attributor].
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

// A CookieTransport is a Transport with a cookie, which browsers leave out of cross-site requests by its SameSite.
// No automatic save creates a session then, because its cookie would replace theirs (docs/cookies.md).
type CookieTransport interface {
	// CookieFor returns the cookie's name, and its SameSite in a session that begins with r. The default is Lax.
	CookieFor(r *http.Request) (name string, sameSite http.SameSite)
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

// withheld tells whether the browser may have a cookie of t's that it has left out of r: r has none, comes from
// another site (Fetch Metadata, Sec-Fetch-Site), and is one to which SameSite does not let the cookie be attached
// (RFC 6265bis section 5.6.7).
func withheld(t Transport, r *http.Request) bool {
	c, ok := t.(CookieTransport)
	if !ok || r.Header.Get("Sec-Fetch-Site") != "cross-site" {
		return false
	}
	name, sameSite := c.CookieFor(r)
	switch sameSite {
	case http.SameSiteNoneMode:
		return false
	case http.SameSiteStrictMode:
	default:
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
				return false
			}
		}
	}
	return len(cookieValues(nil, r, name, 1)) == 0
}

// sharePlace tells whether two Transports keep the token in the same cookie or header, as far as they say so.
func sharePlace(a, b Transport, r *http.Request) bool {
	x, isCookie := a.(CookieTransport)
	if y, ok := b.(CookieTransport); ok && isCookie {
		one, _ := x.CookieFor(r)
		other, _ := y.CookieFor(r)
		return one == other
	}
	header := a.Vary()
	return reflect.DeepEqual(a, b) || reflect.TypeOf(a) == reflect.TypeOf(b) && header == b.Vary() && header != "Cookie"
}

// blank is what browsers, too, take off a cookie's name. To take off more, such as U+2003, would find a prefixed
// name where a browser saw none and let any host of the domain set it.
const blank = " \t"

// cookieValues appends the values of the first cookies of a name to values until those are so many, whatever they contain.
func cookieValues(values []string, r *http.Request, name string, most int) []string {
	for _, line := range r.Header["Cookie"] {
		for line != "" && len(values) < most {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if v, ok := cookieValue(pair, name); ok {
				values = append(values, v)
			}
		}
	}
	return values
}

// cookieValue is the value of a pair of a Cookie line, if it is of the cookie of that name.
func cookieValue(pair, name string) (value string, ok bool) {
	k, v, ok := strings.Cut(strings.Trim(pair, blank), "=")
	return v, ok && strings.Trim(k, blank) == name
}

// withoutCookie is a Cookie line without the cookies of a name. Everything else in it stays as it is.
func withoutCookie(line, name string) string {
	pairs := strings.Split(line, ";")
	others := slices.DeleteFunc(slices.Clone(pairs), func(pair string) bool {
		_, is := cookieValue(pair, name)
		return is
	})
	if len(others) == len(pairs) {
		return line
	}
	return strings.TrimLeft(strings.Join(others, ";"), blank)
}
