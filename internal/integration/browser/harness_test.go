package browser

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// chromium is one browser for all tests. Each test has sites of its own in it.
var chromium context.Context

func TestMain(m *testing.M) {
	code := 1
	func() {
		path, err := lookChromium()
		if err == nil {
			var cancel context.CancelFunc
			chromium, cancel = chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(
				append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.IgnoreCertErrors,
					chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"))...))
			defer cancel()
			if err := chromedp.Do(chromium); err != nil {
				log.Fatalf("%s does not start: %v", path, err)
			}
		}
		code = m.Run()
	}()
	os.Exit(code)
}

func lookChromium() (path string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err = exec.LookPath(name); err == nil {
			break
		}
	}
	return path, err
}

// A tab is one of the browser's, with sites that no other test has.
type tab struct {
	t   *testing.T
	ctx context.Context
	*sites
}

// sites are the hosts of one port.
type sites struct {
	port string

	mu    sync.Mutex
	hosts map[string]http.Handler
}

// newTab opens one.
func newTab(t *testing.T) *tab {
	t.Helper()
	if chromium == nil {
		how := "there is no Chromium in PATH: apt-get install chromium"
		if os.Getenv("SESSIONS_REQUIRE_SERVICES") == "1" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	b := &tab{t: t, sites: &sites{hosts: map[string]http.Handler{}}}
	var cancel context.CancelFunc
	b.ctx, cancel = chromedp.NewContext(chromium)
	t.Cleanup(cancel)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		b.mu.Lock()
		page := b.hosts[host]
		b.mu.Unlock()
		if page == nil {
			http.NotFound(w, r)
			return
		}
		page.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, b.port, _ = net.SplitHostPort(srv.Listener.Addr().String())
	return b
}

// newProfile opens a tab for the same sites, in a profile of its own: the two share no cookies.
func (b *tab) newProfile() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	b.t.Cleanup(cancel)
	return &tab{b.t, ctx, b.sites}
}

// serve gives a site a host, and returns its origin.
func (b *sites) serve(host string, h http.Handler) (origin string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	host += "-" + b.port + ".test" // no other test has had this port, nor these cookies
	b.hosts[host] = h
	return "https://" + host + ":" + b.port
}

// serveBeside gives the site of an origin another host.
func (b *sites) serveBeside(name, origin string, h http.Handler) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	host := strings.TrimPrefix(strings.TrimSuffix(origin, ":"+b.port), "https://")
	b.hosts[name+"."+host] = h
	return "https://" + name + "." + host + ":" + b.port
}

// do runs steps, for half a minute at most.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) limit() (context.Context, context.CancelFunc) {
	if err := chromedp.Do(b.ctx); err != nil { // the tab lives as long as the context of its first call
		b.t.Fatal(err)
	}
	return context.WithTimeout(b.ctx, 30*time.Second)
}

// eval is what an expression of JavaScript, or the promise that it is, gives in the page that is shown.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// visit opens an address as a user does who has typed it, and returns the page's text.
func (b *tab) visit(url string) string {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	return b.text()
}

// text is that of the page.
func (b *tab) text() string {
	b.t.Helper()
	return eval[string](b, "document.body.innerText")
}

// click clicks on the first element of the page that matches, and waits for the page to which that leads.
func (b *tab) click(css string) string {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(css))); err != nil {
		b.t.Fatal(err)
	}
	return b.text()
}

// cookies are those that the browser keeps for an address, by their names.
func (b *tab) cookies(url string) map[string]*network.Cookie {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	res, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{url}})
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]*network.Cookie{}
	for _, c := range res.Cookies {
		found[c.Name] = c
	}
	return found
}

// An app is a Manager with a few routes, and what it tells.
type app struct {
	*sessions.Manager[kit.Session]
	events kit.Events
	store  kit.Store
	mux    *http.ServeMux
}

// newApp is one on a store of its own.
func newApp(t *testing.T, transport sessions.Transport) *app {
	t.Helper()
	a := &app{mux: http.NewServeMux()}
	a.store.Store = kit.Memory()
	a.Manager = kit.New[kit.Session](t, &a.store, sessions.Config{Transport: transport, OnEvent: a.events.On})
	a.route(t)
	return a
}

// route serves /in, which signs u1 in; /who, which tells who is signed in and how many views there are; and /view,
// which counts one, by any method.
func (a *app) route(t *testing.T) {
	a.mux.HandleFunc("/in", func(w http.ResponseWriter, r *http.Request) {
		a.FromContext(r.Context()).UserID = "u1"
		kit.OK(t, a.SignIn(r.Context()))
		page(w, "in")
	})
	a.mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		s := a.FromContext(r.Context())
		page(w, fmt.Sprintf("%q %d", s.UserID, s.Views))
	})
	a.mux.HandleFunc("/view", func(w http.ResponseWriter, r *http.Request) {
		s := a.FromContext(r.Context())
		s.Views++
		if origin := r.Header.Get("Origin"); origin != "" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		page(w, fmt.Sprintf("%q %d", s.UserID, s.Views))
	})
}

// created counts the sessions that were stored since it was last asked.
func (a *app) created() int {
	return strings.Count(a.store.Calls(), "Create")
}

// page answers with an HTML page.
func page(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><link rel=icon href=data:><body>%s", body)
}
