package record

import (
	"encoding/base64"
	"time"

	"github.com/google/uuid"
)

// A Placement is one step of an owner store. It has the fields of sessions.Placement, which documents them.
type Placement struct {
	Index    string
	IndexTTL time.Duration

	Old       string
	OldPrefix []byte
	OldData   []byte
	OldTTL    time.Duration
	Remove    string

	New     string
	NewData []byte
	NewTTL  time.Duration
	Add     string
	Created time.Time

	Members []string
	Keys    []string
	Limit   int
	Reject  bool
}

// Placed is the answer to a Placement. It has the fields of sessions.Placed, which documents them.
type Placed struct {
	Current []byte
	Members []string
	Ended   []string
	Count   int
}

const (
	tagLen    = 4  // of a token and its key
	hashLen   = 43 // of base64url of 32 bytes
	memberLen = 16 + 32
)

// Tag is what the keys of one owner's sessions, and of the index of them, begin with in braces: in a cluster they are
// in one slot.
func Tag(key string) string {
	if len(key) < tagLen+2 || key[0] != '{' || key[tagLen+1] != '}' {
		return ""
	}
	return key[1 : tagLen+1]
}

// IsIndex tells the key of an index from that of a session, which is shorter by a letter.
func IsIndex(key string) bool {
	return len(key) == tagLen+2+1+hashLen && Tag(key) != "" && key[tagLen+2] == 'o'
}

// Member is a session on the index of its owner: 16 bytes of its ID and the 32 bytes that its key is the hash of. It
// is "" if ID or key have another form.
func Member(id []byte, key string) string {
	u, err := uuid.ParseBytes(id)
	if err != nil || len(key) != tagLen+2+hashLen || Tag(key) == "" {
		return ""
	}
	m := make([]byte, memberLen)
	copy(m, u[:])
	if n, err := base64.RawURLEncoding.Strict().Decode(m[16:], []byte(key[tagLen+2:])); err != nil || n != 32 {
		return ""
	}
	return string(m)
}

// ReadMember returns the ID and the key of a member of the index that has the tag.
func ReadMember(member, tag string) (id, key string, ok bool) {
	if len(member) != memberLen {
		return "", "", false
	}
	return uuid.UUID([]byte(member[:16])).String(), "{" + tag + "}" + base64.RawURLEncoding.EncodeToString([]byte(member[16:])), true
}
