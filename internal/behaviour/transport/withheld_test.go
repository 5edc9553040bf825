package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// fetched is a request with the three headers by which a browser tells where it
// comes from, and for what; each is left out if it is "".
func fetched(r *http.Request, site, mode, dest string) *http.Request {
	for name, value := range map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

// form is a form of another site that is sent to this one.
func form(r *http.Request) *http.Request { return fetched(r, "cross-site", "navigate", "document") }

func TestWithheld(t *testing.T) {
	t.Parallel()
	const lax, strict, none = http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode
	for _, tc := range []struct {
		desc             string
		sameSite         http.SameSite
		method           string
		site, mode, dest string
		cookie           string
		withheld         bool
	}{
		{"a form", lax, "POST", "cross-site", "navigate", "document", "", true},
		{"a form, where SameSite is left to the default", 0, "POST", "cross-site", "navigate", "document", "", true},
		{"a form, where SameSite is the default by name", http.SameSiteDefaultMode, "POST", "cross-site", "navigate", "document", "", true},
		{"a form with PUT", lax, "PUT", "cross-site", "navigate", "document", "", true},
		{"a WebSocket over HTTP/2", lax, "CONNECT", "cross-site", "websocket", "empty", "", true},
		{"a link", lax, "GET", "cross-site", "navigate", "document", "", false},
		{"a HEAD that navigates", lax, "HEAD", "cross-site", "navigate", "document", "", false},
		{"an OPTIONS that navigates", lax, "OPTIONS", "cross-site", "navigate", "document", "", false},
		{"a TRACE that navigates", lax, "TRACE", "cross-site", "navigate", "document", "", false},
		{"an iframe", lax, "GET", "cross-site", "navigate", "iframe", "", true},
		{"an object", lax, "GET", "cross-site", "navigate", "object", "", true},
		{"an image", lax, "GET", "cross-site", "no-cors", "image", "", true},
		{"a fetch", lax, "GET", "cross-site", "cors", "empty", "", true},
		{"a preflight", lax, "OPTIONS", "cross-site", "cors", "empty", "", true},
		{"a WebSocket", lax, "GET", "cross-site", "websocket", "empty", "", true},
		{"no mode and no destination", lax, "GET", "cross-site", "", "", "", true},
		{"a link under Strict", strict, "GET", "cross-site", "navigate", "document", "", true},
		{"a form under Strict", strict, "POST", "cross-site", "navigate", "document", "", true},
		{"an image under Strict", strict, "GET", "cross-site", "no-cors", "image", "", true},
		{"a form under None", none, "POST", "cross-site", "navigate", "document", "", false},
		{"an iframe under None", none, "GET", "cross-site", "navigate", "iframe", "", false},
		{"a form of the same site", lax, "POST", "same-site", "navigate", "document", "", false},
		{"a form of the same site under Strict", strict, "POST", "same-site", "navigate", "document", "", false},
		{"a fetch of the same origin", strict, "POST", "same-origin", "cors", "empty", "", false},
		{"an address that was typed", strict, "GET", "none", "navigate", "document", "", false},
		{"no Sec-Fetch headers", strict, "POST", "", "", "", "", false},
		{"a site that no browser sends", lax, "POST", "Cross-Site", "navigate", "document", "", false},
		{"an unknown cookie of the name", lax, "POST", "cross-site", "navigate", "document", pairs("s" + strings.Repeat("A", 26)), false},
		{"a cookie of the name that is no token", lax, "POST", "cross-site", "navigate", "document", kit.CookieName + `=a"b`, false},
		{"an empty cookie of the name", lax, "POST", "cross-site", "navigate", "document", kit.CookieName + "=", false},
		{"a cookie of another name", lax, "POST", "cross-site", "navigate", "document", "a=1; " + kit.CookieName + "2=x", true},
	} {
		t.Run("T14 "+tc.desc, func(t *testing.T) {
			a := newApp(t, sessions.Config{Transport: sessions.Cookie{SameSite: tc.sameSite}})
			r := fetched(httptest.NewRequest(tc.method, "https://example.com/", nil), tc.site, tc.mode, tc.dest)
			if tc.cookie != "" {
				r.Header.Set("Cookie", tc.cookie)
			}
			res := send(a, r, change)
			if sent := kit.TokenOf(res.Header) != ""; sent == tc.withheld {
				t.Errorf("a token was sent: %t", sent)
			}
			calls := strings.Contains(a.Store.Calls(), "Create")
			if kinds := a.Events.Kinds(); tc.withheld == calls || slices.Contains(kinds, sessions.EventWithheld) != tc.withheld {
				t.Errorf("a session was stored: %t; events %v", calls, kinds)
			}
			if tc.withheld {
				kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			}
		})
	}

	kit.EachStack(t, "T14 a form of another site leaves the user signed in, and what it changed is not stored", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser().Login()
		a.Store.Calls()
		a.Events.Take()
		seen := 0
		a.Handle("POST /paid", func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
			s.Views = 7
			fmt.Fprint(w, "1")
			seen = s.Views
		})
		stranger := b.As("") // the browser sends no cookie, and keeps the one that comes
		res := stranger.Do(form(stranger.Request("POST", "/paid")))
		kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
		if seen != 7 {
			t.Errorf("the handler sees %d views of its 7", seen)
		}
		a.WantCalls(t, "the form", "")
		if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventWithheld || events[0].Op != "commit" || !events[0].Session.New {
			t.Errorf("events %+v, want one of a new session", events)
		}
		if s, i := b.Peek(); s.UserID != "u1" || s.Views != 0 || i.New {
			t.Errorf("afterwards: %+v", s)
		}
	})

	for _, verbs := range []string{"change Save", "change Commit", "change Renew", "SignIn", "Remember", "Save change SignIn"} {
		t.Run("T14 a verb that is called by name creates: "+verbs, func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			res := send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), call(t, a, verbs))
			if token := kit.TokenOf(res.Header); token == "" || a.Events.Kinds()[0] != sessions.EventCreated {
				t.Error("it creates nothing")
			}
		})
	}
	t.Run("T14 a verb that is called by name creates: Update", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		res := send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), func(_ http.ResponseWriter, r *http.Request) {
			kit.OK(t, a.Update(r.Context(), func(s *kit.Session) error { s.Views++; return nil }))
			change(nil, r) // the session is there, so this is saved as ever
		})
		if got := a.Views(kit.TokenOf(res.Header)); got != 2 {
			t.Errorf("%d views, want 2", got)
		}
	})
	t.Run("T14 after the end of a session that was created by name an automatic save creates nothing", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), call(t, a, "SignIn Destroy change"))
		a.WantEvents(t, sessions.EventCreated, sessions.EventSignedIn, sessions.EventDestroyed, sessions.EventWithheld)
	})

	kit.EachStack(t, "T14 a session that began and ended in the form's request leaves the user signed in", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser().Login()
		a.Handle("POST /paid", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views = 7
			kit.OK(t, a.Save(r.Context()))
			kit.OK(t, a.Destroy(r.Context()))
			fmt.Fprint(w, "1")
		})
		stranger := b.As("")
		if lines := stranger.Do(form(stranger.Request("POST", "/paid"))).Header["Set-Cookie"]; len(lines) > 0 {
			t.Errorf("Set-Cookie %q", lines)
		}
	})

	t.Run("T14 SaveUninitialized stores nothing either, whether the handler looks or not", func(t *testing.T) {
		a := newApp(t, sessions.Config{SaveUninitialized: true})
		for _, f := range []http.HandlerFunc{nothing, change} {
			res := send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), f)
			a.WantCalls(t, "the form", "")
			a.WantEvents(t, sessions.EventWithheld)
			if len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%v", kit.Masked(res.Header))
			}
		}
	})
	t.Run("T14 a request that changes nothing is no event", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), func(_ http.ResponseWriter, r *http.Request) { a.FromContext(r.Context()) })
		a.WantEvents(t)
	})

	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("T14 a request is one event, however often it changes T, the first time after the first byte: %t", late), func(t *testing.T) {
			a := newApp(t, sessions.Config{})
			send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), func(w http.ResponseWriter, r *http.Request) {
				if !late {
					change(w, r)
				}
				io.WriteString(w, "first byte")
				change(w, r)
			})
			a.WantCalls(t, "the form", "")
			want := []sessions.EventKind{sessions.EventWithheld}
			if late {
				want = append(want, sessions.EventLateUse) // it is also a late first look
			}
			a.WantEvents(t, want...)
		})
	}

	kit.EachBubble(t, "T14 a route has one log line a minute, and further requests are counted", func(t *testing.T, c sessions.Codec) {
		a := newApp(t, sessions.Config{Codec: c})
		a.Mux.HandleFunc("POST /paid/{id}", change)
		a.Mux.HandleFunc("POST /saml", change)
		post := func(path string) {
			kit.Serve(a.Root, form(httptest.NewRequest("POST", "https://example.com"+path, nil)))
		}
		want := func(when string, want ...string) {
			t.Helper()
			lines := a.Log.Take()
			if len(lines) != len(want) {
				t.Errorf("%s: log %q", when, lines)
				return
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, "level=WARN ") || !strings.Contains(l, "SignIn") || !strings.HasSuffix(l, want[i]) {
					t.Errorf("%s: line %q, want a warning with the remedy and %s", when, l, want[i])
				}
			}
		}
		for i := range 5 {
			post(fmt.Sprintf("/paid/%d", i))
		}
		post("/saml")
		want("at first", ` route="POST /paid/{id}"`, ` route="POST /saml"`)
		time.Sleep(59 * time.Second)
		post("/paid/9")
		want("within the minute")
		time.Sleep(2 * time.Second)
		post("/paid/9")
		post("/saml")
		want("after it", ` route="POST /paid/{id}" repeats=5`, ` route="POST /saml"`)
		if n := len(a.Events.Take()); n != 9 {
			t.Errorf("%d events, want one for each of 9 requests", n)
		}
	})

	t.Run("T14 a token in a header is not withheld, nor is there anything to withhold outside HTTP", func(t *testing.T) {
		a := newApp(t, sessions.Config{Transport: sessions.HeaderToken{}})
		if res := send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), change); res.Header.Get("Authorization") == "" {
			t.Error("no token")
		}
		newApp(t, sessions.Config{}).Seed(1) // fails the test if nothing is stored
	})
	t.Run("T14 a Transport of one's own says which cookie it has", func(t *testing.T) {
		for sameSite, want := range map[http.SameSite]sessions.EventKind{
			http.SameSiteLaxMode: sessions.EventWithheld, http.SameSiteNoneMode: sessions.EventCreated,
		} {
			a := newApp(t, sessions.Config{Transport: ownCookie{sessions.Cookie{Name: "mine"}, sameSite}})
			send(a, form(httptest.NewRequest("POST", "https://example.com/", nil)), change)
			a.WantEvents(t, want)
		}
	})
}

// ownCookie is a Transport that chooses SameSite by the request.
type ownCookie struct {
	sessions.Cookie
	sameSite http.SameSite
}

func (c ownCookie) CookieFor(r *http.Request) (string, http.SameSite) {
	if r.Method != "POST" {
		return c.Name, http.SameSiteLaxMode
	}
	return c.Name, c.sameSite
}
