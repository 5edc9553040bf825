package sessions

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/record"
)

// scanCount is how many keys the server looks at in one step of Keys.
const scanCount = 500

// Keys lists every key in the store once, without the prefix, for maintenance: it scans every master. A Manager's indexes
// of users' sessions are left out. It is no list of sessions: the store sees opaque bytes, and the mark of a renewal is
// among them for ten seconds. A key that comes, goes or moves meanwhile may be missing. Timeout bounds each step, ctx the
// whole. An error is the last pair.
func (s *RedisStore) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		masters, err := s.masters(ctx)
		if err != nil {
			yield("", err)
			return
		}
		match := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s.prefix) + "*"
		type page struct {
			keys []string
			next uint64
		}
		seen := make(map[string]struct{}) // SCAN repeats keys while a table is resized
		for _, master := range masters {
			var at page
			for first := true; first || at.next != 0; first = false {
				cursor := at.next
				at, err = withinTimeout(ctx, s, "", reading, func(ctx context.Context, send redisSender) (p page, err error) {
					send.rdb = master
					cmd := redis.NewScanCmd(ctx, nil, "scan", cursor, "match", match, "count", scanCount)
					if err = send.process(ctx, cmd); err != nil {
						return p, err
					}
					p.keys, p.next, err = cmd.Result()
					return p, err
				})
				if err != nil {
					yield("", err)
					return
				}
				for _, key := range at.keys {
					key = strings.TrimPrefix(key, s.prefix)
					if _, again := seen[key]; again || record.IsIndex(key) {
						continue
					}
					seen[key] = struct{}{}
					if !yield(key, nil) {
						return
					}
				}
			}
		}
	}
}

// masters returns the nodes that Keys has to scan.
func (s *RedisStore) masters(ctx context.Context) ([]redis.UniversalClient, error) {
	switch c := s.rdb.(type) {
	case *redis.Client:
		return []redis.UniversalClient{c}, s.invalid
	case *redis.ClusterClient:
		return withinTimeout(ctx, s, "", reading, func(ctx context.Context, _ redisSender) (masters []redis.UniversalClient, err error) {
			var mu sync.Mutex
			err = c.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error {
				mu.Lock()
				defer mu.Unlock()
				masters = append(masters, master)
				return nil
			})
			return masters, err
		})
	default:
		info, err := withinTimeout(ctx, s, "", reading, func(ctx context.Context, send redisSender) (string, error) {
			cmd := redis.NewStringCmd(ctx, "info", "cluster")
			if err := send.process(ctx, cmd); err != nil {
				return "", err
			}
			return cmd.Result()
		})
		if strings.Contains(info, "cluster_enabled:1") {
			err = errors.New("sessions: RedisStore: Keys cannot reach each master of a cluster through this client; build a store on the *redis.ClusterClient")
		}
		return []redis.UniversalClient{c}, err
	}
}
