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
	"sync/atomic"
	"time"

	"github.com/typedsessions/sessions/internal/queue"
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

// core is what a Manager is but for T: everything else works on values as any.
type core struct {
	Config
	store   Store
	queue   queue.Queue
	budget  time.Duration // for one load and one commit
	codecs  []Codec       // that records may name, Config.Codec first
	timeout [2]timeouts   // plain, remembered
	writer  string        // names this process's writes
	writes  atomic.Uint64
	down    atomic.Int32 // whether the store answered the last time, see check
	warned  atomic.Bool  // of a Secure cookie on plain HTTP
	typeInfo
}

// timeouts are one class's; 0 means none.
type timeouts struct{ idle, lifetime time.Duration }

// typeInfo is what core knows of T.
type typeInfo struct {
	typ       reflect.Type
	name      string
	key       any                // of the session in a context
	blank     func() any         // a zero *T
	assign    func(dst, src any) // *dst = *src
	defaulted bool
	owned     bool
	versioned bool
	version   int // of T; 0 if it has none
	// mergeSession is T's, nil if it has none.
	mergeSession func(mine, base, theirs any) error

	zero  []byte                     // a fresh T encoded, unless it is Defaulted
	names map[string]map[string]bool // by codec: the fields that T can write, or read
}

const (
	none          = time.Duration(-1)
	maxCandidates = 4
	maxLabel      = 256
	day           = 24 * time.Hour
)

// newCore applies the defaults and reports every mistake of cfg and T at once.
func newCore(store Store, cfg Config, info typeInfo) (*core, error) {
	var errs []error
	m := &core{Config: cfg, store: store, typeInfo: info, budget: time.Second}
	for _, p := range []struct {
		name string
		part any
	}{{"Codec", cfg.Codec}, {"Transport", cfg.Transport}, {"Layout", cfg.Layout}} {
		if p.part != nil && isNil(p.part) {
			errs = append(errs, fmt.Errorf("sessions: Config.%s: it is a nil %T: leave it out, or give it a value", p.name, p.part))
		}
	}
	if isNil(m.Codec) {
		m.Codec = JSON{}
	}
	if isNil(m.Transport) {
		m.Transport = Cookie{}
	}
	if isNil(m.Layout) {
		m.Layout = layout{}
	}
	if m.NewToken == nil {
		m.NewToken = func() (string, error) { return rand.Text(), nil }
	}
	if m.ErrorHandler == nil {
		m.ErrorHandler = respond
	}
	if m.Logger == nil {
		m.Logger = slog.Default()
	}
	if m.Realm == "" {
		m.Realm = "session"
	}
	if strings.ContainsRune(m.Realm, 0) {
		errs = append(errs, errors.New("sessions: Config.Realm: contains a NUL, which separates realm and token: leave it out"))
	}
	if m.MaxSize == 0 {
		m.MaxSize = 64 << 10
	}
	if m.MaxSize < 0 {
		errs = append(errs, fmt.Errorf("sessions: Config.MaxSize: %d is negative: use bytes, or 0 for 64 KiB", cfg.MaxSize))
		m.MaxSize = 64 << 10
	}

	var err error
	m.timeout[0], err = resolve("Config.", cfg.IdleTimeout, cfg.Lifetime, time.Hour, day)
	errs = append(errs, err)
	m.timeout[1], err = resolve("Config.Remember.", cfg.Remember.IdleTimeout, cfg.Remember.Lifetime, 30*day, 30*day)
	errs = append(errs, err)

	m.codecs = []Codec{m.Codec, JSON{}, MsgPack{}}
	if isNil(store) {
		errs = append(errs, errors.New("sessions: the store is nil: use NewRedisStore, or &MemoryStore{} in a test"))
	} else if s, ok := store.(interface{ Timeout() time.Duration }); ok && s.Timeout() > 0 {
		m.budget = s.Timeout()
	}
	for _, part := range []any{store, m.Codec, m.Transport, m.Layout} {
		if p, ok := part.(interface{ Validate() error }); ok && !isNil(part) {
			errs = append(errs, p.Validate())
		}
	}
	errs = append(errs, m.checkPolicy(), m.checkTokens())
	errs = append(errs, m.checkType())
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.writer = rand.Text()[:12]
	return m, nil
}

func isNil(v any) bool {
	rv := reflect.ValueOf(v)
	return v == nil || rv.Kind() == reflect.Pointer && rv.IsNil()
}

// resolve turns the configured timeouts of one class into effective ones.
func resolve(field string, idle, lifetime, idleDefault, lifetimeDefault time.Duration) (timeouts, error) {
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
	t := timeouts{idle, lifetime}
	if t.lifetime == 0 {
		t.lifetime = lifetimeDefault
	}
	if t.lifetime == none {
		t.lifetime = 0
	}
	switch {
	case t.idle == none:
		t.idle = 0
	case t.idle == 0:
		t.idle = idleDefault
		if t.lifetime > 0 {
			t.idle = min(t.idle, t.lifetime)
		}
	}
	return t, errors.Join(errs...)
}

// checkTokens draws two tokens of each class and shows them to the Layout and
// the Transport, so that what would fail at the first visitor fails at start.
func (m *core) checkTokens() error {
	var drawn [2]string
	for i := range drawn {
		var err error
		if drawn[i], err = m.NewToken(); err != nil {
			return fmt.Errorf("sessions: Config.NewToken: %w", err)
		}
	}
	if drawn[0] == drawn[1] {
		return errors.New("sessions: Config.NewToken: it draws the same token twice: every one must be unguessable (ASVS 5.0 7.2.3)")
	}
	var errs []error
	for class, remembered := range []bool{false, true} {
		token := m.Layout.Mint(drawn[0], remembered)
		if _, _, ok := m.Layout.Parse(token); !ok {
			return errors.New("sessions: Config.NewToken: the Layout does not take back what was drawn: draw 20 to 128 letters, digits, - and _")
		}
		if t, ok := m.Transport.(interface{ ValidateOutcome(Outcome) error }); ok {
			now := time.Now()
			info := Info{Remembered: remembered, CreatedAt: now, ExpiresAt: m.timeout[class].end(now)}
			err := t.ValidateOutcome(Outcome{Kind: OutcomeCreated, Token: Token(token), Info: info})
			if err != nil && (len(errs) == 0 || errs[0].Error() != err.Error()) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// end is the end of a session's Lifetime, zero for none.
func (t timeouts) end(created time.Time) time.Time {
	if t.lifetime == 0 {
		return time.Time{}
	}
	return created.Add(t.lifetime)
}

// ttl is how long a record created then may stay in the store from now on;
// nothing or less means that its time is up. A record's own idle timeout wins.
func (t timeouts) ttl(r *Record, now time.Time) time.Duration {
	idle := t.idle
	if r.Idle > 0 {
		idle = r.Idle
	}
	end := t.end(r.Created)
	switch {
	case end.IsZero():
		return idle
	case idle == 0:
		return end.Sub(now)
	}
	return min(idle, end.Sub(now))
}
