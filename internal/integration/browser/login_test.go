package browser

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/examples/login/site"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A login is examples/login on a host of its own, with an account, as one profile of the browser sees it.
type login struct {
	*tab
	site             *site.Site
	origin, password string
	posts            *posts
}

// posts lets two forms to one path come in the order that is the hardest. The first one has loaded the session, and is
// held back, by its body, until the second one has come. That is served when the first one has been.
type posts struct {
	http.Handler
	mu                sync.Mutex
	held              string // the path
	n                 int
	second, firstDone chan struct{}
}

func (p *posts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	n := 0
	if r.Method == http.MethodPost && r.URL.Path == p.held {
		p.n++
		n = p.n
	}
	p.mu.Unlock()
	switch n {
	case 1:
		body, _ := io.ReadAll(r.Body)
		r.Body = &heldBody{bytes.NewReader(body), p.second}
		defer close(p.firstDone)
	case 2:
		close(p.second)
		<-p.firstDone
	}
	p.Handler.ServeHTTP(w, r)
}

// A heldBody can be read when until is closed.
type heldBody struct {
	io.Reader
	until <-chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	<-b.until
	return b.Reader.Read(p)
}

func (*heldBody) Close() error { return nil }

// hold begins to count the forms to a path.
func (p *posts) hold(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.n, p.second, p.firstDone = path, 0, make(chan struct{}), make(chan struct{})
}

func newLogin(t *testing.T) *login {
	t.Helper()
	b := newTab(t)
	s, err := site.New(site.Config{
		Store: kit.Memory(), Fresh: 5 * time.Minute,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Mail: func(string, string, string) {},
	})
	kit.Must(t, err)
	t.Cleanup(s.Close)
	password, err := s.AddUser("ada@example.com", "Ada Lovelace")
	kit.Must(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", s)
	// An hour passes since the sign-in.
	mux.Handle("/test/stale", s.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kit.OK(t, s.Manager.Reauthenticate(r.Context(), sessions.AuthenticatedAt(time.Now().Add(-time.Hour)), sessions.AuthenticatedBy("pwd")))
		page(w, "stale")
	})))
	p := &posts{Handler: mux}
	return &login{b, s, b.serve("login", p), password, p}
}

// another is the site as another profile of the browser sees it.
func (l *login) another(agent string) *login {
	l.t.Helper()
	other := *l
	other.tab = l.newProfile()
	other.as(agent)
	return &other
}

// as makes the profile one of another browser, by what it says of itself.
func (l *login) as(agent string) {
	l.t.Helper()
	ctx, cancel := l.limit()
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent})
	kit.Must(l.t, err)
}

// fill types into the fields of the page.
func (l *login) fill(fields ...string) {
	l.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		l.do(chromedp.SendKeys(chromedp.CSS(fields[i]), fields[i+1]))
	}
}

// signIn goes to the form, and through it.
func (l *login) signIn() (page string) {
	l.t.Helper()
	l.visit(l.origin + "/signin")
	l.fill("#email", "ada@example.com", "#password", l.password)
	return l.click(`form[action="/signin"] button`)
}

// twice clicks twice on the button of a form, and waits for what leads on.
func (l *login) twice(path, then string) {
	l.t.Helper()
	l.posts.hold(path)
	button := fmt.Sprintf(`document.querySelector('form[action="%s"] button')`, path)
	eval[bool](l.tab, `setTimeout(() => `+button+`.click(), 50), `+button+`.click(), true`)
	l.do(chromedp.WaitVisible(chromedp.CSS(then)))
	l.posts.mu.Lock()
	defer l.posts.mu.Unlock()
	if l.posts.n != 2 {
		l.t.Errorf("%d forms came, want 2: the test shows nothing", l.posts.n)
	}
}

func want(t *testing.T, what, got, part string) {
	t.Helper()
	if !strings.Contains(got, part) {
		t.Errorf("%s: the page says %q, want %q in it", what, got, part)
	}
}

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
	iPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
	windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)

func TestLogin(t *testing.T) {
	t.Run("O1 O4 T6 two profiles see each other; the one that is ended loses access at once, and its live page within two seconds", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.as(firefox)
		want(t, "the first sign-in", l.signIn(), "Welcome back, Ada Lovelace.")
		phone := l.another(iPhone)
		phone.visit(l.origin + "/signin")
		phone.do(chromedp.Click(chromedp.CSS(".check input")))
		phone.fill("#email", "ada@example.com", "#password", l.password)
		want(t, "the second sign-in", phone.click(`form[action="/signin"] button`), "Welcome back, Ada Lovelace.")

		for _, p := range []*login{l, phone} {
			c := p.cookies(l.origin)["__Host-Http-session"]
			if c == nil || !c.Secure || !c.HTTPOnly || c.Path != "/" || c.SameSite != network.CookieSameSiteLax || c.Session != (p == l) {
				t.Errorf("the browser keeps %+v", c)
			}
			list := p.visit(l.origin + "/devices")
			want(t, "the devices", list, "Firefox on Linux, 127.0.0.1")
			want(t, "the devices", list, "Safari on iPhone, 127.0.0.1")
			if n := strings.Count(list, "This device"); n != 1 {
				t.Errorf("%d devices are this one", n)
			}
		}

		phone.visit(l.origin + "/live")
		phone.do(chromedp.WaitVisible(chromedp.CSS("[data-state=on]")))
		eval[bool](phone.tab, `new MutationObserver(() => { window.ended ??= live.dataset.state === "ended" ? Date.now() : undefined }).observe(live, {attributes: true}), true`)
		want(t, "the end", l.click(`[aria-label*=iPhone]`), "That device is signed out.")
		ended := time.Now()
		phone.do(chromedp.WaitVisible(chromedp.CSS("[data-state=ended]")))
		late := time.UnixMilli(eval[int64](phone.tab, "window.ended")).Sub(ended)
		if late > 2*time.Second+500*time.Millisecond { // half a second is for the browser
			t.Errorf("its live page stops after %v", late)
		}
		want(t, "the live page", phone.text(), "This session has ended")
		want(t, "the devices of who was ended", phone.visit(l.origin+"/devices"), "Keep me signed in")
		if list := l.visit(l.origin + "/devices"); strings.Contains(list, "iPhone") {
			t.Errorf("it is still listed: %s", list)
		}
	})

	t.Run("O16 a live page that is refused its stream for a moment does not say that the session has ended", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		var refused atomic.Int64
		served := l.posts.Handler
		l.posts.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/live/events" && refused.Add(1) == 1 {
				http.Error(w, "an outage", http.StatusServiceUnavailable)
				return
			}
			served.ServeHTTP(w, r)
		})
		l.signIn()
		l.visit(l.origin + "/live")
		l.do(chromedp.WaitVisible(chromedp.CSS("[data-state=on]")))
		want(t, "the live page", l.text(), "Connected")
	})

	t.Run("T2 L12 a cookie that somebody has planted signs nobody in, and is no session of the user's after the sign-in", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		attacker := l.another(windows)
		attacker.visit(l.origin + "/signin")
		attacker.click(`form[action="/oauth/start"] button`) // begins a session, of nobody
		kept := attacker.cookies(l.origin)["__Host-Http-session"]
		for name, value := range map[string]string{"drawn by the attacker": kept.Value[:1] + strings.Repeat("A", len(kept.Value)-1), "of a session of the attacker's": kept.Value} {
			l.plant(value)
			want(t, name, l.visit(l.origin+"/"), "Create an account")
			want(t, name, l.signIn(), "Hello, Ada Lovelace")
			if c := l.cookies(l.origin)["__Host-Http-session"]; c.Value == value {
				t.Errorf("%s: the user is signed in by it", name)
			}
			if page := attacker.visit(l.origin + "/devices"); strings.Contains(page, "Your devices") {
				t.Errorf("%s: the attacker sees %s", name, page)
			}
			l.click(`form[action="/signout"] button`)
		}
	})

	t.Run("O9 the fourth sign-in ends the oldest session", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.signIn()
		profiles := []*login{l}
		for _, agent := range []string{firefox, iPhone, windows} {
			p := l.another(agent)
			p.signIn()
			profiles = append(profiles, p)
		}
		for i, p := range profiles {
			part := "Your devices"
			if i == 0 {
				part = "Keep me signed in"
			}
			want(t, fmt.Sprintf("profile %d", i+1), p.visit(l.origin+"/devices"), part)
		}
		if n := eval[int](profiles[3].tab, `document.querySelectorAll(".devices li").length`); n != 3 {
			t.Errorf("%d devices are listed, want 3", n)
		}
	})

	t.Run("T9 the back button shows nothing private after the sign-out", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.signIn()
		l.visit(l.origin + "/devices")
		want(t, "the sign-out", l.click(`form[action="/signout"] button`), "You are signed out.")
		l.do(chromedp.NavigateBack())
		want(t, "after going back", l.text(), "Keep me signed in")
		if l.cookies(l.origin)["__Host-Http-session"] != nil {
			t.Error("the cookie is still there")
		}
	})

	t.Run("L12 a sign-in with another site comes back with its state", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.visit(l.origin + "/signin")
		want(t, "the provider", l.click(`form[action="/oauth/start"] button`), "Who are you?")
		before := l.cookies(l.origin)["__Host-Http-session"].Value
		want(t, "the site", l.click(`button[value="1906"]`), "Hello, Grace Hopper")
		if l.cookies(l.origin)["__Host-Http-session"].Value == before {
			t.Error("the token is the one from before the sign-in")
		}
	})
}

// plant puts a cookie into the profile, as only the browser's own tools can.
func (l *login) plant(value string) {
	l.t.Helper()
	ctx, cancel := l.limit()
	defer cancel()
	yes := true
	_, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{
		Name: "__Host-Http-session", Value: value, URL: l.origin, Path: "/", Secure: &yes, HTTPOnly: &yes,
	})
	kit.Must(l.t, err)
	if l.cookies(l.origin)["__Host-Http-session"].Value != value {
		l.t.Fatal("the browser does not keep it: the test shows nothing")
	}
}

func TestLoginDoubleClicks(t *testing.T) {
	t.Run("L20 a sign-in that is clicked twice signs in", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.visit(l.origin + "/signin")
		l.fill("#email", "ada@example.com", "#password", l.password)
		l.twice("/signin", ".tiles")
		want(t, "afterwards", l.visit(l.origin+"/devices"), "This device")
		// The browser has given up the first request, so that began no session that nobody uses.
		if n := eval[int](l.tab, `document.querySelectorAll(".devices li").length`); n != 1 {
			t.Errorf("%d devices, want 1", n)
		}
	})
	t.Run("L23 a step-up that is clicked twice opens what it is for", func(t *testing.T) {
		t.Parallel()
		l := newLogin(t)
		l.signIn()
		l.visit(l.origin + "/test/stale")
		want(t, "an hour later", l.visit(l.origin+"/account"), "Is it still you?")
		l.fill("#password", l.password)
		l.twice("/confirm", "#delete")
		want(t, "afterwards", l.visit(l.origin+"/account"), "Delete your account")
	})
}

// shoot takes a picture of the page, for the README: SESSIONS_SCREENSHOTS=1 writes it into docs/login.
func (l *login) shoot(name, scheme string) {
	l.t.Helper()
	l.emulate(760, 640, scheme)
	eval[bool](l.tab, "document.activeElement.blur(), true")
	ctx, cancel := l.limit()
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	kit.Must(l.t, err)
	if len(picture) >= 150_000 {
		l.t.Errorf("%s has %d bytes, want less than 150,000", name, len(picture))
	}
	if os.Getenv("SESSIONS_SCREENSHOTS") == "1" {
		kit.Must(l.t, os.WriteFile(filepath.Join("..", "..", "..", "docs", "login", name), picture, 0o644))
	}
}

// emulate sets the size of the window, and whether the user likes it light or dark.
func (b *tab) emulate(width, height int64, scheme string) {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	kit.Must(b.t, err)
	kit.Must(b.t, chromedp.Do(ctx, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(1.5))))
}

func TestLoginPictures(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	l.as(firefox)
	l.visit(l.origin + "/signin")
	l.shoot("signin.png", "light")
	l.signIn()
	phone := l.another(iPhone)
	phone.visit(l.origin + "/signin")
	phone.do(chromedp.Click(chromedp.CSS(".check input")))
	phone.fill("#email", "ada@example.com", "#password", l.password)
	phone.click(`form[action="/signin"] button`)
	l.visit(l.origin + "/devices")
	l.shoot("devices.png", "light")
	phone.visit(l.origin + "/live")
	phone.do(chromedp.WaitVisible(chromedp.CSS("[data-state=on]")))
	l.click(`[aria-label*=iPhone]`)
	phone.do(chromedp.WaitVisible(chromedp.CSS("[data-state=ended]")))
	phone.shoot("live.png", "dark")
	l.visit(l.origin + "/test/stale")
	l.visit(l.origin + "/account")
	l.shoot("confirm.png", "dark")
}

func TestLoginOnAPhone(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	l.as(iPhone)
	l.emulate(320, 640, "light") // WCAG 2.2, 1.4.10
	fits := func(path string) {
		t.Helper()
		l.visit(l.origin + path)
		if width := eval[int](l.tab, "document.documentElement.scrollWidth"); width > 320 {
			t.Errorf("%s is %d pixels wide, want 320", path, width)
		}
	}
	for _, path := range []string{"/", "/signin", "/signup", "/signup/finish"} {
		fits(path)
	}
	l.signIn()
	for _, path := range []string{"/", "/devices", "/live", "/account", "/confirm"} {
		fits(path)
	}
}
