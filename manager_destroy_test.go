package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestLifecycleEnd(t *testing.T) {
	t.Run("L8 L10 with SaveUninitialized, Destroy still expires the cookie and leaves no session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{SaveUninitialized: true})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			res := b.raw(func(w http.ResponseWriter, r *http.Request) {
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the sign-out", "Load CompareAndSwap")
		})
	})

	t.Run("L10 Destroy removes the record and expires the cookie, and a replay finds nothing", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			old := b.token()
			log.take()
			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				do1(t, a.m.Destroy, r.Context())
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("*T after Destroy: %+v", *s)
				}
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", expiredCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the sign-out", "Load CompareAndSwap")
			if got := b.token(); got != "" {
				t.Errorf("the jar still has %q", got)
			}
			if s, i := b.as(old).peek(); !i.New || s.UserID != "" {
				t.Errorf("the replayed cookie finds %+v, %+v", s, i)
			}
		})
	})

	t.Run("L10 the cookie is expired with the name, path, domain and flags it was set with", func(t *testing.T) {
		rows := []sessions.Cookie{
			{},
			{Persist: true},
			{Domain: "example.test"},
			{Path: "/app"},
			{Name: "sid", Domain: "example.test", Path: "/app", SameSite: http.SameSiteStrictMode},
			{SameSite: http.SameSiteNoneMode, Partitioned: true},
			{Insecure: true},
		}
		for _, row := range rows {
			t.Run(fmt.Sprintf("%+v", row), func(t *testing.T) {
				v := newGuest(t, newManager[Session](t, &sessions.MemoryStore{}, sessions.Config{Transport: row}))
				lines := [2]*http.Cookie{}
				for i, f := range []func(context.Context, *Session){
					func(_ context.Context, s *Session) { s.UserID = "u1" },
					func(ctx context.Context, _ *Session) { do1(t, v.m.Destroy, ctx) },
				} {
					set := v.visit(f).Header["Set-Cookie"]
					if len(set) != 1 {
						t.Fatalf("response %d: Set-Cookie %q", i, set)
					}
					c, err := http.ParseSetCookie(set[0])
					if err != nil {
						t.Fatal(err)
					}
					lines[i] = c
				}
				if c := lines[1]; c.MaxAge >= 0 || c.Value != "" {
					t.Errorf("not expired: %q", c.Raw)
				}
				for _, c := range lines {
					c.Value, c.MaxAge, c.Expires, c.RawExpires, c.Raw = "", 0, time.Time{}, "", ""
				}
				if !reflect.DeepEqual(lines[0], lines[1]) {
					t.Errorf("set as %v, expired as %v", lines[0], lines[1])
				}
			})
		}
	})

	t.Run("L11 writing after Destroy starts another session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				*s = full()
				do1(t, func(ctx context.Context) error { return a.m.SignIn(ctx, sessions.Remembered) }, r.Context())
			})
			oldToken := b.token()
			_, old := b.peek()
			log.take()
			res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				do1(t, a.m.Destroy, r.Context())
				s.Views = 7
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "Load CompareAndSwap Create")
			s, i := b.peek()
			if !reflect.DeepEqual(s, Session{Views: 7}) {
				t.Errorf("the new session holds %+v", s)
			}
			if b.token() == oldToken || i.ID == old.ID || i.Remembered || !i.AuthenticatedAt.IsZero() || i.CreatedAt.Before(old.CreatedAt) {
				t.Errorf("the new session %+v is not new after %+v", i, old)
			}
			if _, i := b.as(oldToken).peek(); !i.New {
				t.Error("the old token is accepted")
			}
		})
	})

	t.Run("L11 destroying what was never stored makes no store call", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			res := st.browser(a).visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.Views = 5
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "")
		})
	})

	t.Run("L11 destroying what an unknown token stood for neither deletes nor expires anything", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			b = b.as("s" + strings.Repeat("A", 26))
			res := b.visit(func(w http.ResponseWriter, r *http.Request, _ *Session) {
				do1(t, a.m.Destroy, r.Context())
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "Load")
		})
	})
}
