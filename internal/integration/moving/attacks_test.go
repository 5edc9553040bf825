package moving_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/integration/moving"
	"github.com/typedsessions/sessions/internal/redistest"
)

// inMemory runs the test for each old library that needs no Redis.
func inMemory(t *testing.T, test func(t *testing.T, s *site)) {
	for _, l := range libraries {
		if l.offline {
			t.Run(l.name, func(t *testing.T) { test(t, l.site(t, "", new(sessions.MemoryStore))) })
		}
	}
}

// Whoever has planted a token of the new library, or knows the old one, does not know the token of what is adopted.
func TestAdoptingGivesANewToken(t *testing.T) {
	inMemory(t, func(t *testing.T, s *site) {
		attacker, b := s.browser(), s.browser()
		attacker.do(t, "after.pear after~pear")
		b.do(t, "old+ann")
		b.cookies[cookie] = attacker.cookies[cookie]
		b.do(t, "after=ann after~")
		if b.cookies[cookie] == attacker.cookies[cookie] {
			t.Error("the planted token is ann's now")
		}
		attacker.do(t, "after=")
	})
}

// A copy of the old cookie opens nothing when the old session has ended, but that a CookieStore cannot end any: there
// only RevokedAt helps.
func TestCopyOfTheOldCookie(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann")
		thief := b.clone()
		b.do(t, "after=ann")
		time.Sleep(time.Minute)
		b.do(t, "after=ann")
		if s.name == "scs in memory" {
			thief.do(t, "after= old=")
			return
		}
		thief.do(t, "old=ann")
		s.revoked["ann"] = time.Now()
		thief.do(t, "after= beside=")
		b.do(t, "after=ann")
	})
}

func TestRevokedBeforeItWasAdopted(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b, later := s.browser(), s.browser()
		b.do(t, "old+ann")
		time.Sleep(time.Hour)
		s.revoked["ann"] = time.Now()
		b.do(t, "beside= after=")
		later.do(t, "old+ann beside=ann")
		b.do(t, "beside+ann beside=ann")
	})
}

// A sign-in in a new build ends the old session from before, where the library can do that.
func TestSignInEndsTheOldSession(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range libraries {
		if l.offline {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			for _, build := range []string{"beside", "after"} {
				b := onRedis(t, l, server).browser()
				b.do(t, "old+ann")
				thief := b.clone()
				b.do(t, build+"+bob")
				thief.do(t, "old= "+build+"=")
			}
		})
	}
}

// An administrator has deleted the record of the old session.
func TestRevokedInTheOldStore(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range libraries {
		if l.offline {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			s := onRedis(t, l, server)
			b, fresh := s.browser(), s.browser()
			b.do(t, "old+ann beside=ann")
			fresh.do(t, "old+ann")
			rdb := server.Client(t)
			for _, pattern := range []string{"scs:session:*", "session_*"} {
				if keys := rdb.Keys(t.Context(), pattern).Val(); len(keys) > 0 {
					rdb.Del(t.Context(), keys...)
				}
			}
			b.do(t, "beside= old=")
			fresh.do(t, "beside= after= old=")
		})
	}
}

// The browser has sent a request with the old cookie, and signs out while that is adopted.
func TestSignOutDuringAdoption(t *testing.T) {
	for _, build := range []string{"beside", "after"} {
		inBubble(t, func(t *testing.T, s *site) {
			b := s.browser()
			b.do(t, "old+ann "+build+"=ann")
			slow := b.clone()
			delete(slow.cookies, cookie)
			release := make(chan bool)
			s.old.read = func() { <-release }
			answer := make(chan *httptest.ResponseRecorder)
			go func() { answer <- slow.send(build, "GET", "/") }()
			synctest.Wait()
			s.old.read = nil
			b.do(t, build+"-")
			close(release)
			b.keep(<-answer)
			if b.cookies[cookie] == "" {
				t.Fatal("the slow request has adopted nothing")
			}
			b.do(t, build+"= old=")
		})
	}
}

func TestForeignCookies(t *testing.T) {
	server := redistest.Start(t)
	other := map[string]string{}
	for _, l := range libraries {
		b := onRedis(t, l, server).browser()
		b.do(t, "old+ann")
		other[l.name] = b.cookies[l.cookie]
	}
	for _, l := range libraries {
		s := onRedis(t, l, server)
		for name, value := range map[string]string{
			"empty": "", "short": "x", "long": strings.Repeat("A", 16<<10), "binary": "\x01\x02;", "base64": "MTIzfGFiY3xkZWY=",
			"another store's": other["redistore"], "scs's": other["scs"], "of a number": "1",
		} {
			t.Run(l.name+"/"+name, func(t *testing.T) {
				for _, build := range []string{"beside", "after"} {
					b := s.browser()
					b.cookies[l.cookie] = value
					w := b.send(build, "GET", "/")
					if w.Code != http.StatusOK || w.Body.String() != " " || len(w.Header()["Set-Cookie"]) != 0 {
						t.Errorf("%d %q, cookies %q", w.Code, w.Body, w.Header()["Set-Cookie"])
					}
					b.do(t, fmt.Sprintf("%[1]s+ann %[1]s=ann %[1]s- %[1]s=", build))
				}
			})
		}
	}
}

func TestExpiredOldSession(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann")
		time.Sleep(30*day + time.Second)
		b.do(t, "beside= after= old=")
	})
}

// What is too large to be kept is not adopted, and not signed out of the old builds.
func TestOversize(t *testing.T) {
	for _, l := range libraries[1:2] {
		s := l.site(t, "", new(sessions.MemoryStore))
		b := s.browser()
		b.do(t, "old+ann old."+strings.Repeat("A", 100<<10))
		if w := b.send("beside", "GET", "/"); w.Code != http.StatusServiceUnavailable || len(w.Result().Cookies()) != 0 {
			t.Errorf("%d, cookies %v", w.Code, w.Result().Cookies())
		}
		b.do(t, "old=ann")
	}
}

// While the old store does not answer nobody is signed out, and who has only an old session is told to come again.
func TestOldStoreIsDown(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			s := l.site(t, server.Addr, new(sessions.MemoryStore))
			adopted, fresh, visitor := s.browser(), s.browser(), s.browser()
			adopted.do(t, "old+ann beside=ann")
			fresh.do(t, "old+bob")
			if l.offline {
				s.old.err = errors.New("down")
			} else {
				server.Kill()
				defer server.Restart()
				visitor.do(t, "beside= after=")
			}
			adopted.do(t, "beside=ann after=ann beside.pear after~pear")
			for _, build := range []string{"beside", "after"} {
				w := fresh.send(build, "GET", "/")
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || len(w.Result().Cookies()) != 0 {
					t.Errorf("%d, %v", w.Code, w.Header())
				}
				if w := adopted.clone().send(build, "POST", "/signout"); w.Code != http.StatusServiceUnavailable || len(w.Result().Cookies()) != 0 {
					t.Errorf("a sign-out: %d, %v", w.Code, w.Header())
				}
				if w := fresh.clone().send(build, "POST", "/signin?user=bob"); w.Code != http.StatusServiceUnavailable {
					t.Errorf("a sign-in: %d, %v", w.Code, w.Header())
				}
			}
		})
	}
}

// The new store is down: nothing is adopted, and the old builds go on.
func TestNewStoreIsDown(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range libraries {
		if !l.offline {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			s := l.site(t, "", sessions.NewRedisStore(server.Client(t), sessions.RedisConfig{}))
			b := s.browser()
			b.do(t, "old+ann")
			server.Kill()
			if w := b.send("beside", "GET", "/"); w.Code != http.StatusServiceUnavailable || len(w.Result().Cookies()) != 0 {
				t.Errorf("%d, %v", w.Code, w.Header())
			}
			b.do(t, "old=ann")
			server.Restart()
			b.do(t, "beside=ann")
		})
	}
}

// Of cookies with different SameSite a browser may send one without the other.
func TestRequestsOfOtherSites(t *testing.T) {
	inMemory(t, func(t *testing.T, s *site) {
		const site, mode = "Sec-Fetch-Site", "Sec-Fetch-Mode"
		b := s.browser()
		b.do(t, "old+ann")
		for _, test := range []struct {
			method, mode string
			user         string
		}{{"POST", "navigate", " "}, {"GET", "no-cors", " "}, {"GET", "navigate", "ann "}} {
			w := b.clone().send("beside", test.method, "/", site, "cross-site", mode, test.mode)
			if test.method == "GET" && w.Body.String() != test.user || (len(w.Result().Cookies()) == 1) != (test.user == "ann ") {
				t.Errorf("%+v: %q, cookies %v", test, w.Body, w.Result().Cookies())
			}
		}
		b.do(t, "beside=ann")
		half := b.clone()
		delete(half.cookies, s.cookie)
		if w := half.send("beside", "GET", "/", site, "cross-site", mode, "navigate"); w.Body.String() != "ann " {
			t.Errorf("a link of another site signs out: %q", w.Body)
		}
		b.do(t, "beside=ann")
	})
}

// No response that shows a session may be kept by a cache, also where the old library has written its cookie.
func TestCaches(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		b := s.browser()
		check := func(what, want string) {
			t.Helper()
			w := b.send("after", "GET", "/")
			if got := w.Header().Get("Cache-Control"); !strings.Contains(got, want) || w.Header().Get("Vary") != "Cookie" {
				t.Errorf("%s: Cache-Control %q, Vary %q", what, got, w.Header().Values("Vary"))
			}
		}
		b.do(t, "old+ann")
		check("adopting", "no-store")
		check("a page", "private")
		time.Sleep(time.Minute)
		if s.name == "scs in memory" {
			check("ending the old session", "no-store")
		} else {
			check("ending the old session", "private")
		}
	})
}

// A user whose requests all reach new builds does not become idle in the old ones, nor does the old cookie end.
func TestIdleTimeoutOfSCS(t *testing.T) {
	server := redistest.Start(t)
	s := onRedis(t, libraries[0], server)
	rdb := server.Client(t)
	b := s.browser()
	b.do(t, "old++ann beside=ann")
	record := "scs:session:" + b.cookies["session"]
	if w := b.send("beside", "GET", "/"); len(w.Result().Cookies()) != 0 {
		t.Errorf("an active user is sent %v", w.Result().Cookies())
	}
	rdb.PExpire(t.Context(), record, 29*time.Minute)
	b.persist["session"] = 0
	w := b.send("beside", "GET", "/")
	if left := rdb.PTTL(t.Context(), record).Val(); left < 59*time.Minute || b.persist["session"] < 59*60 {
		t.Errorf("%v are left, and of the cookie %d seconds", left, b.persist["session"])
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	s.old.Old.(moving.SCS).IdleTimeout = 90 * day
	b.do(t, "beside=ann")
	if left := rdb.PTTL(t.Context(), record).Val(); left > 30*day {
		t.Errorf("%v are left, more than until the deadline", left)
	}
}

// A sign-out while a request is under way: the touch, which follows, does not bring the session back.
func TestTouchAfterSignOut(t *testing.T) {
	server := redistest.Start(t)
	s := onRedis(t, libraries[0], server)
	rdb := server.Client(t)
	b := s.browser()
	b.do(t, "old++ann beside=ann")
	record := "scs:session:" + b.cookies["session"]
	old := s.old.Old.(moving.SCS)
	old.Store = after{old.Store.(scs.CtxStore), func() { rdb.Del(t.Context(), record) }}
	if w := b.send("beside", "GET", "/"); len(w.Result().Cookies()) != 0 {
		t.Errorf("cookies %v", w.Result().Cookies())
	}
	if n := rdb.Exists(t.Context(), record).Val(); n != 0 {
		t.Error("the session is there again")
	}
	b.do(t, "beside= old=")
}

// after is a store of scs that calls a function when it has found a session.
type after struct {
	scs.CtxStore
	found func()
}

func (s after) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	data, found, err := s.CtxStore.FindCtx(ctx, token)
	s.found()
	return data, found, err
}

// Whoever has set a deadline, or another Lifetime, has hidden from scs when its user signed in.
func TestDeadlineOfSCS(t *testing.T) {
	s := libraries[1].site(t, "", new(sessions.MemoryStore))
	b := s.browser()
	b.do(t, "old+ann")
	s.old.Old.(moving.SCS).Lifetime = day
	b.do(t, "beside=ann")
	if info := b.info(t); info.AuthenticatedWithin(30 * day) {
		t.Errorf("authenticated at %v", info.AuthenticatedAt)
	}
}

// A request without a session has none that could be adopted.
func TestSkipped(t *testing.T) {
	inMemory(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.do(t, "old+ann")
		if w := b.send("beside", "GET", "/", "Skip", "1"); w.Code != http.StatusOK || len(w.Result().Cookies()) != 0 {
			t.Errorf("%d, %v", w.Code, w.Header())
		}
	})
}

// A browser that hangs up has signed out all the same.
func TestSignOutWithoutWaiting(t *testing.T) {
	server := redistest.Start(t)
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			b := onRedis(t, l, server).browser()
			b.do(t, "old+ann beside=ann")
			ctx, hangUp := context.WithCancel(t.Context())
			b.builds["gone"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b.builds["beside"].ServeHTTP(w, r.WithContext(ctx))
			})
			b.old.read = hangUp
			b.do(t, "gone-")
			b.old.read = nil
			b.do(t, "old= beside=")
		})
	}
}
