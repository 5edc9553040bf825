package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// Visitor is the T of the examples.
type Visitor struct {
	UserID string   `json:"user_id"`
	Views  int      `json:"views"`
	Notice string   `json:"notice,omitempty"`
	Cart   []string `json:"cart"`
}

// visitor is a browser in a function: it keeps the cookies of h and returns
// the bodies.
func visitor(h http.Handler) func(path string) string {
	jar := map[string]*http.Cookie{}
	return func(path string) string {
		r := httptest.NewRequest("GET", "https://example.com"+path, nil)
		for _, c := range jar {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			jar[c.Name] = c
			if c.MaxAge < 0 {
				delete(jar, c.Name)
			}
		}
		return strings.TrimSpace(w.Body.String())
	}
}

// manager is a Manager for the examples, without a server.
func manager(cfg sessions.Config) *sessions.Manager[Visitor] {
	m, err := sessions.New[Visitor](&sessions.MemoryStore{}, cfg)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// The program of the README.
func Example() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()

	type Session struct {
		UserID string `json:"user_id"`
		Views  int    `json:"views"`
	}

	// README begins.
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
	m, err := sessions.New[Session](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "views: %d\n", s.Views)
	})
	// README ends.

	visit := visitor(m.Handler(mux))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// views: 1
	// views: 2
}

// New reports every mistake at once, each with its field and its remedy.
func ExampleNew() {
	type Session struct {
		Updates chan string `json:"updates"`
	}
	_, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{
		IdleTimeout: 15, // nanoseconds
		Transport:   sessions.Cookie{Name: "__Host-shop", Domain: "example.com"},
	})
	fmt.Println(err)
	// Output:
	// sessions: Config.IdleTimeout: 15ns is less than a millisecond: add the unit, as in 15 * time.Minute
	// sessions: Cookie.Domain: a __Host-shop cookie must not have one: leave Domain empty or choose a name that begins with __Secure-
	// sessions: T is sessions_test.Session: Updates is of type chan string, which cannot be stored: change its type, or tag it "-" to leave it out
}

// A route below the Handler reads and writes its session through a pointer.
func ExampleFromContext() {
	m := manager(sessions.Config{})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Cart = append(s.Cart, r.URL.Path[1:])
		fmt.Fprint(w, s.Cart)
	})))
	fmt.Println(visit("/apples"))
	fmt.Println(visit("/pears"))
	// Output:
	// [apples]
	// [apples pears]
}

// Copying the struct out of its pointer is the classic mistake: what happens to
// the copy is not saved.
func ExampleFromContext_incorrect() {
	m := manager(sessions.Config{})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := *sessions.FromContext[Visitor](r.Context()) // a copy
		s.Views++
		fmt.Fprint(w, s.Views)
	})))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// 1
	// 1
}

// Code that also runs without a session asks with Lookup.
func ExampleLookup() {
	greet := func(ctx context.Context) string {
		if s, ok := sessions.Lookup[Visitor](ctx); ok && s.UserID != "" {
			return "hello " + s.UserID
		}
		return "hello stranger"
	}
	fmt.Println(greet(context.Background()))
	// Output: hello stranger
}

// Where several managers share a T, each one's own Lookup tells of its session.
func ExampleManager_Lookup() {
	customers, staff := manager(sessions.Config{}), manager(sessions.Config{Realm: "staff"})
	visit := visitor(customers.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, customer := customers.Lookup(r.Context())
		_, colleague := staff.Lookup(r.Context())
		fmt.Fprint(w, customer, colleague)
	})))
	fmt.Println(visit("/"))
	// Output: true false
}

// A flash message is shown once.
func ExampleTake() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/save", func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Notice = "Your changes are saved."
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		fmt.Fprintf(w, "notice: %q", sessions.Take(&s.Notice))
	})
	visit := visitor(m.Handler(mux))
	visit("/save")
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// notice: "Your changes are saved."
	// notice: ""
}

// The account's page needs a proof of the last ten minutes. An older session gets the form for one in its place, and
// comes back by a redirect, which is the answer to the second click of a double click too.
func ExampleManager_Fresh() {
	m := manager(sessions.Config{})
	account := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // or the browser shows it again by itself
		fmt.Fprint(w, "your account")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /account", m.Fresh(10*time.Minute, http.HandlerFunc(account), http.RedirectHandler("/confirm", http.StatusSeeOther)))
	mux.HandleFunc("GET /confirm", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s, your password please", sessions.FromContext[Visitor](r.Context()).UserID)
	})
	mux.HandleFunc("POST /confirm", func(w http.ResponseWriter, r *http.Request) { // the password of T's user was right
		err := m.Reauthenticate(r.Context(), sessions.AuthenticatedBy("pwd"))
		if err != nil && !errors.Is(err, sessions.ErrGone) {
			sessions.DefaultErrorHandler(w, r, err)
			return
		}
		http.Redirect(w, r, "/account", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context(), sessions.AuthenticatedAt(time.Now().Add(-time.Hour))) // as the claim auth_time says
		fmt.Fprint(w, "welcome")
	})

	srv := httptest.NewTLSServer(http.NewCrossOriginProtection().Handler(m.Handler(mux)))
	defer srv.Close()
	client := srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	show := func(res *http.Response, err error) {
		if err != nil {
			log.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		fmt.Printf("%s: %s\n", res.Request.URL.Path, body)
	}
	show(client.Post(srv.URL+"/login", "", nil))
	show(client.Get(srv.URL + "/account"))
	show(client.Post(srv.URL+"/confirm", "", nil))
	// Output:
	// /login: welcome
	// /confirm: alice, your password please
	// /account: your account
}

// An event stream that ends when its user is signed out in another tab.
func ExampleManager_Watch() {
	m := manager(sessions.Config{WatchInterval: 50 * time.Millisecond})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
	})
	mux.HandleFunc("POST /logout", func(_ http.ResponseWriter, r *http.Request) { _ = m.Destroy(r.Context()) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := m.Watch(r.Context())
		defer stop()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: welcome\n\n")
		_ = http.NewResponseController(w).Flush()
		<-ctx.Done() // beside a channel with news
		if errors.Is(context.Cause(ctx), sessions.ErrGone) {
			fmt.Fprint(w, "data: good-bye\n\n")
		}
	})
	srv := httptest.NewTLSServer(m.Handler(mux))
	defer srv.Close()
	client := srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	post := func(path string) {
		res, err := client.Post(srv.URL+path, "", nil)
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
	}

	post("/login")
	events, err := client.Get(srv.URL + "/events")
	if err != nil {
		log.Fatal(err)
	}
	defer events.Body.Close()
	post("/logout")
	body, _ := io.ReadAll(events.Body)
	fmt.Print(string(body))
	// Output:
	// data: welcome
	//
	// data: good-bye
}

// Two managers may share a T; each finds its own sessions.
func ExampleManager_FromContext() {
	shop := manager(sessions.Config{Transport: sessions.Cookie{Name: "__Host-shop"}, Realm: "shop"})
	admin := manager(sessions.Config{Transport: sessions.Cookie{Name: "__Host-admin"}, Realm: "admin"})
	visit := visitor(shop.Handler(admin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shop.FromContext(r.Context()).Views++
		fmt.Fprint(w, "shop ", shop.FromContext(r.Context()).Views, ", admin ", admin.FromContext(r.Context()).Views)
	}))))
	fmt.Println(visit("/"))
	fmt.Println(visit("/"))
	// Output:
	// shop 1, admin 0
	// shop 2, admin 0
}
