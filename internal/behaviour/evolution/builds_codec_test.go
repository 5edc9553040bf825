package evolution_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// buildBoth is the T of the build that knows every field of both.
type buildBoth struct {
	buildNew
	Dropped map[string]int `json:"dropped"`
	Legacy  *buildNested   `json:"legacy"`
}

func TestBuildsChangeCodec(t *testing.T) {
	t.Parallel()
	const processes, goroutines = 2, 3 // of each codec
	times := 15
	if testing.Short() {
		times = 3
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.RedisStore(rdb)
			began := kit.New[buildOld](t, store, sessions.Config{Codec: c})
			changed := kit.New[buildOld](t, store, sessions.Config{Codec: otherCodec(c)})
			all := kit.New[buildBoth](t, store, sessions.Config{Codec: c})

			for _, foreign := range []bool{false, true} {
				t.Run(fmt.Sprintf("K2 C9 Updates by builds of both codecs at once are counted exactly, with foreign fields %v", foreign), func(t *testing.T) {
					t.Parallel()
					wantOld, wantNew := buildFields()
					token := ""
					if foreign {
						token = kit.Edit(t, all, "", func(s *buildBoth) { *s = buildBoth{wantNew, wantOld.Dropped, wantOld.Legacy} })
					} else {
						token = kit.Edit(t, began, "", func(s *buildOld) { *s = wantOld })
					}
					var writers sync.WaitGroup
					for p := range 2 * processes {
						codec := []sessions.Codec{c, otherCodec(c)}[p%2]
						m := kit.New[buildOld](t, store, sessions.Config{Codec: codec})
						for g := range goroutines {
							writers.Go(func() {
								for range times {
									_, err := kit.Request(t.Context(), m, token, func(ctx context.Context) error {
										return m.Update(ctx, func(s *buildOld) error {
											s.Views++
											s.Dropped[fmt.Sprint(p, g)]++
											return nil
										})
									})
									kit.OK(t, err)
								}
							})
						}
					}
					writers.Wait()
					kit.Edit(t, changed, token, func(s *buildOld) {
						if want := 2 * processes * goroutines * times; s.Views != want {
							t.Errorf("%d views, want %d", s.Views, want)
						}
						for p := range 2 * processes {
							for g := range goroutines {
								if got := s.Dropped[fmt.Sprint(p, g)]; got != times {
									t.Errorf("goroutine %d of process %d counts %d, want %d", g, p, got, times)
								}
							}
						}
						if !reflect.DeepEqual(s.Legacy, wantOld.Legacy) {
							t.Errorf("another field became %+v", s.Legacy)
						}
					})
					if !foreign {
						return
					}
					wantCodec(t, store, token, "a build that does not know its fields", c)
					kit.Edit(t, all, token, func(s *buildBoth) {
						s.Views = wantNew.Views
						if !buildEqual(s.buildNew, wantNew) {
							t.Errorf("the foreign fields became %+v", s.buildNew)
						}
					})
				})
			}

			t.Run("K2 C7 two builds of both codecs save different fields at once, in either order", func(t *testing.T) {
				for i, pair := range [][2]*sessions.Manager[buildOld]{{began, changed}, {changed, began}} {
					want, _ := buildFields()
					token := kit.Edit(t, began, "", func(s *buildOld) { *s = want; s.Flash = "hello" })
					kit.Edit(t, pair[0], token, func(s *buildOld) {
						kit.Edit(t, pair[1], token, func(s *buildOld) { s.User, s.Flash = "bob", "" })
						s.Views = 9
					})
					want.User, want.Views = "bob", 9
					for _, m := range pair {
						kit.Edit(t, m, token, func(s *buildOld) {
							if !reflect.DeepEqual(*s, want) {
								t.Errorf("%+v, want %+v", *s, want)
							}
						})
					}
					wantCodec(t, store, token, "the last one to save", []sessions.Codec{c, otherCodec(c)}[i])
				}
			})

			t.Run("K2 a record with foreign fields stays in its codec until T knows them, and then moves", func(t *testing.T) {
				wantOld, wantNew := buildFields()
				know := kit.New[buildBoth](t, store, sessions.Config{Codec: otherCodec(c)})
				token := kit.Edit(t, all, "", func(s *buildBoth) { *s = buildBoth{wantNew, wantOld.Dropped, wantOld.Legacy} })
				token = kit.Edit(t, changed, token, func(s *buildOld) { s.Views++ })
				wantCodec(t, store, token, "a save by a T that does not know them", c)
				kit.Edit(t, know, token, func(*buildBoth) {})
				wantCodec(t, store, token, "a read by a T that does", c)
				token = kit.Edit(t, know, token, func(s *buildBoth) { s.Views++ })
				wantCodec(t, store, token, "a save by a T that does", otherCodec(c))
				token = kit.Edit(t, began, token, func(s *buildOld) { s.Views++ })
				wantCodec(t, store, token, "a save by a T of the first codec that does not", otherCodec(c))
				token = turn(t, all, token, func(ctx context.Context, _ *buildBoth) { kit.Must(t, all.Renew(ctx)) })
				wantCodec(t, store, token, "a renewal by a T of the first codec that does", c)
				kit.Edit(t, all, token, func(s *buildBoth) {
					wantNew.Views = 3
					if !buildEqual(s.buildNew, wantNew) || !reflect.DeepEqual(s.Dropped, wantOld.Dropped) || !reflect.DeepEqual(s.Legacy, wantOld.Legacy) {
						t.Errorf("%+v", *s)
					}
				})
			})

			t.Run("K3 a cleared omitempty field is gone, whoever had written it, and no other build's default comes back", func(t *testing.T) {
				token := kit.Edit(t, changed, "", func(s *buildOld) { s.Flash, s.Views = "hello", 1 })
				kit.Edit(t, began, token, func(s *buildOld) { s.Flash = "" })
				if _, payload := stored(t, store, token); strings.Contains(payload, "flash") {
					t.Errorf("it is still there: %q", payload)
				}
			})
		})
	})
}
