package model_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// A crash is the death of a process, for one request: when it has sent so many commands it sends no other.
type crash struct{ left atomic.Int64 }

type crashKey struct{}

var errCrashed = errors.New("the process is dead")

// crashing is the context of a visit's calls.
func (v *visit) crashing() context.Context {
	if v.Crash == 0 {
		return context.Background()
	}
	if v.crash == nil {
		v.crash = &crash{}
		v.crash.left.Store(int64(v.Crash))
	}
	return context.WithValue(context.Background(), crashKey{}, v.crash)
}

// crashes are a hook for the client of a worker.
type crashes struct{}

func dead(ctx context.Context, n int) bool {
	c, ok := ctx.Value(crashKey{}).(*crash)
	return ok && c.left.Add(-int64(n)) < 0
}

func (crashes) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (crashes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if dead(ctx, 1) {
			cmd.SetErr(errCrashed)
			return errCrashed
		}
		return next(ctx, cmd)
	}
}

func (crashes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !dead(ctx, len(cmds)) {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errCrashed)
		}
		return errCrashed
	}
}
