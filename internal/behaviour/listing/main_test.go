package listing_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it prints every connection that it loses
	kit.Main(m)
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
