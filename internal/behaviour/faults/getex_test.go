package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A server whose user may not do all that the store asks for still serves reads.
func TestServerWithoutGetEx(t *testing.T) {
	t.Parallel()
	const touch = 90*time.Second + 500*time.Millisecond
	for _, b := range redistest.Servers(t) {
		for _, row := range []struct {
			name   string
			acl    string // besides +get +set +del
			args   []string
			left   time.Duration // after a read, of the key
			told   time.Duration // what Load says is left
			notice string        // in the one log line
			swaps  bool
		}{
			{"a user made for Node", "+expire", nil, 91 * time.Second, touch, "GET and EXPIRE", false},
			{"a user who may PEXPIRE", "+pexpire +expire", nil, touch, touch, "GET and PEXPIRE", false},
			{"a user who may look at the expiry alone", "+pttl", nil, time.Hour, time.Hour, "NOPERM", false},
			{"a user who may read alone", "", nil, time.Hour, 0, "does not restart the idle timeout", false},
			{"a server without GETEX", "+@all", []string{"--rename-command", "GETEX", ""}, touch, touch, "needs Redis 6.2 or Valkey", true},
		} {
			t.Run("F14 "+row.name+", on "+b.Version, func(t *testing.T) {
				t.Parallel()
				server := b.Start(t, row.args...)
				admin := server.Client(t)
				rules := []any{"acl", "setuser", "node", "on", ">pw", "~*", "-@all", "+get", "+set", "+del", "+cluster", "+command"}
				for rule := range strings.FieldsSeq(row.acl) {
					rules = append(rules, rule)
				}
				kit.Must(t, admin.Do(t.Context(), rules...).Err())
				user := redis.Options{Username: "node", Password: "pw"}
				for name, d := range map[string]dial{
					"Client":                 client(user),
					"Client, both deadlines": client(redis.Options{Username: "node", Password: "pw", ContextTimeoutEnabled: true}),
					"ClusterClient":          oneNode(redis.ClusterOptions{Username: "node", Password: "pw"}),
					"AutoPipeliner":          pipelined(client(user)),
					"async AutoPipeliner":    async(client(user)),
				} {
					t.Run("F14 "+name, func(t *testing.T) {
						kit.Must(t, admin.Set(t.Context(), "session:k", "value", time.Hour).Err())
						admin.Del(t.Context(), "session:new")
						log := &kit.Log{}
						s := sessions.NewRedisStore(d.open(t, server.Addr), sessions.RedisConfig{Timeout: 20 * time.Second, Logger: log.Logger()})
						for range 3 {
							data, told, err := s.Load(t.Context(), "k", touch)
							if string(data) != "value" || told > row.told || told < max(row.told-time.Minute, 0) || err != nil {
								t.Errorf("Load = %q, %v, %v, want what is stored and %v", data, told, err, row.told)
							}
						}
						if left := admin.PTTL(t.Context(), "session:k").Val(); left > row.left || left < row.left-time.Minute {
							t.Errorf("%v left, want %v", left, row.left)
						}
						if _, _, err := s.Load(t.Context(), "none", touch); !errors.Is(err, sessions.ErrNotFound) {
							t.Errorf("Load of nothing: %v", err)
						}
						if lines := log.Take(); len(lines) != 1 || !strings.Contains(lines[0], row.notice) {
							t.Errorf("log %q, want one line with %q", lines, row.notice)
						}
						if data, _, err := s.Load(t.Context(), "k", 0); string(data) != "value" || err != nil {
							t.Errorf("a passive Load = %q, %v", data, err)
						}
						kit.Must(t, s.Create(t.Context(), "new", []byte("v"), time.Minute))
						_, err := s.CompareAndSwap(t.Context(), "k", []byte("v"), []byte("v2"), time.Minute)
						if row.swaps && err != nil || !row.swaps && (!errors.Is(err, sessions.ErrRefused) || !strings.Contains(err.Error(), "docs/redis.md")) {
							t.Errorf("CompareAndSwap: %v", err)
						}
						kit.Must(t, s.Delete(t.Context(), "new"))
					})
				}
			})
		}
	}

	t.Run("F14 F5 only a read that restarts nothing is an EventTouchSkipped", func(t *testing.T) {
		t.Parallel()
		for forbidden, want := range map[string][]sessions.EventKind{
			"getex":                nil,
			"getex pexpire":        nil,
			"getex pexpire expire": {sessions.EventTouchSkipped},
		} {
			proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
			store := sessions.NewRedisStore(client(redis.Options{}).open(t, proxy.Addr), sessions.RedisConfig{Timeout: 20 * time.Second, Logger: new(kit.Log).Logger()})
			a := kit.NewApp(t, kit.InProcess, store, sessions.Config{})
			token := a.Seed(1)
			on(proxy, redistest.Refuse("-NOPERM this user has no permissions to run the command"), strings.Fields(forbidden)...)
			saved := time.Now()
			redistest.Eventually(t, "some milliseconds since the save", func() bool { return time.Since(saved) > 5*time.Millisecond })
			a.Events.Take()
			if !kit.Alive(t, a.Manager, token) {
				t.Errorf("%s: it is not there", forbidden)
			}
			a.WantEvents(t, want...)
		}
	})

	t.Run("F14 F13 a replica is no less unavailable by another command", func(t *testing.T) {
		t.Parallel()
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		s := kit.RedisStore(client(redis.Options{}).open(t, proxy.Addr))
		kit.Must(t, s.Create(t.Context(), "k", []byte("v"), time.Hour))
		proxy.On(func(cmd []string) redistest.Action {
			switch cmd[0] {
			case "getex":
				return redistest.Refuse("-ERR unknown command `getex`, with args beginning with: `k`")
			case "pexpire":
				return redistest.Refuse("-READONLY You can't write against a read only replica.")
			}
			return redistest.Pass
		})
		if _, _, err := s.Load(t.Context(), "k", time.Hour); !errors.Is(err, sessions.ErrUnavailable) || !redis.HasErrorPrefix(err, "READONLY") {
			t.Errorf("%v", err)
		}
	})
}

// What a read sends: one command as long as GETEX works, and then what works,
// with GETEX again each minute.
func TestGetExIsTriedAgain(t *testing.T) {
	t.Parallel()
	t.Run("F14 GETEX is tried again once a minute, by one read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var sent []string
			forbidden := []string{"getex", "pexpire"}
			rdb := fakeRedis(t, func(cmd []string) string {
				sent = append(sent, cmd[0])
				switch {
				case slices.Contains(forbidden, cmd[0]):
					return "-NOPERM no"
				case cmd[0] == "expire" || cmd[0] == "pexpire":
					return ":1"
				}
				return "$1\r\nv"
			})
			log := &kit.Log{}
			s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Logger: log.Logger()})
			read := func(want string) {
				t.Helper()
				sent = nil
				if data, left, err := s.Load(t.Context(), "k", time.Hour); string(data) != "v" || left != time.Hour || err != nil {
					t.Errorf("Load = %q, %v, %v", data, left, err)
				}
				if got := strings.Join(sent, " "); got != want {
					t.Errorf("sent %q, want %q", got, want)
				}
			}
			const search, found = "getex get pexpire get expire", "get expire"
			read(search)
			read(found)
			time.Sleep(time.Minute - time.Second)
			read(found)
			time.Sleep(time.Second)
			read(search)
			read(found)
			if lines := log.Take(); len(lines) != 1 {
				t.Errorf("log %q, want one line", lines)
			}
			forbidden = nil
			read(found)
			time.Sleep(time.Minute)
			read("getex")
			read("getex")
		})
	})
}

// fakeRedis is a client of a server that exists in the bubble alone.
func fakeRedis(t *testing.T, reply func(cmd []string) string) *redis.Client {
	rdb := redis.NewClient(&redis.Options{
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				r := bufio.NewReader(far)
				line := func() string { s, _ := r.ReadString('\n'); return strings.TrimSpace(s) }
				var replies strings.Builder
				for {
					n, err := strconv.Atoi(strings.TrimPrefix(line(), "*"))
					if err != nil {
						return
					}
					cmd := make([]string, n)
					for i := range cmd {
						line()
						cmd[i] = line()
					}
					answer := "-ERR unknown command" // to the client's own HELLO
					if cmd[0] != "hello" {
						answer = reply(cmd)
					}
					fmt.Fprint(&replies, answer, "\r\n")
					if r.Buffered() == 0 { // the end of a pipeline
						io.WriteString(far, replies.String())
						replies.Reset()
					}
				}
			}()
			return near, nil
		},
	})
	t.Cleanup(func() { rdb.Close() })
	return rdb
}
