package main

import (
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// Session is what this half needs of req.session. What else is in there stays.
type Session struct {
	User  string `json:"user,omitempty"`
	Views int    `json:"views"`
}

// manager is given what server.mjs gives to session() and RedisStore.
func manager(rdb redis.UniversalClient, secret string) (*sessions.Manager[Session], error) {
	return express.New[Session](rdb, express.Options{
		Name:    "connect.sid",
		Secrets: []string{secret},
		Prefix:  "sess:",
		Rolling: true,
		Cookie:  express.Cookie{MaxAge: 15 * time.Minute, SameSite: express.Lax}, // and Secure: express.True behind HTTPS
	})
}

// site serves the routes that have moved; the rest is the Express app's. Only
// the former go through the Manager: of the latter Express saves the session and
// sends the cookie itself.
func site(m *sessions.Manager[Session], rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", m.Handler(http.HandlerFunc(show)))
	mux.Handle("POST /signin", m.Handler(signIn(m)))
	mux.Handle("POST /signout", m.Handler(signOut(m)))
	mux.Handle("/", rest)
	return mux
}

func show(w http.ResponseWriter, r *http.Request) {
	s := sessions.FromContext[Session](r.Context())
	s.Views++
	_ = page.Execute(w, s)
}

var page = template.Must(template.New("page").Parse(`<!doctype html><title>Go</title>
<p>Go answered. views: {{.Views}}, user: {{or .User "nobody"}}</p>
<form method="post" action="/signin"><input name="user" value="ada"><button>Sign in with Go</button></form>
<form method="post" action="/signout"><button>Sign out with Go</button></form>
<p><a href="/node">go to Express</a></p>`))

func signIn(m *sessions.Manager[Session]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := sessions.FromContext[Session](r.Context())
		s.User = r.PostFormValue("user") // a real app asks for a password
		if err := m.SignIn(r.Context()); err != nil {
			http.Error(w, "Not signed in, please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func signOut(m *sessions.Manager[Session]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := m.Destroy(r.Context()); err != nil {
			http.Error(w, "Not signed out, please try again.", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// proxy passes requests to the Express app as the browser has sent them, and
// tells whoever finds it asleep how to wake it.
func proxy(node *url.URL, wake string, logger *log.Logger) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.IdleConnTimeout = 4 * time.Second // Node closes after 5, maybe on the next request
	return &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  logger,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(node)
			r.Out.Host = r.In.Host // one origin: Express sees the browser's
			r.SetXForwarded()      // and whether it came by HTTPS
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			logger.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintf(w, "This route is the Express app's, and that does not answer on %s. To start it:\n\n%s\n", node.Redacted(), wake)
		},
	}
}
