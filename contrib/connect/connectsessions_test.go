package connectsessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	connect2 "connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/typedsessions/sessions"
)

// Account is what the tests' server knows of a client.
type Account struct {
	UserID string
	Views  int
}

func (a *Account) SessionOwner() string { return a.UserID }

// failing is a store whose loads or saves can fail.
type failing struct {
	*sessions.MemoryStore
	loads, saves atomic.Bool
	touch        atomic.Int64 // what the last load restarted the expiry by
}

func (s *failing) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	s.touch.Store(int64(touch))
	if s.loads.Load() {
		return nil, 0, sessions.ErrUnavailable
	}
	return s.MemoryStore.Load(ctx, key, touch)
}

func (s *failing) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if s.saves.Load() {
		return sessions.ErrUnavailable
	}
	return s.MemoryStore.Create(ctx, key, data, ttl)
}

func (s *failing) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if s.saves.Load() {
		return nil, sessions.ErrUnavailable
	}
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// An app is a server of the service, and a client of it with a cookie jar.
type app struct {
	service
	caller
	m     *sessions.Manager[Account]
	store *failing
	http  *http.Client
	url   string
	mu    sync.Mutex
	sent  []*http.Response // the client's responses
}

func newApp(t *testing.T, v version, protocol string, cfg sessions.Config) *app {
	t.Helper()
	a := &app{store: &failing{MemoryStore: &sessions.MemoryStore{}}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.ErrorHandler = v.errorHandler
	var err error
	if a.m, err = sessions.New[Account](a.store, cfg); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	v.mount(mux, &a.service)
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { _ = count(r.Context()) })
	s := httptest.NewUnstartedServer(a.m.Handler(mux))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	a.http, a.url = s.Client(), s.URL
	a.http.Jar, _ = cookiejar.New(nil)
	a.http.Transport = noting{a.http.Transport, a}
	a.caller = v.client(a.http, s.URL, protocol)
	return a
}

type noting struct {
	http.RoundTripper
	a *app
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := n.RoundTripper.RoundTrip(r)
	n.a.mu.Lock()
	defer n.a.mu.Unlock()
	n.a.sent = append(n.a.sent, res)
	return res, err
}

func count(ctx context.Context) error {
	sessions.FromContext[Account](ctx).Views++
	return nil
}

// does makes f the unary method, which answers the views.
func (a *app) does(f func(ctx context.Context) error) *app {
	a.service.unary = func(ctx context.Context) (string, error) {
		err := f(ctx)
		return fmt.Sprint(sessions.FromContext[Account](ctx).Views), err
	}
	return a
}

// views is what the store has for the client.
func (a *app) views(t *testing.T) (views string) {
	t.Helper()
	views, err := a.does(func(context.Context) error { return nil }).unaryCall(t)
	if err != nil {
		t.Fatal(err)
	}
	return views
}

func (a *app) unaryCall(t *testing.T) (string, error) { return a.caller.unary(t.Context()) }

func (a *app) must(t *testing.T, f func(ctx context.Context) error) string {
	t.Helper()
	views, err := a.does(f).unaryCall(t)
	if err != nil {
		t.Fatal(err)
	}
	return views
}

func (a *app) wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	if err == nil || a.code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, want %s with %q", err, code, text)
	}
}

func TestConnect(t *testing.T) {
	for _, v := range versions {
		for _, protocol := range []string{"connect", "get", "grpc", "grpcweb"} {
			t.Run(v.name+" "+protocol, func(t *testing.T) { test(t, v, protocol) })
		}
	}
}

func test(t *testing.T, v version, protocol string) {
	t.Run("L1 W1 the cookie is there, and the second call is counted", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		for want := range 3 {
			if got := a.must(t, count); got != fmt.Sprint(want+1) {
				t.Errorf("%s views, want %d", got, want+1)
			}
			if sent := a.sent[want].Cookies(); (len(sent) == 1) != (want == 0) {
				t.Errorf("call %d sends %d cookies", want, len(sent))
			}
		}
	})

	t.Run("W18 W7 a failed save, and C13 a failed load, fail the call with the right code", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{OnConflict: sessions.ConflictReject})
		a.must(t, count)
		a.store.saves.Store(true)
		res, err := a.does(count).unaryCall(t)
		a.wantCode(t, err, "unavailable", "Service Unavailable")
		if res != "" {
			t.Errorf("the response is sent: %q", res)
		}
		a.store.saves.Store(false)
		a.store.loads.Store(true)
		_, err = a.does(func(context.Context) error { t.Error("the handler runs"); return nil }).unaryCall(t)
		a.wantCode(t, err, "unavailable", "Service Unavailable")
		a.store.loads.Store(false)
		_, err = a.does(func(ctx context.Context) error {
			sessions.FromContext[Account](ctx).UserID = strings.Repeat("a", 70<<10)
			return nil
		}).unaryCall(t)
		a.wantCode(t, err, "internal", "Internal Server Error")
		if got := a.views(t); got != "1" {
			t.Errorf("%s views are stored", got)
		}
	})

	t.Run("W18 W7 a failed save fails a stream at its first message, which is not sent", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		a.must(t, count)
		a.store.saves.Store(true)
		a.service.stream = func(ctx context.Context, send func(string) error) error {
			_ = count(ctx)
			if err := send("a"); err == nil {
				t.Error("the first message is sent")
			}
			return nil
		}
		texts, err := a.caller.stream(t.Context())
		a.wantCode(t, err, "unavailable", "Service Unavailable")
		if len(texts) > 0 {
			t.Errorf("messages %q", texts)
		}
	})

	t.Run("W10 a stream's session is saved before the first message, and a later change when it ends", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		a.service.stream = func(ctx context.Context, send func(string) error) error {
			_ = count(ctx)
			if err := send("a"); err != nil {
				return err
			}
			_ = count(ctx)
			if err := a.m.Renew(ctx); !errors.Is(err, sessions.ErrCommitted) {
				t.Errorf("Renew: %v", err)
			}
			return a.m.Reload(ctx)
		}
		texts, err := a.caller.stream(t.Context())
		if err != nil || !slices.Equal(texts, []string{"a"}) || len(a.sent[0].Cookies()) != 1 {
			t.Errorf("%q, %v, cookies %v", texts, err, a.sent[0].Cookies())
		}
		if got := a.views(t); got != "1" {
			t.Errorf("%s views are stored", got)
		}
		a.service.stream = func(ctx context.Context, send func(string) error) error {
			defer count(ctx)
			return send("b")
		}
		_, err = a.caller.stream(t.Context())
		if got := a.views(t); err != nil || got != "2" {
			t.Errorf("%s views are stored, %v", got, err)
		}
	})

	t.Run("L12 L10 SignIn and Destroy", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		a.must(t, count)
		a.must(t, func(ctx context.Context) error {
			sessions.FromContext[Account](ctx).UserID = "ann"
			return a.m.SignIn(ctx)
		})
		list, err := a.m.SessionsOf(t.Context(), "ann")
		if before, after := a.sent[0].Cookies()[0].Value, a.sent[1].Cookies()[0].Value; before == after || len(list) != 1 || err != nil {
			t.Errorf("%d sessions, %v; the cookie is the one from before: %t", len(list), err, before == after)
		}
		a.must(t, a.m.Destroy)
		list, err = a.m.SessionsOf(t.Context(), "ann")
		if got := a.sent[2].Cookies(); len(list) != 0 || err != nil || len(got) != 1 || got[0].MaxAge >= 0 {
			t.Errorf("%d sessions, %v, cookies %v", len(list), err, got)
		}
	})

	t.Run("W8 a panic saves nothing more", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		a.must(t, count)
		_, err := a.does(func(ctx context.Context) error { _ = count(ctx); panic(http.ErrAbortHandler) }).unaryCall(t)
		if got := a.views(t); err == nil || got != "1" {
			t.Errorf("%v, %s views are stored", err, got)
		}
	})

	t.Run("L16 Skip, Passive and Label get the request, whose path is the method", func(t *testing.T) {
		skip, passive := false, false
		a := newApp(t, v, protocol, sessions.Config{
			Skip:    func(r *http.Request) bool { return skip && r.URL.Path == unaryMethod },
			Passive: func(r *http.Request) bool { return passive && r.URL.Path == unaryMethod },
			Label:   func(r *http.Request) string { return r.Method + r.URL.Path },
		})
		var info sessions.Info
		a.must(t, func(ctx context.Context) error {
			_ = count(ctx)
			err := a.m.Save(ctx)
			info = a.m.Info(ctx)
			return err
		})
		if want := map[bool]string{true: "GET", false: "POST"}[protocol == "get"] + unaryMethod; info.Label != want {
			t.Errorf("label %q, want %q", info.Label, want)
		}
		for _, passive = range []bool{true, false} {
			if a.must(t, count); a.store.touch.Load() > 0 == passive {
				t.Errorf("passive %t: the idle timeout is restarted by %d", passive, a.store.touch.Load())
			}
		}
		skip = true
		a.must(t, func(ctx context.Context) error {
			if _, ok := sessions.Lookup[Account](ctx); ok {
				t.Error("a skipped call has a session")
			}
			return nil
		})
	})

	t.Run("W12 F3 a client that goes does not keep the change from being saved, and the handler sees its deadline", func(t *testing.T) {
		a := newApp(t, v, protocol, sessions.Config{})
		a.must(t, count)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		ended := make(chan struct{})
		a.does(func(ctx context.Context) error {
			defer close(ended)
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Hour {
				t.Errorf("deadline %v, %t", at, ok)
			}
			_ = count(ctx)
			cancel()
			<-ctx.Done()
			if err := a.m.Save(ctx); err != nil {
				t.Error(err)
			}
			return ctx.Err()
		})
		_, err := a.caller.unary(ctx)
		<-ended
		a.wantCode(t, err, "canceled", "")
		if got := a.views(t); got != "2" {
			t.Errorf("%s views are stored", got)
		}
	})
}

func TestError(t *testing.T) {
	for _, v := range versions {
		code := v.client(http.DefaultClient, "", "connect").code
		for _, row := range []struct {
			err  error
			code string
			text string
		}{
			{fmt.Errorf("x: %w", sessions.ErrUnavailable), "unavailable", "Service Unavailable"},
			{sessions.ErrNewerVersion, "unavailable", "Service Unavailable"},
			{sessions.ErrGone, "aborted", "Conflict"},
			{sessions.ErrConflict, "aborted", "Conflict"},
			{sessions.ErrOwnerLimit, "failed_precondition", "Conflict"},
			{sessions.ErrNotFound, "not_found", "Not Found"},
			{sessions.ErrTooLarge, "internal", "Internal Server Error"},
			{io.EOF, "internal", "Internal Server Error"},
			{connect.NewError(connect.CodeDataLoss, io.EOF), "data_loss", "EOF"},
			{connect2.NewError(connect2.CodeDataLoss, "EOF"), "data_loss", "EOF"},
		} {
			if _, other := row.err.(*connect2.Error); row.code == "data_loss" && other != (v.name == "v2") {
				continue
			}
			if got := v.toError(row.err); code(got) != row.code || !strings.HasSuffix(got.Error(), row.text) {
				t.Errorf("%s: %v becomes %v", v.name, row.err, got)
			}
		}
		if err := v.toError(nil); err != nil {
			t.Errorf("nil becomes %v", err)
		}
	}
}

func TestPages(t *testing.T) {
	for _, v := range versions {
		t.Run("W18 W7 what is no call gets the default answer, "+v.name, func(t *testing.T) {
			a := newApp(t, v, "connect", sessions.Config{})
			a.store.saves.Store(true)
			for _, kind := range []string{"", "application/x-www-form-urlencoded", "application/json"} {
				method := map[bool]string{true: "GET", false: "POST"}[kind == ""]
				r, err := http.NewRequestWithContext(t.Context(), method, a.url+"/page", strings.NewReader(""))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", kind)
				res, err := a.http.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 503 || string(body) != "Service Unavailable\n" {
					t.Errorf("%s %s: %d %q", method, kind, res.StatusCode, body)
				}
			}
		})
	}
}

func TestRecover(t *testing.T) {
	t.Run("W8 a panic that Connect recovers is a return like any other, unless the session is reloaded", func(t *testing.T) {
		for _, reload := range []bool{false, true} {
			var a *app
			v := versions[0]
			v.mount = func(mux *http.ServeMux, s *service) {
				recovering := connect.WithRecover(func(ctx context.Context, _ connect.Spec, _ http.Header, _ any) error {
					if reload {
						_ = a.m.Reload(ctx)
					}
					return connect.NewError(connect.CodeInternal, errors.New("half done"))
				})
				mux.Handle(unaryMethod, connect.NewUnaryHandlerSimple(unaryMethod, func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
					text, err := s.unary(ctx)
					return wrapperspb.String(text), err
				}, recovering))
			}
			a = newApp(t, v, "connect", sessions.Config{})
			a.must(t, count)
			_, err := a.does(func(ctx context.Context) error { _ = count(ctx); panic("half done") }).unaryCall(t)
			a.wantCode(t, err, "internal", "half done")
			if got, want := a.views(t), map[bool]string{false: "2", true: "1"}[reload]; got != want {
				t.Errorf("reloaded %t: %s views are stored, want %s", reload, got, want)
			}
		}
	})
}

func TestDefaultErrorHandler(t *testing.T) {
	t.Run("W7 with the default ErrorHandler a 503 is unavailable, and a 409 is told as its client maps it", func(t *testing.T) {
		for _, v := range versions {
			for _, protocol := range []string{"connect", "get", "grpc", "grpcweb"} {
				v.errorHandler = nil
				a := newApp(t, v, protocol, sessions.Config{})
				a.must(t, func(ctx context.Context) error {
					sessions.FromContext[Account](ctx).UserID = "ann"
					return a.m.SignIn(ctx)
				})
				a.store.saves.Store(true)
				_, err := a.does(count).unaryCall(t)
				a.store.saves.Store(false)
				_, gone := a.does(func(ctx context.Context) error {
					_ = count(ctx)
					_, err := a.m.RevokeAll(context.Background(), "ann")
					return err
				}).unaryCall(t)
				a.wantCode(t, err, "unavailable", "503 Service Unavailable")
				a.wantCode(t, gone, "unknown", "409 Conflict")
			}
		}
	})
}
