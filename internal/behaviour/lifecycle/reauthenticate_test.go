package lifecycle_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// signIn gives b a session of u1 that is signed in with these options.
func signIn(t *testing.T, a *kit.App, b *kit.Browser, opts ...sessions.SignInOption) kit.Response {
	t.Helper()
	return b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
		s.Owner, s.UserID = kit.Owner, "u1"
		kit.OK(t, a.SignIn(r.Context(), opts...))
	})
}

func TestReauthenticate(t *testing.T) {
	t.Parallel()
	for _, class := range []struct {
		name   string
		opts   []sessions.SignInOption
		idle   time.Duration
		cookie string
	}{
		{"plain", nil, time.Hour, kit.CookieSent},
		{"remembered", []sessions.SignInOption{sessions.Remembered}, 30 * 24 * time.Hour, persistent(30*86400 - 1800)},
	} {
		bubble(t, "L23 Reauthenticate gives a new token and another AuthenticatedAt, and keeps the rest of a "+class.name+" session", kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
			signIn(t, a, b, class.opts...)
			_, want := b.Peek()
			old := b.Clone()
			a.Events.Take()
			a.Store.Calls()
			time.Sleep(30 * time.Minute)
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views = 7
				kit.OK(t, a.Reauthenticate(r.Context()))
				want.AuthenticatedAt, want.LastSeenAt, want.IdleUntil = time.Now(), time.Now(), time.Now().Add(class.idle)
				if want.IdleUntil.After(want.ExpiresAt) {
					want.IdleUntil = want.ExpiresAt
				}
				if got := a.Info(r.Context()); !sameInfo(got, want) {
					t.Errorf("in its request\n got %+v\nwant %+v", got, want)
				}
			})
			a.WantCalls(t, "it", kit.Steps("Load Create CompareAndSwap", "Load CompareAndSwap"))
			kit.WantHeader(t, res.Header, kit.Header(kit.Sends(class.cookie)...))
			if events := a.Events.Take(); len(events) != 1 || events[0].Kind != sessions.EventRenewed || events[0].Op != "reauthenticate" || !sameInfo(events[0].Session, want) {
				t.Errorf("events %+v", events)
			}
			if s, got := b.Peek(); !sameInfo(got, want) || s.UserID != "u1" || s.Views != 7 {
				t.Errorf("in the next request\n got %+v of %+v\nwant %+v", got, s, want)
			}
			if old.Alive() {
				t.Error("the old token is accepted")
			}
		})
	}

	// What it refuses. After that nothing is stored until a sign-in.
	for _, row := range []struct {
		name   string
		before func(t *testing.T, a *kit.App, b *kit.Browser) *kit.Browser // a browser to ask with
		opts   []sessions.SignInOption
		want   string // what the error says; "" is ErrGone
	}{
		{"a visitor without a session", func(_ *testing.T, _ *kit.App, b *kit.Browser) *kit.Browser { return b }, nil, ""},
		{"an unknown token", func(_ *testing.T, _ *kit.App, b *kit.Browser) *kit.Browser { return b.As(kit.UnknownToken(1)) }, nil, ""},
		{"a token of before a renewal", func(t *testing.T, a *kit.App, b *kit.Browser) *kit.Browser {
			signIn(t, a, b)
			late := b.Clone()
			b.Verb("Reauthenticate")
			return late
		}, nil, ""},
		{"a session that expired meanwhile", func(t *testing.T, a *kit.App, b *kit.Browser) *kit.Browser {
			signIn(t, a, b)
			time.Sleep(24 * time.Hour)
			return b
		}, nil, ""},
		{"a session in which nobody has signed in", func(_ *testing.T, _ *kit.App, b *kit.Browser) *kit.Browser {
			b.Edit(func(s *kit.Session) { s.UserID = "u1" })
			return b
		}, nil, "nobody has signed in"},
		{"Remembered", func(t *testing.T, a *kit.App, b *kit.Browser) *kit.Browser {
			signIn(t, a, b)
			return b
		}, []sessions.SignInOption{sessions.Remembered}, "Remembered is for SignIn"},
	} {
		bubble(t, "L23 Reauthenticate fails, and nothing is stored: "+row.name, kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
			b = row.before(t, a, b)
			old := b.Clone()
			s, before := b.Peek()
			a.Store.Calls()
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views = 7
				err := a.Reauthenticate(r.Context(), row.opts...)
				if gone := errors.Is(err, sessions.ErrGone); gone != (row.want == "") || err == nil || !strings.Contains(err.Error(), row.want) {
					t.Errorf("the error is %v", err)
				}
				if err := a.Save(r.Context()); err == nil {
					t.Error("a Save after it stores T")
				}
			})
			kit.WantHeader(t, res.Header, kit.Header(kit.Used...))
			if now, i := old.Peek(); now.Views != s.Views || !sameInfo(i, before) {
				t.Errorf("%+v of %+v became %+v of %+v", before, s, i, now)
			}
			if got := a.Store.Calls(); strings.Contains(got, "Create") || strings.Contains(got, "Swap") {
				t.Errorf("store calls %q", got)
			}
			b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				_ = a.Reauthenticate(r.Context(), sessions.Remembered)
				s.UserID = "u2"
				kit.OK(t, a.SignIn(r.Context()))
			})
			if s, i := b.Peek(); s.UserID != "u2" || !i.AuthenticatedWithin(time.Second) {
				t.Errorf("after a SignIn: %+v, %+v", s, i)
			}
		})
	}
}

// sameInfo compares but for what a moment more or less changes.
func sameInfo(a, b sessions.Info) bool {
	if a.New && b.New {
		a.ID, a.IdleUntil = b.ID, b.IdleUntil
	}
	for _, p := range [][2]*time.Time{
		{&a.CreatedAt, &b.CreatedAt},
		{&a.LastSeenAt, &b.LastSeenAt},
		{&a.AuthenticatedAt, &b.AuthenticatedAt},
		{&a.IdleUntil, &b.IdleUntil},
		{&a.ExpiresAt, &b.ExpiresAt},
	} {
		if p[0].Equal(*p[1]) {
			*p[0] = *p[1]
		}
	}
	return a == b
}

func TestAuthenticatedAt(t *testing.T) {
	t.Parallel()
	const refused = -1
	for _, row := range []struct {
		name string
		at   func(now time.Time) time.Time
		age  time.Duration // as it is kept
	}{
		{"now", func(now time.Time) time.Time { return now }, 0},
		{"an hour ago", func(now time.Time) time.Time { return now.Add(-time.Hour) }, time.Hour},
		{"an hour ago in another zone", func(now time.Time) time.Time { return now.Add(-time.Hour).In(time.FixedZone("x", 3600)) }, time.Hour},
		{"longer ago than Lifetime", func(now time.Time) time.Time { return now.Add(-100 * 24 * time.Hour) }, 100 * 24 * time.Hour},
		{"before 1970", func(now time.Time) time.Time { return now.Add(-50 * 365 * 24 * time.Hour) }, 50 * 365 * 24 * time.Hour},
		{"five minutes ahead", func(now time.Time) time.Time { return now.Add(5 * time.Minute) }, 0},
		{"further ahead", func(now time.Time) time.Time { return now.Add(5*time.Minute + 1) }, refused},
		{"milliseconds taken for seconds", func(now time.Time) time.Time { return time.Unix(now.UnixMilli(), 0) }, refused},
		{"zero", func(time.Time) time.Time { return time.Time{} }, refused},
		{"before the year 1", func(time.Time) time.Time { return time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, refused},
	} {
		for _, verb := range []string{"SignIn of a visitor", "SignIn", "SignIn after the session has ended", "Reauthenticate"} {
			bubble(t, "L29 "+verb+" takes the time of authentication: "+row.name, kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
				if verb != "SignIn of a visitor" {
					signIn(t, a, b)
				}
				began := time.Now()
				time.Sleep(10 * time.Minute)
				now := time.Now()
				b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
					if verb == "SignIn after the session has ended" {
						b.Clone().Verb("Destroy")
					}
					run := a.SignIn
					if verb == "Reauthenticate" {
						run = a.Reauthenticate
					}
					s.UserID = "u2"
					err := run(r.Context(), sessions.AuthenticatedAt(row.at(now)))
					if (err != nil) != (row.age == refused) {
						t.Errorf("the error is %v", err)
					}
				})
				s, i := b.Peek()
				if row.age == refused {
					if s.UserID == "u2" {
						t.Error("T is stored all the same")
					}
					return
				}
				created := now
				if verb == "Reauthenticate" {
					created = began
				}
				if got := now.Sub(i.AuthenticatedAt); got != row.age || s.UserID != "u2" {
					t.Errorf("authenticated %v ago, want %v", got, row.age)
				}
				if !i.CreatedAt.Equal(created) || !i.ExpiresAt.Equal(created.Add(lifetime)) || !i.IdleUntil.Equal(now.Add(time.Hour)) {
					t.Errorf("it moves a deadline: %+v", i)
				}
			})
		}
	}
}

func TestAuthenticatedBy(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, method string
		ok           bool
	}{
		{"none", "", true},
		{"a word", "passkey", true},
		{"a URI", "http://schemas.openid.net/pape/policies/2007/06/multi-factor", true},
		{"what JSON escapes", `a"b\c d`, true},
		{"letters beyond ASCII", "Schlüssel 鍵", true},
		{"128 bytes", strings.Repeat("m", 128), true},
		{"129 bytes", strings.Repeat("m", 129), false},
		{"a new line", "pwd\nadmin", false},
		{"a control character", "pwd\x00", false},
		{"a change of the direction of text", "pwd\u202e", false},
		{"no UTF-8", "pwd\xff", false},
	} {
		for _, verb := range []string{"SignIn", "Reauthenticate"} {
			bubble(t, "L30 Info shows by which method of "+verb+": "+row.name, kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
				signIn(t, a, b, sessions.AuthenticatedBy("before"))
				b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
					run := a.SignIn
					if verb == "Reauthenticate" {
						run = a.Reauthenticate
					}
					if err := run(r.Context(), sessions.AuthenticatedBy(row.method)); (err == nil) != row.ok {
						t.Errorf("the error is %v", err)
					}
				})
				want := row.method
				if !row.ok {
					want = "before"
				}
				if _, i := b.Peek(); i.Method != want {
					t.Errorf("the method is %q, want %q", i.Method, want)
				}
			})
		}
	}

	bubble(t, "L30 the method is that of the last authentication, and of nobody's session", kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		want := func(what, want string) {
			t.Helper()
			if _, i := b.Peek(); i.Method != want {
				t.Errorf("after %s the method is %q, want %q", what, i.Method, want)
			}
		}
		want("nothing", "")
		signIn(t, a, b, sessions.AuthenticatedBy("pwd"))
		want("a sign-in", "pwd")
		for _, verb := range []string{"Renew", "Reload", "Touch"} {
			b.Verb(verb)
			want(verb, "pwd")
		}
		b.Edit(func(s *kit.Session) { s.Views++ })
		want("a save", "pwd")
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			kit.OK(t, a.Reauthenticate(r.Context(), sessions.AuthenticatedBy("pwd"), sessions.AuthenticatedBy("passkey")))
		})
		want("a step-up with two of them", "passkey")
		b.Verb("Reauthenticate")
		want("a step-up that tells none", "")
		signIn(t, a, b, sessions.AuthenticatedBy("pwd"))
		signIn(t, a, b)
		want("a sign-in that tells none", "")
		signIn(t, a, b, sessions.AuthenticatedBy("pwd"))
		b.Verb("Destroy")
		b.Login()
		want("a new session", "")
	})
}

func TestFresh(t *testing.T) {
	t.Parallel()
	// fresh is whether Fresh serves next, and the header of the answer.
	fresh := func(t *testing.T, a *kit.App, b *kit.Browser, d time.Duration) (bool, http.Header) {
		t.Helper()
		answer := func(text string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Served", text) }
		}
		res := b.Raw(a.Fresh(d, answer("next"), answer("stale")).ServeHTTP)
		served := res.Header.Get("Served")
		res.Header.Del("Served")
		return served == "next", res.Header
	}
	bubble(t, "O14 Fresh serves next as long as the authentication is younger than d", kit.Memory, sessions.Config{}, func(t *testing.T, a *kit.App, b *kit.Browser) {
		want := func(what string, d time.Duration, want bool) {
			t.Helper()
			got, h := fresh(t, a, b, d)
			if got != want {
				t.Errorf("%s: next is served: %t", what, got)
			}
			kit.WantHeader(t, h, kit.Header(kit.Used...))
		}
		want("a visitor", time.Hour, false)
		b.Edit(func(s *kit.Session) { s.UserID = "u1" })
		want("nobody has signed in", 1<<62, false)
		signIn(t, a, b)
		want("just signed in", time.Nanosecond, true)
		want("without a time", 0, false)
		want("with a negative one", -time.Hour, false)
		time.Sleep(10*time.Minute - 1)
		want("within the time", 10*time.Minute, true)
		time.Sleep(time.Nanosecond)
		want("after the time", 10*time.Minute, false)
		want("within a longer time", 10*time.Minute+1, true)
		b.Verb("Renew")
		want("after a Renew", 10*time.Minute, false)
		b.Verb("Reauthenticate")
		want("after a Reauthenticate", 10*time.Minute, true)
		signIn(t, a, b, sessions.AuthenticatedAt(time.Now().Add(-time.Hour)))
		want("signed in an hour ago", 10*time.Minute, false)
		signIn(t, a, b)
		late := b.Clone()
		b.Verb("Renew")
		if got, _ := fresh(t, a, late, time.Hour); got {
			t.Error("a token of before a renewal is fresh")
		}
		b.Verb("Destroy")
		want("signed out", time.Hour, false)
	})

	for _, row := range []struct {
		name  string
		cfg   sessions.Config
		want  bool
		calls string
	}{
		{"in a passive request", sessions.Config{Passive: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/once") }}, true, "Load"},
		{"in a request that Skip names", sessions.Config{Skip: func(r *http.Request) bool { return r.Header.Get("Skip") != "" }}, false, ""},
	} {
		t.Run("O14 Fresh "+row.name, func(t *testing.T) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), row.cfg)
			b := a.Browser()
			signIn(t, a, b)
			a.Store.Calls()
			served := ""
			answer := func(text string) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = text })
			}
			r := kit.With(b.Token(), "/once")
			r.Header.Set("Skip", "yes")
			kit.Serve(a.Handler(a.Fresh(time.Hour, answer("next"), answer("stale"))), r)
			if served != map[bool]string{true: "next", false: "stale"}[row.want] {
				t.Errorf("%q is served", served)
			}
			a.WantCalls(t, "it", row.calls)
		})
	}

	t.Run("O14 of nested Managers Fresh asks its own, and stale gets the same request", func(t *testing.T) {
		outer := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Transport: sessions.Cookie{Name: "__Host-outer"}, Realm: "outer"})
		inner := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{})
		h := outer.Handler(inner.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kit.OK(t, inner.SignIn(r.Context()))
			never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is served by the other one") })
			served := 0
			same := http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
				if served++; got != r {
					t.Error("it gets another request")
				}
			})
			outer.Fresh(time.Hour, never, same).ServeHTTP(w, r)
			inner.Fresh(time.Hour, same, never).ServeHTTP(w, r)
			if served != 2 {
				t.Errorf("%d of 2 are served", served)
			}
		})))
		kit.Serve(h, kit.With("", "/"))
	})

	t.Run("O14 without a session in the context, and with a record that cannot be read, nobody is fresh", func(t *testing.T) {
		a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{OnUndecodable: sessions.UndecodableReadOnly})
		stale := 0
		h := a.Fresh(time.Hour, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("next is served") }),
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stale++ }))
		kit.Serve(h, kit.With("", "/"))
		kit.Place(t, a.Store, kit.HandToken, "null")
		kit.Serve(a.Handler(h), kit.With(kit.HandToken, "/"))
		if stale != 2 {
			t.Errorf("%d of 2 are stale", stale)
		}
	})

	t.Run("L29 an authentication by a server whose clock is ahead is fresh, and one without a time never", func(t *testing.T) {
		for at, want := range map[time.Time]bool{time.Now().Add(time.Minute): true, {}: false} {
			if got := (sessions.Info{AuthenticatedAt: at}).AuthenticatedWithin(time.Second); got != want {
				t.Errorf("%v is within a second: %t", at, got)
			}
		}
	})
}
