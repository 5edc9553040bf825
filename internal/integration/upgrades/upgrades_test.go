package upgrades_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	gorilla "github.com/gorilla/websocket"
	"github.com/urfave/negroni/v3"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	kit.Main(m)
}

// An upgrade makes a WebSocket of a request and closes it.
type upgrade func(w http.ResponseWriter, r *http.Request) error

var upgrader gorilla.Upgrader

func gorillaAlone(w http.ResponseWriter, r *http.Request) error {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return err
	}
	return conn.Close()
}

func gorillaWithOur(w http.ResponseWriter, r *http.Request) error {
	conn, err := upgrader.Upgrade(w, r, w.Header())
	if err != nil {
		return err
	}
	return conn.Close()
}

func coderAccept(w http.ResponseWriter, r *http.Request) error {
	conn, err := coder.Accept(w, r, nil)
	if err != nil {
		return err
	}
	return conn.CloseNow()
}

// proxied lets a ReverseProxy pass the upgrade on to a server that has no sessions.
func proxied(t *testing.T) upgrade {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { kit.OK(t, gorillaAlone(w, r)) }))
	t.Cleanup(backend.Close)
	target, err := url.Parse(backend.URL)
	kit.Must(t, err)
	return func(w http.ResponseWriter, r *http.Request) error {
		(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}).ServeHTTP(w, r)
		return nil
	}
}

func TestWebSockets(t *testing.T) {
	const undelivered = sessions.EventUndelivered
	for _, tc := range []struct {
		desc    string
		upgrade upgrade
		verb    string // "" is a change without one
		stored  bool
		cookie  bool // the client gets it
		live    int  // sessions at the end
	}{
		{"gorilla alone sends no cookie of a first change, and nothing stays", gorillaAlone, "", false, false, 0},
		{"gorilla alone sends no cookie of a first Save", gorillaAlone, "Save", false, false, 1},
		{"gorilla alone sends no cookie of a SignIn", gorillaAlone, "SignIn", false, false, 1},
		{"gorilla alone sends no cookie of a SignIn in a session", gorillaAlone, "SignIn", true, false, 1},
		{"gorilla alone sends no cookie of a Renew", gorillaAlone, "Renew", true, false, 1},
		{"gorilla sends that of a Save with the header that it is given", gorillaWithOur, "Save", false, true, 1},
		{"gorilla sends that of a SignIn with the header that it is given", gorillaWithOur, "SignIn", false, true, 1},
		{"gorilla sends that of a Renew with the header that it is given", gorillaWithOur, "Renew", true, true, 1},
		{"coder/websocket sends that of a first change", coderAccept, "", false, true, 1},
		{"coder/websocket sends that of a SignIn", coderAccept, "SignIn", true, true, 1},
		{"a ReverseProxy sends that of a first change", proxied(t), "", false, true, 1},
		{"a ReverseProxy sends that of a Renew", proxied(t), "Renew", true, true, 1},
	} {
		t.Run("W15 W4 "+tc.desc, func(t *testing.T) {
			a, token := kit.NewApp(t, kit.HTTP1, kit.Memory(), sessions.Config{}), ""
			if tc.stored {
				token = a.Seed(1)
			}
			a.Mux.HandleFunc("/rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views = 2
				if tc.verb != "" {
					kit.OK(t, kit.Call(a.Manager, r.Context(), tc.verb))
				}
				kit.OK(t, tc.upgrade(w, r))
			})
			over := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(over)
				a.Root.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			dialer := gorilla.Dialer{}
			conn, res, err := dialer.Dial(strings.Replace(srv.URL, "http", "ws", 1)+"/rooms/1", http.Header{"Cookie": {kit.CookieName + "=" + token}})
			kit.Must(t, err)
			t.Cleanup(func() { conn.Close() })
			if strings.Contains(tc.desc, "ReverseProxy") {
				conn.Close() // until then it goes on; with the others the client would have gone before the answer
			}
			<-over
			sent := kit.TokenOf(res.Header)
			if got := sent != ""; got != tc.cookie {
				t.Errorf("the cookie is sent: %t, want %t", got, tc.cookie)
			}
			if tc.cookie && a.Views(sent) != 2 {
				t.Errorf("the token finds %d views, want 2", a.Views(sent))
			}
			if live, _ := a.Store.Left(t); live != tc.live {
				t.Errorf("%d sessions are stored, want %d", live, tc.live)
			}
			told := slices.Contains(a.Events.Kinds(), undelivered)
			lines := strings.Join(a.Log.Take(), "\n")
			logged := strings.Count(lines, "may not have arrived") == 1 && strings.Contains(lines, `route="GET /rooms/{room}"`)
			if told == tc.cookie || logged == tc.cookie {
				t.Errorf("EventUndelivered: %t, log %q", told, lines)
			}
		})
	}
}

// A router serves the path "/" with a handler that writes past Handler's writer, and "/right" with one that does not.
type router struct {
	name  string
	serve func(a *kit.App, handle func(w http.ResponseWriter, r *http.Request)) http.Handler
}

var routers = []router{
	{"gin", func(a *kit.App, handle func(w http.ResponseWriter, r *http.Request)) http.Handler {
		g := gin.New()
		wrap := func(right bool) gin.HandlerFunc {
			return func(c *gin.Context) {
				a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if c.Request = r; right {
						c.Writer = &ginWriter{c.Writer, w}
					}
					c.Next()
				})).ServeHTTP(c.Writer, c.Request)
			}
		}
		h := func(c *gin.Context) { handle(c.Writer, c.Request) }
		g.GET("/", wrap(false), h)
		g.GET("/right", wrap(true), h)
		return g
	}},
	{"negroni", func(a *kit.App, handle func(w http.ResponseWriter, r *http.Request)) http.Handler {
		return negroni.New(negroni.HandlerFunc(func(outer http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			a.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/right" {
					outer = w
				}
				handle(outer, r)
			})).ServeHTTP(outer, r)
		}))
	}},
}

// ginWriter is gin's writer, whose header and body go to Handler's.
type ginWriter struct {
	gin.ResponseWriter
	w http.ResponseWriter
}

func (w *ginWriter) Header() http.Header               { return w.w.Header() }
func (w *ginWriter) Write(p []byte) (int, error)       { return w.w.Write(p) }
func (w *ginWriter) WriteString(s string) (int, error) { return w.w.Write([]byte(s)) }
func (w *ginWriter) WriteHeader(code int)              { w.w.WriteHeader(code) }
func (w *ginWriter) WriteHeaderNow()                   {}

func TestRouters(t *testing.T) {
	for _, router := range routers {
		for _, via := range []kit.Via{kit.HTTP1, kit.HTTP2} {
			open := func(t *testing.T, handle func(a *kit.App, w http.ResponseWriter, r *http.Request)) *kit.App {
				a := kit.NewApp(t, via, kit.Memory(), sessions.Config{})
				a.Root = router.serve(a, func(w http.ResponseWriter, r *http.Request) { handle(a, w, r) })
				return a
			}
			change := func(a *kit.App, w http.ResponseWriter, r *http.Request) {
				a.FromContext(r.Context()).Views = 2
				w.Write([]byte("page"))
			}
			name := router.name + ", " + via.String()
			t.Run("W15 no session for a visitor whose response was written past Handler, "+name, func(t *testing.T) {
				a := open(t, change)
				for range 3 {
					if res := a.Browser().Get("/"); res.Text != "page" || len(res.SetCookies()) > 0 {
						t.Errorf("%q, %v", res.Text, kit.Masked(res.Header))
					}
				}
				a.Server().WantQuiet()
				a.WantCalls(t, "it", "")
				a.WantEvents(t, sessions.EventLateChange, sessions.EventLateChange, sessions.EventLateChange)
				for _, line := range a.Log.Take() {
					if !strings.Contains(line, "another writer") {
						t.Errorf("log %q", line)
					}
				}
			})
			t.Run("W15 a stored session is saved all the same, "+name, func(t *testing.T) {
				a := open(t, change)
				token := a.Seed(1)
				a.Browser().As(token).Get("/")
				a.Server().WantQuiet()
				if got := a.Views(token); got != 2 {
					t.Errorf("%d views, want 2", got)
				}
			})
			t.Run("W15 SignIn before the response sends its cookie, after it it is ErrCommitted, "+name, func(t *testing.T) {
				a := open(t, func(a *kit.App, w http.ResponseWriter, r *http.Request) {
					a.FromContext(r.Context()).Views = 2
					kit.OK(t, a.SignIn(r.Context()))
					w.Write([]byte("page"))
					kit.WantErr(t, "SignIn", a.SignIn(r.Context()), sessions.ErrCommitted)
				})
				res := a.Browser().Get("/")
				a.Server().WantQuiet()
				if got := a.Views(kit.TokenOf(res.Header)); got != 2 {
					t.Errorf("%d views, want 2", got)
				}
			})
			t.Run("W1 by Handler's writer the cookie is there, "+name, func(t *testing.T) {
				a := open(t, change)
				res := a.Browser().Get("/right")
				a.Server().WantQuiet()
				if got := a.Views(kit.TokenOf(res.Header)); got != 2 || res.Text != "page" {
					t.Errorf("%d views, %q", got, res.Text)
				}
				a.WantEvents(t, sessions.EventCreated)
			})
		}
	}
}
