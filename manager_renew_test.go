package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
)

func TestLifecycleRenewal(t *testing.T) {
	for name, verb := range map[string]func(*app, context.Context) error{
		"Renew":  func(a *app, ctx context.Context) error { return a.m.Renew(ctx) },
		"SignIn": func(a *app, ctx context.Context) error { return a.m.SignIn(ctx) },
	} {
		t.Run("L12 "+name+" gives a new token and keeps the data and the ID, and the old token is dead", func(t *testing.T) {
			eachStack(t, func(t *testing.T, st stack) {
				a, log := st.app(t, sessions.Config{})
				b := st.browser(a)
				b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
				old := b.token()
				_, before := b.peek()
				log.take()
				res := b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
					s.Views++
					do1(t, func(ctx context.Context) error { return verb(a, ctx) }, r.Context())
					fmt.Fprint(w, "1")
				})
				wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
				wantCalls(t, log, "the renewal", "Load Create CompareAndSwap")
				if b.token() == old || b.token() == "" {
					t.Fatalf("the token is %q after %q", b.token(), old)
				}
				want := full()
				want.Views++
				s, after := b.peek()
				if !reflect.DeepEqual(s, want) {
					t.Errorf("data after: %+v, want %+v", s, want)
				}
				if after.ID != before.ID || after.New {
					t.Errorf("%+v became %+v", before, after)
				}
				if s, i := b.as(old).peek(); !i.New || !reflect.DeepEqual(s, Session{}) {
					t.Errorf("the old token finds %+v, %+v", s, i)
				}
			})
		})
	}
}

func TestExpiryOfRenewals(t *testing.T) {
	const lifetime = 24 * time.Hour

	bubble(t, "L12 a sign-in restarts CreatedAt, Lifetime and AuthenticatedAt, and a renewal none of them", memory, sessions.Config{}, func(t *testing.T, v *guest) {
		v.login()
		_, first := v.look()
		if !first.AuthenticatedAt.IsZero() {
			t.Errorf("authenticated at %v before any sign-in", first.AuthenticatedAt)
		}
		time.Sleep(30 * time.Minute)
		v.visit(func(ctx context.Context, _ *Session) {
			do1(t, func(ctx context.Context) error { return v.m.SignIn(ctx) }, ctx)
		})
		_, signed := v.look()
		now := time.Now()
		if !signed.CreatedAt.Equal(now) || !signed.AuthenticatedAt.Equal(now) || !signed.ExpiresAt.Equal(now.Add(lifetime)) || signed.ID != first.ID {
			t.Errorf("after the sign-in at %v: %+v", now, signed)
		}
		time.Sleep(30 * time.Minute)
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		_, renewed := v.look()
		if !renewed.CreatedAt.Equal(signed.CreatedAt) || !renewed.AuthenticatedAt.Equal(signed.AuthenticatedAt) || !renewed.ExpiresAt.Equal(signed.ExpiresAt) {
			t.Errorf("after the renewal: %+v, before %+v", renewed, signed)
		}
	})

	bubble(t, "L12 the mark of a renewal does not make the old token valid again, ever", immortal, sessions.Config{}, func(t *testing.T, v *guest) {
		v.login()
		old := v.clone()
		v.visit(func(ctx context.Context, _ *Session) { do1(t, v.m.Renew, ctx) })
		for range 10 {
			if old.clone().alive() {
				t.Fatal("the old token is accepted")
			}
			if !v.alive() {
				t.Fatal("the new token is refused")
			}
			time.Sleep(3 * time.Second)
		}
	})
}

// The steps of a renewal: whatever ends the process between them, one of the
// tokens is valid, and no response has carried the new one too early.
func TestRenewalCrashes(t *testing.T) {
	type crash struct{ when, op string }
	for _, at := range []crash{{"before", "Create"}, {"after", "Create"}, {"before", "CompareAndSwap"}, {"after", "CompareAndSwap"}} {
		t.Run("L12 a crash "+at.when+" "+at.op+" leaves a live session", func(t *testing.T) {
			eachCodec(t, func(t *testing.T, c sessions.Codec) {
				for _, verb := range []string{"Renew", "SignIn"} {
					spy := &spyStore{Store: &sessions.MemoryStore{}}
					store := &stepStore{Store: spy}
					v := newGuest(t, newManager[Session](t, store, sessions.Config{Codec: c})).login()
					var h http.Header
					old := v.clone()
					step := func(when string) func(op, _ string) error {
						return func(op, _ string) error {
							if op == "Load" {
								return nil
							}
							if len(h["Set-Cookie"]) > 0 {
								t.Errorf("%s %s the new token is in the header", when, op)
							}
							alive := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c}))
							alive.jar = old.jar
							if want := op == "Create" || when == "before"; alive.alive() != want {
								t.Errorf("%s %s the old token is valid: %v", when, op, !want)
							}
							if (crash{when, op}) == at {
								panic(http.ErrAbortHandler)
							}
							return nil
						}
					}
					store.before, store.after = step("before"), step("after")
					crashed := func() (crashed bool) {
						defer func() { crashed = recover() != nil }()
						v.raw(func(w http.ResponseWriter, r *http.Request) {
							h = w.Header()
							if verb == "SignIn" {
								_ = v.m.SignIn(r.Context())
							} else {
								_ = v.m.Renew(r.Context())
							}
						})
						return false
					}()
					if !crashed {
						t.Fatal("no crash")
					}
					store.before, store.after = nil, nil
					live, marks := spy.left(t)
					if live == 0 {
						t.Errorf("%s: no session lives", verb)
					}
					if claimed := at == (crash{"after", "CompareAndSwap"}); old.alive() == claimed || claimed != (marks == 1) {
						t.Errorf("%s: the old token is valid: %v, with %d marks", verb, !claimed, marks)
					}
				}
			})
		})
	}
}
