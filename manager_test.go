package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// What a Manager is for. Its other promises are tested by the packages in
// internal/behaviour, one package for each kind.
func TestManager(t *testing.T) {
	kit.EachStack(t, "L1 the first change makes a record and one cookie, and the next request has neither to make", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		res := b.Visit(func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
			s.UserID = "u1"
			fmt.Fprint(w, "1")
		})
		if want := map[kit.Via]int{kit.HTTP1: 1, kit.HTTP2: 2}[st.Via]; res.ProtoMajor != want {
			t.Fatalf("the client speaks %s", res.Proto)
		}
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieSent)...))
		a.WantCalls(t, "the first change", "Create")

		var got string
		res = b.Visit(func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
			got = s.UserID
			fmt.Fprint(w, "1")
		})
		if got != "u1" {
			t.Errorf("the next request reads %q", got)
		}
		kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
		a.WantCalls(t, "the next request", "Load")
	})

	kit.EachStack(t, "L1 a second change goes to the same record and needs no cookie", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		for i := range 3 {
			res := b.Edit(func(s *kit.Session) { s.Views++ })
			if n := len(res.SetCookies()); n > 1 || (n == 1) != (i == 0) {
				t.Errorf("request %d: cookies %q", i, res.SetCookies())
			}
		}
		a.WantCalls(t, "three changes", "Create Load CompareAndSwap Load CompareAndSwap")
		if s, _ := b.Peek(); s.Views != 3 {
			t.Errorf("%d views, want 3", s.Views)
		}
	})

	t.Run("L2 a visitor without a cookie who changes nothing costs no store call and gets no cookie", func(t *testing.T) {
		used := kit.Text(kit.Used...)
		type row struct {
			name string
			f    func(a *kit.App, ctx context.Context)
			want http.Header
		}
		rows := []row{
			{"nobody looks", func(*kit.App, context.Context) {}, kit.Text()},
			{"FromContext", func(_ *kit.App, ctx context.Context) { _ = sessions.FromContext[kit.Session](ctx).Views }, used},
			{"Lookup", func(_ *kit.App, ctx context.Context) { sessions.Lookup[kit.Session](ctx) }, used},
			{"Manager.FromContext", func(a *kit.App, ctx context.Context) { _ = a.FromContext(ctx).Views }, used},
			{"set to what it is", func(_ *kit.App, ctx context.Context) { sessions.FromContext[kit.Session](ctx).Views = 0 }, used},
			{"changed and changed back", func(a *kit.App, ctx context.Context) {
				s := a.FromContext(ctx)
				s.Flash = "x"
				sessions.Take(&s.Flash)
			}, used},
			{"Info", func(a *kit.App, ctx context.Context) { a.Info(ctx) }, used},
		}
		for _, verb := range []string{"Save", "Touch", "Reload", "Renew", "Destroy"} {
			rows = append(rows, row{verb, func(a *kit.App, ctx context.Context) { kit.OK(t, kit.Call(a.Manager, ctx, verb)) }, used})
		}
		rows = append(rows, row{"Commit", func(a *kit.App, ctx context.Context) { kit.Commit(t, a.Manager, ctx, sessions.OutcomeUnchanged) }, used})
		for _, row := range rows {
			kit.EachStack(t, row.name, func(t *testing.T, st kit.Stack) {
				a := st.App(t, sessions.Config{})
				res := a.Browser().Raw(func(w http.ResponseWriter, r *http.Request) {
					row.f(a, r.Context())
					fmt.Fprint(w, "1")
				})
				kit.WantHeader(t, res.Header, row.want)
				a.WantCalls(t, "the request", "")
				a.WantEvents(t)
			})
		}
	})

	kit.EachStack(t, "L1 Take reads once and resets", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		b.Edit(func(s *kit.Session) { *s = kit.Full() })
		var first, second string
		var cart []kit.Item
		b.Edit(func(s *kit.Session) {
			first, cart = sessions.Take(&s.Flash), sessions.Take(&s.Cart)
		})
		b.Edit(func(s *kit.Session) { second = sessions.Take(&s.Flash) })
		if first != kit.Full().Flash || second != "" || len(cart) != len(kit.Full().Cart) {
			t.Errorf("taken %q and %v, then %q", first, cart, second)
		}
		want := kit.Full()
		want.Flash, want.Cart = "", nil
		if s, _ := b.Peek(); !reflect.DeepEqual(s, want) {
			t.Errorf("left: %+v, want %+v", s, want)
		}
	})
}

// The answer with the new token was lost, so the client asks again with the old one until the mark of the renewal
// has gone.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	kit.EachBubble(t, "C21 a client that is told to ask again, each second, is told so ten times", func(t *testing.T, c sessions.Codec) {
		m := kit.New[Visitor](t, kit.Memory(), sessions.Config{Codec: c})
		old := kit.Edit(t, m, "", func(s *Visitor) { s.UserID = "alice" })
		kit.Verb(t, m, old, "Renew")
		h := m.Handler(askAgain(m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "hello ", m.FromContext(r.Context()).UserID)
		})))
		for second := range 11 {
			for method, refresh := range map[string]string{"GET": "1", "POST": ""} {
				r := kit.With(old, "/")
				r.Method = method
				res := kit.Serve(h, r)
				got := fmt.Sprint(res.StatusCode, res.Header["Retry-After"], res.Header.Get("Refresh"), res.Header["Set-Cookie"])
				want := fmt.Sprint(503, []string{"1"}, refresh, []string(nil))
				if second == 10 {
					want = fmt.Sprint(200, []string(nil), "", []string(nil))
				}
				if got != want {
					t.Errorf("%s after %d seconds: %s, want %s", method, second, got, want)
				}
			}
			time.Sleep(time.Second)
		}
	})
}
