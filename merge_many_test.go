package sessions_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

const mergeWriters = 64

// mergeWide is a T with a field for each of as many writers.
type mergeWide struct {
	F00, F01, F02, F03, F04, F05, F06, F07 string
	F08, F09, F10, F11, F12, F13, F14, F15 string
	F16, F17, F18, F19, F20, F21, F22, F23 string
	F24, F25, F26, F27, F28, F29, F30, F31 string
	F32, F33, F34, F35, F36, F37, F38, F39 string
	F40, F41, F42, F43, F44, F45, F46, F47 string `json:",omitempty"`
	F48, F49, F50, F51, F52, F53, F54, F55 string
	F56, F57, F58, F59, F60, F61, F62, F63 string
}

func (w *mergeWide) field(i int) reflect.Value { return reflect.ValueOf(w).Elem().Field(i) }

// mergeAtOnce sends n requests with one token, in turn to each of the managers,
// lets every one load before any goes on, and gives their answers.
func mergeAtOnce[T any](ms []*sessions.Manager[T], token string, n int, edit func(i int, s *T)) []*http.Response {
	answers := make([]*http.Response, n)
	var all, loaded sync.WaitGroup
	loaded.Add(n)
	for i := range n {
		m := ms[i%len(ms)]
		all.Go(func() {
			w := httptest.NewRecorder()
			m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s := m.FromContext(r.Context())
				loaded.Done()
				loaded.Wait()
				edit(i, s)
				fmt.Fprint(w, "ok")
			})).ServeHTTP(w, with(token, "/"))
			answers[i] = w.Result()
		})
	}
	all.Wait()
	return answers
}

// mergeFleet are processes of one Config on one store.
func mergeFleet[T any](t *testing.T, store sessions.Store, processes int, cfg sessions.Config) (ms []*sessions.Manager[T], events *recorder) {
	t.Helper()
	events = &recorder{}
	cfg.OnEvent = events.on
	for range processes {
		ms = append(ms, newManager[T](t, store, cfg))
	}
	return ms, events
}

// mergeSeed stores a session and returns its token.
func mergeSeed[T any](t *testing.T, m *sessions.Manager[T], edit func(*T)) string {
	t.Helper()
	ctx, err := m.Load(t.Context())
	must(t, err)
	edit(m.FromContext(ctx))
	o, err := m.Commit(ctx)
	must(t, err)
	return o.Token.Reveal()
}

// eachFleet runs a test with both codecs, in one process and over four, on
// miniredis and on a real server.
func eachFleet(t *testing.T, name string, f func(t *testing.T, store sessions.Store, c sessions.Codec, processes int)) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second}) // a busy machine is no fault here
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			for processes, in := range map[int]string{1: "in one process", 4: "over four processes"} {
				t.Run(fmt.Sprintf(name, in), func(t *testing.T) { f(t, store, c, processes) })
			}
		})
	})
}

func TestMergeMany(t *testing.T) {
	eachFleet(t, "C7 of 64 requests %s that each change a field all 64 survive", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, events := mergeFleet[mergeWide](t, store, processes, sessions.Config{Codec: c})
		token := mergeSeed(t, ms[0], func(s *mergeWide) { s.F00 = "base" })
		events.kinds()
		answers := mergeAtOnce(ms, token, mergeWriters, func(i int, s *mergeWide) { s.field(i).SetString(fmt.Sprint("v", i)) })
		for i, a := range answers {
			if a.StatusCode != 200 || len(a.Header["Set-Cookie"]) > 0 {
				t.Errorf("request %d: %d, cookies %q", i, a.StatusCode, a.Header["Set-Cookie"])
			}
		}
		got := mergeStored(t, ms[0], token)
		for i := range mergeWriters {
			if v, want := got.field(i).String(), fmt.Sprint("v", i); v != want {
				t.Errorf("field %d is %q, want %q", i, v, want)
			}
		}
		n := map[sessions.EventKind]int{}
		for _, k := range events.kinds() {
			n[k]++
		}
		if n[sessions.EventSaved] != mergeWriters || n[sessions.EventMerged] != mergeWriters-1 || len(n) != 2 {
			t.Errorf("events %v, want 64 saved, of which 63 were merged", n)
		}
	})

	eachFleet(t, "C7 of 64 requests %s half clear a field, half set one", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, _ := mergeFleet[mergeWide](t, store, processes, sessions.Config{Codec: c})
		token := mergeSeed(t, ms[0], func(s *mergeWide) {
			for i := range mergeWriters / 2 {
				s.field(2 * i).SetString("base")
			}
		})
		mergeAtOnce(ms, token, mergeWriters, func(i int, s *mergeWide) {
			s.field(i).SetString([]string{"", "set"}[i%2])
		})
		got := mergeStored(t, ms[0], token)
		for i := range mergeWriters {
			if v, want := got.field(i).String(), []string{"", "set"}[i%2]; v != want {
				t.Errorf("field %d is %q, want %q", i, v, want)
			}
		}
	})

	eachFleet(t, "C8 of 64 requests %s that change one field one's value stands whole", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, events := mergeFleet[Session](t, store, processes, sessions.Config{Codec: c})
		token := mergeSeed(t, ms[0], func(s *Session) { s.UserID = "ann" })
		events.kinds()
		value := func(i int) map[string]int { return map[string]int{"a": i, "b": i, "c": i, "d": i} }
		answers := mergeAtOnce(ms, token, mergeWriters, func(i int, s *Session) { s.Prefs = value(i + 1) })
		for i, a := range answers {
			if a.StatusCode != 200 {
				t.Errorf("request %d: %d", i, a.StatusCode)
			}
		}
		got := mergeStored(t, ms[0], token)
		if i := got.Prefs["a"]; i == 0 || !reflect.DeepEqual(got.Prefs, value(i)) || got.UserID != "ann" {
			t.Errorf("stored is %+v", got)
		}
		conflicts := 0
		for _, e := range mergeEvents(events) {
			if e.Kind != sessions.EventConflict {
				continue
			}
			if conflicts++; !reflect.DeepEqual(e.Fields, []string{"prefs"}) || e.Err != nil {
				t.Errorf("the event names %q, %v", e.Fields, e.Err)
			}
		}
		if conflicts != mergeWriters-1 {
			t.Errorf("%d conflicts told of, want 63", conflicts)
		}
	})
}

// In one process a writer is handed what the one before it has written: neither
// of the two reads the store again.
func TestMergeHandedOn(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		bubbled(t, "C7 two saves of one process that meet take one command each", func(t *testing.T) {
			s := &steps{}
			log := &calls{}
			store := &stepStore{Store: memory(), before: func(op, key string) error {
				log.add(op)
				return s.hook("before")(op, key)
			}}
			m := newManager[mergeWide](t, store, sessions.Config{Codec: c})
			token := mergeSeed(t, m, func(s *mergeWide) { s.F00 = "base" })
			first, err := m.Load(t.Context(), token)
			must(t, err)
			second, err := m.Load(t.Context(), token)
			must(t, err)
			m.FromContext(first).F01, m.FromContext(second).F02 = "one", "two"
			log.take()
			g := s.at("before CompareAndSwap")
			var all sync.WaitGroup
			all.Go(func() { do1(t, m.Save, first) })
			g.wait()
			all.Go(func() { do1(t, m.Save, second) })
			synctest.Wait() // for its turn
			g.open()
			all.Wait()
			wantCalls(t, log, "two saves", "CompareAndSwap CompareAndSwap")
			if got, want := mergeStored(t, m, token), (mergeWide{F00: "base", F01: "one", F02: "two"}); got != want {
				t.Errorf("stored is %+v", got)
			}
			if got, want := *m.FromContext(second), (mergeWide{F00: "base", F01: "one", F02: "two"}); got != want {
				t.Errorf("*T is %+v", got)
			}
		})
	})
}
