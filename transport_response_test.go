package sessions_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// TestHeaders is T9 and T10: what a handler put into the header, what the
// session did, and the whole header that the client then sees.
func TestHeaders(t *testing.T) {
	type row struct {
		desc    string
		handler http.Header // what the handler sets
		want    http.Header // what comes of it; nil: the same
	}
	h := func(lines ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(lines); i += 2 {
			out.Add(lines[i], lines[i+1])
		}
		return out
	}
	type act func(t *testing.T, m *sessions.Manager[Session], r *http.Request)
	read := func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.FromContext(r.Context()) }
	change := func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.FromContext(r.Context()).Views++ }
	verb := func(f func(m *sessions.Manager[Session], ctx context.Context) error) act {
		return func(t *testing.T, m *sessions.Manager[Session], r *http.Request) {
			if err := f(m, r.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	untouched := []row{
		{"nothing of the handler's", h(), nil},
		{"a cacheable page", h("Cache-Control", "public, max-age=60", "Vary", "Accept", "ETag", `"1"`, "Set-Cookie", "a=b"), nil},
	}
	used := []row{
		{"nothing of the handler's", h(), h("Vary", "Cookie", "Cache-Control", "private")},
		{"Vary of the handler's", h("Vary", "Accept-Encoding"), h("Vary", "Accept-Encoding", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with Cookie", h("Vary", "Cookie"), h("Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with cookie among others", h("Vary", "Accept, cookie ,Origin"), h("Vary", "Accept, cookie ,Origin", "Cache-Control", "private")},
		{"Vary with Cookie in a second line", h("Vary", "Accept", "Vary", "Cookie"), h("Vary", "Accept", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary with a name that begins so", h("Vary", "Cookie2"), h("Vary", "Cookie2", "Vary", "Cookie", "Cache-Control", "private")},
		{"Vary: *", h("Vary", "*"), h("Vary", "*", "Cache-Control", "private")},
		{"Cache-Control of the handler's", h("Cache-Control", "public, max-age=60"), h("Vary", "Cookie", "Cache-Control", "public, max-age=60")},
		{"cookies of the handler's", h("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), h("Vary", "Cookie", "Cache-Control", "private", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
		{"other headers", h("X-Request-Id", "7", "Etag", `"1"`), h("Vary", "Cookie", "Cache-Control", "private", "X-Request-Id", "7", "Etag", `"1"`)},
	}
	sending := func(line string) []row {
		with := func(lines ...string) http.Header {
			out := h(lines...)
			out.Add("Vary", "Cookie")
			out.Add("Set-Cookie", line)
			return out
		}
		cache := func(desc, before, after string) row {
			return row{desc, h("Cache-Control", before), with("Cache-Control", after)}
		}
		return []row{
			{"nothing of the handler's", h(), with("Cache-Control", "private, no-store")},
			{"cookies of the handler's", h("Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d"), with("Cache-Control", "private, no-store", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d")},
			{"a cookie whose name begins so", h("Set-Cookie", cookieName+"2=x"), with("Cache-Control", "private, no-store", "Set-Cookie", cookieName+"2=x")},
			{"Vary of the handler's", h("Vary", "Accept-Encoding"), with("Vary", "Accept-Encoding", "Cache-Control", "private, no-store")},
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
			{"two lines", h("Cache-Control", "public", "Cache-Control", "max-age=60"), with("Cache-Control", "max-age=60, no-store")},
			{"other headers", h("Etag", `"1"`, "Last-Modified", "x"), with("Cache-Control", "private, no-store", "Etag", `"1"`, "Last-Modified", "x")},
		}
	}
	for _, situation := range []struct {
		desc   string
		stored bool
		cfg    sessions.Config
		act    act
		rows   []row
	}{
		{"T9 a response without the session", false, sessions.Config{}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, untouched},
		{"T9 a response to a visitor whose session nobody asked for", true, sessions.Config{}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, untouched},
		{"T9 a response that Skip left out", true, sessions.Config{Skip: func(*http.Request) bool { return true }}, change, untouched},
		{"T9 a fresh session read", false, sessions.Config{}, read, used},
		{"T9 a stored session read", true, sessions.Config{}, read, used},
		{"T9 a stored session changed", true, sessions.Config{}, change, used},
		{"T9 a session looked up", true, sessions.Config{}, func(_ *testing.T, _ *sessions.Manager[Session], r *http.Request) {
			sessions.Lookup[Session](r.Context())
		}, used},
		{"T9 Info asked", true, sessions.Config{}, func(_ *testing.T, m *sessions.Manager[Session], r *http.Request) { m.Info(r.Context()) }, used},
		{"T9 Touch", true, sessions.Config{}, verb((*sessions.Manager[Session]).Touch), used},
		{"T9 Reload", true, sessions.Config{}, verb((*sessions.Manager[Session]).Reload), used},
		{"T9 Destroy of nothing", false, sessions.Config{}, verb((*sessions.Manager[Session]).Destroy), used},
		{"T10 a session created", false, sessions.Config{}, change, sending(cookieSent)},
		{"T10 a session created by SaveUninitialized", false, sessions.Config{SaveUninitialized: true}, func(*testing.T, *sessions.Manager[Session], *http.Request) {}, sending(cookieSent)},
		{"T10 a session renewed", true, sessions.Config{}, verb((*sessions.Manager[Session]).Renew), sending(cookieSent)},
		{"T10 a sign-in", true, sessions.Config{}, verb(func(m *sessions.Manager[Session], ctx context.Context) error { return m.SignIn(ctx) }), sending(cookieSent)},
		{"T10 a session destroyed", true, sessions.Config{}, verb((*sessions.Manager[Session]).Destroy), sending(cookieEnded)},
		{"T10 verb after verb", true, sessions.Config{}, verb(func(m *sessions.Manager[Session], ctx context.Context) error {
			return errors.Join(m.SignIn(ctx), m.Renew(ctx), m.Destroy(ctx), m.SignIn(ctx), m.Renew(ctx))
		}), sending(cookieSent)},
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
						d := newDesk(t, &sessions.MemoryStore{}, situation.cfg)
						var cookies []string
						if situation.stored {
							cookies = []string{"x=y; " + cookieName + "=" + d.seed(7)}
						}
						res := d.ask(func(w http.ResponseWriter, r *http.Request) {
							if order == "set after" {
								situation.act(t, d.Manager, r)
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
								situation.act(t, d.Manager, r)
							}
						}, cookies...)
						got := masked(res.Header)
						if order == "set after" { // the lines are there, in whatever order
							got, want = sortedHeader(got), sortedHeader(want)
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
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		res := d.ask(func(w http.ResponseWriter, r *http.Request) {
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			clear(w.Header())
		})
		wantMasked(t, res.Header, http.Header{"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}})
	})
	t.Run("T9 slices that handlers share are not written to", func(t *testing.T) {
		shared := map[string][]string{}
		for _, name := range []string{"Set-Cookie", "Vary", "Cache-Control"} {
			shared[name] = append(make([]string, 0, 8), "x=y")
		}
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		d.ask(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), shared)
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
		})
		for name, lines := range shared {
			if all := lines[:cap(lines)]; lines[0] != "x=y" || strings.Join(all[1:], "") != "" {
				t.Errorf("%s: the shared slice now holds %q", name, masked(http.Header{name: all}))
			}
		}
	})
	t.Run("T10 an error response that carries a verb's cookie is not for caches, whatever ErrorHandler says", func(t *testing.T) {
		var handed error
		d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{
			MaxSize: 2000,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				handed = err
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.WriteHeader(http.StatusTeapot)
			},
		})
		res := d.ask(func(w http.ResponseWriter, r *http.Request) {
			if err := d.SignIn(r.Context()); err != nil {
				t.Error(err)
			}
			d.FromContext(r.Context()).UserID = strings.Repeat("x", 3000)
		})
		if res.StatusCode != http.StatusTeapot || !errors.Is(handed, sessions.ErrTooLarge) {
			t.Errorf("%d, %v", res.StatusCode, handed)
		}
		wantMasked(t, res.Header, http.Header{
			"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"max-age=60, no-store"}, "Content-Length": {"0"},
		})
	})
	t.Run("T9 two managers name Vary once and keep each other's cookies", func(t *testing.T) {
		outer := newDesk(t, &sessions.MemoryStore{}, sessions.Config{})
		inner := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Realm: "inner", Transport: sessions.Cookie{Name: "__Host-inner"}})
		res := outer.ask(func(w http.ResponseWriter, r *http.Request) {
			inner.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				inner.FromContext(r.Context()).Views++
				outer.FromContext(r.Context()).Views++
			})).ServeHTTP(w, r)
		})
		got := sortedHeader(masked(res.Header))
		want := http.Header{
			"Set-Cookie": {"__Host-inner=TOKEN" + cookieFlags, cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("header:\n got %v\nwant %v", got, want)
		}
	})
}

func sortedHeader(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		out[name] = slices.Sorted(slices.Values(lines))
	}
	return out
}
