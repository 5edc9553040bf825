package lifecycle_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// persistent is the cookie of a session that is kept for so long.
func persistent(seconds int) string {
	return strings.Replace(kit.CookieSent, "; HttpOnly", fmt.Sprintf("; Max-Age=%d; HttpOnly", seconds), 1)
}

func TestCookieExpiry(t *testing.T) {
	t.Parallel()
	bubble(t, "L9 a cookie that does not persist has neither Max-Age nor Expires", kit.Memory, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		kit.WantHeader(t, b.Edit(func(s *kit.Session) { s.Views = 1 }).Header, kit.Header(kit.Sends(kit.CookieSent)...))
	})

	bubble(t, "L9 a persistent cookie's Max-Age is what is left of Lifetime, at creation and renewal only", kit.Memory, sessions.Config{Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		want := func(what string, res kit.Response, cookie string) {
			t.Helper()
			h := kit.Used
			if cookie != "" {
				h = kit.Sends(cookie)
			}
			t.Log(what)
			kit.WantHeader(t, res.Header, kit.Header(h...))
		}
		want("creation", b.Edit(func(s *kit.Session) { s.Views++ }), persistent(86400))
		time.Sleep(30 * time.Minute)
		want("read", b.Edit(func(*kit.Session) {}), "")
		want("change", b.Edit(func(s *kit.Session) { s.Views++ }), "")
		want("touch", b.Verb("Touch"), "")
		want("reload", b.Verb("Reload"), "")
		want("renewal", b.Verb("Renew"), persistent(86400-1800))
		time.Sleep(30 * time.Minute)
		want("sign-in", b.Verb("SignIn"), persistent(86400))
	})

	bubble(t, "L9 a persistent cookie without a Lifetime lasts the 400 days that browsers keep it", kit.Memory, sessions.Config{Lifetime: -1, Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		res := b.Edit(func(s *kit.Session) { s.Views++ })
		kit.WantHeader(t, res.Header, kit.Header(kit.Sends(persistent(400*86400))...))
	})

	const day = 24 * time.Hour
	remember := sessions.Config{Remember: sessions.Remember{IdleTimeout: 7 * day, Lifetime: 60 * day}}
	rememberMe := func(t *testing.T, a *kit.App, b *kit.Browser) kit.Response {
		return b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.UserID = "u1"
			kit.OK(t, a.SignIn(r.Context(), sessions.Remembered))
		})
	}
	bubble(t, "L9 a remembered session is persistent with timeouts of its own, through reload, save and renewal", kit.Memory, remember, func(t *testing.T, a *kit.App, b *kit.Browser) {
		res := rememberMe(t, a, b)
		kit.WantHeader(t, res.Header, kit.Header(kit.Sends(persistent(60*86400))...))
		start := time.Now()
		check := func(what string) {
			t.Helper()
			s, i := b.Peek()
			if !i.Remembered || s.UserID != "u1" || !i.IdleUntil.Equal(time.Now().Add(7*day)) || !i.ExpiresAt.Equal(start.Add(60*day)) {
				t.Fatalf("after %s, %v after the start: %+v, %+v", what, time.Since(start), s, i)
			}
		}
		check("the sign-in")
		for what, f := range map[string]func(){
			"a read":    func() { b.Edit(func(*kit.Session) {}) },
			"a reload":  func() { b.Verb("Reload") },
			"a touch":   func() { b.Verb("Touch") },
			"a save":    func() { b.Edit(func(s *kit.Session) { s.Views++ }) },
			"a renewal": func() { b.Verb("Renew") },
		} {
			f()
			time.Sleep(7*day - time.Second) // what f left behind has to last that long
			check(what)
		}
		res = b.Verb("Renew")
		left := 60*86400 - int(time.Since(start).Seconds())
		kit.WantHeader(t, res.Header, kit.Header(kit.Sends(persistent(left))...))
		time.Sleep(7*day + time.Second)
		if b.Alive() {
			t.Error("alive after its idle timeout")
		}
	})

	bubble(t, "L9 a remembered session ends with the Lifetime of Remember", kit.Immortal, remember, func(t *testing.T, a *kit.App, b *kit.Browser) {
		rememberMe(t, a, b)
		time.Sleep(60*day - time.Second)
		if !b.Alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(time.Second)
		if b.Alive() {
			t.Error("alive after its Lifetime")
		}
	})

	bubble(t, "L9 a sign-in without Remembered takes the long timeouts and the persistent cookie away", kit.Memory, remember, func(t *testing.T, a *kit.App, b *kit.Browser) {
		rememberMe(t, a, b)
		res := b.Verb("SignIn")
		kit.WantHeader(t, res.Header, kit.Header(kit.Sends(kit.CookieSent)...))
		if _, i := b.Peek(); i.Remembered || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Second)
		if b.Alive() {
			t.Error("alive after the plain idle timeout")
		}
	})

	bubble(t, "L9 the class letter of a token cannot be changed to get other timeouts", kit.Memory, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		if b.As("r" + b.Login().Token()[1:]).Alive() {
			t.Error("a plain session is accepted as a remembered one")
		}
	})
}
