package moving_test

import (
	"context"
	"encoding/gob"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/boj/redistore"
	ginsessions "github.com/gin-contrib/sessions"
	gincookie "github.com/gin-contrib/sessions/cookie"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
	gorilla "github.com/gorilla/sessions"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/integration/moving"
	"github.com/typedsessions/sessions/internal/redistest"
)

func init() {
	gob.Register([]string(nil))
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(&logging.VoidLogger{})
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter = io.Discard
}

const (
	key    = "of all the builds, with 32 bytes."
	day    = 24 * time.Hour
	cookie = "__Host-Http-session"
)

// A library is an old one: an app as its users write it, and what the new builds read it by.
type library struct {
	name    string
	cookie  string
	offline bool // it needs no Redis
	start   func(t *testing.T, addr string) (app http.Handler, old moving.Old)
}

var libraries = []library{
	{"scs", "session", false, func(t *testing.T, addr string) (http.Handler, moving.Old) {
		rdb := redis.NewClient(&redis.Options{Addr: addr, DialerRetries: 1, MaxRetries: -1})
		t.Cleanup(func() { rdb.Close() })
		m := newSCS()
		m.Store, m.IdleTimeout = goredisstore.New(rdb), time.Hour
		return scsApp(m), moving.SCS{SessionManager: m, Redis: rdb}
	}},
	{"scs in memory", "session", true, func(*testing.T, string) (http.Handler, moving.Old) {
		m := newSCS()
		return scsApp(m), moving.SCS{SessionManager: m}
	}},
	{"CookieStore", "app", true, func(*testing.T, string) (http.Handler, moving.Old) {
		store := gorilla.NewCookieStore([]byte(key))
		return gorillaApp(store), moving.Gorilla{Store: store, Name: "app", MaxAge: 30 * day}
	}},
	{"redistore", "app", false, func(t *testing.T, addr string) (http.Handler, moving.Old) {
		store, err := redistore.NewRediStore(10, "tcp", addr, "", "", []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return gorillaApp(store), moving.Gorilla{Store: store, Name: "app", MaxAge: 30 * day}
	}},
	{"gin-contrib cookie", "app", true, func(*testing.T, string) (http.Handler, moving.Old) {
		store := gincookie.NewStore([]byte(key))
		return ginApp(store), moving.Gorilla{Store: store, Name: "app", MaxAge: 30 * day}
	}},
	{"gin-contrib redis", "app", false, func(t *testing.T, addr string) (http.Handler, moving.Old) {
		store, err := ginredis.NewStore(10, "tcp", addr, "", "", []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return ginApp(store), moving.Gorilla{Store: store, Name: "app", MaxAge: 30 * day}
	}},
}

var scsDefaults = scs.New() // starts a goroutine for its store, which a bubble would wait for

func newSCS() *scs.SessionManager {
	m := *scsDefaults
	m.Store = &memory{records: map[string]expiring{}}
	m.Lifetime, m.Cookie.Persist = 30*day, false
	return &m
}

// memory is a store for scs by the time of a bubble.
type memory struct {
	mu      sync.Mutex
	records map[string]expiring
}

type expiring struct {
	data []byte
	end  time.Time
}

func (s *memory) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[token]
	return r.data, time.Now().Before(r.end), nil
}

func (s *memory) Commit(token string, data []byte, end time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[token] = expiring{data, end}
	return nil
}

func (s *memory) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, token)
	return nil
}

func scsApp(m *scs.SessionManager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		cart, _ := m.Get(r.Context(), "cart").([]string)
		io.WriteString(w, m.GetString(r.Context(), "userID")+" "+strings.Join(cart, ","))
	})
	mux.HandleFunc("POST /cart", func(_ http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), "cart", []string{r.FormValue("item")})
	})
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		if err := m.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		m.Put(r.Context(), "userID", r.FormValue("user"))
		m.RememberMe(r.Context(), r.FormValue("remember") != "")
	})
	mux.HandleFunc("POST /signout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return m.LoadAndSave(mux)
}

func gorillaApp(store gorilla.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "app")
		user, _ := s.Values["user"].(string)
		cart, _ := s.Values["cart"].([]string)
		io.WriteString(w, user+" "+strings.Join(cart, ","))
	})
	change := func(change func(r *http.Request, s *gorilla.Session)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, _ := store.Get(r, "app")
			change(r, s)
			if err := s.Save(r, w); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux.HandleFunc("POST /cart", change(func(r *http.Request, s *gorilla.Session) {
		s.Values["cart"] = []string{r.FormValue("item")}
	}))
	mux.HandleFunc("POST /signin", change(func(r *http.Request, s *gorilla.Session) {
		s.Values["user"], s.Values["remember"] = r.FormValue("user"), r.FormValue("remember") != ""
		s.Options.MaxAge = 30 * 24 * 60 * 60
	}))
	mux.HandleFunc("POST /signout", change(func(_ *http.Request, s *gorilla.Session) {
		s.Options.MaxAge = -1
	}))
	return mux
}

func ginApp(store ginsessions.Store) http.Handler {
	g := gin.New()
	g.Use(ginsessions.Sessions("app", store))
	g.GET("/", func(c *gin.Context) {
		s := ginsessions.Default(c)
		user, _ := s.Get("user").(string)
		cart, _ := s.Get("cart").([]string)
		c.String(http.StatusOK, "%s %s", user, strings.Join(cart, ","))
	})
	save := func(c *gin.Context, s ginsessions.Session) {
		if err := s.Save(); err != nil {
			c.AbortWithError(http.StatusInternalServerError, err)
		}
	}
	g.POST("/cart", func(c *gin.Context) {
		s := ginsessions.Default(c)
		s.Set("cart", []string{c.Query("item")})
		save(c, s)
	})
	g.POST("/signin", func(c *gin.Context) {
		s := ginsessions.Default(c)
		s.Set("user", c.Query("user"))
		s.Set("remember", c.Query("remember") != "")
		save(c, s)
	})
	g.POST("/signout", func(c *gin.Context) {
		s := ginsessions.Default(c)
		s.Clear()
		s.Options(ginsessions.Options{Path: "/", MaxAge: -1})
		save(c, s)
	})
	return g
}

// A site has three builds: old, beside (a new one, while old ones serve) and after (a new one, when none does).
type site struct {
	library
	builds  map[string]http.Handler
	m       *sessions.Manager[moving.Session]
	old     *held
	mu      sync.Mutex
	revoked map[string]time.Time
}

// held is an Old that a test can stop, and break.
type held struct {
	moving.Old
	err  error
	read func() // called when Read has its result
}

func (h *held) Read(w http.ResponseWriter, r *http.Request) (moving.Login, error) {
	if h.err != nil {
		return moving.Login{}, h.err
	}
	login, err := h.Old.Read(w, r)
	if h.read != nil {
		h.read()
	}
	return login, err
}

func (h *held) SignIn(w http.ResponseWriter, r *http.Request, user string, remember bool) error {
	if h.err != nil {
		return h.err
	}
	return h.Old.SignIn(w, r, user, remember)
}

func (h *held) SignOut(w http.ResponseWriter, r *http.Request) error {
	if h.err != nil {
		return h.err
	}
	return h.Old.SignOut(w, r)
}

// onRedis is a site whose sessions, old and new, are in one Redis.
func onRedis(t *testing.T, l library, server *redistest.Server) *site {
	t.Helper()
	rdb := server.Client(t)
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return l.site(t, server.Addr, sessions.NewRedisStore(rdb, sessions.RedisConfig{}))
}

func (l library) site(t *testing.T, addr string, store sessions.Store) *site {
	t.Helper()
	app, old := l.start(t, addr)
	m, err := sessions.New[moving.Session](store, sessions.Config{
		Remember: sessions.Remember{IdleTimeout: 60 * day, Lifetime: 60 * day},
		Skip:     func(r *http.Request) bool { return r.Header.Get("Skip") != "" },
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{library: l, m: m, old: &held{Old: old}, revoked: map[string]time.Time{}}
	s.builds = map[string]http.Handler{"old": app, "beside": s.build(true), "after": s.build(false)}
	return s
}

func (s *site) build(beside bool) http.Handler {
	v := &moving.Moving{
		Manager: s.m, Old: s.old, Beside: beside,
		RevokedAt: func(_ context.Context, user string) (time.Time, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.revoked[user], nil
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		t := sessions.FromContext[moving.Session](r.Context())
		io.WriteString(w, t.UserID+" "+strings.Join(t.Cart, ","))
	})
	mux.HandleFunc("POST /cart", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[moving.Session](r.Context()).Cart = []string{r.FormValue("item")}
	})
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
	mux.HandleFunc("POST /signin", signIn(v))
	mux.HandleFunc("POST /signout", func(w http.ResponseWriter, r *http.Request) {
		answer(w, v.SignOut(w, r))
	})
	return v.Handler(mux)
}

// A browser keeps cookies by their names.
type browser struct {
	*site
	cookies map[string]string
	persist map[string]int // Max-Age in seconds
}

func (s *site) browser() *browser {
	return &browser{s, map[string]string{}, map[string]int{}}
}

// clone is another browser with the same cookies: a thief, or a request that was sent before.
func (b *browser) clone() *browser {
	c := b.site.browser()
	maps.Copy(c.cookies, b.cookies)
	return c
}

func (b *browser) send(build, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://example.com"+path, nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.builds[build].ServeHTTP(w, r)
	b.keep(w)
	return w
}

// keep takes over the cookies of a response.
func (b *browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			delete(b.persist, c.Name)
			continue
		}
		b.cookies[c.Name], b.persist[c.Name] = c.Value, c.MaxAge
	}
}

// do follows a script: "old+ann" signs in, "old++ann" with "remember me", "old-" signs out, "old=ann" is the page of
// ann, "old=" that of nobody, "old.pear" puts a pear into the cart, and "old~pear" finds it there.
func (b *browser) do(t *testing.T, script string) {
	t.Helper()
	for step := range strings.FieldsSeq(script) {
		at := strings.IndexAny(step, "+-=.~")
		build, verb, arg := step[:at], step[at], step[at+1:]
		switch verb {
		case '+':
			path := "/signin?user=" + strings.TrimPrefix(arg, "+")
			if arg[0] == '+' {
				path += "&remember=1"
			}
			b.post(t, script, step, build, path)
		case '-':
			b.post(t, script, step, build, "/signout")
		case '.':
			b.post(t, script, step, build, "/cart?item="+arg)
		default:
			user, cart, _ := strings.Cut(b.send(build, "GET", "/").Body.String(), " ")
			if got := map[byte]string{'=': user, '~': cart}[verb]; got != arg {
				t.Fatalf("%s: at %s it is %q", script, step, got)
			}
		}
	}
}

func (b *browser) post(t *testing.T, script, step, build, path string) {
	t.Helper()
	if w := b.send(build, "POST", path); w.Code != http.StatusOK {
		t.Fatalf("%s: at %s it is %d %s", script, step, w.Code, w.Body)
	}
}

// listed are the sessions of the new library.
func (s *site) listed(t *testing.T, user string) []sessions.Info {
	t.Helper()
	list, err := s.m.SessionsOf(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
