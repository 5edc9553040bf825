package secrets_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// echoes are replies that repeat the arguments of a command: what servers and
// proxies are known to say, and what a connection says whose replies are out of
// step.
var echoes = map[string]func(args string) string{
	"Redis, unknown command": func(args string) string {
		return "-ERR unknown command '" + args + "', with args beginning with: '" + args + "' "
	},
	"Valkey, unknown command": func(args string) string {
		return "-ERR unknown command `x`, with args beginning with: `" + args + "`, "
	},
	"an unknown subcommand": func(args string) string { return "-ERR unknown subcommand '" + args + "'. Try OBJECT HELP." },
	"no permission": func(args string) string {
		return "-NOPERM User node has no permissions to access the '" + args + "' key"
	},
	"a wrong type": func(args string) string { return "-WRONGTYPE " + args },
	"full":         func(args string) string { return "-OOM " + args },
	"a replica":    func(args string) string { return "-READONLY " + args },
	"loading":      func(args string) string { return "-LOADING " + args },
	"no script":    func(args string) string { return "-NOSCRIPT " + args },
	"a script of Redis 6": func(args string) string {
		return "-ERR Error running script (call to f_" + args + "): @user_script:1: -OOM " + args
	},
	"a script":             func(args string) string { return "-ERR " + args + " script: " + args + ", on @user_script:1." },
	"aborted":              func(args string) string { return "-EXECABORT " + args },
	"a password":           func(args string) string { return "-WRONGPASS " + args },
	"clients":              func(args string) string { return "-ERR max number of clients reached " + args },
	"a proxy":              func(args string) string { return "-ERR upstream failure: " + args },
	"a code of its own":    func(args string) string { return "-" + args },
	"a code in capitals":   func(args string) string { return "-" + strings.ToUpper(strings.Map(letters, args)) + " failed" },
	"an error of RESP3":    func(args string) string { return "!" + strconv.Itoa(len(args)+4) + "\r\nERR " + args },
	"no reply":             func(args string) string { return args },
	"a number":             func(args string) string { return ":" + args },
	"a length":             func(args string) string { return "$" + args },
	"a list":               func(args string) string { return "*" + args },
	"a bool":               func(args string) string { return "#" + args },
	"a fraction":           func(args string) string { return "," + args },
	"a large number":       func(args string) string { return "(" + args },
	"a text with a format": func(args string) string { return "=" + strconv.Itoa(len(args)) + "\r\n" + args },
	"a short list":         func(args string) string { return "*1\r\n$" + strconv.Itoa(len(args)) + "\r\n" + args },
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return -1
}

// A secret is a word of which nothing may be seen.
type secret string

func newSecret() secret { return secret(strings.Map(letters, rand.Text()+rand.Text())) }

// seenIn tells whether a text has six letters of the secret in a row.
func (s secret) seenIn(text string) bool {
	text = strings.ToLower(text)
	for i := range len(s) - 5 {
		if strings.Contains(text, strings.ToLower(string(s[i:i+6]))) {
			return true
		}
	}
	return false
}

// texts are all that can be printed of an error and of what it wraps.
func texts(err error) (all []string) {
	if err == nil {
		return nil
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		all = append(all, fmt.Sprintf(format, err))
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return append(all, texts(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, texts(inner)...)
		}
	}
	if from, ok := errors.AsType[redis.Error](err); ok {
		all = append(all, from.Error())
	}
	return all
}

// oneLine is a command's arguments in a line, in any order.
func oneLine(cmd []string) string {
	args := slices.Clone(cmd[1:])
	mathrand.Shuffle(len(args), func(i, j int) { args[i], args[j] = args[j], args[i] })
	line := strings.Join(args, [...]string{" ", "' '", ": ", "\"", "="}[mathrand.IntN(5)])
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, line)
}

func TestRepliesAreNotRepeated(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, open := range map[string]func(addr string) redis.UniversalClient{
		"RESP3": func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 1})
		},
		"RESP2, keeping deadlines": func(addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, ContextTimeoutEnabled: true, MaxRetries: 1})
		},
		"a ClusterClient": func(addr string) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{MaxRedirects: 1, ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
			}})
		},
		"an AutoPipeliner": func(addr string) redis.UniversalClient {
			p, err := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: 1}).AutoPipeline()
			kit.Must(t, err)
			return p
		},
	} {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("X2 no error of a RedisStore repeats what a server repeats of the arguments, %s, SwapOnce %t", name, once), func(t *testing.T) {
				t.Parallel()
				proxy := redistest.NewProxy(t, server.Addr)
				rdb := open(proxy.Addr)
				t.Cleanup(func() { rdb.Close() })
				prefix, key, data, found := newSecret(), newSecret(), newSecret(), newSecret()
				log := new(kit.Log)
				s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: string(prefix), SwapOnce: once, Timeout: 4 * time.Second, Logger: log.Logger()})
				ctx := t.Context()
				ops := map[string]func() error{
					"Load":    func() error { _, _, err := s.Load(ctx, string(key), time.Hour); return err },
					"Load(0)": func() error { _, _, err := s.Load(ctx, string(key), 0); return err },
					"Create":  func() error { return s.Create(ctx, string(key), []byte(data), time.Hour) },
					"Delete":  func() error { return s.Delete(ctx, string(key)) },
					"CompareAndSwap": func() error {
						_, err := s.CompareAndSwap(ctx, string(key), []byte(found), []byte(data), time.Hour)
						return err
					},
					"Keys": func() error {
						for _, err := range s.Keys(ctx) {
							return err
						}
						return nil
					},
				}
				failed := 0
				for echo, reply := range echoes {
					proxy.On(func(cmd []string) redistest.Action {
						switch strings.ToLower(cmd[0]) {
						case "hello", "client", "command":
							return redistest.Pass
						}
						return redistest.Refuse(reply(oneLine(cmd)))
					})
					for op, run := range ops {
						err := run()
						if err != nil {
							failed++
						}
						for _, text := range append(texts(err), log.Take()...) {
							for arg, word := range map[string]secret{"prefix": prefix, "key": key, "record": data, "condition": found} {
								if word.seenIn(text) {
									t.Errorf("%s: %s: the %s is in %s", echo, op, arg, text)
								}
							}
						}
					}
				}
				if failed < len(echoes)*3 {
					t.Errorf("only %d operations failed", failed)
				}
			})
		}
	}
}

// With package express the key of a session is the token.
func TestRepliesAreNotRepeatedToExpress(t *testing.T) {
	t.Parallel()
	t.Run("X2 nothing that a server repeats of the arguments is in the log, an event, an error or a response", func(t *testing.T) {
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1})
		t.Cleanup(func() { rdb.Close() })
		log := new(kit.Log)
		var seen []string
		m, err := express.New[kit.Session](rdb, express.Options{
			Secrets: []string{"keyboard cat"}, Logger: log.Logger(), Timeout: 4 * time.Second,
			NewID:   func() (string, error) { return string(newSecret()), nil },
			OnEvent: func(_ context.Context, e sessions.Event) { seen = append(seen, texts(e.Err)...) },
		})
		kit.Must(t, err)
		var verb func(ctx context.Context) error
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.FromContext(r.Context()).UserID += "x"
			seen = append(seen, texts(verb(r.Context()))...)
		}))
		var failures atomic.Int32
		for echo, reply := range echoes {
			for _, row := range []struct {
				name string
				verb func(ctx context.Context) error
			}{
				{"none", func(context.Context) error { return nil }},
				{"Save", m.Save},
				{"Update", func(ctx context.Context) error {
					return m.Update(ctx, func(s *kit.Session) error { s.Views++; return nil })
				}},
				{"SignIn", func(ctx context.Context) error { return m.SignIn(ctx) }},
				{"Renew", m.Renew},
				{"Touch", m.Touch},
				{"Reload", m.Reload},
				{"Destroy", m.Destroy},
			} {
				for _, from := range []string{"load", "verb"} {
					proxy.On(nil)
					verb = func(context.Context) error { return nil }
					first := httptest.NewRecorder()
					h.ServeHTTP(first, httptest.NewRequest("GET", "/", nil))
					cookies := first.Result().Cookies()
					if len(cookies) != 1 {
						t.Fatalf("cookies %v", cookies)
					}
					sid, _, _ := strings.Cut(strings.TrimPrefix(cookies[0].Value, "s%3A"), ".")
					say := func() {
						proxy.On(func(cmd []string) redistest.Action {
							if strings.EqualFold(cmd[0], "hello") || strings.EqualFold(cmd[0], "client") {
								return redistest.Pass
							}
							failures.Add(1)
							return redistest.Refuse(reply(oneLine(cmd)))
						})
					}
					if from == "load" {
						say()
					}
					verb = func(ctx context.Context) error { say(); return row.verb(ctx) }
					seen = nil
					log.Take()
					res, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
					req.AddCookie(cookies[0])
					h.ServeHTTP(res, req)
					for _, text := range append(append(seen, log.Take()...), res.Body.String()) {
						if secret(sid).seenIn(text) {
							t.Errorf("%s: %s at the %s: the sid is in %s", echo, row.name, from, text)
						}
					}
				}
			}
		}
		if n := failures.Load(); int(n) < 3*len(echoes) {
			t.Errorf("only %d replies", n)
		}
	})
}
