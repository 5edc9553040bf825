package peers_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

var oursPeer = peer{
	name: "sessions",
	start: func(t *testing.T, addr string, h *hall) string {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { rdb.Close() })
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: h.timeout})
		m, err := sessions.New[visitor](store, sessions.Config{
			IdleTimeout: idle,
			Logger:      slog.New(slog.DiscardHandler),
			OnEvent: func(_ context.Context, e sessions.Event) {
				if e.Kind == sessions.EventUndelivered {
					h.undelivered.Add(1)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return serve(t, h, m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			act(h, r.URL.Path, r.URL.Query().Get, oursSession{m, r}, pageOf(w, r))
		})))
	},
}

// visitor has the fields of every scenario, the numbered ones for the 64 tabs
// that change one each.
type visitor struct {
	User, Theme, Lang string
	Count             int

	F0, F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12, F13, F14, F15           string
	F16, F17, F18, F19, F20, F21, F22, F23, F24, F25, F26, F27, F28, F29, F30, F31 string
	F32, F33, F34, F35, F36, F37, F38, F39, F40, F41, F42, F43, F44, F45, F46, F47 string
	F48, F49, F50, F51, F52, F53, F54, F55, F56, F57, F58, F59, F60, F61, F62, F63 string
}

type oursSession struct {
	m *sessions.Manager[visitor]
	r *http.Request
}

func (s oursSession) field(name string) reflect.Value {
	return reflect.ValueOf(s.m.FromContext(s.r.Context())).Elem().FieldByName(name)
}

func (s oursSession) get(field string) string {
	if v := s.field(field); v.IsValid() {
		return fmt.Sprint(v.Interface())
	}
	return ""
}

func (s oursSession) set(field, value string) { s.field(field).SetString(value) }

func (s oursSession) increment() error {
	return s.m.Update(s.r.Context(), func(v *visitor) error {
		v.Count++
		return nil
	})
}

func (s oursSession) renew() error { return s.m.Renew(s.r.Context()) }

func (s oursSession) signIn(user string) error {
	s.set("User", user)
	return s.m.SignIn(s.r.Context())
}

func (s oursSession) destroy() error { return s.m.Destroy(s.r.Context()) }
func (s oursSession) save() error    { return nil } // Handler does

func (s oursSession) context() context.Context { return s.r.Context() }

func (s oursSession) under(ctx context.Context) session {
	return oursSession{s.m, s.r.WithContext(ctx)}
}
