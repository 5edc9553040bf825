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

// Config configures a [Manager]. Its zero value is the secure one and works.
// New copies it; changing it afterwards has no effect. The functions in it are
// called by many goroutines at once.
type Config struct {
	_ [0]func() // keyed literals only

	// Codec encodes T. Default: [JSON]. Changing it logs nobody out: a record
	// names its codec, and the next save rewrites it.
	Codec Codec

	// IdleTimeout ends a session that nobody used for that long. Every
	// request that loads the session restarts it. Default: one hour, or
	// Lifetime if that is shorter (NIST SP 800-63B-4, AAL2); -1: none.
	IdleTimeout time.Duration

	// Lifetime ends a session that long after its creation or its last
	// [Manager.SignIn], however active it is. Default: 24 hours (NIST SP
	// 800-63B-4, AAL2); -1: none. Not both timeouts can be none.
	Lifetime time.Duration

	// Remember are the timeouts of sessions signed in with [Remembered].
	Remember Remember

	// Transport carries the token. Default: [Cookie].
	Transport Transport

	// Layout decides the form of tokens, keys and records. Default: the
	// library's own.
	Layout Layout

	// Realm is part of every key. Managers that must not accept each other's
	// tokens differ in it, also where they share a store and its prefix: with
	// the same one, a record of one T would be read as the other.
	// Default: "session".
	Realm string

	// SaveUninitialized stores a new session even if nothing was put into T.
	SaveUninitialized bool

	// Rewrite writes a session at the end of every request that loaded it,
	// changed or not.
	Rewrite bool

	// OnConflict says what a save does when another request has saved the
	// session since this one loaded it. Default: [ConflictMerge].
	OnConflict ConflictPolicy

	// MaxSize is the size of a record in bytes above which it is neither
	// decoded nor saved. Default: 64 KiB.
	MaxSize int

	// NewToken draws the random part of a token: 20 to 128 letters, digits,
	// "-" and "_" with at least 128 bits of entropy (ASVS 5.0 7.2.3). An error
	// means no session. Default: [rand.Text].
	NewToken func() (string, error)

	// Label describes the request a session comes from, such as the user
	// agent, for [Info].Label. It is asked at creation and renewal; what is
	// over 256 bytes is cut.
	Label func(*http.Request) string

	// Skip says which requests have no session at all: FromContext gives a
	// fresh T that is never saved, [Lookup] says false.
	Skip func(*http.Request) bool

	// Passive says which requests load the session without restarting its
	// idle timeout, so that a page that polls does not keep it alive.
	Passive func(*http.Request) bool

	// ErrorHandler answers a request whose session could not be loaded or
	// saved. Default: the status of the error's row in the package
	// documentation and its text, nothing of the error itself. After a failed
	// save the request still has its session, after a failed load it has none:
	// a page that both share asks with [Lookup].
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// OnEvent is told what happens to sessions, when it has happened and
	// before the request goes on. It must be quick, and must not write to the
	// response, whose header may just be on its way. A panic of it goes on like
	// one of the handler's own.
	OnEvent func(context.Context, Event)

	// Logger gets what nobody else would hear of: failed saves and changes
	// that came too late. Default: [slog.Default].
	Logger *slog.Logger
}

// Remember are the timeouts of remembered sessions. Their cookie persists.
type Remember struct {
	// IdleTimeout is like [Config].IdleTimeout. Default: 30 days, or Lifetime
	// if that is shorter; -1: none.
	IdleTimeout time.Duration
	// Lifetime is like [Config].Lifetime. Default: 30 days; -1: none.
	Lifetime time.Duration
}

// A ConflictPolicy says what a save does when another one came in between: the
// two requests loaded the same record, and both have changed it. Under none of
// them does a save bring back a session that has ended, or write into one that
// now belongs to somebody else: both are [ErrGone].
type ConflictPolicy int

const (
	// ConflictMerge merges by top-level field. A field that this request has
	// changed wins, every other keeps what is stored, also those that T does
	// not know. Fields that must agree with each other belong in one nested
	// struct, which is one field. [Merging] replaces the rule by T's own. With
	// a [Codec] that is no [FieldCodec] it is ConflictLastWrite.
	ConflictMerge ConflictPolicy = iota
	// ConflictLastWrite lets the later save stand, as a whole, and with it
	// what [Manager.Update] has not changed in a request that has also changed T otherwise.
	ConflictLastWrite
	// ConflictReject lets the earlier save stand; the later one is [ErrConflict].
	ConflictReject
)

// validate refuses a policy that does not exist.
func (p ConflictPolicy) validate() error {
	if p < ConflictMerge || p > ConflictReject {
		return errors.New("sessions: Config.OnConflict: it is none of ConflictMerge, ConflictLastWrite and ConflictReject")
	}
	return nil
}

const (
	none = time.Duration(-1)
	day  = 24 * time.Hour
)

// complete applies the defaults and reports every mistake.
func (c *Config) complete() error {
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
		c.ErrorHandler = respond
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Realm == "" {
		c.Realm = "session"
	}
	if strings.ContainsRune(c.Realm, 0) {
		errs = append(errs, errors.New("sessions: Config.Realm: contains a NUL, which separates realm and token: leave it out"))
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
	return plain, remember, errors.Join(err, other)
}

// resolveTimeouts turns the configured timeouts of one class into effective ones.
func resolveTimeouts(field string, idle, lifetime, idleDefault, lifetimeDefault time.Duration) (record.Timeouts, error) {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("sessions: "+field+name+": "+format, args...))
	}
	if idle < 0 && idle != none {
		bad("IdleTimeout", "%v is negative: use a duration, or -1 for none", idle)
	}
	if lifetime < 0 && lifetime != none {
		bad("Lifetime", "%v is negative: use a duration, or -1 for none", lifetime)
	}
	if idle == none && lifetime == none {
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
	if t.Lifetime == none {
		t.Lifetime = 0
	}
	switch {
	case t.Idle == none:
		t.Idle = 0
	case t.Idle == 0:
		t.Idle = idleDefault
		if t.Lifetime > 0 {
			t.Idle = min(t.Idle, t.Lifetime)
		}
	}
	return t, errors.Join(errs...)
}
