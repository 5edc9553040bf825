package sessions_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestRedisStoreCancelled(t *testing.T) {
	t.Parallel()
	wantCancelled := func(t *testing.T, name string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%s: error %v, want context.Canceled and not ErrUnavailable", name, err)
		}
	}
	t.Run("S12 before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range redisTwoWays(t, redistest.Start(t).Addr) {
			for name, op := range kit.RedisOperations(kit.RedisStore(c)) {
				wantCancelled(t, fmt.Sprintf("%v: %s", c, name), op(ctx))
			}
		}
	})
	t.Run("S12 on the way, and the server never answers", func(t *testing.T) {
		proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
		clients := redisTwoWays(t, proxy.Addr)
		async := redisAsyncPipeliner(t, clients[0].(*redis.Client))
		t.Cleanup(func() { kit.OK(t, async.Close()) })
		for _, c := range append(clients, async) {
			ctx, cancel := context.WithCancel(t.Context())
			proxy.On(func(cmd []string) redistest.Action {
				if strings.EqualFold(cmd[0], "getex") {
					cancel()
					return redistest.Hang
				}
				return redistest.Pass
			})
			_, _, err := sessions.NewRedisStore(c, sessions.RedisConfig{Timeout: time.Second}).Load(ctx, "k", time.Minute)
			wantCancelled(t, fmt.Sprintf("%T", c), err)
		}
	})
	t.Run("a cancellation that is not the caller's is an outage", func(t *testing.T) {
		rdb := redistest.Start(t).Client(t)
		rdb.AddHook(redisHook(func(context.Context, redis.Cmder, redis.ProcessHook) error { return context.Canceled }))
		_, _, err := kit.RedisStore(rdb).Load(t.Context(), "k", time.Minute)
		if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want ErrUnavailable and not context.Canceled", err)
		}
	})
}

func TestRedisStoreErrors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rdb := redistest.Start(t).Client(t)
	s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Prefix: "SECRETPREFIX:"})
	rdb.LPush(ctx, "SECRETPREFIX:SECRETKEY", "SECRETVALUE")

	_, _, loadErr := s.Load(ctx, "SECRETKEY", time.Minute)
	_, swapErr := s.CompareAndSwap(ctx, "SECRETKEY", []byte("SECRETVALUE"), []byte("SECRETVALUE"), time.Minute)
	for name, err := range map[string]error{
		"Load":           loadErr,
		"CompareAndSwap": swapErr,
		"Create":         s.Create(ctx, "SECRETKEY", []byte("SECRETVALUE"), -1),
	} {
		t.Run("X2 "+name+" tells neither key nor value", func(t *testing.T) {
			if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.HasPrefix(err.Error(), "sessions: ") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("X4 the cause can be asked for", func(t *testing.T) {
		if !errors.Is(loadErr, sessions.ErrUnavailable) || !redis.HasErrorPrefix(loadErr, "WRONGTYPE") {
			t.Errorf("error %v, want ErrUnavailable and a WRONGTYPE", loadErr)
		}
	})
	t.Run("F5 a write to a key of another type is refused", func(t *testing.T) {
		redisWantRefused(t, "CompareAndSwap", swapErr, "WRONGTYPE")
	})

	open := errors.New("circuit open")
	var hooked error
	rdb.AddHook(redisHook(func(_ context.Context, cmd redis.Cmder, _ redis.ProcessHook) error {
		return fmt.Errorf("%v: %w", cmd.Args(), hooked)
	}))
	for _, row := range []struct {
		name     string
		err      error
		is       error
		asked    func(error) bool
		contains string
	}{
		{"an error of a hook", open, open, nil, "*fmt.wrapError"},
		{"the network's", &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, syscall.ECONNRESET, nil, "read tcp: connection reset by peer"},
		{"a lost connection", io.EOF, io.EOF, nil, "EOF"},
		{"a certificate's", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, nil, nil, "unknown authority"},
		{"a client that is closed", redis.ErrClosed, redis.ErrClosed, nil, "redis: client is closed"},
		{"a reply", redis.ErrNoScript, nil, nil, "ERR a reply that is not shown"},
		{"a reply that is known", redisReply("OOM SECRET"), nil, redis.IsOOMError, "OOM the server's memory is full"},
	} {
		t.Run("X2 X4 "+row.name+", in which a hook put the arguments, can be asked for and does not show them", func(t *testing.T) {
			hooked = row.err
			_, _, err := s.Load(ctx, "SECRETKEY", time.Minute)
			if !errors.Is(err, sessions.ErrUnavailable) || row.is != nil && !errors.Is(err, row.is) || row.asked != nil && !row.asked(err) {
				t.Errorf("error %v", err)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)); strings.Contains(text, "SECRET") || !strings.Contains(text, row.contains) {
				t.Errorf("error %s, want %q in it", text, row.contains)
			}
		})
	}
}

func TestRedisStoreScriptsAreForgotten(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := kit.RedisStore(rdb)
	kit.Must(t, s.Create(ctx, "k", []byte("v0"), time.Minute))
	swap := func(from, to string) error {
		_, err := s.CompareAndSwap(ctx, "k", []byte(from), []byte(to), time.Minute)
		return err
	}
	kit.Must(t, swap("v0", "v1"))
	t.Run("F4 SCRIPT FLUSH is invisible", func(t *testing.T) {
		kit.Must(t, rdb.ScriptFlush(ctx).Err())
		if err := swap("v1", "v2"); err != nil {
			t.Error(err)
		}
	})
	t.Run("F4 a restart is a clean not found", func(t *testing.T) {
		server.Restart()
		if err := swap("v2", "v3"); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("CompareAndSwap: %v, want ErrNotFound", err)
		}
		if _, _, err := s.Load(ctx, "k", time.Minute); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Load: %v, want ErrNotFound", err)
		}
	})
}

func TestRedisStoreRefusedWrites(t *testing.T) {
	t.Parallel()
	// Each start returns a store that holds k = value for an hour, on a server
	// that then refuses writes.
	for _, b := range redistest.Servers(t) {
		alone := func(t *testing.T) *redistest.Server {
			server := b.Start(t)
			redisSeed(t, server)
			redisConfigSet(t, server, "min-replicas-to-write", "1")
			return server
		}
		for _, tt := range []struct {
			name  string
			code  string
			reads bool
			start func(t *testing.T) *redistest.Server
		}{
			{"F5 NOREPLICAS, with ReadWithoutReplicas", "NOREPLICAS", true, alone},
			{"F5 NOREPLICAS", "NOREPLICAS", false, alone},
			{"F5 MISCONF", "MISCONF", true, func(t *testing.T) *redistest.Server {
				dir := filepath.Join(t.TempDir(), "gone")
				kit.Must(t, os.Mkdir(dir, 0o700))
				server := b.Start(t, "--save", "3600 1", "--dir", dir)
				redisSeed(t, server)
				kit.Must(t, os.RemoveAll(dir))
				rdb := server.Client(t)
				rdb.BgSave(t.Context())
				redistest.Eventually(t, "a failed BGSAVE", func() bool {
					return strings.Contains(rdb.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
				})
				return server
			}},
			{"F5 F13 READONLY", "READONLY", false, func(t *testing.T) *redistest.Server {
				master := b.Start(t, "--repl-diskless-sync-delay", "0")
				redisSeed(t, master)
				host, port, _ := net.SplitHostPort(master.Addr)
				replica := b.Start(t, "--replicaof", host+" "+port)
				rdb := replica.Client(t)
				redistest.Eventually(t, "the copy on the replica", func() bool {
					return rdb.Exists(t.Context(), "session:k").Val() == 1
				})
				return replica
			}},
		} {
			t.Run(tt.name+" on "+b.Version, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				s := sessions.NewRedisStore(tt.start(t).Client(t), sessions.RedisConfig{
					Timeout: 20 * time.Second, ReadWithoutReplicas: strings.HasSuffix(tt.name, "ReadWithoutReplicas"),
				})
				for key, want := range map[string]error{"k": nil, "none": sessions.ErrNotFound} {
					data, left, err := s.Load(ctx, key, 2*time.Hour)
					switch {
					case !tt.reads:
						if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, sessions.ErrRefused) || !redis.HasErrorPrefix(err, tt.code) {
							t.Errorf("Load(2h) of %s: %v, want ErrUnavailable with %s, and not that of a write", key, err, tt.code)
						}
					case !errors.Is(err, want) || want == nil && (string(data) != "value" || left > time.Hour || left < 59*time.Minute || err != nil):
						t.Errorf("Load(2h) of %s = %q, %v, %v, want the value and what is left of an hour, or %v", key, data, left, err, want)
					}
				}
				err := s.Create(ctx, "new", []byte("value"), time.Hour)
				redisWantRefused(t, "Create", err, tt.code)
				_, err = s.CompareAndSwap(ctx, "k", []byte("value"), []byte("other"), time.Hour)
				redisWantRefused(t, "CompareAndSwap", err, tt.code)
				redisWantRefused(t, "Delete", s.Delete(ctx, "k"), tt.code)
				if data, _, err := s.Load(ctx, "k", 0); string(data) != "value" || err != nil {
					t.Errorf("afterwards k = %q, %v", data, err)
				}
			})
		}

		t.Run("F5 OOM on "+b.Version, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := b.Start(t, "--maxmemory-policy", "noeviction")
			s := redisSeed(t, server)
			// The script is unknown to the server yet: loading it must work too.
			redisConfigSet(t, server, "maxmemory", "1")

			redisWantRefused(t, "Create", s.Create(ctx, "new", []byte("value"), time.Hour), "OOM")
			_, err := s.CompareAndSwap(ctx, "k", []byte("value"), []byte("other"), time.Hour)
			redisWantRefused(t, "CompareAndSwap", err, "OOM")
			if data, left, err := s.Load(ctx, "k", 2*time.Hour); string(data) != "value" || left != 2*time.Hour || err != nil {
				t.Errorf("Load = %q, %v, %v, want it to go on", data, left, err)
			}
			if _, err := s.CompareAndSwap(ctx, "k", []byte("val"), nil, 0); err != nil {
				t.Errorf("CompareAndSwap that deletes: %v, want it to go on", err)
			}
			if _, _, err := s.Load(ctx, "k", 0); !errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("Load of what was deleted: %v", err)
			}
			if err := s.Delete(ctx, "k"); err != nil {
				t.Errorf("Delete: %v, want it to go on", err)
			}
		})
	}
}

func TestRedisStoreLostReply(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := redistest.Start(t)
	for _, tt := range []struct {
		name    string
		command string
		op      func(s *sessions.RedisStore) error
		want    error // of the client's own second attempt
		stored  string
	}{
		{"Load", "getex", func(s *sessions.RedisStore) error {
			_, _, err := s.Load(ctx, "k", time.Hour)
			return err
		}, nil, "value"},
		{"Create", "set", func(s *sessions.RedisStore) error {
			return s.Create(ctx, "new", []byte("value"), time.Hour)
		}, sessions.ErrExists, "value"},
		{"CompareAndSwap", "evalsha", func(s *sessions.RedisStore) error {
			current, err := s.CompareAndSwap(ctx, "k", []byte("value"), []byte("next"), time.Hour)
			if string(current) != "next" {
				t.Errorf("the current value is %q, want one's own", current)
			}
			return err
		}, sessions.ErrConflict, "next"},
		{"CompareAndSwap that deletes", "evalsha", func(s *sessions.RedisStore) error {
			_, err := s.CompareAndSwap(ctx, "k", []byte("value"), nil, 0)
			return err
		}, sessions.ErrNotFound, ""},
	} {
		t.Run("C10 "+tt.name, func(t *testing.T) {
			direct := redisSeed(t, server)
			direct.CompareAndSwap(ctx, "k", []byte("value"), []byte("value"), time.Hour) // the server knows the script
			direct.Delete(ctx, "new")
			proxy := redistest.NewProxy(t, server.Addr)
			var dropped atomic.Bool
			proxy.On(func(cmd []string) redistest.Action {
				if cmd[0] == tt.command && dropped.CompareAndSwap(false, true) {
					return redistest.DropReply
				}
				return redistest.Pass
			})
			rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
			defer rdb.Close()
			if err := tt.op(kit.RedisStore(rdb)); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			key := "k"
			if tt.command == "set" {
				key = "new"
			}
			if data, _, _ := direct.Load(ctx, key, 0); string(data) != tt.stored {
				t.Errorf("stored: %q, want %q", data, tt.stored)
			}
		})
	}
}

func TestRedisStoreAbandons(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)

	t.Run("F8 operations that were given up are bounded", func(t *testing.T) {
		rdb := server.Client(t)
		var inside, most atomic.Int64
		release := make(chan struct{})
		rdb.AddHook(redisHook(func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
			for n := inside.Add(1); ; {
				if old := most.Load(); old >= n || most.CompareAndSwap(old, n) {
					break
				}
			}
			defer inside.Add(-1)
			<-release
			return next(ctx, cmd)
		}))
		before := runtime.NumGoroutine()
		s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 300 * time.Millisecond})
		var running sync.WaitGroup
		for range 2000 {
			running.Go(func() {
				if _, _, err := s.Load(ctx, "k", time.Minute); !errors.Is(err, sessions.ErrUnavailable) {
					t.Errorf("error %v, want ErrUnavailable", err)
				}
			})
		}
		running.Wait()
		if n := most.Load(); n > 512 {
			t.Errorf("%d operations at once, want at most 512", n)
		}
		redistest.Eventually(t, "at most 512 goroutines", func() bool { return runtime.NumGoroutine() <= before+512 })
		close(release)
		redistest.Eventually(t, "the end of what was given up", func() bool { return inside.Load() == 0 })
		if _, _, err := s.Load(ctx, "k", time.Minute); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("once the client is back: %v, want ErrNotFound", err)
		}
		redistest.Eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before+2 }) // the pool's
	})

	t.Run("F8 a paused server costs a client with ContextTimeoutEnabled no goroutine", func(t *testing.T) {
		server := redistest.Start(t)
		rdb := redisTwoWays(t, server.Addr)[1].(*redis.Client)
		s := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 300 * time.Millisecond})
		s.Load(ctx, "k", time.Minute)
		server.Pause()
		before := runtime.NumGoroutine()
		var running sync.WaitGroup
		for range 500 {
			running.Go(func() { s.Load(ctx, "k", time.Minute) })
		}
		running.Wait()
		redistest.Eventually(t, "no more goroutines than the pool dials", func() bool {
			return runtime.NumGoroutine() <= before+rdb.Options().PoolSize
		})
	})

	t.Run("S9 what was given up reads a copy", func(t *testing.T) {
		rdb := server.Client(t)
		release, parked := make(chan struct{}), make(chan struct{})
		rdb.AddHook(redisHook(func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
			close(parked)
			<-release
			return next(context.WithoutCancel(ctx), cmd) // as an AutoPipeliner does
		}))
		ctx, cancel := context.WithCancel(ctx)
		go func() { <-parked; cancel() }()
		data := []byte("value")
		if err := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: time.Minute}).Create(ctx, "copied", data, time.Hour); !errors.Is(err, context.Canceled) {
			t.Fatalf("Create: %v", err)
		}
		copy(data, "OTHER")
		close(release)
		var stored string
		direct := server.Client(t)
		redistest.Eventually(t, "the write that was given up", func() bool {
			stored = direct.Get(t.Context(), "session:copied").Val()
			return stored != ""
		})
		if stored != "value" {
			t.Errorf("stored %q, want what was handed in", stored)
		}
	})

	t.Run("a panic of a hook reaches the caller", func(t *testing.T) {
		for _, c := range redisTwoWays(t, server.Addr) {
			c.AddHook(redisHook(func(context.Context, redis.Cmder, redis.ProcessHook) error { panic("a hook's") }))
			func() {
				defer func() {
					if got := recover(); got != "a hook's" {
						t.Errorf("%v: recovered %v", c, got)
					}
				}()
				kit.RedisStore(c).Load(ctx, "k", time.Minute)
			}()
		}
	})
}

func TestRedisStoreGoexit(t *testing.T) {
	t.Parallel()
	t.Run("F9 a hook of the client that ends its goroutine, as t.FailNow does, is not a success", func(t *testing.T) {
		rdb := kit.MiniRedis(t)
		rdb.AddHook(redisHook(func(context.Context, redis.Cmder, redis.ProcessHook) error {
			runtime.Goexit()
			return nil
		}))
		for op, call := range kit.RedisOperations(kit.RedisStore(rdb)) {
			if err := call(t.Context()); err == nil {
				t.Errorf("%s = nil", op)
			}
		}
	})
}

// redisSeed stores k = value for an hour.
func redisSeed(t *testing.T, server *redistest.Server) *sessions.RedisStore {
	t.Helper()
	rdb := server.Client(t)
	kit.Must(t, rdb.Set(t.Context(), "session:k", "value", time.Hour).Err())
	return kit.RedisStore(rdb)
}

func redisConfigSet(t *testing.T, server *redistest.Server, name, value string) {
	t.Helper()
	kit.Must(t, server.Client(t).ConfigSet(t.Context(), name, value).Err())
}

func redisWantRefused(t *testing.T, op string, err error, code string) {
	t.Helper()
	if !errors.Is(err, sessions.ErrUnavailable) || !errors.Is(err, sessions.ErrRefused) || !redis.HasErrorPrefix(err, code) {
		t.Errorf("%s: error %v, want ErrUnavailable, ErrRefused and %s", op, err, code)
	}
}

// redisReply is a server's error reply.
type redisReply string

func (r redisReply) Error() string { return string(r) }

func (redisReply) RedisError() {}

// redisHook is a hook around every command but the client's own handshake.
type redisHook func(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error

func (h redisHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h redisHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "hello" || cmd.Name() == "client" {
			return next(ctx, cmd)
		}
		return h(ctx, cmd, next)
	}
}

func (h redisHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
