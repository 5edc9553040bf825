// Package express shares sessions with Node. It speaks what express-session 1.x
// and connect-redis (3 to 10) speak: the same signed cookie, the same JSON under
// the same key. So a Go service can stand beside an Express app, on one Redis
// and one cookie, and take over one route after another; each side reads and
// writes the other's sessions.
//
//	m, err := express.New[Session](rdb, express.Options{
//		Secrets: []string{"keyboard cat"},
//		Cookie:  express.Cookie{MaxAge: 15 * time.Minute},
//	})
//
// What comes back is an ordinary [sessions.Manager]. [Check] tells which stored
// sessions it could not load. docs/from-express.md is the guide for moving an
// application.
package express

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Options are express-session's and connect-redis' own, by their names, and
// below them what those two have no word for. Both sides must be given the same
// Name, Secrets, Prefix and Cookie.
type Options struct {
	_ [0]func() // keyed literals only

	// Name is the cookie's: ASCII without control characters, ; and =. Node
	// takes more than letters, digits and !#$%&'*+-.^_`|~ only up to
	// express-session 1.18.0. Default: connect.sid.
	Name string

	// Secrets sign the sid in the cookie: the first one signs, each of them
	// verifies. At least one is needed. To rotate, add the new one as the
	// second on every service, then move it to the front. A Buffer in Node is
	// a string of the same bytes here.
	Secrets []string

	// Prefix is connect-redis' prefix, with the client's own keyPrefix in
	// front of it if there is one. Default: sess:.
	Prefix string
	// NoPrefix is connect-redis' prefix: ''.
	NoPrefix bool

	// TTL is connect-redis' ttl: how long a session without a maxAge lasts in
	// Redis after its last request, in whole seconds. Default: 24 hours. There
	// is no disableTTL: a session that begins here ends. But what Node has given
	// a longer expiry, or none, is not shortened.
	TTL time.Duration

	// Rolling sends the cookie with every response but those to Passive
	// requests, not with those alone that have changed the session.
	Rolling bool
	// SaveUninitialized stores new sessions that nothing was put into. (Node's
	// default is true, and deprecated.)
	SaveUninitialized bool
	// Resave writes sessions that have not changed. (Node's default is true,
	// and deprecated.) It is for sessions with a maxAge that are shared with
	// fastify, which goes by the expires in the record.
	Resave bool
	// Proxy believes the X-Forwarded-Proto of a request. Otherwise a request
	// is secure if it came over TLS. A session whose cookie is Secure sends it
	// on secure requests only.
	Proxy bool

	// NewID is express-session's genid: it draws a sid that nobody can guess
	// (ASVS 5.0 7.2.3 asks for 128 bits, a random UUID has 122). It is as long
	// as the cookie allows, of which browsers keep 4096 bytes, name and
	// signature included. Default: 192 bits in 32 characters, as Node's.
	NewID func() (string, error)

	// Cookie is what new sessions get. A stored session keeps what it has,
	// whichever service began it, until it signs in; the response then expires
	// the cookie that it had, where a browser would keep both.
	Cookie Cookie

	// Remember is the MaxAge of a session signed in with
	// [sessions.Remembered]. Default: 30 days.
	Remember time.Duration

	// These are fields of [sessions.RedisConfig].
	Timeout             time.Duration
	ReadWithoutReplicas bool

	// MaxSize is [sessions.Config].MaxSize. Default: 1 MiB, for Node has no
	// such limit.
	MaxSize int

	// OnUndecodable is [sessions.Config].OnUndecodable, with another default:
	// [sessions.UndecodableFail]. Here the record is Node's session, and under
	// [sessions.UndecodableFresh] the cookie of a Go write would replace its.
	OnUndecodable sessions.UndecodablePolicy

	// These are the fields of [sessions.Config] that the wire has no say in.
	OnConflict    sessions.ConflictPolicy
	Skip          func(*http.Request) bool
	Passive       func(*http.Request) bool // connect-redis' disableTouch, request by request
	WatchInterval time.Duration
	ErrorHandler  func(http.ResponseWriter, *http.Request, error)
	OnEvent       func(context.Context, sessions.Event)
	Logger        *slog.Logger
}

const (
	day             = 24 * time.Hour
	defaultTTL      = day // connect-redis' 86400
	defaultRemember = 30 * day
	defaultMaxSize  = 1 << 20
)

// New returns a Manager on the sessions of an Express app. T is written as the
// members of that app's req.session, by its json tags. Members that T does not
// know, and those that a request leaves alone, stay as they are to the byte;
// one that it changes is written as a whole. The error names every mistake in o
// and T at once; New does no I/O.
//
// What a Manager promises holds here, as far as the wire allows: what was
// destroyed stays destroyed, no matter what a slow request of this side does; a
// save loses nothing that the other side has saved since, for it merges by
// field; a sid that is not stored is never adopted; Destroy expires the cookie,
// where Node leaves it.
//
// A document that is none of express-session's, does not fit T or is over
// MaxSize is left as it is, and no cookie takes the place of its session's. Its
// requests are answered by ErrorHandler, by default with 500 as Node answers
// what it cannot read; with [sessions.UndecodableReadOnly] they go on with a
// fresh T that cannot be stored. What Node takes for no session is none here
// either: an empty value, null, false, 0, "", and the TOMBSTONE that
// connect-redis 6.1.0 leaves of a session that was destroyed. Of two live
// sessions in one request neither is used, and only SignIn and Destroy, which
// end both, make way for a new one: another save is [sessions.ErrConflict].
//
// What the wire cannot give:
//
//   - The sid is the key in Redis: who reads the one has the other. Without a
//     secret it is no cookie, but [sessions.Info].ID is the sid, in events too,
//     and must not be logged. It is empty until the session is stored. The
//     Manager's own log shows a hash of it.
//   - Node writes the whole document, whatever is stored: a save of Node's
//     undoes what was saved here since it had loaded, and brings back a session
//     that was destroyed here meanwhile. [sessions.Manager.Update] is exact
//     among Go writers only.
//   - Nothing in a record names its write. So a write whose reply was lost is
//     an error ([sessions.ErrUnavailable]) although it may be stored; if that
//     happens to SignIn or Renew the session may be over.
//   - There is no time of creation: no Lifetime, and Info's CreatedAt,
//     AuthenticatedAt and ExpiresAt are zero, Label, Method and Remembered too.
//     So [sessions.Manager.Reauthenticate], [sessions.AuthenticatedAt] and
//     [sessions.AuthenticatedBy] are [errors.ErrUnsupported], and
//     [sessions.Manager.Fresh] lets nobody pass: keep the time in T, and call
//     Renew after a step-up. A T that is [sessions.Versioned] is refused.
//   - A session that was renewed leaves no mark. A request that comes with the
//     old sid afterwards finds nothing: its Destroy does not reach the new one;
//     if it writes, the browser loses the new sid and the user signs in again. A
//     request that was on its way sends no Rolling cookie with the old sid, for
//     it looks at the record when its header is written; but a response that is
//     under way by then may arrive after the new sid. With Rolling, a handler
//     that writes its first bytes and then works on should Flush in between:
//     net/http keeps the header for so long.
//   - Nor can [sessions.Manager.Watch] follow a session that another process has
//     renewed: it ends.
//   - How long a session lasts is in its record, so a read takes two commands:
//     GET with PTTL when it is loaded, and GETEX when the header is written,
//     where Node sends GET and EXPIRE.
//
// The tokens of [sessions.Manager.Load] are sids, whose signature is then the
// caller's to check. Fields of T must not be called cookie, or like a member of Node's Session
// object (id, req, save, touch, destroy, reload, regenerate, …): Node drops
// those. Node reads every number as a float64: keep integers beyond 2^53 in
// strings. See docs/from-express.md.
func New[T any](rdb redis.UniversalClient, o Options) (*sessions.Manager[T], error) {
	return newOn[T](o.store(rdb), o)
}

func (o *Options) store(rdb redis.UniversalClient) *sessions.RedisStore {
	return sessions.NewRedisStore(rdb, sessions.RedisConfig{
		Prefix: o.prefix(), NoPrefix: o.NoPrefix, Timeout: o.Timeout, SwapOnce: true,
		ReadWithoutReplicas: o.ReadWithoutReplicas, Logger: o.Logger,
	})
}

// newOn is New on any store, for the tests that stop the clock.
func newOn[T any](store sessions.Store, o Options) (*sessions.Manager[T], error) {
	wrong := o.validate()
	m, err := sessions.New[T](store, o.config())
	if err = errors.Join(wrong, err); err != nil {
		return nil, err
	}
	return m, nil
}

func (o *Options) prefix() string {
	if o.Prefix == "" && !o.NoPrefix {
		return "sess:"
	}
	return o.Prefix
}

// config is what the options say in the core's words.
func (o *Options) config() sessions.Config {
	t := &transport{
		name: or(o.Name, "connect.sid"), rolling: o.Rolling, proxy: o.Proxy,
		options: o.Cookie.normal(), remember: or(max(o.Remember, 0), defaultRemember), logger: o.Logger,
	}
	for _, secret := range o.Secrets {
		t.secrets = append(t.secrets, []byte(secret))
	}
	t.options.Path = or(o.Cookie.Path, "/")
	// What validate refuses is left out, or it would be reported twice.
	t.options.MaxAge = t.options.MaxAge.Truncate(time.Millisecond)
	ttl := or(max(o.TTL, 0).Truncate(time.Second), defaultTTL)
	return sessions.Config{
		Codec:             sessions.JSON{},
		IdleTimeout:       ttl,
		Lifetime:          -1,
		Remember:          sessions.Remember{IdleTimeout: ttl, Lifetime: -1},
		Transport:         t,
		Layout:            layout{},
		SaveUninitialized: o.SaveUninitialized,
		Rewrite:           o.Resave,
		OnConflict:        o.OnConflict,
		OnUndecodable:     or(o.OnUndecodable, sessions.UndecodableFail),
		MaxSize:           or(o.MaxSize, defaultMaxSize),
		NewToken:          o.newID(t),
		Skip:              func(r *http.Request) bool { return !t.covers(r) || o.Skip != nil && o.Skip(r) },
		Passive:           o.Passive,
		WatchInterval:     o.WatchInterval,
		ErrorHandler:      o.ErrorHandler,
		OnEvent:           o.OnEvent,
		Logger:            o.Logger,
	}
}

func (o *Options) newID(t *transport) func() (string, error) {
	draw := o.NewID
	if draw == nil {
		return func() (string, error) {
			var b [24]byte
			_, _ = rand.Read(b[:]) // never fails
			return base64.RawURLEncoding.EncodeToString(b[:]), nil
		}
	}
	return func() (string, error) {
		id, err := draw()
		switch {
		case err != nil:
			return "", err
		case id == "" || !utf8.ValidString(id):
			return "", fmt.Errorf("express: Options.NewID: it draws a sid of %d bytes that is no text: draw at least one character, in UTF-8", len(id))
		}
		return id, t.checkSize(id)
	}
}

// validate names the mistakes that the core cannot see.
func (o *Options) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("express: Options."+field+": "+format, args...))
	}
	if len(o.Secrets) == 0 {
		bad("Secrets", "there is none: give the secret of the Express app")
	}
	for i, secret := range o.Secrets {
		if secret == "" {
			bad("Secrets", "number %d is empty: anybody could sign with it", i+1)
		}
	}
	for _, d := range []struct {
		field, remedy string
		value, unit   time.Duration
	}{
		{"TTL", "connect-redis counts whole seconds: write 24 * time.Hour for its 86400", o.TTL, time.Second},
		{"Cookie.MaxAge", "Node counts milliseconds: write 15 * time.Minute for its 900000", o.Cookie.MaxAge, time.Millisecond},
		{"Remember", "Node counts milliseconds: write 30 * 24 * time.Hour for its 2592000000", o.Remember, time.Millisecond},
	} {
		// Milliseconds taken for nanoseconds: hours are less than a second then, and days a number of these.
		lacks := d.value < time.Second || d.value < time.Minute && d.value%time.Second != 0 && d.value%(day/1e6) == 0
		switch {
		case d.value < 0:
			bad(d.field, "%v is negative: leave it out, or give it a duration", d.value)
		case d.value > 0 && (lacks || d.value%d.unit != 0):
			bad(d.field, "%v seems to lack its unit: %s", d.value, d.remedy)
		}
	}
	c := o.Cookie.normal()
	for _, s := range []struct {
		field string
		value Setting
		among []Setting
	}{
		{"Secure", c.Secure, []Setting{True, False, Auto}},
		{"HttpOnly", c.HttpOnly, []Setting{True, False}},
		{"Partitioned", c.Partitioned, []Setting{True, False}},
		{"SameSite", c.SameSite, []Setting{True, False, Strict, Lax, None, Auto}},
		{"Priority", c.Priority, []Setting{Low, Medium, High}},
	} {
		if !s.value.among(s.among) {
			bad("Cookie."+s.field, "%q is none of %q", s.value, s.among)
		}
	}
	name := or(o.Name, "connect.sid")
	if !validName(name) {
		bad("Name", "%q is not a cookie name that comes back: use ASCII without control characters, ; and =, and no blank at either end", name)
	}
	if c.Path != "" && (c.Path[0] != '/' || !validPath(c.Path)) {
		bad("Cookie.Path", "%q is not a path: start it with / and leave out control characters and semicolons", c.Path)
	}
	if c.Domain != "" && !validDomain(c.Domain) {
		bad("Cookie.Domain", "%q is not a domain a cookie can have: use a host name such as example.com", c.Domain)
	}
	// What a browser would drop without a word, RFC 6265bis section 5.7 and draft-ietf-httpbis-layered-cookies.
	secure, lower := c.Secure == True, strings.ToLower(name)
	prefixed := func(prefix string) bool { return strings.HasPrefix(lower, prefix) }
	if !secure && (prefixed("__host-") || prefixed("__secure-") || prefixed("__http-")) {
		bad("Cookie.Secure", "browsers keep a cookie named %s only if it is Secure: set it to True", name)
	} else if prefixed("__host-") && (c.Domain != "" || or(c.Path, "/") != "/") {
		bad("Name", "browsers keep a cookie named %s only without a Domain and with the path /: leave both out", name)
	}
	if c.HttpOnly == False && (prefixed("__http-") || prefixed("__host-http-")) {
		bad("Cookie.HttpOnly", "browsers keep a cookie named %s only if it is HttpOnly: leave it out", name)
	}
	switch {
	case strings.EqualFold(string(c.SameSite), string(None)) && !secure:
		bad("Cookie.SameSite", "browsers keep a SameSite=None cookie only if it is Secure: set Secure to True, or SameSite and Secure to Auto")
	case c.SameSite == Auto && !secure && c.Secure != Auto:
		bad("Cookie.SameSite", "Auto is None on a secure request, and browsers keep that cookie only if it is Secure: set Secure to Auto, or to True")
	}
	if c.Partitioned == True && !secure {
		bad("Cookie.Partitioned", "browsers keep a Partitioned cookie only if it is Secure: set Secure to True")
	}
	return errors.Join(errs...)
}
