package sessions_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// monitor collects every command that the server gets. stop waits until the
// last one before it is in, and returns them with their arguments unquoted.
func monitor(t *testing.T, server *redistest.Server) (stop func() []string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, "MONITOR\r\n")
	must(t, err)
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

// lives is a life of sessions with everything in it. It returns the tokens
// that were ever given out, the ones that still find a session first.
func lives(t *testing.T, m *sessions.Manager[Session]) (live, dead []string) {
	t.Helper()
	remember := func(ctx context.Context) error { return m.SignIn(ctx, sessions.Remembered) }
	signIn := func(ctx context.Context) error { return m.SignIn(ctx) }
	anonymous := mustRequest(t, m, "", put(m, "ann"))
	signed := mustRequest(t, m, anonymous, signIn)
	renewed := mustRequest(t, m, signed, m.Renew)
	mustRequest(t, m, renewed, put(m, "ann again"))
	mustRequest(t, m, renewed, m.Touch)
	mustRequest(t, m, anonymous, func(context.Context) error { return nil }) // a mark
	kept := mustRequest(t, m, mustRequest(t, m, "", put(m, "kim")), remember)
	gone := mustRequest(t, m, "", put(m, "bob"))
	gone2 := mustRequest(t, m, gone, m.Renew)
	mustRequest(t, m, gone, m.Destroy) // follows the mark
	late := mustRequest(t, m, "", put(m, "eve"))
	ctx, err := m.Load(t.Context(), late)
	must(t, err)
	mustRequest(t, m, late, m.Destroy)
	m.FromContext(ctx).Views++
	if err := m.Save(ctx); !errors.Is(err, sessions.ErrGone) {
		t.Fatalf("Save of a destroyed session: %v", err)
	}
	return []string{renewed, kept}, []string{anonymous, signed, gone, gone2, late}
}

func TestNothingInRedisAuthenticates(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		server := redistest.Start(t, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
		rdb := server.Client(t)
		m := mustNew(t, redisStore(rdb), sessions.Config{Codec: c, Label: func(*http.Request) string { return "label" }})
		stop := monitor(t, server)
		live, dead := lives(t, m)
		seen := stop()
		for _, entry := range rdb.SlowLogGet(t.Context(), -1).Val() {
			seen = append(seen, entry.Args...)
		}
		for _, key := range keys(t, rdb) {
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
				if !alive(t, m, token) {
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
				ctx, err := m.Load(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if !m.Info(ctx).New {
					t.Errorf("%q opens a session", c)
				}
				// And nothing of it ends one: a mark names its successor's key.
				if err := m.Destroy(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if shaped < 20 {
				t.Errorf("only %d of %d candidates have the shape of a token", shaped, len(candidates))
			}
			for _, token := range live {
				if !alive(t, m, token) {
					t.Error("something that Redis saw ends a session")
				}
			}
		})
	})
}
