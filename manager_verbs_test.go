package sessions_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
)

func TestLifecycleReload(t *testing.T) {
	t.Run("L19 Reload leaves no entry of an old map behind", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			b := st.browser(a)
			b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = full() })
			other := st.browser(a)
			other.c.Jar.SetCookies(b.request("/").URL, b.cookies())
			want := Session{UserID: "u2", Prefs: map[string]int{"a": 1}, Tags: map[string]string{}, Cart: []Item{{SKU: "z"}}}
			b.visit(func(_ http.ResponseWriter, r *http.Request, s *Session) {
				other.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { *s = want })
				s.Prefs["mine"] = 1
				s.Flash = "mine"
				do1(t, a.m.Reload, r.Context())
				if !reflect.DeepEqual(*s, want) {
					t.Errorf("after Reload: %+v, want %+v", *s, want)
				}
			})
			if s, _ := b.peek(); !reflect.DeepEqual(s, want) {
				t.Errorf("the next request reads %+v, want %+v", s, want)
			}
		})
	})

	t.Run("L19 Reload of a session that was never stored makes it fresh", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, log := st.app(t, sessions.Config{})
			res := st.browser(a).visit(func(w http.ResponseWriter, r *http.Request, s *Session) {
				*s = full()
				do1(t, a.m.Reload, r.Context())
				if !reflect.DeepEqual(*s, Session{}) {
					t.Errorf("after Reload: %+v", *s)
				}
				fmt.Fprint(w, "1")
			})
			wantHeader(t, res.Header, text("Cache-Control", "private", "Vary", "Cookie"))
			wantCalls(t, log, "the request", "")
		})
	})
}

// L13: a request runs verbs in some order; a model says what it ends in.
type verbModel struct {
	stored     bool
	mem, db    int // Views in *T and in the store
	marks      int
	remembered bool
	cookie     string // that the response must carry
}

func (m *verbModel) step(verb string) {
	create := func() {
		m.stored, m.db, m.cookie = true, m.mem, plainCookie
		if m.remembered {
			m.cookie = strings.Replace(plainCookie, "; HttpOnly", "; Max-Age=2592000; HttpOnly", 1)
		}
	}
	switch verb {
	case "write":
		m.mem++
	case "save", "renew", "commit":
		switch {
		case !m.stored && m.mem != 0:
			m.remembered = false
			create()
		case m.stored && verb == "renew":
			m.marks++
			create()
		case m.stored:
			m.db = m.mem
		}
	case "sign in", "remember":
		if m.stored {
			m.marks++
		}
		m.remembered = verb == "remember"
		create()
	case "reload":
		m.mem = 0
		if m.stored {
			m.mem = m.db
		}
	case "destroy":
		if m.stored {
			m.cookie = expiredCookie
		}
		m.stored, m.mem, m.db, m.remembered = false, 0, 0, false
	}
}

var verbNames = []string{"write", "save", "reload", "touch", "renew", "sign in", "remember", "destroy", "commit"}

func runVerb(m *sessions.Manager[Session], ctx context.Context, verb string) error {
	switch verb {
	case "write":
		m.FromContext(ctx).Views++
		return nil
	case "save":
		return m.Save(ctx)
	case "reload":
		return m.Reload(ctx)
	case "touch":
		return m.Touch(ctx)
	case "renew":
		return m.Renew(ctx)
	case "sign in":
		return m.SignIn(ctx)
	case "remember":
		return m.SignIn(ctx, sessions.Remembered)
	case "destroy":
		return m.Destroy(ctx)
	}
	_, err := m.Commit(ctx)
	return err
}

// verbOrders are all orders of up to three verbs, and some long ones.
func verbOrders() [][]string {
	orders := [][]string{{}}
	for from, n := 0, 0; n < 3; n++ {
		to := len(orders)
		for _, o := range orders[from:to] {
			for _, v := range verbNames {
				orders = append(orders, append(slices.Clip(o), v))
			}
		}
		from = to
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		o := make([]string, 4+r.IntN(9))
		for i := range o {
			o[i] = verbNames[r.IntN(len(verbNames))]
		}
		orders = append(orders, o)
	}
	return orders
}

func TestVerbsInAnyOrder(t *testing.T) {
	t.Run("L13 all verbs work in one request in any order and leave one cookie", func(t *testing.T) {
		for _, start := range []string{"no cookie", "an unknown cookie", "a session"} {
			t.Run(start, func(t *testing.T) {
				eachCodec(t, func(t *testing.T, c sessions.Codec) {
					synctest.Test(t, func(t *testing.T) {
						var cookies int
						for _, order := range verbOrders() {
							cookies += testOrder(t, c, start, order)
							if t.Failed() {
								return
							}
						}
						if cookies < 100 {
							t.Errorf("only %d responses had a cookie", cookies)
						}
					})
				})
			})
		}
	})

	t.Run("L13 verbs may be called from several goroutines and run one at a time", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			spy := &spyStore{Store: &sessions.MemoryStore{}}
			v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c})).login()
			res := v.visit(func(ctx context.Context, s *Session) {
				s.Views = 7
				var wg sync.WaitGroup
				for i := range 40 {
					wg.Go(func() {
						if err := runVerb(v.m, ctx, []string{"save", "touch", "renew", "commit", "sign in"}[i%5]); err != nil {
							t.Errorf("verb %d: %v", i, err)
						}
						if v.m.FromContext(ctx) != s || v.m.Info(ctx).New {
							t.Error("another session")
						}
					})
				}
				wg.Wait()
			})
			if got := len(res.Header["Set-Cookie"]); got != 1 {
				t.Errorf("%d cookies, want 1", got)
			}
			if live, marks := spy.left(t); live != 1 || marks != 16 {
				t.Errorf("%d sessions and %d marks, want 1 and 16", live, marks)
			}
			if s, _ := v.look(); s.Views != 7 {
				t.Errorf("%d views", s.Views)
			}
		})
	})

	t.Run("L13 the same over the wire, and each verb is in the store when it returns nil", func(t *testing.T) {
		eachStack(t, func(t *testing.T, st stack) {
			a, _ := st.app(t, sessions.Config{})
			r := rand.New(rand.NewPCG(3, 4))
			for range 40 {
				b := st.browser(a)
				b.visit(func(_ http.ResponseWriter, _ *http.Request, s *Session) { s.Views = 1 })
				model := verbModel{stored: true, mem: 1, db: 1}
				var order []string
				res := b.visit(func(_ http.ResponseWriter, r2 *http.Request, s *Session) {
					for range 6 {
						verb := verbNames[r.IntN(len(verbNames))]
						order = append(order, verb)
						if err := runVerb(a.m, r2.Context(), verb); err != nil {
							t.Errorf("%q: %v", order, err)
						}
						if model.step(verb); s.Views != model.mem || a.m.Info(r2.Context()).New == model.stored {
							t.Errorf("%q: %d views, %+v; want %+v", order, s.Views, a.m.Info(r2.Context()), model)
						}
					}
				})
				model.step("commit")
				var want []string
				if model.cookie != "" {
					want = []string{model.cookie}
				}
				if got := header(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
					t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
				}
				if s, i := b.peek(); i.New == model.stored || s.Views != model.db {
					t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
				}
			}
		})
	})
}

// testOrder runs one order and returns the number of cookies in the response.
func testOrder(t *testing.T, c sessions.Codec, start string, order []string) int {
	spy := &spyStore{Store: &sessions.MemoryStore{}}
	v := newGuest(t, newManager[Session](t, spy, sessions.Config{Codec: c}))
	var model verbModel
	switch start {
	case "an unknown cookie":
		v.jar["__Host-session"] = "s" + strings.Repeat("u", 26)
	case "a session":
		v.visit(func(_ context.Context, s *Session) { s.Views = 1 })
		model = verbModel{stored: true, mem: 1, db: 1}
	}
	presented := v.clone()
	wasStored := model.stored
	ended := false
	res := v.raw(func(_ http.ResponseWriter, r *http.Request) {
		for _, verb := range order {
			if err := runVerb(v.m, r.Context(), verb); err != nil {
				t.Errorf("%q: %s: %v", order, verb, err)
			}
			ended = ended || model.stored && slices.Contains([]string{"renew", "sign in", "remember", "destroy"}, verb)
			model.step(verb)
			if s := v.m.FromContext(r.Context()); s.Views != model.mem {
				t.Errorf("%q: after %s %d views, want %d", order, verb, s.Views, model.mem)
			}
		}
	})
	model.step("commit")
	var want []string
	if model.cookie != "" {
		want = []string{model.cookie}
	}
	if got := header(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
	}
	live, marks := spy.left(t)
	if model.stored != (live == 1) || live > 1 || marks != model.marks {
		t.Errorf("%q: %d sessions and %d marks in the store, want %+v", order, live, marks, model)
	}
	if alive := presented.alive(); alive != (wasStored && !ended) {
		t.Errorf("%q: the presented token is accepted: %v", order, alive)
	}
	if s, i := v.look(); i.New == model.stored || s.Views != model.db || i.Remembered != model.remembered {
		t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
	}
	return len(want)
}
