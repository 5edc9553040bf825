// Package site is the application of examples/tabs: the same routes twice, by this library and by scs.
//
//	site.go   the session, the routes, the security headers
//	lanes.go  what the routes do with this library's session, and with scs's
//	race.go   holds one request until another one has been answered
//	feed.go   the log on the page
package site

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/redis/go-redis/v9"
)

// Session is what the site knows about a visitor.
type Session struct {
	User     string   `json:"user"` // "" is nobody
	Language string   `json:"language"`
	Cart     []string `json:"cart"`
	Clicks   int      `json:"clicks"`
}

// A lane is one of the two libraries.
type lane struct {
	handler func(next http.Handler) http.Handler // loads the session before next, and saves it
	act     func(ctx context.Context, action string) error
	session func(context.Context) Session
}

//go:embed static
var files embed.FS

// New returns the site. Both libraries keep their sessions in one Redis.
func New(rdb *redis.Client, logger *slog.Logger) (http.Handler, error) {
	f := &feed{pages: map[chan line]bool{}}
	m := &meetings{waiting: map[string]chan struct{}{}}
	here, err := newHere(rdb, logger, f.tell)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for name, l := range map[string]lane{"here": here, "scs": newSCS(rdb, f.tell)} {
		inner := http.NewServeMux()
		inner.HandleFunc("GET /"+name+"/session", func(w http.ResponseWriter, r *http.Request) { show(w, r, l) })
		inner.Handle("POST /"+name+"/{action}", m.hold(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := l.act(r.Context(), r.PathValue("action")); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			show(w, r, l)
		})))
		mux.Handle("/"+name+"/", m.wait(l.handler(inner)))
	}
	mux.HandleFunc("POST /release", m.release)
	mux.Handle("GET /events", f)
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, err
	}
	mux.Handle("/", http.FileServerFS(static))
	csrf := http.NewCrossOriginProtection() // refuses requests that other sites send
	return secure(csrf.Handler(mux)), nil
}

// show answers with the session.
func show(w http.ResponseWriter, r *http.Request, l lane) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(l.session(r.Context())) // fails if the client has gone, or the save has
}

// secure sets the headers of the OWASP HTTP Headers Cheat Sheet. The page has no script and no style of its own, so
// nothing that is slipped into it runs.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}
