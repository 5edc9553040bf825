package evolution_test

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestChangeOfCodec(t *testing.T) {
	t.Parallel()
	type manager = *sessions.Manager[kit.Session]
	// each runs a test of a build that has another codec than the old one.
	each := func(name string, f func(t *testing.T, store *kit.Store, c sessions.Codec, old, m manager)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
				kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
					store := &kit.Store{Store: kit.RedisStore(rdb)}
					f(t, store, c, kit.New[kit.Session](t, store, sessions.Config{Codec: otherCodec(c)}), kit.New[kit.Session](t, store, sessions.Config{Codec: c}))
				})
			})
		})
	}
	fill := func(s *kit.Session) { *s = kit.Full() }

	each("K2 a record of the other codec loads, is left by a read and rewritten by the next save", func(t *testing.T, store *kit.Store, c sessions.Codec, old, m manager) {
		id := ""
		token := kit.Edit(t, old, "", fill)
		turn(t, old, token, func(ctx context.Context, _ *kit.Session) { id = old.Info(ctx).ID })
		store.Calls()
		for range 3 {
			kit.Edit(t, m, token, func(s *kit.Session) {
				if !reflect.DeepEqual(*s, kit.Full()) {
					t.Errorf("loaded %+v", *s)
				}
			})
			store.WantCalls(t, "a read", "Load")
		}
		wantCodec(t, store, token, "a read", otherCodec(c))
		kit.Edit(t, m, token, func(s *kit.Session) { s.Views++ })
		wantCodec(t, store, token, "a save", c)
		want := kit.Full()
		want.Views++
		for _, m := range []manager{m, old} { // builds overlap in a rollout
			turn(t, m, token, func(ctx context.Context, s *kit.Session) {
				if !reflect.DeepEqual(*s, want) || m.Info(ctx).ID != id {
					t.Errorf("after the save %+v", *s)
				}
			})
		}
	})

	each("K2 two builds with different codecs share a session for a hundred saves and lose nothing", func(t *testing.T, _ *kit.Store, _ sessions.Codec, old, m manager) {
		token, want := kit.Edit(t, old, "", fill), kit.Full()
		for i := range 100 {
			kit.Edit(t, []manager{m, old}[i%2], token, func(s *kit.Session) {
				if !reflect.DeepEqual(*s, want) {
					t.Fatalf("save %d loads %+v, want %+v", i, *s, want)
				}
				for _, s := range []*kit.Session{s, &want} {
					s.Views++
					s.Cart[0].Qty = i
				}
			})
		}
	})

	each("K2 a renewal changes the codec as a save does", func(t *testing.T, store *kit.Store, c sessions.Codec, old, m manager) {
		token := kit.Verb(t, m, kit.Edit(t, old, "", fill), "Renew")
		wantCodec(t, store, token, "the renewal", c)
		if got := kit.Stored(t, m, token); !reflect.DeepEqual(got, kit.Full()) {
			t.Errorf("after the renewal %+v", got)
		}
	})

	each("K2 a record with fields unknown to T stays in its codec, and the fields stay in it", func(t *testing.T, store *kit.Store, c sessions.Codec, _, m manager) {
		type newer struct {
			kit.Session
			Level  int64          `json:"level"`
			Nested map[string]any `json:"nested"`
		}
		next := kit.New[newer](t, store, sessions.Config{Codec: otherCodec(c)})
		want := newer{kit.Full(), math.MaxInt64, map[string]any{"a": "b"}}
		token := kit.Edit(t, next, "", func(s *newer) { *s = want })
		for _, f := range []func(ctx context.Context, s *kit.Session){
			func(_ context.Context, s *kit.Session) { s.Views = 100 },
			func(ctx context.Context, s *kit.Session) { s.Flash = ""; kit.OK(t, m.Save(ctx)); s.Tags = nil },
			func(ctx context.Context, _ *kit.Session) { kit.OK(t, m.Renew(ctx)) },
		} {
			token = turn(t, m, token, f)
			wantCodec(t, store, token, "a save", otherCodec(c))
		}
		want.Views, want.Flash, want.Tags = 100, "", nil
		if got := kit.Stored(t, next, token); !reflect.DeepEqual(got, want) {
			t.Errorf("the newer build reads %+v, want %+v", got, want)
		}
	})

	t.Run("K2 a codec that only Config.Codec can name is known by it, and its records are nobody else's", func(t *testing.T) {
		store := kit.Memory()
		own := kit.New[kit.Session](t, store, sessions.Config{Codec: renamed{sessions.JSON{}}})
		token := kit.Edit(t, own, "", fill)
		if got := kit.Stored(t, own, token); !reflect.DeepEqual(got, kit.Full()) {
			t.Errorf("loaded %+v", got)
		}
		kit.Edit(t, kit.New[kit.Session](t, store, sessions.Config{}), token, func(s *kit.Session) {
			if !reflect.DeepEqual(*s, kit.Session{}) {
				t.Errorf("another codec's record was read as %+v", *s)
			}
		})
	})
}

type renamed struct{ sessions.JSON }

func (renamed) Name() string { return "own" }

func TestFoldedNames(t *testing.T) {
	t.Parallel()
	t.Run("K3 a foreign name that equals a known one but for case is kept and not read", func(t *testing.T) {
		for name, payload := range map[string]string{
			"behind":  `{"user_id":"mine","USER_ID":"theirs"}`,
			"before":  `{"USER_ID":"theirs","user_id":"mine"}`,
			"alone":   `{"Flash":"theirs","user_id":"mine"}`,
			"Unicode": `{"u\u017fer_id":"theirs","user_id":"mine"}`,
		} {
			t.Run(name, func(t *testing.T) {
				kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
					store := kit.Memory()
					m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
					kit.Place(t, store, kit.HandToken, kit.RecordOf("json", payload))
					want := kit.Session{UserID: "mine"}
					for range 3 {
						kit.Edit(t, m, kit.HandToken, func(s *kit.Session) {
							if !reflect.DeepEqual(*s, want) {
								t.Errorf("read %+v, want %+v", *s, want)
							}
							s.Views++
							want = *s
						})
					}
					if record := kit.RecordUnder(t, store, kit.HandToken); !strings.Contains(record, "theirs") {
						t.Errorf("the foreign field was lost: %q", record)
					}
				})
			})
		}
	})
}
