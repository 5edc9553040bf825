package ginsessions_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

	"github.com/gin-gonic/gin"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/contrib/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	os.Exit(m.Run())
}

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

// An app is an engine with a Manager and a store.
type app struct {
	*gin.Engine
	m     *sessions.Manager[Session]
	store *failing
	t     *testing.T
}

func newApp(t *testing.T, cfg sessions.Config, outer ...gin.HandlerFunc) *app {
	t.Helper()
	a := &app{gin.New(), nil, &failing{MemoryStore: &sessions.MemoryStore{}}, t}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if a.m, err = sessions.New[Session](a.store, cfg); err != nil {
		t.Fatal(err)
	}
	a.Use(append(outer, ginsessions.Middleware(a.m))...)
	a.GET("/views", func(c *gin.Context) {
		c.String(200, strconv.Itoa(sessions.FromContext[Session](c).Views))
	})
	return a
}

// A browser keeps cookies and follows no redirect.
type browser struct {
	*http.Client
	t   *testing.T
	url string
}

func (a *app) browser() *browser { return browse(a.t, a.Engine) }

func browse(t *testing.T, h http.Handler) *browser {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	c := s.Client()
	c.Jar, _ = cookiejar.New(nil)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{c, t, s.URL}
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
		r.Header.Set(header[i], header[i+1])
	}
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
	file := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(file, []byte("page"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		desc   string
		answer gin.HandlerFunc
		status int
		text   string
	}{
		{"String", func(c *gin.Context) { c.String(200, "page") }, 200, "page"},
		{"JSON", func(c *gin.Context) { c.JSON(201, gin.H{"a": 1}) }, 201, `{"a":1}`},
		{"Redirect", func(c *gin.Context) { c.Redirect(303, "/next") }, 303, "<a href=\"/next\">See Other</a>.\n\n"},
		{"Status alone", func(c *gin.Context) { c.Status(204) }, 204, ""},
		{"Status before the change", func(c *gin.Context) { c.Status(202); sessions.FromContext[Session](c).Views = 1 }, 202, ""},
		{"AbortWithStatus", func(c *gin.Context) { c.AbortWithStatus(401) }, 401, ""},
		{"AbortWithStatusJSON", func(c *gin.Context) { c.AbortWithStatusJSON(403, "no") }, 403, `"no"`},
		{"no write at all", func(*gin.Context) {}, 200, ""},
		{"File", func(c *gin.Context) { c.Header("ETag", `"a"`); c.File(file) }, 200, "page"},
		{"DataFromReader", func(c *gin.Context) { c.DataFromReader(200, 4, "text/x", strings.NewReader("page"), nil) }, 200, "page"},
		{"WriteString", func(c *gin.Context) { _, _ = c.Writer.WriteString("page") }, 200, "page"},
		{"WriteHeaderNow", func(c *gin.Context) { c.Status(418); c.Writer.WriteHeaderNow() }, 418, ""},
		{"Flush", func(c *gin.Context) { c.Status(418); c.Writer.Flush() }, 418, ""},
		{"Stream", func(c *gin.Context) {
			n := 0
			c.Stream(func(w io.Writer) bool { n++; _, err := io.WriteString(w, "x"); return n < 3 && err == nil })
		}, 200, "xxx"},
		{"SSEvent", func(c *gin.Context) { c.SSEvent("m", "x"); c.Writer.Flush() }, 200, "event:m\ndata:x\n\n"},
		{"net/http in WrapF", gin.WrapF(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418); fmt.Fprint(w, "page") }), 418, "page"},
	} {
		answer := func(c *gin.Context) {
			sessions.FromContext[Session](c).Views = 1
			row.answer(c)
		}
		t.Run("W1 W2 L1 the cookie is there, and the change is saved: "+row.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			a.GET("/page", answer)
			b := a.browser()
			if got := b.get("/page"); got.StatusCode != row.status || got.text != row.text || len(got.Cookies()) != 1 {
				t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
			}
			b.wantViews(1)
			if got := b.get("/page"); got.StatusCode != row.status || len(got.Cookies()) != 0 || got.Header.Get("Cache-Control") == "" || got.Header.Get("Vary") != "Cookie" {
				t.Errorf("the second visit: %d %v", got.StatusCode, got.Header)
			}
		})
		t.Run("W7 a failed save is answered by the error, and nothing of the page is: "+row.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			a.GET("/page", answer)
			b := a.browser()
			a.store.saves.Store(true)
			got := b.get("/page")
			if got.StatusCode != 503 || !strings.HasPrefix(got.text, "Service Unavailable") || len(got.Cookies()) != 0 ||
				got.Header.Get("Location") != "" || got.Header.Get("ETag") != "" || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
			}
		})
	}

	t.Run("W10 the session is saved before the first byte, and a later change when the handler returns", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		next := make(chan struct{})
		a.GET("/slow", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views++
			c.Writer.Flush()
			<-next
			sessions.FromContext[Session](c).Views++
		})
		b := a.browser()
		b.get("/views")
		res, err := b.Get(b.url + "/slow")
		if err != nil {
			t.Fatal(err)
		}
		b.wantViews(1)
		close(next)
		_, _ = io.ReadAll(res.Body)
		res.Body.Close()
		b.wantViews(2)
	})

	t.Run("W4 W6 the writer says what it has done, and http.ResponseController reaches the connection", func(t *testing.T) {
		a := newApp(t, sessions.Config{}, func(c *gin.Context) {
			c.Next()
			if _, ok := sessions.Lookup[Session](c); ok || c.Writer.Status() != 418 || c.Writer.Size() != 4 || !c.Writer.Written() {
				t.Errorf("outside: %t, %d, %d bytes, %t", ok, c.Writer.Status(), c.Writer.Size(), c.Writer.Written())
			}
		})
		a.GET("/page", func(c *gin.Context) {
			c.Status(418)
			if c.Writer.Written() {
				t.Error("written before")
			}
			c.Writer.WriteHeaderNow()
			if !c.Writer.Written() || c.Writer.Status() != 418 {
				t.Errorf("%t, %d", c.Writer.Written(), c.Writer.Status())
			}
			if err := http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{}); err != nil {
				t.Error(err)
			}
			c.Status(200) // too late
			_, _ = io.WriteString(c.Writer, "page")
		})
		if got := a.browser().get("/page"); got.StatusCode != 418 || got.text != "page" {
			t.Errorf("%d %q", got.StatusCode, got.text)
		}
	})

	t.Run("W4 a Hijack saves before the connection is handed over", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.GET("/hijack", func(c *gin.Context) {
			if err := a.m.SignIn(c); err != nil {
				t.Error(err)
			}
			sessions.FromContext[Session](c).Views = 5
			cookie := c.Writer.Header().Get("Set-Cookie")
			_, value, _ := strings.Cut(cookie, "=")
			value, _, _ = strings.Cut(value, ";")
			conn, buf, err := c.Writer.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			ctx, err := a.m.Load(context.Background(), value)
			if got := sessions.FromContext[Session](ctx).Views; got != 5 || err != nil {
				t.Errorf("%d views are stored, %v", got, err)
			}
			fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nSet-Cookie: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", cookie)
			_ = buf.Flush()
		})
		b := a.browser()
		b.get("/hijack")
		b.wantViews(5)
	})
}

func TestErrors(t *testing.T) {
	t.Run("W7 W13 what is written after a failed save is dropped, by the handler and by middleware outside", func(t *testing.T) {
		a := newApp(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("X-Own", "1")
			http.Error(w, "own: "+strconv.FormatBool(errors.Is(err, sessions.ErrUnavailable)), 599)
		}}, func(c *gin.Context) {
			c.Next()
			if !c.Writer.Written() {
				c.String(400, "from outside")
			}
		})
		a.GET("/page", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views++
			c.String(200, "page")
			c.JSON(200, "more")
			c.Writer.Flush()
		})
		a.store.saves.Store(true)
		w := httptest.NewRecorder() // which, unlike net/http, takes more than the Content-Length
		if a.ServeHTTP(w, httptest.NewRequest("GET", "/page", nil)); w.Body.String() != "own: true\n" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		b := a.browser()
		if got := b.get("/page"); got.StatusCode != 599 || got.text != "own: true\n" || got.Header.Get("X-Own") != "1" {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
	})

	t.Run("W7 a stream ends by the error of its first write", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		steps := 0
		a.GET("/page", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views++
			c.Stream(func(w io.Writer) bool { steps++; _, err := io.WriteString(w, "x"); return err == nil })
		})
		b := a.browser()
		a.store.saves.Store(true)
		if got := b.get("/page"); got.StatusCode != 503 || steps != 1 {
			t.Errorf("%d after %d steps", got.StatusCode, steps)
		}
	})

	t.Run("C13 after a failed load ErrorHandler answers, and no handler behind the middleware runs", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.GET("/page", func(c *gin.Context) { c.String(200, "page"); t.Error("the handler runs") })
		b := a.browser()
		a.GET("/set", func(c *gin.Context) { sessions.FromContext[Session](c).Views++ })
		b.get("/set")
		a.store.loads.Store(true)
		if got := b.get("/page"); got.StatusCode != 503 || !strings.HasPrefix(got.text, "Service Unavailable") {
			t.Errorf("%d %q", got.StatusCode, got.text)
		}
	})

	signIn := func(a *app) gin.HandlerFunc {
		return func(c *gin.Context) {
			if err := a.m.SignIn(c); err != nil {
				t.Error(err)
			}
			sessions.FromContext[Session](c).Views = 99
			panic("half done")
		}
	}
	t.Run("W8 with Recovery outside a panic saves nothing more, and the cookie of a verb that had completed is sent", func(t *testing.T) {
		a := newApp(t, sessions.Config{}, gin.Recovery())
		a.GET("/panic", func(c *gin.Context) { sessions.FromContext[Session](c).Views = 99; panic("half done") })
		a.GET("/signin", signIn(a))
		b := a.browser()
		if got := b.get("/panic"); got.StatusCode != 500 || got.text != "" || len(got.Cookies()) != 0 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		if got := b.get("/signin"); got.StatusCode != 500 || len(got.Cookies()) != 1 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(0)
	})

	t.Run("W8 with Recovery inside a panic is a return like any other", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.Use(gin.Recovery())
		a.GET("/signin", signIn(a))
		b := a.browser()
		if got := b.get("/signin"); got.StatusCode != 500 || len(got.Cookies()) != 1 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		b.wantViews(99)
	})
}

func TestVerbsAndConfig(t *testing.T) {
	t.Run("L12 L10 SignIn, Renew and Destroy by gin's context", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		for path, verb := range map[string]func(context.Context) error{
			"/signin": func(ctx context.Context) error { return a.m.SignIn(ctx) }, "/renew": a.m.Renew, "/destroy": a.m.Destroy,
		} {
			a.POST(path, func(c *gin.Context) {
				sessions.FromContext[Session](c).Views++
				if err := verb(c); err != nil {
					t.Error(err)
				}
				c.Redirect(303, "/")
			})
		}
		b := a.browser()
		tokens := map[string]bool{}
		for _, path := range []string{"/signin", "/renew"} {
			got := b.do("POST", path)
			if len(got.Cookies()) != 1 || got.Header.Get("Cache-Control") != "private, no-store" {
				t.Fatalf("%s: %v", path, got.Header)
			}
			tokens[got.Cookies()[0].Value] = true
		}
		b.wantViews(2)
		if got := b.do("POST", "/destroy"); len(got.Cookies()) != 1 || got.Cookies()[0].MaxAge >= 0 || len(tokens) != 2 {
			t.Errorf("%v, %d tokens", got.Header, len(tokens))
		}
		b.wantViews(0)
	})

	t.Run("O15 a stream ends with its session, which another tab has ended", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.GET("/signin", func(c *gin.Context) { c.String(200, "%v", a.m.SignIn(c)) })
		a.GET("/destroy", func(c *gin.Context) { c.String(200, "%v", a.m.Destroy(c)) })
		a.GET("/live", func(c *gin.Context) {
			ctx, stop := a.m.Watch(c)
			defer stop()
			c.Writer.Flush()
			c.Stream(func(w io.Writer) bool {
				<-ctx.Done()
				fmt.Fprint(w, "it has ended")
				return false
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
		if text, err := io.ReadAll(res.Body); string(text) != "it has ended" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	})

	t.Run("L16 Skip, Passive and Label get the request", func(t *testing.T) {
		var passive atomic.Int32
		a := newApp(t, sessions.Config{
			Skip:    func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/assets/") },
			Passive: func(r *http.Request) bool { passive.Add(1); return r.Header.Get("X-Poll") != "" },
			Label:   func(r *http.Request) string { return r.UserAgent() },
		})
		a.GET("/assets/*file", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views = 99
			if _, ok := sessions.Lookup[Session](c); ok {
				t.Error("Lookup finds a session")
			}
			c.String(200, "asset")
		})
		a.GET("/label", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views++
			c.String(200, a.m.Info(c).Label)
		})
		b := a.browser()
		if got := b.get("/assets/a.css"); got.text != "asset" || len(got.Cookies()) != 0 || got.Header.Get("Vary") != "" || passive.Load() != 0 {
			t.Errorf("%q %v", got.text, got.Header)
		}
		b.do("GET", "/label", "User-Agent", "gin-test")
		if got := b.do("GET", "/label", "X-Poll", "1"); got.text != "gin-test" {
			t.Errorf("the label is %q", got.text)
		}
	})

	t.Run("T14 T9 nothing begins in a cross-site post, and what the handler says to caches stays", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		a.POST("/page", func(c *gin.Context) { sessions.FromContext[Session](c).Views++; c.String(200, "page") })
		a.GET("/public", func(c *gin.Context) {
			if got := c.Writer.Header().Get("Cache-Control"); got != "" {
				t.Errorf("before the handler has said anything: %q", got)
			}
			c.Header("Cache-Control", "public, max-age=60")
			c.Header("Vary", "Accept")
			sessions.FromContext[Session](c).Views++
			c.String(200, "page")
		})
		b := a.browser()
		if got := b.do("POST", "/page", "Sec-Fetch-Site", "cross-site"); got.StatusCode != 200 || len(got.Cookies()) != 0 {
			t.Errorf("%d %v", got.StatusCode, got.Header)
		}
		if got := b.get("/public"); got.Header.Get("Cache-Control") != "max-age=60, no-store" || strings.Join(got.Header["Vary"], ", ") != "Accept, Cookie" {
			t.Errorf("%v", got.Header)
		}
		if got := b.get("/public"); got.Header.Get("Cache-Control") != "public, max-age=60" {
			t.Errorf("%v", got.Header)
		}
	})
}

func TestRouting(t *testing.T) {
	count := func(c *gin.Context) {
		sessions.FromContext[Session](c).Views++
		c.String(200, "%d", sessions.FromContext[Session](c).Views)
	}
	t.Run("L2 W1 groups, routes, 404, 405, HEAD and the redirect of a trailing slash", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		bare := gin.New()
		bare.HandleMethodNotAllowed = true
		bare.GET("/none", func(c *gin.Context) { _, ok := sessions.Lookup[Session](c); c.String(200, "%t", ok) })
		bare.GET("/one", ginsessions.Middleware(a.m), count)
		group := bare.Group("/group", ginsessions.Middleware(a.m))
		group.GET("/in/:id", ginsessions.Middleware(a.m), count) // used twice
		group.HEAD("/in/:id", count)
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
			{"GET", "/group/in/7/", 301, "<a href=\"/group/in/7\">Moved Permanently</a>.\n\n"},
			{"GET", "/lost", 404, "404 page not found"},
			{"POST", "/one", 405, "405 method not allowed"},
			{"GET", "/one", 200, "4"},
		} {
			if got := b.do(want.method, want.path); got.StatusCode != want.status || got.text != want.text {
				t.Errorf("%s %s: %d %q", want.method, want.path, got.StatusCode, got.text)
			}
		}
	})

	t.Run("W1 W7 the page of a path that is not found is gin's, with the session in NoRoute", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		b := a.browser()
		if got := b.get("/lost"); got.StatusCode != 404 || got.text != "404 page not found" || len(got.Cookies()) != 0 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		a.NoRoute(func(c *gin.Context) { sessions.FromContext[Session](c).Views++ })
		if got := b.get("/lost"); got.StatusCode != 404 || got.text != "404 page not found" || len(got.Cookies()) != 1 {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
		a.store.saves.Store(true)
		if got := b.get("/lost"); got.StatusCode != 503 || strings.Contains(got.text, "404") {
			t.Errorf("%d %q %v", got.StatusCode, got.text, got.Header)
		}
	})

	t.Run("L32 c.Copy in a goroutine, also after the handler has returned", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		over, done := make(chan struct{}), make(chan error, 1)
		a.GET("/go", func(c *gin.Context) {
			sessions.FromContext[Session](c).Views = 1
			cp := c.Copy()
			go func() {
				<-over
				done <- a.m.Update(cp, func(s *Session) error { s.Views += 10; return nil })
			}()
			c.Status(204)
		})
		b := a.browser()
		b.get("/go")
		close(over)
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.wantViews(11)
	})

	t.Run("F16 a log line names the route as gin has it", func(t *testing.T) {
		var log strings.Builder
		a := newApp(t, sessions.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		a.GET("/late/:id", func(c *gin.Context) {
			c.String(200, "page")
			c.Writer.Flush()
			sessions.FromContext[Session](c).Views++
		})
		if b := a.browser(); b.get("/late/7").text != "page" || !strings.Contains(log.String(), `route="GET /late/:id"`) {
			t.Errorf("the log: %s", &log)
		}
	})
}

func TestWithoutTheMiddleware(t *testing.T) {
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("W1 W5 Handler around the whole engine serves as well", func(t *testing.T) {
		r := gin.New()
		r.Use(gin.Recovery())
		r.GET("/", func(c *gin.Context) {
			s := sessions.FromContext[Session](c)
			s.Views++
			c.Stream(func(w io.Writer) bool { fmt.Fprint(w, s.Views); return false })
		})
		b := browse(t, m.Handler(r))
		for want := range 3 {
			if got := b.get("/"); got.text != strconv.Itoa(want+1) {
				t.Errorf("%d %q", got.StatusCode, got.text)
			}
		}
	})

	for desc, ctx := range map[string]func(c *gin.Context) context.Context{
		"c":                   func(c *gin.Context) context.Context { return c },
		"c.Request.Context()": func(c *gin.Context) context.Context { return c.Request.Context() },
	} {
		t.Run("L32 the panic names the middleware: "+desc, func(t *testing.T) {
			r := gin.New()
			var told any
			r.Use(gin.CustomRecovery(func(_ *gin.Context, p any) { told = p }))
			r.GET("/", func(c *gin.Context) { sessions.FromContext[Session](ctx(c)) })
			browse(t, r).get("/")
			if text := fmt.Sprint(told); !strings.Contains(text, "ginsessions.Middleware(m)") || !strings.Contains(text, "contrib/gin") {
				t.Errorf("panic %q", told)
			}
		})
	}
}
