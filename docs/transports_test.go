package docs_test

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

var (
	app  *sessions.Manager[Session]
	user = struct{ ID string }{"ann"}
)

func login(w http.ResponseWriter, r *http.Request) {
	sessions.FromContext[Session](r.Context()).UserID = user.ID
	if err := app.SignIn(r.Context()); err != nil {
		sessions.DefaultErrorHandler(w, r, err)
		return
	}
	outcome, err := app.Commit(r.Context())
	if err != nil {
		sessions.DefaultErrorHandler(w, r, err)
		return
	}
	json.NewEncoder(w).Encode(map[string]string{"token": outcome.Token.Reveal()})
}

// cookies.md: an app signs in at a route of its own, and then comes to those of the site.
func TestBrowsersAndApps(t *testing.T) {
	store := &sessions.MemoryStore{}
	site, err := sessions.New[Session](store, sessions.Config{
		Transport: sessions.FirstOf(sessions.HeaderToken{}, sessions.Cookie{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if app, err = sessions.New[Session](store, sessions.Config{Transport: sessions.HeaderToken{}}); err != nil {
		t.Fatal(err)
	}
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.FromContext[Session](r.Context()).UserID)
	})
	mux := http.NewServeMux()
	mux.Handle("POST /app/login", app.Handler(http.HandlerFunc(login)))
	mux.Handle("/", site.Handler(pages))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", "https://example.com/app/login", nil))
	var answer struct{ Token string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("Authorization", "Bearer "+answer.Token)
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Body.String() != "ann" || len(w.Result().Cookies()) > 0 {
		t.Errorf("%q, with %v", w.Body, w.Result().Cookies())
	}
}

func TestReverseProxy(t *testing.T) {
	m := sessionstest.New[Session](t, sessions.Config{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["Cookie"]) }))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	cookie := sessions.Cookie{} // the one of Config.Transport
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		cookie.Strip(r.Out)
	}}
	mux.Handle("/reports/", m.Handler(proxy))
	r := httptest.NewRequest("GET", "https://example.com/reports/", nil)
	r.AddCookie(sessionstest.Cookie(t, m, Session{UserID: "ann"}))
	r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Body.String() != "[theme=dark]" {
		t.Errorf("the server behind gets %s", w.Body)
	}
}

// redis.md: a health check.
func TestHealth(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	store, ctx, mux := sessions.NewRedisStore(rdb, sessions.RedisConfig{}), t.Context(), http.NewServeMux()
	if err := store.Ping(ctx); err != nil {
		log.Fatal(err)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := store.Ping(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err) // 503
		}
	})
	for _, want := range []string{"200 OK", "503 Service Unavailable"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		if got := w.Result().Status; !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		server.Close()
	}
}
