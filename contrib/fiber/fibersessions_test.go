package fibersessions_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gofiber/fiber/v3/middleware/compress"
	"github.com/gofiber/fiber/v3/middleware/encryptcookie"
	"github.com/gofiber/fiber/v3/middleware/etag"
	"github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/gofiber/fiber/v3/middleware/requestid"
	"github.com/gofiber/fiber/v3/middleware/timeout"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/contrib/fiber"
)

// Session is what the tests' application knows of a visitor.
type Session struct {
	UserID string
	Views  int
}

// failing is a store whose loads or saves can fail.
type failing struct {
	*sessions.MemoryStore
	loads, saves atomic.Bool
}

func (s *failing) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if s.loads.Load() {
		return nil, 0, sessions.ErrUnavailable
	}
	return s.MemoryStore.Load(ctx, key, touch)
}

func (s *failing) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	if s.saves.Load() {
		return sessions.ErrUnavailable
	}
	return s.MemoryStore.Create(ctx, key, data, ttl)
}

func (s *failing) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	if s.saves.Load() {
		return nil, sessions.ErrUnavailable
	}
	return s.MemoryStore.CompareAndSwap(ctx, key, prefix, data, ttl)
}

// An app is a fiber App with a Manager and a store.
type app struct {
	*fiber.App
	m     *sessions.Manager[Session]
	store *failing
	t     *testing.T
}

func newApp(t *testing.T, cfg sessions.Config, outer ...any) *app {
	t.Helper()
	a := &app{fiber.New(), nil, &failing{MemoryStore: &sessions.MemoryStore{}}, t}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if a.m, err = sessions.New[Session](a.store, cfg); err != nil {
		t.Fatal(err)
	}
	for _, h := range outer {
		a.Use(h)
	}
	a.Use(fibersessions.Middleware(a.m))
	a.Get("/views", func(c fiber.Ctx) error {
		return c.SendString(strconv.Itoa(sessions.FromContext[Session](c).Views))
	})
	return a
}

// A browser keeps cookies and follows no redirect.
type browser struct {
	*http.Client
	t   *testing.T
	url string
}

func (a *app) browser() *browser { return browse(a.t, a.App) }

// browse serves an App over TLS, because a cookie jar sends a Secure cookie to https addresses alone.
func browse(t *testing.T, app *fiber.App) *browser {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate, and a client that trusts it
	t.Cleanup(s.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- app.Listener(tls.NewListener(ln, &tls.Config{Certificates: s.TLS.Certificates}), fiber.ListenConfig{DisableStartupMessage: true})
	}()
	c := s.Client()
	c.Jar, _ = cookiejar.New(nil)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		c.CloseIdleConnections()
		_ = ln.Close()
		<-served
	})
	return &browser{c, t, "https://" + ln.Addr().String()}
}

// A page is a response that was read.
type page struct {
	*http.Response
	text string
}

func (b *browser) do(method, path string, header ...string) page {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return b.send(r)
}

func (b *browser) send(r *http.Request) page {
	b.t.Helper()
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res, string(text)}
}

func (b *browser) get(path string) page { b.t.Helper(); return b.do("GET", path) }

func (b *browser) wantViews(want int) {
	b.t.Helper()
	if got := b.get("/views").text; got != strconv.Itoa(want) {
		b.t.Errorf("%s views, want %d", got, want)
	}
}

func TestAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(file, []byte("page"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		desc   string
		answer fiber.Handler
		status int
		text   string
	}{
		{"SendString", func(c fiber.Ctx) error { return c.SendString("page") }, 200, "page"},
		{"JSON", func(c fiber.Ctx) error { return c.Status(201).JSON(fiber.Map{"a": 1}) }, 201, `{"a":1}`},
		{"Redirect", func(c fiber.Ctx) error { return c.Redirect().Status(303).To("/next") }, 303, ""},
		{"Status alone", func(c fiber.Ctx) error { c.Status(204); return nil }, 204, ""},
		{"SendStatus", func(c fiber.Ctx) error { return c.SendStatus(418) }, 418, "I'm a teapot"},
		{"nothing at all", func(fiber.Ctx) error { return nil }, 200, ""},
		{"SendFile", func(c fiber.Ctx) error { c.Set("ETag", `"a"`); return c.SendFile(file) }, 200, "page"},
		{"SendStream", func(c fiber.Ctx) error { return c.SendStream(strings.NewReader("page")) }, 200, "page"},
		{"SendStreamWriter", func(c fiber.Ctx) error {
			c.Set("Content-Type", "text/event-stream")
			return c.SendStreamWriter(func(w *bufio.Writer) {
				for range 3 {
					fmt.Fprint(w, "data: x\n\n")
					_ = w.Flush()
				}
			})
		}, 200, "data: x\n\ndata: x\n\ndata: x\n\n"},
		{"an error", func(fiber.Ctx) error { return fiber.NewError(422, "no") }, 422, "no"},
		{"net/http in the adaptor", adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418); fmt.Fprint(w, "page") }), 418, "page"},
	} {
		answer := func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views = 1
			c.Cookie(&fiber.Cookie{Name: "own", Value: "1"})
			return row.answer(c)
		}
		t.Run("W1 L1 T9 the cookie is there beside the handler's, and the change is saved: "+row.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			a.Get("/page", answer)
			b := a.browser()
			if got := b.get("/page"); got.StatusCode != row.status || got.text != row.text || len(got.Cookies()) != 2 || got.Header.Get("Cache-Control") != "private, no-store" {
				t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
			}
			b.wantViews(1)
			if got := b.get("/page"); got.StatusCode != row.status || len(got.Cookies()) != 1 || got.Header.Get("Cache-Control") != "private" || got.Header.Get("Vary") != "Cookie" {
				t.Errorf("the second visit: %d %v", got.StatusCode, got.Header)
			}
		})
		t.Run("W7 a failed save is answered by the error, and nothing of the page is: "+row.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			a.Get("/page", answer)
			b := a.browser()
			a.store.saves.Store(true)
			got := b.get("/page")
			if got.StatusCode != 503 || !strings.HasPrefix(got.text, "Service Unavailable") || len(got.Cookies()) != 1 ||
				got.Header.Get("Location") != "" || got.Header.Get("ETag") != "" || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
				got.ContentLength != int64(len(got.text)) {
				t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
			}
		})
	}

	t.Run("W7 a failed save has the handler's own body stream closed", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		closed := make(chan struct{})
		a.Get("/page", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views = 1
			return c.SendStream(&closing{strings.NewReader("page"), closed})
		})
		b := a.browser()
		a.store.saves.Store(true)
		if got := b.get("/page"); got.StatusCode != 503 {
			t.Errorf("%d %q", got.StatusCode, got.text)
		}
		<-closed
	})

	t.Run("W4 a session is saved, and its cookie is in the 101, before a connection is handed over", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Get("/socket", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views = 5
			ctx := c.Context()
			c.Set("Upgrade", "test")
			c.Set("Connection", "Upgrade")
			c.Status(101).RequestCtx().Hijack(func(conn net.Conn) {
				err := a.m.Update(ctx, func(s *Session) error { s.Views++; return nil })
				fmt.Fprint(conn, err)
			})
			return nil
		})
		b := a.browser()
		r, err := http.NewRequest("GET", b.url+"/socket", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Upgrade", "test")
		r.Header.Set("Connection", "Upgrade")
		if got := b.send(r); got.StatusCode != 101 || len(got.Cookies()) != 1 || got.text != "<nil>" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(6)
	})
}

// closing is a body that tells when it is closed.
type closing struct {
	io.Reader
	closed chan struct{}
}

func (c *closing) Close() error { close(c.closed); return nil }

func TestErrors(t *testing.T) {
	t.Run("W7 W13 neither the app's ErrorHandler nor middleware outside replaces the answer to a failed save", func(t *testing.T) {
		a := newApp(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("X-Own", "1")
			http.Error(w, "own: "+strconv.FormatBool(errors.Is(err, sessions.ErrUnavailable)), 599)
		}}, func(c fiber.Ctx) error {
			if err := c.Next(); err != nil {
				return c.SendString("from outside")
			}
			return nil
		})
		a.Get("/page", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views++
			return fiber.ErrTeapot
		})
		b := a.browser()
		a.store.saves.Store(true)
		if got := b.get("/page"); got.StatusCode != 599 || got.text != "own: true\n" || got.Header.Get("X-Own") != "1" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
	})

	t.Run("W7 W4 no WebSocket begins behind the answer to a failed save", func(t *testing.T) {
		begins := make(chan bool, 1)
		a := newApp(t, sessions.Config{}, func(c fiber.Ctx) error {
			err := c.Next()
			begins <- c.RequestCtx().Hijacked()
			return err
		})
		a.Get("/ws", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views++
			c.RequestCtx().Hijack(func(net.Conn) {})
			return nil
		})
		b := a.browser()
		for _, fails := range []bool{false, true} {
			a.store.saves.Store(fails)
			if got := b.get("/ws"); (got.StatusCode == 503) != fails || <-begins == fails {
				t.Errorf("saves fail %t: %d %q", fails, got.StatusCode, got.text)
			}
		}
	})

	t.Run("W13 an error that a handler returns is answered by the app's ErrorHandler, which finds the session", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		own := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, err error) error {
			return c.Status(418).SendString(fmt.Sprint(err, " ", sessions.FromContext[Session](c).Views))
		}})
		own.Use(fibersessions.Middleware(a.m))
		own.Get("/page", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views++
			return errors.New("no")
		})
		b := browse(t, own)
		for want := range 2 {
			if got := b.get("/page"); got.StatusCode != 418 || got.text != fmt.Sprint("no ", want+1) || got.Header.Get("Vary") != "Cookie" {
				t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
			}
		}
	})

	t.Run("C13 after a failed load ErrorHandler answers, and no handler behind the middleware runs", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Get("/page", func(c fiber.Ctx) error { t.Error("the handler runs"); return nil })
		a.Get("/set", func(c fiber.Ctx) error { sessions.FromContext[Session](c).Views++; return nil })
		b := a.browser()
		b.get("/set")
		a.store.loads.Store(true)
		if got := b.get("/page"); got.StatusCode != 503 || !strings.HasPrefix(got.text, "Service Unavailable") || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
	})

	signIn := func(a *app) fiber.Handler {
		return func(c fiber.Ctx) error {
			if err := a.m.SignIn(c); err != nil {
				t.Error(err)
			}
			sessions.FromContext[Session](c).Views = 99
			c.Cookie(&fiber.Cookie{Name: "own", Value: "1"})
			c.Set("Cache-Control", "public")
			panic("half done")
		}
	}
	t.Run("W8 with recover outside a panic saves nothing more, and the cookie of a verb that had completed is sent", func(t *testing.T) {
		a := newApp(t, sessions.Config{}, recover.New(), func(c fiber.Ctx) error {
			c.Cookie(&fiber.Cookie{Name: "outer", Value: "1"})
			return c.Next()
		})
		a.Get("/panic", func(c fiber.Ctx) error { sessions.FromContext[Session](c).Views = 99; panic("half done") })
		a.Get("/signin", signIn(a))
		b := a.browser()
		if got := b.get("/panic"); got.StatusCode != 500 || got.text != "half done" || len(got.Cookies()) != 1 || got.Header.Get("Vary") != "Cookie" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		if got := b.get("/signin"); got.StatusCode != 500 || len(got.Cookies()) != 3 || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(0)
	})

	t.Run("W8 with recover inside a panic is an error that the handler returns", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Use(recover.New())
		a.Get("/signin", signIn(a))
		b := a.browser()
		if got := b.get("/signin"); got.StatusCode != 500 || len(got.Cookies()) != 2 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(99)
	})

	t.Run("W12 where fiber's timeout answers, T is not saved by itself, and the cookie of a verb that had completed is sent", func(t *testing.T) {
		kinds := make(chan sessions.EventKind, 9)
		a := newApp(t, sessions.Config{OnEvent: func(_ context.Context, e sessions.Event) { kinds <- e.Kind }})
		over, answered, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		a.Get("/slow", func(c fiber.Ctx) error {
			c.SetContext(late{c.Context(), over})
			return c.Next()
		}, timeout.New(func(c fiber.Ctx) error {
			ctx := c.Context()
			if err := a.m.SignIn(c); err != nil {
				t.Error(err)
			}
			sessions.FromContext[Session](c).Views++
			close(over)
			<-answered
			done <- a.m.SignIn(ctx)
			return nil
		}, timeout.Config{Timeout: time.Hour}))
		b := a.browser()
		got := b.get("/slow")
		close(answered)
		if got.StatusCode != 408 || got.text != "Request Timeout" || len(got.Cookies()) != 1 || got.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		if err := <-done; !errors.Is(err, sessions.ErrCommitted) {
			t.Errorf("SignIn: %v", err)
		}
		for _, want := range []sessions.EventKind{sessions.EventCreated, sessions.EventSignedIn, sessions.EventLateChange} {
			if kind := <-kinds; kind != want {
				t.Errorf("the event %v, want %v", kind, want)
			}
		}
		b.wantViews(0)
	})
}

// late is a context whose deadline has passed when over is closed.
type late struct {
	context.Context
	over <-chan struct{}
}

func (late) Deadline() (time.Time, bool) { return time.Time{}, true }
func (l late) Done() <-chan struct{}     { return l.over }

func (l late) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestVerbsAndConfig(t *testing.T) {
	t.Run("L12 L10 L32 SignIn, Renew and Destroy by fiber's context and by the user's", func(t *testing.T) {
		for desc, of := range map[string]func(fiber.Ctx) context.Context{
			"c":           func(c fiber.Ctx) context.Context { return c },
			"c.Context()": func(c fiber.Ctx) context.Context { return c.Context() },
		} {
			a := newApp(t, sessions.Config{})
			for path, verb := range map[string]func(context.Context) error{
				"/signin": func(ctx context.Context) error { return a.m.SignIn(ctx) }, "/renew": a.m.Renew, "/destroy": a.m.Destroy,
			} {
				a.Post(path, func(c fiber.Ctx) error {
					sessions.FromContext[Session](of(c)).Views++
					c.Set("Cache-Control", "public")
					return errors.Join(verb(of(c)), c.Redirect().To("/"))
				})
			}
			b := a.browser()
			tokens := map[string]bool{}
			for _, path := range []string{"/signin", "/renew"} {
				got := b.do("POST", path)
				if len(got.Cookies()) != 1 || got.Header.Get("Cache-Control") != "no-store" {
					t.Fatalf("%s %s: %d %v", desc, path, got.StatusCode, got.Header)
				}
				tokens[got.Cookies()[0].Value] = true
			}
			b.wantViews(2)
			if got := b.do("POST", "/destroy"); len(got.Cookies()) != 1 || got.Cookies()[0].MaxAge >= 0 || len(tokens) != 2 {
				t.Errorf("%s: %v, %d tokens", desc, got.Header, len(tokens))
			}
			b.wantViews(0)
		}
	})

	t.Run("O15 a stream ends with its session, which another tab has ended", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Get("/signin", func(c fiber.Ctx) error { return a.m.SignIn(c) })
		a.Get("/destroy", func(c fiber.Ctx) error { return a.m.Destroy(c) })
		a.Get("/live", func(c fiber.Ctx) error {
			ctx, stop := a.m.Watch(c.Context())
			return c.SendStreamWriter(func(w *bufio.Writer) {
				defer stop()
				fmt.Fprint(w, "begun; ") // without a byte fiber sends no header
				_ = w.Flush()
				<-ctx.Done()
				fmt.Fprint(w, "it has ended")
			})
		})
		b := a.browser()
		b.get("/signin")
		res, err := b.Get(b.url + "/live")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b.get("/destroy")
		if text, err := io.ReadAll(res.Body); string(text) != "begun; it has ended" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	})

	t.Run("L16 Skip, Passive and Label get the request", func(t *testing.T) {
		var seen atomic.Pointer[http.Request]
		a := newApp(t, sessions.Config{
			Skip:    func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/assets/") },
			Passive: func(r *http.Request) bool { seen.Store(r); return r.Header.Get("X-Poll") != "" },
			Label:   func(r *http.Request) string { return r.UserAgent() },
		})
		a.Get("/assets/*", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views = 99
			if _, ok := sessions.Lookup[Session](c); ok {
				t.Error("Lookup finds a session")
			}
			return c.SendString("asset")
		})
		a.Get("/label", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views++
			return c.SendString(a.m.Info(c).Label)
		})
		b := a.browser()
		if got := b.get("/assets/a.css"); got.text != "asset" || len(got.Cookies()) != 0 || got.Header.Get("Vary") != "" || seen.Load() != nil {
			t.Errorf("%q %v", got.text, got.Header)
		}
		b.do("GET", "/label?q=1%202", "User-Agent", "fiber-test", "X-Two", "1", "X-Two", "2")
		r := seen.Load() // its strings are copies, so the next requests leave them alone
		if got := b.do("GET", "/label", "X-Poll", "1"); got.text != "fiber-test" {
			t.Errorf("the label is %q", got.text)
		}
		if r.Method != "GET" || r.URL.Path != "/label" || r.FormValue("q") != "1 2" || r.Host == "" || r.TLS == nil || r.RemoteAddr == "" ||
			strings.Join(r.Header["X-Two"], " ") != "1 2" || r.Header.Get("User-Agent") != "fiber-test" {
			t.Errorf("the request is %+v", r)
		}
	})

	t.Run("L16 the request has the path by which fiber routes", func(t *testing.T) {
		for _, path := range []string{"/account/../assets/a", "/account/..%2fassets/a", "//assets/a", "/a%20b?q=%zz", "/"} {
			seen := make(chan *http.Request, 1)
			a := newApp(t, sessions.Config{Skip: func(r *http.Request) bool { seen <- r; return true }})
			a.Get("/*", func(c fiber.Ctx) error { return c.SendString(c.Path()) })
			routed := a.browser().get(path).text
			if r := <-seen; r.URL.EscapedPath() != routed || r.RequestURI != path || r.URL.Host != "" {
				t.Errorf("%s: %q, %q, fiber has %q", path, r.URL.EscapedPath(), r.RequestURI, routed)
			}
		}
	})

	t.Run("T14 T9 T13 W14 nothing begins in a cross-site post, and what handlers say to caches counts", func(t *testing.T) {
		a := newApp(t, sessions.Config{}, func(c fiber.Ctx) error {
			c.Set("X-Outer", "1")
			c.Set("X-Removed", "1")
			c.Cookie(&fiber.Cookie{Name: "outer", Value: "1"})
			return c.Next()
		})
		a.Post("/page", func(c fiber.Ctx) error { sessions.FromContext[Session](c).Views++; return c.SendString("page") })
		a.Get("/public", func(c fiber.Ctx) error {
			c.Set("Cache-Control", "public, max-age=60")
			c.Set("CDN-Cache-Control", "max-age=60")
			c.Vary("Accept")
			c.Response().Header.Del("X-Removed")
			sessions.FromContext[Session](c).Views++
			return c.SendString("page")
		})
		b := a.browser()
		if got := b.do("POST", "/page", "Sec-Fetch-Site", "cross-site"); got.StatusCode != 200 || len(got.Cookies()) != 1 {
			t.Errorf("%d %v", got.StatusCode, got.Header)
		}
		if got := b.get("/public"); got.Header.Get("Cache-Control") != "max-age=60, no-store" || got.Header.Get("CDN-Cache-Control") != "no-store" ||
			strings.Join(got.Header["Vary"], ", ") != "Accept, Cookie" || len(got.Cookies()) != 2 || got.Header.Get("X-Outer") != "1" || got.Header.Get("X-Removed") != "" {
			t.Errorf("%v", got.Header)
		}
		if got := b.get("/public"); got.Header.Get("Cache-Control") != "public, max-age=60" || got.Header.Get("CDN-Cache-Control") != "max-age=60" {
			t.Errorf("%v", got.Header)
		}
		a.store.saves.Store(true)
		if got := b.get("/public"); got.StatusCode != 503 || got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("CDN-Cache-Control") != "" ||
			got.Header.Get("X-Outer") != "1" || len(got.Cookies()) != 1 {
			t.Errorf("%d %v", got.StatusCode, got.Header)
		}
	})

	t.Run("T3 T4 hostile cookies are refused, and of two of one name the valid one is used", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Get("/set", func(c fiber.Ctx) error { sessions.FromContext[Session](c).Views = 7; return nil })
		b := a.browser()
		cookie := b.get("/set").Cookies()[0]
		b.Jar, _ = cookiejar.New(nil)
		for line, want := range map[string]string{
			cookie.Name + "=x; " + cookie.Name + "=" + cookie.Value:     "7",
			cookie.Name + "=" + cookie.Value + ";" + cookie.Name + "=x": "7",
			cookie.Name + "=":                       "0",
			cookie.Name + "=" + cookie.Value + "{}": "0",
			cookie.Name + "=\xff\xfe":               "0",
			"=; ;;" + cookie.Name:                   "0",
		} {
			if got := b.do("GET", "/views", "Cookie", line); got.StatusCode != 200 || got.text != want {
				t.Errorf("%q: %d %q, want %s", line, got.StatusCode, got.text, want)
			}
		}
	})
}

func TestRouting(t *testing.T) {
	count := func(c fiber.Ctx) error {
		s := sessions.FromContext[Session](c)
		s.Views++
		return c.SendString(strconv.Itoa(s.Views))
	}
	t.Run("L2 W1 groups, routes, 404, 405 and HEAD, and a connection keeps nothing of a session", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		bare := fiber.New()
		bare.Get("/none", func(c fiber.Ctx) error {
			_, ok := sessions.Lookup[Session](c)
			_, user := sessions.Lookup[Session](c.Context())
			return c.SendString(strconv.FormatBool(ok || user))
		})
		bare.Get("/one", fibersessions.Middleware(a.m), count)
		group := bare.Group("/group", fibersessions.Middleware(a.m))
		group.Get("/in/:id", fibersessions.Middleware(a.m), count) // used twice
		b := browse(t, bare)
		for _, want := range []struct {
			method, path string
			status       int
			text         string
		}{
			{"GET", "/none", 200, "false"},
			{"GET", "/one", 200, "1"},
			{"GET", "/none", 200, "false"},
			{"GET", "/group/in/7", 200, "2"},
			{"HEAD", "/group/in/7", 200, ""},
			{"GET", "/none", 200, "false"},
			{"GET", "/lost", 404, "Not Found"},
			{"GET", "/group/lost", 404, "Not Found"},
			{"POST", "/one", 405, "Method Not Allowed"},
			{"GET", "/one", 200, "4"},
		} {
			if got := b.do(want.method, want.path); got.StatusCode != want.status || got.text != want.text {
				t.Errorf("%s %s: %d %q", want.method, want.path, got.StatusCode, got.text)
			}
		}
	})

	t.Run("W1 a handler that restarts the routing has one session", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Get("/again", func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views = 6
			c.Path("/count")
			return c.RestartRouting()
		})
		a.Get("/count", count)
		b := a.browser()
		if got := b.get("/again"); got.text != "7" || len(got.Cookies()) != 1 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(7)
	})

	t.Run("L14 two managers nest, and each sends its cookie", func(t *testing.T) {
		type Prefs struct{ Theme string }
		a := newApp(t, sessions.Config{})
		prefs, err := sessions.New[Prefs](a.store, sessions.Config{Realm: "prefs", Transport: sessions.Cookie{Name: "__Host-prefs"}})
		if err != nil {
			t.Fatal(err)
		}
		a.Get("/both", fibersessions.Middleware(prefs), func(c fiber.Ctx) error {
			sessions.FromContext[Session](c).Views++
			p := sessions.FromContext[Prefs](c)
			p.Theme += "x"
			return c.SendString(p.Theme)
		})
		b := a.browser()
		if got := b.get("/both"); got.text != "x" || len(got.Cookies()) != 2 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		if got := b.get("/both"); got.text != "xx" || len(got.Cookies()) != 0 || len(got.Header["Vary"]) != 1 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(2)
	})

	t.Run("F16 a log line names the route as fiber has it", func(t *testing.T) {
		var log strings.Builder
		a := newApp(t, sessions.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		a.Post("/form/:id", count)
		if got := a.browser().do("POST", "/form/7", "Sec-Fetch-Site", "cross-site"); got.text != "1" || !strings.Contains(log.String(), `route="POST /form/:id"`) {
			t.Errorf("%q, the log: %s", got.text, &log)
		}
	})
}

func TestBesideOtherMiddleware(t *testing.T) {
	text := strings.Repeat("page ", 1000)
	key := encryptcookie.GenerateKey(32)
	for _, inside := range []bool{false, true} {
		for name, other := range map[string]fiber.Handler{
			"compress":      compress.New(),
			"etag":          etag.New(),
			"encryptcookie": encryptcookie.New(encryptcookie.Config{Key: key}),
			"requestid":     requestid.New(),
			"a copy of the context": func(c fiber.Ctx) error {
				type key struct{}
				c.SetContext(context.WithValue(c.Context(), key{}, 1))
				return c.Next()
			},
		} {
			if name == "encryptcookie" && inside {
				continue // it would take the token for one of its own
			}
			t.Run(fmt.Sprintf("W1 W7 W14 %s, inside: %t", name, inside), func(t *testing.T) {
				a := newApp(t, sessions.Config{})
				app := fiber.New()
				handlers := []any{other, fibersessions.Middleware(a.m)}
				if inside {
					handlers[0], handlers[1] = handlers[1], handlers[0]
				}
				for _, h := range handlers {
					app.Use(h)
				}
				app.Get("/", func(c fiber.Ctx) error {
					s := sessions.FromContext[Session](c)
					s.Views++
					return c.SendString(fmt.Sprint(text, s.Views))
				})
				b := browse(t, app)
				for want := range 3 {
					if got := b.get("/"); got.StatusCode != 200 || got.text != fmt.Sprint(text, want+1) {
						t.Errorf("%d, %d bytes, %v", got.StatusCode, len(got.text), got.Header)
					}
				}
				a.store.saves.Store(true)
				if got := b.get("/"); got.StatusCode != 503 || got.text != "Service Unavailable\n" {
					t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
				}
			})
		}
	}
}

func TestWithoutTheMiddleware(t *testing.T) {
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for desc, of := range map[string]func(fiber.Ctx) context.Context{
		"c":            func(c fiber.Ctx) context.Context { return c },
		"c.Context()":  func(c fiber.Ctx) context.Context { return c.Context() },
		"c.RequestCtx": func(c fiber.Ctx) context.Context { return c.RequestCtx() },
	} {
		t.Run("L32 the panic names the middleware, also behind the adaptor: "+desc, func(t *testing.T) {
			app := fiber.New()
			app.Use(recover.New(), adaptor.HTTPMiddleware(m.Handler))
			app.Get("/", func(c fiber.Ctx) error { sessions.FromContext[Session](of(c)); return nil })
			got := browse(t, app).get("/")
			if !strings.Contains(got.text, "fibersessions.Middleware(m)") || !strings.Contains(got.text, "contrib/fiber") {
				t.Errorf("panic %q", got.text)
			}
		})
	}
}
