package site

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/typedsessions/sessions"
)

//go:embed pages static
var files embed.FS

// pages are the templates, each within the layout.
var pages = parsePages()

func parsePages() map[string]*template.Template {
	layout := template.Must(template.New("").Funcs(template.FuncMap{"ago": ago, "method": method, "phone": phone}).ParseFS(files, "pages/layout.html"))
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		panic(err)
	}
	parsed := map[string]*template.Template{}
	for _, name := range names {
		parsed[strings.TrimSuffix(path.Base(name), ".html")] = template.Must(template.Must(layout.Clone()).ParseFS(files, name))
	}
	return parsed
}

// A view is what every page can show.
type view struct {
	Name  string
	User  *shown // nil: nobody is signed in
	Info  sessions.Info
	Flash string
	Page  any // the page's own
}

// shown is what pages show of a user.
type shown struct {
	Name, Email string
	HasPassword bool
}

// render shows a page to the session's user. It takes the message for the next page out of the session.
func (s *Site) render(w http.ResponseWriter, r *http.Request, status int, name string, page any) {
	ctx := r.Context()
	session := sessions.FromContext[Session](ctx)
	v := view{Name: name, Info: s.Manager.Info(ctx), Flash: sessions.Take(&session.Flash), Page: page}
	if u, ok := s.users.byID(session.UserID); ok {
		v.User = &shown{u.name, u.email, u.hasPassword()}
	}
	writePage(w, status, name, v)
}

// A problem is a page that says what went wrong.
type problem struct{ Title, Text string }

// fail shows one. It asks for no session, because there may be none.
func (s *Site) fail(w http.ResponseWriter, status int, title, text string) {
	writePage(w, status, "error", view{Page: problem{title, text}})
}

// writePage writes a page at once: one that cannot be made is no half page.
func writePage(w http.ResponseWriter, status int, name string, v view) {
	var b bytes.Buffer
	if err := pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // so that the back button shows nothing after the sign-out
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}

// secure sets the headers of the OWASP HTTP Headers Cheat Sheet. No page has a script or a style of its own, so nothing
// that is slipped into one runs.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // no address of a page, such as the link of a mail, leaves the site
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=63072000")
		}
		next.ServeHTTP(w, r)
	})
}

func staticFiles() http.Handler {
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=300")
		serve.ServeHTTP(w, r)
	})
}

// ago tells a time as people do.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case t.IsZero():
		return "unknown"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return several(int(d/time.Minute), "minute")
	case d < 24*time.Hour:
		return several(int(d/time.Hour), "hour")
	}
	return several(int(d/(24*time.Hour)), "day")
}

func several(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s ago", n, unit)
}

// method tells how somebody has signed in.
func method(m string) string {
	switch m {
	case "pwd":
		return "password"
	case "oauth":
		return "Demo ID"
	}
	return "unknown"
}
