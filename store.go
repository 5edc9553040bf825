package sessions

import (
	"context"
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
	// it restarts the expiry at touch in the same step, and left is touch, or the rest if the store can only read.
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
