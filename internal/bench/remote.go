package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// remote is a site in another process, asked over HTTP on connections that stay open.
type remote struct {
	client *fasthttp.HostClient
}

func (s remote) close()                   { s.client.CloseIdleConnections() }
func (s remote) serve(net.Listener) error { return errors.ErrUnsupported }

func newRemote(addr string, conns int) remote {
	return remote{&fasthttp.HostClient{Addr: addr, MaxConns: conns, NoDefaultUserAgentHeader: true}}
}

func (s remote) caller(o op, cookies ...string) (caller, error) {
	if len(cookies) == 0 && (o == read || o == changed) {
		cookie, err := s.visit()
		if err != nil {
			return nil, err
		}
		cookies = []string{cookie}
	}
	request, response, next := new(fasthttp.Request), new(fasthttp.Response), 0
	request.SetRequestURI("http://" + s.client.Addr + o.path())
	request.Header.Set("X-Forwarded-Proto", "https") // or else Secure cookies are not sent
	return func() error {
		if len(cookies) > 0 {
			request.Header.DelAllCookies() // Set adds to them
			request.Header.Set("Cookie", cookies[next])
			next = (next + 1) % len(cookies)
		}
		if err := s.client.Do(request, response); err != nil {
			return err
		}
		if status := response.StatusCode(); status != http.StatusNoContent {
			return fmt.Errorf("status %d: %s", status, response.Body())
		}
		return nil
	}, nil
}

func (s remote) visit() (string, error) {
	request, response := new(fasthttp.Request), new(fasthttp.Response)
	request.SetRequestURI("http://" + s.client.Addr + begun.path())
	request.Header.Set("X-Forwarded-Proto", "https")
	if err := s.client.Do(request, response); err != nil {
		return "", err
	}
	cookie, _, _ := strings.Cut(string(response.Header.Peek("Set-Cookie")), ";")
	if cookie == "" {
		return "", fmt.Errorf("status %d and no cookie", response.StatusCode())
	}
	return cookie, nil
}

// overHTTP is s in a process of its own.
func overHTTP(tb testing.TB, s subject) subject {
	return subject{s.name, func(c setting) (site, error) {
		return newRemote(startTask(tb, task{Serve: s.name, Setting: c}), c.Conns), nil
	}}
}

// nodeDir has Express and its package.json.
var nodeDir = "node"

// nodeExpress is the real express-session with connect-redis.
func nodeExpress(tb testing.TB) subject {
	return subject{expressSession, func(c setting) (site, error) {
		shop, err := json.Marshal(newShop(c.Size))
		if err != nil {
			return nil, err
		}
		cmd := exec.Command("node", filepath.Join(nodeDir, "server.mjs"), "redis://"+c.Redis)
		cmd.Env = append(os.Environ(), "NODE_ENV=production", "SHOP="+string(shop))
		return newRemote(startProcess(tb, cmd), c.Conns), nil
	}}
}

// hasExpress says what is missing if Express cannot be started.
func hasExpress() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("%w: install Node 18 or newer with npm, then run npm ci in internal/bench/node", err)
	}
	if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", "express-session")); err != nil {
		return fmt.Errorf("%w: run npm ci in internal/bench/node", err)
	}
	return nil
}
