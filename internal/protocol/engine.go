// Package protocol keeps one record per session in a store, so that no write is lost, none is done twice, and
// nothing that has ended comes back.
//
// An [Engine] is what all sessions of a Manager share. A [Session] is one session as one request knows it;
// its methods load, create, replace, renew and delete the record. What a record's payload means is known to
// an [Application]: this package knows neither T nor a codec nor HTTP.
//
// The operations are in the order in which a request may call them:
//
//	load.go    Load: from tokens to a record
//	create.go  Create: a new record under a new token
//	write.go   Write: another payload in place of the record, in turn with others, repeated on a conflict
//	renew.go   the part of Write that moves the record to a new token
//	reread.go  Reread, Touch and Look: load the session's record again
//	destroy.go Destroy: deletes the record, also one that was renewed to another key
//	watch.go   Watch: tells when a session has ended, for as long as the caller likes; watched.go lists what is watched
//
// index.go says where the index of a user's sessions is, and owners.go keeps it while these operations change them.
package protocol

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions/internal/deadline"
	"github.com/typedsessions/sessions/internal/queue"
	"github.com/typedsessions/sessions/internal/record"
)

// Config is what an Engine works with.
type Config struct {
	Store    Store
	Timeout  time.Duration // of one load, and of one save
	Layout   Layout
	Realm    string
	NewToken func() (string, error)
	// Owners keeps the indexes of the users' sessions, and Place makes a token of what was drawn for the slot of a
	// tag. Both are nil where no index is kept.
	Owners OwnerStore
	Place  func(drawn, tag string, remembered bool) string
	// MaxPerOwner is how many sessions a user may have, 0 for any number. With RejectAtLimit a further one is
	// refused; otherwise the oldest one ends.
	MaxPerOwner   int
	RejectAtLimit bool
	// Process is the name of this process in the names of writes: no other process has it.
	Process string
	// IDOf returns the ID of a session by its key; it is nil where records have IDs of their own.
	IDOf     func(key string) string
	Plain    record.Timeouts
	Remember record.Timeouts // of remembered sessions
	Version  int             // of the records that this build writes; higher ones are not read
	MaxSize  int             // of a record in bytes
	// OnUnreadable says what becomes of a request with a record that cannot be read.
	OnUnreadable UnreadablePolicy
	// Unreadable makes the error for a record that cannot be read, because of the named part.
	Unreadable func(id []byte, part string, err error) error
	// WatchInterval is how often watched sessions are looked at, and OwnerOf whose T a record holds.
	WatchInterval time.Duration
	OwnerOf       func(rec record.Record) string
}

// An UnreadablePolicy has the values of sessions.UndecodablePolicy, which documents them. Its zero value is
// UnreadableFresh.
type UnreadablePolicy int

// The policies.
const (
	_ UnreadablePolicy = iota
	UnreadableFresh
	UnreadableReadOnly
	UnreadableFail
)

// An Engine runs the protocol for all sessions of a Manager. It is safe for concurrent use. The embedded Store and
// Owners are not called directly, but through the monitoredStore.
type Engine struct {
	Config
	store      monitoredStore
	queue      queue.Queue
	unknown    unknownTokens
	listed     recentlyListed
	watches    watchList
	writeCount atomic.Uint64 // for names of writes
}

// New returns an Engine.
func New(cfg Config) *Engine {
	return &Engine{Config: cfg, store: monitoredStore{store: cfg.Store, owners: cfg.Owners}, listed: recentlyListed{seed: maphash.MakeSeed()}}
}

// Timeouts returns the timeouts of the record's class.
func (e *Engine) Timeouts(remembered bool) record.Timeouts {
	if remembered {
		return e.Remember
	}
	return e.Plain
}

// TTL is how long the record may stay in the store from now on. Zero or less means that its time is up.
func (e *Engine) TTL(r *record.Record) time.Duration {
	return e.Timeouts(r.Remembered).TTL(r, time.Now())
}

// idle is the idle timeout of the record: its own, or else its class's. 0 means none.
func (e *Engine) idle(r *record.Record) time.Duration { return e.Timeouts(r.Remembered).IdleOf(r) }

// SaveContext returns a context that has the time of one operation and does not end with ctx: when a client
// hangs up, what it did must be saved all the same. It is to be stopped.
func (e *Engine) SaveContext(ctx context.Context) *deadline.Context {
	return new(deadline.Context).Start(context.WithoutCancel(ctx), e.Timeout)
}

// openRecord reads what stands before the payload. The checks that trust the record least come first. Except
// for [ErrNewerVersion], and for [ErrNotFound] itself where the bytes say that nothing is stored, an error is what
// Unreadable has made of it.
func (e *Engine) openRecord(raw []byte) (record.Record, error) {
	rec, err := e.Layout.Open(raw)
	switch {
	case errors.Is(err, ErrNotFound):
		return record.Record{}, ErrNotFound
	case err != nil:
		rec = record.Record{ID: rec.ID} // nothing is decided by an incomplete header
		return rec, e.Unreadable(rec.ID, "header", err)
	case rec.IsMark():
		return rec, nil
	case len(raw) > e.MaxSize:
		return rec, e.Unreadable(rec.ID, "", e.tooLarge(raw))
	case rec.Version > e.Version:
		return rec, fmt.Errorf("%w: it has version %d, this build has %d", ErrNewerVersion, rec.Version, e.Version)
	}
	return rec, nil
}

// Seal writes a record and reads it back: sealed has its Prefix, and fields that are views into raw.
func (e *Engine) Seal(rec record.Record) (raw []byte, sealed record.Record, err error) {
	raw, err = e.Layout.Seal(rec)
	if err != nil {
		return nil, rec, fmt.Errorf("sessions: Layout: %w", err)
	}
	if len(raw) > e.MaxSize {
		return nil, rec, e.tooLarge(raw)
	}
	if sealed, err = e.Layout.Open(raw); err != nil {
		return nil, rec, fmt.Errorf("sessions: Layout: it cannot open what it sealed: %w", err)
	}
	return raw, sealed, nil
}

func (e *Engine) tooLarge(raw []byte) error {
	return fmt.Errorf("%w: %d bytes, MaxSize is %d", ErrTooLarge, len(raw), e.MaxSize)
}

// setIDFromKey gives a record without an ID the one that the Layout derives from the key, if it does so.
func (e *Engine) setIDFromKey(rec *record.Record, key string) {
	if e.IDOf != nil && len(rec.ID) == 0 {
		rec.ID = []byte(e.IDOf(key))
	}
}

// NewID draws the ID of a new session. It is nil where IDs are derived from keys.
func (e *Engine) NewID() []byte {
	if e.IDOf != nil {
		return nil
	}
	return []byte(uuid.NewString())
}

// HashID is an ID for a record that has none. It is a hash of the key, because the key may be the token.
func HashID(key string) string {
	return uuid.NewHash(sha256.New(), uuid.Nil, []byte(key), 8).String()
}

// writeName names a write: this process and a number.
func (e *Engine) writeName() []byte {
	b := append(make([]byte, 0, 24), e.Process...)
	return strconv.AppendUint(append(b, '.'), e.writeCount.Add(1), 36)
}

// unanswered tells of a write that may be stored although it failed.
func unanswered(err error) bool { return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrRefused) }

// maybeStored adds to the error of a write that was not answered that the write may be stored.
func maybeStored(err error) error {
	if unanswered(err) {
		return fmt.Errorf("%w; what was sent may or may not be stored", err)
	}
	return err
}
