package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/deadline"
)

// RedisConfig configures a [RedisStore]. The zero value is ready to use.
type RedisConfig struct {
	_ [0]func() // keyed literals only

	Prefix   string // is put before every key, so that stores can share a database. Default: "session:"
	NoPrefix bool   // stores under the bare keys; Keys then lists all that the database holds
	// SwapOnce makes it [ErrUnavailable] if the reply to a CompareAndSwap is lost; otherwise the client sends it
	// again. It is for a [Layout] without room for Record.Writes.
	SwapOnce bool
	// Timeout bounds every operation, the wait for a connection and the client's retries included. A nearer deadline
	// of the context wins. Default: one second; negative is refused. Keep the client's ReadTimeout above it.
	Timeout time.Duration
}

// RedisStore is a [Store] in Redis 6.2 or later, or Valkey: one server, one behind Sentinel, or a cluster.
// It is safe for concurrent use; each operation is one round trip. A failover may undo the last writes. See
// docs/redis.md.
type RedisStore struct {
	rdb      redis.UniversalClient
	prefix   string
	timeout  time.Duration
	swapOnce bool
	swap     *redis.Script
	slots    chan struct{} // nil where rdb keeps deadlines itself

	deadlines deadline.Source // for the client that does
	topology  topology        // for a cluster's client
	invalid   error
}

var _ Store = (*RedisStore)(nil)

const (
	defaultRedisPrefix  = "session:"
	defaultRedisTimeout = time.Second

	// maxRedisWaits caps the goroutines that wait for clients which keep no
	// deadline. A hanging server costs this many, whatever the number of
	// requests.
	maxRedisWaits = 512
)

// swapScript compares only the first bytes, whatever the size of the value:
// GETRANGE of 80 bytes costs 1.2 times a plain SET, comparing 64 KB six times.
// ARGV is the prefix, then data and milliseconds to replace, nothing to
// delete. It has no shebang: a script that declares its flags is refused as a
// whole when memory is full, this one may still delete.
const swapScript = `
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
return 1`

// NewRedisStore returns a store on rdb, which it neither changes nor closes. What cannot work is the error
// of [RedisStore.Validate] and of every operation.
func NewRedisStore(rdb redis.UniversalClient, cfg RedisConfig) *RedisStore {
	s := &RedisStore{
		rdb:      rdb,
		prefix:   cfg.Prefix,
		timeout:  cfg.Timeout,
		swapOnce: cfg.SwapOnce,
		swap:     redis.NewScript(swapScript),
		invalid:  checkRedis(rdb, cfg),
	}
	if s.prefix == "" && !cfg.NoPrefix {
		s.prefix = defaultRedisPrefix
	}
	if s.timeout <= 0 {
		s.timeout = defaultRedisTimeout
	}
	s.deadlines.Timeout = s.timeout
	if !keepsDeadlines(rdb) {
		s.slots = make(chan struct{}, maxRedisWaits)
		s.topology.init(rdb)
	}
	return s
}

// Timeout implements [Timed] with [RedisConfig].Timeout.
func (s *RedisStore) Timeout() time.Duration { return s.timeout }

// Validate implements [Validator] for the client and the RedisConfig.
func (s *RedisStore) Validate() error { return s.invalid }

// Load implements [Store] with GETEX, or with GET and PTTL if touch is 0.
func (s *RedisStore) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	l := redisLoad{key: s.prefix + key, touch: touch}
	if s.slots != nil || s.invalid != nil {
		loaded, err := withinTimeout(ctx, s, func(ctx context.Context) (redisLoad, error) { return l.run(ctx, s.rdb) })
		return loaded.data, loaded.left, err
	}
	// The same without a closure, for this is what every request does.
	if err := ctx.Err(); err != nil {
		return nil, 0, redisError(ctx, err)
	}
	ctx = s.deadlines.Context(ctx)
	loaded, err := l.run(ctx, s.rdb)
	return loaded.data, loaded.left, redisError(ctx, err)
}

// redisLoad is one Load: what is asked, and what comes back.
type redisLoad struct {
	key   string
	touch time.Duration
	data  []byte
	left  time.Duration
}

func (l redisLoad) run(ctx context.Context, rdb redis.UniversalClient) (_ redisLoad, err error) {
	if l.touch > 0 {
		l.data, err = rdb.GetEx(ctx, l.key, toMillisecond(l.touch)).Bytes()
		if err == nil {
			l.left = l.touch
			return l, nil
		}
		if !refusesWrites(err) {
			return l, err
		}
	}
	l.data, l.left, err = peekRedis(ctx, rdb, l.key)
	return l, err
}

// peekRedis never is GetEx(…, 0): that means PERSIST and makes a session immortal.
func peekRedis(ctx context.Context, rdb redis.UniversalClient, key string) ([]byte, time.Duration, error) {
	var get *redis.StringCmd
	var pttl *redis.DurationCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		get, pttl = p.Get(ctx, key), p.PTTL(ctx, key)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	data, err := get.Bytes()
	switch left := pttl.Val(); {
	case left == -2: // expired between the two
		return nil, 0, redis.Nil
	case left < 0: // no expiry, or one beyond all Durations
		return data, math.MaxInt64, err
	default:
		return data, toMillisecond(left), err
	}
}

// Create implements [Store] with SET NX.
func (s *RedisStore) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if ttl <= 0 {
		return errNoTTL(ttl)
	}
	key, data = s.prefix+key, s.ownCopy(data)
	created, err := withinTimeout(ctx, s, func(ctx context.Context) (bool, error) {
		return s.rdb.SetNX(ctx, key, data, toMillisecond(ttl)).Result()
	})
	if err == nil && !created {
		err = ErrExists
	}
	return err
}

// CompareAndSwap implements [Store] with EVALSHA.
func (s *RedisStore) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	args := []any{s.ownCopy(prefix)}
	if data != nil {
		if ttl <= 0 {
			return nil, errNoTTL(ttl)
		}
		args = append(args, s.ownCopy(data), toMillisecond(ttl).Milliseconds())
	}
	reply, err := withinTimeout(ctx, s, func(ctx context.Context) (any, error) {
		if s.swapOnce {
			return s.runOnce(ctx, append([]any{1, s.prefix + key}, args...))
		}
		return s.swap.Run(ctx, s.rdb, []string{s.prefix + key}, args...).Result()
	})
	if current, ok := reply.(string); ok && err == nil {
		return []byte(current), ErrConflict
	}
	return nil, err
}

// runOnce is Script.Run by commands that the client does not send again.
func (s *RedisStore) runOnce(ctx context.Context, args []any) (any, error) {
	run := func(name, script string) (any, error) {
		cmd := redis.NewCmd(ctx, append([]any{name, script}, args...)...)
		_ = s.rdb.Process(ctx, noRetry{cmd}) // which an asynchronous AutoPipeliner's has not yet done; Result waits
		return cmd.Result()
	}
	reply, err := run("evalsha", s.swap.Hash())
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = run("eval", swapScript)
	}
	return reply, err
}

// noRetry is a command that is not to be sent twice.
type noRetry struct{ redis.Cmder }

func (noRetry) NoRetry() bool { return true }

// Delete implements [Store] with DEL.
func (s *RedisStore) Delete(ctx context.Context, key string) error {
	_, err := withinTimeout(ctx, s, func(ctx context.Context) (int64, error) {
		return s.rdb.Del(ctx, s.prefix+key).Result()
	})
	return err
}

// withinTimeout runs op within Timeout, and its errors are those that [Store]
// promises.
func withinTimeout[R any](ctx context.Context, s *RedisStore, op func(context.Context) (R, error)) (result R, err error) {
	if s.invalid != nil {
		return result, s.invalid
	}
	if err := ctx.Err(); err != nil {
		return result, redisError(ctx, err)
	}
	if s.slots == nil {
		ctx = s.deadlines.Context(ctx)
		result, err = op(ctx)
	} else {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > s.timeout {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.timeout)
			defer cancel()
		}
		began := time.Now()
		result, err = waitFor(ctx, s.slots, op)
		s.topology.noteError(err, began, s.timeout)
	}
	if err = redisError(ctx, err); err != nil {
		var none R
		return none, err
	}
	return result, nil
}

// redisError makes err one that [Store] promises.
func redisError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return ErrNotFound
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("sessions: %w", ctx.Err())
	case errors.Is(err, context.Canceled): // something else was, not this caller
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, ctx.Err(), err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// waitFor runs op in a goroutine and waits for it until ctx is done. What is
// then given up keeps its slot until the client gives it up too. A panic, a
// hook's, reaches the caller as if there were no goroutine.
func waitFor[R any](ctx context.Context, slots chan struct{}, op func(context.Context) (R, error)) (result R, err error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return result, ctx.Err()
	}
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
			<-slots
			done <- o
		}()
		o.result, o.err = op(ctx)
	}()
	select {
	case o := <-done:
		if o.panic != nil {
			panic(o.panic)
		}
		return o.result, o.err
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

var errGoexit = errors.New("sessions: RedisStore: a hook of the client ended its goroutine")

// ownCopy returns b, or a copy where an operation that was given up may still
// read it when the caller has it back.
func (s *RedisStore) ownCopy(b []byte) []byte {
	if s.slots == nil {
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

// refusesWrites is true of a server that still answers reads.
func refusesWrites(err error) bool {
	return redis.HasErrorPrefix(err, "NOREPLICAS") ||
		redis.HasErrorPrefix(err, "MISCONF") ||
		redis.HasErrorPrefix(err, "READONLY")
}

// toMillisecond rounds to what Redis counts in, but never to zero.
func toMillisecond(d time.Duration) time.Duration {
	return max(d.Truncate(time.Millisecond), time.Millisecond)
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
		refuse("a *redis.Ring hands the keys of a dead shard to another and back, where ended sessions live again; use a *redis.Client or *redis.ClusterClient")
	case *redis.ClusterClient:
		if nilClient = c == nil; nilClient {
			break
		}
		const reason = " reads from replicas, which lag behind: a session that was just ended would still be valid; leave it false"
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
		refuse("the client is nil; pass one from redis.NewClient, NewFailoverClient or NewClusterClient")
	}
	if cfg.NoPrefix && cfg.Prefix != "" {
		refuse(fmt.Sprintf("RedisConfig.NoPrefix contradicts the Prefix %q; leave one of them out", cfg.Prefix))
	}
	if cfg.Timeout < 0 {
		refuse(fmt.Sprintf("RedisConfig.Timeout is %v; leave it zero for %v", cfg.Timeout, defaultRedisTimeout))
	}
	return errors.Join(errs...)
}
