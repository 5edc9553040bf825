package peers_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/urfave/negroni/v3"
)

// What stands around the session library: a framework that recovers from panics, one whose handlers write to a
// writer of its own, a compressor; and helpers of a handler, and WebSockets.

// A frame is what a framework keeps of a request.
type frame struct {
	outer http.ResponseWriter // the framework's own
	inner http.ResponseWriter // the one that its handler is given by what stands between
}

type frameKey struct{}

// framed calls the handler as a framework does that treats some of the routes in its way.
func framed(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	f := &frame{outer: w, inner: w}
	switch r.URL.Path {
	case "/panic/outer":
		defer func() { answerPanic(f.outer, recover()) }()
	case "/panic/inner": // as echo's Recover around WrapMiddleware
		defer func() { answerPanic(f.inner, recover()) }()
	case "/past": // as in gin, if the session library's middleware is wrapped for it by c.Request = r; c.Next()
		w = negroni.NewResponseWriter(w)
		f.outer = w
	case "/compressed":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		w = zipped{w, z}
	}
	handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), frameKey{}, f)))
}

func answerPanic(w http.ResponseWriter, v any) {
	http.Error(w, fmt.Sprint(v), http.StatusInternalServerError)
}

// pageOf is a page of the writer that the handler is given, or of the framework's own.
func pageOf(w http.ResponseWriter, r *http.Request) httpPage {
	f := r.Context().Value(frameKey{}).(*frame)
	f.inner = w
	if r.URL.Path == "/past" {
		w = f.outer
	}
	return httpPage{w, r}
}

type zipped struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w zipped) Write(p []byte) (int, error) { return w.z.Write(p) }

func helperUnderTimeout(w *world) error {
	b := w.visitor()
	if a := b.get("/helper?k=Theme&v=dark"); a.status != 200 {
		return fmt.Errorf("answers %s", a)
	}
	return has(b, "User", "ann", "Theme", "dark")
}

// panicking plays W13 with a framework that answers by the outer or the inner writer.
func panicking(writer string) func(w *world) error {
	return func(w *world) error {
		b := w.visitor()
		if a := b.get("/panic/" + writer + "?k=Theme&v=dark"); a.status != 500 || !strings.Contains(a.body, "half done") {
			return fmt.Errorf("answers %s", a)
		}
		if err := has(b, "User", "ann", "Theme", "plain"); err != nil {
			return err
		}
		a := w.browser().get("/panic/" + writer + "?k=User&v=eve")
		if n := w.holding("eve"); n > 0 || len(a.header["Set-Cookie"]) > 0 {
			return fmt.Errorf("%d new session(s) and the cookies %q", n, a.header["Set-Cookie"])
		}
		return nil
	}
}

func failedSaveCompressed(w *world) error {
	b := w.visitor()
	w.refuse()
	a := b.with("/compressed?k=Theme&v=dark", "Accept-Encoding", "gzip")
	if a.err != nil {
		return fmt.Errorf("half an answer: %w", a.err)
	}
	body := a.body
	if a.header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			return fmt.Errorf("says gzip and is none: %w", err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			return fmt.Errorf("half of a gzip: %w", err)
		}
		body = string(plain)
	}
	if !strings.Contains(body, http.StatusText(a.status)) || a.status < 500 {
		return fmt.Errorf("%d with the encoding %q and the body %q", a.status, a.header.Get("Content-Encoding"), body)
	}
	return nil
}

// upgrade asks for a WebSocket, and returns when the handler, and what saves after it, is done.
func (w *world) upgrade(b *browser, path string) error {
	w.t.Helper()
	v := w.hall.expect()
	v.open()
	a := b.with(path+"&visit="+v.id, "Connection", "Upgrade", "Upgrade", "websocket",
		"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	if a.status != http.StatusSwitchingProtocols {
		return fmt.Errorf("the upgrade is answered by %s", a)
	}
	w.wait(v.finished, "the handler")
	return nil
}

func newBeforeUpgrade(w *world) error {
	b := w.browser()
	if err := w.upgrade(b, "/socket?k=User&v=ann"); err != nil {
		return err
	}
	return w.noOrphan(b)
}

func signInBeforeUpgrade(w *world) error {
	b := w.browser()
	b.must("/set?k=Theme&v=plain")
	if err := w.upgrade(b, "/socket/signin?v=ann"); err != nil {
		return err
	}
	if b.read("User") != "ann" && w.hall.undelivered.Load() == 0 {
		return errors.New("the cookie is not in the 101, and nobody is told")
	}
	return nil
}

func writePast(w *world) error {
	b := w.browser()
	b.must("/past?k=User&v=ann")
	return w.noOrphan(b)
}

// noOrphan says that ann's session is the browser's, or not stored, or that somebody is told.
func (w *world) noOrphan(b *browser) error {
	w.t.Helper()
	n := w.holding("ann")
	if n > 0 && b.read("User") != "ann" && w.hall.undelivered.Load() == 0 {
		return fmt.Errorf("%d record(s) that nobody has the cookie of, and nobody is told", n)
	}
	return nil
}
