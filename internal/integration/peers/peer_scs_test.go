package peers_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

var scsPeer = peer{
	name:    "scs",
	modules: []string{"github.com/alexedwards/scs/v2", "github.com/alexedwards/scs/goredisstore"},
	start: func(t *testing.T, addr string, h *hall) string {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { rdb.Close() })
		m := scs.New()
		m.Store = goredisstore.New(rdb)
		m.IdleTimeout = idle
		m.Cookie.Secure = true
		return serve(t, h, m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			act(h, r.URL.Path, r.URL.Query().Get, scsSession{m, r}, pageOf(w, r))
		})))
	},
}

type scsSession struct {
	m *scs.SessionManager
	r *http.Request
}

func (s scsSession) get(field string) string {
	if field == "Count" {
		return strconv.Itoa(s.m.GetInt(s.r.Context(), field))
	}
	return s.m.GetString(s.r.Context(), field)
}

func (s scsSession) set(field, value string) { s.m.Put(s.r.Context(), field, value) }

func (s scsSession) increment() error {
	s.m.Put(s.r.Context(), "Count", s.m.GetInt(s.r.Context(), "Count")+1)
	return nil
}

func (s scsSession) renew() error             { return s.m.RenewToken(s.r.Context()) }
func (s scsSession) signIn(user string) error { return renewFor(s, user) }
func (s scsSession) destroy() error           { return s.m.Destroy(s.r.Context()) }
func (s scsSession) save() error              { return nil } // LoadAndSave does

func (s scsSession) context() context.Context { return s.r.Context() }

func (s scsSession) under(ctx context.Context) session {
	return scsSession{s.m, s.r.WithContext(ctx)}
}
