// Package fibersessions gives fiber's handlers the sessions of package sessions.
//
//	app := fiber.New()
//	app.Use(recover.New(), fibersessions.Middleware(m))
//	app.Get("/", func(c fiber.Ctx) error {
//		s := sessions.FromContext[Session](c)
//		s.Views++
//		return c.SendString(fmt.Sprintf("views: %d\n", s.Views))
//	})
//
// Everything else is as with net/http: c, like c.Context(), is the context for FromContext and the verbs.
package fibersessions

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"

	"github.com/typedsessions/sessions"
)

// Middleware returns [sessions.Manager.Handler] of m as a middleware: for an app, a group or a route. Use it after fiber's
// recover: then a panic saves nothing. Inside recover it would be an error that the handler returns, and what the handler
// has changed is saved, as after any other one.
//
// Fiber sends a response when all handlers have returned, so the session is saved by then, once. After a failed save the
// response is [sessions.Config].ErrorHandler's, and nothing of the handler's, also not the error that it has returned. An
// ErrorHandler of the app may read the session; what it changes is saved by Save alone. So it is in the function of a
// SendStreamWriter, which runs when the response has begun.
//
// The [http.Request] that the functions of [sessions.Config] get has no body.
func Middleware[T any](m *sessions.Manager[T]) fiber.Handler {
	return func(c fiber.Ctx) error {
		before := header(c.Response().Header.All())
		w := &writer{c: c, header: before.Clone(), before: before}
		defer w.push()
		var err error
		m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			defer w.pull(r) // also after a panic
			c.SetContext(r.Context())
			err = c.Next()
		})).ServeHTTP(w, request(c))
		if w.answered {
			return nil
		}
		return err
	}
}

// request is the request with a copy of its header. fasthttpadaptor.ConvertRequest would read the whole body, of repeated
// fields keep only the last, and give strings that change when fasthttp uses its memory again, such as Info.Label.
func request(c fiber.Ctx) *http.Request {
	in := c.Request()
	target := string(in.Header.RequestURI())
	u, err := url.ParseRequestURI(target) // as net/http, and without the .. that fasthttp resolves and fiber's router does not
	if err != nil {
		u = &url.URL{Path: string(in.URI().PathOriginal()), RawQuery: string(in.URI().QueryString())}
	}
	r := &http.Request{
		Method: string(in.Header.Method()), Host: string(in.Host()), RequestURI: target, URL: u,
		Proto: string(in.Header.Protocol()), ProtoMajor: 1, ProtoMinor: 1,
		RemoteAddr: c.RequestCtx().RemoteAddr().String(), TLS: c.RequestCtx().TLSConnectionState(),
		Header: header(in.Header.All()), Body: http.NoBody,
	}
	return r.WithContext(c.Context())
}

func header(fields func(yield func(name, value []byte) bool)) http.Header {
	h := http.Header{}
	for name, value := range fields {
		h.Add(string(name), string(value))
	}
	return h
}

// A writer is what Handler has of fiber's response: the header, and in the place of what the handlers have answered an
// error response, if there has to be one.
type writer struct {
	c        fiber.Ctx
	header   http.Header
	before   http.Header // what of header is fiber's
	answered bool
}

// response is fiber's, or what its timeout has answered: then the handler may go on, and use fiber's.
func (w *writer) response() *fasthttp.Response {
	return cmp.Or(w.c.RequestCtx().LastTimeoutErrorResponse(), w.c.Response())
}

func (w *writer) Header() http.Header { return w.header }

// pull takes over the header as fiber's handlers have left it. Handler writes once more what it has written before. r gets
// the route, for log lines. A handler that goes on may call a verb, and so write into the header.
func (w *writer) pull(r *http.Request) {
	if w.response() == w.c.Response() {
		r.Pattern = w.c.FullPath()
		w.before = header(w.response().Header.All())
		clear(w.header)
		maps.Copy(w.header, w.before.Clone())
	}
}

// push hands over what Handler has changed.
func (w *writer) push() {
	h := &w.response().Header
	for name, values := range w.before {
		if !slices.Equal(w.header[name], values) {
			h.Del(name) // before anything is added, because it changes the order of what is there
		}
	}
	for name, values := range w.header {
		if !slices.Equal(w.before[name], values) {
			for _, value := range values {
				h.Add(name, value)
			}
		}
	}
}

func (w *writer) WriteHeader(status int) {
	if !w.answered {
		w.answered = true
		w.c.RequestCtx().Hijack(nil) // no WebSocket begins behind an error response
		w.response().ResetBody()
		w.response().SetStatusCode(status)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.response().BodyWriter().Write(p)
}
