package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// output collects what the program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	got chan struct{} // something came
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

// find waits for what matches and returns the first group.
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
			t.Fatalf("no %q is printed:\n%s", pattern, o)
		}
	}
}

func TestLogin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{got: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-addr", "127.0.0.1:0", "-insecure"}, out) }()
	base, password := out.find(t, `open +(\S+)`), out.find(t, `with +(\S+)`)
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	defer client.CloseIdleConnections()
	post := func(path string, form url.Values) string {
		t.Helper()
		res, err := client.PostForm(base+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if page := post("/signin", url.Values{"email": {"ada@example.com"}, "password": {password}}); !strings.Contains(page, "Hello, Ada Lovelace") {
		t.Errorf("the page after the sign-in is %s", page)
	}
	post("/signup", url.Values{"email": {"eve@example.com"}})
	out.find(t, `mail to eve@example.com\n.*: `+regexp.QuoteMeta(base)+`(/signup/finish\?token=\w+)`)
	if page := post("/devices/end-others", nil); !strings.Contains(page, "No other device was signed in.") {
		t.Errorf("the devices are %s", page)
	}

	// A live page is open while the program is stopped.
	live, err := client.Get(base + "/live/events")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Body.Close()
	cancel()
	stream, err := io.ReadAll(live.Body)
	if err != nil || !strings.HasPrefix(string(stream), "data: 0\n\n") || strings.Contains(string(stream), "ended") {
		t.Errorf("the live page has %q, %v", stream, err)
	}
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
	origin, _ := url.Parse(base)
	for _, c := range jar.Cookies(origin) {
		if strings.Contains(out.String(), c.Value) {
			t.Error("the log has the token")
		}
	}
	out.find(t, `msg="session (signed in)" .*user=\w+ device="A browser, 127.0.0.1"`)
}

func TestLoginRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"an unreachable Redis", "cannot reach Redis on 127.0.0.1:1", []string{"-redis", "redis://127.0.0.1:1/0"}},
		{"a URL that is none", "-redis: ", []string{"-redis", "localhost:6379"}},
		{"a stray argument", `unexpected argument "9091"`, []string{"9091"}},
		{"an address that is none", "-addr: ", []string{"-addr", "127.0.0.1:x"}},
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
