package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
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

// embed runs a Redis inside this process. miniredis does not expire keys by
// itself, so its clock is moved along with the real one.
func embed() (addr string, stop func(), err error) {
	mini, err := miniredis.Run()
	if err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	var clock sync.WaitGroup
	clock.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case now := <-tick.C:
				mini.FastForward(now.Sub(last))
				last = now
			case <-done:
				return
			}
		}
	})
	return mini.Addr(), func() {
		close(done)
		clock.Wait()
		mini.Close()
	}, nil
}

// display makes ":9091" something that a browser takes.
func display(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err != nil || ip != nil && !ip.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", port)
}
