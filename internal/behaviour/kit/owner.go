package kit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions"
)

// Owner is whose the sessions are that the harness begins, "" for nobody. [MainForEachOwner] sets it. It is another thing
// than the UserID, so that the tests may change that as they like.
//
// Where the store keeps an index of a user's sessions, one step renews or deletes a session of an Owner's, together with
// its entry. A [Store] names it like the step that decides about one of nobody's, CompareAndSwap, so that a test can park
// there whose session it ever is; there is no Create before it. [Store.Left] and [Processes.Keys] find out whether the
// index is exact.
var Owner string

// Steps is the second one if the sessions have an Owner.
func Steps(nobodys, owners string) string {
	if Owner == "" {
		return nobodys
	}
	return owners
}

// IndexOf is the key of the index of a user's sessions, as the documentation of the stored format has it.
func IndexOf(owner string) string {
	sum := sha256.Sum256([]byte("session\x00owner\x00" + owner))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	return "{" + hash[:4] + "}o" + hash
}

var indexShape = regexp.MustCompile(`\{.{4}\}o.{43}$`)

// IsIndex tells of a key, with or without a prefix, whether it is that of an index.
func IsIndex(key string) bool { return indexShape.MatchString(key) }

// MemberOf is the member of an index for a session, as the documentation of the stored format has it.
func MemberOf(t testing.TB, id, key string) string {
	t.Helper()
	u, err := uuid.Parse(id)
	Must(t, err)
	hash, err := base64.RawURLEncoding.DecodeString(key[len("{TAG0}"):])
	Must(t, err)
	return string(u[:]) + string(hash)
}

// HeaderOf is what the header of a record says, "" if it cannot be read.
func HeaderOf(record string) (id, owner string) {
	var header struct{ ID, Owner string }
	line, _, _ := strings.Cut(record, "\n")
	if json.Unmarshal([]byte(line), &header) != nil {
		return "", ""
	}
	return header.ID, header.Owner
}

// WantExact fails the test if the index does not list each session of this user's that was ever written and is there, or
// lists a mark. It may list what the store has forgotten. It returns how many sessions are there.
func (s *Store) WantExact(t testing.TB, owner string) (live int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.written)
	s.written = slices.Compact(s.written)
	return s.wantExact(t, owner, s.written)
}

func (s *Store) wantExact(t testing.TB, owner string, keys []string) (live int) {
	t.Helper()
	store, ok := s.WithOwners().(ownerStore)
	if owner == "" || !ok {
		return 0
	}
	members, err := store.owners.Members(context.Background(), IndexOf(owner))
	Must(t, err)
	for _, key := range keys {
		key = key[strings.IndexByte(key, '{'):] // without a prefix
		data, _, err := store.owners.Load(context.Background(), key, 0)
		if errors.Is(err, sessions.ErrNotFound) {
			continue
		}
		Must(t, err)
		id, whose := HeaderOf(string(data))
		if id == "" {
			continue
		}
		listed := slices.Contains(members, MemberOf(t, id, key))
		mark := IsMark(string(data))
		if !mark && whose == owner {
			live++
		}
		if listed && mark || !listed && !mark && whose == owner {
			t.Errorf("the index of %s's is not exact: %s is a mark: %t, and listed: %t", owner, key, mark, listed)
		}
	}
	return live
}
