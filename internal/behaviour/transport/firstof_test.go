package transport_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// both is a Transport for browsers and programs.
func both() sessions.Transport { return sessions.FirstOf(sessions.HeaderToken{}, sessions.Cookie{}) }

func TestFirstOf(t *testing.T) {
	t.Parallel()
	const vary = "Authorization, Cookie"
	used := kit.Header("Cache-Control", "private", "Vary", vary)
	cookie := func(line string) http.Header {
		return kit.Header("Set-Cookie", line, "Cache-Control", "private, no-store", "Vary", vary)
	}
	header := kit.Header("Authorization", "Bearer TOKEN", "Cache-Control", "private, no-store", "Vary", vary)
	headerEnds := kit.Header("Cache-Control", "private, no-store", "Vary", vary)
	for _, tc := range []struct {
		desc           string
		cookie, bearer string // ann: with 1 view; bob: with 2; other: unknown; bad: of no token's form
		verbs          string
		views          int
		want           http.Header
	}{
		{"a cookie is read", "ann", "", "", 1, used},
		{"a bearer is read", "", "bob", "", 2, used},
		{"of both the first is read", "ann", "bob", "", 2, used},
		{"an unknown bearer beside a cookie is the request's", "ann", "other", "", 0, used},
		{"a bearer without the form of a token, too", "ann", "bad", "", 0, used},
		{"a change with a cookie sends nothing", "ann", "", "change", 1, used},
		{"a change with a bearer sends nothing", "", "bob", "change", 2, used},
		{"a cookie is renewed in a cookie", "ann", "", "Renew", 1, cookie(kit.CookieSent)},
		{"a bearer is renewed in the header", "", "bob", "Renew", 2, header},
		{"a bearer beside a cookie is renewed in the header", "ann", "bob", "SignIn", 2, header},
		{"a cookie is ended in a cookie", "ann", "", "Destroy", 1, cookie(kit.CookieExpired)},
		{"a bearer is ended in the header", "ann", "bob", "Destroy", 2, headerEnds},
		{"a session without a token begins by the last", "", "", "change", 0, cookie(kit.CookieSent)},
		{"an unknown cookie is answered by one", "other", "", "change", 0, cookie(kit.CookieSent)},
		{"an unknown bearer is answered by one", "", "other", "change", 0, header},
		{"an unknown bearer beside a cookie is answered by one", "ann", "other", "SignIn", 0, header},
	} {
		t.Run("T15 "+tc.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{Transport: both()})
			tokens := map[string]string{"ann": a.Seed(1), "bob": a.Seed(2), "other": kit.UnknownToken(1), "bad": "bad"}
			r := kit.With(tokens[tc.cookie], "/")
			if tc.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+tokens[tc.bearer])
			}
			res := send(a, r, func(w http.ResponseWriter, r *http.Request) {
				if got := a.FromContext(r.Context()).Views; got != tc.views {
					t.Errorf("%d views, want %d", got, tc.views)
				}
				// What a handler does to its request plays no part.
				r.Header.Del("Authorization")
				r.Header.Del("Cookie")
				call(t, a, tc.verbs)(w, r)
			})
			kit.WantHeader(t, res.Header, tc.want)
			if tc.cookie == "ann" && tc.bearer != "" && a.Views(tokens["ann"]) != 1 {
				t.Error("the cookie's session has changed")
			}
		})
	}

	t.Run("T15 an error response and a page without a look tell caches of both", func(t *testing.T) {
		a := newApp(t, sessions.Config{Transport: both()})
		token := a.Seed(1)
		a.Store.Fail(sessions.ErrUnavailable)
		if got := send(a, kit.With(token, "/"), nothing).Header.Get("Vary"); got != vary {
			t.Errorf("Vary is %q, want %q", got, vary)
		}
	})

	t.Run("T15 T14 only a request that the cookie serves can lack it", func(t *testing.T) {
		a := newApp(t, sessions.Config{Transport: both()})
		r := kit.With("", "/")
		r.Method = "POST"
		send(a, form(r), change)
		a.WantCalls(t, "a form without a token", "")
		r = kit.With("", "/")
		r.Method = "POST"
		r.Header.Set("Authorization", "Bearer "+kit.UnknownToken(1))
		send(a, form(r), change)
		a.WantCalls(t, "one with a bearer", "Load Create")
	})

	t.Run("T15 T12 only a cookie warns that the request came without TLS", func(t *testing.T) {
		for bearer, want := range map[string]int{"": 1, "Bearer " + kit.UnknownToken(1): 0} {
			a := newApp(t, sessions.Config{Transport: both()})
			r := kit.With("", "/")
			r.TLS = nil
			if bearer != "" {
				r.Header.Set("Authorization", bearer)
			}
			send(a, r, change)
			if got := strings.Count(strings.Join(a.Log.Take(), ""), "Secure cookie"); got != want {
				t.Errorf("with the bearer %q: %d warnings, want %d", bearer, got, want)
			}
		}
	})

	t.Run("T15 the one that serves the request is asked for what is kept with the session, outside HTTP the last", func(t *testing.T) {
		asked := ""
		a := newApp(t, sessions.Config{Transport: sessions.FirstOf(
			asksAttrs{sessions.HeaderToken{}, "header ", &asked}, asksAttrs{sessions.Cookie{}, "cookie ", &asked})})
		r := kit.With("", "/")
		r.Header.Set("Authorization", "Bearer "+kit.UnknownToken(1))
		send(a, r, change)
		send(a, kit.With("", "/"), change)
		a.Seed(1)
		if want := "cookie header cookie cookie "; asked != want { // New asks first, to see a record
			t.Errorf("asked %q, want %q", asked, want)
		}
	})

	t.Run("T15 L14 Handlers that nest and have one place in common panic", func(t *testing.T) {
		inner := newApp(t, sessions.Config{Realm: "other"})
		for name, panics := range map[string]bool{kit.CookieName: true, "__Host-other": false} {
			outer := newApp(t, sessions.Config{Transport: sessions.FirstOf(sessions.HeaderToken{}, sessions.Cookie{Name: name})})
			panicked := true
			kit.Contain(func() {
				kit.Serve(outer.Manager.Handler(inner.Manager.Handler(http.HandlerFunc(nothing))), kit.With("", "/"))
				panicked = false
			})
			if panicked != panics {
				t.Errorf("inside the cookie %s: panicked %t", name, panicked)
			}
		}
	})
}

type asksAttrs struct {
	sessions.Transport
	name  string
	asked *string
}

func (t asksAttrs) Attrs(*http.Request, bool) any {
	*t.asked += t.name
	return nil
}

// wrongSecure has a method that is no SecureTransport's.
type wrongSecure struct{ sessions.HeaderToken }

func (wrongSecure) Secure() string { return "" }

func TestFirstOfRefused(t *testing.T) {
	t.Parallel()
	header, cookie := sessions.HeaderToken{}, sessions.Cookie{}
	for _, tc := range []struct {
		desc       string
		transports []sessions.Transport
		want       []string // in the error, none: New takes it
	}{
		{"a header and a cookie are fine", []sessions.Transport{header, cookie}, nil},
		{"one is fine", []sessions.Transport{cookie}, nil},
		{"two cookies and two headers are fine", []sessions.Transport{header, sessions.HeaderToken{Name: "X-Session"}, cookie, sessions.Cookie{Name: "__Host-2"}}, nil},
		{"none", nil, []string{"it has no transport"}},
		{"nil", []sessions.Transport{header, nil, cookie}, []string{"transport 2 is nil"}},
		{"a nil pointer, and nothing else", []sessions.Transport{(*sessions.Cookie)(nil)}, []string{"transport 1 is nil", "it has no transport"}},
		{"one in another", []sessions.Transport{header, both()}, []string{"transport 2 is a FirstOf itself"}},
		{"two cookies of one name", []sessions.Transport{cookie, sessions.Cookie{Persist: true}}, []string{"the same cookie or header (Cookie)"}},
		{"one header twice", []sessions.Transport{header, sessions.HeaderToken{Name: "authorization"}}, []string{"the same cookie or header (Authorization)"}},
		{"one header twice by its name", []sessions.Transport{sessions.HeaderToken{Name: "X-A"}, sessions.HeaderToken{Name: "x-a"}}, []string{"the same cookie or header (X-A)"}},
		{"a cookie before a header", []sessions.Transport{cookie, header}, []string{"sessions.Cookie is before a sessions.HeaderToken"}},
		{"mistakes of two of them", []sessions.Transport{sessions.HeaderToken{Name: "a b"}, sessions.Cookie{Path: "x"}}, []string{"HeaderToken.Name", "Cookie.Path"}},
		{"a method that only looks like an optional one", []sessions.Transport{wrongSecure{}, cookie}, []string{"Config.Transport: transport_test.wrongSecure has a method Secure"}},
		{"what one of them cannot write", []sessions.Transport{header, sessions.Cookie{Name: strings.Repeat("n", 5000)}}, []string{"shorten the name"}},
	} {
		t.Run("T15 T7 "+tc.desc, func(t *testing.T) {
			_, err := sessions.New[kit.Session](kit.Memory(), sessions.Config{Transport: sessions.FirstOf(tc.transports...)})
			if (err != nil) != (tc.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
		})
	}
}
