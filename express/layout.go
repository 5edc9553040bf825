package express

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/jsonfields"
)

// layout is connect-redis' record: one JSON object, in which "cookie" is
// express-session's and everything else the application's. The key is the sid.
type layout struct{}

func (layout) Mint(drawn string, _ bool) string { return drawn }

// Parse takes any sid: who signed it knew what he did.
func (layout) Parse(sid string) (remembered, known, ok bool) {
	return false, false, sid != "" && len(sid) <= maxID
}

func (layout) Key(_, sid string) string { return sid }

// ID is req.sessionID.
func (layout) ID(key string) string { return key }

// reserved are the members of Node's Session object, and of Object: Node drops
// what is stored under their names.
var reserved = []string{
	"cookie", "req", "id", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate",
	"constructor", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
	"hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
}

// ValidateFields refuses the reserved names.
func (layout) ValidateFields(names []string) error {
	var errs []error
	for _, name := range names {
		if slices.Contains(reserved, name) {
			errs = append(errs, fmt.Errorf("field %q has a name that Node's Session object needs for itself, and would be lost there: give it another one by a json tag", name))
		}
	}
	return errors.Join(errs...)
}

var (
	errNoCookie = errors.New(`no "cookie" object, without which it is no session of express-session's`)
	errMaxAge   = errors.New("cookie.originalMaxAge is neither null nor a positive number of milliseconds")
	errReserved = errors.New(`the encoded session has a member "cookie", which is express-session's`)
)

// Open takes the cookie object out of the document. Of two members of one name
// the last value counts, as in JavaScript. All values stay as they are, numbers
// with all their digits.
func (layout) Open(stored []byte) (r sessions.Record, err error) {
	fields, err := sessions.JSON{}.Split(stored)
	if err != nil {
		return r, err
	}
	var object []byte
	payload := append(make([]byte, 0, len(stored)), '{')
	for _, f := range fields {
		if f.Name == "cookie" {
			object = f.Value
			continue
		}
		if len(payload) > 1 {
			payload = append(payload, ',')
		}
		payload = append(append(jsonfields.AppendName(payload, f.Name), ':'), f.Value...)
	}
	c, err := parseCookie(object)
	if err != nil {
		return r, err
	}
	r.Payload, r.Idle, r.Attrs, r.Prefix = append(payload, '}'), c.idle(), c, len(stored)
	return r, nil
}

// Seal puts a cookie object that expires from now on before the payload. There
// is no room for a mark.
func (layout) Seal(r sessions.Record) ([]byte, error) {
	if r.Successor != nil {
		return nil, errors.ErrUnsupported
	}
	c, ok := r.Attrs.(*cookie)
	if !ok {
		c = newCookie(Cookie{})
	}
	taken := false
	err := jsonfields.Object(r.Payload, func(name, _ []byte) { taken = taken || string(name) == "cookie" })
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, errReserved
	}
	b := make([]byte, 0, 256+len(r.Payload))
	b = c.touched(time.Now()).appendJSON(append(b, `{"cookie":`...))
	if rest := bytes.TrimSpace(r.Payload)[1:]; len(bytes.TrimSpace(rest)) > 1 {
		b = appendLiteral(append(b, ','), rest)
	} else {
		b = append(b, '}')
	}
	return b, nil
}

// appendLiteral appends JSON with U+2028 and U+2029 as they are, which Node
// does not escape.
func appendLiteral(b, data []byte) []byte {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return append(b, data...)
		}
		b, data = append(b, data[:i]...), data[i:]
		n := min(2, len(data)) // an escape is two bytes or, of these, six
		switch {
		case bytes.HasPrefix(data, []byte(`\u2028`)), bytes.HasPrefix(data, []byte(`\u2029`)):
			b = append(b, "\u2028"...)
			b[len(b)-1] += data[5] - '8'
			n = 6
		default:
			b = append(b, data[:n]...)
		}
		data = data[n:]
	}
}

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
	if d, ok := text(c[domain]); ok && validDomain(d) {
		b.WriteString("; Domain=" + d)
	}
	if p, ok := text(c[path]); ok && validPath(p) {
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
