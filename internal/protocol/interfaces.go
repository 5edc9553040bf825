package protocol

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// Errors of the protocol; package sessions exports and documents them.
var (
	ErrUnavailable  = errors.New("sessions: store unavailable")
	ErrRefused      = fmt.Errorf("%w: it refused, and nothing was stored", ErrUnavailable)
	ErrNewerVersion = errors.New("sessions: record written by a newer version")
	ErrConflict     = errors.New("sessions: conflicting write")
	ErrGone         = errors.New("sessions: session has ended")
	ErrOwnerLimit   = errors.New("sessions: the user has as many sessions as Config.MaxPerOwner allows")
	ErrIncomplete   = errors.New("sessions: the index had lost this session, so the list may lack others of the user")
	ErrTooLarge     = errors.New("sessions: session too large")
	ErrNotFound     = errors.New("sessions: key not found")
	ErrExists       = errors.New("sessions: key exists")
)

// Store has the methods of sessions.Store, which documents them.
type Store interface {
	Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error)
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) error
	CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error)
	Delete(ctx context.Context, key string) error
}

// OwnerStore has the methods of sessions.OwnerStore, which documents them, and not those of Store.
type OwnerStore interface {
	LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error)
	Members(ctx context.Context, index string) (members []string, err error)
	Place(ctx context.Context, p record.Placement) (record.Placed, error)
	Relist(ctx context.Context, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error
	Revoke(ctx context.Context, index string, at time.Time, ttl time.Duration) error
	End(ctx context.Context, index string, members, keys []string) (ended []string, err error)
}

// Layout has the methods of sessions.Layout, which documents them.
type Layout interface {
	Mint(drawn string, remembered bool) string
	Parse(token string) (remembered, known, ok bool)
	Key(realm, token string) string
	Open(stored []byte) (record.Record, error)
	Seal(r record.Record) ([]byte, error)
}

// An Application is the user of a [Session]: it knows what the payload of a record means, and gets notice of
// what happens. Its methods run in the goroutine that called the Session.
type Application interface {
	// Decode reads the payload of a record that was loaded. Its error means that the record cannot be read.
	Decode(rec record.Record) error
	// Adopt tells that the session now is the record that was decoded last.
	Adopt()
	// Notice is called when it happens, before the Session changes. Only Gone is set before its Notice.
	Notice(n Notice)
}

// A Notice tells what happened where no result tells the caller.
type Notice struct {
	Kind NoticeKind
	Err  error
	// Record is the record that it is about; nil if that is the Session's.
	Record *record.Record
	// Outage is the one that an Unavailable or a Recovered is about; nil if another request's call has told it.
	Outage *Outage
	// Count is how many tokens a ManyUnknown is about.
	Count int
}

// An Outage is the time in which a store fails for one cause.
type Outage struct {
	Cause string // in a word or two
	// First says that this notice is its beginning.
	First bool
	// Repeats are the calls that have failed after the first, and Lasted is how long after it the last one
	// did. They are told at its end.
	Repeats int
	Lasted  time.Duration
}

// NoticeKind is the kind of a [Notice].
type NoticeKind int

const (
	_ NoticeKind = iota

	Unavailable  // the store did not answer
	Recovered    // the store answers again
	Expired      // a record past its time was found and deleted
	Undecodable  // a record cannot be read, and was left as it is
	TwoSessions  // the tokens stand for two valid sessions
	TouchSkipped // the store could read, but not restart the expiry
	Gone         // the session has ended elsewhere
	OutOfTime    // others kept writing until the time was up
	ManyUnknown  // within a minute many tokens were found nowhere
	Revoked      // a session was ended by another one of its user's, or for its user
	Evicted      // a session was ended because its user has begun too many
)
