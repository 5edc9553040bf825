package owners_test

import (
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// docs/redis.md has these numbers.
func TestIndexMemory(t *testing.T) {
	t.Parallel()
	for _, b := range redistest.Servers(t) {
		t.Run("O5 an index costs at most 140 bytes a session at three a user, on "+b.Version, func(t *testing.T) {
			ctx, rdb := t.Context(), b.Start(t).Client(t)
			m := kit.New[session](t, kit.RedisStore(rdb), sessions.Config{})
			for _, n := range []int{1, 3, 10, 129} {
				kit.Must(t, rdb.FlushAll(ctx).Err())
				for range n {
					_, err := signIn(m, "ann")
					kit.Must(t, err)
				}
				x := indexes(t, rdb)[0]
				used := func(key string) int64 {
					bytes, err := rdb.MemoryUsage(ctx, key, 0).Result()
					kit.Must(t, err)
					return bytes
				}
				// A key as it would be without braces.
				key := x.sessionKey(x.members[0])
				short := strings.Replace(key, "{"+braces(key)+"}", "", 1)
				kit.Must(t, rdb.Set(ctx, short, rdb.Get(ctx, key).Val(), time.Hour).Err())
				index := float64(used(x.key)) / float64(n)
				t.Logf("%d sessions a user: %.0f bytes of index a session, and %d of a longer key (%d in all)", n, index, used(key)-used(short), used(key))
				if n == 3 && index > 140 {
					t.Errorf("%.0f bytes a session, want at most 140", index)
				}
			}
		})
	}
}
