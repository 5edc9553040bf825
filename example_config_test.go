package sessions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

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
			status := sessions.HTTPStatus(err)
			w.WriteHeader(status)
			switch status {
			case http.StatusServiceUnavailable:
				fmt.Fprint(w, "We are back in a minute.")
			case http.StatusConflict:
				fmt.Fprint(w, "You were signed out in another window.")
			default:
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

// A verb's error by its status, and what an ErrorHandler of one's own leaves to the default.
func ExampleHTTPStatus() {
	for _, err := range []error{nil, sessions.ErrGone, fmt.Errorf("sign in: %w", sessions.ErrUnavailable)} {
		fmt.Println(sessions.HTTPStatus(err))
	}
	// Output:
	// 200
	// 409
	// 503
}

// A handler answers the error of a verb as Handler answers one of its own.
func ExampleDefaultErrorHandler() {
	m := manager(sessions.Config{MaxSize: 1000, Logger: slog.New(slog.DiscardHandler)})
	visit := visitor(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).Notice = strings.Repeat("x", 1000)
		if err := m.Save(r.Context()); err != nil {
			sessions.DefaultErrorHandler(w, r, err)
		}
	})))
	fmt.Println(visit("/"))
	// Output: Internal Server Error
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

// Browsers have the session's token in a cookie, and an app gets it in the answer to its sign-in.
func ExampleFirstOf() {
	store := &sessions.MemoryStore{}
	site, err := sessions.New[Visitor](store, sessions.Config{Transport: sessions.FirstOf(sessions.HeaderToken{}, sessions.Cookie{})})
	if err != nil {
		log.Fatal(err)
	}
	app, err := sessions.New[Visitor](store, sessions.Config{Transport: sessions.HeaderToken{}})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /app/login", app.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Visitor](r.Context()).UserID = "alice" // her password was right
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
	})))
	mux.Handle("/", site.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Visitor](r.Context())
		s.Views++
		fmt.Fprintf(w, "user %q, views %d", s.UserID, s.Views)
	})))

	login := httptest.NewRecorder()
	mux.ServeHTTP(login, httptest.NewRequest("POST", "https://example.com/app/login", nil))
	var answer struct{ Token string }
	json.Unmarshal(login.Body.Bytes(), &answer)
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("Authorization", "Bearer "+answer.Token)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println("the app:", w.Body, len(w.Result().Cookies()), "cookies")

	visit := visitor(mux)
	visit("/")
	fmt.Println("a browser:", visit("/"))
	// Output:
	// the app: user "alice", views 1 0 cookies
	// a browser: user "", views 2
}

// The server behind a proxy gets every cookie but the session's.
func ExampleCookie_Strip() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Cookie"])
	}))
	defer backend.Close()
	target, _ := url.Parse(backend.URL)
	cookie := sessions.Cookie{SameSite: http.SameSiteStrictMode}
	m := manager(sessions.Config{Transport: cookie})
	h := m.Handler(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		cookie.Strip(r.Out)
	}})

	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Header.Set("Cookie", `theme="dark, blue"; __Host-Http-session=secret; lang=en`)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: [theme="dark, blue"; lang=en]
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
	// Output: level=WARN msg="sessions: a session was changed too late to be saved: call Save before the response begins" op=commit route=GET err="sessions: response header already sent"
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

// Account is a session that knows whose it is.
type Account struct {
	UserID string   `json:"user_id"`
	Basket []string `json:"basket"`
}

// SessionOwner implements [sessions.Owned].
func (a *Account) SessionOwner() string { return a.UserID }

// A handler that signs a user in by setting a field has done all there is to
// do: the session gets a new token, and the one from before is refused.
func ExampleOwned() {
	m, err := sessions.New[Account](&sessions.MemoryStore{}, sessions.Config{
		OnEvent: func(_ context.Context, e sessions.Event) {
			switch e.Kind {
			case sessions.EventCreated, sessions.EventSignedIn:
				fmt.Printf("event: %v, owner %q\n", e.Kind, e.Session.Owner)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/add", func(_ http.ResponseWriter, r *http.Request) {
		a := sessions.FromContext[Account](r.Context())
		a.Basket = append(a.Basket, "apples")
	})
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Account](r.Context()).UserID = "alice" // her password was right
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		info := m.Info(r.Context())
		fmt.Fprintf(w, "%s has %v, signed in %t", info.Owner, sessions.FromContext[Account](r.Context()).Basket, !info.AuthenticatedAt.IsZero())
	})
	visit := visitor(m.Handler(mux))
	visit("/add")
	visit("/add")
	visit("/login")
	fmt.Println(visit("/"))
	// Output:
	// event: created, owner ""
	// event: signed in, owner "alice"
	// alice has [apples apples], signed in true
}

// Profile has been split into two names since sessions were stored that have
// one.
type Profile struct {
	First string `json:"first"`
	Last  string `json:"last"`
}

// SessionVersion implements [sessions.Versioned].
func (p *Profile) SessionVersion() int { return 1 }

// UpgradeSession implements [sessions.Versioned].
func (p *Profile) UpgradeSession(_ int, decode func(any) error) error {
	var old struct {
		Name string `json:"name"`
	}
	if err := decode(&old); err != nil {
		return err
	}
	p.First, p.Last, _ = strings.Cut(old.Name, " ")
	return nil
}

// Sessions of an older build are upgraded as they are loaded.
func ExampleVersioned() {
	store := &sessions.MemoryStore{}
	old, err := sessions.New[struct {
		Name string `json:"name"`
	}](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := old.Load(context.Background())
	old.FromContext(ctx).Name = "Ada Lovelace"
	outcome, _ := old.Commit(ctx)
	token := outcome.Token.Reveal()

	m, err := sessions.New[Profile](store, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ = m.Load(context.Background(), token)
	p := sessions.FromContext[Profile](ctx)
	fmt.Printf("%q %q\n", p.First, p.Last)
	p.First = "Augusta Ada"
	m.Commit(ctx)

	_, err = old.Load(context.Background(), token) // the fleet is still changing over
	fmt.Println("the old build:", errors.Is(err, sessions.ErrNewerVersion))
	// Output:
	// "Ada" "Lovelace"
	// the old build: true
}

// Tally is a session whose numbers add up and whose set unites.
type Tally struct {
	Points int      `json:"points"`
	Badges []string `json:"badges"`
}

// MergeSession implements [sessions.Merging].
func (t *Tally) MergeSession(base, theirs *Tally) error {
	t.Points += theirs.Points - base.Points
	for _, b := range theirs.Badges {
		if !slices.Contains(t.Badges, b) {
			t.Badges = append(t.Badges, b)
		}
	}
	return nil
}

// Two requests have changed the same fields at the same time.
func ExampleMerging() {
	m, err := sessions.New[Tally](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).Points = 10
	outcome, _ := m.Commit(ctx)

	first, _ := m.Load(context.Background(), outcome.Token.Reveal())
	second, _ := m.Load(context.Background(), outcome.Token.Reveal())
	one, two := m.FromContext(first), m.FromContext(second)
	one.Points, one.Badges = one.Points+5, append(one.Badges, "early")
	two.Points, two.Badges = two.Points+1, append(two.Badges, "late")
	m.Commit(first)
	m.Commit(second)
	fmt.Println(*two)
	// Output: {16 [late early]}
}

// Where two changes at once must not both stand, the later one is refused: the
// user is shown what has become of it and tries again.
func ExampleConflictPolicy() {
	m := manager(sessions.Config{OnConflict: sessions.ConflictReject, Logger: slog.New(slog.DiscardHandler)})
	ctx, _ := m.Load(context.Background())
	m.FromContext(ctx).UserID = "alice"
	outcome, _ := m.Commit(ctx)

	first, _ := m.Load(context.Background(), outcome.Token.Reveal())
	second, _ := m.Load(context.Background(), outcome.Token.Reveal())
	m.FromContext(first).Notice = "paid by card"
	m.FromContext(second).Notice = "paid by invoice"
	fmt.Println(m.Save(first))
	if err := m.Save(second); errors.Is(err, sessions.ErrConflict) {
		m.Reload(second)
	}
	fmt.Println(m.FromContext(second).Notice)
	// Output:
	// <nil>
	// paid by card
}

// Two requests have each changed two fields, and one of them is the same.
func ExampleConflictPolicy_compared() {
	for _, policy := range []sessions.ConflictPolicy{sessions.ConflictMerge, sessions.ConflictLastWrite, sessions.ConflictReject} {
		m := manager(sessions.Config{OnConflict: policy, Logger: slog.New(slog.DiscardHandler)})
		ctx, _ := m.Load(context.Background())
		m.FromContext(ctx).UserID = "ann"
		outcome, _ := m.Commit(ctx)
		first, _ := m.Load(context.Background(), outcome.Token.Reveal())
		second, _ := m.Load(context.Background(), outcome.Token.Reveal())
		m.FromContext(first).Views, m.FromContext(first).Notice = 1, "first"
		m.FromContext(second).Cart, m.FromContext(second).Notice = []string{"pear"}, "second"
		m.Save(first)
		err := m.Save(second)
		m.Reload(second)
		fmt.Println(*m.FromContext(second), errors.Is(err, sessions.ErrConflict))
	}
	// Output:
	// {ann 1 second [pear]} false
	// {ann 0 second [pear]} false
	// {ann 1 first []} true
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

// What becomes of a request whose record cannot be read. The record stays under each of them.
func ExampleUndecodablePolicy() {
	store := &sessions.MemoryStore{}
	token := "saaaa" + strings.Repeat("x", 26)
	store.Create(context.Background(), sessions.DefaultLayout{}.Key("session", token), []byte("broken"), time.Hour)
	for _, policy := range []sessions.UndecodablePolicy{
		sessions.UndecodableFresh, sessions.UndecodableReadOnly, sessions.UndecodableFail,
	} {
		m, err := sessions.New[Visitor](store, sessions.Config{OnUndecodable: policy, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			log.Fatal(err)
		}
		ctx, err := m.Load(context.Background(), token)
		if err != nil {
			fmt.Println("loading fails")
			continue
		}
		m.FromContext(ctx).Views++
		fmt.Println("saving fails:", m.Save(ctx) != nil)
	}
	// Output:
	// saving fails: false
	// saving fails: true
	// loading fails
}

// A busy site whose servers should not have to log and replicate a write for each page that is looked at.
func ExampleConfig_touchInterval() {
	cfg := sessions.Config{IdleTimeout: time.Hour, TouchInterval: 5 * time.Minute}
	m := manager(cfg)
	ctx, _ := m.Load(context.Background())
	info := m.Info(ctx)
	fmt.Println("a session that is stored now is kept for", time.Until(info.IdleUntil).Round(time.Minute))
	// Output: a session that is stored now is kept for 1h5m0s
}
