package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

var errDown = fmt.Errorf("%w: fault of the test", sessions.ErrUnavailable)

func TestStoreDown(t *testing.T) {
	t.Parallel()
	t.Run("F1 without a cookie there is no store call and the page is served", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		a.Store.Fail(errDown)
		for name, read := range map[string]func(context.Context){
			"unused": func(context.Context) {},
			"read":   func(ctx context.Context) { _ = a.FromContext(ctx).UserID },
			"asked":  func(ctx context.Context) { a.Info(ctx) },
			"touch":  func(ctx context.Context) { _ = a.Touch(ctx) },
			"ended":  func(ctx context.Context) { _ = a.Destroy(ctx) },
		} {
			res := handle(a.Manager, "", read)
			if res.StatusCode != 200 || len(res.Header["Set-Cookie"]) != 0 {
				t.Errorf("%s: status %d, cookies %q", name, res.StatusCode, res.Header["Set-Cookie"])
			}
			a.WantCalls(t, name, "")
		}
	})

	t.Run("F1 a cookie that is no token costs no store call either", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		a.Store.Fail(errDown)
		if res := handle(a.Manager, "x", func(ctx context.Context) { a.FromContext(ctx) }); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
		a.WantCalls(t, "the request", "")
	})

	kit.Bubble(t, "F1 F12 every request of an outage is an event, its beginning and its end one log line each", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		token := a.Seed(1)
		a.Log.Take()
		for range 2 {
			a.Store.Fail(errDown)
			for range 3 {
				wantUnavailable(t, handle(a.Manager, token, func(context.Context) {}))
			}
			a.Store.Heal()
			time.Sleep(quiet)
			for range 3 {
				if res := handle(a.Manager, token, func(context.Context) {}); res.StatusCode != 200 {
					t.Errorf("after the outage: status %d", res.StatusCode)
				}
			}
			u := sessions.EventUnavailable
			a.WantEvents(t, u, u, u, sessions.EventRecovered)
			wantLines(t, a.Log.Take(),
				`level=ERROR msg="sessions: the store is unavailable" op=load session="" route=GET cause="no answer" err=`,
				`level=INFO msg="sessions: the store answers again" op=load session="" route=GET cause="no answer" lasted=0s repeats=2`)
		}
	})
}

func TestCancelledRequest(t *testing.T) {
	t.Parallel()
	// wantNoOutage compares the error of a load that was cancelled, and what is told of it.
	wantNoOutage := func(t *testing.T, err error, events *kit.Events, log *kit.Log) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("Load: %v, want context.Canceled alone", err)
		}
		if kinds, lines := events.Kinds(), log.Take(); len(kinds)+len(lines) > 0 {
			t.Errorf("events %v, log %q", kinds, lines)
		}
	}

	for name, cause := range map[string]error{"cancelled": context.Canceled, "client gone": errors.New("client gone")} {
		t.Run("F1 a request cancelled while it loads is no outage: "+name, func(t *testing.T) {
			kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
				a := kit.NewApp(t, kit.InProcess, kit.RedisStore(rdb), sessions.Config{})
				token := a.Seed(1)
				ctx, cancel := context.WithCancelCause(t.Context())
				g := a.Store.At("before Load")
				done := make(chan error)
				go func() {
					_, err := a.Load(ctx, token)
					done <- err
				}()
				g.Wait()
				cancel(cause)
				g.Open()
				wantNoOutage(t, <-done, a.Events, a.Log)
			})
		})
	}

	t.Run("F1 a request cancelled while the server is silent is no outage", func(t *testing.T) {
		log, events := &kit.Log{}, &kit.Events{}
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		for _, d := range []dial{client(redis.Options{}), oneNode(redis.ClusterOptions{})} {
			g := redistest.NewGate()
			on(proxy, redistest.Before(g), "getex")
			m := kit.New[kit.Session](t, kit.RedisStore(d.open(t, proxy.Addr)), sessions.Config{Logger: log.Logger(), OnEvent: events.On})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-g.Reached()
				cancel()
			}()
			_, err := m.Load(ctx, kit.UnknownToken(1))
			wantNoOutage(t, err, events, log)
		}
	})
}

func TestDownBetweenLoadAndSave(t *testing.T) {
	t.Parallel()
	for name, cookie := range map[string]bool{"a stored session": true, "a new session": false} {
		t.Run("F2 a store that is down at the save of "+name+": 503 and nothing of the page", func(t *testing.T) {
			a := kit.NewApp(t, kit.HTTP2, kit.Memory(), sessions.Config{})
			kit.Routes(a.Mux, a.Manager)
			a.Handle("/page", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
				a.Store.Fail(errDown)
				s.UserID = "bob"
				w.Header().Set("Content-Type", "text/plain; charset=page")
				w.Header().Set("Etag", `"page"`)
				w.WriteHeader(201)
				fmt.Fprint(w, "the page")
			})
			b := a.Browser()
			if cookie {
				b.MustGet("/set?v=ann", "ok")
			}
			token := b.Token()
			got := b.Get("/page")
			wantUnavailable(t, got.Response)
			if got.Text != "Service Unavailable\n" || got.Header.Get("Etag") != "" || b.Token() != token {
				t.Errorf("body %q, Etag %q, cookie changed: %v", got.Text, got.Header.Get("Etag"), b.Token() != token)
			}
			a.Store.Heal()
			if cookie {
				b.MustGet("/get", "ann")
			}
		})
	}
}
