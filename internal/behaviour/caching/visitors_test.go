package caching_test

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

const bearer = "Bearer "

// What a visitor may be shown of a page.
type rule int

const (
	own     rule = iota // the page that was made for them
	nobodys             // or one that was made for nobody: the handler looks too late for Vary, and an event tells
	word                // what the handler itself has given to caches, which then have to go by Vary
)

// A page shows the name of the visitor whom its handler sees, behind "for ".
type page struct {
	path    string
	rule    rule
	handler func(w http.ResponseWriter, r *http.Request)
}

var modified = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

// pages are every kind of route and of answer.
func pages(a *kit.App) []page {
	name := func(r *http.Request) string {
		if s, ok := a.Lookup(r.Context()); ok && s.UserID != "" {
			return s.UserID
		}
		return "nobody"
	}
	show := func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "for %-8s", name(r)) }
	old := func(w http.ResponseWriter) { w.Header().Set("Last-Modified", modified.Format(http.TimeFormat)) }
	// said is a page that tells caches something, around what a visitor does there.
	said := func(field, value string, act func(ctx *http.Request) error) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header()[field] = []string{value}
			if err := act(r); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			show(w, r)
		}
	}
	read := func(*http.Request) error { return nil }
	change := func(r *http.Request) error { a.FromContext(r.Context()).Views++; return nil }
	verb := func(v string) func(r *http.Request) error {
		return func(r *http.Request) error {
			a.FromContext(r.Context()).Views++
			return kit.Call(a.Manager, r.Context(), v)
		}
	}
	late := func(before string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			old(w)
			io.WriteString(w, before)
			http.NewResponseController(w).Flush()
			show(w, r)
		}
	}
	status := func(code int) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			old(w)
			w.WriteHeader(code)
			show(w, r)
		}
	}
	file := func(content func(r *http.Request) io.ReadSeeker, tag bool) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if tag {
				w.Header().Set("Etag", fmt.Sprintf("%q", name(r)))
			}
			http.ServeContent(w, r, "page.txt", modified, content(r))
		}
	}
	text := func(r *http.Request) io.ReadSeeker { return strings.NewReader(fmt.Sprintf("for %-8s", name(r))) }
	slow := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { old(w); show(w, r) }), time.Hour, "")
	user := template.Must(template.New("").Parse("<p>Hello</p> for {{.Name}}"))

	return []page{
		{"/read", own, func(w http.ResponseWriter, r *http.Request) { old(w); show(w, r) }},
		{"/read-without-a-date", own, show},
		{"/change", own, said("Last-Modified", modified.Format(http.TimeFormat), change)},
		{"/late", nobodys, late("hello ")},
		{"/late-change", nobodys, func(w http.ResponseWriter, r *http.Request) { late("hello ")(w, r); _ = change(r) }},
		{"/template", nobodys, func(w http.ResponseWriter, r *http.Request) {
			old(w)
			_ = user.Execute(w, visitor{func() string { return name(r) }})
		}},
		{"/late-404", nobodys, status(404)},
		{"/late-410", nobodys, status(410)},
		{"/late-500", nobodys, status(500)},
		{"/late-301", nobodys, status(301)},
		{"/late-203", nobodys, status(203)},
		{"/file", own, file(text, true)},
		{"/file-without-a-tag", own, file(text, false)},
		{"/late-file", nobodys, file(func(r *http.Request) io.ReadSeeker { return &lateFile{read: func() string { return name(r) }} }, false)},
		{"/static", own, file(func(*http.Request) io.ReadSeeker { return strings.NewReader("the same for all") }, false)},
		{"/timeout", own, slow.ServeHTTP},
		{"/redirect", own, func(w http.ResponseWriter, r *http.Request) {
			old(w)
			http.Redirect(w, r, "/home/for-"+name(r), http.StatusMovedPermanently)
		}},
		{"/forbidden", own, func(w http.ResponseWriter, r *http.Request) {
			old(w)
			http.Error(w, "not for "+name(r), http.StatusForbidden)
		}},
		{"/gone", own, func(w http.ResponseWriter, r *http.Request) {
			old(w)
			http.Error(w, "gone for "+name(r), http.StatusGone)
		}},
		{"/passive", own, show},
		{"/late-passive", nobodys, late("hello ")},
		{"/skip", own, late("hello ")},
		{"/failed-save", own, func(w http.ResponseWriter, r *http.Request) {
			a.FromContext(r.Context()).Flash = strings.Repeat("x", 4000)
			show(w, r)
		}},
		{"/failed-verb", own, func(w http.ResponseWriter, r *http.Request) {
			s := a.FromContext(r.Context())
			s.Flash = strings.Repeat("x", 4000)
			if err := a.Save(r.Context()); !errors.Is(err, sessions.ErrTooLarge) {
				panic(err)
			}
			s.Flash = ""
			w.WriteHeader(404)
			show(w, r)
		}},
		{"/panic", own, func(_ http.ResponseWriter, r *http.Request) {
			who := name(r)
			panic(func(w http.ResponseWriter) { http.Error(w, "no page for "+who, http.StatusNotFound) })
		}},
		{"/late-panic", nobodys, func(_ http.ResponseWriter, r *http.Request) {
			panic(func(w http.ResponseWriter) { http.Error(w, "no page for "+name(r), http.StatusNotFound) })
		}},

		// What the handler says to caches stands where no cookie is sent, and not where one is.
		{"/public", word, said("Cache-Control", "public, max-age=600", read)},
		{"/max-age", word, said("Cache-Control", "max-age=600", read)},
		{"/cdn", word, said("Cdn-Cache-Control", "max-age=600", read)},
		{"/no-cache", own, said("Cache-Control", "no-cache", read)},
		{"/private", own, said("Cache-Control", "private, max-age=600", read)},
		{"/expires", own, said("Expires", "Fri, 01 Jan 2100 00:00:00 GMT", read)},
		{"/public-sign-in", own, said("Cache-Control", "public, max-age=600", verb("SignIn"))},
		{"/s-maxage-renewal", own, said("Cache-Control", "s-maxage=600", verb("Renew"))},
		{"/max-age-sign-in", own, said("Cache-Control", "max-age=600, must-revalidate", verb("SignIn"))},
		{"/cdn-sign-in", own, said("Cdn-Cache-Control", "max-age=600", verb("SignIn"))},
		{"/CDN-sign-in", own, said("CDN-Cache-Control", "max-age=600", verb("Remember"))},
		{"/surrogate-sign-in", own, said("Surrogate-Control", "max-age=600", verb("SignIn"))},
		{"/sign-in", own, said("Last-Modified", modified.Format(http.TimeFormat), verb("SignIn"))},
		{"/destroy", nobodys, said("Cache-Control", "public, max-age=600", verb("Destroy"))},
		{"/cdn-destroy", nobodys, said("Cdn-Cache-Control", "max-age=600", verb("Destroy"))},
	}
}

// framework answers by a panic's value, as one around Handler that recovers.
func framework(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if answer, ok := recover().(func(http.ResponseWriter)); ok {
				answer(w)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// visitor is what a template asks for the name.
type visitor struct{ name func() string }

func (v visitor) Name() string { return v.name() }

// lateFile asks for the name when it is read, after its size is known.
type lateFile struct {
	read func() string
	at   int64
}

const lateFileSize = 12

func (f *lateFile) Read(p []byte) (int, error) {
	if f.at >= lateFileSize {
		return 0, io.EOF
	}
	n := copy(p, fmt.Sprintf("for %-8s", f.read())[f.at:])
	f.at += int64(n)
	return n, nil
}

func (f *lateFile) Seek(offset int64, whence int) (int64, error) {
	f.at = offset
	if whence == io.SeekEnd {
		f.at += lateFileSize
	}
	return f.at, nil
}

// A client is one visitor behind the cache, with a cookie or a token in a header.
type client struct {
	name  string
	b     *kit.Browser
	token string // for the header
	tag   string // the last Etag
	known map[string]string
}

func (c *client) do(t *testing.T, a *kit.App, method, path, field, value string) kit.Response {
	t.Helper()
	r := c.b.Request(method, path)
	if field != "" {
		r.Header.Set(field, value)
	}
	if c.token != "" {
		r.Header.Set("Authorization", bearer+c.token)
	}
	res := c.b.Do(r)
	if tag := res.Header.Get("Etag"); tag != "" {
		c.tag = tag
	}
	tokens := kit.TokenShape.FindAllString(fmt.Sprint(res.Header), -1)
	for _, token := range tokens {
		if owner := c.known[token]; owner != "" && owner != c.name {
			t.Errorf("%s %s: %s gets the token of %s", method, path, c.name, owner)
		}
		c.known[token] = c.name
	}
	if c.token != "" && len(tokens) > 0 {
		c.token = tokens[0]
	}
	return res
}

func TestVisitorsBehindACache(t *testing.T) {
	t.Parallel()
	caches := map[string]kind{
		"RFC 9111":                {},
		"a CDN that ignores Vary": {ignoreVary: true, targeted: []string{"Cdn-Cache-Control", "Surrogate-Control"}},
	}
	orders := [][]string{{"ann", "bob", "nobody"}, {"nobody", "bob", "ann"}}
	for transportName, transport := range map[string]sessions.Transport{"a cookie": nil, "a header": sessions.HeaderToken{}} {
		kit.EachStack(t, "T9 T10 T13 no page and no token of one visitor reaches another, with "+transportName, func(t *testing.T, st kit.Stack) {
			var a *kit.App
			a = st.App(t, sessions.Config{
				Transport: transport, MaxSize: 2000,
				Passive: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "passive") },
				Skip:    func(r *http.Request) bool { return r.URL.Path == "/skip" },
				ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
					w.WriteHeader(http.StatusNotFound) // which caches may keep
					fmt.Fprintf(w, "failed for %s", a.FromContext(r.Context()).UserID)
				},
			})
			a.Root = framework(a.Root)
			all := pages(a)
			for _, p := range all {
				a.Mux.HandleFunc(p.path, p.handler)
			}
			for cacheName, k := range caches {
				for i, order := range orders {
					for _, p := range all {
						cache := newCache(k, a.Browser().Client.Transport)
						known := map[string]string{}
						var clients []*client
						for _, name := range order {
							v := &client{name: name, b: a.Browser(), known: known}
							if name != "nobody" {
								token := kit.Edit(t, a.Manager, "", func(s *kit.Session) { s.UserID = name })
								known[token] = name
								if transport != nil {
									v.token = token
								} else {
									v.b = v.b.As(token)
								}
							}
							v.b.Client.Transport = cache
							clients = append(clients, v)
						}
						visit(t, a, clients, p, fmt.Sprintf("%s, order %d, %s", cacheName, i, p.path))
					}
				}
			}
			a.Server().WantQuiet()
		})
	}
}

// visit lets each of the clients ask for a page in each way.
func visit(t *testing.T, a *kit.App, clients []*client, p page, desc string) {
	t.Helper()
	for _, c := range clients {
		ignoreVary := c.b.Client.Transport.(*sharedCache).ignoreVary
		for _, way := range [][3]string{
			{"GET"},
			{"HEAD"},
			{"GET", "Range", "bytes=0-11"},
			{"GET", "If-None-Match", c.tag},
			{"GET", "If-Modified-Since", modified.Format(http.TimeFormat)},
			{"GET", "Cache-Control", "no-cache"},
		} {
			res := c.do(t, a, way[0], p.path, way[1], way[2])
			shown := res.Text + res.Header.Get("Location")
			for _, other := range []string{"ann", "bob"} {
				if other != c.name && (p.rule != word || !ignoreVary) && strings.Contains(shown, other) {
					t.Errorf("%s: %s: %s is shown %q", desc, way, c.name, shown)
				}
			}
			if p.rule == own && c.name != "nobody" && strings.Contains(shown, "for nobody") && p.path != "/skip" {
				t.Errorf("%s: %s: %s is shown %q", desc, way, c.name, shown)
			}
		}
	}
}

// The tests above would pass behind a cache that keeps nothing.
func TestTheCacheKeeps(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "T9 what is not a visitor's is kept", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		all := pages(a)
		for _, p := range all {
			a.Mux.HandleFunc(p.path, p.handler)
		}
		for path, kept := range map[string]bool{"/static": true, "/late": true, "/late-404": true, "/public": true, "/max-age": true, "/read": false, "/sign-in": false, "/redirect": false} {
			c := newCache(kind{}, a.Browser().Client.Transport)
			for range 2 { // two visitors without a cookie
				b := a.Browser()
				b.Client.Transport = c
				b.Get(path)
			}
			if got := c.hits == 1; got != kept {
				t.Errorf("%s: kept is %t, want %t", path, got, kept)
			}
		}
		if !slices.ContainsFunc(a.Events.Take(), func(e sessions.Event) bool { return e.Kind == sessions.EventLateUse }) {
			t.Error("the late look was not told")
		}
	})
}
