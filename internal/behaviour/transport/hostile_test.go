package transport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestHostileToken(t *testing.T) {
	t.Parallel()
	good := kit.UnknownToken(0)
	rows := []struct{ desc, value string }{
		{"nothing", ""},
		{"one byte", "s"},
		{"64 KiB", "s" + strings.Repeat("A", 64<<10)},
		{"one character too few", good[:20]},
		{"one character too many", "s" + strings.Repeat("A", 133)},
		{"no class", good[1:]},
		{"an unknown class", "x" + good[1:]},
		{"a class in the wrong case", "S" + good[1:]},
		{"what is not ASCII", good + "ä"},
		{"what is not UTF-8", good + "\xff\xfe"},
		{"a fullwidth letter", good + "Ａ"},
		{"CR LF and a header", good + "\r\nSet-Cookie: a=b"},
		{"CR LF and a Redis command", good + "\r\nFLUSHALL\r\n"},
		{"NUL", good + "\x00"},
		{"NUL alone", "\x00"},
		{"an object", "{}"},
		{"a hash tag", good + "{a}"},
		{"a wildcard", "*"},
		{"a wildcard in a token", good[:26] + "*"},
		{"a path", "../../../../../etc/passwd"},
		{"a colon", "session:" + good},
		{"percent signs", strings.ReplaceAll(good, "0", "%30")},
		{"quotes", `"` + good + `"`},
		{"a space", good[:10] + " " + good[10:]},
		{"an equals sign", good + "="},
		{"a signed cookie of express", "s%3A" + good + ".sig"},
	}
	for _, tc := range rows {
		t.Run("T3 a cookie with "+tc.desc+" is refused by its shape", func(t *testing.T) {
			a, fresh := newApp(t, sessions.Config{}), false
			res := a.Ask(func(_ http.ResponseWriter, r *http.Request) { fresh = a.FromContext(r.Context()).Views == 0 }, pairs(tc.value))
			a.WantCalls(t, "it", "")
			if !fresh || res.StatusCode != 200 {
				t.Errorf("fresh is %t, status %d; want a fresh session and 200", fresh, res.StatusCode)
			}
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
		})
	}

	t.Run("T3 nor does it keep the visitor from getting a session", func(t *testing.T) {
		for _, tc := range rows {
			a := newApp(t, sessions.Config{})
			res := a.Ask(change, pairs(tc.value))
			a.WantCalls(t, tc.desc, "Create")
			if got := a.Views(kit.TokenOf(res.Header)); res.StatusCode != 200 || got != 1 {
				t.Errorf("%s: status %d, %d views", tc.desc, res.StatusCode, got)
			}
		}
	})

	t.Run("T3 a bearer token of the wrong shape is refused as well", func(t *testing.T) {
		for _, tc := range rows {
			a := newApp(t, sessions.Config{Transport: sessions.HeaderToken{}})
			r := kit.With("", "/")
			r.Header["Authorization"] = []string{"Bearer " + tc.value}
			if res := send(a, r, nothing); res.StatusCode != 200 {
				t.Errorf("%s: status %d", tc.desc, res.StatusCode)
			}
			a.WantCalls(t, tc.desc, "")
		}
	})

	t.Run("T3 every token that has the shape is looked up", func(t *testing.T) {
		for _, token := range []string{
			good, "r" + good[1:], "s" + strings.Repeat("a", 24), "s" + strings.Repeat("Z", 132), "s-_-_-_-_-_-_-_-_-_-_-_-_-_",
		} {
			a := newApp(t, sessions.Config{})
			a.Ask(nothing, pairs(token))
			a.WantCalls(t, token, "Load")
		}
	})

	t.Run("T3 cookie lines without end are no error", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		res := a.Ask(nothing, strings.Repeat("a=b; ", 1<<16)+kit.CookieName, strings.Repeat(";", 1<<16), pairs(good))
		if res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
		a.WantCalls(t, "the one good cookie", "Load")
	})
}

// A token is read from the cookie of its exact name, and from nowhere else.
func TestOtherPlaces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		desc  string
		place func(r *http.Request, token string) *http.Request
	}{
		{"the query", func(r *http.Request, token string) *http.Request {
			r.URL.RawQuery = pairs(token) + "&session=" + token + "&token=" + token
			return r
		}},
		{"the path", func(r *http.Request, token string) *http.Request {
			r.URL.Path = "/;" + pairs(token)
			return r
		}},
		{"a form", func(r *http.Request, token string) *http.Request {
			r = httptest.NewRequest("POST", r.URL.String(), strings.NewReader(pairs(token)+"&session="+token))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}},
		{"the Authorization header", func(r *http.Request, token string) *http.Request {
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}},
		{"other headers", func(r *http.Request, token string) *http.Request {
			for _, name := range []string{"Cookie2", "X-Session", "X-Auth-Token", "Set-Cookie", kit.CookieName, "Proxy-Authorization"} {
				r.Header.Set(name, pairs(token))
			}
			return r
		}},
		{"a trailer", func(r *http.Request, token string) *http.Request {
			r.Trailer = http.Header{"Cookie": {pairs(token)}}
			return r
		}},
	} {
		t.Run("T5 a token in "+tc.desc+" is ignored", func(t *testing.T) {
			a, views := newApp(t, sessions.Config{}), -1
			send(a, tc.place(kit.With("", "/"), a.Seed(7)), func(_ http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				views = a.FromContext(r.Context()).Views
			})
			if views != 0 {
				t.Errorf("%d views, want those of a fresh session", views)
			}
			a.WantCalls(t, "it", "")
		})
	}

	for _, name := range []string{
		"session", "Host-Http-session", "__Secure-session", "__Host-session", "__Http-session", "__host-http-session", "__HOST-HTTP-SESSION", "__Host-Http-Session",
		"__Host-Http-session2", "x__Host-Http-session",
		"__Host session", "__Host-Http-session[]", "%5F_Host-session", `"__Host-Http-session"`,
		// A browser sees no prefix in these, so any host of the domain may set them.
		"\u00a0__Host-Http-session", "\u2003__Host-Http-session", "\u0085__Host-Http-session", "\u3000__Host-Http-session", "\v__Host-Http-session", "\f__Host-Http-session", "\r__Host-Http-session",
		"__Host-Http-session\u00a0", "__Host-Http-session\u2028", "\x85__Host-Http-session", "\xa0__Host-Http-session", "=__Host-Http-session", "\x00__Host-Http-session",
	} {
		t.Run(fmt.Sprintf("T5 a token in a cookie named %q is ignored", name), func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			token := a.Seed(7)
			a.Ask(nothing, name+"="+token, "a=b; "+name+"="+token)
			a.WantCalls(t, "it", "")
		})
	}
}
