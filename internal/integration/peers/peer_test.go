package peers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/typedsessions/sessions"
)

// A peer is one library with its store.
type peer struct {
	name    string
	modules []string // whose versions belong in the table
	// deaf says that its server does not notice a client that hangs up.
	deaf bool
	// start serves h's routes on sessions kept in the Redis at addr.
	start func(t *testing.T, addr string, h *hall) (url string)
}

// peers are the columns of the table.
var peers = [...]peer{scsPeer, gorillaPeer, fiberPeer, oursPeer}

// A session is what the routes need of each peer.
type session interface {
	get(field string) string
	set(field, value string)
	increment() error // of the field "Count"
	renew() error
	signIn(user string) error // the field "User", and a new token
	destroy() error
	save() error // what a handler has to do itself before it answers

	context() context.Context
	under(ctx context.Context) session // for a function that is given ctx, which is made of context
}

// renewFor signs a user in where no call does: a new token, and the user.
func renewFor(s session, user string) error {
	if err := s.renew(); err != nil {
		return err
	}
	s.set("User", user)
	return nil
}

// A page is a response, be it net/http's or fasthttp's.
type page interface {
	header(name, value string)
	write(s string)
	fail(status int)
	upgrade() // to a WebSocket, which is closed at once
}

// act is the handler of every route. The session has been loaded when it is
// called; there a visit is parked.
func act(h *hall, path string, query func(string) string, s session, p page) {
	h.park(query("visit"))
	field, value := query("k"), query("v")
	var err error
	switch path {
	case "/read":
	case "/set":
		s.set(field, value)
	case "/increment":
		field, err = "Count", s.increment()
	case "/renew":
		err = s.renew()
	case "/signout":
		err = s.destroy()
	case "/restart": // signed out, and the next visitor's first field
		if err = s.destroy(); err == nil {
			s.set(field, value)
		}
	case "/download":
		p.header("Content-Disposition", "attachment")
		p.header("ETag", `"1"`)
		s.set(field, value)
	case "/late": // after the first byte of the response
		p.write("first byte\n")
		s.set(field, value)
	case "/signin", "/socket/signin":
		field, err = "User", s.signIn(value)
	case "/socket", "/past", "/compressed":
		s.set(field, value)
	case "/panic/inner", "/panic/outer":
		s.set(field, value)
		panic("half done")
	case "/helper":
		helper(s, field)
		s.set(field, value)
	case "/article":
		p.header("Last-Modified", lastModified)
	case "/article/late": // nobody has looked at the session before
		p.header("Last-Modified", lastModified)
		p.write("first byte\n")
		p.write(s.get(field))
	}
	if err == nil {
		err = s.save()
	}
	switch {
	case errors.Is(err, sessions.ErrGone):
		p.fail(http.StatusConflict)
	case err != nil:
		p.fail(http.StatusInternalServerError)
	case path == "/download":
		p.write("the page")
	case strings.HasPrefix(path, "/socket"):
		p.upgrade()
	case !strings.HasSuffix(path, "/late"):
		p.write(s.get(field))
	}
}

// helper looks at the session in a goroutine of its own, under a context whose time is up when it returns.
func helper(s session, field string) {
	ctx, cancel := context.WithTimeout(s.context(), time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.under(ctx).get(field)
		<-ctx.Done()
	}()
	<-done
}

const lastModified = "Thu, 01 Jan 2026 00:00:00 GMT"

// httpPage is a page of net/http.
type httpPage struct {
	w http.ResponseWriter
	r *http.Request
}

func (p httpPage) header(name, value string) { p.w.Header().Set(name, value) }
func (p httpPage) write(s string)            { fmt.Fprint(p.w, s) }
func (p httpPage) fail(status int)           { http.Error(p.w, http.StatusText(status), status) }

func (p httpPage) upgrade() {
	var u websocket.Upgrader
	if conn, err := u.Upgrade(p.w, p.r, nil); err == nil { // else it has answered
		conn.Close()
	}
}

// serve is a TLS server, as Secure cookies need, that tells h when a visit's
// client has gone and when its handler is done.
func serve(t *testing.T, h *hall, handler http.Handler) (url string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer h.enter(r.Context(), r.URL.Query().Get("visit"))()
		framed(w, r, handler)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// idle is the timeout of those that have one that restarts with activity.
const idle = time.Hour
