package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// An arena is an explorer with servers in front of it.
type arena struct {
	explorer
	m       *sessions.Manager[Session] // of the test itself
	servers []http.Handler
	created map[string]bool
	mu      sync.Mutex
	reset   func() sessions.Store // an empty store
}

// newArena has n servers: processes of their own, or the same one.
func newArena(t *testing.T, c sessions.Codec, n int, same bool) *arena {
	a := &arena{reset: func() sessions.Store { return new(sessions.MemoryStore) }}
	a.Store = a.reset()
	a.m = mustNew(t, a, sessions.Config{Codec: c})
	for i := range n {
		if same && i > 0 {
			a.servers = append(a.servers, a.servers[0])
			continue
		}
		m := mustNew(t, a, sessions.Config{Codec: c})
		mux := http.NewServeMux()
		verbs(mux, m)
		mux.HandleFunc("/renew-renew", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, named(m.Renew(r.Context())), " ", named(m.Renew(r.Context())))
		})
		// Without a session these do nothing: that would start another one.
		known := func(path string, verb func(context.Context) string) {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				if m.Info(r.Context()).New {
					fmt.Fprint(w, "new")
					return
				}
				fmt.Fprint(w, verb(r.Context()))
			})
		}
		save := func(ctx context.Context) string {
			m.FromContext(ctx).Views++
			return named(m.Save(ctx))
		}
		known("/signin-known", func(ctx context.Context) string { return named(m.SignIn(ctx)) })
		known("/save-known", save)
		known("/renew-save", func(ctx context.Context) string { return named(m.Renew(ctx)) + " " + save(ctx) })
		known("/save-renew", func(ctx context.Context) string { return save(ctx) + " " + named(m.Renew(ctx)) })
		a.servers = append(a.servers, m.Handler(mux))
	}
	return a
}

func (a *arena) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	a.mu.Lock()
	a.created[key] = true
	a.mu.Unlock()
	return a.explorer.Create(ctx, key, data, ttl)
}

// clear empties the store and returns the token of a new session in it.
func (a *arena) clear(t *testing.T) string {
	a.Store, a.created = a.reset(), map[string]bool{}
	return mustRequest(t, a.m, "", put(a.m, "ann"))
}

// records are the keys under which there is something that is no mark.
func (a *arena) records(t *testing.T) []string {
	var found []string
	for key := range a.created {
		data, _, err := a.Store.Load(t.Context(), key, 0)
		if err != nil && !errors.Is(err, sessions.ErrNotFound) {
			t.Fatal(err)
		}
		if err == nil && !isMark(string(data)) {
			found = append(found, key)
		}
	}
	return found
}

// A visit is one request of an actor and what came of it.
type visit struct {
	*actor
	path   string
	status int
	body   string
	cookie *http.Cookie
}

// visits are actors: one for each path, all with the same token.
func (a *arena) visits(token string, paths ...string) []*visit {
	var vs []*visit
	for i, path := range paths {
		v := &visit{actor: &actor{name: string(rune('A'+i)) + " " + path}, path: path}
		v.do = func(ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, "GET", "https://example.com"+path, nil)
			r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
			w := httptest.NewRecorder()
			a.servers[i].ServeHTTP(w, r)
			v.status, v.body = w.Code, w.Body.String()
			for _, c := range w.Result().Cookies() {
				v.cookie = c
			}
		}
		vs = append(vs, v)
	}
	return vs
}

func actors(vs []*visit) []*actor {
	var as []*actor
	for _, v := range vs {
		as = append(as, v.actor)
	}
	return as
}

// known are the tokens that some client has, the first one included.
func known(first string, vs []*visit) []string {
	tokens := []string{first}
	for _, v := range vs {
		if v.cookie != nil && v.cookie.MaxAge >= 0 {
			tokens = append(tokens, v.cookie.Value)
		}
	}
	return tokens
}

// live are those tokens that find a session.
func (a *arena) live(t *testing.T, tokens []string) []string {
	var found []string
	for _, token := range tokens {
		if alive(t, a.m, token) {
			found = append(found, token)
		}
	}
	return found
}

// flushed returns what empties a database and makes a store on it.
func flushed(t *testing.T, rdb *redis.Client) func() sessions.Store {
	return func() sessions.Store {
		rdb.FlushAll(t.Context())
		return sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})
	}
}

func answers(vs []*visit) []string {
	var as []string
	for _, v := range vs {
		as = append(as, v.name+": "+v.body)
	}
	return as
}

// unanswered says that the visit ended in ErrUnavailable.
func unanswered(v *visit) bool { return strings.Contains(v.body, "ErrUnavailable") || v.status == 503 }
