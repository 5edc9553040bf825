// Package redistest runs real Redis processes for tests: one server, a cluster,
// a master with sentinels, an address that never answers, and a [Proxy] that
// loses replies on demand. Everything ends with the test that started it.
//
// SESSIONS_REDIS_SERVER names the redis-server to run (default: the one in
// PATH). Without one a test is skipped; with SESSIONS_REQUIRE_SERVICES=1 it
// fails. SESSIONS_REDIS_SERVERS adds further ones, separated by colons, for
// the tests that run on each of [Servers]. SESSIONS_REDIS_VIA says how the
// clients of [Via] get to theirs.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Binary is a server program: some version of Redis or Valkey.
type Binary struct {
	Path    string
	Version string // like "redis-7.0.15" or "valkey-8.1.1": a name for a subtest
}

// Servers returns the programs to test against, the default one first.
func Servers(t testing.TB) []Binary {
	t.Helper()
	paths := []string{defaultPath(t)}
	for _, path := range filepath.SplitList(os.Getenv("SESSIONS_REDIS_SERVERS")) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	binaries := make([]Binary, len(paths))
	for i, path := range paths {
		out, err := exec.Command(path, "--version").Output()
		m := regexp.MustCompile(`(?i)^(\w+) server v=(\S+)`).FindStringSubmatch(string(out))
		if err != nil || m == nil {
			t.Fatalf("redistest: %s --version: %q, %v", path, out, err)
		}
		binaries[i] = Binary{Path: path, Version: strings.ToLower(m[1]) + "-" + m[2]}
	}
	return binaries
}

func defaultPath(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath(cmpOr(os.Getenv("SESSIONS_REDIS_SERVER"), "redis-server"))
	if err == nil {
		return path
	}
	if os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
		t.Fatalf("redistest: %v", err)
	}
	t.Skipf("redistest: %v; install it (apt-get install redis-server) or name one in SESSIONS_REDIS_SERVER", err)
	return ""
}

// A Server is one running process on 127.0.0.1. Its methods are for the
// goroutine of the test.
type Server struct {
	Addr string

	t      testing.TB
	path   string
	args   []string
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start runs the default redis-server with the given further arguments, like
// "--maxmemory", "1". It keeps nothing on disk unless they say so.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return Binary{Path: defaultPath(t)}.Start(t, args...)
}

// Start is [Start] for this program.
func (b Binary) Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, b.Path, t.TempDir(), func(dir string, port int) []string {
		own := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}
		return append(own, args...)
	})
}

// start tries several ports: between asking the kernel for a free one and the
// server's bind another process may have taken it.
func start(t testing.TB, path, dir string, args func(dir string, port int) []string) *Server {
	t.Helper()
	s := &Server{t: t, path: path, dir: dir}
	t.Cleanup(s.Kill)
	var err error
	for range 5 {
		port := freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		s.args = args(dir, port)
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("redistest: %s does not start: %v\n%s", path, err, s.Log())
	return nil
}

// ready is what a server prints when it has loaded its data, and a sentinel.
var ready = regexp.MustCompile(`Ready to accept connections|\+monitor master`)

// run starts the process and waits until it answers. Its own log says so: on
// the port another one may answer, which was faster to take it.
func (s *Server) run() error {
	before := len(s.Log())
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, started, exited := exec.Command(s.path, s.args...), make(chan error, 1), make(chan struct{})
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, dieWithParent()
	go func() {
		// The kernel ends the process with the thread that started it, so
		// that a test binary that crashes leaves none behind. The thread has
		// to live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.exited = cmd, exited
	err = poll(time.Minute, func() error {
		select {
		case <-exited:
			return stop{fmt.Errorf("it ended: %v", cmd.ProcessState)}
		default:
			if log := s.Log()[before:]; !ready.MatchString(log) {
				return fmt.Errorf("it does not answer:\n%s", log)
			}
			return nil
		}
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// Client returns a default client of the server, closed at the end of t.
func (s *Server) Client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// Pause stops the process: the kernel still accepts connections and bytes,
// nobody answers.
func (s *Server) Pause() { s.signal(sigStop) }

// Resume undoes Pause; what has arrived meanwhile is answered.
func (s *Server) Resume() { s.signal(sigCont) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("redistest: %v: %v", sig, err)
	}
}

// Kill ends the process, as a crash would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sigCont)
	s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Restart ends the process and starts it anew, on the same address and
// directory.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := poll(20*time.Second, s.run); err != nil {
		s.t.Fatalf("redistest: restart: %v\n%s", err, s.Log())
	}
}

// Log returns what the process has printed.
func (s *Server) Log() string {
	log, _ := os.ReadFile(s.logFile())
	return string(log)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "stdout.log") }

// Silent returns an address that accepts connections and never answers.
func Silent(t testing.TB) (addr string) {
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return l
}

// freePort returns a port that is free, and so is the one 10000 above, which a
// cluster node takes for its bus.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l := listen(t)
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if bus, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+10000))); err == nil {
			bus.Close()
			return port
		}
	}
}

// Eventually waits until done, for what tells nobody when it happens: a
// replica that copies, a goroutine that ends.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	err := poll(time.Minute, func() error {
		if !done() {
			return fmt.Errorf("waited in vain for %s", what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stop is an error that polling does not outlive.
type stop struct{ error }

// poll calls ready until it succeeds.
func poll(timeout time.Duration, ready func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if _, ok := err.(stop); ok {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
