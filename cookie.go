package sessions

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// Cookie carries the token in a cookie. The zero value is the safest: __Host-Http-session; Path=/; Secure;
// HttpOnly; SameSite=Lax. No other host can set that (RFC 6265bis section 4.1.3.2, ASVS 5.0 3.3.1), and in
// browsers that know the prefix __Host-Http- no script either (draft-ietf-httpbis-layered-cookies).
type Cookie struct {
	Name        string        // default: __Host-Http-session; __Secure-session with a Domain or Path; session if Insecure
	Path        string        // browsers send the cookie below this path. Default: /
	Domain      string        // all its hosts receive the cookie, and can set it. Default: the answering host alone
	SameSite    http.SameSite // default: Lax. None needs Secure, and lets other sites send requests with the session. See docs/cookies.md
	Persist     bool          // keeps the cookie after the browser has closed, until Lifetime ends; always with [Remembered]
	Partitioned bool          // keys the cookie by the embedding site (CHIPS)
	Insecure    bool          // lets the cookie travel by plain HTTP, where it can be stolen: for development only
}

const (
	maxCookie    = 4096                 // bytes of name and value that browsers keep, RFC 6265bis section 5.6
	maxCookieAge = 400 * 24 * time.Hour // RFC 6265bis section 5.5
)

func (c Cookie) name() string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Insecure:
		return "session"
	case c.Domain != "" || c.path() != "/":
		return "__Secure-session"
	}
	return "__Host-Http-session"
}

func (c Cookie) path() string {
	if c.Path == "" {
		return "/"
	}
	return c.Path
}

// Tokens implements [Transport].
func (c Cookie) Tokens(r *http.Request) []string { return c.appendTokens(nil, r) }

// appendTokens is Tokens, appended to tokens.
func (c Cookie) appendTokens(tokens []string, r *http.Request) []string {
	return cookieValues(tokens, r, c.name(), protocol.MaxCandidates)
}

// Write implements [Transport].
func (c Cookie) Write(h http.Header, _ *http.Request, o Outcome) (sent bool) {
	line := c.line(o)
	c.remove(h)
	if line == "" {
		return false
	}
	h["Set-Cookie"] = append(slices.Clip(h["Set-Cookie"]), line)
	return true
}

func (c Cookie) line(o Outcome) string {
	cookie := http.Cookie{
		Name: c.name(), Value: o.Token.Reveal(), Path: c.path(), Domain: c.Domain,
		HttpOnly: true, Secure: !c.Insecure, SameSite: c.SameSite, Partitioned: c.Partitioned,
	}
	if cookie.SameSite == 0 || cookie.SameSite == http.SameSiteDefaultMode {
		cookie.SameSite = http.SameSiteLaxMode
	}
	switch o.Kind {
	case OutcomeCreated, OutcomeRenewed:
		if c.Persist || o.Info.Remembered {
			cookie.MaxAge = maxAge(o.Info.ExpiresAt)
		}
	case OutcomeDestroyed:
		cookie.Value, cookie.MaxAge, cookie.Expires = "", -1, time.Unix(1, 0)
	default:
		return ""
	}
	return cookie.String()
}

// maxAge is what is left until end in whole seconds, rounded up: at least one,
// for 0 would mean a cookie of the browser session.
func maxAge(end time.Time) int {
	left := maxCookieAge
	if !end.IsZero() {
		left = min(left, time.Until(end))
	}
	return max(1, int((left+time.Second-1)/time.Second))
}

// remove takes out the lines that Write wrote before, into a slice of its own:
// the one in h may be shared.
func (c Cookie) remove(h http.Header) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	name := c.name() + "="
	var others []string
	for _, line := range lines {
		if !strings.HasPrefix(line, name) {
			others = append(others, line)
		}
	}
	switch {
	case len(others) == len(lines):
	case len(others) == 0:
		delete(h, "Set-Cookie")
	default:
		h["Set-Cookie"] = others
	}
}

// Strip takes the cookie out of a request that is to be sent on to another server, so that no token leaves this program:
// call it in [net/http/httputil.ReverseProxy].Rewrite with the outgoing request. Other cookies stay as they are, byte for
// byte. Only Name, or what it is by default, plays a part.
func (c Cookie) Strip(r *http.Request) {
	var kept []string
	for _, line := range r.Header["Cookie"] {
		if line = withoutCookie(line, c.name()); line != "" {
			kept = append(kept, line)
		}
	}
	if kept == nil {
		delete(r.Header, "Cookie")
	} else {
		r.Header["Cookie"] = kept
	}
}

// Vary implements [Transport].
func (c Cookie) Vary() string { return "Cookie" }

// Secure implements [SecureTransport]: it is false if c is Insecure.
func (c Cookie) Secure() bool { return !c.Insecure }

// CookieFor implements [CookieTransport].
func (c Cookie) CookieFor(*http.Request) (name string, sameSite http.SameSite) {
	return c.name(), c.SameSite
}

// Validate implements [Validator]: it tells what browsers would refuse.
func (c Cookie) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("sessions: Cookie."+field+": "+format, args...))
	}
	name := c.name()
	probe := http.Cookie{Name: name, Value: "v"}
	if err := probe.Valid(); err != nil {
		bad("Name", "%q is not a cookie name (RFC 6265 section 4.1.1): use letters, digits, - and _", name)
	}
	probe = http.Cookie{Name: "n", Value: "v", Path: c.Path}
	if err := probe.Valid(); err != nil || c.Path != "" && c.Path[0] != '/' {
		bad("Path", "%q is not a path: start it with / and leave out control characters and semicolons", c.Path)
	}
	probe = http.Cookie{Name: "n", Value: "v", Domain: c.Domain}
	if err := probe.Valid(); err != nil {
		bad("Domain", "%q is not a domain a cookie can have: use a host name such as example.com", c.Domain)
	}
	// Browsers compare the prefixes without case.
	prefix := strings.ToLower(name)
	if strings.HasPrefix(prefix, "__host-") {
		if c.Insecure {
			bad("Insecure", "a %s cookie must be Secure: leave Name empty or choose one without the prefix", name)
		}
		if c.Domain != "" {
			bad("Domain", "a %s cookie must not have one: leave Domain empty or choose a name that begins with __Secure-", name)
		}
		if c.path() != "/" {
			bad("Path", "a %s cookie must have the path /: leave Path empty or choose a name that begins with __Secure-", name)
		}
	}
	if (strings.HasPrefix(prefix, "__secure-") || strings.HasPrefix(prefix, "__http-")) && c.Insecure {
		bad("Insecure", "a %s cookie must be Secure: leave Name empty or choose one without the prefix", name)
	}
	if c.SameSite == http.SameSiteNoneMode && c.Insecure {
		bad("SameSite", "None needs a Secure cookie: set Insecure to false")
	}
	if c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode {
		bad("SameSite", "%d is none of Lax, Strict and None: use the constants of net/http", c.SameSite)
	}
	if c.Partitioned && c.Insecure {
		bad("Partitioned", "needs a Secure cookie: set Insecure to false")
	}
	return errors.Join(errs...)
}

// ValidateOutcome implements [OutcomeValidator].
func (c Cookie) ValidateOutcome(o Outcome) error {
	var errs []error
	token := o.Token.Reveal()
	probe := http.Cookie{Name: "n", Value: token}
	if err := probe.Valid(); err != nil || strings.TrimSpace(token) != token {
		errs = append(errs, errors.New("sessions: Config.NewToken: it draws what a cookie cannot hold (RFC 6265 section 4.1.1): draw letters, digits, - and _"))
	}
	if n := len(c.name()) + len(token); n > maxCookie {
		errs = append(errs, fmt.Errorf("sessions: Cookie.Name: name and token are %d bytes, browsers keep %d: shorten the name", n, maxCookie))
	}
	if end := o.Info.ExpiresAt; !end.IsZero() && end.Sub(o.Info.CreatedAt) > maxCookieAge {
		switch {
		case o.Info.Remembered:
			errs = append(errs, errors.New("sessions: Config.Remember.Lifetime: browsers keep a persistent cookie for 400 days at most: shorten it"))
		case c.Persist:
			errs = append(errs, errors.New("sessions: Config.Lifetime: browsers keep a persistent cookie for 400 days at most: shorten it or leave Cookie.Persist out"))
		}
	}
	return errors.Join(errs...)
}
