package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// output collects what the demo logs and finds addresses in it.
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
	timeout := time.After(10 * time.Second)
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

// start runs the demo; the returned function stops it and gives run's error.
func start(t *testing.T, args ...string) (*output, func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out := &output{got: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), out) }()
	return out, func() error { cancel(); return <-done }
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestViews(t *testing.T) {
	for _, codec := range []string{"json", "msgpack"} {
		t.Run(codec, func(t *testing.T) {
			out, stop := start(t, "-codec", codec, "-max-age", "90s")
			url := out.find(t, `listening on (\S+)`)
			rdb := redis.NewClient(&redis.Options{Addr: out.find(t, `embedded Redis on (\S+)`)})
			defer rdb.Close()
			jar, _ := cookiejar.New(nil)
			c := &http.Client{Jar: jar}

			res, body := get(t, c, url)
			if want := "welcome to the session demo. refresh!"; body != want {
				t.Errorf("first visit: %q, want %q", body, want)
			}
			cookies := res.Cookies()
			if len(cookies) != 1 || cookies[0].Name != "session" || cookies[0].MaxAge <= 0 || !cookies[0].HttpOnly {
				t.Fatalf("cookies %v, want one persistent HttpOnly one named session", cookies)
			}
			for _, want := range []string{"views: 2", "views: 3"} {
				_, body = get(t, c, url)
				if !strings.Contains(body, want) || !regexp.MustCompile(`expires in: (90|89)s`).MatchString(body) {
					t.Errorf("page %q, want %s and expires in: 90s", body, want)
				}
			}
			if res, _ := get(t, c, url+"/favicon.ico"); res.StatusCode != http.StatusNotFound {
				t.Errorf("another path: %s, want 404", res.Status)
			}
			keys, err := rdb.Keys(t.Context(), "userSession:*").Result()
			if err != nil || len(keys) != 1 {
				t.Errorf("keys %v, %v; want one", keys, err)
			}

			log := out.String()
			if n := strings.Count(log, " views\n"); n != 3 {
				t.Errorf("%d lines for 3 pages:\n%s", n, log)
			}
			out.find(t, `session ([0-9a-f]{8}-[0-9a-f-]{27}): 3 views`)
			if strings.Contains(log, cookies[0].Value) {
				t.Error("the log holds the token")
			}
			if err := stop(); err != nil {
				t.Errorf("stopped with %v", err)
			}
			if _, err := c.Get(url); err == nil {
				t.Error("still listening after the stop")
			}
		})
	}
}

func TestViewsExpire(t *testing.T) {
	out, stop := start(t, "-max-age", "1s")
	defer stop()
	url := out.find(t, `listening on (\S+)`)
	rdb := redis.NewClient(&redis.Options{Addr: out.find(t, `embedded Redis on (\S+)`)})
	defer rdb.Close()
	get(t, http.DefaultClient, url)
	if n := rdb.DBSize(t.Context()).Val(); n != 1 {
		t.Fatalf("%d keys after a visit, want 1", n)
	}
	// The embedded clock really runs: no FastForward here.
	deadline := time.Now().Add(10 * time.Second)
	for rdb.DBSize(t.Context()).Val() != 0 {
		if time.Now().After(deadline) {
			t.Fatal("the session is still there after ten times its max-age")
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestViewsRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"an unreachable Redis", "cannot reach Redis on 127.0.0.1:1", []string{"-redis", "redis://127.0.0.1:1/0"}},
		{"a URL that is none", "-redis: ", []string{"-redis", "localhost:6379"}},
		{"an unknown codec", `unknown codec "gob"`, []string{"-codec", "gob"}},
		{"a max-age without sense", "-max-age", []string{"-max-age", "-1s"}},
		{"a stray argument", `unexpected argument "9091"`, []string{"9091"}},
		{"an address in use", "address already in use", []string{"-addr", occupied(t)}},
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

// occupied is an address that the test listens on.
func occupied(t *testing.T) string {
	out, stop := start(t)
	t.Cleanup(func() { stop() })
	return strings.TrimPrefix(out.find(t, `listening on (\S+)`), "http://")
}
