package sessions

import (
	"context"
	"fmt"
	"time"
)

// A Store keeps bytes under keys until they expire. It is safe for concurrent use and atomic for each key
// of up to 200 arbitrary bytes. Bytes handed in are not kept; those handed out are the caller's. A ttl or
// touch below the store's resolution is rounded up to it. A cancelled context gives [context.Canceled]; no
// answer in time an error that wraps [ErrUnavailable] or [context.DeadlineExceeded]. A write that is refused, and
// of which no attempt was applied, may be [ErrRefused]. A Store may also be [Timed] and a [Validator]. Package
// storetest tests it.
type Store interface {
	// Load returns the value under key and the time until it expires; nothing there is [ErrNotFound]. With touch > 0
	// it restarts the expiry at touch in the same step, and left is touch, or the rest if the store can only read. What
	// never expires has the largest Duration left; 0 says that it cannot be known for the moment.
	Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error)
	// Create stores data under key for ttl, or returns [ErrExists]. A ttl of zero or less is an error.
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) error
	// CompareAndSwap replaces the value under key by data, for ttl, if the value begins with prefix, which may be
	// empty; nil data deletes it. If the value begins otherwise, nothing changes and the result is the current value
	// with [ErrConflict]; if nothing is there, [ErrNotFound].
	CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error)
	Delete(ctx context.Context, key string) error // nothing there is no error
}

// A Timed store says how long one load or save may take; otherwise one second.
type Timed interface {
	Timeout() time.Duration
}

// A Validator is a [Store], [Codec], [Transport] or [Layout] that [New] validates.
type Validator interface {
	Validate() error
}

// An OwnerStore is a [Store] that also keeps indexes: sorted lists of members, which name other keys of the store.
// It is what a Manager needs to know a user's sessions ([Manager.Sessions], [Config].MaxPerOwner). An index and the
// keys that are handed in with it have the same characters in their first braces, which in a Redis Cluster makes one
// slot of them. A member has 1 to 64 bytes; its score is a time, and times are compared in milliseconds. An index lives for
// the longest ttl that was handed in for it, beginning then; one without members and without the time that Revoke notes is
// none. Everything else is as with Store: each method is atomic, but LoadMany and End for each key alone.
type OwnerStore interface {
	Store
	// LoadMany returns, in the order of the keys, the values and the times until they expire, and restarts no expiry.
	// Nothing there is nil. With first > 0, values may be cut to that many bytes. Keys may differ in their braces.
	LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error)
	// Members returns the members of an index, the lowest score first, and in the order of their bytes where scores are equal.
	Members(ctx context.Context, index string) (members []string, err error)
	// Place does all of a [Placement], or nothing of it.
	Place(ctx context.Context, p Placement) (Placed, error)
	// Relist puts a member on the index again, with created as its score, if the value under key begins with prefix. Another
	// value is [ErrConflict], none [ErrNotFound]. If the member is not on the index, and created is not after the time that
	// Revoke has noted, the value is deleted and the error is [ErrGone].
	Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error
	// Revoke notes a time on the index, unless a later one is noted. The time is no member.
	Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error
	// End deletes the value under keys[i] and takes members[i] off the index, for each i whose member is on it. ended are
	// the members of which there was a value, in their order; with an error those that are known.
	End(ctx context.Context, index string, members, keys []string) (ended []string, err error)
}

// A Placement is one step of an [OwnerStore], with the conditions in the order of the fields. If one fails, nothing
// changes. What is zero is left out. All keys and members are different.
type Placement struct {
	Index    string        // the key of the index
	IndexTTL time.Duration // the index's, with Add

	// The value under Old must begin with OldPrefix, as with CompareAndSwap: otherwise the error is [ErrNotFound], or
	// [ErrConflict] with [Placed].Current. It is replaced by OldData for OldTTL (0: its expiry stays); nil OldData
	// deletes it. Remove is taken off the index.
	Old       string
	OldPrefix []byte
	OldData   []byte
	OldTTL    time.Duration
	Remove    string

	// NewData is stored under New for NewTTL. If something is there, the error is [ErrExists] with [Placed].Current. Add
	// is put on the index with Created as its score. With Old, if Remove is not on the index and Created is not after the
	// time that Revoke has noted, the error is ErrNotFound.
	New     string
	NewData []byte
	NewTTL  time.Duration
	Add     string
	Created time.Time

	// Those of Members, at most 1,000 and other ones than Add and Remove, that are on the index while there is no value
	// under their Keys leave it.
	Members []string
	Keys    []string
	// Limit > 0, with Add: beside Add and Remove the index must have just Members, in this order. Otherwise the error is
	// [ErrConflict] with [Placed].Members. If Add and those of Members with a value are more than Limit, the first ones
	// of Members with a value are ended, as many as that takes: their value is deleted, and they leave the index. With Reject the
	// error is [ErrOwnerLimit] instead.
	Limit  int
	Reject bool
}

// validate refuses what no store can do.
func (p *Placement) validate() error {
	switch {
	case p.Add != "" && p.IndexTTL <= 0, p.New != "" && p.NewTTL <= 0, p.OldTTL < 0:
		return fmt.Errorf("sessions: place: a ttl of %v, %v, %v (IndexTTL, NewTTL, OldTTL) is not positive", p.IndexTTL, p.NewTTL, p.OldTTL)
	case len(p.Members) > maxPlaced || len(p.Members) != len(p.Keys):
		return fmt.Errorf("sessions: place: %d Members with %d Keys: there may be %d, and each has one", len(p.Members), len(p.Keys), maxPlaced)
	}
	return nil
}

const maxPlaced = 1000

// Placed is the answer to a [Placement].
type Placed struct {
	Current []byte   // what is under Old or New instead, with an error
	Members []string // with ErrConflict by Limit: all members but Add and Remove, not nil; nil otherwise
	Ended   []string // the members that were ended by Limit, in their order
	Count   int      // how many members the index then has
}
