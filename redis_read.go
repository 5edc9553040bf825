package sessions

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisReader knows by which commands a server lets its user read a value and
// restart its expiry.
type redisReader struct {
	withoutReplicas bool
	logger          *slog.Logger

	way       atomic.Int32
	nextGetEx atomic.Int64 // when GETEX is tried again, if it is not the way, in Unix nanoseconds
	told      [untouched + 1]atomic.Bool
}

// The ways to read and touch, from the best to the last.
const (
	byGetEx   int32 = iota
	byPExpire       // GET and PEXPIRE in one round trip
	byExpire        // GET and EXPIRE in one round trip
	untouched       // a read alone
)

var redisWays = [...]string{byPExpire: "GET and PEXPIRE", byExpire: "GET and EXPIRE", untouched: "a read that does not restart the idle timeout"}

// triesGetEx is how often GETEX is tried where the server has refused it.
const triesGetEx = time.Minute

// best returns the way to begin with.
func (r *redisReader) best() int32 {
	way := r.way.Load()
	if way == byGetEx {
		return way
	}
	now, next := time.Now().UnixNano(), r.nextGetEx.Load()
	if now >= next && r.nextGetEx.CompareAndSwap(next, now+int64(triesGetEx)) {
		return byGetEx
	}
	return way
}

// found notes the way that works, and tells the log the first time that the
// server has refused the one before.
func (r *redisReader) found(way int32, refused error) {
	if r.way.Load() == way {
		return
	}
	r.nextGetEx.Store(time.Now().Add(triesGetEx).UnixNano())
	r.way.Store(way)
	if way == byGetEx || r.told[way].Swap(true) {
		return
	}
	logger := r.logger
	if logger == nil {
		logger = slog.Default()
	}
	// Without the request's context: a handler of slog may ask it for the session, which is locked.
	logger.LogAttrs(context.Background(), slog.LevelWarn, "sessions: the Redis server refuses GETEX, which is tried again each minute",
		slog.String("instead", redisWays[way]), slog.String("err", redisCause(refused).Error()))
}

// redisLoad is one Load: what is asked, and what comes back.
type redisLoad struct {
	reader *redisReader
	key    string
	touch  time.Duration
	data   []byte
	left   time.Duration
}

func (l redisLoad) run(ctx context.Context, send redisSender) (redisLoad, error) {
	if l.touch <= 0 {
		return l.peek(ctx, send)
	}
	var refused error
	for way := l.reader.best(); way != untouched; way++ {
		err := l.readAndTouch(ctx, send, way)
		switch {
		case err == nil:
			l.reader.found(way, refused)
			l.left = l.touch
			return l, nil
		case redis.HasErrorPrefix(err, "MISCONF"),
			redis.HasErrorPrefix(err, "NOREPLICAS") && l.reader.withoutReplicas:
			return l.peek(ctx, send)
		case !isForbidden(err):
			return l, err
		}
		refused = err
	}
	l, err := l.peek(ctx, send)
	if err == nil && refused != nil {
		l.reader.found(untouched, refused)
	}
	return l, err
}

// readAndTouch does both or gives an error.
func (l *redisLoad) readAndTouch(ctx context.Context, send redisSender, way int32) (err error) {
	unit, n := expiry(l.touch)
	if way == byGetEx {
		get := &getOnce{*redis.NewStringCmd(ctx, "getex", l.key, unit, n), !send.once}
		if err := send.processAs(ctx, get); err != nil {
			return err
		}
		l.data, err = get.Bytes()
		return err
	}
	touch := redis.NewBoolCmd(ctx, "pexpire", l.key, toMillisecond(l.touch).Milliseconds())
	if way == byExpire {
		touch = redis.NewBoolCmd(ctx, "expire", l.key, int64((l.touch-1)/time.Second)+1) // no session ends early
	}
	get := redis.NewStringCmd(ctx, "get", l.key)
	if err := send.pipelined(ctx, get, touch); err != nil {
		return err
	}
	data, err := get.Bytes()
	if err != nil {
		return err
	}
	there, err := touch.Result()
	switch {
	case err != nil:
		return err
	case !there: // it has expired between the two
		return redis.Nil
	}
	l.data = data
	return nil
}

// peek reads without a touch. It never is GETEX without an expiry, or with 0:
// that means PERSIST and makes a session immortal.
func (l redisLoad) peek(ctx context.Context, send redisSender) (_ redisLoad, err error) {
	get := redis.NewStringCmd(ctx, "get", l.key)
	pttl := redis.NewDurationCmd(ctx, time.Millisecond, "pttl", l.key)
	if err := send.pipelined(ctx, get, pttl); err != nil {
		return l, err
	}
	return l.peeked(get, pttl)
}

// peeked is what GET and PTTL have answered.
func (l redisLoad) peeked(get *redis.StringCmd, pttl *redis.DurationCmd) (_ redisLoad, err error) {
	data, err := get.Bytes()
	if err != nil {
		return l, err
	}
	switch left, err := pttl.Result(); {
	case err != nil && !isForbidden(err):
		return l, err
	case left == -2: // expired between the two
		return l, redis.Nil
	case err != nil: // not known
	case left < 0: // no expiry, or one beyond all Durations
		l.left = math.MaxInt64
	default:
		l.left = toMillisecond(left)
	}
	l.data = data
	return l, nil
}

// isForbidden tells of a command that the server does not know, or that it does
// not permit to this user.
func isForbidden(err error) bool {
	reply, ok := replyOf(err)
	return ok && (reply.begins == "NOPERM " || reply.unknown)
}

// expiry is d as the words of a command.
func expiry(d time.Duration) (unit any, n int64) {
	if d = toMillisecond(d); d%time.Second == 0 {
		return "ex", int64(d / time.Second)
	}
	return "px", d.Milliseconds()
}

// toMillisecond rounds to what Redis counts in, but never to zero.
func toMillisecond(d time.Duration) time.Duration {
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}
