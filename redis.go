package sessions

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/deadline"
)

// RedisConfig configures a [RedisStore]. The zero value is ready to use.
type RedisConfig struct {
	_ [0]func() // keyed literals only

	Prefix   string // is put before every key, so that stores can share a database; its first braces are not empty. Default: "session:"
	NoPrefix bool   // stores under the bare keys; Keys then lists all that the database holds
	// SwapOnce makes it [ErrUnavailable] if the reply to a CompareAndSwap is lost; otherwise the client sends it
	// again. It is for a [Layout] without room for Record.Writes.
	SwapOnce bool
	// Timeout bounds every operation, the wait for a connection and the client's retries included. A nearer deadline
	// of the context wins. Default: one second; less than a millisecond is refused. Keep the client's ReadTimeout above it.
	Timeout time.Duration
	// ReadWithoutReplicas goes on reading, without restarting idle timeouts, from a master that has lost its
	// replicas (NOREPLICAS). They may follow a new master, where sessions have ended that are still valid here.
	ReadWithoutReplicas bool
	// WaitReplicas is how many replicas must have acknowledged a write (WAIT) before it is done, so that a failover to one
	// of them keeps it. Otherwise it is [ErrUnavailable]: it is stored, can be read, and may be lost. Restarting an idle
	// timeout waits for nobody. It is for a *redis.Client or *redis.ClusterClient; see docs/redis.md for its limits. Default: 0, none.
	WaitReplicas int
	WaitTimeout  time.Duration // how long a write waits for WaitReplicas. Default: half of Timeout, and always less than that
	Logger       *slog.Logger  // is told once that GETEX is unknown or forbidden. Default: [slog.Default]
}

// RedisStore is a [Store] in Redis 6.2 or later, or Valkey: one server, one behind Sentinel, or a cluster.
// It is safe for concurrent use; each operation is one round trip. Keys may have any length. A failover may undo the
// last writes. See docs/redis.md.
type RedisStore struct {
	rdb      redis.UniversalClient
	prefix   string
	timeout  time.Duration
	swapKind redisKind   // of a CompareAndSwap and a Place
	send     redisSender // once
	reader   redisReader
	waits    *redisWaits // nil where rdb keeps deadlines itself, and has no more connections than that would admit
	direct   bool        // rdb keeps deadlines itself
	inline   bool        // operations run in the caller's goroutine: with direct, or an asynchronous AutoPipeliner

	deadlines deadline.Source // for what runs inline
	topology  topology        // for a cluster's client
	invalid   error
}

const (
	defaultRedisPrefix  = "session:"
	defaultRedisTimeout = time.Second
)

// swapScript compares only the first bytes, whatever the size of the value:
// GETRANGE of 80 bytes costs 1.2 times a plain SET, comparing 64 KB six times.
// ARGV is the prefix, then data and milliseconds to replace, nothing to
// delete. It has no shebang: a script that declares its flags is refused as a
// whole when memory is full, this one may still delete.
var swapScript = newRedisScript(`
local n = #ARGV[1]
if n > 0 and redis.call('GETRANGE', KEYS[1], 0, n - 1) ~= ARGV[1]
	or n == 0 and redis.call('EXISTS', KEYS[1]) == 0 then
	return redis.call('GET', KEYS[1])
end
if #ARGV == 1 then
	redis.call('DEL', KEYS[1])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1`)

// NewRedisStore returns a store on rdb, which it neither changes nor closes. What cannot work is the error
// of [RedisStore.Validate] and of every operation.
func NewRedisStore(rdb redis.UniversalClient, cfg RedisConfig) *RedisStore {
	s := &RedisStore{
		rdb:      rdb,
		prefix:   cfg.Prefix,
		timeout:  cfg.Timeout,
		swapKind: writing,
		reader:   redisReader{withoutReplicas: cfg.ReadWithoutReplicas, logger: cfg.Logger},
		invalid:  checkRedis(rdb, cfg),
	}
	if cfg.SwapOnce {
		s.swapKind = writingOnce
	}
	if s.prefix == "" && !cfg.NoPrefix {
		s.prefix = defaultRedisPrefix
	}
	if s.timeout < time.Millisecond {
		s.timeout = defaultRedisTimeout
	}
	s.deadlines.Timeout = s.timeout
	s.send = redisSender{rdb: rdb, retries: clientRetries(rdb), once: true, timeout: s.timeout, dial: new(atomic.Pointer[dialFailure])}
	if s.send.replicas = cfg.WaitReplicas; cfg.WaitReplicas > 0 {
		s.send.waitTime = cmp.Or(cfg.WaitTimeout, max(s.timeout/2, time.Millisecond)) // WAIT takes 0 for ever
	}
	s.direct = keepsDeadlines(rdb)
	if c, ok := rdb.(*redis.Client); !s.direct || ok && c.Options().PoolSize > maxRedisWaits {
		s.waits = newRedisWaits(rdb)
	}
	// WAIT belongs on the connection of the write, and an AutoPipeliner sends it on another one.
	if ap, ok := rdb.(*redis.AutoPipeliner); ok && ap != nil && !ap.IsBlocking() && cfg.WaitReplicas == 0 {
		s.send.async, s.send.waits = ap, s.waits
	}
	s.inline = s.direct || s.send.async != nil
	s.topology.init(rdb)
	return s
}

// Timeout implements [Timed] with [RedisConfig].Timeout.
func (s *RedisStore) Timeout() time.Duration { return s.timeout }

// Validate implements [Validator] for the client and the RedisConfig.
func (s *RedisStore) Validate() error {
	if s.rdb == nil && s.invalid == nil {
		return errors.New("sessions: RedisStore: its zero value has no client: make it with NewRedisStore")
	}
	return s.invalid
}

// Load implements [Store] with GETEX, or with GET and PTTL if touch is 0. Where GETEX is unknown or forbidden it is
// GET and PEXPIRE or EXPIRE.
func (s *RedisStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	l := redisLoad{reader: &s.reader, key: s.prefix + key, touch: touch}
	if s.waits != nil && s.send.async == nil || s.invalid != nil {
		loaded, err := withinTimeout(ctx, s, l.key, reading, l.run)
		return loaded.data, loaded.left, err
	}
	// The same without a closure, for this is what every request does.
	if err := ctx.Err(); err != nil {
		return nil, 0, redisError(ctx, err)
	}
	ctx = s.deadlines.Context(ctx)
	loaded, err := l.run(ctx, s.send)
	if err != nil {
		loaded, err = afterFirst(ctx, s.send, reading, loaded, err, l.run)
	}
	return loaded.data, loaded.left, err
}

// Create implements [Store] with SET NX.
func (s *RedisStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errNoTTL(ttl)
	}
	key, data = s.prefix+key, s.ownCopy(data)
	created, err := withinTimeout(ctx, s, key, writing, func(ctx context.Context, send redisSender) (bool, error) {
		unit, n := expiry(ttl)
		cmd := redis.NewBoolCmd(ctx, "set", key, data, unit, n, "nx")
		if err := send.write(ctx, key, cmd, cmd.Val); err != nil {
			return false, err
		}
		return cmd.Val(), nil
	})
	if err == nil && !created {
		err = ErrExists
	}
	return err
}

// CompareAndSwap implements [Store] with EVALSHA.
func (s *RedisStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	args := append(make([]any, 0, 7), "evalsha", swapScript.hash, 1, s.prefix+key, s.ownCopy(prefix))
	if data != nil {
		if ttl <= 0 {
			return nil, errNoTTL(ttl)
		}
		args = append(args, s.ownCopy(data), toMillisecond(ttl).Milliseconds())
	}
	reply, err := withinTimeout(ctx, s, s.prefix+key, s.swapKind, func(ctx context.Context, send redisSender) (any, error) {
		return swapScript.run(ctx, send, args)
	})
	if current, ok := reply.(string); ok && err == nil {
		return []byte(current), ErrConflict
	}
	return nil, err
}

// Delete implements [Store] with DEL.
func (s *RedisStore) Delete(ctx context.Context, key string) error {
	key = s.prefix + key
	_, err := withinTimeout(ctx, s, key, writing, func(ctx context.Context, send redisSender) (any, error) {
		cmd := redis.NewIntCmd(ctx, "del", key)
		return nil, send.write(ctx, key, cmd, func() bool { return cmd.Val() > 0 })
	})
	return err
}

// Ping asks the server for an answer, for a health check: one PING, and in a cluster one to each master, because every
// one has users whose sessions nobody else has. Timeout bounds all of it. No answer is [ErrUnavailable]. A server that
// answers may still refuse writes, for example because its memory is full.
func (s *RedisStore) Ping(ctx context.Context) error {
	_, err := withinTimeout(ctx, s, "", reading, func(ctx context.Context, send redisSender) (any, error) {
		if c, ok := s.rdb.(clusterClient); ok {
			return nil, c.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
				return send.ping(ctx, master)
			})
		}
		return nil, send.ping(ctx, s.rdb)
	})
	if errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: check that a server runs at %s and takes the client's user, password and TLS", err, addressOf(s.rdb))
	}
	return err
}

func (s redisSender) ping(ctx context.Context, rdb redis.UniversalClient) error {
	s.rdb = rdb
	cmd := redis.NewStatusCmd(ctx, "ping")
	if s.replicas == 0 {
		return s.process(ctx, cmd)
	}
	wait := redis.NewIntCmd(ctx, "wait", 0, 1) // for none: may it be sent?
	_ = s.pipelined(ctx, cmd, wait)
	return cmp.Or(cmd.Err(), wait.Err())
}

// addressOf is the address that a client was given, as far as it says so. One of NewFailoverClient does not.
func addressOf(rdb redis.UniversalClient) string {
	switch c := rdb.(type) {
	case *redis.Client:
		if addr := c.Options().Addr; addr != "FailoverClient" {
			return addr
		}
	case *redis.ClusterClient:
		return strings.Join(c.Options().Addrs, ", ")
	}
	return "the client's address"
}

// A redisScript is sent by its hash, and as a whole to a server that does not know it.
type redisScript struct {
	text string
	hash any // a string, which a command then need not wrap
}

func newRedisScript(text string) redisScript { return redisScript{text, redis.NewScript(text).Hash()} }

// run sends args, which begin with EVALSHA, the hash, the number of keys and a key. Of a reply other than 1 and "placed"
// nobody knows whether it tells of a write.
func (s redisScript) run(ctx context.Context, send redisSender, args []any) (reply any, err error) {
	do := func(args []any) error {
		cmd := redis.NewCmd(ctx, args...)
		err := send.write(ctx, args[3].(string), cmd, func() bool {
			list, _ := cmd.Val().([]any)
			return cmd.Val() == int64(1) || len(list) > 0 && list[0] == "placed"
		})
		if err == nil {
			reply = cmd.Val()
		}
		return err
	}
	if err = do(args); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = do(append([]any{"eval", s.text}, args[2:]...))
	}
	return reply, err
}

// withinTimeout runs op within Timeout, with the attempts that its kind allows. key is what op is about, with the prefix;
// empty for all that a node has.
func withinTimeout[R any](ctx context.Context, s *RedisStore, key string, kind redisKind, op func(context.Context, redisSender) (R, error)) (result R, err error) {
	if s.invalid != nil {
		return result, s.invalid
	}
	if err := ctx.Err(); err != nil {
		return result, redisError(ctx, err)
	}
	if s.inline {
		ctx = s.deadlines.Context(ctx)
	} else if at, ok := ctx.Deadline(); !ok || time.Until(at) > s.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	began := time.Now()
	var place chan struct{}
	if s.waits != nil && s.send.async == nil { // which is asked for each command
		if place = s.waits.enter(ctx, key); place == nil {
			err = redisError(ctx, s.send.whyLate(ctx.Err()))
		}
	}
	switch {
	case err != nil:
	case s.inline:
		if place != nil {
			defer func() { <-place }()
		}
		result, err = op(ctx, s.send)
		result, err = afterFirst(ctx, s.send, kind, result, err, op)
	default:
		result, err = waitFor(ctx, s, place, kind, op)
		s.waits.note(err)
	}
	s.topology.noteError(err, began, s.timeout)
	if err != nil {
		var none R
		return none, err
	}
	return result, nil
}

// waitFor runs op in a goroutine and waits for it until ctx is done. What is
// then given up keeps its place until the client gives it up too. A panic, a
// hook's, reaches the caller as if there were no goroutine.
func waitFor[R any](ctx context.Context, s *RedisStore, place chan struct{}, kind redisKind, op func(context.Context, redisSender) (R, error)) (result R, err error) {
	type outcome struct {
		result R
		err    error
		panic  any
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errGoexit} // unless op returns
		defer func() {
			o.panic = recover()
			<-place
			done <- o
		}()
		first, err := op(ctx, s.send)
		o.result, o.err = afterFirst(ctx, s.send, kind, first, err, op)
	}()
	select {
	case o := <-done:
		if o.panic != nil {
			panic(o.panic)
		}
		return o.result, o.err
	case <-ctx.Done():
		return result, redisError(ctx, s.send.whyLate(ctx.Err()))
	}
}

var errGoexit = fmt.Errorf("%w: a hook of the client ended its goroutine", ErrUnavailable)

// ownCopy returns b, or a copy where an operation that was given up may still
// read it when the caller has it back.
func (s *RedisStore) ownCopy(b []byte) []byte {
	if s.direct {
		return b
	}
	return bytes.Clone(b)
}

// keepsDeadlines is true of a client that honours a context's deadline on the
// socket, in the handshake, between retries and while it waits for a
// connection. A negative timeout (-2 in the options given) means that no socket
// deadline is ever set. A ClusterClient is never one: it asks for COMMAND with
// five seconds of its own.
func keepsDeadlines(rdb redis.UniversalClient) bool {
	c, ok := rdb.(*redis.Client)
	if !ok || c == nil {
		return false
	}
	o := c.Options()
	return o.ContextTimeoutEnabled && o.ReadTimeout >= 0 && o.WriteTimeout >= 0
}

// clientRetries is how often the client sends a command again; three times if it
// does not say.
func clientRetries(rdb redis.UniversalClient) int {
	switch c := rdb.(type) {
	case *redis.Client:
		if c != nil {
			return c.Options().MaxRetries
		}
	case *redis.ClusterClient:
		if c != nil {
			return c.Options().MaxRedirects
		}
	}
	return 3
}

func errNoTTL(ttl time.Duration) error {
	return fmt.Errorf("sessions: RedisStore: ttl is %v; nothing is stored without an expiry", ttl)
}

// checkRedis collects what Validate reports.
func checkRedis(rdb redis.UniversalClient, cfg RedisConfig) error {
	var errs []error
	refuse := func(reason string) {
		errs = append(errs, errors.New("sessions: RedisStore: "+reason))
	}
	nilClient := rdb == nil
	switch c := rdb.(type) {
	case *redis.Client:
		nilClient = c == nil
	case *redis.AutoPipeliner:
		nilClient = c == nil
	case *redis.Ring:
		refuse("a *redis.Ring hands the keys of a dead shard to another and back, where ended sessions live again: use a *redis.Client or *redis.ClusterClient")
	case *redis.ClusterClient:
		if nilClient = c == nil; nilClient {
			break
		}
		const reason = " reads from replicas, which lag behind: a session that was just ended would still be valid: leave it false"
		o := c.Options()
		if o.RouteByLatency {
			refuse("ClusterOptions.RouteByLatency" + reason)
		}
		if o.RouteRandomly {
			refuse("ClusterOptions.RouteRandomly" + reason)
		}
		if o.ReadOnly && !o.RouteByLatency && !o.RouteRandomly { // which imply it
			refuse("ClusterOptions.ReadOnly" + reason)
		}
	}
	if nilClient {
		refuse("the client is nil: pass one from redis.NewClient, NewFailoverClient or NewClusterClient")
	}
	if cfg.NoPrefix && cfg.Prefix != "" {
		refuse(fmt.Sprintf("RedisConfig.NoPrefix contradicts the Prefix %q: leave one of them out", cfg.Prefix))
	}
	if _, tag, ok := strings.Cut(cfg.Prefix, "{"); ok && strings.HasPrefix(tag, "}") {
		refuse(fmt.Sprintf("RedisConfig.Prefix %q has the empty braces {} first, so in a cluster a user's sessions would have a slot each: leave them out", cfg.Prefix))
	}
	if cfg.Timeout != 0 && cfg.Timeout < time.Millisecond {
		refuse(fmt.Sprintf("RedisConfig.Timeout is %v, less than a millisecond: leave it zero for %v, or add the unit, as in 2 * time.Second", cfg.Timeout, defaultRedisTimeout))
	}
	checkReplicas(rdb, cfg.WaitReplicas, cfg.WaitTimeout, cmp.Or(cfg.Timeout, defaultRedisTimeout), refuse)
	return errors.Join(errs...)
}
