package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// fleetCodec is the codec that a record's header names.
func fleetCodec(t testing.TB, store sessions.Store, token string) string {
	t.Helper()
	line, _ := fleetStored(t, store, token)
	var header struct{ C string }
	if err := json.Unmarshal([]byte(line), &header); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return header.C
}

// fleetBoth is the T of the build that knows every field of the fleet.
type fleetBoth struct {
	fleetNew
	Dropped map[string]int `json:"dropped"`
	Legacy  *fleetNested   `json:"legacy"`
}

func TestFleetChangesCodec(t *testing.T) {
	const processes, goroutines, times = 2, 3, 15 // of each codec
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})
			began := newManager[fleetOld](t, store, sessions.Config{Codec: c})
			changed := newManager[fleetOld](t, store, sessions.Config{Codec: otherCodec(c)})
			all := newManager[fleetBoth](t, store, sessions.Config{Codec: c})

			for _, foreign := range []bool{false, true} {
				t.Run(fmt.Sprintf("K2 C9 Updates by builds of both codecs at once are counted exactly, with foreign fields %v", foreign), func(t *testing.T) {
					wantOld, wantNew := fleetFields()
					var token string
					if foreign {
						token = fleetTurn(t, all, "", func(_ context.Context, s *fleetBoth) {
							s.fleetNew, s.Dropped, s.Legacy = wantNew, wantOld.Dropped, wantOld.Legacy
						})
					} else {
						token = fleetTurn(t, began, "", func(_ context.Context, s *fleetOld) { *s = wantOld })
					}
					var writers sync.WaitGroup
					for p := range 2 * processes {
						codec := []sessions.Codec{c, otherCodec(c)}[p%2]
						m := newManager[fleetOld](t, store, sessions.Config{Codec: codec})
						for g := range goroutines {
							writers.Go(func() {
								for range times {
									ctx, err := m.Load(t.Context(), token)
									if err == nil {
										err = m.Update(ctx, func(s *fleetOld) error {
											s.Views++
											s.Dropped[fmt.Sprint(p, g)]++
											return nil
										})
									}
									if err != nil {
										t.Error(err)
									}
								}
							})
						}
					}
					writers.Wait()
					fleetTurn(t, changed, token, func(_ context.Context, s *fleetOld) {
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
					if got := fleetCodec(t, store, token); got != c.Name() {
						t.Errorf("the record with foreign fields has moved to %s", got)
					}
					fleetTurn(t, all, token, func(_ context.Context, s *fleetBoth) {
						s.Views = wantNew.Views
						if !fleetEqual(s.fleetNew, wantNew) {
							t.Errorf("the foreign fields became %+v", s.fleetNew)
						}
					})
				})
			}

			t.Run("K2 C7 two builds of both codecs save different fields at once, in either order", func(t *testing.T) {
				for i, pair := range [][2]*sessions.Manager[fleetOld]{{began, changed}, {changed, began}} {
					want, _ := fleetFields()
					token := fleetTurn(t, began, "", func(_ context.Context, s *fleetOld) { *s = want; s.Flash = "hello" })
					fleetTurn(t, pair[0], token, func(_ context.Context, s *fleetOld) {
						fleetTurn(t, pair[1], token, func(_ context.Context, s *fleetOld) { s.User, s.Flash = "bob", "" })
						s.Views = 9
					})
					want.User, want.Views = "bob", 9
					for _, m := range pair {
						fleetTurn(t, m, token, func(_ context.Context, s *fleetOld) {
							if !reflect.DeepEqual(*s, want) {
								t.Errorf("%+v, want %+v", *s, want)
							}
						})
					}
					if got, want := fleetCodec(t, store, token), []sessions.Codec{c, otherCodec(c)}[i].Name(); got != want {
						t.Errorf("the record is in %s, and the last one to save writes %s", got, want)
					}
				}
			})

			t.Run("K2 a record with foreign fields stays in its codec until T knows them, and then moves", func(t *testing.T) {
				wantOld, wantNew := fleetFields()
				know := newManager[fleetBoth](t, store, sessions.Config{Codec: otherCodec(c)})
				token := fleetTurn(t, all, "", func(_ context.Context, s *fleetBoth) {
					s.fleetNew, s.Dropped, s.Legacy = wantNew, wantOld.Dropped, wantOld.Legacy
				})
				step := func(what string, wantCodec sessions.Codec) {
					t.Helper()
					if got := fleetCodec(t, store, token); got != wantCodec.Name() {
						t.Errorf("%s leaves %s, want %s", what, got, wantCodec.Name())
					}
				}
				token = fleetTurn(t, changed, token, func(_ context.Context, s *fleetOld) { s.Views++ })
				step("a save by a T that does not know them", c)
				fleetTurn(t, know, token, func(context.Context, *fleetBoth) {})
				step("a read by a T that does", c)
				token = fleetTurn(t, know, token, func(_ context.Context, s *fleetBoth) { s.Views++ })
				step("a save by a T that does", otherCodec(c))
				token = fleetTurn(t, began, token, func(_ context.Context, s *fleetOld) { s.Views++ })
				step("a save by a T of the first codec that does not", otherCodec(c))
				token = fleetTurn(t, all, token, func(ctx context.Context, _ *fleetBoth) { must(t, all.Renew(ctx)) })
				step("a renewal by a T of the first codec that does", c)
				fleetTurn(t, all, token, func(_ context.Context, s *fleetBoth) {
					wantNew.Views = 3
					if !fleetEqual(s.fleetNew, wantNew) || !reflect.DeepEqual(s.Dropped, wantOld.Dropped) || !reflect.DeepEqual(s.Legacy, wantOld.Legacy) {
						t.Errorf("%+v", *s)
					}
				})
			})

			t.Run("K3 a cleared omitempty field is gone, whoever had written it, and no other build's default comes back", func(t *testing.T) {
				token := fleetTurn(t, changed, "", func(_ context.Context, s *fleetOld) { s.Flash, s.Views = "hello", 1 })
				fleetTurn(t, began, token, func(_ context.Context, s *fleetOld) { s.Flash = "" })
				if _, payload := fleetStored(t, store, token); strings.Contains(payload, "flash") {
					t.Errorf("it is still there: %q", payload)
				}
			})
		})
	})
}
