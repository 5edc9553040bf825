package frameworks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/klauspost/compress/gzhttp"
	echo4 "github.com/labstack/echo/v4"
	echo4middleware "github.com/labstack/echo/v4/middleware"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A wrapper is a middleware of net/http.
type wrapper = func(http.Handler) http.Handler

// A middlewareCase is what stands around Handler, or within it. around is a wrapper or one of echo's.
type middlewareCase struct {
	name       string
	around     any
	recovers   bool // from panics: inside of Handler that is a return like any other
	buffers    bool // until the handler returns: it cannot flush
	compresses bool // what the handler answers
	closes     bool // the body while a panic goes on: inside of Handler that begins the response, and so it saves
}

// Those that serve any router.
func everywhere(spans *sdktrace.TracerProvider) []middlewareCase {
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(0))
	if err != nil {
		panic(err)
	}
	return []middlewareCase{
		{name: "gzhttp", around: func(h http.Handler) http.Handler { return compress(h) }, compresses: true},
		{name: "http.TimeoutHandler", around: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "too late") }, buffers: true},
		{name: "otelhttp", around: otelhttp.NewMiddleware("server", otelhttp.WithTracerProvider(spans))},
		{name: "recover", around: recovering, recovers: true},
	}
}

func recovering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				http.Error(w, "recovered", http.StatusInternalServerError)
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// A framework mounts the three routes of the test: /count, /panic and /stream, with what stands outside of Handler and
// what inside.
type framework struct {
	name  string
	own   []middlewareCase
	mount func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler
}

// A probe is what the handlers do.
type probe struct {
	read chan struct{} // the client has read the first part of /stream
}

func (p *probe) count(ctx context.Context) string {
	s := sessions.FromContext[Session](ctx)
	s.Views++
	return fmt.Sprintf("views: %d\n", s.Views)
}

func (p *probe) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // chi's Compress goes by it
	io.WriteString(w, p.count(r.Context()))
}

func (p *probe) panics(_ http.ResponseWriter, r *http.Request) {
	p.count(r.Context())
	panic("half done")
}

func (p *probe) stream(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, p.count(r.Context()))
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
	<-p.read
	io.WriteString(w, "end")
}

// wrap puts the handler within the wrappers, of which each may be nil.
func wrap(h http.Handler, wrappers ...any) http.Handler {
	for _, w := range wrappers {
		if w != nil {
			h = w.(wrapper)(h)
		}
	}
	return h
}

func use(f func(...wrapper), m *sessions.Manager[Session], outside, inside any) {
	for _, w := range []any{outside, wrapper(m.Handler), inside} {
		if w != nil {
			f(w.(wrapper))
		}
	}
}

var frameworks = []framework{
	{"net/http", nil, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
		r := http.NewServeMux()
		r.HandleFunc("/count", p.page)
		r.HandleFunc("/panic", p.panics)
		r.HandleFunc("/stream", p.stream)
		return wrap(r, inside, wrapper(m.Handler), outside)
	}},
	{
		"chi", []middlewareCase{
			{name: "Compress", around: chimiddleware.Compress(5), compresses: true},
			{name: "Recoverer", around: func(h http.Handler) http.Handler {
				return chimiddleware.RequestLogger(quiet{})(chimiddleware.Recoverer(h)) // which prints the stack by it
			}, recovers: true},
			{name: "Timeout", around: chimiddleware.Timeout(time.Minute)},
			{name: "Logger", around: chimiddleware.RequestLogger(quiet{})},
		}, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
			r := chi.NewRouter()
			use(func(w ...wrapper) { r.Use(w...) }, m, outside, inside)
			r.Get("/count", p.page)
			r.Get("/panic", p.panics)
			r.Get("/stream", p.stream)
			return r
		},
	},
	{
		"gorilla/mux", []middlewareCase{
			{name: "CompressHandler", around: handlers.CompressHandler, compresses: true, closes: true},
			{name: "RecoveryHandler", around: handlers.RecoveryHandler(handlers.RecoveryLogger(quiet{})), recovers: true},
		}, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
			r := mux.NewRouter()
			use(func(w ...wrapper) { r.Use(mux.MiddlewareFunc(w[0])) }, m, outside, inside)
			r.HandleFunc("/count", p.page)
			r.HandleFunc("/panic", p.panics)
			r.HandleFunc("/stream", p.stream)
			return r
		},
	},
	{"httprouter", nil, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
		r := httprouter.New()
		r.HandlerFunc("GET", "/count", p.page)
		r.HandlerFunc("GET", "/panic", p.panics)
		r.HandlerFunc("GET", "/stream", p.stream)
		return wrap(r, inside, wrapper(m.Handler), outside)
	}},
	{
		"echo v5", []middlewareCase{
			{name: "Gzip", around: echomiddleware.Gzip(), compresses: true},
			{name: "Recover", around: echomiddleware.Recover(), recovers: true},
			{name: "ContextTimeout", around: echomiddleware.ContextTimeout(time.Minute)},
			{name: "BodyDump", around: echomiddleware.BodyDump(func(*echo.Context, []byte, []byte, error) {})},
		}, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
			e := echo.New()
			e.Logger = slog.New(slog.DiscardHandler)
			for _, w := range []any{outside, wrapper(m.Handler), inside} {
				switch w := w.(type) {
				case wrapper:
					e.Use(echo.WrapMiddleware(w))
				case echo.MiddlewareFunc:
					e.Use(w)
				}
			}
			e.GET("/count", func(c *echo.Context) error { return c.String(http.StatusOK, p.count(c.Request().Context())) })
			e.GET("/panic", func(c *echo.Context) error { p.panics(c.Response(), c.Request()); return nil })
			e.GET("/stream", func(c *echo.Context) error { p.stream(c.Response(), c.Request()); return nil })
			return e
		},
	},
	{
		"echo v4", []middlewareCase{
			{name: "Gzip", around: echo4middleware.Gzip(), compresses: true},
			{name: "Recover", around: echo4middleware.RecoverWithConfig(echo4middleware.RecoverConfig{LogErrorFunc: func(_ echo4.Context, err error, _ []byte) error { return err }}), recovers: true},
			{name: "ContextTimeout", around: echo4middleware.ContextTimeout(time.Minute)},
			{name: "BodyDump", around: echo4middleware.BodyDump(func(echo4.Context, []byte, []byte) {})},
		}, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
			e := echo4.New()
			e.Logger.SetOutput(io.Discard)
			for _, w := range []any{outside, wrapper(m.Handler), inside} {
				switch w := w.(type) {
				case wrapper:
					e.Use(echo4.WrapMiddleware(w))
				case echo4.MiddlewareFunc:
					e.Use(w)
				}
			}
			e.GET("/count", func(c echo4.Context) error { return c.String(http.StatusOK, p.count(c.Request().Context())) })
			e.GET("/panic", func(c echo4.Context) error { p.panics(c.Response(), c.Request()); return nil })
			e.GET("/stream", func(c echo4.Context) error { p.stream(c.Response(), c.Request()); return nil })
			return e
		},
	},
	{"huma", nil, func(m *sessions.Manager[Session], outside, inside any, p *probe) http.Handler {
		r := http.NewServeMux()
		api := humago.New(r, huma.DefaultConfig("test", "1"))
		type output struct {
			ContentType string `header:"Content-Type"`
			Body        []byte
		}
		huma.Get(api, "/count", func(ctx context.Context, _ *struct{}) (*output, error) {
			return &output{"text/plain", []byte(p.count(ctx))}, nil
		})
		huma.Get(api, "/panic", func(ctx context.Context, _ *struct{}) (*output, error) {
			p.count(ctx)
			panic("half done")
		})
		huma.Get(api, "/stream", func(context.Context, *struct{}) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(c huma.Context) {
				r, w := humago.Unwrap(c)
				p.stream(w, r)
			}}, nil
		})
		return wrap(r, inside, wrapper(m.Handler), outside)
	}},
}

// quiet is a log that keeps nothing.
type quiet struct{}

func (quiet) Println(...any)                                   {}
func (quiet) NewLogEntry(*http.Request) chimiddleware.LogEntry { return quiet{} }
func (quiet) Write(int, int, http.Header, time.Duration, any)  {}
func (quiet) Panic(any, []byte)                                {}

// watching notes when the first byte of a response goes out.
type watching struct {
	http.ResponseWriter
	first func()
}

func (w *watching) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *watching) WriteHeader(code int)        { w.first(); w.ResponseWriter.WriteHeader(code) }
func (w *watching) Write(p []byte) (int, error) { w.first(); return w.ResponseWriter.Write(p) }
func (w *watching) Flush() {
	w.first()
	w.ResponseWriter.(http.Flusher).Flush()
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	spans := sdktrace.NewTracerProvider()
	for _, f := range frameworks {
		for _, mw := range append(everywhere(spans), f.own...) {
			for _, order := range []string{"outside", "inside"} {
				t.Run("W19 "+f.name+", "+mw.name+" "+order+" of Handler", func(t *testing.T) { testMiddleware(t, f, mw, order == "inside") })
			}
		}
	}
}

func testMiddleware(t *testing.T, f framework, mw middlewareCase, inside bool) {
	t.Parallel()
	store := &kit.Store{Store: kit.Memory()}
	var written, early atomic.Int32 // saves of all requests; responses that began before that of theirs
	store.After = func(op, _ string) error {
		if op == "Create" || op == "CompareAndSwap" || op == "Place" {
			written.Add(1)
		}
		return nil
	}
	m := kit.New[Session](t, store, sessions.Config{})
	p := &probe{read: make(chan struct{}, 1)}
	around := [2]any{}
	around[map[bool]int{false: 0, true: 1}[inside]] = mw.around
	app := f.mount(m, around[0], around[1], p)
	s := kit.NewServer(t, kit.HTTP1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before, first := written.Load(), true
		app.ServeHTTP(&watching{w, func() {
			if first && written.Load() == before {
				early.Add(1)
			}
			first = false
		}}, r)
	}))
	b := s.Browser()
	b.Client.Transport.(*http.Transport).DisableCompression = false // of all browsers of s

	t.Run("the cookie is there, and the second visit is counted", func(t *testing.T) {
		for n, want := range []string{"views: 1\n", "views: 2\n"} {
			res := b.Get("/count")
			if res.StatusCode != 200 || res.Text != want {
				t.Errorf("%d %q, want %q", res.StatusCode, res.Text, want)
			}
			if got := len(res.SetCookies()); got != 1-n || res.Uncompressed != mw.compresses {
				t.Errorf("%d cookies, want %d; compressed: %t", got, 1-n, res.Uncompressed)
			}
		}
		if n := early.Load(); n > 0 {
			t.Errorf("%d responses begin before the session is saved", n)
		}
	})

	t.Run("a stream begins with the session saved", func(t *testing.T) {
		if mw.buffers {
			t.Skip("it cannot flush")
		}
		b := s.Browser()
		res, err := b.Send(b.Request("GET", "/stream"))
		kit.Must(t, err)
		defer res.Body.Close()
		part := make([]byte, len("views: 1\n"))
		_, err = io.ReadFull(res.Body, part)
		kit.OK(t, err)
		if len(b.Cookies()) != 1 || early.Load() > 0 {
			t.Errorf("%d cookies, %d responses begin before the session is saved", len(b.Cookies()), early.Load())
		}
		p.read <- struct{}{}
		rest, err := io.ReadAll(res.Body)
		if string(part)+string(rest) != "views: 1\nend" || err != nil {
			t.Errorf("%q %q, %v", part, rest, err)
		}
	})

	saves := inside && (mw.recovers || mw.closes)
	t.Run(fmt.Sprintf("a panic saves: %t", saves), func(t *testing.T) {
		res, err := b.Send(b.Request("GET", "/panic"))
		if err == nil {
			res.Body.Close()
			if res.StatusCode != 500 || !mw.recovers {
				t.Errorf("status %d", res.StatusCode)
			}
		} else if mw.recovers {
			t.Error(err)
		}
		if res := b.Get("/count"); (res.Text != "views: 3\n") != saves { // if it saves, the client may have asked again
			t.Errorf("then %q", res.Text)
		}
		fresh := s.Browser()
		if res, err := fresh.Send(fresh.Request("GET", "/panic")); err == nil {
			res.Body.Close()
		}
		if got := len(fresh.Cookies()) > 0; got && !saves {
			t.Error("a visitor gets a cookie")
		}
	})

	t.Run("a failed save is answered, and nothing of the page", func(t *testing.T) {
		s.Log.Take()
		store.Fail(sessions.ErrUnavailable, "before CompareAndSwap", "before Create")
		for name, b := range map[string]*kit.Browser{"a visitor": s.Browser(), "a session": b} {
			res := b.Get("/count")
			if res.StatusCode != 503 || res.Text != "Service Unavailable\n" || strings.Contains(res.Text, "views") || len(res.SetCookies()) > 0 {
				t.Errorf("%s: %d %q, cookies %d", name, res.StatusCode, res.Text, len(res.SetCookies()))
			}
			if want := mw.compresses && !inside; res.Uncompressed != want {
				t.Errorf("%s: compressed: %t, want %t", name, res.Uncompressed, want)
			}
		}
		store.Heal()
		store.Fail(sessions.ErrUnavailable, "before Load")
		if res := b.Get("/count"); res.StatusCode != 503 || res.Text != "Service Unavailable\n" {
			t.Errorf("after a failed load: %d %q", res.StatusCode, res.Text)
		}
		store.Heal()
		if lines := s.Log.Take(); len(lines) > 0 {
			t.Errorf("the server logs %q", lines)
		}
	})
}
