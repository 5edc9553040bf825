package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// connect opens the Redis of that URL. What it shows is for the other half,
// without a password.
func connect(ctx context.Context, rawURL string) (rdb *redis.Client, shown string, err error) {
	options, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, "", fmt.Errorf("-redis: %w: use redis://[:password@]host:port/db", err)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", fmt.Errorf("-redis: %w", err)
	}
	options.ContextTimeoutEnabled = true
	options.DialerRetries = 1 // a server that is not there is said at once
	logging.Disable()         // and once: what go-redis logs, the Manager returns
	rdb = redis.NewClient(options)
	if err := rdb.Ping(ctx).Err(); err != nil {
		_ = rdb.Close()
		return nil, "", fmt.Errorf("cannot reach Redis on %s: %w", options.Addr, err)
	}
	return rdb, u.Redacted(), nil
}
