package express

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/jsonfields"
)

// A cookie is the member "cookie" of a stored document: each member of its own
// as JSON, nil if absent, and at the end those that express-session does not
// know. It does not change once it is made.
type cookie [members]json.RawMessage

// The members of a cookie, in the order in which express-session writes them.
const (
	maxAge = iota
	partitioned
	priority
	expires
	secure
	httpOnly
	domain
	path
	sameSite
	unknown // more members, with a comma before each
	members
)

var memberNames = [unknown]string{
	"originalMaxAge", "partitioned", "priority", "expires", "secure", "httpOnly", "domain", "path", "sameSite",
}

// newCookie is express-session's new Cookie(options).
func newCookie(o Cookie) *cookie {
	c := &cookie{maxAge: json.RawMessage("null"), httpOnly: json.RawMessage("true"), path: quote(or(o.Path, "/"))}
	if o.MaxAge > 0 {
		c[maxAge] = strconv.AppendInt(nil, o.MaxAge.Milliseconds(), 10)
	}
	if o.Domain != "" {
		c[domain] = quote(o.Domain)
	}
	for member, s := range map[int]Setting{
		secure: o.Secure, httpOnly: o.HttpOnly, partitioned: o.Partitioned, sameSite: o.SameSite, priority: o.Priority,
	} {
		switch s {
		case "":
		case True, False:
			c[member] = json.RawMessage(s)
		default:
			c[member] = quote(string(s))
		}
	}
	return c
}

func quote(s string) json.RawMessage { return jsonfields.AppendName(nil, s) }

var (
	errNoCookie = errors.New(`no "cookie" object, without which it is no session of express-session's`)
	errMaxAge   = errors.New("cookie.originalMaxAge is neither null nor a positive number of milliseconds")
)

// parseCookie reads a stored one. What express-session fills in, it fills in.
func parseCookie(data []byte) (*cookie, error) {
	fields, err := sessions.JSON{}.Split(data)
	if err != nil {
		return nil, errNoCookie
	}
	c := &cookie{httpOnly: json.RawMessage("true"), path: quote("/")}
	for _, f := range fields {
		if i := slices.Index(memberNames[:], f.Name); i >= 0 {
			c[i] = f.Value
			continue
		}
		c[unknown] = append(append(c[unknown], ','), quote(f.Name)...)
		c[unknown] = append(append(c[unknown], ':'), f.Value...)
	}
	if _, ok := c.age(); !ok {
		return nil, errMaxAge
	}
	return c, nil
}

// age is how long the session lasts after a request, in milliseconds; 0 without
// a maxAge. Not ok is one with which Node can do nothing.
func (c *cookie) age() (ms int64, ok bool) {
	switch string(c[maxAge]) {
	case "", "null", "false":
		return 0, true
	}
	const most = 8.64e15 // what a Date of JavaScript holds
	f, err := strconv.ParseFloat(string(c[maxAge]), 64)
	if err != nil || f < 1 || f > most {
		return 0, false
	}
	return int64(f), true
}

// idle is how long Redis keeps the session after a request: whole seconds,
// rounded up. Without a maxAge that is for the Manager to say.
func (c *cookie) idle() time.Duration {
	ms, _ := c.age()
	return time.Duration(min((ms+999)/1000, int64(math.MaxInt64/time.Second))) * time.Second
}

const (
	dateFormat = "2006-01-02T15:04:05.000Z" // Date.prototype.toISOString
	lastDate   = 253402300799999            // the last of four digits' years
)

// touched is the cookie after Session.touch: it expires by originalMaxAge from
// now on, whatever it said before.
func (c *cookie) touched(now time.Time) *cookie {
	t := *c
	ms, _ := c.age()
	if t[expires] = c[maxAge]; ms > 0 {
		end := time.UnixMilli(min(now.UnixMilli()+ms, lastDate)).UTC()
		t[expires] = quote(end.Format(dateFormat))
	}
	return &t
}

// end is when the cookie expires, if it does.
func (c *cookie) end() (time.Time, bool) {
	end, err := time.Parse(`"`+dateFormat+`"`, string(c[expires]))
	return end, err == nil
}

func (c *cookie) appendJSON(b []byte) []byte {
	first := byte('{')
	for i, name := range memberNames {
		if c[i] != nil {
			b = append(append(append(append(b, first, '"'), name...), `":`...), c[i]...)
			first = ','
		}
	}
	return append(append(b, c[unknown]...), '}')
}

// line is the Set-Cookie header: attributes in Node's order, and those left out
// that no cookie can have.
func (c *cookie) line(name, value string, end time.Time) string {
	var b strings.Builder
	b.WriteString(name + "=" + value)
	d, p := c.scope()
	if d != "" {
		b.WriteString("; Domain=" + d)
	}
	if p != "" {
		b.WriteString("; Path=" + p)
	}
	if !end.IsZero() {
		b.WriteString("; Expires=" + end.UTC().Format(http.TimeFormat))
	}
	for _, flag := range []struct {
		member int
		text   string
	}{{httpOnly, "; HttpOnly"}, {secure, "; Secure"}, {partitioned, "; Partitioned"}} {
		if truthy(c[flag.member]) {
			b.WriteString(flag.text)
		}
	}
	if p, _ := text(c[priority]); Setting(p).among([]Setting{Low, Medium, High}) && p != "" {
		b.WriteString("; Priority=" + title(p))
	}
	if s, _ := text(c[sameSite]); string(c[sameSite]) == "true" {
		b.WriteString("; SameSite=Strict")
	} else if Setting(s).among([]Setting{Strict, Lax, None}) && s != "" {
		b.WriteString("; SameSite=" + title(s))
	}
	return b.String()
}

// scope is the Domain and the Path that line writes, each empty if it leaves it out.
func (c *cookie) scope() (d, p string) {
	if d, _ = text(c[domain]); !validDomain(d) {
		d = ""
	}
	if p, _ = text(c[path]); !validPath(p) {
		p = ""
	}
	return d, p
}

// A place is where a browser keeps one cookie of a name.
type place struct {
	domain, path string
	partitioned  bool
}

// place reads what line writes as a browser does: a dot before the domain means nothing, nor does case (RFC 6265
// section 5.2.3), and a Partitioned cookie does not replace one that is not (CHIPS).
func (c *cookie) place() place {
	d, p := c.scope()
	return place{strings.ToLower(strings.TrimPrefix(d, ".")), p, truthy(c[partitioned])}
}

// title writes a word with one capital.
func title(s string) string { return strings.ToUpper(s[:1]) + strings.ToLower(s[1:]) }

// text is a string that is not empty.
func text(v json.RawMessage) (s string, ok bool) {
	return s, len(v) > 0 && json.Unmarshal(v, &s) == nil && s != ""
}

// truthy is JavaScript's.
func truthy(v json.RawMessage) bool {
	switch string(v) {
	case "", "null", "false", `""`:
		return false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return err != nil || f != 0
}

// isNull is JavaScript's == null.
func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// What package cookie lets into an attribute. (?i) would take ſ for s.
var (
	domains = regexp.MustCompile(`^[.]?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	paths   = regexp.MustCompile(`^[\x20-\x3A\x3D-\x7E]*$`)
)

// names are what package cookie up to 0.6 lets be a name, as far as it comes back from browsers (RFC 6265bis section
// 5.7) and is found again: = ends a name and ; the cookie, and blanks around it are cut off.
var names = regexp.MustCompile(`^[!-:<>-~]([ -:<>-~]*[!-:<>-~])?$`)

func validName(v string) bool   { return names.MatchString(v) }
func validDomain(v string) bool { return domains.MatchString(v) }
func validPath(v string) bool   { return paths.MatchString(v) }
