package faults_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A server that refuses a write has not applied it. But a client sends a
// command again whose reply was lost: then the refusal of the second one says
// nothing of the first.
func TestRefusedWrites(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	replies := []struct {
		reply   string
		refusal bool
	}{
		{"-OOM command not allowed when used memory > 'maxmemory'.", true},
		{"-READONLY You can't write against a read only replica.", true},
		{"-NOREPLICAS Not enough good replicas to write.", true},
		{"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", true},
		{"-NOPERM User node has no permissions to run the 'set' command", true},
		{"-WRONGTYPE Operation against a key holding the wrong kind of value", true},
		{"-NOAUTH Authentication required.", true},
		{"-LOADING Redis is loading the dataset in memory", true},
		{"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true},
		{"-CLUSTERDOWN Hash slot not served", true},
		{"-TRYAGAIN Multiple keys request during rehashing of slot", true},
		{"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", true},
		{"-ERR max number of clients reached", true},
		{"-ERR unknown command 'evalsha', with args beginning with: ", true},
		{"-ERR Error running script (call to f_5e1f): @user_script:8: @user_script: 8: -OOM command not allowed", true},
		{"-ERR Error running script (call to f_5e1f): @user_script:8: @user_script: 8: The user executing the script can't run this command or subcommand", true},
		{"-ERR The user executing the script can't run this command or subcommand script: 5e1f, on @user_script:8.", true},
		{"-ERR ACL failure in script: User node has no permissions to run the 'getrange' command script: 5e1f, on @user_script:8.", true},
		{"-ERR Error running script (call to f_5e1f): @user_script:8: attempt to index a nil value", false},
		{"-ERR upstream failure", false}, // a proxy's, whose server may have applied it
		{"-EXECABORT Transaction discarded because of previous errors.", false},
	}
	writes := map[string]string{"Create": "set", "CompareAndSwap": "evalsha", "Delete": "del", "Place": "evalsha"}

	for name, d := range map[string]dial{
		"Client":                      client(redis.Options{MaxRetries: 1}),
		"Client that keeps deadlines": client(redis.Options{ContextTimeoutEnabled: true, MaxRetries: 1}),
		"Client without retries":      client(redis.Options{MaxRetries: -1}),
		"ClusterClient":               oneNode(redis.ClusterOptions{MaxRedirects: 1}),
		"AutoPipeliner":               pipelined(client(redis.Options{MaxRetries: 1})),
		"asynchronous AutoPipeliner":  async(client(redis.Options{MaxRetries: 1})),
	} {
		t.Run("F5 "+name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, server.Addr)
			// What was given up would be counted with what comes next.
			s := sessions.NewRedisStore(d.open(t, proxy.Addr), sessions.RedisConfig{Timeout: 20 * time.Second})
			kit.RedisOperations(s)["CompareAndSwap"](t.Context()) // the server knows the script
			run := func(op string, decide func(n int32) redistest.Action) error {
				var n atomic.Int32
				proxy.On(func(cmd []string) redistest.Action {
					if cmd[0] != writes[op] {
						return redistest.Pass
					}
					return decide(n.Add(1))
				})
				return kit.RedisOperations(s)[op](t.Context())
			}
			for _, row := range replies {
				code, text, _ := strings.Cut(row.reply[1:], " ")
				switch {
				case strings.Contains(row.reply, "-OOM"):
					code = "OOM"
				case strings.Contains(row.reply, "The user executing"):
					code = "The user executing"
				case code == "ERR":
					code = text[:min(len(text), len("unknown command"))]
				}
				for op := range writes {
					err := run(op, func(int32) redistest.Action { return redistest.Refuse(row.reply) })
					if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, sessions.ErrRefused) != row.refusal || row.refusal && !redis.HasErrorPrefix(err, code) {
						t.Errorf("%s after %q: %v, want ErrRefused: %t", op, row.reply, err, row.refusal)
					}
					for what, lose := range map[string]redistest.Action{"applied": redistest.DropReply, "not applied": redistest.Close} {
						err := run(op, func(n int32) redistest.Action {
							if n == 1 {
								return lose
							}
							return redistest.Refuse(row.reply)
						})
						if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, sessions.ErrRefused) {
							t.Errorf("%s after a lost reply (%s) and %q: %v, want ErrUnavailable alone", op, what, row.reply, err)
						}
					}
				}
			}
			for op := range writes {
				err := run(op, func(n int32) redistest.Action {
					if n == 1 {
						return redistest.Refuse("-READONLY You can't write against a read only replica.")
					}
					return redistest.Pass
				})
				if again := name != "Client without retries"; again == errors.Is(err, sessions.ErrRefused) {
					t.Errorf("%s, which is refused for the moment: %v", op, err)
				}
			}
		})
	}

	for _, lost := range []bool{false, true} {
		name := map[bool]string{
			false: "F5 a save that is refused says that nothing was stored",
			true:  "F5 C10 a save whose reply was lost before it was refused says that it may be stored, and is recognised when it is",
		}[lost]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				proxy := redistest.NewProxy(t, server.Addr)
				a := kit.NewApp(t, kit.InProcess, kit.RedisStore(client(redis.Options{}).open(t, proxy.Addr)), sessions.Config{Codec: c, OnConflict: sessions.ConflictReject})
				token := a.Seed(1)
				ctx, s := kit.Load(t, a.Manager, token)
				s.Views = 2
				kit.Must(t, a.Save(ctx))
				var n atomic.Int32
				proxy.On(func(cmd []string) redistest.Action {
					switch {
					case cmd[0] != "evalsha":
						return redistest.Pass
					case lost && n.Add(1) == 1:
						return redistest.DropReply
					}
					return redistest.Refuse("-OOM command not allowed when used memory > 'maxmemory'.")
				})
				s.Views = 3
				err := a.Save(ctx)
				if !errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, sessions.ErrRefused) == lost || strings.Contains(err.Error(), "may or may not be stored") != lost {
					t.Errorf("Save: %v", err)
				}
				proxy.On(nil)
				_, stored := kit.Load(t, a.Manager, token)
				if want := map[bool]int{false: 2, true: 3}[lost]; stored.Views != want {
					t.Errorf("stored are %d views, want %d", stored.Views, want)
				}
				kit.Must(t, a.Save(ctx))
				if _, stored := kit.Load(t, a.Manager, token); stored.Views != 3 {
					t.Errorf("then %d views are stored", stored.Views)
				}
			})
		})
	}

	t.Run("F5 a refusal waits for a better answer no longer than the caller", func(t *testing.T) {
		t.Parallel()
		proxy := redistest.NewProxy(t, server.Addr)
		on(proxy, redistest.Refuse("-LOADING Redis is loading the dataset in memory"), "set")
		s := kit.RedisStore(client(redis.Options{MaxRetries: 1 << 20}).open(t, proxy.Addr))
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		wantInTime(t, "Create", func() {
			kit.WantErr(t, "Create", s.Create(ctx, "new", []byte("v"), time.Hour), sessions.ErrUnavailable)
		})
	})
}
