package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// An outage is told once, however often the store answers in between.
func TestOutageTold(t *testing.T) {
	t.Parallel()
	server := func(text string) error { return fmt.Errorf("%w: %s", sessions.ErrUnavailable, text) }
	for _, row := range []struct {
		name  string
		err   error
		ops   string // what fails
		key   bool   // for one session of three; otherwise for each
		cause string
	}{
		{"a key of another type", server("WRONGTYPE Operation against a key holding the wrong kind of value"), "Load CompareAndSwap Delete", true, "WRONGTYPE"},
		{"a dead shard", context.DeadlineExceeded, "Load CompareAndSwap Delete", true, `"no answer"`},
		{"a shard that refuses connections", server("dial tcp 127.0.0.1:1: connect: connection refused"), "Load CompareAndSwap Delete", true, `"no answer"`},
		{"a shard whose connections end", server("EOF"), "Load CompareAndSwap Delete", true, `"no answer"`},
		{"a slot that nobody serves", server("CLUSTERDOWN Hash slot not served"), "Load CompareAndSwap Delete", true, "CLUSTERDOWN"},
		{"a full server", server("OOM command not allowed when used memory > 'maxmemory'."), "Create CompareAndSwap", false, "OOM"},
		{"a replica", server("READONLY You can't write against a read only replica."), "Create CompareAndSwap Delete", false, "READONLY"},
		{"a server without its replicas", server("NOREPLICAS Not enough good replicas to write."), "Create CompareAndSwap Delete", false, "NOREPLICAS"},
		{"a server that cannot save", server("MISCONF Redis is configured to save RDB snapshots"), "Create CompareAndSwap Delete", false, "MISCONF"},
		{"an ACL without a command", server("NOPERM this user has no permissions to run the 'evalsha' command"), "CompareAndSwap", false, "NOPERM"},
		{"a server that loads its data", server("LOADING Redis is loading the dataset in memory"), "Load Create CompareAndSwap Delete", false, "LOADING"},
	} {
		kit.EachBubble(t, "F12 of 2,000 requests two lines tell of it: "+row.name, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c, IdleTimeout: time.Hour})
			tokens := []string{a.Seed(1), a.Seed(1), a.Seed(1)}
			a.Log.Take()
			failed := 0
			a.Store.Before = func(op, key string) error {
				if strings.Contains(row.ops, op) && (!row.key || key == kit.KeyOf(tokens[0])) {
					failed++
					return row.err
				}
				return nil
			}
			visits := func(n int) {
				for i := range n {
					a.Ask(func(_ http.ResponseWriter, r *http.Request) {
						if s := a.FromContext(r.Context()); i%7 == 0 {
							s.Views++
						}
					}, kit.CookieName+"="+tokens[i%3])
					time.Sleep(10 * time.Millisecond)
				}
			}
			visits(2000)
			if failed < 200 {
				t.Fatalf("only %d operations failed", failed)
			}
			wantLines(t, a.Log.Take(), `level=ERROR msg="sessions: the store is unavailable" op=`)
			unavailable := 0
			for _, kind := range a.Events.Kinds() {
				switch kind {
				case sessions.EventUnavailable:
					unavailable++
				case sessions.EventRecovered:
					t.Error("it has recovered before its end")
				}
			}
			if unavailable != failed {
				t.Errorf("%d events of %d failures", unavailable, failed)
			}

			a.Store.Before = nil
			visits(2000)
			lines := a.Log.Take()
			wantLines(t, lines, `level=INFO msg="sessions: the store answers again" op=`)
			if want := fmt.Sprintf(" cause=%s lasted=%v repeats=%d", row.cause, lasted(lines), failed-1); len(lines) == 1 && !strings.HasSuffix(lines[0], want) {
				t.Errorf("log %q, want it to end in %q", lines[0], want)
			}
			if d, err := time.ParseDuration(lasted(lines)); err != nil || d < 15*time.Second || d > 20*time.Second {
				t.Errorf("it lasted %v, want some twenty seconds", d)
			}
		})
	}

	t.Run("F12 one key of another type among good ones, 2,000 requests to a server: one line when it begins", func(t *testing.T) {
		kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
			a := kit.NewApp(t, kit.InProcess, kit.RedisStore(rdb), sessions.Config{})
			good := a.Seed(1)
			kit.Must(t, rdb.LPush(t.Context(), "session:"+kit.KeyOf(kit.HandToken), "x").Err())
			for range 1000 {
				for _, token := range []string{good, kit.HandToken} {
					a.Ask(func(_ http.ResponseWriter, r *http.Request) { a.FromContext(r.Context()) }, kit.CookieName+"="+token)
				}
			}
			wantLines(t, a.Log.Take(), `level=ERROR msg="sessions: the store is unavailable" op=load session="" route=GET cause=WRONGTYPE err=`)
		})
	})
}

// Who counts what has begun must not lose the line to somebody else's mistake.
func TestToldBeforeHooks(t *testing.T) {
	t.Parallel()
	kit.Bubble(t, "F9 F12 an OnEvent that panics keeps no line of an outage from the log", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) {
			if e.Kind == sessions.EventRecovered {
				panic("hook")
			}
		}})
		token := a.Seed(1)
		a.Log.Take()
		visit := func() { handle(a.Manager, token, func(context.Context) {}) }
		for _, cause := range []string{"LOADING", "CLUSTERDOWN"} {
			a.Store.Fail(fmt.Errorf("%w: %s", sessions.ErrUnavailable, cause))
			visit()
		}
		a.Store.Heal()
		time.Sleep(quiet)
		wantPanic(t, visit)
		visit()
		begins, ends := `level=ERROR msg="sessions: the store is unavailable"`, `level=INFO msg="sessions: the store answers again"`
		wantLines(t, a.Log.Take(), begins, begins, ends, ends)
	})
}

// lasted is that part of the first line.
func lasted(lines []string) string {
	_, d, _ := strings.Cut(strings.Join(lines, " "), "lasted=")
	d, _, _ = strings.Cut(d, " ")
	return d
}

func TestUnknownTokensTold(t *testing.T) {
	t.Parallel()
	// ask sends n requests, with tokens from the first one on.
	ask := func(a *kit.App, first, n int) {
		for i := range n {
			a.Ask(func(http.ResponseWriter, *http.Request) {}, kit.CookieName+"="+kit.UnknownToken(first+i))
		}
	}
	kit.EachBubble(t, "F15 a burst of unknown tokens is one event and one line a minute, with their number", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
		ask(a, 0, 99)
		a.WantEvents(t)
		ask(a, 99, 901)
		time.Sleep(time.Minute)
		ask(a, 1000, 500)
		events := a.Events.Take()
		if len(events) != 2 || events[0].Kind != sessions.EventUnknownTokens || events[0].Count != 100 || events[1].Kind != sessions.EventUnknownTokens || events[1].Count != 1000 {
			t.Errorf("events %+v, want two", events)
		}
		const line = `level=WARN msg="sessions: many unknown tokens within a minute: somebody guesses, or the store has lost its records" op=load session="" route=GET count=`
		wantLines(t, a.Log.Take(), line+"100", line+"1000")
	})
	kit.EachBubble(t, "F15 a token is not unknown if it is of no shape, or renewed, or its record expired or cannot be read, or the store does not answer", func(t *testing.T, c sessions.Codec) {
		a := kit.NewApp(t, kit.InProcess, kit.Immortal(), sessions.Config{Codec: c, Lifetime: time.Hour})
		renewed, expired := a.Seed(1), make([]string, 200)
		kit.MustRequest(t, a.Manager, renewed, a.Renew)
		kit.Place(t, a.Store, kit.HandToken, "no record")
		read := func(http.ResponseWriter, *http.Request) {}
		for range 200 {
			a.Ask(read, kit.CookieName+"=of no shape")
			a.Ask(read, kit.CookieName+"="+renewed)
			a.Ask(read, kit.CookieName+"="+kit.HandToken)
		}
		for i := range expired {
			expired[i] = kit.Edit(t, a.Manager, "", func(s *kit.Session) { s.Views = 1 })
		}
		time.Sleep(2 * time.Hour)
		for _, token := range expired {
			a.Ask(read, kit.CookieName+"="+token)
		}
		a.Store.Fail(errDown)
		ask(a, 0, 200)
		for _, kind := range a.Events.Kinds() {
			if kind == sessions.EventUnknownTokens {
				t.Error("they are told as unknown")
			}
		}
	})
}

// What each request could write again is written once a minute.
func TestRepeatsTold(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		kind sessions.EventKind
		ask  func(t *testing.T, a *kit.App, token string)
	}{
		{"a record that cannot be read", sessions.EventUndecodable, func(t *testing.T, a *kit.App, _ string) {
			kit.Place(t, a.Store, kit.HandToken, "no record")
			a.Ask(func(http.ResponseWriter, *http.Request) {}, kit.CookieName+"="+kit.HandToken)
		}},
		{"two sessions", sessions.EventTwoSessions, func(t *testing.T, a *kit.App, token string) {
			other := kit.Edit(t, a.Manager, "", func(s *kit.Session) { s.Views = 1 })
			a.Ask(func(http.ResponseWriter, *http.Request) {}, kit.CookieName+"="+token+"; "+kit.CookieName+"="+other)
		}},
		{"a session that is too large, each time by another size", sessions.EventFailed, func(t *testing.T, a *kit.App, token string) {
			a.Ask(func(_ http.ResponseWriter, r *http.Request) {
				s := a.FromContext(r.Context())
				s.Flash = strings.Repeat("x", 70_000+int(time.Now().UnixMilli()%1000))
				kit.WantErr(t, "Save", a.Save(r.Context()), sessions.ErrTooLarge)
				s.Flash = ""
			}, kit.CookieName+"="+token)
		}},
		{"a change that comes too late", sessions.EventLateChange, func(_ *testing.T, a *kit.App, _ string) {
			a.Ask(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(200)
				a.FromContext(r.Context()).Views++
			})
		}},
		{"a token that may not have arrived", sessions.EventUndelivered, func(_ *testing.T, a *kit.App, _ string) {
			ctx, cancel := context.WithCancelCause(context.Background())
			kit.Serve(a.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views++
				cancel(errors.New("client gone"))
			})), kit.With("", "/").WithContext(ctx))
		}},
	} {
		kit.EachBubble(t, "F16 of what comes with each request, one line is written a minute, with the number of those left out: "+row.name, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c, MaxSize: 64 << 10})
			token := a.Seed(1)
			ask := func(n int) {
				for range n {
					time.Sleep(time.Millisecond)
					row.ask(t, a, token)
				}
			}
			ask(100)
			if lines := a.Log.Take(); len(lines) != 1 || strings.Contains(lines[0], "repeats=") {
				t.Errorf("log %q, want one line", lines)
			}
			time.Sleep(time.Minute)
			ask(2)
			if lines := a.Log.Take(); len(lines) != 1 || !strings.Contains(lines[0], " repeats=99") {
				t.Errorf("a minute later: log %q, want one line with 99 repeats", lines)
			}
			events := 0
			for _, kind := range a.Events.Kinds() {
				if kind == row.kind {
					events++
				}
			}
			if events != 102 {
				t.Errorf("%d events %v, want each of 102", events, row.kind)
			}
		})
	}

	kit.Bubble(t, "F16 a line of another route is another line", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		for _, path := range []string{"/a", "/b"} {
			a.Handle(path, func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
				w.WriteHeader(200)
				s.Views++
			})
		}
		for range 3 {
			a.Browser().Get("/a")
			a.Browser().Get("/b")
		}
		lines := a.Log.Take()
		if len(lines) != 2 || !strings.Contains(lines[0], `route="GET /a"`) || !strings.Contains(lines[1], `route="GET /b"`) {
			t.Errorf("log %q, want a line for each", lines)
		}
	})
}
