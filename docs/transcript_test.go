package docs_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// What the README says that curl and redis-cli show is what they show, but for what is drawn or is a time.
func TestReadmeTranscript(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	type Session struct {
		UserID string `json:"user_id"`
		Views  int    `json:"views"`
	}
	store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "session:"})
	m, err := sessions.New[Session](store, sessions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.Views++
		fmt.Fprintf(w, "views: %d\n", s.Views)
	})))
	t.Cleanup(site.Close)

	_, text, _ := strings.Cut(string(read(t, "../README.md")), "```console\n")
	text, _, _ = strings.Cut(text, "```")
	var got strings.Builder
	cookie := ""
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "$ ") {
			continue
		}
		got.WriteString(line)
		if strings.HasPrefix(line, "$ redis-cli") {
			value, err := server.Get(server.Keys()[0])
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString(value + "\n")
			continue
		}
		head, body := get(t, site.Listener.Addr().String(), cookie)
		if found := regexp.MustCompile(`Set-Cookie: ([^;]+)`).FindStringSubmatch(head); found != nil {
			cookie = found[1]
		}
		if strings.Contains(line, " -i ") {
			got.WriteString(head)
		}
		got.WriteString(body)
	}
	drawn := regexp.MustCompile(`=s\w{30}|'session:\{.*'|GMT|[^ ]* \d\d \w{3} \d{4} [\d:]+ |"id":"[^"]*"|"w":\[[^]]*\]|"created":\d+`)
	if got, want := drawn.ReplaceAllString(got.String(), "…"), drawn.ReplaceAllString(text, "…"); got != want {
		t.Errorf("the README says\n%s\nand it is\n%s", want, got)
	}
}

// get returns what is sent for a request, as curl shows it.
func get(t *testing.T, addr, cookie string) (head, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost:9090\r\nCookie: %s\r\nConnection: close\r\n\r\n", cookie)
	sent, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ = strings.Cut(strings.ReplaceAll(string(sent), "\r\n", "\n"), "\n\n")
	return strings.Replace(head, "\nConnection: close", "", 1) + "\n\n", body
}
