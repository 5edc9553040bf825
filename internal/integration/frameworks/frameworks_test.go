package frameworks

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	"github.com/labstack/echo/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/sessionstest"
)

func TestMain(m *testing.M) { kit.Main(m) }

// The routes that the page shows.
var pages = map[string]func(m *sessions.Manager[Session]) http.Handler{
	"chi":         newChi,
	"echo v5":     newEcho,
	"echo v4":     newEcho4,
	"gorilla/mux": newGorilla,
	"httprouter":  newHTTPRouter,
	"huma":        newHuma,
}

func TestPages(t *testing.T) {
	for name, routes := range pages {
		t.Run("W19 the page's routes count the visits, and sign in: "+name, func(t *testing.T) {
			m := sessionstest.New[Session](t, sessions.Config{})
			c := sessionstest.NewClient(t, m, routes(m), nil)
			for _, want := range []string{"1", "2"} {
				got := c.Do(httptest.NewRequest("GET", "/", nil))
				if text := got.Body.String(); got.Code != 200 || !strings.Contains(text, want) || !got.Saved {
					t.Errorf("%d %q, saved %t", got.Code, text, got.Saved)
				}
			}
			got := c.Do(httptest.NewRequest("POST", "/login/ann", nil))
			if status := got.Code; status/100 > 3 || !got.Renewed || got.Session.UserID != "ann" || got.Session.Views != 2 {
				t.Errorf("%d, renewed %t, %+v", status, got.Renewed, got.Session)
			}
		})
	}
}

// Routers differ in what a middleware of theirs sees.
func TestNotFound(t *testing.T) {
	looked := func(ctx context.Context, w io.Writer) {
		_, ok := sessions.Lookup[Session](ctx)
		fmt.Fprint(w, ok)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { looked(r.Context(), w) })
	for _, row := range []struct {
		desc   string
		routes func(m *sessions.Manager[Session]) http.Handler
		want   string
	}{
		{"chi's NotFound has it", func(m *sessions.Manager[Session]) http.Handler {
			r := newChi(m).(*chi.Mux)
			r.NotFound(page)
			return r
		}, "true"},
		{"echo v5's last route has it", func(m *sessions.Manager[Session]) http.Handler {
			e := newEcho(m).(*echo.Echo)
			e.RouteNotFound("/*", func(c *echo.Context) error { looked(c.Request().Context(), c.Response()); return nil })
			return e
		}, "true"},
		{"echo v4's last route has it", func(m *sessions.Manager[Session]) http.Handler {
			e := newEcho4(m).(*echo4.Echo)
			e.RouteNotFound("/*", func(c echo4.Context) error { looked(c.Request().Context(), c.Response()); return nil })
			return e
		}, "true"},
		{"gorilla/mux does not call its middleware for NotFoundHandler", func(m *sessions.Manager[Session]) http.Handler {
			r := newGorilla(m).(*mux.Router)
			r.NotFoundHandler = page
			return r
		}, "false"},
		{"with Handler around gorilla's router NotFoundHandler has it", func(m *sessions.Manager[Session]) http.Handler {
			r := mux.NewRouter()
			r.NotFoundHandler = page
			return m.Handler(r)
		}, "true"},
	} {
		t.Run("W19 the session where no route is found: "+row.desc, func(t *testing.T) {
			m := sessionstest.New[Session](t, sessions.Config{})
			c := sessionstest.NewClient(t, m, row.routes(m), nil)
			if got := c.Do(httptest.NewRequest("GET", "/nowhere", nil)).Body.String(); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// What recovers within Handler.
func TestRecoveredInside(t *testing.T) {
	for _, reload := range []bool{false, true} {
		m := sessionstest.New[Session](t, sessions.Config{})
		answer := func(w http.ResponseWriter, r *http.Request, _ any) {
			if reload {
				_ = m.Reload(r.Context())
			}
			http.Error(w, "recovered", http.StatusInternalServerError)
		}
		panics := func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Views = 7
			panic("half done")
		}
		r := httprouter.New()
		r.PanicHandler = answer
		r.HandlerFunc("GET", "/", panics)
		for name, app := range map[string]http.Handler{
			"httprouter's PanicHandler": m.Handler(r),
			"a middleware": m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { answer(w, r, recover()) }()
				panics(w, r)
			})),
		} {
			t.Run(fmt.Sprintf("W19 W8 %s that reloads drops what the handler has changed: %t", name, reload), func(t *testing.T) {
				got := sessionstest.NewClient(t, m, app, &Session{Views: 1}).Do(httptest.NewRequest("GET", "/", nil))
				if want := map[bool]int{false: 7, true: 1}[reload]; got.Code != 500 || got.Session.Views != want {
					t.Errorf("%d, %d views, want %d", got.Code, got.Session.Views, want)
				}
			})
		}
	}
}
