// Package ginsessions gives gin's handlers the sessions of package sessions.
//
//	r := gin.Default()
//	r.Use(ginsessions.Middleware(m))
//	r.GET("/", func(c *gin.Context) {
//		s := sessions.FromContext[Session](c)
//		s.Views++
//		c.String(http.StatusOK, "views: %d\n", s.Views)
//	})
//
// Everything else is as with net/http: c, like c.Request.Context(), is the context for FromContext and the verbs.
package ginsessions

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/typedsessions/sessions"
)

// Middleware returns [sessions.Manager.Handler] of m as a middleware: for an engine, a group or a route. Use it after
// gin.Recovery, as an engine of gin.Default does: then a panic saves nothing. Inside Recovery it would be a return like
// any other. Where it is used twice, only the outer one works.
//
// The handlers after it have c.Request with the session in its context, and a c.Writer that saves before the first byte.
// After a failed save, and after a failed load, which aborts the chain, the response is [sessions.Config].ErrorHandler's,
// and what else is written is dropped. In a goroutine that outlives the handler use c.Copy, and the verbs alone: nothing
// else is saved there, and c has another visitor's session as soon as gin uses it for the next request.
func Middleware[T any](m *sessions.Manager[T]) gin.HandlerFunc {
	return func(c *gin.Context) {
		w, request, served := c.Writer, c.Request, false
		defer func() { c.Writer, c.Request = w, request }()
		m.Handler(http.HandlerFunc(func(inner http.ResponseWriter, r *http.Request) {
			served = true
			r.Pattern = c.FullPath()
			c.Writer, c.Request = &writer{w, inner}, r
			c.Next()
		})).ServeHTTP(w, request)
		if !served {
			c.Abort()
		}
	}
}

// A writer sends what gin's own writer sends, but through Handler's, which saves the session first. gin's holds the status
// back until then, and counts the bytes.
type writer struct {
	gin.ResponseWriter
	inner http.ResponseWriter // Handler's, around gin's
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.inner }

func (w *writer) Header() http.Header { return w.inner.Header() }

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.inner.WriteHeader(w.Status())
		w.ResponseWriter.WriteHeaderNow()
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeaderNow()
	return w.inner.Write(p)
}

func (w *writer) WriteString(s string) (int, error) {
	w.WriteHeaderNow()
	return io.WriteString(w.inner, s)
}

func (w *writer) Flush() {
	w.WriteHeaderNow()
	w.ResponseWriter.Flush()
}

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.inner).Hijack()
}
