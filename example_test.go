package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
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

// Sign-in gives the session a new token, remembered if the user asks for it.
func ExampleManager_SignIn() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.UserID = "alice" // her password was right
		var options []sessions.SignInOption
		if r.FormValue("remember") != "" {
			options = append(options, sessions.Remembered)
		}
		if err := m.SignIn(r.Context(), options...); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "welcome")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s, info := sessions.FromContext[Visitor](r.Context()), m.Info(r.Context())
		fmt.Fprintf(w, "user %q, remembered %t, signed in %t", s.UserID, info.Remembered, !info.AuthenticatedAt.IsZero())
	})
	visit := visitor(m.Handler(mux))
	fmt.Println(visit("/"))
	fmt.Println(visit("/login?remember=yes"))
	fmt.Println(visit("/"))
	// Output:
	// user "", remembered false, signed in false
	// welcome
	// user "alice", remembered true, signed in true
}

// Signing out deletes the session at once, and the response its cookie.
func ExampleManager_Destroy() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
		m.SignIn(r.Context())
	})
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "you are still signed in, please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "bye")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "user %q", sessions.FromContext[Visitor](r.Context()).UserID)
	})
	visit := visitor(m.Handler(mux))
	visit("/login")
	fmt.Println(visit("/"))
	fmt.Println(visit("/logout"))
	fmt.Println(visit("/"))
	// Output:
	// user "alice"
	// bye
	// user ""
}

// Any other change of privilege takes a new token too.
func ExampleManager_Renew() {
	m := manager(sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) { fmt.Println("event:", e.Kind) }})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice"
	})
	mux.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Renew(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "the same session: ", before.ID == after.ID && before.ExpiresAt.Equal(after.ExpiresAt))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/admin"))
	// Output:
	// event: created
	// event: renewed
	// the same session: true
}

// A handler that must know whether the session was saved saves it itself.
func ExampleManager_Save() {
	m := manager(sessions.Config{MaxSize: 1000, Logger: slog.New(slog.DiscardHandler)})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Notice = strings.Repeat("x", 1000)
		if err := m.Save(r.Context()); errors.Is(err, sessions.ErrTooLarge) {
			s.Notice = "That was too long."
		}
		fmt.Fprint(w, s.Notice)
	})))
	fmt.Println(visit("/"))
	// Output: That was too long.
}

// Reload drops what the request has changed.
func ExampleManager_Reload() {
	m := manager(sessions.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Cart = []string{"apples"}
	})
	mux.HandleFunc("/undo", func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Cart = append(s.Cart, "pears")
		if err := m.Reload(r.Context()); err != nil {
			http.Error(w, "please try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, s.Cart)
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/undo"))
	// Output: [apples]
}

// A page that polls is passive: it does not keep the session alive. Where the
// user does something there after all, Touch does.
func ExampleManager_Touch() {
	m := manager(sessions.Config{
		IdleTimeout: 10 * time.Minute,
		Passive:     func(r *http.Request) bool { return r.URL.Path == "/poll" },
		Skip:        func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/static/") },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
	})
	mux.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		before := m.Info(r.Context())
		if err := m.Touch(r.Context()); err != nil {
			http.Error(w, "please sign in again", http.StatusConflict)
			return
		}
		after := m.Info(r.Context())
		fmt.Fprint(w, "longer: ", after.IdleUntil.After(before.IdleUntil))
	})
	visit := visitor(m.Handler(mux))
	visit("/")
	fmt.Println(visit("/poll"))
	// Output: longer: true
}

// Info is for logs and account pages; nothing in it authenticates.
func ExampleManager_Info() {
	m := manager(sessions.Config{
		Label: func(r *http.Request) string { return r.UserAgent() },
	})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
		m.Save(r.Context())
		info := m.Info(r.Context())
		fmt.Fprintf(w, "%d characters of ID, from %q, idle until %v, at the latest %v", len(info.ID), info.Label,
			info.IdleUntil.Sub(info.LastSeenAt).Round(time.Minute), info.ExpiresAt.Sub(info.CreatedAt))
	}))
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("User-Agent", "Firefox")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: 36 characters of ID, from "Firefox", idle until 1h0m0s, at the latest 24h0m0s
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

// Load and Commit serve what is not HTTP. Here, as a gRPC interceptor would,
// the token comes from the call's metadata and goes back in it.
func ExampleManager_Load() {
	m := manager(sessions.Config{})

	intercept := func(ctx context.Context, metadata map[string]string, call func(context.Context)) error {
		ctx, err := m.Load(ctx, metadata["session"])
		if err != nil {
			return err
		}
		call(ctx)
		outcome, err := m.Commit(ctx)
		if err != nil {
			return err
		}
		switch outcome.Kind {
		case sessions.OutcomeCreated, sessions.OutcomeRenewed:
			metadata["session"] = outcome.Token.Reveal()
		case sessions.OutcomeDestroyed:
			delete(metadata, "session")
		case sessions.OutcomeChanged, sessions.OutcomeUnchanged: // it keeps its token
		}
		fmt.Println(outcome.Kind, outcome.Token)
		return nil
	}

	metadata := map[string]string{}
	count := func(ctx context.Context) { sessions.FromContext[Visitor](ctx).Views++ }
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, count)
	intercept(context.Background(), metadata, func(ctx context.Context) {
		fmt.Println("views:", sessions.FromContext[Visitor](ctx).Views)
		m.Destroy(ctx)
	})
	// Output:
	// created [session token]
	// changed [session token]
	// views: 2
	// destroyed [session token]
}

// Without the Handler there is no session, and the error says so.
func ExampleManager_Commit() {
	m := manager(sessions.Config{})
	_, err := m.Commit(context.Background())
	fmt.Println(errors.Is(err, sessions.ErrNoSession), err)
	// Output: true sessions: no session in this context; wrap the handler with Manager.Handler
}

// Session timeouts and the cookie of a site whose users stay signed in for
// weeks, on all hosts of its domain.
func ExampleConfig() {
	m := manager(sessions.Config{
		IdleTimeout: 30 * time.Minute,
		Lifetime:    12 * time.Hour,
		Remember:    sessions.Remember{IdleTimeout: 14 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour},
		Transport:   sessions.Cookie{Domain: "example.com", SameSite: http.SameSiteStrictMode, Persist: true},
	})
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Views++
	})).ServeHTTP(w, httptest.NewRequest("GET", "https://example.com/", nil))
	_, attributes, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
	fmt.Println(attributes)
	// Output: Path=/; Domain=example.com; Max-Age=43200; HttpOnly; Secure; SameSite=Strict
}

// ErrorHandler answers in the site's own words.
func ExampleConfig_errorHandler() {
	m := manager(sessions.Config{
		MaxSize: 1000,
		Logger:  slog.New(slog.DiscardHandler),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			switch {
			case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, sessions.ErrNewerVersion):
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, "We are back in a minute.")
			case errors.Is(err, sessions.ErrGone), errors.Is(err, sessions.ErrConflict):
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, "You were signed out in another window.")
			default:
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprint(w, "Something went wrong.")
			}
		},
	})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Notice = strings.Repeat("x", 1000)
		fmt.Fprint(w, "saved") // nobody reads this: it was not
	})))
	fmt.Println(visit("/"))
	// Output: Something went wrong.
}

// Clients that are not browsers carry the token in a header.
func ExampleHeaderToken() {
	m := manager(sessions.Config{Transport: sessions.HeaderToken{}})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Views++
		fmt.Fprintln(w, "views:", s.Views)
	}))
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest("GET", "https://api.example.com/", nil))

	r := httptest.NewRequest("GET", "https://api.example.com/", nil)
	r.Header.Set("Authorization", first.Header().Get("Authorization"))
	second := httptest.NewRecorder()
	h.ServeHTTP(second, r)
	fmt.Print(first.Body.String(), second.Body.String())
	// Output:
	// views: 1
	// views: 2
}

// MsgPack takes fewer bytes and goes by the same tags.
func ExampleMsgPack() {
	v := Visitor{UserID: "alice", Views: 3}
	packed, _ := sessions.MsgPack{}.Marshal(&v)
	text, _ := sessions.JSON{}.Marshal(&v)
	fmt.Println(len(packed), len(text))
	fields, _ := sessions.MsgPack{}.Split(packed)
	for _, f := range fields {
		fmt.Println(f.Name, len(f.Value))
	}
	// Output:
	// 28 41
	// user_id 6
	// views 1
	// cart 1
}

// A visitor begins with values of the program's choice.
func ExampleDefaulted() {
	m, err := sessions.New[Preferences](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.FromContext[Preferences](r.Context()).Theme)
	})))
	fmt.Println(visit("/"))
	// Output: dark
}

// Preferences is a session with defaults.
type Preferences struct {
	Theme string `json:"theme"`
}

// SessionDefaults implements [sessions.Defaulted].
func (p *Preferences) SessionDefaults() { p.Theme = "dark" }

// Keys lists every session in Redis, by the hash of its token.
func ExampleRedisStore_Keys() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "shop:", Timeout: 500 * time.Millisecond})

	ctx := context.Background()
	store.Create(ctx, "b", []byte("…"), time.Hour)
	store.Create(ctx, "a", []byte("…"), time.Hour)
	var keys []string
	for key, err := range store.Keys(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	fmt.Println(keys)
	// Output: [a b]
}

// A record that cannot be read is left as it is; the event names the session
// and the part.
func ExampleDecodeError() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Visitor](store, sessions.Config{
		Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(_ context.Context, e sessions.Event) {
			if broken, ok := errors.AsType[*sessions.DecodeError](e.Err); ok && e.Kind == sessions.EventUndecodable {
				fmt.Println("field", broken.Path)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// The same store held sessions of another T before.
	old, err := sessions.New[struct {
		Views string `json:"views"`
	}](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := old.Load(context.Background())
	old.FromContext(ctx).Views = "many"
	outcome, _ := old.Commit(ctx)

	ctx, err = m.Load(context.Background(), outcome.Token.Reveal())
	fmt.Println(sessions.FromContext[Visitor](ctx).Views, err)
	// Output:
	// field views
	// 0 <nil>
}

// What nobody else would hear of goes to the Logger.
func ExampleConfig_logger() {
	m := manager(sessions.Config{
		Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey || a.Key == "session" {
					return slog.Attr{}
				}
				return a
			},
		})),
	})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello")                             // the header goes out here
		sessions.FromContext[Visitor](r.Context()).Views++ // too late for a first cookie
	})))
	visit("/")
	// Output: level=WARN msg="sessions: a session was changed too late to be saved: call Save before the response begins" op=commit err="sessions: response header already sent"
}
