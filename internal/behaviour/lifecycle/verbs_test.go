package lifecycle_test

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

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestReload(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "L19 Reload leaves no entry of an old map behind", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser()
		b.Edit(func(s *kit.Session) { *s = kit.Full() })
		other := b.Clone()
		want := kit.Session{Owner: kit.Owner, UserID: "u2", Prefs: map[string]int{"a": 1}, Tags: map[string]string{}, Cart: []kit.Item{{SKU: "z"}}}
		b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
			other.Edit(func(s *kit.Session) { *s = want })
			s.Prefs["mine"] = 1
			s.Flash = "mine"
			kit.OK(t, a.Reload(r.Context()))
			if !reflect.DeepEqual(*s, want) {
				t.Errorf("after Reload: %+v, want %+v", *s, want)
			}
		})
		if s, _ := b.Peek(); !reflect.DeepEqual(s, want) {
			t.Errorf("the next request reads %+v, want %+v", s, want)
		}
	})

	kit.EachStack(t, "L19 Reload of a session that was never stored makes it fresh", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		res := a.Browser().Visit(func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			*s = kit.Full()
			kit.OK(t, a.Reload(r.Context()))
			if !reflect.DeepEqual(*s, kit.Session{}) {
				t.Errorf("after Reload: %+v", *s)
			}
			fmt.Fprint(w, "1")
		})
		kit.WantHeader(t, res.Header, kit.Text(kit.Used...))
		a.WantCalls(t, "the request", "")
	})
}

// L13: a request runs verbs in some order; a model says what it ends in.
type verbModel struct {
	client     bool // came with a session
	stored     bool
	mem, db    int // Views in *T and in the store
	marks      int
	remembered bool
	cookie     string // that the response must carry
}

func (m *verbModel) step(verb string) {
	create := func() {
		m.stored, m.db, m.cookie = true, m.mem, kit.CookieSent
		if m.remembered {
			m.cookie = persistent(2592000)
		}
	}
	switch verb {
	case "write":
		m.mem++
	case "Save", "Renew", "Commit":
		switch {
		case !m.stored && m.mem != 0:
			m.remembered = false
			create()
		case m.stored && verb == "Renew":
			m.marks++
			create()
		case m.stored:
			m.db = m.mem
		}
	case "SignIn", "Remember":
		if m.stored {
			m.marks++
		}
		m.remembered = verb == "Remember"
		create()
	case "Reload":
		m.mem = 0
		if m.stored {
			m.mem = m.db
		}
	case "Destroy":
		switch {
		case !m.stored:
		case m.client:
			m.cookie = kit.CookieExpired
		default:
			m.cookie = ""
		}
		m.stored, m.mem, m.db, m.remembered = false, 0, 0, false
	}
}

var verbNames = []string{"write", "Save", "Reload", "Touch", "Renew", "SignIn", "Remember", "Destroy", "Commit"}

func runVerb(m *sessions.Manager[kit.Session], ctx context.Context, verb string) error {
	switch verb {
	case "read":
		_ = *m.FromContext(ctx)
		return nil
	case "write":
		m.FromContext(ctx).Views++
		return nil
	}
	return kit.Call(m, ctx, verb)
}

// verbOrders are all orders of up to three verbs, and some long ones. A short run,
// and one with the race detector, has those of two, and fewer long ones.
func verbOrders() [][]string {
	orders, most, long := [][]string{{}}, 3, 500
	if testing.Short() || kit.RaceEnabled {
		most, long = 2, 100
	}
	for from, n := 0, 0; n < most; n++ {
		to := len(orders)
		for _, o := range orders[from:to] {
			for _, v := range verbNames {
				orders = append(orders, append(slices.Clip(o), v))
			}
		}
		from = to
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range long {
		o := make([]string, 4+r.IntN(9))
		for i := range o {
			o[i] = verbNames[r.IntN(len(verbNames))]
		}
		orders = append(orders, o)
	}
	return orders
}

func TestVerbsInAnyOrder(t *testing.T) {
	t.Parallel()
	t.Run("L13 all verbs work in one request in any order and leave one cookie", func(t *testing.T) {
		for _, start := range []string{"no cookie", "an unknown cookie", "a session"} {
			kit.Bubble(t, start, func(t *testing.T) {
				var cookies int
				codecs := []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}
				for i, order := range verbOrders() {
					cookies += testOrder(t, codecs[i%2], start, order)
					if t.Failed() {
						return
					}
				}
				if cookies < 50 {
					t.Errorf("only %d responses had a cookie", cookies)
				}
			})
		}
	})

	t.Run("L13 verbs may be called from several goroutines and run one at a time", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
			b := a.Browser().Login()
			res := b.Visit(func(_ http.ResponseWriter, r *http.Request, s *kit.Session) {
				ctx := r.Context()
				s.Views = 7
				var wg sync.WaitGroup
				for i := range 40 {
					wg.Go(func() {
						if err := runVerb(a.Manager, ctx, []string{"Save", "Touch", "Renew", "Commit", "SignIn"}[i%5]); err != nil {
							t.Errorf("verb %d: %v", i, err)
						}
						if a.FromContext(ctx) != s || a.Info(ctx).New {
							t.Error("another session")
						}
					})
				}
				wg.Wait()
			})
			if got := len(res.Header["Set-Cookie"]); got != 1 {
				t.Errorf("%d cookies, want 1", got)
			}
			if live, marks := a.Store.Left(t); live != 1 || marks != 16 {
				t.Errorf("%d sessions and %d marks, want 1 and 16", live, marks)
			}
			if s, _ := b.Peek(); s.Views != 7 {
				t.Errorf("%d views", s.Views)
			}
		})
	})

	kit.EachStack(t, "L13 the same over the wire, and each verb is in the store when it returns nil", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		r := rand.New(rand.NewPCG(3, 4))
		for range 40 {
			b := a.Browser()
			b.Edit(func(s *kit.Session) { s.Views = 1 })
			model := verbModel{client: true, stored: true, mem: 1, db: 1}
			var order []string
			res := b.Visit(func(_ http.ResponseWriter, r2 *http.Request, s *kit.Session) {
				for range 6 {
					verb := verbNames[r.IntN(len(verbNames))]
					order = append(order, verb)
					if err := runVerb(a.Manager, r2.Context(), verb); err != nil {
						t.Errorf("%q: %v", order, err)
					}
					if model.step(verb); s.Views != model.mem || a.Info(r2.Context()).New == model.stored {
						t.Errorf("%q: %d views, %+v; want %+v", order, s.Views, a.Info(r2.Context()), model)
					}
				}
			})
			model.step("Commit")
			var want []string
			if model.cookie != "" {
				want = []string{model.cookie}
			}
			if got := kit.Masked(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
				t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
			}
			if s, i := b.Peek(); i.New == model.stored || s.Views != model.db {
				t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
			}
		}
	})
}

// testOrder runs one order and returns the number of cookies in the response.
func testOrder(t *testing.T, c sessions.Codec, start string, order []string) int {
	a := kit.NewApp(t, kit.InProcess, kit.Memory(), sessions.Config{Codec: c})
	b := a.Browser()
	var model verbModel
	switch start {
	case "an unknown cookie":
		b = b.As("s" + strings.Repeat("u", 26))
	case "a session":
		b.Edit(func(s *kit.Session) { s.Views = 1 })
		model = verbModel{client: true, stored: true, mem: 1, db: 1}
	}
	presented := b.Clone()
	wasStored := model.stored
	ended := false
	res := b.Raw(func(_ http.ResponseWriter, r *http.Request) {
		for _, verb := range order {
			if err := runVerb(a.Manager, r.Context(), verb); err != nil {
				t.Errorf("%q: %s: %v", order, verb, err)
			}
			ended = ended || model.stored && slices.Contains([]string{"Renew", "SignIn", "Remember", "Destroy"}, verb)
			model.step(verb)
			if s := a.FromContext(r.Context()); s.Views != model.mem {
				t.Errorf("%q: after %s %d views, want %d", order, verb, s.Views, model.mem)
			}
		}
	})
	model.step("Commit")
	var want []string
	if model.cookie != "" {
		want = []string{model.cookie}
	}
	if got := kit.Masked(res.Header)["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("%q: Set-Cookie %q, want %q", order, got, want)
	}
	live, marks := a.Store.Left(t)
	if model.stored != (live == 1) || live > 1 || marks != model.marks {
		t.Errorf("%q: %d sessions and %d marks in the store, want %+v", order, live, marks, model)
	}
	if alive := presented.Alive(); alive != (wasStored && !ended) {
		t.Errorf("%q: the presented token is accepted: %v", order, alive)
	}
	if s, i := b.Peek(); i.New == model.stored || s.Views != model.db || i.Remembered != model.remembered {
		t.Errorf("%q: the next request reads %+v, %+v; want %+v", order, s, i, model)
	}
	return len(want)
}
