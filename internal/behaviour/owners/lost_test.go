package owners_test

import (
	"context"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// forgetful has a part of its owner that no codec stores.
type forgetful struct {
	User string `json:"user"`
	Host string `json:"-" msgpack:"-"`
}

func (f *forgetful) SessionOwner() string { return f.User + f.Host }

// Where T is another user's when it is read again, RevokeAll would pass the session by.
func TestOwnerIsLost(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		for name, owned := range map[string]forgetful{"partly in a field that is not stored": {User: "a", Host: "nn"}, "no UTF-8": {User: "a\xffb"}} {
			if owned.Host == "" && c.Name() == "msgpack" { // which keeps it
				continue
			}
			for _, by := range []string{"SignIn", "Save", "Update", "Commit"} {
				for before, stored := range map[string]bool{"no session": false, "a visitor's session": true} {
					t.Run("O3 O6 "+by+" is refused where the owner is "+name+", after "+before, func(t *testing.T) {
						store := &kit.Store{Store: kit.Memory()}
						m := kit.New[forgetful](t, store, sessions.Config{Codec: c, SaveUninitialized: stored})
						old, was, want := "", "", 0
						if stored {
							old = kit.MustRequest(t, m, "", func(context.Context) error { return nil })
							was, want = kit.RecordUnder(t, store, old), 1
						}
						ctx, f := kit.Load(t, m, old)
						var err error
						if by == "Update" {
							err = m.Update(ctx, func(f *forgetful) error { *f = owned; return nil })
						} else {
							*f = owned
							err = kit.Call(m, ctx, by)
						}
						if err == nil || !strings.Contains(err.Error(), "SessionOwner") || strings.Contains(err.Error(), "ann") {
							t.Errorf("the error is %v", err)
						}
						if live, marks := store.Left(t); live != want || marks != 0 {
							t.Errorf("%d sessions and %d marks are left", live, marks)
						}
						if stored && kit.RecordUnder(t, store, old) != was {
							t.Error("the visitor's session was written")
						}
					})
				}
			}
		}
	})
}
