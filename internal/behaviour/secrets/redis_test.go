package secrets_test

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// monitor collects every command that the server gets. stop waits until the
// last one before it is in, and returns them with their arguments unquoted.
func monitor(t *testing.T, server *redistest.Server) (stop func() []string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	kit.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, "MONITOR\r\n")
	kit.Must(t, err)
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("MONITOR: %q", lines.Text())
	}
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	return func() []string {
		const last = "that-was-the-last-one"
		server.Client(t).Echo(t.Context(), last)
		var seen []string
		for lines.Scan() {
			for _, arg := range quoted.FindAllString(lines.Text(), -1) {
				text, err := strconv.Unquote(arg)
				if err != nil {
					t.Fatalf("%s: %v", arg, err)
				}
				if text == last {
					return seen
				}
				seen = append(seen, text)
			}
		}
		t.Fatalf("the monitor ended: %v", lines.Err())
		return nil
	}
}

func TestNothingInRedisAuthenticates(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		server := redistest.Start(t, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
		rdb := server.Client(t)
		m := kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{Codec: c, Label: func(*http.Request) string { return "label" }})
		stop := monitor(t, server)
		live, dead := history(t, m)
		seen := stop()
		for _, entry := range rdb.SlowLogGet(t.Context(), -1).Val() {
			seen = append(seen, entry.Args...)
		}
		for _, key := range kit.Keys(t, rdb) {
			seen = append(seen, key, rdb.Get(t.Context(), key).Val())
		}

		t.Run("X1 no token, nor its random part, is in anything that Redis ever saw", func(t *testing.T) {
			if n := len(seen); n < 100 {
				t.Fatalf("only %d strings: %q", n, seen)
			}
			for _, s := range seen {
				for _, token := range append(live, dead...) {
					if strings.Contains(s, token[1:]) || strings.Contains(s, hex.EncodeToString([]byte(token[1:]))) {
						t.Errorf("%q holds a token", s)
					}
				}
			}
		})

		t.Run("X1 nothing that Redis ever saw is accepted as a cookie", func(t *testing.T) {
			for _, token := range live {
				if !kit.Alive(t, m, token) {
					t.Fatal("there is no live session that something could open")
				}
			}
			candidates := map[string]bool{}
			words := regexp.MustCompile(`[A-Za-z0-9_-]+`)
			for _, s := range seen {
				candidates[s] = true
				for _, w := range append(words.FindAllString(s, -1), strings.TrimPrefix(s, "session:")) {
					for _, class := range []string{"", "s", "r"} {
						candidates[class+w] = true
						if len(w) > 0 {
							candidates[class+w[1:]] = true
						}
					}
				}
			}
			shaped := 0
			for c := range candidates {
				if len(c) > 20 && !strings.ContainsAny(c, "{}\":; ") {
					shaped++
				}
				ctx, _ := kit.Load(t, m, c)
				if !m.Info(ctx).New {
					t.Errorf("%q opens a session", c)
				}
				// And nothing of it ends one: a mark names its successor's key.
				kit.Must(t, m.Destroy(ctx))
			}
			if shaped < 20 {
				t.Errorf("only %d of %d candidates have the shape of a token", shaped, len(candidates))
			}
			for _, token := range live {
				if !kit.Alive(t, m, token) {
					t.Error("something that Redis saw ends a session")
				}
			}
		})
	})
}
