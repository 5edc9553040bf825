package kit

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Processes are two Apps on one Redis, with the [Routes] of verbs.
//
// In one process the writers of a session take turns, so whoever is to act while
// a request is parked must be in the other one: b.To(p.Other).
type Processes struct {
	*App       // its steps can be parked
	Other *App // its are not
	Redis *redis.Client
}

// NewProcesses begins with an empty Redis.
func NewProcesses(t testing.TB, rdb *redis.Client, cfg sessions.Config) *Processes {
	t.Helper()
	rdb.FlushAll(context.Background())
	p := &Processes{NewApp(t, HTTP2, RedisStore(rdb), cfg), NewApp(t, HTTP2, RedisStore(rdb), cfg), rdb}
	Routes(p.Mux, p.Manager)
	Routes(p.Other.Mux, p.Other.Manager)
	return p
}

// EachProcesses runs a test with both codecs, on miniredis and on a real server.
func EachProcesses(t *testing.T, f func(t *testing.T, p *Processes)) {
	EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		EachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, NewProcesses(t, rdb, sessions.Config{Codec: c})) })
	})
}

// Visitor is a browser of the first App with a session of this user, which is the [Owner]'s.
func (p *Processes) Visitor(name string) *Browser {
	p.t.Helper()
	b := p.Browser()
	if res := b.Get("/set?v=" + name + "&owner=" + Owner); res.StatusCode != 200 || b.Token() == "" {
		p.t.Fatalf("no session to start with: %d %q", res.StatusCode, res.Text)
	}
	return b
}

// Keys are the keys of records and marks in the Redis. It is an error if the index of the [Owner]'s sessions is not exact.
func (p *Processes) Keys() []string {
	p.t.Helper()
	keys := slices.DeleteFunc(Keys(p.t, p.Redis), IsIndex)
	p.Store.wantExact(p.t, Owner, keys)
	return keys
}

// Records are the values in the Redis that are not marks, by key.
func (p *Processes) Records() map[string]string {
	p.t.Helper()
	return Records(p.t, p.Redis)
}

// Routes adds a route for each verb, which answers what the verb has returned,
// by [ErrName]: /set (no verb: saved by the first byte), /save, /touch, /reload,
// /renew, /signin, /destroy. A query "v" becomes the UserID before the verb runs, and "owner" the Owner.
// /get answers the UserID, /id the ID.
func Routes(mux *http.ServeMux, m *sessions.Manager[Session]) {
	for path, verb := range map[string]func(context.Context) error{
		"/set":     func(context.Context) error { return nil },
		"/save":    m.Save,
		"/touch":   m.Touch,
		"/reload":  m.Reload,
		"/renew":   m.Renew,
		"/signin":  func(ctx context.Context) error { return m.SignIn(ctx) },
		"/step-up": func(ctx context.Context) error { return m.Reauthenticate(ctx) },
		"/destroy": m.Destroy,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if v := r.FormValue("v"); v != "" {
				m.FromContext(r.Context()).UserID = v
			}
			if v := r.FormValue("owner"); v != "" {
				m.FromContext(r.Context()).Owner = v
			}
			fmt.Fprint(w, ErrName(verb(r.Context())))
		})
	}
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.FromContext(r.Context()).UserID) })
	mux.HandleFunc("/id", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.Info(r.Context()).ID) })
}
