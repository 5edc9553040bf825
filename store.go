package sessions

import (
	"context"
	"time"
)

// A Store keeps bytes under keys until they expire.
//
// It sees opaque keys and opaque bytes, never a token or a session. All four
// methods are safe for concurrent use; each is atomic for its key. Bytes
// handed in are not kept after the call returns, bytes handed out belong to
// the caller. A cancelled context gives [context.Canceled] and never
// [ErrUnavailable]; a store that did not answer in time, for its own reasons or
// because a deadline has passed, gives an error that wraps ErrUnavailable or
// [context.DeadlineExceeded]. A ttl or touch below the store's resolution
// counts as the smallest one. Keys are arbitrary bytes, 200 at the most.
//
// A Store may also implement [Timed] and [Validator].
//
// Package storetest checks an implementation against this contract.
type Store interface {
	// Load returns the value under key and the time until it expires.
	// With touch > 0 it restarts the expiry at touch, in the same step, and
	// left is touch; a store that can read but for the moment not touch
	// returns what is really left. With touch 0 or less it leaves the expiry
	// alone.
	// Nothing there, or expired: [ErrNotFound].
	Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error)

	// Create stores data under key for ttl if nothing is there, else it
	// changes nothing and returns [ErrExists]. A ttl of zero or less is an
	// error: nothing is ever stored without an expiry.
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) error

	// CompareAndSwap replaces the value under key by data, for ttl, if the
	// value begins with prefix; with nil data it deletes it (ttl is then
	// ignored; empty data that is not nil is stored). Every value begins with
	// an empty prefix. If the value begins otherwise, nothing changes and the
	// result is the current value with [ErrConflict]; if nothing is there,
	// [ErrNotFound]: CompareAndSwap never creates a key.
	CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error)

	// Delete removes key. Nothing there is no error.
	Delete(ctx context.Context, key string) error
}

// A Timed store tells the Manager how long one load or one save may take in all. Otherwise that is one
// second.
type Timed interface {
	Timeout() time.Duration
}

// A Validator is a [Store], [Codec], [Transport] or [Layout] that can tell what is wrong with itself. [New]
// asks it and returns its error.
type Validator interface {
	Validate() error
}
