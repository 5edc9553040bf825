package sessions_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestHeaderToken(t *testing.T) {
	for _, tc := range []struct {
		desc, name, header, scheme string
	}{
		{"Authorization: Bearer", "", "Authorization", "Bearer "},
		{"a named header", "X-Session", "X-Session", ""},
		{"a header named in another case", "x-SESSION", "X-Session", ""},
	} {
		t.Run("T8 "+tc.desc+" round-trips", func(t *testing.T) {
			d := newDesk(t, &sessions.MemoryStore{}, sessions.Config{Transport: sessions.HeaderToken{Name: tc.name}})
			sent := http.Header{tc.header: {tc.scheme + "TOKEN"}, "Vary": {tc.header}, "Cache-Control": {"private, no-store"}}
			res := d.ask(viewOnce)
			wantMasked(t, res.Header, sent)
			ask := func(f func(w http.ResponseWriter, r *http.Request), values ...string) *http.Response {
				r := httptest.NewRequest("GET", "https://example.com/", nil)
				r.Header[tc.header] = values
				return d.send(r, f)
			}
			token := res.Header.Get(tc.header)
			res = ask(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, sessions.FromContext[Session](r.Context()).Views)
			}, token)
			wantMasked(t, res.Header, http.Header{"Vary": {tc.header}, "Cache-Control": {"private"}, "Content-Type": {"text/plain; charset=utf-8"}})
			if body, _ := io.ReadAll(res.Body); string(body) != "1" {
				t.Errorf("body %q, want 1", body)
			}
			res = ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Renew(r.Context()); err != nil {
					t.Error(err)
				}
			}, token)
			wantMasked(t, res.Header, sent)
			if res.Header.Get(tc.header) == token {
				t.Error("Renew sent the old token")
			}
			token = res.Header.Get(tc.header)
			res = ask(func(_ http.ResponseWriter, r *http.Request) {
				if err := d.Destroy(r.Context()); err != nil {
					t.Error(err)
				}
			}, token)
			wantMasked(t, res.Header, http.Header{"Vary": {tc.header}, "Cache-Control": {"private, no-store"}})
			ask(func(_ http.ResponseWriter, r *http.Request) {
				if !d.Info(r.Context()).New {
					t.Error("the destroyed session is still there")
				}
			}, token)
		})
	}
	t.Run("T8 the scheme is compared without case, others are ignored", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
		token := d.seed(7)
		for _, tc := range []struct {
			value string
			loads int
		}{
			{"Bearer " + token, 1},
			{"bearer " + token, 1},
			{"BEARER " + token, 1},
			{"Bearer   " + token + " ", 1},
			{"Basic " + token, 0},
			{token, 0},
			{"Bearer" + token, 0},
			{"Bearer", 0},
			{"Bearer ", 0},
			{"", 0},
			{"Token " + token, 0},
			{"Bearer " + token + ", Bearer " + wellFormed(1), 0},
		} {
			ops.take()
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header["Authorization"] = []string{tc.value}
			d.send(r, noHandler)
			if got := ops.take(); len(got) != tc.loads {
				t.Errorf("Authorization: %q: store calls %v, want %d", tc.value, got, tc.loads)
			}
		}
	})
	t.Run("T8 a token from a header never becomes a cookie", func(t *testing.T) {
		store := &sessions.MemoryStore{}
		header, cookie := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}}), newDesk(t, store, sessions.Config{})
		token := header.seed(7)
		bearing := func() *http.Request {
			r := httptest.NewRequest("GET", "https://example.com/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			return r
		}
		res := header.send(bearing(), func(_ http.ResponseWriter, r *http.Request) {
			sessions.FromContext[Session](r.Context()).Views++
			if err := header.Renew(r.Context()); err != nil {
				t.Error(err)
			}
		})
		if res.Header.Get("Authorization") == "" || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the header's manager answers with %v", res.Header)
		}
		token = strings.TrimPrefix(res.Header.Get("Authorization"), "Bearer ")
		res = cookie.send(bearing(), func(_ http.ResponseWriter, r *http.Request) {
			if got := sessions.FromContext[Session](r.Context()).Views; got != 0 {
				t.Errorf("the cookie's manager took a token from the header: %d views", got)
			}
		})
		if len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("the cookie's manager answers with %v", res.Header)
		}
	})
	t.Run("T8 a token from a cookie does not reach the header's manager", func(t *testing.T) {
		ops, store := newOpLog()
		d := newDesk(t, store, sessions.Config{Transport: sessions.HeaderToken{}})
		token := d.seed(7)
		ops.take()
		d.ask(noHandler, cookieName+"="+token, "Authorization=Bearer "+token)
		if got := ops.take(); len(got) > 0 {
			t.Errorf("store calls %v, want none", got)
		}
	})
}
