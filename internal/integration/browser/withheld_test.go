package browser

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// silent is a Transport that does not say which cookie it has: then there is no
// rule of the withheld cookie, as in every library without one.
type silent struct{ sessions.Transport }

// pages is another site, with every way to cause a request to an address.
func pages(target string) http.Handler {
	mux := http.NewServeMux()
	for path, body := range map[string]string{
		"/": `<form id=post method=POST action="%[1]s"><button>pay</button></form>
			<form id=get action="%[1]s"><button>search</button></form><a id=link href="%[1]s">link</a>`,
		"/iframe": `<iframe src="%[1]s"></iframe>`,
		"/object": `<object data="%[1]s" type="text/html"></object>`,
		"/image":  `<img src="%[1]s">`,
		"/script": `<script src="%[1]s"></script>`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { page(w, fmt.Sprintf(body, target)) })
	}
	return mux
}

// ways are the ways to go from a page of another site to an address of the app.
var ways = map[string]func(b *tab, other, target string){
	"a form with POST": func(b *tab, other, _ string) { b.visit(other + "/"); b.click("#post button") },
	"a form with GET":  func(b *tab, other, _ string) { b.visit(other + "/"); b.click("#get button") },
	"a link":           func(b *tab, other, _ string) { b.visit(other + "/"); b.click("#link") },
	"an iframe":        func(b *tab, other, _ string) { b.visit(other + "/iframe") },
	"an object":        func(b *tab, other, _ string) { b.visit(other + "/object") },
	"an image":         func(b *tab, other, _ string) { b.visit(other + "/image") },
	"a script":         func(b *tab, other, _ string) { b.visit(other + "/script") },
	"a fetch": func(b *tab, other, target string) {
		b.visit(other + "/")
		eval[string](b, "fetch('"+target+"', {credentials: 'include'}).then(r => r.text())")
	},
	"a fetch with POST": func(b *tab, other, target string) {
		b.visit(other + "/")
		eval[string](b, "fetch('"+target+"', {method: 'POST', mode: 'no-cors', credentials: 'include'}).then(r => r.type)")
	},
}

func TestWithheld(t *testing.T) {
	const lax, strict, none = http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode
	for _, row := range []struct {
		sameSite http.SameSite
		way      string
		sends    bool // the browser sends the cookie
	}{
		{lax, "a link", true},
		{lax, "a form with GET", true},
		{lax, "a form with POST", false},
		{lax, "an iframe", false},
		{lax, "an object", false},
		{lax, "an image", false},
		{lax, "a script", false},
		{lax, "a fetch", false},
		{lax, "a fetch with POST", false},
		{strict, "a link", false},
		{strict, "a form with POST", false},
		{strict, "an image", false},
		{none, "a link", true},
		{none, "a form with POST", true},
	} {
		t.Run(fmt.Sprintf("T14 from another site by %s, with SameSite %d", row.way, row.sameSite), func(t *testing.T) {
			t.Parallel()
			b, a := newTab(t), newApp(t, sessions.Cookie{SameSite: row.sameSite})
			origin := b.serve("app", a.Handler(a.mux))
			other := b.serve("other", pages(origin+"/view"))
			goes := ways[row.way]

			// A visitor gets a session if the browser would send its cookie with the next such request.
			goes(b, other, origin+"/view")
			want := 0
			if row.sends {
				want = 1
			}
			if created, kept := a.created(), len(b.cookies(origin)); created != want || kept != want {
				t.Errorf("a visitor: %d sessions are stored and %d cookies kept, want %d", created, kept, want)
			}

			b.visit(origin + "/in")
			a.created()
			a.events.Take()
			goes(b, other, origin+"/view")
			if withheld := slices.Equal(a.events.Kinds(), []sessions.EventKind{sessions.EventWithheld}); withheld == row.sends {
				t.Errorf("a user: the cookie was withheld: %t", withheld)
			}
			if got, want := b.visit(origin+"/who"), fmt.Sprintf(`"u1" %d`, 2*want); got != want || a.created() != 0 {
				t.Errorf("a user: afterwards %s, want %s and no new session", got, want)
			}
		})
	}

	t.Run("T14 with SameSite=None and Partitioned an iframe has a session of its own", func(t *testing.T) {
		t.Parallel()
		b, a := newTab(t), newApp(t, sessions.Cookie{SameSite: none, Partitioned: true})
		origin := b.serve("app", a.Handler(a.mux))
		other := b.serve("other", pages(origin+"/view"))
		for range 3 {
			b.visit(other + "/iframe")
		}
		if created := a.created(); created != 1 {
			t.Errorf("%d sessions are stored for three visits, want 1", created)
		}
		a.events.Want(t, sessions.EventCreated, sessions.EventSaved, sessions.EventSaved)
	})

	t.Run("T14 without the rule a form signs the user out, and an iframe, an image or a fetch leaves a session that nobody uses", func(t *testing.T) {
		t.Parallel()
		for way, goes := range ways {
			t.Run(way, func(t *testing.T) {
				t.Parallel()
				b, a := newTab(t), newApp(t, silent{sessions.Cookie{}})
				origin := b.serve("app", a.Handler(a.mux))
				other := b.serve("other", pages(origin+"/view"))
				b.visit(origin + "/in")
				a.created()
				goes(b, other, origin+"/view")
				got := fmt.Sprintf("%d stored, then %s", a.created(), b.visit(origin+"/who"))
				want := `1 stored, then "u1" 0`
				switch way {
				case "a form with POST":
					want = `1 stored, then "" 1`
				case "a form with GET", "a link":
					want = `0 stored, then "u1" 1`
				}
				if got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
	})

	t.Run("T14 a page of the same site has the cookie, also under Strict", func(t *testing.T) {
		t.Parallel()
		for _, way := range []string{"a form with POST", "a link", "an iframe", "a fetch with POST"} {
			b, a := newTab(t), newApp(t, sessions.Cookie{SameSite: strict})
			origin := b.serve("app", a.Handler(a.mux))
			beside := b.serveBeside("www", origin, pages(origin+"/view"))
			b.visit(origin + "/in")
			ways[way](b, beside, origin+"/view")
			if got := b.visit(origin + "/who"); got != `"u1" 1` {
				t.Errorf("%s: %s", way, got)
			}
		}
	})

	t.Run("T14 a sign-in by a form of another site replaces the session, as it is to", func(t *testing.T) {
		t.Parallel()
		b, a := newTab(t), newApp(t, nil)
		origin := b.serve("app", a.Handler(a.mux))
		other := b.serve("other", pages(origin+"/in"))
		b.visit(origin + "/view")
		ways["a form with POST"](b, other, "")
		if got := b.visit(origin + "/who"); got != `"u1" 0` {
			t.Errorf("afterwards: %s", got)
		}
	})

	t.Run("T14 a redirect from the form to a page of one's own has a Lax cookie, and no Strict one", func(t *testing.T) {
		t.Parallel()
		for sameSite, want := range map[http.SameSite]string{lax: `"u1" 0`, strict: `"" 0`} {
			b, a := newTab(t), newApp(t, sessions.Cookie{SameSite: sameSite})
			a.mux.Handle("/paid", http.RedirectHandler("/who", http.StatusSeeOther))
			origin := b.serve("app", a.Handler(a.mux))
			other := b.serve("other", pages(origin+"/paid"))
			b.visit(origin + "/in")
			b.visit(other + "/")
			if got := b.click("#post button"); got != want {
				t.Errorf("SameSite %d: %s, want %s", sameSite, got, want)
			}
		}
	})

	t.Run("T14 under Strict a page that refreshes to itself has the cookie then", func(t *testing.T) {
		t.Parallel()
		b, a := newTab(t), newApp(t, sessions.Cookie{SameSite: strict})
		landed := make(chan string, 1)
		a.mux.HandleFunc("/landing", func(w http.ResponseWriter, r *http.Request) {
			if s := a.FromContext(r.Context()); s.UserID != "" {
				landed <- r.Header.Get("Sec-Fetch-Site")
				return
			}
			page(w, `<meta http-equiv=refresh content=0>`)
		})
		origin := b.serve("app", a.Handler(a.mux))
		other := b.serve("other", pages(origin+"/landing"))
		b.visit(origin + "/in")
		b.visit(other + "/")
		b.do(chromedp.Click(chromedp.CSS("#link")))
		ctx, cancel := b.limit()
		defer cancel()
		select {
		case site := <-landed:
			if site != "same-origin" {
				t.Errorf("Sec-Fetch-Site is %s", site)
			}
		case <-ctx.Done():
			t.Error("the session is not there")
		}
	})
}

// Express' cookie has no SameSite by default. Chromium takes that for Lax.
func TestExpress(t *testing.T) {
	t.Run("T14 an iframe of another site stores no session of express'", func(t *testing.T) {
		t.Parallel()
		b := newTab(t)
		rdb := kit.MiniRedis(t)
		var events kit.Events
		m, err := express.New[kit.Session](redis.UniversalClient(rdb), express.Options{
			Secrets: []string{"keyboard cat"}, Cookie: express.Cookie{Secure: express.True}, OnEvent: events.On, Logger: slog.New(slog.DiscardHandler),
		})
		kit.Must(t, err)
		a := &app{Manager: m, mux: http.NewServeMux()}
		a.route(t)
		origin := b.serve("app", m.Handler(a.mux))
		other := b.serve("other", pages(origin+"/view"))
		b.visit(origin + "/in")
		events.Take()
		ways["an iframe"](b, other, "")
		events.Want(t, sessions.EventWithheld)
		if got := b.visit(origin + "/who"); got != `"u1" 0` {
			t.Errorf("afterwards: %s", got)
		}
		ways["a link"](b, other, "")
		events.Want(t, sessions.EventSaved)
	})
}

// The callback of docs/cookies.md.
func TestCallbackByPost(t *testing.T) {
	t.Run("T14 a callback by form_post finds its state by a cookie of its own, and signs in", func(t *testing.T) {
		t.Parallel()
		type login struct {
			State string `json:"state"`
		}
		b, a := newTab(t), newApp(t, nil)
		logins := kit.New[login](t, &a.store, sessions.Config{
			Realm: "login", Lifetime: 10 * time.Minute,
			Transport: sessions.Cookie{Name: "__Host-Http-login", SameSite: http.SameSiteNoneMode},
		})
		mux := http.NewServeMux()
		mux.Handle("GET /login", logins.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[login](r.Context()).State = "drawn"
		})))
		mux.Handle("POST /callback", logins.Handler(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			state := sessions.FromContext[login](ctx).State
			kit.OK(t, logins.Destroy(ctx))
			if state != "drawn" {
				http.Error(w, "no state", http.StatusForbidden)
				return
			}
			a.FromContext(ctx).UserID = "u1"
			kit.OK(t, a.SignIn(ctx))
			page(w, "welcome")
		}))))
		mux.Handle("/", a.Handler(a.mux))
		origin := b.serve("app", mux)
		other := b.serve("other", pages(origin+"/callback"))
		b.visit(origin + "/view") // a visitor with a session
		b.visit(origin + "/login")
		b.visit(other + "/")
		if got := b.click("#post button"); got != "welcome" {
			t.Errorf("the callback answers %s", got)
		}
		if got := b.visit(origin + "/who"); got != `"u1" 0` {
			t.Errorf("afterwards: %s", got)
		}
		if c := b.cookies(origin)["__Host-Http-login"]; c != nil {
			t.Error("the cookie of the login is still there")
		}
	})
}

// docs/cookies.md says so: what a page of the app does in a frame of another site comes without the cookie, and no
// Sec-Fetch-Site tells it from what a new visitor does.
func TestFramed(t *testing.T) {
	t.Parallel()
	b, a := newTab(t), newApp(t, sessions.Cookie{})
	a.mux.HandleFunc("/frame", func(w http.ResponseWriter, _ *http.Request) { page(w, `<img src="/view">`) })
	var mu sync.Mutex
	var sites []string
	var cookies int
	origin := b.serve("app", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/view" {
			mu.Lock()
			sites, cookies = append(sites, r.Header.Get("Sec-Fetch-Site")), cookies+len(r.Cookies())
			mu.Unlock()
		}
		a.Handler(a.mux).ServeHTTP(w, r)
	}))
	other := b.serve("other", pages(origin+"/frame"))
	b.visit(origin + "/in")
	b.visit(other + "/iframe")
	if got := b.visit(origin + "/who"); got != `"u1" 0` {
		t.Errorf("the user is %s afterwards", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(sites, []string{"same-origin"}) || cookies != 0 {
		t.Errorf("the frame's own requests say %q and have %d cookies", sites, cookies)
	}
}
