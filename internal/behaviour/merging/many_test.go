package merging_test

import (
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

const writers = 64

// wide is a T with a field for each of as many writers.
type wide struct {
	F00, F01, F02, F03, F04, F05, F06, F07 string
	F08, F09, F10, F11, F12, F13, F14, F15 string
	F16, F17, F18, F19, F20, F21, F22, F23 string
	F24, F25, F26, F27, F28, F29, F30, F31 string
	F32, F33, F34, F35, F36, F37, F38, F39 string
	F40, F41, F42, F43, F44, F45, F46, F47 string `json:",omitempty"`
	F48, F49, F50, F51, F52, F53, F54, F55 string
	F56, F57, F58, F59, F60, F61, F62, F63 string
}

func (w *wide) field(i int) reflect.Value { return reflect.ValueOf(w).Elem().Field(i) }

func wideBase(s *wide) { s.F00 = "base" }

// A result is what comes of many requests at once.
type result[T any] struct {
	answers []*http.Response
	stored  T
	events  []sessions.Event
}

// atOnce sends a request of each writer, lets every one load before any goes on,
// and checks the result: with both codecs, in one process and over four, on
// miniredis and on a real server.
func atOnce[T any](t *testing.T, name string, cfg sessions.Config, base func(*T), edit func(i int, s *T), check func(t *testing.T, got result[T])) {
	t.Run("at once", func(t *testing.T) {
		eachRedis(t, func(t *testing.T, store sessions.Store) {
			kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
				cfg := cfg
				cfg.Codec = c
				for processes, in := range map[int]string{1: "in one process", 4: "over four processes"} {
					t.Run(fmt.Sprintf(name, in), func(t *testing.T) { check(t, send(t, store, cfg, processes, base, edit)) })
				}
			})
		})
	})
}

// send is one round of [atOnce].
func send[T any](t *testing.T, store sessions.Store, cfg sessions.Config, processes int, base func(*T), edit func(i int, s *T)) result[T] {
	t.Helper()
	var events kit.Events
	cfg.OnEvent = events.On
	var ms []*sessions.Manager[T]
	for range processes {
		ms = append(ms, kit.New[T](t, store, cfg))
	}
	token := kit.Edit(t, ms[0], "", base)
	events.Take()

	answers := make([]*http.Response, writers)
	var all, loaded sync.WaitGroup
	loaded.Add(writers)
	for i := range writers {
		m := ms[i%processes]
		all.Go(func() {
			answers[i] = kit.Serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := m.FromContext(r.Context())
				loaded.Done()
				loaded.Wait()
				edit(i, s)
				fmt.Fprint(w, "ok")
			})), kit.With(token, "/"))
		})
	}
	all.Wait()
	return result[T]{answers, kit.Stored(t, ms[0], token), events.Take()}
}

// wantOK wants every request to be answered by 200 without a cookie.
func (r result[T]) wantOK(t *testing.T) {
	t.Helper()
	for i, res := range r.answers {
		if res.StatusCode != 200 || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("request %d: %d, cookies %q", i, res.StatusCode, res.Header["Set-Cookie"])
		}
	}
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	wantFields := func(t *testing.T, got wide, value func(i int) string) {
		t.Helper()
		for i := range writers {
			if v, want := got.field(i).String(), value(i); v != want {
				t.Errorf("field %d is %q, want %q", i, v, want)
			}
		}
	}

	value := func(i int) string { return fmt.Sprint("v", i) }
	atOnce(t, "C7 of 64 requests %s that each change a field all 64 survive", sessions.Config{}, wideBase,
		func(i int, s *wide) { s.field(i).SetString(value(i)) },
		func(t *testing.T, got result[wide]) {
			got.wantOK(t)
			wantFields(t, got.stored, value)
			n := map[sessions.EventKind]int{}
			for _, e := range got.events {
				n[e.Kind]++
			}
			if n[sessions.EventSaved] != writers || n[sessions.EventMerged] != writers-1 || len(n) != 2 {
				t.Errorf("events %v, want 64 saved, of which 63 were merged", n)
			}
		})

	half := func(i int) string { return []string{"", "set"}[i%2] }
	atOnce(t, "C7 of 64 requests %s half clear a field, half set one", sessions.Config{},
		func(s *wide) {
			for i := range writers / 2 {
				s.field(2 * i).SetString("base")
			}
		},
		func(i int, s *wide) { s.field(i).SetString(half(i)) },
		func(t *testing.T, got result[wide]) { wantFields(t, got.stored, half) })

	prefs := func(i int) map[string]int { return map[string]int{"a": i, "b": i, "c": i, "d": i} }
	atOnce(t, "C8 of 64 requests %s that change one field one's value stands whole", sessions.Config{}, func(s *kit.Session) { s.UserID = "ann" },
		func(i int, s *kit.Session) { s.Prefs = prefs(i + 1) },
		func(t *testing.T, got result[kit.Session]) {
			got.wantOK(t)
			if i := got.stored.Prefs["a"]; i == 0 || !reflect.DeepEqual(got.stored.Prefs, prefs(i)) || got.stored.UserID != "ann" {
				t.Errorf("stored is %+v", got.stored)
			}
			conflicts := 0
			for _, e := range got.events {
				if e.Kind != sessions.EventConflict {
					continue
				}
				if conflicts++; !reflect.DeepEqual(e.Fields, []string{"prefs"}) || e.Err != nil {
					t.Errorf("the event names %q, %v", e.Fields, e.Err)
				}
			}
			if conflicts != writers-1 {
				t.Errorf("%d events of a conflict, want 63", conflicts)
			}
		})
}

// inTurn lets second begin when first stands before its swap, and waits for both.
func (p *pair[T]) inTurn(t *testing.T, first, second func()) {
	t.Helper()
	g := p.store.At("before CompareAndSwap")
	var both sync.WaitGroup
	both.Go(first)
	g.Wait()
	both.Go(second)
	synctest.Wait() // for its turn
	g.Open()
	both.Wait()
}
