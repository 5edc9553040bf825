package express

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/jsonfields"
)

// layout is connect-redis' record: one JSON object, in which "cookie" is
// express-session's and everything else the application's. The key is the sid.
type layout struct{}

func (layout) Mint(drawn string, _ bool) string { return drawn }

// Parse takes any sid, however long: who signed it knew what he did, and a visitor whose sid was not taken would lose
// Node's session to a new one.
func (layout) Parse(sid string) (remembered, known, ok bool) { return false, false, sid != "" }

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

var errReserved = errors.New(`the encoded session has a member "cookie", which is express-session's`)

// Open takes the cookie object out of the document. Of two members of one name
// the last value counts, as in JavaScript. All values stay as they are, numbers
// with all their digits.
func (layout) Open(stored []byte) (r sessions.Record, err error) {
	fields, err := sessions.JSON{}.Split(stored)
	if err != nil && isNothing(stored) {
		return r, sessions.ErrNotFound
	} else if err != nil {
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

// tombstone is what connect-redis 6.1.0 and 6.1.2 leave of a session that was destroyed.
const tombstone = "TOMBSTONE"

// isNothing tells whether a value stands for no session in Node: express-session
// finds none behind what JavaScript takes for false.
func isNothing(stored []byte) bool {
	return len(stored) == 0 || string(stored) == tombstone || json.Valid(stored) && !truthy(bytes.TrimSpace(stored))
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
