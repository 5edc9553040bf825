package protocol

import (
	"context"
	"errors"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// Errors of the protocol; package sessions exports and documents them.
var (
	ErrUnavailable  = errors.New("sessions: store unavailable")
	ErrNewerVersion = errors.New("sessions: record written by a newer version")
	ErrConflict     = errors.New("sessions: conflicting write")
	ErrGone         = errors.New("sessions: session has ended")
	ErrTooLarge     = errors.New("sessions: session too large")
	ErrNotFound     = errors.New("sessions: key not found")
	ErrExists       = errors.New("sessions: key exists")
)

// A Store is a sessions.Store, where the contract is.
type Store interface {
	Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error)
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) error
	CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error)
	Delete(ctx context.Context, key string) error
}

// A Layout is a sessions.Layout, where the contract is.
type Layout interface {
	Mint(drawn string, remembered bool) string
	Parse(token string) (remembered, known, ok bool)
	Key(realm, token string) string
	Open(stored []byte) (record.Record, error)
	Seal(r record.Record) ([]byte, error)
}

// An Application is the user of a [Session]: it knows what the payload of a record means, and hears what
// happens on the way. Its methods run in the goroutine that called the Session.
type Application interface {
	// Decode reads the payload of a record that was loaded. Its error means that the record cannot be read.
	Decode(rec record.Record) error
	// Adopt says that the record decoded last is the session's now.
	Adopt()
	// Notice hears what happened, at once: the Session is as it was at that moment.
	Notice(n Notice)
}

// A Notice says that something happened that a caller learns from no result.
type Notice struct {
	Kind NoticeKind
	Err  error
	// Record is the record concerned, if that is not the Session's.
	Record *record.Record
	// First says that an outage has begun with it.
	First bool
}

// NoticeKind is the kind of a [Notice].
type NoticeKind int

const (
	Unavailable  NoticeKind = iota // the store did not answer
	Recovered                      // the store answers again
	Expired                        // a record past its time was found and deleted
	Undecodable                    // a record cannot be read, and was left as it is
	TwoSessions                    // the tokens stand for two valid sessions
	TouchSkipped                   // the store could read, but not restart the expiry
	Gone                           // the session has ended elsewhere
	OutOfTime                      // others kept writing until the time was up
)
