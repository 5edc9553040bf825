package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestGoHalf(t *testing.T) {
	out, stop := start(t)
	b := browse(t, out)
	rdb := client(t, out.find(t, `server.mjs (redis://\S+)`))

	b.sees("GET", "/", "Go answered. views: 1, user: nobody")
	b.sees("GET", "/", "Go answered. views: 2, user: nobody")
	anonymous := b.cookie("connect.sid")
	b.sees("POST", "/signin?user=ada", "Go answered. views: 3, user: ada")
	if b.cookie("connect.sid") == anonymous {
		t.Error("signing in has kept the sid")
	}
	if keys := rdb.Keys(t.Context(), "*").Val(); len(keys) != 1 || !strings.HasPrefix(keys[0], "sess:") {
		t.Errorf("keys %q, want one below sess:", keys)
	}
	b.sees("POST", "/signout", "Go answered. views: 1, user: nobody")

	for _, secret := range []string{anonymous, b.cookie("connect.sid")} {
		if secret == "" || strings.Contains(out.String(), secret) {
			t.Errorf("cookie %q: want one, and not in the log", secret)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

// What is passed on is no business of the Manager's: Express touches and saves
// these sessions and sends their cookies.
func TestPassesOn(t *testing.T) {
	var got *http.Request
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		h := w.Header()
		h["Date"], h["X-Powered-By"] = nil, []string{"Express"}
		h["Set-Cookie"] = []string{"connect.sid=theirs; Path=/", "theme=dark"}
	}))
	defer node.Close()
	out, stop := start(t, "-node", node.URL)
	defer stop()
	b := browse(t, out)
	rdb := client(t, out.find(t, `server.mjs (redis://\S+)`))
	b.sees("GET", "/", "views: 1")
	key := rdb.Keys(t.Context(), "*").Val()[0]
	rdb.Expire(t.Context(), key, time.Minute)
	cookie := b.cookie("connect.sid")

	res, _ := b.do("GET", "/account?tab=2")
	if got == nil || got.URL.String() != "/account?tab=2" || got.Host != b.url.Host {
		t.Fatalf("Node was asked %v, want /account?tab=2 of %s", got, b.url.Host)
	}
	for name, want := range map[string]string{
		"Cookie":            "connect.sid=" + cookie,
		"X-Forwarded-For":   "127.0.0.1",
		"X-Forwarded-Host":  b.url.Host,
		"X-Forwarded-Proto": "http",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	res.Header.Del("Date")
	want := http.Header{
		"Content-Length": {"0"}, "X-Powered-By": {"Express"},
		"Set-Cookie": {"connect.sid=theirs; Path=/", "theme=dark"},
	}
	if !reflect.DeepEqual(res.Header, want) {
		t.Errorf("header %v, want Node's %v", res.Header, want)
	}
	if ttl := rdb.TTL(t.Context(), key).Val(); ttl > time.Minute {
		t.Errorf("the session ends in %v: the Go half has touched it", ttl)
	}
}

func TestNodeAsleep(t *testing.T) {
	mini := miniredis.RunT(t)
	mini.RequireAuth("open sesame")
	out, stop := start(t, "-redis", "redis://:open%20sesame@"+mini.Addr(), "-node", "http://"+nobody(t))
	defer stop()
	b := browse(t, out)
	b.sees("GET", "/", "views: 1")

	res, body := b.do("GET", "/node")
	if res.StatusCode != http.StatusBadGateway || len(res.Cookies()) > 0 {
		t.Errorf("%s with cookies %v, want 502 without", res.Status, res.Cookies())
	}
	if want := "node examples/express/server.mjs redis://:xxxxx@" + mini.Addr(); !strings.Contains(body, want) {
		t.Errorf("page %q, want the command %q", body, want)
	}
	if strings.Contains(body+out.String(), "sesame") {
		t.Error("the password of Redis is shown")
	}
}

func TestRefuses(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	taken := server.Listener.Addr().String()
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"an unreachable Redis", "cannot reach Redis on 127.0.0.1:1", []string{"-redis", "redis://127.0.0.1:1/0"}},
		{"a URL that is none", "-redis: ", []string{"-redis", "localhost:6379"}},
		{"a Node that is none", `-node: "localhost:9093"`, []string{"-node", "localhost:9093"}},
		{"an address that is taken", `address already in use: choose another address, such as -addr :9096`, []string{"-addr", taken}},
		{"a stray argument", `unexpected argument "9092"`, []string{"9092"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out output
			err := run(t.Context(), append([]string{"-addr", "127.0.0.1:0"}, test.args...), &out)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, test.want)
			}
		})
	}
}

func TestPair(t *testing.T) {
	mini := miniredis.RunT(t)
	out, stop := start(t, "-redis", "redis://"+mini.Addr(), "-node", serveNode(t, "redis://"+mini.Addr()))
	defer stop()
	b := browse(t, out)
	sids := map[string]bool{}
	renewed := func() {
		t.Helper()
		if sid := b.cookie("connect.sid"); sids[sid] {
			t.Error("the sid is one from before")
		} else {
			sids[sid] = true
		}
	}

	b.sees("GET", "/", "Go answered. views: 1, user: nobody")
	_, body := b.sees("GET", "/node", "Express answered. views: 2, user: nobody")
	since := regexp.MustCompile(`since: \S+Z`).FindString(body)
	renewed()

	b.sees("POST", "/node/signin?user=ada", "Express answered. views: 3, user: ada")
	renewed()
	b.sees("GET", "/", "Go answered. views: 4, user: ada")
	b.sees("POST", "/signin?user=bob", "Go answered. views: 5, user: bob")
	renewed()
	b.sees("GET", "/node", "Express answered. views: 6, user: bob, "+since) // T does not know since
	for n := range 20 {
		b.sees("GET", []string{"/", "/node"}[n%2], "user: bob")
	}
	b.sees("GET", "/", "views: 27")

	b.sees("POST", "/signout", "Go answered. views: 1, user: nobody")
	renewed()
	b.sees("GET", "/node", "Express answered. views: 2, user: nobody")
	b.sees("POST", "/node/signin?user=eve", "Express answered. views: 3, user: eve")
	renewed()
	b.sees("POST", "/node/signout", "Express answered. views: 1, user: nobody")
	renewed()
	b.sees("GET", "/", "Go answered. views: 2, user: nobody")
	if keys := mini.Keys(); len(keys) != 1 {
		t.Errorf("%d sessions are stored, want the last one alone", len(keys))
	}
}

func TestNodeRefuses(t *testing.T) {
	redisURL := "redis://" + miniredis.RunT(t).Addr()
	taken, err := url.Parse(serveNode(t, redisURL))
	if err != nil {
		t.Fatal(err)
	}
	out := startNode(t, redisURL, taken.Port())
	out.find(t, `(address already in use) .*: start the Go half with another port, such as -node http://localhost:\d+;`)
}

// serveNode starts server.mjs and returns its URL.
func serveNode(t *testing.T, redisURL string) string {
	return startNode(t, redisURL, "0").find(t, `Express on (\S+)/node`)
}

// startNode starts server.mjs with these arguments.
func startNode(t *testing.T, args ...string) *output {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("node_modules")
	}
	if err != nil {
		const how = "%v: install Node and run: npm ci --prefix examples/express"
		if os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
			t.Fatalf(how, err)
		}
		t.Skipf(how, err)
	}
	out := &output{got: make(chan struct{}, 1)}
	cmd := exec.Command(node, append([]string{"server.mjs"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return out
}

// browser keeps cookies, follows redirects and allows one session cookie.
type browser struct {
	t    *testing.T
	url  *url.URL
	http *http.Client
}

func browse(t *testing.T, out *output) *browser {
	t.Helper()
	u, err := url.Parse(out.find(t, `listening on (\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	t.Cleanup(c.CloseIdleConnections)
	return &browser{t, u, c}
}

// do sends the query of a POST as its form.
func (b *browser) do(method, target string) (*http.Response, string) {
	b.t.Helper()
	form := ""
	if method == "POST" {
		target, form, _ = strings.Cut(target, "?")
	}
	req, err := http.NewRequest(method, b.url.String()+target, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

func (b *browser) sees(method, target, want string) (*http.Response, string) {
	b.t.Helper()
	res, body := b.do(method, target)
	if res.StatusCode != http.StatusOK || !strings.Contains(body, want) {
		b.t.Errorf("%s %s: %s %q, want %q", method, target, res.Status, body, want)
	}
	if cookies := res.Cookies(); len(cookies) != 1 { // both halves are rolling
		b.t.Errorf("%s %s: cookies %v, want one", method, target, cookies)
	}
	return res, body
}

func (b *browser) cookie(name string) (value string) {
	for _, c := range b.http.Jar.Cookies(b.url) {
		if c.Name == name {
			value = c.Value
		}
	}
	return value
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(options)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// nobody is an address on which nobody listens.
func nobody(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	return server.Listener.Addr().String()
}

// start runs the demo; the returned function stops it and gives run's error.
func start(t *testing.T, args ...string) (*output, func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out := &output{got: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), out) }()
	return out, func() error { cancel(); return <-done }
}

// output collects what a half logs and finds addresses in it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	got chan struct{} // a line came
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	select {
	case o.got <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// find waits for a line that matches and returns the first group.
func (o *output) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(20 * time.Second)
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m[1]
		}
		select {
		case <-o.got:
		case <-timeout:
			t.Fatalf("no %q in the log:\n%s", pattern, o)
		}
	}
}
