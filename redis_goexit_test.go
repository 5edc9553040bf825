package sessions_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

func TestRedisStoreGoexit(t *testing.T) {
	t.Run("F9 a hook of the client that ends its goroutine, as t.FailNow does, is not a success", func(t *testing.T) {
		rdb := miniClient(t)
		rdb.AddHook(redisHook(func(context.Context, redis.Cmder, redis.ProcessHook) error {
			runtime.Goexit()
			return nil
		}))
		for op, call := range redisOps(sessions.NewRedisStore(rdb, sessions.RedisConfig{})) {
			if err := call(t.Context()); err == nil {
				t.Errorf("%s = nil", op)
			}
		}
	})
}
