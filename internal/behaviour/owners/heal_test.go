package owners_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A store may be able to read and not to write, for hours, and each read of a session would ask it to list that.
func TestListingFails(t *testing.T) {
	t.Parallel()
	row := func(name string, f func(t *testing.T, d *devices)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, newDevices(t, kit.Memory(), sessions.Config{})) })
		})
	}
	read := func(d *devices, token string) {
		d.t.Helper()
		d.visit(token, func(ctx context.Context, _ *session) {
			if d.mine.Info(ctx).New {
				d.t.Error("the session is not found")
			}
		})
	}

	row("O10 a store that takes no writes is asked to list a session once in ten seconds, and does so when it can", func(t *testing.T, d *devices) {
		token, asked := d.signIn("ann"), 0
		d.store.Before = func(op, _ string) error {
			if op != "Relist" {
				return nil
			}
			asked++
			return sessions.ErrUnavailable
		}
		d.loseIndex("ann")
		for range 5 {
			read(d, token)
		}
		if asked != 1 {
			t.Errorf("five reads ask %d times, want once", asked)
		}
		d.store.Before = nil
		time.Sleep(10 * time.Second)
		read(d, token)
		d.wantListed("ann", token)
	})

	row("O10 a client that hangs up does not put off the end of its revoked session", func(t *testing.T, d *devices) {
		token := d.signIn("ann")
		d.loseIndex("ann")
		_, err := d.mine.RevokeAll(t.Context(), "ann")
		kit.Must(t, err)
		ctx, hangUp := context.WithCancel(t.Context())
		d.store.Before = func(op, _ string) error {
			if op == "Relist" {
				hangUp()
			}
			return nil
		}
		_, err = d.mine.Load(ctx, token)
		kit.Must(t, err)
		d.store.Before = nil
		d.visit(token, func(ctx context.Context, _ *session) {
			if !d.mine.Info(ctx).New {
				t.Error("it is found")
			}
		})
	})
}

func TestListsWhatNeverExpires(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		t.Run("O10 a session that somebody has made never expire is listed again", func(t *testing.T) {
			d := newDevices(t, kit.RedisStore(rdb), sessions.Config{IdleTimeout: -1, Lifetime: time.Hour})
			token := d.signIn("ann")
			kit.Must(t, rdb.Persist(t.Context(), "session:"+kit.KeyOf(token)).Err())
			d.loseIndex("ann")
			d.visit(token, func(context.Context, *session) {})
			d.wantListed("ann", token)
			if left := indexes(t, rdb); len(left) != 1 || left[0].left <= 0 {
				t.Errorf("the index is %+v, want an expiry", left)
			}
		})
	})
}
