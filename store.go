package sessions

import (
	"context"
	"errors"
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
// A store that has a method Timeout() time.Duration tells the Manager how long
// one load or one commit may take in all; otherwise that is one second. One
// that has Validate() error is asked by [New].
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

// Errors that callers branch on. Test with [errors.Is].
var (
	// ErrUnavailable says that the store did not answer in time, could not be
	// reached, or refused. What was sent may or may not be stored. Default response: 503 with Retry-After;
	// the cookie is kept. A request cancelled by its client is never this
	// error, it is [context.Canceled].
	ErrUnavailable = errors.New("sessions: store unavailable")

	// ErrNewerVersion says that a newer build of the program wrote the
	// record. It is not touched. Default response: 503 with Retry-After.
	ErrNewerVersion = errors.New("sessions: record written by a newer version")

	// ErrConflict says that other writers kept changing the session until
	// the time was up; the stored record stands. Default response: 409.
	// A [Store] returns it from CompareAndSwap.
	ErrConflict = errors.New("sessions: conflicting write")

	// ErrGone says that the session ended meanwhile: signed out, renewed or
	// expired elsewhere. The change was dropped. *T stays readable, and every
	// save returns ErrGone until [Manager.Destroy] starts afresh.
	// Default response: 409.
	ErrGone = errors.New("sessions: session has ended")

	// ErrTooLarge says that the record would exceed [Config].MaxSize; the
	// stored one stands. Default response: 500.
	ErrTooLarge = errors.New("sessions: session too large")

	// ErrCommitted says that a new cookie was needed after the response
	// header had gone; nothing was stored.
	ErrCommitted = errors.New("sessions: response header already sent")

	// ErrNoSession says that the context carries no session of this Manager:
	// the request did not pass through [Manager.Handler], or Skip left it out.
	ErrNoSession = errors.New("sessions: no session in this context: wrap the handler with Manager.Handler, and do not Skip the request")

	// ErrNotFound is a [Store]'s: nothing is stored under the key.
	ErrNotFound = errors.New("sessions: key not found")

	// ErrExists is a [Store]'s: Create found a value under the key.
	ErrExists = errors.New("sessions: key exists")
)
