package transport_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// A row is what a handler puts into the header, and the whole header that the
// client then sees.
type row struct {
	desc    string
	handler http.Header
	want    http.Header // nil: the same
}

// untouched are the rows of a response that has nothing to do with the session.
var untouched = []row{
	{"nothing of the handler's", kit.Header(), nil},
	{"a cacheable page", kit.Header("Cache-Control", "public, max-age=60", "Vary", "Accept", "Etag", `"1"`, "Set-Cookie", "a=b"), nil},
}

// loaded are those of a response to a request that came with a session, which nobody asked for.
var loaded = []row{
	{"nothing of the handler's", kit.Header(), kit.Header("Cache-Control", "private")},
	{"a cacheable page", kit.Header("Cache-Control", "public, max-age=60", "Vary", "Accept", "Etag", `"1"`, "Set-Cookie", "a=b"), nil},
	{"a page for a CDN", kit.Header("Cdn-Cache-Control", "max-age=60"), kit.Header("Cache-Control", "private", "Cdn-Cache-Control", "max-age=60")},
	{"other headers", kit.Header("Last-Modified", "x", "Vary", "Accept"), kit.Header("Cache-Control", "private", "Last-Modified", "x", "Vary", "Accept")},
}

// used are those of a response that used the session.
var used = []row{
	{"nothing of the handler's", kit.Header(), kit.Header("Vary", "Cookie", "Cache-Control", "private")},
	{"Vary of the handler's", kit.Header("Vary", "Accept-Encoding"), kit.Header("Vary", "Accept-Encoding", "Vary", "Cookie", "Cache-Control", "private")},
	{"Vary with Cookie", kit.Header("Vary", "Cookie"), kit.Header("Vary", "Cookie", "Cache-Control", "private")},
	{"Vary with cookie among others", kit.Header("Vary", "Accept, cookie ,Origin"), kit.Header("Vary", "Accept, cookie ,Origin", "Cache-Control", "private")},
	{"Vary with Cookie in a second line", kit.Header("Vary", "Accept", "Vary", "Cookie"), kit.Header("Vary", "Accept", "Vary", "Cookie", "Cache-Control", "private")},
	{"Vary with a name that begins so", kit.Header("Vary", "Cookie2"), kit.Header("Vary", "Cookie2", "Vary", "Cookie", "Cache-Control", "private")},
	{"Vary: *", kit.Header("Vary", "*"), kit.Header("Vary", "*", "Cache-Control", "private")},
	{"Cache-Control of the handler's", kit.Header("Cache-Control", "public, max-age=60"), kit.Header("Vary", "Cookie", "Cache-Control", "public, max-age=60")},
	{"cookies of the handler's", kit.Header("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), kit.Header("Vary", "Cookie", "Cache-Control", "private", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
	{"other headers", kit.Header("X-Request-Id", "7", "Etag", `"1"`), kit.Header("Vary", "Cookie", "Cache-Control", "private", "X-Request-Id", "7", "Etag", `"1"`)},
}

// sending are those of a response that sends this line of Set-Cookie.
func sending(line string) []row {
	with := func(pairs ...string) http.Header {
		return kit.Header(append(pairs, "Vary", "Cookie", "Set-Cookie", line)...)
	}
	cache := func(desc, before, after string) row {
		return row{desc, kit.Header("Cache-Control", before), with("Cache-Control", after)}
	}
	targeted := func(name, before, after string) row {
		return row{name + " with " + before, kit.Header(name, before), with("Cache-Control", "private, no-store", name, after)}
	}
	return []row{
		{"nothing of the handler's", kit.Header(), with("Cache-Control", "private, no-store")},
		{"cookies of the handler's", kit.Header("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), with("Cache-Control", "private, no-store", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
		{"a cookie whose name begins so", kit.Header("Set-Cookie", kit.CookieName+"2=x"), with("Cache-Control", "private, no-store", "Set-Cookie", kit.CookieName+"2=x")},
		{"Vary of the handler's", kit.Header("Vary", "Accept-Encoding"), with("Vary", "Accept-Encoding", "Cache-Control", "private, no-store")},
		cache("public alone", "public", "no-store"),
		cache("public among others", "public, max-age=60, immutable", "max-age=60, immutable, no-store"),
		cache("s-maxage", "s-maxage=600, max-age=60", "max-age=60, no-store"),
		cache("another case", "Public, S-MaxAge=1, Max-Age=60", "Max-Age=60, no-store"),
		cache("no-store", "no-store", "no-store"),
		cache("no-store in another case", "NO-STORE, max-age=0", "NO-STORE, max-age=0"),
		cache("no-cache", "no-cache, must-revalidate", "no-cache, must-revalidate, no-store"),
		cache("a quoted list", `private="set-cookie, public", max-age=1`, `private="set-cookie, public", max-age=1, no-store`),
		cache("public with a value", `public="x", proxy-revalidate`, "proxy-revalidate, no-store"),
		cache("blanks and empty places", " ,public ,, s-maxage = 3 , max-age=1 ", "max-age=1, no-store"),
		cache("an extension that begins so", "public-ish, s-maxages=1", "public-ish, s-maxages=1, no-store"),
		{"two lines", kit.Header("Cache-Control", "public", "Cache-Control", "max-age=60"), with("Cache-Control", "max-age=60, no-store")},
		targeted("Cdn-Cache-Control", "max-age=600", "no-store"),
		targeted("CDN-Cache-Control", "public, max-age=600, stale-while-revalidate=60", "no-store"), // as RFC 9213 spells it
		targeted("Cdn-Cache-Control", "no-store", "no-store"),
		targeted("Cloudflare-Cdn-Cache-Control", "max-age=600", "no-store"),
		targeted("X-Litespeed-Cache-Control", "public,max-age=120", "no-store"),
		targeted("Surrogate-Control", "max-age=3600+600", "no-store"),
		targeted("Surrogate-Control", `content="ESI/1.0", max-age=5`, `content="ESI/1.0", no-store`),
		targeted("Edge-Control", "!no-store, max-age=1d", "no-store"),
		targeted("X-Accel-Expires", "600", "0"),
		targeted("X-Accel-Expires", "@1900000000", "0"),
		targeted("x-accel-expires", "off", "0"),
		targeted("X-Accel-Buffering", "no", "no"),
		{"other headers", kit.Header("Etag", `"1"`, "Last-Modified", "x"), with("Cache-Control", "private, no-store", "Etag", `"1"`, "Last-Modified", "x")},
	}
}

func TestResponseHeader(t *testing.T) {
	t.Parallel()
	skip := sessions.Config{Skip: func(*http.Request) bool { return true }}
	passive := sessions.Config{Passive: func(*http.Request) bool { return true }}
	for _, situation := range []struct {
		desc   string
		stored bool
		cfg    sessions.Config
		act    string // verbs, and what performs knows
		rows   []row
	}{
		{"T9 a response without the session", false, sessions.Config{}, "", untouched},
		{"T9 a response to a visitor whose session nobody asked for", true, sessions.Config{}, "", loaded},
		{"T9 a response to a passive request whose session nobody asked for", true, passive, "", loaded},
		{"T9 a response that Skip left out", true, skip, "change", untouched},
		{"T9 a fresh session read", false, sessions.Config{}, "read", used},
		{"T9 a stored session read", true, sessions.Config{}, "read", used},
		{"T9 a stored session changed", true, sessions.Config{}, "change", used},
		{"T9 a session looked up", true, sessions.Config{}, "Lookup", used},
		{"T9 Info asked", true, sessions.Config{}, "Info", used},
		{"T9 Touch", true, sessions.Config{}, "Touch", used},
		{"T9 Reload", true, sessions.Config{}, "Reload", used},
		{"T9 Destroy of nothing", false, sessions.Config{}, "Destroy", used},
		{"T10 T13 a session created", false, sessions.Config{}, "change", sending(kit.CookieSent)},
		{"T10 T13 a session created by SaveUninitialized", false, sessions.Config{SaveUninitialized: true}, "", sending(kit.CookieSent)},
		{"T10 T13 a session renewed", true, sessions.Config{}, "Renew", sending(kit.CookieSent)},
		{"T10 T13 a sign-in", true, sessions.Config{}, "SignIn", sending(kit.CookieSent)},
		{"T10 T13 a session destroyed", true, sessions.Config{}, "Destroy", sending(kit.CookieExpired)},
		{"T10 T13 verb after verb", true, sessions.Config{}, "SignIn Renew Destroy SignIn Renew", sending(kit.CookieSent)},
	} {
		t.Run(situation.desc, func(t *testing.T) {
			for _, tc := range situation.rows {
				want := tc.want
				if want == nil {
					want = tc.handler
				}
				// Before the act, and after it: a verb has written its lines by then.
				for _, order := range []string{"set before", "set after"} {
					t.Run(tc.desc+", "+order, func(t *testing.T) {
						a := newApp(t, situation.cfg)
						var cookies []string
						if situation.stored {
							cookies = []string{"x=y; " + pairs(a.Seed(7))}
						}
						act := performs(t, a, situation.act)
						res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
							if order == "set after" {
								act(w, r)
							}
							for name, lines := range tc.handler {
								if name == "Set-Cookie" || name == "Vary" && order == "set after" {
									for _, l := range lines {
										w.Header().Add(name, l)
									}
									continue
								}
								w.Header()[name] = slices.Clone(lines)
							}
							if order == "set before" {
								act(w, r)
							}
						}, cookies...)
						got := kit.Masked(res.Header)
						if order == "set after" { // the lines are there, in whatever order
							got, want = sorted(got), sorted(want)
							if slices.Contains(want["Vary"], "*") || len(got["Vary"]) > 1 && slices.Contains(got["Vary"], "Cookie") {
								delete(got, "Vary") // the handler added to a Vary that already had it
								want = maps.Clone(want)
								delete(want, "Vary")
							}
						}
						if !reflect.DeepEqual(got, want) {
							t.Errorf("header:\n got %v\nwant %v", got, want)
						}
					})
				}
			}
		})
	}

	t.Run("T9 a handler that clears the header does not clear the session's lines", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		res := a.Ask(func(w http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.SignIn(r.Context()))
			clear(w.Header())
		})
		kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieSent)...))
	})

	t.Run("T9 slices that handlers share are not written to", func(t *testing.T) {
		shared := map[string][]string{}
		for _, name := range []string{"Set-Cookie", "Vary", "Cache-Control"} {
			shared[name] = append(make([]string, 0, 8), "x=y")
		}
		a := newApp(t, sessions.Config{})
		a.Ask(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), shared)
			kit.OK(t, a.SignIn(r.Context()))
		})
		for name, lines := range shared {
			if all := lines[:cap(lines)]; lines[0] != "x=y" || strings.Join(all[1:], "") != "" {
				t.Errorf("%s: the shared slice now holds %q", name, kit.Masked(http.Header{name: all}))
			}
		}
	})

	t.Run("T10 an error response that carries a verb's cookie is not for caches, whatever ErrorHandler says", func(t *testing.T) {
		var handed error
		a := newApp(t, sessions.Config{
			MaxSize: 2000,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				handed = err
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.WriteHeader(http.StatusTeapot)
			},
		})
		res := a.Ask(func(_ http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.SignIn(r.Context()))
			a.FromContext(r.Context()).UserID = strings.Repeat("x", 3000)
		})
		if res.StatusCode != http.StatusTeapot || !errors.Is(handed, sessions.ErrTooLarge) {
			t.Errorf("%d, %v", res.StatusCode, handed)
		}
		kit.WantHeader(t, res.Header, kit.Header("Set-Cookie", kit.CookieSent, "Vary", "Cookie", "Cache-Control", "max-age=60, no-store", "Content-Length", "0"))
	})

	// What a middleware around Handler told caches of its pages is not true of an error response.
	kept := kit.Header("Cache-Control", "public, max-age=60", "Cdn-Cache-Control", "max-age=60", "Surrogate-Control", "max-age=60", "X-Accel-Expires", "60")
	for _, failing := range []string{"before Load", "before CompareAndSwap"} {
		for _, custom := range []bool{false, true} {
			t.Run(fmt.Sprintf("T13 no cache keeps an error response, failing %s, an ErrorHandler of one's own is %t", failing, custom), func(t *testing.T) {
				cfg, want := sessions.Config{}, "no-store"
				if custom {
					want = "private"
					cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusNotFound) }
				}
				a := newApp(t, cfg)
				token := a.Seed(1)
				a.Store.Fail(sessions.ErrUnavailable, failing)
				inner := a.Manager.Handler(http.HandlerFunc(change))
				res := kit.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					maps.Copy(w.Header(), kept.Clone())
					inner.ServeHTTP(w, r)
				}), kit.With(token, "/"))
				for name := range kept {
					if got := res.Header[name]; name == "Cache-Control" && !slices.Equal(got, []string{want}) || name != "Cache-Control" && got != nil {
						t.Errorf("%s: %q", name, got)
					}
				}
				if got := res.Header["Vary"]; res.StatusCode < 400 || !slices.Equal(got, []string{"Cookie"}) {
					t.Errorf("%d, Vary %q", res.StatusCode, got)
				}
			})
		}
	}

	for _, failing := range []string{"before Load", "before CompareAndSwap"} {
		t.Run("T13 W14 a no-store of a middleware outside stays on an error response, failing "+failing, func(t *testing.T) {
			a := newApp(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusNotFound) }})
			token := a.Seed(1)
			a.Store.Fail(sessions.ErrUnavailable, failing)
			inner := a.Manager.Handler(http.HandlerFunc(change))
			res := kit.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Cache-Control"] = []string{"max-age=0", "must-revalidate, No-Store"}
				inner.ServeHTTP(w, r)
			}), kit.With(token, "/"))
			if got := res.Header["Cache-Control"]; !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("Cache-Control %q", got)
			}
		})
	}

	t.Run("T13 an ErrorHandler's own word to caches stands on a response without the cookie", func(t *testing.T) {
		a := newApp(t, sessions.Config{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set("Cache-Control", "public, max-age=5")
			w.Header().Set("Cdn-Cache-Control", "max-age=1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}})
		token := a.Seed(1)
		a.Store.Fail(sessions.ErrUnavailable)
		res := a.Ask(nothing, pairs(token))
		kit.WantHeader(t, res.Header, kit.Header("Vary", "Cookie", "Cache-Control", "public, max-age=5", "Cdn-Cache-Control", "max-age=1"))
	})

	t.Run("T9 two managers name Vary once and keep each other's cookies", func(t *testing.T) {
		outer := newApp(t, sessions.Config{})
		inner := newApp(t, sessions.Config{Realm: "inner", Transport: sessions.Cookie{Name: "__Host-Http-inner"}})
		res := outer.Ask(inner.Manager.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			inner.FromContext(r.Context()).Views++
			outer.FromContext(r.Context()).Views++
		})).ServeHTTP)
		innerSent := strings.Replace(kit.CookieSent, kit.CookieName, "__Host-Http-inner", 1)
		kit.WantHeader(t, sorted(res.Header), kit.Header(append(kit.Sends(innerSent), "Set-Cookie", kit.CookieSent)...))
	})
}

// performs is call, for what is no verb too.
func performs(t *testing.T, a *kit.App, act string) http.HandlerFunc {
	switch act {
	case "read":
		return func(_ http.ResponseWriter, r *http.Request) { a.FromContext(r.Context()) }
	case "Lookup":
		return func(_ http.ResponseWriter, r *http.Request) { sessions.Lookup[kit.Session](r.Context()) }
	case "Info":
		return func(_ http.ResponseWriter, r *http.Request) { a.Info(r.Context()) }
	}
	return call(t, a, act)
}

// sorted is a header with the lines of each name in order.
func sorted(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		out[name] = slices.Sorted(slices.Values(lines))
	}
	return out
}
