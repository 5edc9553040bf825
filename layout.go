package sessions

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A Layout decides the form of tokens, keys and records. It is safe for concurrent use. It may be a
// [Validator], [FieldsValidator] and [Identifier].
type Layout interface {
	Mint(drawn string, remembered bool) string // makes a token of what Config.NewToken drew
	// Parse tells what the token alone says. One that is not ok never reaches the store. If it does not say whether
	// the session is remembered, or records have idle timeouts of their own, known is false. The record is then loaded
	// first and touched afterwards, in Handler when the response header is written; and no touch or save shortens the
	// expiry that another program has given it, unless that has also changed the record's timeout.
	Parse(token string) (remembered, known, ok bool)
	Key(realm, token string) string // gives the store key. Managers of different realms should not share keys
	// Open reads a stored record. The result may hold views into stored; with an error its ID may be set. An error
	// that wraps [ErrNotFound] says that these bytes stand for no session, as if nothing were stored: they are not
	// reported, and stay.
	Open(stored []byte) (Record, error)
	// Seal writes a record. [errors.ErrUnsupported]: it cannot write a Successor, so the old record is deleted.
	Seal(r Record) ([]byte, error)
}

// A FieldsValidator is a Layout that refuses some names of T's fields in [New].
type FieldsValidator interface {
	ValidateFields(names []string) error
}

// An Identifier is a Layout that makes [Info].ID of the key.
type Identifier interface {
	ID(key string) string
}

// An OwnerLayout is a [Layout] that puts a user's sessions side by side, so that an [OwnerStore] can list them: the keys
// of their tokens have a tag of four characters in common. Its records keep ID and Owner, and it is no [Identifier]. A
// type that embeds [DefaultLayout] is one.
type OwnerLayout interface {
	Layout
	// Place is Mint for a tag of four letters, digits, "-" and "_". The key of the token is "{", the tag, "}" and 43
	// characters: a 32-byte hash in base64url.
	Place(drawn, tag string, remembered bool) string
}

// A Record is what a [Layout] reads and writes: the payload and its header.
type Record struct {
	ID            []byte        // public; if it is empty, one is made of the key
	Codec         []byte        // name of the payload's codec; empty means Config.Codec
	Owner         []byte        // Info.Owner
	Label         []byte        // Info.Label
	Writes        [8][]byte     // the last write of each of the eight processes that wrote last, newest first
	Created       time.Time     // start of the Lifetime
	Authenticated time.Time     // zero if never
	Method        []byte        // Info.Method
	Idle          time.Duration // the record's own idle timeout; 0 means the Manager's
	Version       int           // of T; 0 if T has none
	Remembered    bool          // Config.Remember applies
	Successor     []byte        // not empty: the session was renewed at Created, and is now under this key
	Payload       []byte        // T by its codec
	Extra         []byte        // header fields that the Layout does not know, kept as they are
	Prefix        int           // how many of the first stored bytes identify this write; Open sets it
	Attrs         any           // what the Layout keeps for its Transport
}

// DefaultLayout is the library's own [Layout].
type DefaultLayout struct{}

var _ OwnerLayout = DefaultLayout{}

const (
	classSession    = 's'
	classRemembered = 'r'
	tagLen          = 4
)

// Mint is Place with a random tag, for a session that is nobody's.
func (l DefaultLayout) Mint(drawn string, remembered bool) string {
	return l.Place(drawn, rand.Text()[:tagLen], remembered)
}

// Place puts a letter for the class of timeouts and the tag before drawn. The tag is no secret.
func (DefaultLayout) Place(drawn, tag string, remembered bool) string {
	if remembered {
		return string(classRemembered) + tag + drawn
	}
	return string(classSession) + tag + drawn
}

// Parse implements [Layout].
func (DefaultLayout) Parse(token string) (remembered, known, ok bool) {
	if len(token) < 1+tagLen+20 || len(token) > 1+tagLen+128 || token[0] != classSession && token[0] != classRemembered {
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

// Key is the token's tag in braces, and the SHA-256 of realm and token in base64url (ASVS 5.0 11.4).
func (DefaultLayout) Key(realm, token string) string {
	buf := make([]byte, 0, 160)
	buf = append(buf, realm...)
	buf = append(buf, 0)
	buf = append(buf, token...)
	sum := sha256.Sum256(buf)
	var key [1 + tagLen + 1 + 43]byte
	key[0] = '{'
	copy(key[1:1+tagLen], token[min(1, len(token)):])
	key[1+tagLen] = '}'
	base64.RawURLEncoding.Encode(key[1+tagLen+1:], sum[:])
	return string(key[:])
}

// Open implements [Layout].
func (DefaultLayout) Open(stored []byte) (Record, error) {
	r, err := record.Open(stored)
	return Record(r), err
}

// Seal implements [Layout].
func (DefaultLayout) Seal(r Record) ([]byte, error) { return record.Seal(record.Record(r)), nil }
