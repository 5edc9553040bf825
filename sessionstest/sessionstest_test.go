package sessionstest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/sessionstest"
)

// A handler is one with the live session and its Manager.
type handler func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session])

// around is what a program serves.
func around(m *sessions.Manager[Session], f handler) http.Handler {
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, m.FromContext(r.Context()), m) }))
}

func look(http.ResponseWriter, *http.Request, *Session, *sessions.Manager[Session]) {}

func setUser(_ http.ResponseWriter, _ *http.Request, s *Session, _ *sessions.Manager[Session]) {
	s.UserID = "bob"
}

func signIn(_ http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
	s.UserID = "bob"
	_ = m.SignIn(r.Context())
}

func renew(_ http.ResponseWriter, r *http.Request, _ *Session, m *sessions.Manager[Session]) {
	_ = m.Renew(r.Context())
}

func destroy(_ http.ResponseWriter, r *http.Request, _ *Session, m *sessions.Manager[Session]) {
	_ = m.Destroy(r.Context())
}

func get() *http.Request { return httptest.NewRequest("GET", "https://example.com/", nil) }

// became is a Result in words.
func became(got *sessionstest.Result[Session]) string {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{
		{got.Saved, "saved"},
		{got.Renewed, "renewed"},
		{got.Destroyed, "destroyed"},
		{got.Info.New, "no session"},
		{got.Info == sessions.Info{}, "unknown"},
	} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ") + ": " + got.Session.UserID
}

func TestDo(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		ready *Session
		f     handler
		want  string
	}{
		{"a look at nothing", nil, look, "no session: "},
		{"a look", &Session{UserID: "ann"}, look, ": ann"},
		{"a new session", nil, setUser, "saved: bob"},
		{"a change", &Session{UserID: "ann"}, setUser, "saved: bob"},
		{"a value that it has", &Session{UserID: "bob"}, setUser, ": bob"},
		{"a change after the first byte", &Session{UserID: "ann"}, func(w http.ResponseWriter, _ *http.Request, s *Session, _ *sessions.Manager[Session]) {
			io.WriteString(w, "page")
			w.(http.Flusher).Flush()
			s.UserID = "bob"
		}, "saved: bob"},
		{"a sign-in of nobody", nil, signIn, "saved: bob"},
		{"a sign-in that changes nothing", nil, func(_ http.ResponseWriter, r *http.Request, _ *Session, m *sessions.Manager[Session]) {
			_ = m.SignIn(r.Context())
		}, "saved: "},
		{"a sign-in", &Session{UserID: "ann"}, signIn, "saved, renewed: bob"},
		{"Renew", &Session{UserID: "ann"}, renew, "renewed: ann"},
		{"Renew of nothing", nil, renew, "no session: "},
		{"Destroy", &Session{UserID: "ann"}, destroy, "destroyed, no session: "},
		{"Destroy of nothing", nil, destroy, "no session: "},
		{"Destroy and another session", &Session{UserID: "ann"}, func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
			destroy(w, r, s, m)
			s.UserID = "bob"
		}, "saved, renewed: bob"},
		{"a change that a failed sign-in takes along", &Session{UserID: "ann"}, func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
			s.UserID = strings.Repeat("x", 1<<20)
			_ = m.SignIn(r.Context())
		}, ": ann"},
		{"a ready T that is zero", &Session{}, look, ": "},
	} {
		t.Run("P1 "+tc.desc, func(t *testing.T) {
			t.Parallel()
			m := sessionstest.New[Session](t, sessions.Config{})
			if got := became(sessionstest.NewClient(t, m, around(m, tc.f), tc.ready).Do(get())); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestLostCookie(t *testing.T) {
	t.Run("P1 a session whose cookie is taken back lives on, and is not destroyed", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		app := around(m, look)
		ann := sessionstest.NewClient(t, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			app.ServeHTTP(w, r)
			http.SetCookie(w, &http.Cookie{Name: "__Host-Http-session", MaxAge: -1})
		}), &Session{UserID: "ann"})
		if got := became(ann.Do(get())); got != "no session: " {
			t.Errorf("%q, want no session", got)
		}
	})
}

func TestManagers(t *testing.T) {
	memory := func(cfg sessions.Config) func(*testing.T) *sessions.Manager[Session] {
		return func(t *testing.T) *sessions.Manager[Session] { return sessionstest.New[Session](t, cfg) }
	}
	for desc, manager := range map[string]func(*testing.T) *sessions.Manager[Session]{
		"the zero Config":            memory(sessions.Config{}),
		"MsgPack":                    memory(sessions.Config{Codec: sessions.MsgPack{}}),
		"an Insecure cookie":         memory(sessions.Config{Transport: sessions.Cookie{Insecure: true}}),
		"a cookie of another Domain": memory(sessions.Config{Transport: sessions.Cookie{Domain: "shop.example"}}),
		"a cookie of another Path":   memory(sessions.Config{Transport: sessions.Cookie{Path: "/shop"}}),
		"a persistent cookie":        memory(sessions.Config{Transport: sessions.Cookie{Persist: true}}),
		"a bearer token":             memory(sessions.Config{Transport: sessions.HeaderToken{}}),
		"a token in a header":        memory(sessions.Config{Transport: sessions.HeaderToken{Name: "X-Session"}}),
		"SaveUninitialized, Rewrite": memory(sessions.Config{SaveUninitialized: true, Rewrite: true}),
		"package express":            expressManager(express.Options{}),
		"package express, rolling":   expressManager(express.Options{Rolling: true, Cookie: express.Cookie{MaxAge: time.Hour}}),
		"package express, Secure":    expressManager(express.Options{Cookie: express.Cookie{Secure: express.True}}),
		"a Manager of another store": func(t *testing.T) *sessions.Manager[Session] {
			return kit.New[Session](t, kit.Memory(), sessions.Config{})
		},
	} {
		t.Run("P1 a sign-in, a change and a sign-out with "+desc, func(t *testing.T) {
			t.Parallel()
			m := manager(t)
			app := around(m, func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
				switch r.URL.Path {
				case "/in":
					signIn(w, r, s, m)
				case "/renew":
					renew(w, r, s, m)
				case "/change":
					s.UserID = "eve"
				case "/out":
					destroy(w, r, s, m)
				}
			})
			ann := sessionstest.NewClient(t, m, app, &Session{UserID: "ann"})
			for _, step := range []struct{ path, want string }{
				{"/look", ": ann"},
				{"/renew", "renewed: ann"},
				{"/in", "saved, renewed: bob"},
				{"/look", ": bob"},
				{"/change", "saved: eve"},
				{"/out", "destroyed, no session: "},
			} {
				if got := became(ann.Do(httptest.NewRequest("GET", "https://shop.example"+step.path, nil))); got != step.want {
					t.Errorf("%s: %q, want %q", step.path, got, step.want)
				}
			}
			if got := became(sessionstest.NewClient(t, m, app, nil).Do(httptest.NewRequest("GET", "https://shop.example/in", nil))); got != "saved: bob" {
				t.Errorf("a visitor's sign-in: %q, want saved", got)
			}
		})
	}
}

func expressManager(o express.Options) func(*testing.T) *sessions.Manager[Session] {
	return func(t *testing.T) *sessions.Manager[Session] {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { rdb.Close() })
		o.Secrets = []string{"keyboard cat"}
		m, err := express.New[Session](rdb, o)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// user is a T with all that a T may implement.
type user struct {
	Name    string `json:"name"`
	Theme   string `json:"theme"`
	Visits  int    `json:"visits"`
	private string
}

func (u *user) SessionDefaults()                                { u.Theme = "light" }
func (u *user) SessionOwner() string                            { return u.Name }
func (u *user) SessionVersion() int                             { return 2 }
func (u *user) UpgradeSession(int, func(any) error) (err error) { return nil }

func TestTraits(t *testing.T) {
	m := sessionstest.New[user](t, sessions.Config{})
	app := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := m.FromContext(r.Context())
		if r.URL.Path == "/in" {
			u.Name = "bob"
		}
		fmt.Fprintf(w, "%s %s %s%d", u.Name, u.Theme, u.private, u.Visits)
	}))
	t.Run("P1 a ready T is stored as it is, without SessionDefaults", func(t *testing.T) {
		got := sessionstest.NewClient(t, m, app, &user{Name: "ann", Visits: 3, private: "not stored"}).Do(get())
		if body := got.Body.String(); body != "ann  3" {
			t.Errorf("the handler sees %q", body)
		}
		if want := (user{Name: "ann", Visits: 3}); got.Session != want || got.Info.Owner != "ann" {
			t.Errorf("%+v of %q, want %+v of ann", got.Session, got.Info.Owner, want)
		}
	})
	t.Run("P1 a visitor without a session has a fresh T, and a save that signs in renews", func(t *testing.T) {
		visitor := sessionstest.NewClient(t, m, app, nil)
		got := visitor.Do(get())
		if got.Body.String() != " light 0" || got.Session.Theme != "light" || !got.Info.New {
			t.Errorf("%q, then %+v", got.Body, got.Session)
		}
		if got = sessionstest.NewClient(t, m, app, &user{}).Do(httptest.NewRequest("GET", "/in", nil)); !got.Renewed || got.Info.Owner != "bob" {
			t.Errorf("renewed %t for %q, want true for bob", got.Renewed, got.Info.Owner)
		}
	})
}

func TestSignedIn(t *testing.T) {
	for desc, opts := range map[string][]sessions.SignInOption{
		"P1 a ready session has just signed in":      nil,
		"P1 a ready session can be a remembered one": {sessions.Remembered},
	} {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := sessionstest.New[Session](t, sessions.Config{})
				byNewClient := sessionstest.NewClient(t, m, around(m, look), &Session{UserID: "ann"}, opts...).Do(get())
				r := get()
				r.AddCookie(sessionstest.Cookie(t, m, Session{UserID: "ann"}, opts...))
				byCookie := sessionstest.NewClient(t, m, around(m, look), nil).Do(r)
				for _, got := range []*sessionstest.Result[Session]{byNewClient, byCookie} {
					if got.Session.UserID != "ann" || !got.Info.AuthenticatedAt.Equal(time.Now()) || got.Info.Remembered != (opts != nil) {
						t.Errorf("%+v of %+v", got.Info, got.Session)
					}
				}
			})
		})
	}
}

func TestCookie(t *testing.T) {
	t.Run("P1 the cookie is as a response sends it", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{Transport: sessions.Cookie{Path: "/shop", Persist: true}})
		c := sessionstest.Cookie(t, m, Session{UserID: "ann"})
		if c.Name != "__Secure-session" || c.Path != "/shop" || !c.Secure || !c.HttpOnly || c.MaxAge != 86400 || c.Value == "" {
			t.Errorf("%v", c)
		}
	})
	t.Run("P1 what a request carries goes before what the client has", func(t *testing.T) {
		for _, transport := range []sessions.Transport{sessions.Cookie{}, sessions.HeaderToken{}} {
			m := sessionstest.New[Session](t, sessions.Config{Transport: transport})
			old := get()
			app := around(m, func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
				if r.URL.Path == "/renew" {
					old.Header = r.Header.Clone()
					renew(w, r, s, m)
				}
			})
			ann := sessionstest.NewClient(t, m, app, &Session{UserID: "ann"})
			ann.Do(httptest.NewRequest("GET", "https://example.com/renew", nil))
			if got := ann.Do(old); !got.Info.RenewedElsewhere || got.Destroyed {
				t.Errorf("%T: the old token gives %+v, destroyed %t", transport, got.Info, got.Destroyed)
			}
			if got := became(ann.Do(get())); got != ": ann" {
				t.Errorf("%T: the client is %q afterwards", transport, got)
			}
		}
	})
	t.Run("P1 the client keeps every cookie until it is taken back", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		c := sessionstest.NewClient(t, m, around(m, func(w http.ResponseWriter, r *http.Request, _ *Session, _ *sessions.Manager[Session]) {
			switch r.URL.Path {
			case "/set":
				http.SetCookie(w, &http.Cookie{Name: "csrf", Value: "1", Path: "/elsewhere", MaxAge: 60})
				http.SetCookie(w, &http.Cookie{Name: "lang", Value: "en", Expires: time.Now().Add(time.Hour)})
			case "/again":
				http.SetCookie(w, &http.Cookie{Name: "csrf", Value: "2"})
				http.SetCookie(w, &http.Cookie{Name: "lang", Expires: time.Unix(1, 0)})
			}
			fmt.Fprint(w, r.Header["Cookie"])
		}), nil)
		for _, step := range []struct{ path, want string }{
			{"/set", "[]"}, {"/", "[csrf=1; lang=en]"}, {"/again", "[csrf=1; lang=en]"}, {"/", "[csrf=2]"},
		} {
			if got := c.Do(httptest.NewRequest("GET", step.path, nil)).Body.String(); got != step.want {
				t.Errorf("%s: %s, want %s", step.path, got, step.want)
			}
		}
	})
}

func TestTime(t *testing.T) {
	cfg := sessions.Config{
		IdleTimeout: 10 * time.Minute,
		Passive:     func(r *http.Request) bool { return r.URL.Path == "/poll" },
		Skip:        func(r *http.Request) bool { return r.URL.Path == "/static" },
	}
	for _, tc := range []struct {
		desc, path string
		want       string // ten minutes after the session began, and five after a request
	}{
		{"P1 a request restarts the idle timeout", "/", ": ann"},
		{"P1 looking at a passive request's session is no activity", "/poll", "no session: "},
		{"P1 looking for a skipped request's session is no activity", "/static", "no session: "},
	} {
		t.Run(tc.desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := sessionstest.New[Session](t, cfg)
				ann := sessionstest.NewClient(t, m, around(m, look), &Session{UserID: "ann"})
				time.Sleep(5 * time.Minute)
				got := ann.Do(httptest.NewRequest("GET", tc.path, nil))
				if want := map[bool]string{true: "unknown: ", false: ": ann"}[tc.path == "/static"]; became(got) != want {
					t.Errorf("%s: %q, want %q", tc.path, became(got), want)
				}
				time.Sleep(5*time.Minute + 1)
				if got := became(ann.Do(get())); got != tc.want {
					t.Errorf("then %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestDoChangesNothing(t *testing.T) {
	withoutToken := func(h http.Header) http.Header {
		h = h.Clone()
		h.Del("Set-Cookie")
		return h
	}
	for _, tc := range []struct {
		desc string
		f    func(w http.ResponseWriter, r *http.Request)
	}{
		{"P1 of a handler that does not look", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }},
		{"P1 of one that looks", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, sessions.FromContext[Session](r.Context()).UserID)
		}},
	} {
		t.Run(tc.desc+", the response is the same", func(t *testing.T) {
			m := sessionstest.New[Session](t, sessions.Config{SaveUninitialized: true, Rewrite: true})
			h := m.Handler(http.HandlerFunc(tc.f))
			request := func() *http.Request {
				return httptest.NewRequest("POST", "https://example.com/a?b", strings.NewReader("body"))
			}
			for _, ready := range []*Session{nil, {UserID: "ann"}} {
				r, w := request(), httptest.NewRecorder()
				if ready != nil {
					r.AddCookie(sessionstest.Cookie(t, m, *ready))
				}
				h.ServeHTTP(w, r)
				mine := request()
				got := sessionstest.NewClient(t, m, h, ready).Do(mine)
				if want := withoutToken(w.Header()); !reflect.DeepEqual(withoutToken(got.Header()), want) || got.Body.String() != w.Body.String() || got.Code != w.Code {
					t.Errorf("%d %v %q, want %d %v %q", got.Code, got.Header(), got.Body, w.Code, want, w.Body)
				}
				if len(mine.Cookies()) > 0 {
					t.Error("the caller's request is changed")
				}
			}
		})
	}
	t.Run("P1 the handler gets the whole body, whatever the Config reads of it", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{Passive: func(r *http.Request) bool { return r.FormValue("poll") != "" }})
		r := httptest.NewRequest("POST", "https://example.com/", strings.NewReader("user=ann"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got := sessionstest.NewClient(t, m, around(m, func(_ http.ResponseWriter, r *http.Request, s *Session, _ *sessions.Manager[Session]) {
			s.UserID = r.FormValue("user")
		}), nil).Do(r)
		if got := became(got); got != "saved: ann" {
			t.Errorf("%q, want ann", got)
		}
	})
	t.Run("P1 nothing is written but by the request itself", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[Session](t, store, sessions.Config{SaveUninitialized: true, Rewrite: true})
		ann := sessionstest.NewClient(t, m, around(m, look), &Session{UserID: "ann"})
		store.Calls()
		ann.Do(get())
		store.WantCalls(t, "a request with Rewrite", "Load Load CompareAndSwap Load Load")
		sessionstest.NewClient(t, m, around(m, look), nil).Do(get())
		store.WantCalls(t, "a visitor's with SaveUninitialized", "Create Load")
	})
}

func TestConcurrent(t *testing.T) {
	t.Run("P1 a client may send requests at once", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		ann := sessionstest.NewClient(t, m, around(m, func(w http.ResponseWriter, r *http.Request, _ *Session, m *sessions.Manager[Session]) {
			http.SetCookie(w, &http.Cookie{Name: "last", Value: "visit"})
			_ = m.Update(r.Context(), func(s *Session) error {
				s.Cart = append(s.Cart, r.URL.Path)
				return nil
			})
		}), &Session{UserID: "ann"})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := ann.Do(get()); !got.Saved {
					t.Error("not saved")
				}
			})
		}
		wg.Wait()
		if got := ann.Do(get()); len(got.Session.Cart) != 21 {
			t.Errorf("%d items, want 21", len(got.Session.Cart))
		}
	})
	t.Run("P1 a request that meets a renewal has not destroyed the session", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		var ann *sessionstest.Client[Session]
		ann = sessionstest.NewClient(t, m, around(m, func(w http.ResponseWriter, r *http.Request, s *Session, m *sessions.Manager[Session]) {
			if r.URL.Path == "/renew" {
				renew(w, r, s, m)
				return
			}
			if got := became(ann.Do(httptest.NewRequest("GET", "/renew", nil))); got != "renewed: ann" {
				t.Errorf("the renewal: %q", got)
			}
		}), &Session{UserID: "ann"})
		if got := became(ann.Do(get())); got != "no session: " {
			t.Errorf("%q, want neither renewed nor destroyed", got)
		}
		if got := ann.Do(httptest.NewRequest("GET", "/renew", nil)); !got.Renewed {
			t.Error("the client has not kept the newer token")
		}
	})
}

func TestUnavailable(t *testing.T) {
	t.Run("P1 a store that does not answer is the handler's business", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[Session](t, store, sessions.Config{Logger: (&kit.Log{}).Logger()})
		ann := sessionstest.NewClient(t, m, around(m, setUser), &Session{UserID: "ann"})
		store.Before = func(string, string) error { return sessions.ErrUnavailable }
		got := ann.Do(get())
		if got.Code != http.StatusServiceUnavailable || became(got) != "unknown: " {
			t.Errorf("%d, %q, want 503 and unknown", got.Code, became(got))
		}
		store.Before = nil
		if got := became(ann.Do(get())); got != "saved: bob" {
			t.Errorf("afterwards %q", got)
		}
	})
	t.Run("P1 a save that fails leaves the session as it was", func(t *testing.T) {
		store := &kit.Store{Store: kit.Memory()}
		m := kit.New[Session](t, store, sessions.Config{Logger: (&kit.Log{}).Logger()})
		ann := sessionstest.NewClient(t, m, around(m, setUser), &Session{UserID: "ann"})
		store.Before = func(op, _ string) error {
			if op == "CompareAndSwap" {
				return sessions.ErrUnavailable
			}
			return nil
		}
		if got := ann.Do(get()); got.Code != http.StatusServiceUnavailable || became(got) != ": ann" {
			t.Errorf("%d, %q, want 503 and ann", got.Code, became(got))
		}
	})
	t.Run("P1 a panic of the handler goes on", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		c := sessionstest.NewClient(t, m, m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })), nil)
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("%v, want the handler's", p)
			}
		}()
		c.Do(get())
	})
	t.Run("P1 a request that was cancelled has a Result", func(t *testing.T) {
		m := sessionstest.New[Session](t, sessions.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		ann := sessionstest.NewClient(t, m, around(m, func(http.ResponseWriter, *http.Request, *Session, *sessions.Manager[Session]) { cancel() }), &Session{UserID: "ann"})
		if got := became(ann.Do(get().WithContext(ctx))); got != ": ann" {
			t.Errorf("%q, want ann", got)
		}
	})
}

// A fake is a test that fails.
type fake struct {
	testing.TB
	out    bytes.Buffer
	failed string
}

func (f *fake) Helper()           {}
func (f *fake) Output() io.Writer { return &f.out }
func (f *fake) Fatalf(format string, args ...any) {
	f.failed = fmt.Sprintf(format, args...)
	panic(f)
}

// failure is what a test fails with in which f runs.
func failure(f func(tb testing.TB)) string {
	tb := new(fake)
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(tb) {
				panic(p)
			}
		}()
		f(tb)
	}()
	return tb.failed
}

func TestFailures(t *testing.T) {
	skipping := sessionstest.New[Session](t, sessions.Config{Skip: func(*http.Request) bool { return true }})
	header := sessionstest.New[Session](t, sessions.Config{Transport: sessions.HeaderToken{}})
	for _, tc := range []struct {
		desc string
		f    func(tb testing.TB)
		want []string
	}{
		{
			"a wrong Config", func(tb testing.TB) { sessionstest.New[Session](tb, sessions.Config{IdleTimeout: 15}) },
			[]string{"sessionstest: no Manager", "Config.IdleTimeout: 15ns"},
		},
		{
			"a T that cannot be stored", func(tb testing.TB) { sessionstest.New[struct{ C chan int }](tb, sessions.Config{}) },
			[]string{"C is of type chan int"},
		},
		{"a session that is too large", func(tb testing.TB) {
			m := sessionstest.New[Session](tb, sessions.Config{MaxSize: 1 << 10})
			sessionstest.NewClient(tb, m, around(m, look), &Session{UserID: strings.Repeat("x", 1<<10)})
		}, []string{"cannot be stored", "MaxSize"}},
		{
			"a Skip that names the sign-in", func(tb testing.TB) { sessionstest.NewClient(tb, skipping, around(skipping, look), &Session{}) },
			[]string{"GET https://example.com/", "Skip"},
		},
		{
			"the same with Cookie", func(tb testing.TB) { sessionstest.Cookie(tb, skipping, Session{}) },
			[]string{"GET https://example.com/", "Skip"},
		},
		{
			"no cookie", func(tb testing.TB) { sessionstest.Cookie(tb, header, Session{UserID: "ann"}) },
			[]string{"sends no cookie", "NewClient"},
		},
	} {
		t.Run("P1 the test fails by "+tc.desc, func(t *testing.T) {
			got := failure(tc.f)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q does not say %q", got, want)
				}
			}
		})
	}
	t.Run("P1 the log is the test's", func(t *testing.T) {
		tb := new(fake)
		m := sessionstest.New[Session](tb, sessions.Config{})
		sessionstest.NewClient(tb, m, around(m, setUser), nil).Do(httptest.NewRequest("GET", "http://example.com/", nil))
		if !strings.Contains(tb.out.String(), "Secure") {
			t.Errorf("%q, want the line about a Secure cookie on plain HTTP", tb.out.String())
		}
	})
}
