package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"iter"
	"slices"
	"strconv"

	"github.com/typedsessions/sessions/internal/record"
)

// MaxChunk is how many keys of sessions one step of an OwnerStore is given.
const MaxChunk = 1000

// indexOf returns the key of an owner's index, and the tag that it has in common with the keys of the owner's sessions.
func (e *Engine) indexOf(owner string) (index, tag string) {
	var b [43]byte
	sum := e.ownerHash(owner)
	base64.RawURLEncoding.Encode(b[:], sum[:])
	return "{" + string(b[:4]) + "}o" + string(b[:]), string(b[:4])
}

func (e *Engine) ownerHash(owner string) [sha256.Size]byte {
	buf := make([]byte, 0, 128)
	buf = append(buf, e.Realm...)
	buf = append(buf, "\x00owner\x00"...)
	buf = append(buf, owner...)
	return sha256.Sum256(buf)
}

// Listed tells whether a session of this owner is listed that is under this key.
func (e *Engine) Listed(key, owner string) bool {
	if e.Owners == nil || owner == "" {
		return false
	}
	sum := e.ownerHash(owner)
	var tag [4]byte
	base64.RawURLEncoding.Encode(tag[:], sum[:3])
	return record.Tag(key) == string(tag[:])
}

// An entry is that of a session on the index of its owner.
type entry struct{ index, member string }

// entryOf returns the entry of a record under a key. The zero entry means that it is not listed.
func (e *Engine) entryOf(rec *record.Record, key string) entry {
	if e.Owners == nil || len(rec.Owner) == 0 || rec.IsMark() {
		return entry{}
	}
	index, tag := e.indexOf(string(rec.Owner))
	if record.Tag(key) != tag {
		return entry{}
	}
	if member := record.Member(rec.ID, key); member != "" {
		return entry{index, member}
	}
	return entry{}
}

// chunks are parts of members, each no more than a step may be given.
func chunks(members []string) iter.Seq[[]string] {
	return slices.Chunk(members, MaxChunk)
}

// keysOf are the keys of the members of an index. For one that is no session's it is a key under which there is nothing,
// so that it leaves the index; it is in the same slot, as all keys of a step are.
func keysOf(members []string, index string) []string {
	keys, tag := make([]string, len(members)), record.Tag(index)
	for i, m := range members {
		ok := false
		if _, keys[i], ok = record.ReadMember(m, tag); !ok {
			keys[i] = "{" + tag + "}" + strconv.Itoa(i)
		}
	}
	return keys
}
