package update_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// eachServer runs a test with both codecs on both kinds of server.
func eachServer(t *testing.T, name string, f func(t *testing.T, rdb *redis.Client, c sessions.Codec)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, rdb, c) })
		})
	})
}

// commands are how often the server ran each command since its counters were reset.
func commands(t *testing.T, rdb *redis.Client) map[string]int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	kit.Must(t, err)
	n := map[string]int{}
	for _, m := range regexp.MustCompile(`cmdstat_(\w+):calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		n[m[1]], _ = strconv.Atoi(m[2])
	}
	return n
}

// A crowd are requests that have all loaded before one of them goes on.
type crowd struct {
	loaded, done sync.WaitGroup
	released     chan struct{}
}

func newCrowd() *crowd { return &crowd{released: make(chan struct{})} }

// join adds a request, which calls wait when it has loaded.
func (c *crowd) join(request func(wait func())) {
	c.loaded.Add(1)
	c.done.Go(func() {
		request(func() {
			c.loaded.Done()
			<-c.released
		})
	})
}

// release lets them go on, and returns when they have ended.
func (c *crowd) release() {
	c.loaded.Wait()
	close(c.released)
	c.done.Wait()
}

func TestCounts(t *testing.T) {
	t.Parallel()
	requests, each, loop := 1000, 100, 200
	if kit.RaceEnabled {
		requests, each, loop = 400, 25, 100
	}
	if testing.Short() {
		requests, each, loop = 200, 10, 50
	}

	eachServer(t, "C9 a thousand requests at once in four processes that update a counter count exactly", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		all, crowd := processes(t, 4, rdb, c), newCrowd()
		token := kit.MustRequest(t, all[0], "", kit.Put(all[0], "ann"))
		for i := range requests {
			m := all[i%4]
			crowd.join(func(wait func()) {
				res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					wait()
					kit.OK(t, m.Update(r.Context(), viewed))
				})), kit.With(token, "/"))
				if res.StatusCode != 200 || len(res.Cookies()) > 0 {
					t.Errorf("status %d, cookies %v", res.StatusCode, res.Cookies())
				}
			})
		}
		crowd.release()
		wantViews(t, kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{}), token, requests)
	})

	t.Run("C9 a thousand Updates at once in one process are a thousand swaps, five in a hundred more at most, and one GETEX each", func(t *testing.T) {
		t.Parallel()
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			rdb := redistest.Start(t).Client(t)
			m := processes(t, 1, rdb, c)[0]
			token := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			kit.MustRequest(t, m, token, kit.Put(m, "warm")) // the script is loaded now
			kit.Must(t, rdb.ConfigResetStat(t.Context()).Err())
			var all sync.WaitGroup
			for range requests {
				all.Go(func() {
					_, err := kit.Request(t.Context(), m, token, view(m))
					kit.OK(t, err)
				})
			}
			all.Wait()
			n := commands(t, rdb)
			if n["evalsha"] < requests || n["evalsha"] > requests*105/100 || n["getex"] != requests {
				t.Errorf("commands %v for %d requests", n, requests)
			}
			wantViews(t, m, token, requests)
		})
	})

	eachServer(t, "C9 C7 Updates of one field and plain changes of others lose nothing of each other", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		all, crowd := processes(t, 4, rdb, c), newCrowd()
		token := kit.Edit(t, all[0], "", func(s *kit.Session) { *s = kit.Full() })
		run := func(i int, f func(ctx context.Context, m *sessions.Manager[kit.Session]) error) {
			m := all[i%4]
			crowd.join(func(wait func()) {
				_, err := kit.Request(t.Context(), m, token, func(ctx context.Context) error {
					wait()
					return f(ctx, m)
				})
				kit.OK(t, err)
			})
		}
		want := kit.Full()
		want.Views += each
		for i := range each {
			run(i, func(ctx context.Context, m *sessions.Manager[kit.Session]) error { return m.Update(ctx, viewed) })
			run(i, func(ctx context.Context, m *sessions.Manager[kit.Session]) error {
				return m.Update(ctx, func(s *kit.Session) error { s.Prefs[fmt.Sprint("n", i)] = i; return nil })
			})
			want.Prefs[fmt.Sprint("n", i)] = i
		}
		for i, change := range []func(s *kit.Session){
			func(s *kit.Session) { s.UserID = "bob" },
			func(s *kit.Session) { s.Flash = "" },
			func(s *kit.Session) { s.Cart = append(s.Cart, kit.Item{SKU: "c", Qty: 3}) },
			func(s *kit.Session) { s.Tags["t1"] = "changed" },
		} {
			run(i, func(ctx context.Context, m *sessions.Manager[kit.Session]) error {
				change(m.FromContext(ctx))
				return nil
			})
			change(&want)
		}
		crowd.release()
		if got := kit.Stored(t, all[0], token); !reflect.DeepEqual(got, want) {
			t.Errorf("stored is %+v, want %+v", got, want)
		}
	})

	eachServer(t, "C9 Updates in tight loops, each in one request of its own process, count exactly", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		two := processes(t, 2, rdb, c)
		token := kit.MustRequest(t, two[0], "", kit.Put(two[0], "ann"))
		var all sync.WaitGroup
		for _, m := range two {
			all.Go(func() {
				_, err := kit.Request(t.Context(), m, token, func(ctx context.Context) error {
					for range loop {
						if err := m.Update(ctx, viewed); err != nil {
							return err
						}
					}
					return nil
				})
				kit.OK(t, err)
			})
		}
		all.Wait()
		wantViews(t, two[0], token, 2*loop)
	})

	for _, kind := range []string{"stored", "new"} {
		eachServer(t, "C9 Updates by sixteen goroutines of one request go one by one and count exactly, for a session that is "+kind, func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
			const goroutines = 16
			each := loop / 10
			rdb.FlushAll(t.Context())
			m, token := processes(t, 1, rdb, c)[0], ""
			if kind == "stored" {
				token = kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			}
			res := kit.Serve(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inside := 0
				var all sync.WaitGroup
				for range goroutines {
					all.Go(func() {
						for range each {
							kit.OK(t, m.Update(r.Context(), func(s *kit.Session) error {
								if inside++; inside != 1 { // the race detector looks at this too
									t.Errorf("%d functions run at once", inside)
								}
								defer func() { inside-- }()
								return viewed(s)
							}))
							_ = m.Info(r.Context())
						}
					})
				}
				all.Wait()
				if got := m.FromContext(r.Context()).Views; got != goroutines*each {
					t.Errorf("*T has %d views", got)
				}
			})), kit.With(token, "/"))
			if kind == "new" {
				token = kit.TokenOf(res.Header)
			}
			if n := len(res.Header["Set-Cookie"]); n > 1 || n == 1 && kind == "stored" {
				t.Errorf("cookies %q", res.Header["Set-Cookie"])
			}
			wantViews(t, m, token, goroutines*each)
			if left := kit.Keys(t, rdb); len(left) != 1 {
				t.Errorf("keys %q, want one", left)
			}
		})
	}
}

// Updates of four processes which do nothing else.
func TestLoops(t *testing.T) {
	t.Run("C9 four processes on one server in tight loops, and nobody gets ErrConflict", func(t *testing.T) {
		span := 2 * time.Second
		if testing.Short() {
			span /= 20
		}
		rdb := redistest.Start(t).Client(t)
		var runners []*runner
		for range 4 {
			own := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr})
			t.Cleanup(func() { own.Close() })
			// The default Timeout: with a longer one ErrConflict would be later than the end.
			runners = append(runners, &runner{m: kit.New[kit.Session](t, sessions.NewRedisStore(own, sessions.RedisConfig{}), sessions.Config{})})
		}
		first := runners[0].m
		token := kit.MustRequest(t, first, "", kit.Put(first, "ann"))
		var all sync.WaitGroup
		for _, u := range runners {
			all.Go(func() { u.run(t, t.Context(), token, span) })
		}
		all.Wait()
		total := 0
		for i, u := range runners {
			u.report(t, fmt.Sprint("process ", i))
			for _, err := range u.errs {
				t.Errorf("process %d: %v", i, err)
			}
			total += len(u.waits)
		}
		wantViews(t, first, token, total)
	})
}
