package lifecycle_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestChange(t *testing.T) {
	t.Parallel()
	t.Run("L3 reading, and setting a field to what it is, writes nothing", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *kit.Session)
		}{
			{"reading", func(s *kit.Session) { _ = s.Views + len(s.Cart) + s.Prefs["a"] }},
			{"the same string", func(s *kit.Session) { s.UserID = strings.Clone(s.UserID) }},
			{"the same map, rebuilt in another order", func(s *kit.Session) {
				prefs := map[string]int{}
				for _, k := range []string{"h", "g", "f", "e", "d", "c", "b", "a"} {
					prefs[k] = s.Prefs[k]
				}
				s.Prefs = prefs
			}},
			{"the same slice, copied", func(s *kit.Session) { s.Cart = slices.Clone(s.Cart) }},
			{"there and back", func(s *kit.Session) { s.Views++; s.Views-- }},
			{"added and deleted", func(s *kit.Session) { s.Tags["x"] = "y"; delete(s.Tags, "x") }},
		}
		for _, row := range rows {
			kit.EachStack(t, row.name, func(t *testing.T, st kit.Stack) {
				a := st.App(t, sessions.Config{})
				b := a.Browser()
				b.Edit(func(s *kit.Session) { *s = kit.Full() })
				a.Store.Calls()
				for range 5 { // map order is drawn each time
					res := b.Visit(func(w http.ResponseWriter, _ *http.Request, s *kit.Session) {
						row.f(s)
						fmt.Fprint(w, "1")
					})
					kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
					a.WantCalls(t, "the request", "Load")
				}
			})
		}
	})

	t.Run("L3 a change inside a slice or a map is written", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *kit.Session)
		}{
			{"an element's field", func(s *kit.Session) { s.Cart[1].Qty = 9 }},
			{"two elements swapped", func(s *kit.Session) { s.Cart[0], s.Cart[1] = s.Cart[1], s.Cart[0] }},
			{"a map entry", func(s *kit.Session) { s.Prefs["a"] = 100 }},
			{"a new map entry with a zero", func(s *kit.Session) { s.Prefs["new"] = 0 }},
			{"a deleted map entry", func(s *kit.Session) { delete(s.Tags, "t1") }},
			{"two map entries exchanged", func(s *kit.Session) { s.Prefs["a"], s.Prefs["b"] = s.Prefs["b"], s.Prefs["a"] }},
			{"a slice emptied", func(s *kit.Session) { s.Cart = nil }},
			{"an omitempty field cleared", func(s *kit.Session) { s.Flash = "" }},
		}
		for _, row := range rows {
			kit.EachStack(t, row.name, func(t *testing.T, st kit.Stack) {
				a := st.App(t, sessions.Config{})
				b := a.Browser()
				b.Edit(func(s *kit.Session) { *s = kit.Full() })
				a.Store.Calls()
				var want kit.Session
				b.Edit(func(s *kit.Session) {
					row.f(s)
					want = *s
				})
				a.WantCalls(t, "the change", "Load CompareAndSwap")
				if got, _ := b.Peek(); !reflect.DeepEqual(got, want) {
					t.Errorf("the next request reads %+v, want %+v", got, want)
				}
			})
		}
	})

	t.Run("L3 a record of another build is rewritten at most once", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			type older struct {
				UserID string `json:"user_id"`
				Gone   string `json:"gone"`
			}
			store := &kit.Store{Store: kit.Memory()}
			token := kit.Edit(t, kit.New[older](t, store, sessions.Config{Codec: c}), "", func(s *older) { s.UserID, s.Gone = "u1", "g" })
			store.Calls()
			m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
			for i := range 4 {
				ctx, s := kit.Load(t, m, token)
				if s.UserID != "u1" {
					t.Fatalf("loaded %+v", s)
				}
				kit.Commit(t, m, ctx)
				if got := store.Calls(); got != "Load" && (i > 0 || got != "Load CompareAndSwap") {
					t.Errorf("request %d that reads: store calls %q", i, got)
				}
			}
		})
	})

	kit.EachStack(t, "L8 SaveUninitialized stores and sends an unchanged new session", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{SaveUninitialized: true})
		b := a.Browser()
		res := b.Raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
		kit.WantHeader(t, res.Header, kit.Text(kit.Sends(kit.CookieSent)...))
		a.WantCalls(t, "an untouched new session", "Create")
		res = b.Raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
		kit.WantHeader(t, res.Header, kit.Text("Cache-Control", "private"))
		a.WantCalls(t, "the next request", "Load")
		if _, i := b.Peek(); i.New {
			t.Error("the session was not stored")
		}
	})

	kit.EachStack(t, "L3 Rewrite writes an unchanged session once a request", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{Rewrite: true})
		b := a.Browser()
		b.Raw(func(http.ResponseWriter, *http.Request) {})
		a.WantCalls(t, "a new visitor", "")
		b.Login()
		a.Store.Calls()
		res := b.Raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
		kit.WantHeader(t, res.Header, kit.Text("Cache-Control", "private"))
		a.WantCalls(t, "an unchanged session", "Load CompareAndSwap")
		b.Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			s.Views++
			kit.OK(t, a.Save(r.Context()))
			fmt.Fprint(w, "1")
		})
		a.WantCalls(t, "a saved session", "Load CompareAndSwap")
	})

	kit.EachStack(t, "L3 Rewrite of an unchanged session that was ended elsewhere is no error for the one who only read", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{Rewrite: true})
		b := a.Browser()
		b.Login()
		other := b.As(b.Token())
		res := b.Raw(func(w http.ResponseWriter, r *http.Request) {
			other.Verb("Destroy")
			fmt.Fprint(w, "1")
		})
		if res.StatusCode != 200 || len(res.SetCookies()) > 0 {
			t.Errorf("status %d, cookies %q", res.StatusCode, res.SetCookies())
		}
		if _, i := b.Peek(); !i.New {
			t.Error("the session is back")
		}
	})
}
