package sessions_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// updateProcesses are n Managers on one server, each with a client of its own.
func updateProcesses(t *testing.T, n int, rdb *redis.Client, c sessions.Codec) (all []*sessions.Manager[Session]) {
	for range n {
		own := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr})
		t.Cleanup(func() { own.Close() })
		store := sessions.NewRedisStore(own, sessions.RedisConfig{Timeout: 20 * time.Second}) // a busy machine is no fault here
		all = append(all, mustNew(t, store, sessions.Config{Codec: c}))
	}
	return all
}

// eachUpdateRedis runs a test with both codecs on both kinds of server.
func eachUpdateRedis(t *testing.T, name string, f func(t *testing.T, rdb *redis.Client, c sessions.Codec)) {
	t.Run(name, func(t *testing.T) {
		eachRedis(t, func(t *testing.T, rdb *redis.Client) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, rdb, c) })
		})
	})
}

// wantViews looks with another Manager than those that have written.
func wantViews(t *testing.T, m *sessions.Manager[Session], token string, want int) {
	t.Helper()
	if got := (desk{m, t}).views(token); got != want {
		t.Errorf("%d views, want %d", got, want)
	}
}

// commands are how often the server ran each command since its counters were reset.
func commands(t *testing.T, rdb *redis.Client) map[string]int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "commandstats").Result()
	must(t, err)
	n := map[string]int{}
	for _, m := range regexp.MustCompile(`cmdstat_(\w+):calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		n[m[1]], _ = strconv.Atoi(m[2])
	}
	return n
}

func viewed(s *Session) error {
	s.Views++
	return nil
}

func TestUpdateCounts(t *testing.T) {
	const requests = 1000

	eachUpdateRedis(t, "C9 a thousand requests at once in four processes that update a counter count exactly", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		processes := updateProcesses(t, 4, rdb, c)
		token := mustRequest(t, processes[0], "", put(processes[0], "ann"))
		var ready, all sync.WaitGroup
		release := make(chan struct{})
		ready.Add(requests)
		for i := range requests {
			m := processes[i%4]
			h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ready.Done() // all have loaded before one updates
				<-release
				if err := m.Update(r.Context(), viewed); err != nil {
					t.Error(err)
				}
			}))
			all.Go(func() {
				if res := serve(h, with(token, "/")); res.StatusCode != 200 || len(res.Cookies()) > 0 {
					t.Errorf("status %d, cookies %v", res.StatusCode, res.Cookies())
				}
			})
		}
		ready.Wait()
		start := time.Now()
		close(release)
		all.Wait()
		t.Logf("%d Updates in %v", requests, time.Since(start))
		wantViews(t, mustNew(t, redisStore(rdb), sessions.Config{}), token, requests)
	})

	t.Run("C9 a thousand Updates at once in one process are a thousand swaps, five in a hundred more at most, and one GETEX each", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			rdb := redistest.Start(t).Client(t)
			m := updateProcesses(t, 1, rdb, c)[0]
			token := mustRequest(t, m, "", put(m, "ann"))
			mustRequest(t, m, token, put(m, "warm")) // the script is loaded now
			must(t, rdb.ConfigResetStat(t.Context()).Err())
			h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if err := m.Update(r.Context(), viewed); err != nil {
					t.Error(err)
				}
			}))
			var all sync.WaitGroup
			for range requests {
				all.Go(func() { serve(h, with(token, "/")) })
			}
			all.Wait()
			n := commands(t, rdb)
			t.Logf("%d EVALSHA, %d GETEX, %d GET for %d requests", n["evalsha"], n["getex"], n["get"], requests)
			if n["evalsha"] < requests || n["evalsha"] > requests*105/100 || n["getex"] != requests {
				t.Errorf("commands %v", n)
			}
			wantViews(t, m, token, requests)
		})
	})

	eachUpdateRedis(t, "C9 C7 Updates of one field and plain changes of others lose nothing of each other", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		processes := updateProcesses(t, 4, rdb, c)
		token := mustRequest(t, processes[0], "", func(ctx context.Context) error {
			*processes[0].FromContext(ctx) = full()
			return nil
		})
		plain := []func(s *Session){
			func(s *Session) { s.UserID = "bob" },
			func(s *Session) { s.Flash = "" },
			func(s *Session) { s.Cart = append(s.Cart, Item{"c", 3}) },
			func(s *Session) { s.Tags["t1"] = "changed" },
		}
		var ready, all sync.WaitGroup
		release := make(chan struct{})
		run := func(i int, f func(ctx context.Context, m *sessions.Manager[Session]) error) {
			m := processes[i%4]
			ready.Add(1)
			all.Go(func() {
				if _, err := request(t.Context(), m, token, func(ctx context.Context) error {
					ready.Done()
					<-release
					return f(ctx, m)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		const each = 100
		for i := range each {
			run(i, func(ctx context.Context, m *sessions.Manager[Session]) error { return m.Update(ctx, viewed) })
			run(i, func(ctx context.Context, m *sessions.Manager[Session]) error {
				return m.Update(ctx, func(s *Session) error { s.Prefs[fmt.Sprint("n", i)] = i; return nil })
			})
		}
		for i, change := range plain {
			run(i, func(ctx context.Context, m *sessions.Manager[Session]) error {
				change(m.FromContext(ctx))
				return nil
			})
		}
		ready.Wait()
		close(release)
		all.Wait()
		want := full()
		want.Views += each
		for i := range each {
			want.Prefs[fmt.Sprint("n", i)] = i
		}
		for _, change := range plain {
			change(&want)
		}
		mustRequest(t, processes[0], token, func(ctx context.Context) error {
			got := processes[0].FromContext(ctx)
			if got.Views != want.Views || got.UserID != want.UserID || got.Flash != want.Flash ||
				len(got.Cart) != len(want.Cart) || !maps.Equal(got.Prefs, want.Prefs) || !maps.Equal(got.Tags, want.Tags) {
				t.Errorf("stored is %+v, want %+v", *got, want)
			}
			return nil
		})
	})

	eachUpdateRedis(t, "C9 Updates in tight loops, each in one request of its own process, count exactly", func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
		const each = 200
		processes := updateProcesses(t, 2, rdb, c)
		token := mustRequest(t, processes[0], "", put(processes[0], "ann"))
		var all sync.WaitGroup
		for _, m := range processes {
			all.Go(func() {
				if _, err := request(t.Context(), m, token, func(ctx context.Context) error {
					for range each {
						if err := m.Update(ctx, viewed); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantViews(t, processes[0], token, 2*each)
	})

	for _, kind := range []string{"stored", "new"} {
		eachUpdateRedis(t, "C9 Updates by sixteen goroutines of one request go one by one and count exactly, for a session that is "+kind, func(t *testing.T, rdb *redis.Client, c sessions.Codec) {
			const goroutines, each = 16, 20
			m := updateProcesses(t, 1, rdb, c)[0]
			token := ""
			if kind == "stored" {
				token = mustRequest(t, m, "", put(m, "ann"))
			}
			h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inside := 0
				var all sync.WaitGroup
				for range goroutines {
					all.Go(func() {
						for range each {
							if err := m.Update(r.Context(), func(s *Session) error {
								if inside++; inside != 1 { // the race detector looks at this too
									t.Errorf("%d functions run at once", inside)
								}
								defer func() { inside-- }()
								return viewed(s)
							}); err != nil {
								t.Error(err)
							}
							_ = m.Info(r.Context())
						}
					})
				}
				all.Wait()
				if got := m.FromContext(r.Context()).Views; got != goroutines*each {
					t.Errorf("*T has %d views", got)
				}
			}))
			res := serve(h, with(token, "/"))
			if kind == "new" {
				token = tokenOf(res.Header)
			}
			if n := len(res.Header["Set-Cookie"]); n > 1 || n == 1 && kind == "stored" {
				t.Errorf("cookies %q", res.Header["Set-Cookie"])
			}
			wantViews(t, m, token, goroutines*each)
			if left := keys(t, rdb); len(left) != 1 {
				t.Errorf("keys %q, want one", left)
			}
			rdb.FlushAll(t.Context())
		})
	}
}

// The time that the Updates of four processes take which do nothing else.
func TestUpdateLoops(t *testing.T) {
	t.Run("C9 four processes on one server in tight loops, and nobody gets ErrConflict", func(t *testing.T) {
		rdb := redistest.Start(t).Client(t)
		var runners []*runner
		for range 4 {
			own := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr})
			t.Cleanup(func() { own.Close() })
			runners = append(runners, &runner{m: mustNew(t, redisStore(own), sessions.Config{})})
		}
		token := mustRequest(t, runners[0].m, "", put(runners[0].m, "ann"))
		must(t, rdb.ConfigResetStat(t.Context()).Err())
		var all sync.WaitGroup
		for _, u := range runners {
			all.Go(func() { u.run(t, t.Context(), token, 2*time.Second) })
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
		t.Logf("%d Updates, %d EVALSHA", total, commands(t, rdb)["evalsha"])
		wantViews(t, runners[0].m, token, total)
	})
}
