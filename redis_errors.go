package sessions

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisReply is an error reply of a server. Its text is never shown, because
// servers and proxies repeat arguments in it, and an argument may be a token:
// what is shown is the known beginning and a text of our own.
type redisReply struct {
	begins, means string
	passes        bool // soon, so that the client sends the command again
	unknown       bool // the command is
}

// redisReplies are known to say that the command was not executed. A proxy has
// others, for a command that may have been.
var redisReplies = []redisReply{
	{begins: "OOM ", means: "the server's memory is full"},
	{begins: "READONLY ", means: "the server is a replica, or has been made one", passes: true},
	{begins: "NOREPLICAS ", means: "the server has fewer replicas than its min-replicas-to-write", passes: true},
	{begins: "MISCONF ", means: "the server cannot save to its disk, and takes no writes until it can"},
	{begins: "NOPERM ", means: needsACL},
	{begins: "ERR ACL failure in script", means: ": " + needsACL},
	{begins: "ERR The user executing the script can't run", means: " this command: " + needsACL},
	{begins: "WRONGTYPE ", means: "what is stored under the key is another program's"},
	{begins: "NOAUTH ", means: "the server asks for a password"},
	{begins: "WRONGPASS ", means: "the server does not accept the user or the password"},
	{begins: "LOADING ", means: "the server is loading its data", passes: true},
	{begins: "MASTERDOWN ", means: "the server is a replica without its master", passes: true},
	{begins: "CLUSTERDOWN ", means: "the cluster does not serve the key", passes: true},
	{begins: "TRYAGAIN ", means: "the cluster is moving the key", passes: true},
	{begins: "MOVED ", means: "the server is a node of a cluster: use redis.NewClusterClient"},
	{begins: "ASK ", means: "the server is a node of a cluster: use redis.NewClusterClient"},
	{begins: "BUSY ", means: "the server is running a script"},
	{begins: "ERR max number of clients reached", passes: true},
	{begins: "ERR unknown command", means: needsRedis, unknown: true},
	{begins: "ERR unknown or unsupported command", means: needsRedis, unknown: true},
	{begins: "ERR unsupported command", means: needsRedis, unknown: true},
	{begins: "ERR invalid password"},
	{begins: "ERR AUTH <password> called without any password configured"},
	{begins: "ERR DB index is out of range"},
	{begins: "ERR SELECT is not allowed in cluster mode"},
}

const (
	needsRedis = ": the store needs Redis 6.2 or Valkey"
	needsACL   = "the server does not permit this user what the store needs: docs/redis.md has an ACL"
)

// replyOf returns what err says a server has answered, if it is an answer. One
// that is not known begins with "".
func replyOf(err error) (reply redisReply, ok bool) {
	from, ok := errors.AsType[redis.Error](err)
	if !ok {
		return reply, false
	}
	text := from.Error()
	if strings.HasPrefix(text, "ERR Error running script") { // Redis 6 puts what the script's command got behind it
		if _, inner, ok := strings.Cut(text, ": -"); ok {
			text = inner
		} else {
			text = "ERR " + text[strings.LastIndex(text, ": ")+len(": "):]
		}
	}
	for _, known := range redisReplies {
		if strings.HasPrefix(text+" ", known.begins) {
			return known, true
		}
	}
	return reply, true
}

// redisErrors are the errors of the client that hold nothing of a reply.
var redisErrors = []error{
	io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded,
	redis.ErrClosed, redis.ErrPoolTimeout, redis.ErrPoolExhausted, redis.ErrAutoPipelineTimeout, redis.ErrAutoPipelineQueueFull,
}

// redisPhrases begin the client's other errors, behind which it may quote a reply.
var redisPhrases = []string{
	"redis: can't parse", "redis: invalid reply", "redis: unexpected", "redis: got", "redis: connection unusable",
	"redis: cluster has no nodes", "redis: all sentinels specified in configuration are unreachable",
}

// redisCause is err without what may be an argument of a command. All that it
// wraps can be shown as well.
func redisCause(err error) error {
	if u, ok := errors.AsType[unacknowledged](err); ok {
		return u
	}
	if reply, ok := replyOf(err); ok {
		if reply.begins == "" {
			reply.begins, reply.means = "ERR ", "a reply that is not shown, because it may repeat arguments"
		}
		return likeRedis(redis.Nil, reply.begins+reply.means)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && !errors.Is(err, context.Canceled) {
		return op
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return untrusted
	}
	for _, known := range redisErrors {
		if errors.Is(err, known) {
			return known
		}
	}
	cause := &opaqueError{
		text: fmt.Sprintf("the client failed with a %T", err),
		is:   func(target error) bool { return target != context.Canceled && errors.Is(err, target) },
	}
	for _, phrase := range redisPhrases {
		if strings.HasPrefix(err.Error(), phrase) {
			cause.text = phrase
		}
	}
	return cause
}

// likeRedis makes an error of go-redis' own type, so that [redis.HasErrorPrefix]
// and functions like [redis.IsOOMError] know it.
func likeRedis[T ~string](_ T, text string) T { return T(text) }

// An opaqueError can be compared, but shows nothing of the error that it stands
// for, in any format.
type opaqueError struct {
	text string
	is   func(target error) bool
}

func (e *opaqueError) Error() string { return e.text }

func (e *opaqueError) Is(target error) bool { return e.is(target) }

// redisError makes err one that [Store] promises.
func redisError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return ErrNotFound
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("sessions: %w", ctx.Err())
	}
	kind, cause := ErrUnavailable, redisCause(err)
	if _, ok := errors.AsType[definiteRefusal](err); ok {
		kind = ErrRefused
	}
	if ctx.Err() != nil && !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w: %w", kind, cause, ctx.Err())
	}
	return fmt.Errorf("%w: %w", kind, cause)
}

// A definiteRefusal is the answer to a write of which nothing else was sent.
type definiteRefusal struct{ error }

func (d definiteRefusal) Unwrap() error { return d.error }

// unacknowledged is the error of a write that the server has done and too few replicas have. It is a [redis.Error],
// because a server has answered.
type unacknowledged string

func (u unacknowledged) Error() string { return string(u) }

func (unacknowledged) RedisError() {}

// A redisSender sends commands.
type redisSender struct {
	rdb     redis.UniversalClient
	retries int  // of the client
	once    bool // the client does not send it again
	timeout time.Duration
	dial    *atomic.Pointer[dialFailure]

	replicas int           // that have to acknowledge a write
	waitTime time.Duration // for them to do so

	async *redis.AutoPipeliner // rdb, if that is an asynchronous one; else nil
	waits *redisWaits          // admits to async
}

// process sends a command and returns its error. If ctx ends first the command may still be on its way: then it must not
// be looked at, which would wait for it.
func (s redisSender) process(ctx context.Context, cmd redis.Cmder) error {
	return s.processAs(ctx, s.as(cmd))
}

// as is cmd, so that the client does not send it again if it must not.
func (s redisSender) as(cmd redis.Cmder) redis.Cmder {
	if s.once {
		return noRetry{cmd}
	}
	return cmd
}

// processAs is process for a command that tells itself whether it may be sent twice.
func (s redisSender) processAs(ctx context.Context, cmd redis.Cmder) error {
	if s.async == nil {
		_ = s.rdb.Process(ctx, cmd) // a client may have its error in cmd alone
		return cmd.Err()
	}
	place := s.waits.enter(ctx, "")
	if place == nil {
		return ctx.Err()
	}
	if err := await(ctx, place, s.async.Submit(ctx, cmd)); err != nil {
		return err
	}
	return cmd.Err()
}

// pipelined sends several commands in one round trip. Each has its own error. The one that is returned is that of ctx, with
// what process says of it.
func (s redisSender) pipelined(ctx context.Context, cmds ...redis.Cmder) error {
	if s.async == nil {
		p := s.rdb.Pipeline()
		for _, cmd := range cmds {
			_ = p.Process(ctx, s.as(cmd))
		}
		_, _ = p.Exec(ctx)
		return nil
	}
	place := s.waits.enter(ctx, "")
	if place == nil {
		return ctx.Err()
	}
	futures := make([]redis.AutoFuture, len(cmds))
	for i, cmd := range cmds {
		futures[i] = s.async.Submit(ctx, s.as(cmd))
	}
	return await(ctx, place, futures...)
}

// await waits until commands are done, or returns the error of ctx if that ends first. Their place is free when they are
// done.
func await(ctx context.Context, place chan struct{}, commands ...redis.AutoFuture) error {
	for i, f := range commands {
		if err := f.WaitContext(ctx); err != nil && errors.Is(err, ctx.Err()) {
			left := slices.Clone(commands[i:])
			go func() {
				for _, f := range left {
					_ = f.Wait()
				}
				<-place
			}()
			return ctx.Err()
		}
	}
	<-place
	return nil
}

// noRetry is a command that is not to be sent twice.
type noRetry struct{ redis.Cmder }

func (noRetry) NoRetry() bool { return true }

// getOnce is a command that returns a string, and a noRetry unless again: in
// one piece, for this is what every request does.
type getOnce struct {
	redis.StringCmd
	again bool
}

func (c *getOnce) NoRetry() bool { return !c.again }

// A redisKind is the kind of an operation.
type redisKind int

const (
	reading redisKind = iota
	writing
	writingOnce // if its reply is lost it is not sent again
	repairing   // a write that belongs to a read, and waits for no replica
)

// A dialFailure is the last time that the client could not connect. It dials a
// server that is not there for so long that most operations end before they are
// told, and what they end with is the deadline.
type dialFailure struct {
	err error
	at  time.Time
}

// whyLate returns the failure to connect of the last operations, if there was
// one within the Timeout, or else err.
func (s redisSender) whyLate(err error) error {
	if d := s.dial.Load(); d != nil && time.Since(d.at) <= s.timeout {
		return d.err
	}
	return err
}

// afterFirst goes on with what op has come to by commands that the client does
// not send again. So it is known what has become of them: a write that was
// refused has not been applied. It runs op as often as the client would if the
// server refuses for the moment, and once more, with the client's own retries,
// if there was no answer. Then a refusal is not definite, because the attempt
// without an answer may have been applied.
func afterFirst[R any](ctx context.Context, send redisSender, kind redisKind, result R, err error, op func(context.Context, redisSender) (R, error)) (R, error) {
	if err == nil {
		return result, nil
	}
	reply, answered := replyOf(err)
	for try := 0; try < send.retries && reply.passes && sleep(ctx, 8*time.Millisecond<<min(try, 6)); try++ {
		result, err = op(ctx, send)
		reply, answered = replyOf(err)
	}
	if isDial(err) {
		send.dial.Store(&dialFailure{err, time.Now()})
	}
	switch {
	case answered && reply.begins != "" && kind != reading:
		err = definiteRefusal{err}
	case !answered && kind != writingOnce && send.retries > 0 && isTransient(err) && ctx.Err() == nil:
		lost := err
		send.once = false
		result, err = op(ctx, send)
		if _, answered = replyOf(err); !answered && err != nil && ctx.Err() != nil {
			err = lost
		}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = send.whyLate(err)
	}
	return result, redisError(ctx, err)
}

// isTransient tells of an error of the client that it would send the command again.
func isTransient(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return !errors.Is(err, context.DeadlineExceeded) || isDial(err)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, redis.ErrPoolTimeout)
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// sleep returns false if ctx ends before d is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
