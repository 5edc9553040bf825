package sessions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// otherCodec is the one that a test does not run with.
func otherCodec(c sessions.Codec) sessions.Codec {
	if c.Name() == "json" {
		return sessions.MsgPack{}
	}
	return sessions.JSON{}
}

func TestChangeOfCodec(t *testing.T) {
	codecOf := func(t *testing.T, store sessions.Store, token string) string {
		t.Helper()
		data, _, err := store.Load(t.Context(), keyOf(token), 0)
		if err != nil {
			t.Fatal(err)
		}
		var header struct{ C string }
		line, _, _ := bytes.Cut(data, []byte{'\n'})
		if err := json.Unmarshal(line, &header); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		return header.C
	}
	setup := func(t *testing.T, rdb *redis.Client, c sessions.Codec) (store sessions.Store, log *calls, old, m *sessions.Manager[Session]) {
		store, log = counted(redisStore(rdb))
		return store, log, newManager[Session](t, store, sessions.Config{Codec: otherCodec(c)}), newManager[Session](t, store, sessions.Config{Codec: c})
	}
	visit := func(t *testing.T, m *sessions.Manager[Session], token string, f func(ctx context.Context, s *Session)) sessions.Outcome {
		t.Helper()
		ctx, err := m.Load(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		f(ctx, m.FromContext(ctx))
		o, err := m.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}

	t.Run("K2 a record of the other codec loads, is left by a read and rewritten by the next save", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				store, log, old, m := setup(t, rdb, c)
				o := visit(t, old, "", func(_ context.Context, s *Session) { *s = full() })
				token := o.Token.Reveal()
				log.take()
				for range 3 {
					visit(t, m, token, func(_ context.Context, s *Session) {
						if !reflect.DeepEqual(*s, full()) {
							t.Errorf("loaded %+v", *s)
						}
					})
					wantCalls(t, log, "a read", "Load")
				}
				if got := codecOf(t, store, token); got != otherCodec(c).Name() {
					t.Errorf("a read left %s", got)
				}
				visit(t, m, token, func(_ context.Context, s *Session) { s.Views++ })
				if got := codecOf(t, store, token); got != c.Name() {
					t.Errorf("a save left %s", got)
				}
				want := full()
				want.Views++
				for _, m := range []*sessions.Manager[Session]{m, old} { // builds overlap in a rollout
					visit(t, m, token, func(ctx context.Context, s *Session) {
						if !reflect.DeepEqual(*s, want) || m.Info(ctx).ID != o.Info.ID {
							t.Errorf("after the save %+v", *s)
						}
					})
				}
			})
		})
	})

	t.Run("K2 two builds with different codecs share a session for a hundred saves and lose nothing", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				_, _, old, m := setup(t, rdb, c)
				token := visit(t, old, "", func(_ context.Context, s *Session) { *s = full() }).Token.Reveal()
				want := full()
				for i := range 100 {
					visit(t, []*sessions.Manager[Session]{m, old}[i%2], token, func(_ context.Context, s *Session) {
						if !reflect.DeepEqual(*s, want) {
							t.Fatalf("save %d loads %+v, want %+v", i, *s, want)
						}
						s.Views++
						s.Cart[0].Qty = i
						want.Views++
						want.Cart[0].Qty = i
					})
				}
			})
		})
	})

	t.Run("K2 a renewal changes the codec as a save does", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				store, _, old, m := setup(t, rdb, c)
				token := visit(t, old, "", func(_ context.Context, s *Session) { *s = full() }).Token.Reveal()
				o := visit(t, m, token, func(ctx context.Context, _ *Session) { do1(t, m.Renew, ctx) })
				if got := codecOf(t, store, o.Token.Reveal()); got != c.Name() {
					t.Errorf("the renewal left %s", got)
				}
				visit(t, m, o.Token.Reveal(), func(_ context.Context, s *Session) {
					if !reflect.DeepEqual(*s, full()) {
						t.Errorf("after the renewal %+v", *s)
					}
				})
			})
		})
	})

	t.Run("K2 a record with fields unknown to T stays in its codec, and the fields stay in it", func(t *testing.T) {
		type newer struct {
			Session
			Level  int64          `json:"level"`
			Nested map[string]any `json:"nested"`
		}
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				store, _, _, m := setup(t, rdb, c)
				next := newManager[newer](t, store, sessions.Config{Codec: otherCodec(c)})
				ctx, err := next.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				*next.FromContext(ctx) = newer{full(), math.MaxInt64, map[string]any{"a": "b"}}
				o, err := next.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				token := o.Token.Reveal()
				for _, f := range []func(ctx context.Context, s *Session){
					func(_ context.Context, s *Session) { s.Views = 100 },
					func(ctx context.Context, s *Session) { s.Flash = ""; do1(t, m.Save, ctx); s.Tags = nil },
					func(ctx context.Context, _ *Session) { do1(t, m.Renew, ctx) },
				} {
					if o := visit(t, m, token, f); o.Kind == sessions.OutcomeRenewed {
						token = o.Token.Reveal()
					}
					if got := codecOf(t, store, token); got != otherCodec(c).Name() {
						t.Errorf("a save left %s", got)
					}
				}
				ctx, err = next.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				want := newer{full(), math.MaxInt64, map[string]any{"a": "b"}}
				want.Views, want.Flash, want.Tags = 100, "", nil
				if got := *next.FromContext(ctx); !reflect.DeepEqual(got, want) {
					t.Errorf("the newer build reads %+v, want %+v", got, want)
				}
			})
		})
	})

	t.Run("K2 a codec that only Config.Codec can name is known by it, and its records are nobody else's", func(t *testing.T) {
		var store sessions.MemoryStore
		own := newManager[Session](t, &store, sessions.Config{Codec: renamed{sessions.JSON{}}})
		token := visit(t, own, "", func(_ context.Context, s *Session) { *s = full() }).Token.Reveal()
		visit(t, own, token, func(_ context.Context, s *Session) {
			if !reflect.DeepEqual(*s, full()) {
				t.Errorf("loaded %+v", *s)
			}
		})
		visit(t, newManager[Session](t, &store, sessions.Config{}), token, func(_ context.Context, s *Session) {
			if !reflect.DeepEqual(*s, Session{}) {
				t.Errorf("another codec's record was read as %+v", *s)
			}
		})
	})
}

type renamed struct{ sessions.JSON }

func (renamed) Name() string { return "own" }

func TestFoldedNames(t *testing.T) {
	t.Run("K3 a foreign name that equals a known one but for case is kept and not read", func(t *testing.T) {
		for name, payload := range map[string]string{
			"behind":  `{"user_id":"mine","USER_ID":"theirs"}`,
			"before":  `{"USER_ID":"theirs","user_id":"mine"}`,
			"alone":   `{"Flash":"theirs","user_id":"mine"}`,
			"Unicode": `{"u\u017fer_id":"theirs","user_id":"mine"}`,
		} {
			t.Run(name, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					var store sessions.MemoryStore
					m := newManager[Session](t, &store, sessions.Config{Codec: c})
					if err := store.Create(t.Context(), keyOf(oddToken), []byte(recordOf("json", payload)), time.Hour); err != nil {
						t.Fatal(err)
					}
					want := Session{UserID: "mine"}
					for range 3 {
						ctx, err := m.Load(t.Context(), oddToken)
						if err != nil {
							t.Fatal(err)
						}
						s := m.FromContext(ctx)
						if !reflect.DeepEqual(*s, want) {
							t.Errorf("read %+v, want %+v", *s, want)
						}
						s.Views++
						want = *s
						if _, err := m.Commit(ctx); err != nil {
							t.Fatal(err)
						}
					}
					data, _, err := store.Load(t.Context(), keyOf(oddToken), 0)
					if err != nil || !bytes.Contains(data, []byte("theirs")) {
						t.Errorf("the foreign field was lost: %q, %v", data, err)
					}
				})
			})
		}
	})
}
