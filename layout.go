package sessions

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A Layout decides the shape of a token, the key that it stands for, and the bytes of a stored record. Its
// methods are safe for concurrent use. The default is [DefaultLayout]; another one makes the Manager speak
// another program's format, or wraps the default, to encrypt what is stored for example: a [Codec] cannot
// do that, because what it writes is compared and merged field by field.
//
// A Layout may also implement [Validator], [FieldsValidator] and [Identifier].
type Layout interface {
	// Mint makes a token from what Config.NewToken drew.
	Mint(drawn string, remembered bool) string
	// Parse tells what the token alone says. A token that is not ok has the wrong shape and never reaches
	// the store. If the class of timeouts is not known from the token, the record is loaded without a
	// touch, and then touched by the timeout found in it.
	Parse(token string) (remembered, known, ok bool)
	// Key returns the store key of a token. Managers of different realms must not share keys, unless the
	// format to be spoken has no room for a realm.
	Key(realm, token string) string
	// Open reads a stored record. The fields of the result are views into stored. On an error the ID is
	// set if it could be read.
	Open(stored []byte) (Record, error)
	// Seal writes a record. A Layout that cannot mark a renewed session answers a Record that has a
	// Successor with [errors.ErrUnsupported]; a renewal then deletes the old record instead.
	Seal(r Record) ([]byte, error)
}

// A FieldsValidator is a Layout that has a meaning of its own for some names of fields. [New] gives it the
// names under which T's fields are stored, and returns its error.
type FieldsValidator interface {
	ValidateFields(names []string) error
}

// An Identifier is a Layout whose format has no ID of its own and calls a session by its key. [Info].ID is
// then what ID returns. If that is the token, the Manager's log shows a hash of it.
type Identifier interface {
	ID(key string) string
}

// A Record is what a [Layout] reads and writes: the payload, which is T by its codec, and the header beside
// it.
type Record struct {
	ID    []byte // public; if it is empty, one is made of the key
	Codec []byte // name of the payload's codec; empty means Config.Codec
	Owner []byte // Info.Owner
	Label []byte // Info.Label
	// Writes names the last write of each of the eight processes that wrote last, the newest first: a
	// writer whose reply was lost finds its own name here.
	Writes [8][]byte

	Created       time.Time     // start of the Lifetime
	Authenticated time.Time     // zero if never
	Idle          time.Duration // the record's own idle timeout; 0 means the Manager's
	Version       int           // of T; 0 if T has none
	Remembered    bool          // Config.Remember applies

	// Successor makes the record a mark: the session was renewed at Created and lives under this key. A
	// mark loads as not found.
	Successor []byte
	Payload   []byte // T by its codec
	Extra     []byte // header fields that the Layout does not know, kept as they are

	// Prefix is how many of the first bytes of the stored record identify this very write; Open sets it.
	Prefix int
	// Attrs is what the Layout keeps in the record for its Transport.
	Attrs any
}

// DefaultLayout is the library's own [Layout]. A token is one letter for its class of timeouts and what was
// drawn; the key is a hash of it; a record is one line of JSON, a newline, and the payload.
type DefaultLayout struct{}

var _ Layout = DefaultLayout{}

const (
	classSession    = 's'
	classRemembered = 'r'
)

// Mint puts the letter of the class before what was drawn.
func (DefaultLayout) Mint(drawn string, remembered bool) string {
	if remembered {
		return string(classRemembered) + drawn
	}
	return string(classSession) + drawn
}

// Parse takes a class letter and 20 to 128 letters, digits, "-" and "_".
func (DefaultLayout) Parse(token string) (remembered, known, ok bool) {
	if len(token) < 21 || len(token) > 129 || token[0] != classSession && token[0] != classRemembered {
		return false, false, false
	}
	for i := 1; i < len(token); i++ {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false, false, false
		}
	}
	return token[0] == classRemembered, true, true
}

// Key returns the base64url of the SHA-256 of realm and token: whoever reads the store cannot use what they
// see (ASVS 5.0 11.4). The class letter is part of what is hashed, so it cannot be changed to get other
// timeouts.
func (DefaultLayout) Key(realm, token string) string {
	buf := make([]byte, 0, 160)
	buf = append(buf, realm...)
	buf = append(buf, 0)
	buf = append(buf, token...)
	sum := sha256.Sum256(buf)
	var key [43]byte
	base64.RawURLEncoding.Encode(key[:], sum[:])
	return string(key[:])
}

// Open reads what Seal has written.
func (DefaultLayout) Open(stored []byte) (Record, error) {
	r, err := record.Open(stored)
	return Record(r), err
}

// Seal writes the header line, a newline, and the payload.
func (DefaultLayout) Seal(r Record) ([]byte, error) { return record.Seal(record.Record(r)), nil }
