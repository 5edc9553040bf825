package express

import (
	"strings"
	"time"
)

// Cookie are the options of express-session's cookie. Its zero value is Node's
// default: Path=/; HttpOnly, gone with the browser. Secure is for HTTPS, and
// SameSite best [Lax]: neither is Node's default.
type Cookie struct {
	// MaxAge is how long the session lasts after the last request (Redis'
	// expiry goes by it), and the cookie after it was last sent. Node counts
	// milliseconds: its 900000 is 15 * time.Minute here. Default: the cookie
	// ends with the browser, the session by Options.TTL.
	MaxAge time.Duration
	// Path is the path below which there are sessions; a request for another
	// has none, as if Options.Skip had said so. Default: /.
	Path   string
	Domain string

	Secure      Setting // True, False or Auto: whether the request that begins the session is secure
	HttpOnly    Setting // True or False. Default: True
	Partitioned Setting // True or False
	SameSite    Setting // Strict or True, Lax, None, False, or Auto: None on a secure request, else Lax
	Priority    Setting // Low, Medium or High
}

// A Setting is the value of an option, as JavaScript writes it. "" is an option
// that was not given; Node stores that otherwise than [False].
type Setting string

// The settings that there are.
const (
	True   Setting = "true"
	False  Setting = "false"
	Auto   Setting = "auto"
	Strict Setting = "strict"
	Lax    Setting = "lax"
	None   Setting = "none"
	Low    Setting = "low"
	Medium Setting = "medium"
	High   Setting = "high"
)

// normal writes what becomes a boolean, or is none yet, as the constants do. The
// other words go into records, and there Node leaves them as they were given.
func (c Cookie) normal() Cookie {
	for _, s := range []*Setting{&c.Secure, &c.HttpOnly, &c.Partitioned, &c.SameSite} {
		if lower := Setting(strings.ToLower(string(*s))); lower == True || lower == False || lower == Auto {
			*s = lower
		}
	}
	return c
}

func (s Setting) among(settings []Setting) bool {
	for _, other := range settings {
		// Of one length, because EqualFold takes ſ for s, and ToLower makes an i of İ.
		if s == "" || len(s) == len(other) && strings.EqualFold(string(s), string(other)) {
			return true
		}
	}
	return false
}

// or returns v, or otherwise if v is zero.
func or[V comparable](v, otherwise V) V {
	var zero V
	if v == zero {
		return otherwise
	}
	return v
}
