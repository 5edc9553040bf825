package node_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/redistest"
)

// A world is one redis-server and the servers in front of it.
type world struct {
	addr  string
	redis *redis.Client
	// wire leads to every server, by its port alone: a host may have any name.
	wire *http.Transport
	// slack is by how much Redis' expiry may be shorter than it is everywhere.
	slack time.Duration
}

// A site is one of the servers, Node or Go.
type site struct {
	name, port string
	path       string // of its cookie, below which its routes are
	cookie     string // its name
	prefix     string // of its keys
}

// A pair is an Express app and a Go server with the same options.
type pair struct {
	*world
	node, gopher *site
}

// patience is for what should take milliseconds: who waits that long waits in vain.
const patience = 30 * time.Second

func newWorld(t *testing.T) *world {
	t.Helper()
	findNode(t)
	server := redistest.Start(t)
	w := &world{addr: server.Addr, redis: server.Client(t)}
	w.wire = &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			var d net.Dialer
			return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Second, // Node hangs up after five
	}
	t.Cleanup(w.wire.CloseIdleConnections)
	return w
}

func (w *world) pair(t *testing.T, stack string, o express.Options) *pair {
	t.Helper()
	return &pair{w, w.startNode(t, inNode(stack, o)), w.startGo(t, o)}
}

// both are the two sides, in turn.
func (p *pair) both() []*site { return []*site{p.node, p.gopher} }

// other is the side that s is not.
func (p *pair) other(s *site) *site {
	if s == p.node {
		return p.gopher
	}
	return p.node
}

// An app is what app.mjs and fastify.mjs are configured by.
type app struct {
	stack
	Redis        string         `json:"redis"`
	StoreOptions map[string]any `json:"storeOptions"`
	Session      map[string]any `json:"session"`
	TrustProxy   bool           `json:"trustProxy"`
	Recipe       map[string]any `json:"recipe,omitempty"` // for those of recipes/

	script string // app.mjs, unless it says otherwise
}

// inNode writes the options for express-session and connect-redis: those of
// package express are theirs, by their names.
func inNode(stack string, o express.Options) app {
	cookie := map[string]any{}
	if o.Cookie.MaxAge > 0 {
		cookie["maxAge"] = o.Cookie.MaxAge.Milliseconds()
	}
	for name, value := range map[string]string{
		"path": o.Cookie.Path, "domain": o.Cookie.Domain,
		"secure": string(o.Cookie.Secure), "httpOnly": string(o.Cookie.HttpOnly),
		"partitioned": string(o.Cookie.Partitioned), "sameSite": string(o.Cookie.SameSite), "priority": string(o.Cookie.Priority),
	} {
		switch value {
		case "":
		case "true", "false":
			cookie[name] = value == "true"
		default:
			cookie[name] = value
		}
	}
	session := map[string]any{
		"secret": o.Secrets, "cookie": cookie,
		"resave": o.Resave, "rolling": o.Rolling, "saveUninitialized": o.SaveUninitialized,
	}
	store := map[string]any{}
	if o.Name != "" {
		session["name"] = o.Name
	}
	if o.Proxy {
		session["proxy"] = true
	}
	if o.NewID != nil {
		session["genid"] = "uuid"
	}
	if o.Prefix != "" || o.NoPrefix {
		store["prefix"] = o.Prefix
	}
	if o.TTL > 0 {
		store["ttl"] = o.TTL / time.Second
	}
	a := app{stack: stackNamed(stack), StoreOptions: store, Session: session}
	if a.Framework == "fastify" {
		a.script = "fastify.mjs"
	}
	return a
}

func siteOf(name, port string, o *app) *site {
	s := &site{name: name, port: port, path: "/", cookie: "connect.sid", prefix: "sess:"}
	for from, to := range map[any]*string{
		o.Session["name"]: &s.cookie, o.StoreOptions["prefix"]: &s.prefix,
		o.Session["cookie"].(map[string]any)["path"]: &s.path,
	} {
		if v, ok := from.(string); ok {
			*to = v
		}
	}
	return s
}

// findNode is for the tests, which need it, and what npm has to fetch.
func findNode(t *testing.T) (path string) {
	t.Helper()
	path, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("node_modules/express-session/package.json")
	}
	if err == nil {
		return path
	}
	how := fmt.Sprintf("%v: install Node 18 or newer with npm (apt-get install nodejs npm), then run npm ci in internal/integration/node", err)
	if os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
		t.Fatal(how)
	}
	t.Skip(how)
	return ""
}

// startNode runs app.mjs, or another script, until the test is over.
func (w *world) startNode(t *testing.T, a app) *site {
	t.Helper()
	a.Redis = "redis://" + w.addr
	config, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	script := cmp.Or(a.script, "app.mjs")
	cmd := exec.Command(findNode(t), script)
	cmd.Env = append(os.Environ(), "SESSIONS_NODE="+string(config))
	_, stdout := start(t, cmd, fmt.Sprintf("%s %s", script, config))
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }) // unless it listens by then
	var listening struct{ Port json.Number }
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	kill.Stop()
	if err == nil {
		err = json.Unmarshal(line, &listening)
	}
	if err != nil {
		t.Fatalf("%s %s does not listen: %v", script, config, err)
	}
	return siteOf("node", listening.Port.String(), &a)
}

// start runs a script of Node's until the test is over. The end of its standard
// input is its end, also if this process crashes.
func start(t *testing.T, cmd *exec.Cmd, what string) (stdin io.WriteCloser, stdout io.Reader) {
	t.Helper()
	said := &lockedBuffer{}
	cmd.Stderr = said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		end := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		end.Stop()
		if text := said.String(); text != "" && t.Failed() {
			t.Logf("%s said:\n%s", what, text)
		}
	})
	return stdin, out
}

// lockedBuffer is written to by exec's goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.b.String())
}
