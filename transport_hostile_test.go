package sessions_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestHostileToken(t *testing.T) {
	good := wellFormed(0)
	rows := []struct{ desc, value string }{
		{"nothing", ""},
		{"one byte", "s"},
		{"64 KiB", "s" + strings.Repeat("A", 64<<10)},
		{"one character too few", good[:20]},
		{"one character too many", "s" + strings.Repeat("A", 129)},
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
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			served := false
			res := d.ask(func(_ http.ResponseWriter, r *http.Request) {
				served = sessions.FromContext[Session](r.Context()).Views == 0
			}, cookieName+"="+tc.value)
			if got := ops.take(); len(got) > 0 {
				t.Errorf("store calls %v, want none", got)
			}
			if !served || res.StatusCode != 200 {
				t.Errorf("served is %t, status %d; want a fresh session and 200", served, res.StatusCode)
			}
			wantMasked(t, res.Header, http.Header{"Vary": {"Cookie"}, "Cache-Control": {"private"}})
		})
	}
	t.Run("T3 nor does it keep the visitor from getting a session", func(t *testing.T) {
		for _, tc := range rows {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			res := d.ask(viewOnce, cookieName+"="+tc.value)
			if got := ops.take(); !slices.Equal(got, []string{"Create"}) || res.StatusCode != 200 || d.views(tokenOf(res.Header)) != 1 {
				t.Errorf("%s: store calls %v, status %d, token %q", tc.desc, got, res.StatusCode, tokenOf(res.Header))
			}
		}
	})
	t.Run("T3 a bearer token of the wrong shape is refused as well", func(t *testing.T) {
		for _, tc := range rows {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header["Authorization"] = []string{"Bearer " + tc.value}
			res := d.send(r, func(http.ResponseWriter, *http.Request) {})
			if got := ops.take(); len(got) > 0 || res.StatusCode != 200 {
				t.Errorf("%s: store calls %v, status %d", tc.desc, got, res.StatusCode)
			}
		}
	})
	t.Run("T3 every token that has the shape is looked up", func(t *testing.T) {
		for _, token := range []string{
			good, "r" + good[1:], "s" + strings.Repeat("a", 20), "s" + strings.Repeat("Z", 128), "s-_-_-_-_-_-_-_-_-_-_-_",
		} {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			d.ask(noHandler, cookieName+"="+token)
			if got := ops.take(); !slices.Equal(got, []string{"Load"}) {
				t.Errorf("%s: store calls %v, want one Load", token, got)
			}
		}
	})
	t.Run("T3 cookie lines without end are no error", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{})
		res := d.ask(noHandler, strings.Repeat("a=b; ", 1<<16)+cookieName, strings.Repeat(";", 1<<16), cookieName+"="+good)
		if got := ops.take(); !slices.Equal(got, []string{"Load"}) || res.StatusCode != 200 {
			t.Errorf("store calls %v, status %d; want the one good cookie found", got, res.StatusCode)
		}
	})
}

func TestElsewhere(t *testing.T) {
	for _, tc := range []struct {
		desc  string
		place func(r *http.Request, token string) *http.Request
	}{
		{"the query", func(r *http.Request, token string) *http.Request {
			r.URL.RawQuery = cookieName + "=" + token + "&session=" + token + "&token=" + token
			return r
		}},
		{"the path", func(r *http.Request, token string) *http.Request {
			r.URL.Path = "/;" + cookieName + "=" + token
			return r
		}},
		{"a form", func(r *http.Request, token string) *http.Request {
			r = httptest.NewRequest("POST", r.URL.String(), strings.NewReader(cookieName+"="+token+"&session="+token))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return r
		}},
		{"the Authorization header", func(r *http.Request, token string) *http.Request {
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}},
		{"other headers", func(r *http.Request, token string) *http.Request {
			for _, name := range []string{"Cookie2", "X-Session", "X-Auth-Token", "Set-Cookie", cookieName, "Proxy-Authorization"} {
				r.Header.Set(name, cookieName+"="+token)
			}
			return r
		}},
		{"a trailer", func(r *http.Request, token string) *http.Request {
			r.Trailer = http.Header{"Cookie": {cookieName + "=" + token}}
			return r
		}},
	} {
		t.Run("T5 a token in "+tc.desc+" is ignored", func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			token := d.seed(7)
			ops.take()
			views := 0
			d.send(tc.place(httptest.NewRequest("GET", "https://example.com/", nil), token), func(_ http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				views = sessions.FromContext[Session](r.Context()).Views
			})
			if got := ops.take(); views != 0 || len(got) > 0 {
				t.Errorf("%d views, store calls %v", views, got)
			}
		})
	}
	for _, name := range []string{
		"session", "Host-session", "__Secure-session", "__host-session", "__HOST-SESSION", "__Host-Session", "__Host-session2", "x__Host-session",
		"__Host session", "__Host-session[]", "%5F_Host-session", `"__Host-session"`,
		// A browser sees no prefix in these, so any host of the domain may set them.
		"\u00a0__Host-session", "\u2003__Host-session", "\u0085__Host-session", "\u3000__Host-session", "\v__Host-session", "\f__Host-session", "\r__Host-session",
		"__Host-session\u00a0", "__Host-session\u2028", "\x85__Host-session", "\xa0__Host-session", "=__Host-session", "\x00__Host-session",
	} {
		t.Run(fmt.Sprintf("T5 a token in a cookie named %q is ignored", name), func(t *testing.T) {
			ops, store := newOpLog()
			d := newDesk(t, store, sessions.Config{})
			token := d.seed(7)
			ops.take()
			d.ask(noHandler, name+"="+token, "a=b; "+name+"="+token)
			if got := ops.take(); len(got) > 0 {
				t.Errorf("store calls %v, want none", got)
			}
		})
	}
}
