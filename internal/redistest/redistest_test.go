package redistest_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestServer(t *testing.T) {
	ctx := t.Context()
	for _, b := range redistest.Servers(t) {
		t.Run(b.Version, func(t *testing.T) {
			s := b.Start(t, "--maxmemory", "100mb")
			c := s.Client(t)
			if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got := c.ConfigGet(ctx, "maxmemory").Val()["maxmemory"]; got != "104857600" {
				t.Errorf("maxmemory = %q: the arguments were not passed on", got)
			}
			s.Restart()
			if n, err := c.Exists(ctx, "k").Result(); n != 0 || err != nil {
				t.Errorf("after Restart: %d, %v, want an empty server", n, err)
			}
		})
	}

	t.Run("Pause", func(t *testing.T) {
		s := redistest.Start(t)
		c := s.Client(t).WithTimeout(50 * time.Millisecond)
		s.Pause()
		if err := c.Ping(ctx).Err(); err == nil {
			t.Error("a paused server answers")
		}
		s.Resume()
		if err := s.Client(t).Ping(ctx).Err(); err != nil {
			t.Errorf("after Resume: %v", err)
		}
	})
}

func TestSilent(t *testing.T) {
	c, err := net.Dial("tcp", redistest.Silent(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PING\r\n")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read %d bytes, %v, want none and a timeout", n, err)
	}
}

func TestProxy(t *testing.T) {
	ctx := t.Context()
	s := redistest.Start(t)
	direct := s.Client(t)

	// on starts a proxy that does a to SET and passes the rest, and a client
	// of it that does not retry.
	on := func(t *testing.T, protocol int, a redistest.Action) *redis.Client {
		p := redistest.NewProxy(t, s.Addr)
		p.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "set") {
				return a
			}
			return redistest.Pass
		})
		c := redis.NewClient(&redis.Options{Addr: p.Addr, Protocol: protocol, MaxRetries: -1, ReadTimeout: 200 * time.Millisecond})
		t.Cleanup(func() { c.Close() })
		return c
	}

	for _, tt := range []struct {
		name    string
		action  redistest.Action
		err     string
		applied bool
	}{
		{"Pass", redistest.Pass, "", true},
		{"DropReply", redistest.DropReply, "EOF", true},
		{"CutReply", redistest.CutReply, "EOF", true},
		{"Refuse", redistest.Refuse("-MISCONF no disk"), "MISCONF no disk", false},
		{"Hang", redistest.Hang, "i/o timeout", false},
		{"Close", redistest.Close, "EOF", false},
	} {
		for protocol := 2; protocol <= 3; protocol++ {
			t.Run(tt.name, func(t *testing.T) {
				direct.FlushAll(ctx)
				c := on(t, protocol, tt.action)
				err := c.Set(ctx, "k", "v", 0).Err()
				if (err == nil) != (tt.err == "") || err != nil && !strings.HasSuffix(err.Error(), tt.err) {
					t.Errorf("RESP%d: error %v, want %q", protocol, err, tt.err)
				}
				if applied := direct.Exists(ctx, "k").Val() == 1; applied != tt.applied {
					t.Errorf("RESP%d: applied = %t, want %t", protocol, applied, tt.applied)
				}
			})
		}
	}

	t.Run("every kind of reply", func(t *testing.T) {
		for protocol := 2; protocol <= 3; protocol++ {
			direct.FlushAll(ctx)
			c := on(t, protocol, redistest.Pass)
			value := strings.Repeat("a\r\n", 10_000)
			cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "s", value, 0)
				p.Get(ctx, "s")
				p.Get(ctx, "none")
				p.HSet(ctx, "h", "a", 1, "b", 2)
				p.HGetAll(ctx, "h")
				p.SAdd(ctx, "set", 1)
				p.SMembers(ctx, "set")
				p.ZAdd(ctx, "z", redis.Z{Score: 1.5, Member: "m"})
				p.ZRangeWithScores(ctx, "z", 0, -1)
				p.ConfigGet(ctx, "save")
				p.Do(ctx, "COMMAND", "DOCS", "get")
				p.Do(ctx, "NOSUCH")
				p.Echo(ctx, "last")
				return nil
			})
			if !errors.Is(err, redis.Nil) { // the first error
				t.Fatalf("RESP%d: %v", protocol, err)
			}
			if got := cmds[1].(*redis.StringCmd).Val(); got != value {
				t.Errorf("RESP%d: GET gave %d bytes, want %d", protocol, len(got), len(value))
			}
			if got := cmds[4].(*redis.MapStringStringCmd).Val()["b"]; got != "2" {
				t.Errorf("RESP%d: HGETALL b = %q", protocol, got)
			}
			if got := cmds[len(cmds)-1].(*redis.StringCmd).Val(); got != "last" {
				t.Errorf("RESP%d: the last reply is %q", protocol, got)
			}
		}
	})

	t.Run("Refuse within a pipeline", func(t *testing.T) {
		c := on(t, 3, redistest.Refuse("-OOM no memory"))
		cmds, _ := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.Echo(ctx, "one")
			p.Set(ctx, "k", "v", 0)
			p.Echo(ctx, "two")
			return nil
		})
		if one, two := cmds[0].(*redis.StringCmd).Val(), cmds[2].(*redis.StringCmd).Val(); one != "one" || two != "two" {
			t.Errorf("around it: %q, %q", one, two)
		}
		if err := cmds[1].Err(); err == nil || err.Error() != "OOM no memory" {
			t.Errorf("refused: %v", err)
		}
	})

	for _, tt := range []struct {
		name    string
		park    func(*redistest.Gate) redistest.Action
		applied bool
	}{
		{"Before", redistest.Before, false},
		{"After", redistest.After, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			direct.FlushAll(ctx)
			g := redistest.NewGate()
			c := on(t, 3, tt.park(g)).WithTimeout(10 * time.Second)
			done := make(chan error)
			go func() { done <- c.Set(ctx, "k", "v", 0).Err() }()
			<-g.Reached()
			if applied := direct.Exists(ctx, "k").Val() == 1; applied != tt.applied {
				t.Errorf("applied at the gate = %t, want %t", applied, tt.applied)
			}
			g.Open()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if direct.Exists(ctx, "k").Val() != 1 {
				t.Error("not applied behind the gate")
			}
		})
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := redistest.StartCluster(t, 3)
	replica := cluster.AddReplica(t, 0)
	c := cluster.Client(t)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := c.Set(ctx, key, "v", 0).Err(); err != nil {
			t.Errorf("SET %s: %v", key, err)
		}
	}
	if role := replica.Client(t).Do(ctx, "ROLE").Val().([]any)[0]; role != "slave" {
		t.Errorf("the replica is a %v", role)
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := redistest.StartSentinel(t)
	c := s.Client(t)
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx, 1, 10*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	s.Master.Kill()
	deadline := time.Now().Add(60 * time.Second)
	for {
		got, err := c.Get(ctx, "k").Result()
		if err == nil && got == "v" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the master's end: %q, %v", got, err)
		}
	}
}

// TestNothingStays runs everything in a subtest and looks at what is left.
func TestNothingStays(t *testing.T) {
	before := runtime.NumGoroutine()
	var addrs []string
	t.Run("some of everything", func(t *testing.T) {
		s := redistest.Start(t)
		stopped := redistest.Start(t)
		stopped.Pause()
		p := redistest.NewProxy(t, s.Addr)
		p.On(func(cmd []string) redistest.Action {
			switch {
			case strings.EqualFold(cmd[0], "get"):
				return redistest.Hang
			case strings.EqualFold(cmd[0], "set"):
				return redistest.Before(redistest.NewGate()) // never opened
			}
			return redistest.Pass
		})
		for _, command := range []string{"PING", "GET k", "SET k v"} {
			conn, err := net.Dial("tcp", p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			io.WriteString(conn, command+"\r\n")
		}
		addrs = []string{s.Addr, stopped.Addr, p.Addr, redistest.Silent(t)}
	})
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s still listens: %v", addr, err)
			if err == nil {
				c.Close()
			}
		}
	}
	// A goroutine that has closed its channel may not be gone yet.
	redistest.Eventually(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}
