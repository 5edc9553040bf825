package transport_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestCookie(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		desc   string
		cookie sessions.Cookie
		want   string
	}{
		{"by default", sessions.Cookie{}, "__Host-Http-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with SameSiteDefaultMode", sessions.Cookie{SameSite: http.SameSiteDefaultMode}, "__Host-Http-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with SameSite Strict", sessions.Cookie{SameSite: http.SameSiteStrictMode}, "__Host-Http-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Strict"},
		{"with SameSite None, Partitioned", sessions.Cookie{SameSite: http.SameSiteNoneMode, Partitioned: true}, "__Host-Http-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
		{"with a Path", sessions.Cookie{Path: "/app"}, "__Secure-session=TOKEN; Path=/app; HttpOnly; Secure; SameSite=Lax"},
		{"with the Path /", sessions.Cookie{Path: "/"}, "__Host-Http-session=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with a Domain", sessions.Cookie{Domain: "example.com"}, "__Secure-session=TOKEN; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{"with a Name", sessions.Cookie{Name: "sid"}, "sid=TOKEN; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"with Insecure", sessions.Cookie{Insecure: true}, "session=TOKEN; Path=/; HttpOnly; SameSite=Lax"},
		{"with Insecure and a Domain", sessions.Cookie{Insecure: true, Domain: "example.com"}, "session=TOKEN; Path=/; Domain=example.com; HttpOnly; SameSite=Lax"},
		{"with Persist", sessions.Cookie{Persist: true}, "__Host-Http-session=TOKEN; Path=/; Max-Age=172800; HttpOnly; Secure; SameSite=Lax"},
	} {
		kit.Bubble(t, "T6 the cookie "+tc.desc, func(t *testing.T) { // for Max-Age
			a := newApp(t, sessions.Config{IdleTimeout: time.Hour, Lifetime: 48 * time.Hour, Transport: tc.cookie})
			res := a.Ask(change)
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(tc.want)...))

			// It comes back, is understood, and is taken back by the same flags.
			sent, _, _ := strings.Cut(res.Header["Set-Cookie"][0], ";")
			if got := views(a, sent); got != 1 {
				t.Errorf("%d views, want 1", got)
			}
			res = a.Ask(call(t, a, "Destroy"), sent)
			want := strings.ReplaceAll(tc.want, "; Max-Age=172800", "")
			want = strings.Replace(want, "=TOKEN", "=", 1)
			got := strings.Replace(strings.Join(res.Header["Set-Cookie"], "\n"), "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0", "", 1)
			if got != want {
				t.Errorf("taken back by %q, want %q with Expires and Max-Age=0", res.Header["Set-Cookie"], want)
			}
		})
	}
}

func TestInsecureWarning(t *testing.T) {
	t.Parallel()
	plain := func(header ...string) *http.Request {
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	t.Run("T12 a Secure cookie on plain HTTP warns once per Manager, naming Insecure", func(t *testing.T) {
		for range 2 { // a second Manager warns again
			a := newApp(t, sessions.Config{})
			send(a, plain(), func(_ http.ResponseWriter, r *http.Request) { a.FromContext(r.Context()) })
			if got := a.Log.Take(); len(got) > 0 {
				t.Errorf("before any cookie: %q", got)
			}
			for range 3 {
				send(a, plain(), change)
			}
			got := a.Log.Take()
			if len(got) != 1 || !strings.HasPrefix(got[0], "level=WARN ") || !strings.Contains(got[0], "Insecure") {
				t.Errorf("log %q, want one warning that names Insecure", got)
			}
			if kit.TokenShape.MatchString(strings.Join(got, "")) {
				t.Errorf("a token in the log: %q", got)
			}
		}
	})

	t.Run("T12 many requests at once warn once", func(t *testing.T) {
		a := newApp(t, sessions.Config{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { send(a, plain(), change) })
		}
		wg.Wait()
		if got := a.Log.Take(); len(got) != 1 {
			t.Errorf("log %q, want one line", got)
		}
	})

	for _, tc := range []struct {
		desc string
		cfg  sessions.Config
		r    *http.Request
	}{
		{"TLS", sessions.Config{}, kit.With("", "/")},
		{"a proxy that speaks TLS", sessions.Config{}, plain("X-Forwarded-Proto", "https")},
		{"a proxy that says it in capitals", sessions.Config{}, plain("X-Forwarded-Proto", "HTTPS")},
		{"an Insecure cookie", sessions.Config{Transport: sessions.Cookie{Insecure: true}}, plain()},
		{"a token in a header", sessions.Config{Transport: sessions.HeaderToken{}}, plain()},
	} {
		t.Run("T12 no warning with "+tc.desc, func(t *testing.T) {
			a := newApp(t, tc.cfg)
			res := send(a, tc.r, change)
			if len(res.Header["Set-Cookie"])+len(res.Header["Authorization"]) != 1 {
				t.Errorf("no token was sent: %v", res.Header)
			}
			if got := a.Log.Take(); len(got) > 0 {
				t.Errorf("log %q, want nothing", got)
			}
		})
	}
}
