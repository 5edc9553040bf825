package owners_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// On a cluster a key in another slot would fail the whole step.
func TestForeignMembers(t *testing.T) {
	t.Parallel()
	rdb := redistest.StartCluster(t, 2).Client(t)
	for _, cfg := range []sessions.Config{
		{},
		{MaxPerOwner: perOwner},
		{MaxPerOwner: perOwner, OnOwnerLimit: sessions.Reject},
	} {
		t.Run(fmt.Sprintf("O6 O11 what is no session's leaves an index on a cluster, with a limit of %d (%v)", cfg.MaxPerOwner, cfg.OnOwnerLimit), func(t *testing.T) {
			user := t.Name()
			d := newDevices(t, kit.RedisStore(rdb), cfg)
			index := "session:" + kit.IndexOf(user)
			kit.Must(t, rdb.ZAdd(t.Context(), index, redis.Z{Score: 1, Member: "foreign"}, redis.Z{Score: 2, Member: "of another length"}).Err())
			var tokens []string
			for len(tokens) < 6 && (cfg.MaxPerOwner == 0 || len(tokens) < perOwner) {
				tokens = append(tokens, d.signIn(user))
			}
			d.wantListed(user, tokens...)
			if got := rdb.ZCard(t.Context(), index).Val(); got != int64(len(tokens)) {
				t.Errorf("%d entries of %d sessions", got, len(tokens))
			}
		})
	}
}
