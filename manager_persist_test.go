package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestExpiryOfCookies(t *testing.T) {
	const idle = time.Hour

	t.Run("L9 a cookie that does not persist has neither Max-Age nor Expires", func(t *testing.T) {
		// Its whole line is compared in L1, L12 and L13.
		wantHeader(t, newGuest(t, newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})).visit(func(_ context.Context, s *Session) { s.Views = 1 }).Header,
			http.Header{"Set-Cookie": {plainCookie}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
	})

	persistent := func(seconds int) string {
		return strings.Replace(plainCookie, "; HttpOnly", fmt.Sprintf("; Max-Age=%d; HttpOnly", seconds), 1)
	}
	bubble(t, "L9 a persistent cookie's Max-Age is what is left of Lifetime, at creation and renewal only", memory, sessions.Config{Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, v *guest) {
		want := func(what string, res *http.Response, cookie string) {
			t.Helper()
			h := http.Header{"Cache-Control": {"private"}, "Vary": {"Cookie"}}
			if cookie != "" {
				h["Set-Cookie"], h["Cache-Control"] = []string{cookie}, []string{"private, no-store"}
			}
			t.Log(what)
			wantHeader(t, res.Header, h)
		}
		want("creation", v.visit(func(_ context.Context, s *Session) { s.Views++ }), persistent(86400))
		time.Sleep(30 * time.Minute)
		want("read", v.visit(func(context.Context, *Session) {}), "")
		want("change", v.visit(func(_ context.Context, s *Session) { s.Views++ }), "")
		want("touch", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) }), "")
		want("reload", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Reload, ctx) }), "")
		want("renewal", v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) }), persistent(86400-1800))
		time.Sleep(30 * time.Minute)
		want("sign-in", v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		}), persistent(86400))
	})

	bubble(t, "L9 a persistent cookie without a Lifetime lasts the 400 days that browsers keep it", memory, sessions.Config{Lifetime: -1, Transport: sessions.Cookie{Persist: true}}, func(t *testing.T, v *guest) {
		res := v.visit(func(_ context.Context, s *Session) { s.Views++ })
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(400 * 86400)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
	})

	const day = 24 * time.Hour
	remember := sessions.Config{Remember: sessions.Remember{IdleTimeout: 7 * day, Lifetime: 60 * day}}
	rememberMe := func(t *testing.T, v *guest) *http.Response {
		return v.visit(func(ctx context.Context, s *Session) {
			s.UserID = "u1"
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx, sessions.Remembered) }, ctx)
		})
	}
	bubble(t, "L9 a remembered session is persistent with timeouts of its own, through reload, save and renewal", memory, remember, func(t *testing.T, v *guest) {
		res := rememberMe(t, v)
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(60 * 86400)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		start := time.Now()
		check := func(what string) {
			t.Helper()
			s, i := v.look()
			if !i.Remembered || s.UserID != "u1" || !i.IdleUntil.Equal(time.Now().Add(7*day)) || !i.ExpiresAt.Equal(start.Add(60*day)) {
				t.Fatalf("after %s, %v after the start: %+v, %+v", what, time.Since(start), s, i)
			}
		}
		check("the sign-in")
		for what, f := range map[string]func(ctx context.Context, s *Session){
			"a read":    func(context.Context, *Session) {},
			"a reload":  func(ctx context.Context, _ *Session) { do1(t, v.m.Reload, ctx) },
			"a touch":   func(ctx context.Context, _ *Session) { do1(t, v.m.Touch, ctx) },
			"a save":    func(_ context.Context, s *Session) { s.Views++ },
			"a renewal": func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) },
		} {
			v.visit(f)
			time.Sleep(7*day - time.Second) // what f left behind has to last that long
			check(what)
		}
		res = v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		left := 60*86400 - int(time.Since(start).Seconds())
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {persistent(left)}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		time.Sleep(7*day + time.Second)
		if v.alive() {
			t.Error("alive after its idle timeout")
		}
	})

	bubble(t, "L9 a remembered session ends with the Lifetime of Remember", immortal, remember, func(t *testing.T, v *guest) {
		rememberMe(t, v)
		time.Sleep(60*day - time.Second)
		if !v.alive() {
			t.Fatal("gone too early")
		}
		time.Sleep(time.Second)
		if v.alive() {
			t.Error("alive after its Lifetime")
		}
	})

	bubble(t, "L9 a sign-in without Remembered takes the long timeouts and the persistent cookie away", memory, remember, func(t *testing.T, v *guest) {
		rememberMe(t, v)
		res := v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		})
		wantHeader(t, res.Header, http.Header{"Set-Cookie": {plainCookie}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
		if _, i := v.look(); i.Remembered || !i.IdleUntil.Equal(time.Now().Add(idle)) {
			t.Errorf("%+v", i)
		}
		time.Sleep(idle + time.Second)
		if v.alive() {
			t.Error("alive after the plain idle timeout")
		}
	})

	t.Run("L9 the class letter of a token cannot be changed to get other timeouts", func(t *testing.T) {
		m := newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{})
		v := newGuest(t, m).login()
		for name, token := range v.jar {
			v.jar[name] = "r" + token[1:]
		}
		if v.alive() {
			t.Error("a plain session is accepted as a remembered one")
		}
	})
}
