package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestLifecycle(t *testing.T) {
	t.Run("L1 the first change makes a record and one cookie, and the next request has neither to make", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			res := b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
				s.UserID = "u1"
				fmt.Fprint(w, "1")
			})
			if want := map[bool]int{true: 1, false: 2}[st.http1]; res.ProtoMajor != want {
				t.Fatalf("the client speaks %s", res.Proto)
			}
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "the first change", "Create")

			var got string
			res = b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
				got = s.UserID
				fmt.Fprint(w, "1")
			})
			if got != "u1" {
				t.Errorf("the next request reads %q", got)
			}
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the next request", "Load")
		})
	})

	t.Run("L1 a second change goes to the same record and needs no cookie", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			b := st.browser(a)
			for i := range 3 {
				res := b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views++ })
				if n := len(res.setCookies()); n > 1 || (n == 1) != (i == 0) {
					t.Errorf("request %d: cookies %q", i, res.setCookies())
				}
			}
			wantCalls(t, log, "three changes", "Create Load CompareAndSwap Load CompareAndSwap")
			if s, _ := b.peek(); s.Views != 3 {
				t.Errorf("%d views, want 3", s.Views)
			}
		})
	})

	t.Run("L2 a visitor without a cookie who changes nothing costs no store call and gets no cookie", func(t *testing.T) {
		used := text("Cache-Control", "private", "Vary", "Cookie")
		rows := []struct {
			name string
			f    func(a *app, ctx context.Context)
			want http.Header
		}{
			{"nobody looks", func(*app, context.Context) {}, text()},
			{"FromContext", func(_ *app, ctx context.Context) { _ = sessions.FromContext[Session](ctx).Views }, used},
			{"Lookup", func(_ *app, ctx context.Context) { sessions.Lookup[Session](ctx) }, used},
			{"Manager.FromContext", func(a *app, ctx context.Context) { _ = a.m.FromContext(ctx).Views }, used},
			{"set to what it is", func(_ *app, ctx context.Context) { sessions.FromContext[Session](ctx).Views = 0 }, used},
			{"changed and changed back", func(a *app, ctx context.Context) {
				s := a.m.FromContext(ctx)
				s.Flash = "x"
				sessions.Take(&s.Flash)
			}, used},
			{"Info", func(a *app, ctx context.Context) { a.m.Info(ctx) }, used},
			{"Save", func(a *app, ctx context.Context) { do1(a.t, a.m.Save, ctx) }, used},
			{"Touch", func(a *app, ctx context.Context) { do1(a.t, a.m.Touch, ctx) }, used},
			{"Reload", func(a *app, ctx context.Context) { do1(a.t, a.m.Reload, ctx) }, used},
			{"Renew", func(a *app, ctx context.Context) { do1(a.t, a.m.Renew, ctx) }, used},
			{"Destroy", func(a *app, ctx context.Context) { do1(a.t, a.m.Destroy, ctx) }, used},
			{"Commit", func(a *app, ctx context.Context) {
				if o, err := a.m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
					a.t.Errorf("Commit: %v, %v", o.Kind, err)
				}
			}, used},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					res := st.browser(a).raw(func(w http.ResponseWriter, r *http.Request) {
						row.f(a, r.Context())
						fmt.Fprint(w, "1")
					})
					wantHeader(t, res.Header, row.want)
					wantCalls(t, log, "the request", "")
					if kinds := a.events.kinds(); len(kinds) > 0 {
						t.Errorf("events %v", kinds)
					}
				})
			})
		}
	})

	t.Run("L3 reading, and setting a field to what it is, writes nothing", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *Session)
		}{
			{"reading", func(s *Session) { _ = s.Views + len(s.Cart) + s.Prefs["a"] }},
			{"the same string", func(s *Session) { s.UserID = strings.Clone(s.UserID) }},
			{"the same map, rebuilt in another order", func(s *Session) {
				prefs := map[string]int{}
				for _, k := range []string{"h", "g", "f", "e", "d", "c", "b", "a"} {
					prefs[k] = s.Prefs[k]
				}
				s.Prefs = prefs
			}},
			{"the same slice, copied", func(s *Session) { s.Cart = slices.Clone(s.Cart) }},
			{"there and back", func(s *Session) { s.Views++; s.Views-- }},
			{"added and deleted", func(s *Session) { s.Tags["x"] = "y"; delete(s.Tags, "x") }},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					b := st.browser(a)
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
					log.take()
					for range 5 { // map order is drawn each time
						res := b.visit(func(w http.ResponseWriter, _ *http.Request, s *Session) {
							row.f(s)
							fmt.Fprint(w, "1")
						})
						wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
						wantCalls(t, log, "the request", "Load")
					}
				})
			})
		}
	})

	t.Run("L3 a change inside a slice or a map is written", func(t *testing.T) {
		rows := []struct {
			name string
			f    func(s *Session)
		}{
			{"an element's field", func(s *Session) { s.Cart[1].Qty = 9 }},
			{"two elements swapped", func(s *Session) { s.Cart[0], s.Cart[1] = s.Cart[1], s.Cart[0] }},
			{"a map entry", func(s *Session) { s.Prefs["a"] = 100 }},
			{"a new map entry with a zero", func(s *Session) { s.Prefs["new"] = 0 }},
			{"a deleted map entry", func(s *Session) { delete(s.Tags, "t1") }},
			{"two map entries exchanged", func(s *Session) { s.Prefs["a"], s.Prefs["b"] = s.Prefs["b"], s.Prefs["a"] }},
			{"a slice emptied", func(s *Session) { s.Cart = nil }},
			{"an omitempty field cleared", func(s *Session) { s.Flash = "" }},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				eachStack(t, func(t *testing.T, st stack) {
					a, log := st.app(t, sessions.Config{})
					b := st.browser(a)
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
					log.take()
					var want Session
					b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
						row.f(s)
						want = *s
					})
					wantCalls(t, log, "the change", "Load CompareAndSwap")
					if got, _ := b.peek(); !reflect.DeepEqual(got, want) {
						t.Errorf("the next request reads %+v, want %+v", got, want)
					}
				})
			})
		}
	})

	t.Run("L3 a record of another build is rewritten at most once", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			type older struct {
				UserID string `json:"user_id"`
				Gone   string `json:"gone"`
			}
			store, log := counted(&sessions.MemoryStore{})
			old := newManager[older](t, store, sessions.Config{Codec: c})
			ctx, err := old.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			old.FromContext(ctx).UserID, old.FromContext(ctx).Gone = "u1", "g"
			o, err := old.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			log.take()
			m := newManager[Session](t, store, sessions.Config{Codec: c})
			for i := range 4 {
				ctx, err := m.Load(t.Context(), o.Token.Reveal())
				if err != nil || m.FromContext(ctx).UserID != "u1" {
					t.Fatalf("load: %v, %+v", err, m.FromContext(ctx))
				}
				if _, err := m.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				if got := log.take(); got != "Load" && (i > 0 || got != "Load CompareAndSwap") {
					t.Errorf("request %d that reads: store calls %q", i, got)
				}
			}
		})
	})

	t.Run("L8 SaveUninitialized stores and sends an unchanged new session", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{SaveUninitialized: true})
			b := st.browser(a)
			res := b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text("Set-Cookie", plainCookie, "Cache-Control", "private, no-store", "Vary", "Cookie"))
			wantCalls(t, log, "an untouched new session", "Create")
			res = b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text())
			wantCalls(t, log, "the next request", "Load")
			if _, i := b.peek(); i.New {
				t.Error("the session was not stored")
			}
		})
	})

	t.Run("L1 Take reads once and resets", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
			var first, second string
			var cart []Item
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) {
				first, cart = sessions.Take(&s.Flash), sessions.Take(&s.Cart)
			})
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { second = sessions.Take(&s.Flash) })
			if first != full().Flash || second != "" || len(cart) != len(full().Cart) {
				t.Errorf("taken %q and %v, then %q", first, cart, second)
			}
			want := full()
			want.Flash, want.Cart = "", nil
			if s, _ := b.peek(); !reflect.DeepEqual(s, want) {
				t.Errorf("left: %+v, want %+v", s, want)
			}
		})
	})

	t.Run("L3 Rewrite writes an unchanged session once a request", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{Rewrite: true})
			b := st.browser(a)
			b.raw(func(http.ResponseWriter, *http.Request) {})
			wantCalls(t, log, "a new visitor", "")
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			log.take()
			res := b.raw(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
			wantHeader(t, res.Header, text())
			wantCalls(t, log, "an unchanged session", "Load CompareAndSwap")
			b.visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				s.Views++
				do1(t, a.m.Save, r.Context())
				fmt.Fprint(w, "1")
			})
			wantCalls(t, log, "a saved session", "Load CompareAndSwap")
		})
	})

	t.Run("L3 Rewrite of an unchanged session that was ended elsewhere is no error for the one who only read", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{Rewrite: true})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.UserID = "u1" })
			other := b.as(b.token())
			res := b.raw(func(w http.ResponseWriter, r *http.Request) {
				other.visit(func(_ http.ResponseWriter, r *http.Request, _ *Session) { do1(t, a.m.Destroy, r.Context()) })
				fmt.Fprint(w, "1")
			})
			if res.StatusCode != 200 || len(res.setCookies()) > 0 {
				t.Errorf("status %d, cookies %q", res.StatusCode, res.setCookies())
			}
			if _, i := b.peek(); !i.New {
				t.Error("the session is back")
			}
		})
	})
}
