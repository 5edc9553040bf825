package lifecycle_test

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestRenewal(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"Renew", "SignIn", "Reauthenticate"} {
		kit.EachStack(t, "L12 L23 "+verb+" gives a new token and keeps the data and the ID, and the old token is dead", func(t *testing.T, st kit.Stack) {
			a := st.App(t, sessions.Config{})
			b := a.Browser()
			b.Edit(func(s *kit.Session) { *s = kit.Full() })
			b.Verb("SignIn")
			old := b.Token()
			_, before := b.Peek()
			a.Store.Calls()
			res := b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views++
				kit.OK(t, kit.Call(a.Manager, r.Context(), verb))
				fmt.Fprint(w, "1")
			})
			kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieSent)...))
			a.WantCalls(t, "the renewal", kit.Steps("Load Create CompareAndSwap", "Load CompareAndSwap"))
			if b.Token() == old || b.Token() == "" {
				t.Fatalf("the token is %q after %q", b.Token(), old)
			}
			want := kit.Full()
			want.Views++
			s, after := b.Peek()
			if !reflect.DeepEqual(s, want) {
				t.Errorf("data after: %+v, want %+v", s, want)
			}
			if after.ID != before.ID || after.New {
				t.Errorf("%+v became %+v", before, after)
			}
			if s, i := b.As(old).Peek(); !i.New || !reflect.DeepEqual(s, kit.Session{}) {
				t.Errorf("the old token finds %+v, %+v", s, i)
			}
		})
	}
}

func TestRenewalInTime(t *testing.T) {
	t.Parallel()
	bubble(t, "L12 a sign-in restarts CreatedAt, Lifetime and AuthenticatedAt, and a renewal none of them", kit.Memory, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		_, first := b.Peek()
		if first.AuthenticatedAt.IsZero() != (kit.Owner == "") {
			t.Errorf("authenticated at %v before any sign-in", first.AuthenticatedAt)
		}
		time.Sleep(30 * time.Minute)
		b.Verb("SignIn")
		_, signed := b.Peek()
		now := time.Now()
		if !signed.CreatedAt.Equal(now) || !signed.AuthenticatedAt.Equal(now) || !signed.ExpiresAt.Equal(now.Add(lifetime)) || signed.ID != first.ID {
			t.Errorf("after the sign-in at %v: %+v", now, signed)
		}
		time.Sleep(30 * time.Minute)
		b.Verb("Renew")
		_, renewed := b.Peek()
		if !renewed.CreatedAt.Equal(signed.CreatedAt) || !renewed.AuthenticatedAt.Equal(signed.AuthenticatedAt) || !renewed.ExpiresAt.Equal(signed.ExpiresAt) {
			t.Errorf("after the renewal: %+v, before %+v", renewed, signed)
		}
	})

	bubble(t, "L12 the mark of a renewal does not make the old token valid again, ever", kit.Immortal, sessions.Config{}, func(t *testing.T, _ *kit.App, b *kit.Browser) {
		b.Login()
		old := b.Clone()
		b.Verb("Renew")
		for range 10 {
			if old.Clone().Alive() {
				t.Fatal("the old token is accepted")
			}
			if !b.Alive() {
				t.Fatal("the new token is refused")
			}
			time.Sleep(3 * time.Second)
		}
	})
}

// A process that ends between the steps of a renewal leaves one valid token (which, internal/protocol has),
// and no response has carried the new one before the old one was dead.
func TestRenewalCrashes(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"Renew", "SignIn", "Reauthenticate"} {
		t.Run("L12 L23 no response has the new token before the claim, and a crash of "+verb+" after it leaves a live session", func(t *testing.T) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				inner := &kit.Store{Store: kit.Memory()}
				a := kit.NewApp(t, kit.InProcess, &kit.Store{Store: inner}, sessions.Config{Codec: c})
				other := kit.NewApp(t, kit.InProcess, inner, sessions.Config{Codec: c})
				b := a.Browser()
				signIn(t, a, b)
				old := b.Clone().To(other)
				var h http.Header
				step := func(when string) func(op, _ string) error {
					return func(op, _ string) error {
						if op == "Load" {
							return nil
						}
						if len(h["Set-Cookie"]) > 0 {
							t.Errorf("%s %s the new token is in the header", when, op)
						}
						claimed := when+" "+op == "after CompareAndSwap"
						if old.Clone().Alive() == claimed {
							t.Errorf("%s %s the old token is valid: %v", when, op, !claimed)
						}
						if claimed {
							panic(http.ErrAbortHandler)
						}
						return nil
					}
				}
				a.Store.Before, a.Store.After = step("before"), step("after")
				func() {
					defer func() {
						if recover() == nil {
							t.Error("no crash")
						}
					}()
					b.Raw(func(w http.ResponseWriter, r *http.Request) {
						h = w.Header()
						_ = kit.Call(a.Manager, r.Context(), verb)
					})
				}()
				if live, marks := inner.Left(t); live != 1 || marks != 1 {
					t.Errorf("%d sessions and %d marks are left, want one of each", live, marks)
				}
			})
		})
	}
}
