package site

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/sessionstest"
)

// A fixture is a site with the accounts of ada and bob.
type fixture struct {
	*Site
	t        *testing.T
	password string // of both
	mails    []string
}

const ada, bob = "ada@example.com", "bob@example.com"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, password: "correct horse battery"}
	var err error
	f.Site, err = New(Config{
		Store: &sessions.MemoryStore{}, Fresh: 5 * time.Minute, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Mail: func(to, subject, path string) { f.mails = append(f.mails, to+": "+subject+": "+path) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.users.iterations = 1
	for email, name := range map[string]string{ada: "Ada", bob: "Bob"} {
		salt, hash := f.users.newHash(f.password)
		if _, err := f.users.add(user{email: email, name: name, salt: salt, hash: hash}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fixture) user(email string) user {
	f.t.Helper()
	u, ok := f.users.byEmail(email)
	if !ok {
		f.t.Fatalf("%s has no account", email)
	}
	return u
}

// A client is one browser.
type client struct {
	*sessionstest.Client[Session]
}

type result = *sessionstest.Result[Session]

// visitor has no session.
func (f *fixture) visitor() client {
	return client{sessionstest.NewClient(f.t, f.Manager, f, nil)}
}

// as is signed in.
func (f *fixture) as(email string, opts ...sessions.SignInOption) client {
	return client{sessionstest.NewClient(f.t, f.Manager, f, &Session{UserID: f.user(email).id}, opts...)}
}

func (c client) get(path string) result {
	return c.Do(httptest.NewRequest("GET", "https://example.com"+path, nil))
}

// post sends a form of names and values.
func (c client) post(path string, fields ...string) result {
	return c.Do(newForm(path, fields...))
}

func newForm(path string, fields ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	r := httptest.NewRequest("POST", "https://example.com"+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (f *fixture) signIn(c client, email, password string, more ...string) result {
	return c.post("/signin", append([]string{"email", email, "password", password}, more...)...)
}

// want compares the status, the redirect and a part of the page.
func want(t *testing.T, what string, got result, status int, part string) {
	t.Helper()
	body, _ := io.ReadAll(got.Result().Body)
	_, text, _ := strings.Cut(string(body), "<main ")
	text, _, _ = strings.Cut(text, "</main>")
	if status == http.StatusSeeOther {
		text = got.Header().Get("Location")
	}
	if got.Code != status || !strings.Contains(text, part) {
		t.Errorf("%s: %d %q, want %d and %q", what, got.Code, text, status, part)
	}
}

func TestWhoReachesWhat(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		path          string
		visitor, user int
	}{
		{"/", 200, 200},
		{"/signin", 200, 303},
		{"/signup", 200, 200},
		{"/signup/finish", 404, 404},
		{"/devices", 303, 200},
		{"/live", 303, 200},
		{"/account", 303, 200},
		{"/confirm", 303, 200},
		{"/oauth/callback", 403, 403},
		{"/static/style.css", 200, 200},
		{"/static/", 404, 404},
		{"/nothing", 404, 404},
	} {
		visitor, u := f.visitor().get(test.path), f.as(ada).get(test.path)
		if visitor.Code != test.visitor || u.Code != test.user {
			t.Errorf("%s: a visitor gets %d, want %d; a user %d, want %d", test.path, visitor.Code, test.visitor, u.Code, test.user)
		}
		if visitor.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: a visitor who only looks gets a cookie", test.path)
		}
	}
}

func TestHeaders(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/", "/devices", "/account", "/live", "/provider/authorize", "/nothing", "/static/live.js"} {
		h := f.as(ada).get(path).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
				"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security":  "max-age=63072000",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if strings.HasPrefix(h.Get("Content-Type"), "text/html") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", path, h.Get("Cache-Control"))
		}
	}
}

func TestOtherSitesFormsAreRefused(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{
		"/signin", "/signup", "/signup/finish", "/signout", "/oauth/start", "/confirm", "/devices/end", "/devices/end-others",
		"/account/password", "/account/delete",
	} {
		c := f.as(ada)
		r := newForm(path, "email", ada, "password", f.password)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if got := c.Do(r); got.Code != http.StatusForbidden || got.Saved || got.Renewed || got.Destroyed {
			t.Errorf("%s: %d, saved %t, renewed %t, destroyed %t", path, got.Code, got.Saved, got.Renewed, got.Destroyed)
		}
	}
	if _, ok := f.users.byEmail(ada); !ok {
		t.Error("the account is gone")
	}
}

func TestLabels(t *testing.T) {
	for agent, want := range map[string]string{
		"": "A browser, 192.0.2.1",
		"Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0":                                                                          "Firefox on Linux, 192.0.2.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36":                                 "Chrome on Windows, 192.0.2.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0":                   "Edge on Windows, 192.0.2.1",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1":         "Safari on iPhone, 192.0.2.1",
		"Mozilla/5.0 (iPad; CPU OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/156.0.0.0 Mobile/15E148 Safari/604.1":               "Chrome on iPad, 192.0.2.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/30.0 Chrome/146.0.0.0 Mobile Safari/537.36":             "Samsung Internet on Android, 192.0.2.1",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15":                           "Safari on Mac, 192.0.2.1",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 OPR/130.0.0.0<script>alert(1)</s": "Opera on ChromeOS, 192.0.2.1",
		"curl/8.14.1": "curl, 192.0.2.1",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("User-Agent", agent)
		if got := deviceLabel(r); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

// Who has one IPv6 address has all with the same first half.
func TestNetworks(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":            "192.0.2.1",
		"[::ffff:192.0.2.1]:1234":   "::ffff:192.0.2.1",
		"[2001:db8:1:2:a:b:c:d]:1":  "2001:db8:1:2::/64",
		"[2001:db8:1:2::7]:2":       "2001:db8:1:2::/64",
		"[2001:db8:1:3::7%eth0]:80": "2001:db8:1:3::/64",
		"@":                         "@",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = remote
		if got := network(r); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

// bubble runs a test by a clock of its own.
func bubble(t *testing.T, name string, test func(t *testing.T, f *fixture)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, newFixture(t)) }) })
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{max: 2, window: time.Minute}
		for i, want := range []bool{true, true, false, false} {
			if l.allow("a") != want {
				t.Errorf("attempt %d is allowed: %t", i+1, !want)
			}
		}
		if !l.allow("b") {
			t.Error("another key is not allowed")
		}
		l.forget("a")
		if !l.allow("a") {
			t.Error("not forgotten")
		}
		l.allow("a")
		time.Sleep(time.Minute + 1)
		if !l.allow("a") {
			t.Error("the window does not end")
		}
		for i := range maxKeys {
			l.seen[strconv.Itoa(i)] = 1
		}
		if l.allow("c") {
			t.Error("there is no limit of keys")
		}
	})
}
