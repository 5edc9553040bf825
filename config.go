package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// Config configures a [Manager]. Its zero value is the secure one and works. New copies it. Its functions
// are called by many goroutines at once.
type Config struct {
	_ [0]func() // keyed literals only

	Codec Codec // encodes T. Default: [JSON]. Changing it signs nobody out
	// IdleTimeout ends a session that nobody has used for so long. Every request that loads the session restarts it.
	// Default: one hour, or Lifetime if that is shorter (NIST SP 800-63B-4, AAL2); -1: none.
	IdleTimeout time.Duration
	// TouchInterval is for how long a touch is not repeated: while a session has more than IdleTimeout left, a request
	// that only reads it writes nothing to the store, nor to its log and its replicas. For that the store keeps sessions
	// for so much longer: none ends before IdleTimeout, nor later than TouchInterval after that. [Info].LastSeenAt is the
	// last touch. Once an interval a read takes a second round trip. Default: 0, each read is a touch.
	TouchInterval time.Duration
	// Lifetime ends a session so long after its creation or last [Manager.SignIn], however active it is.
	// Default: 24 hours (NIST SP 800-63B-4, AAL2); -1: none. Not both timeouts can be none.
	Lifetime  time.Duration
	Remember  Remember  // the timeouts of sessions signed in with [Remembered]
	Transport Transport // carries the token. Default: [Cookie]
	Layout    Layout    // decides the form of tokens, keys and records. Default: [DefaultLayout]
	// Realm is part of every key. Managers that must not accept each other's tokens differ in it. Default: "session".
	Realm             string
	SaveUninitialized bool           // stores a new session even if T was not changed
	Rewrite           bool           // stores a session at the end of each request that loaded it
	OnConflict        ConflictPolicy // what a save does if another request has saved. Default: [ConflictMerge]
	// OnUndecodable says what becomes of a request whose record cannot be read. Default: [UndecodableFresh].
	OnUndecodable UndecodablePolicy
	MaxSize       int // bytes of a record; a larger one is neither decoded nor saved. Default: 64 KiB
	// NewToken draws the random part of a token: 20 to 128 letters, digits, "-" and "_" with at least 128 bits of
	// entropy (ASVS 5.0 7.2.3). An error means no session. Default: [rand.Text].
	NewToken func() (string, error)
	Label    func(*http.Request) string // gives [Info].Label when a session begins or is renewed; at most 256 bytes
	Skip     func(*http.Request) bool   // names requests without a session: their T is never saved
	Passive  func(*http.Request) bool   // names requests that do not restart the idle timeout, such as polls
	// MaxPerOwner is how many sessions a user may have at once, for an [Owned] T; a renewal needs no room. Default: 0, any
	// number. It needs an [OwnerStore] and an [OwnerLayout]: [RedisStore] or [MemoryStore], and [DefaultLayout].
	MaxPerOwner  int
	OnOwnerLimit OwnerLimit // what becomes of a sign-in beyond MaxPerOwner. Default: [EvictOldest]
	// WatchInterval is how often the sessions of [Manager.Watch] are looked at: 50 milliseconds to 5 seconds. Default: 2
	// seconds.
	WatchInterval time.Duration
	// ErrorHandler answers a request whose session could not be loaded or saved. Default: [DefaultErrorHandler]. After a
	// failed load, also one by [UndecodableFail], there is no session: [Lookup] says false.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)
	OnEvent      func(context.Context, Event) // is told what happened, each load too; must be quick and not write to the response
	Logger       *slog.Logger                 // is told of failed saves, outages and the like. Default: [slog.Default]
}

// Remember are the timeouts of remembered sessions. Their cookie persists.
type Remember struct {
	IdleTimeout time.Duration // default: 30 days, or Lifetime if that is shorter; -1: none
	Lifetime    time.Duration // default: 30 days; -1: none
}

// A ConflictPolicy says what a save does if another request has saved meanwhile. A session that has ended,
// or has another owner now, is [ErrGone].
type ConflictPolicy int

const (
	// ConflictMerge merges by top-level field: what this request has changed wins, every other field keeps what
	// is stored. [Merging] replaces this rule. Without a [FieldCodec] it is ConflictLastWrite.
	ConflictMerge     ConflictPolicy = iota
	ConflictLastWrite                // the later save stands as a whole
	ConflictReject                   // the earlier save stands; the later one is [ErrConflict]
)

// validate refuses a policy that does not exist.
func (p ConflictPolicy) validate() error {
	if p < ConflictMerge || p > ConflictReject {
		return errors.New("sessions: Config.OnConflict: it is none of ConflictMerge, ConflictLastWrite and ConflictReject")
	}
	return nil
}

// An OwnerLimit says what becomes of a sign-in of a user who has [Config].MaxPerOwner sessions.
type OwnerLimit int

const (
	EvictOldest OwnerLimit = iota // the session that has begun first ends ([EventEvicted])
	Reject                        // the sign-in fails: [ErrOwnerLimit]
)

// An UndecodablePolicy says what becomes of a request whose stored record cannot be read, because it is broken,
// foreign, over MaxSize or does not fit T. The record stays, and there is an [EventUndecodable], under each of them.
// Its zero value is the default of the Config or Options that has it.
type UndecodablePolicy int

const (
	_ UndecodablePolicy = iota
	// UndecodableFresh gives the request a fresh T, as if it had come without a session. If T is saved, the cookie of
	// that new session replaces the one whose record could not be read.
	UndecodableFresh
	// UndecodableReadOnly gives the request a fresh T that nothing can store, and sends no cookie. A T that has changed,
	// and each verb but Destroy, fails with an error that wraps the [*DecodeError]; Save and Commit of an unchanged T,
	// SaveUninitialized and Rewrite do nothing. Destroy deletes the record and begins afresh. A valid token beside that
	// of the record is not used. Of two valid sessions, of which neither is used, only SignIn and Destroy make way for
	// a new one: another save is [ErrConflict].
	UndecodableReadOnly
	// UndecodableFail fails the load: Handler has [Config].ErrorHandler answer with the [*DecodeError], by default with
	// 500, and [Manager.Load] returns it. With two valid sessions it is as UndecodableReadOnly.
	UndecodableFail
)

// validate refuses a policy that does not exist.
func (p UndecodablePolicy) validate() error {
	if p < 0 || p > UndecodableFail {
		return errors.New("sessions: Config.OnUndecodable: it is none of UndecodableFresh, UndecodableReadOnly and UndecodableFail")
	}
	return nil
}

const (
	noTimeout = time.Duration(-1)
	day       = 24 * time.Hour

	minWatchInterval = 50 * time.Millisecond
	maxWatchInterval = 5 * time.Second
)

// setDefaults applies the defaults and reports every mistake.
func (c *Config) setDefaults() error {
	var errs []error
	for _, p := range []struct {
		name string
		part any
	}{{"Codec", c.Codec}, {"Transport", c.Transport}, {"Layout", c.Layout}} {
		if p.part != nil && isNil(p.part) {
			errs = append(errs, fmt.Errorf("sessions: Config.%s: it is a nil %T: leave it out, or give it a value", p.name, p.part))
		}
	}
	if isNil(c.Codec) {
		c.Codec = JSON{}
	}
	if isNil(c.Transport) {
		c.Transport = Cookie{}
	}
	if isNil(c.Layout) {
		c.Layout = DefaultLayout{}
	}
	if c.NewToken == nil {
		c.NewToken = func() (string, error) { return rand.Text(), nil }
	}
	if c.ErrorHandler == nil {
		c.ErrorHandler = DefaultErrorHandler
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.OnUndecodable == 0 {
		c.OnUndecodable = UndecodableFresh
	}
	if c.Realm == "" {
		c.Realm = "session"
	}
	if strings.ContainsRune(c.Realm, 0) {
		errs = append(errs, errors.New("sessions: Config.Realm: contains a NUL, which separates realm and token: leave it out"))
	}
	if c.WatchInterval == 0 {
		c.WatchInterval = 2 * time.Second
	}
	if c.WatchInterval < minWatchInterval || c.WatchInterval > maxWatchInterval {
		errs = append(errs, fmt.Errorf("sessions: Config.WatchInterval: %v is not between %v, which would load the store, and %v, because what a renewal leaves to follow lives for ten seconds: use one between, or 0 for 2s",
			c.WatchInterval, minWatchInterval, maxWatchInterval))
	}
	if c.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("sessions: Config.MaxSize: %d is negative: use bytes, or 0 for 64 KiB", c.MaxSize))
	}
	if c.MaxSize <= 0 {
		c.MaxSize = 64 << 10
	}
	return errors.Join(errs...)
}

// isNil tells whether v is nil or holds a nil pointer.
func isNil(v any) bool {
	rv := reflect.ValueOf(v)
	return v == nil || rv.Kind() == reflect.Pointer && rv.IsNil()
}

// timeouts are those of plain and of remembered sessions.
func (c *Config) timeouts() (plain, remember record.Timeouts, err error) {
	plain, err = resolveTimeouts("Config.", c.IdleTimeout, c.Lifetime, time.Hour, day)
	remember, other := resolveTimeouts("Config.Remember.", c.Remember.IdleTimeout, c.Remember.Lifetime, 30*day, 30*day)
	if err = errors.Join(err, other); err == nil {
		err = c.checkTouchInterval(plain.Idle, remember.Idle)
	}
	plain.Interval, remember.Interval = c.TouchInterval, c.TouchInterval
	return plain, remember, err
}

func (c *Config) checkTouchInterval(idle, remembered time.Duration) error {
	problem := ""
	switch i := c.TouchInterval; {
	case i == 0:
	case i < 0:
		problem = "is negative: use a duration, or 0 to restart the idle timeout with each read"
	case i < time.Millisecond:
		problem = "is less than a millisecond: add the unit, as in time.Minute"
	case idle == 0 && remembered == 0:
		problem = "has nothing to do, because no session has an IdleTimeout: leave it out"
	case idle > 0 && i > idle:
		problem = fmt.Sprintf("exceeds the IdleTimeout of %v, so that a session could last more than twice as long: shorten it, to a tenth say", idle)
	case remembered > 0 && i > remembered:
		problem = fmt.Sprintf("exceeds the Remember.IdleTimeout of %v, so that a session could last more than twice as long: shorten it, to a tenth say", remembered)
	}
	if problem == "" {
		return nil
	}
	return fmt.Errorf("sessions: Config.TouchInterval: %v %s", c.TouchInterval, problem)
}

// resolveTimeouts turns the configured timeouts of one class into effective ones.
func resolveTimeouts(field string, idle, lifetime, idleDefault, lifetimeDefault time.Duration) (record.Timeouts, error) {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("sessions: "+field+name+": "+format, args...))
	}
	if idle < 0 && idle != noTimeout {
		bad("IdleTimeout", "%v is negative: use a duration, or -1 for none", idle)
	}
	if lifetime < 0 && lifetime != noTimeout {
		bad("Lifetime", "%v is negative: use a duration, or -1 for none", lifetime)
	}
	if idle == noTimeout && lifetime == noTimeout {
		bad("Lifetime", "none, like IdleTimeout: a session must end some time, set one of the two")
	}
	if lifetime == 0 && idle > lifetimeDefault {
		bad("IdleTimeout", "%v exceeds the default Lifetime of %v: set Lifetime too", idle, lifetimeDefault)
	} else if lifetime > 0 && idle > lifetime {
		bad("IdleTimeout", "%v exceeds Lifetime %v: shorten it or lengthen Lifetime", idle, lifetime)
	}
	if idle > 0 && idle < time.Millisecond {
		bad("IdleTimeout", "%v is less than a millisecond: add the unit, as in 15 * time.Minute", idle)
	}
	if lifetime > 0 && lifetime < time.Millisecond {
		bad("Lifetime", "%v is less than a millisecond: add the unit, as in 24 * time.Hour", lifetime)
	}
	t := record.Timeouts{Idle: idle, Lifetime: lifetime}
	if t.Lifetime == 0 {
		t.Lifetime = lifetimeDefault
	}
	if t.Lifetime == noTimeout {
		t.Lifetime = 0
	}
	switch {
	case t.Idle == noTimeout:
		t.Idle = 0
	case t.Idle == 0:
		t.Idle = idleDefault
		if t.Lifetime > 0 {
			t.Idle = min(t.Idle, t.Lifetime)
		}
	}
	return t, errors.Join(errs...)
}
