package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestHeaderToken(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		desc, name, header, scheme string
	}{
		{"Authorization: Bearer", "", "Authorization", "Bearer "},
		{"a named header", "X-Session", "X-Session", ""},
		{"a header named in another case", "x-SESSION", "X-Session", ""},
	} {
		t.Run("T8 "+tc.desc+" round-trips", func(t *testing.T) {
			a := newApp(t, sessions.Config{Transport: sessions.HeaderToken{Name: tc.name}})
			sent := kit.Header(tc.header, tc.scheme+"TOKEN", "Vary", tc.header, "Cache-Control", "private, no-store")
			visit := func(f http.HandlerFunc, values ...string) *http.Response {
				r := kit.With("", "/")
				r.Header[tc.header] = values
				return send(a, r, f)
			}
			res := visit(change)
			kit.WantHeader(t, res.Header, sent)
			first := res.Header.Get(tc.header)

			res = visit(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, a.FromContext(r.Context()).Views) }, first)
			kit.WantHeader(t, res.Header, kit.Header("Vary", tc.header, "Cache-Control", "private", "Content-Type", "text/plain; charset=utf-8"))
			if body, _ := io.ReadAll(res.Body); string(body) != "1" {
				t.Errorf("body %q, want 1", body)
			}

			res = visit(call(t, a, "Renew"), first)
			kit.WantHeader(t, res.Header, sent)
			second := res.Header.Get(tc.header)
			if second == first {
				t.Error("Renew sent the old token")
			}

			res = visit(call(t, a, "Destroy"), second)
			kit.WantHeader(t, res.Header, kit.Header("Vary", tc.header, "Cache-Control", "private, no-store"))
			visit(func(_ http.ResponseWriter, r *http.Request) {
				if !a.Info(r.Context()).New {
					t.Error("the destroyed session is still there")
				}
			}, second)
		})
	}

	t.Run("T8 the scheme is compared without case, others are ignored", func(t *testing.T) {
		a := newApp(t, sessions.Config{Transport: sessions.HeaderToken{}})
		token := a.Seed(7)
		for _, tc := range []struct{ value, calls string }{
			{"Bearer " + token, "Load"},
			{"bearer " + token, "Load"},
			{"BEARER " + token, "Load"},
			{"Bearer   " + token + " ", "Load"},
			{"Basic " + token, ""},
			{token, ""},
			{"Bearer" + token, ""},
			{"Bearer", ""},
			{"Bearer ", ""},
			{"", ""},
			{"Token " + token, ""},
			{"Bearer " + token + ", Bearer " + kit.UnknownToken(1), ""},
		} {
			r := kit.With("", "/")
			r.Header["Authorization"] = []string{tc.value}
			send(a, r, nothing)
			a.WantCalls(t, fmt.Sprintf("Authorization: %q", tc.value), tc.calls)
		}
	})

	t.Run("T8 a token from a header never becomes a cookie", func(t *testing.T) {
		store := kit.Memory()
		header := kit.NewApp(t, kit.InProcess, store, sessions.Config{Transport: sessions.HeaderToken{}})
		cookie := kit.NewApp(t, kit.InProcess, store, sessions.Config{})
		bearing := func(token string) *http.Request {
			r := kit.With("", "/")
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}
		res := send(header, bearing(header.Seed(7)), call(t, header, "change Renew"))
		if res.Header.Get("Authorization") == "" || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the header's manager answers with %v", res.Header)
		}
		token := strings.TrimPrefix(res.Header.Get("Authorization"), "Bearer ")
		res = send(cookie, bearing(token), func(_ http.ResponseWriter, r *http.Request) {
			if got := cookie.FromContext(r.Context()).Views; got != 0 {
				t.Errorf("the cookie's manager took a token from the header: %d views", got)
			}
		})
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the cookie's manager answers with %v", res.Header)
		}
	})

	t.Run("T8 a token from a cookie does not reach the header's manager", func(t *testing.T) {
		a := newApp(t, sessions.Config{Transport: sessions.HeaderToken{}})
		token := a.Seed(7)
		a.Ask(nothing, pairs(token), "Authorization=Bearer "+token)
		a.WantCalls(t, "it", "")
	})
}
