package moving

import (
	"context"
	"net/http"
	"time"
)

// touch restarts the IdleTimeout and the age of the cookie when half of them is over. It does not Commit as scs does,
// because that would bring back a session that another request has ended.
func (o SCS) touch(ctx context.Context, w http.ResponseWriter, token string) error {
	key := "scs:session:" + token
	left, err := o.Redis.PTTL(ctx, key).Result()
	if err != nil || left > o.IdleTimeout/2 {
		return err
	}
	end := time.Now().Add(min(o.IdleTimeout, time.Until(o.Deadline(ctx))))
	found, err := o.Redis.PExpireAt(ctx, key, end).Result()
	if err == nil && found {
		o.WriteSessionCookie(ctx, w, token, end)
		w.Header().Set("Cache-Control", "no-store")
	}
	return err
}
