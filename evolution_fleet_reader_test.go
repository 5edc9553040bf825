package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions"
)

// fleetMaps has maps that msgpack writes in no order.
type fleetMaps struct {
	Views  int                         `json:"views"`
	Counts map[string]int              `json:"counts"`
	ByID   map[int]string              `json:"by_id"`
	Lists  map[string][]string         `json:"lists"`
	Deep   map[string]map[uint8]bool   `json:"deep"`
	Known  map[uuid.UUID]time.Duration `json:"known"`
	Nested struct{ In map[int64]int }  `json:"nested"`
	Any    map[string]any              `json:"any"`
}

// fleetMapsNew is the same in a newer build, in another order, with more.
type fleetMapsNew struct {
	More map[string]int `json:"more"`
	fleetMaps
	Extra map[int]int `json:"extra"`
}

func fleetRandom(r *rand.Rand) fleetMapsNew {
	s := fleetMapsNew{More: map[string]int{}, Extra: map[int]int{}}
	s.Counts, s.ByID, s.Lists = map[string]int{}, map[int]string{}, map[string][]string{}
	s.Deep, s.Known, s.Nested.In = map[string]map[uint8]bool{}, map[uuid.UUID]time.Duration{}, map[int64]int{}
	for range r.IntN(9) {
		k, n := fmt.Sprint("k", r.IntN(100)), int(r.Int64()>>r.IntN(63))
		s.Counts[k], s.ByID[n], s.Lists[k], s.Nested.In[int64(n)] = n, k, []string{k, ""}, n
		s.Deep[k] = map[uint8]bool{uint8(n): true, uint8(n + 1): false, uint8(n + 2): true}
		s.Known[uuid.NewMD5(uuid.Nil, []byte(k))] = time.Duration(n)
		s.More[k], s.Extra[n] = n, r.IntN(9)
	}
	if r.IntN(4) == 0 {
		s.Counts, s.Lists, s.Any = nil, nil, map[string]any{"x": "y", "m": map[string]any{"a": "b", "c": true}}
	}
	return s
}

func TestFleetReaders(t *testing.T) {
	t.Run("K5 L3 readers of several hundred random maps of two builds write nothing", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, theirs := range []sessions.Codec{c, otherCodec(c)} {
				t.Run("written in "+theirs.Name(), func(t *testing.T) {
					store, log := counted(&sessions.MemoryStore{})
					cfg := sessions.Config{Codec: c}
					older := newManager[fleetMaps](t, store, cfg)
					again := newManager[fleetMaps](t, store, cfg)
					newer := newManager[fleetMapsNew](t, store, sessions.Config{Codec: theirs})
					r := rand.New(rand.NewPCG(1, 2))
					token := ""
					for i := range 300 {
						want := fleetRandom(r)
						token = fleetTurn(t, newer, token, func(_ context.Context, s *fleetMapsNew) { *s = want })
						if i%3 == 1 { // what a build has taken over from another
							token = fleetTurn(t, older, token, func(_ context.Context, s *fleetMaps) { s.Views = i })
							want.Views = i
						}
						if i%3 == 2 { // what it has merged
							token = fleetTurn(t, older, token, func(_ context.Context, s *fleetMaps) {
								s.Views = i
								fleetTurn(t, newer, token, func(_ context.Context, s *fleetMapsNew) {
									s.ByID = maps.Clone(s.ByID)
									s.ByID[i] = "theirs"
								})
							})
							want.Views, want.ByID[i] = i, "theirs"
						}
						log.take()
						for _, m := range []*sessions.Manager[fleetMaps]{older, again} {
							fleetTurn(t, m, token, func(ctx context.Context, s *fleetMaps) {
								if !reflect.DeepEqual(*s, want.fleetMaps) {
									t.Fatalf("turn %d reads %+v, want %+v", i, *s, want.fleetMaps)
								}
								must(t, m.Save(ctx))
							})
							wantCalls(t, log, fmt.Sprintf("a read in turn %d", i), "Load")
							fleetTurn(t, m, token, func(_ context.Context, s *fleetMaps) { // the values that there are
								s.ByID, s.Deep = maps.Clone(s.ByID), maps.Clone(s.Deep)
								maps.Copy(s.Counts, s.Counts)
							})
							wantCalls(t, log, fmt.Sprintf("the same values again in turn %d", i), "Load")
						}
						fleetTurn(t, newer, token, func(context.Context, *fleetMapsNew) {})
						wantCalls(t, log, fmt.Sprintf("a read by the newer build in turn %d", i), "Load")
					}
				})
			}
		})
	})

	t.Run("L3 an element changed inside a map is written, though its bytes are the same in another order", func(t *testing.T) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			m := newManager[fleetMaps](t, memory(), sessions.Config{Codec: c})
			token := fleetTurn(t, m, "", func(_ context.Context, s *fleetMaps) { s.Counts = map[string]int{"a": 1, "b": 2} })
			for range 20 {
				fleetTurn(t, m, token, func(_ context.Context, s *fleetMaps) {
					s.Counts["a"], s.Counts["b"] = s.Counts["b"], s.Counts["a"]
				})
			}
			fleetTurn(t, m, token, func(_ context.Context, s *fleetMaps) { s.Counts["a"], s.Counts["b"] = s.Counts["b"], s.Counts["a"] })
			fleetTurn(t, m, token, func(_ context.Context, s *fleetMaps) {
				if s.Counts["a"] != 2 || s.Counts["b"] != 1 {
					t.Errorf("%v", s.Counts)
				}
			})
		})
	})
}

// Builds that write one value as different bytes.
type (
	fleetRate struct {
		Views int     `json:"views"`
		Note  string  `json:"note"`
		Rate  float64 `json:"rate"`
	}
	fleetRateBytes struct {
		Views int     `json:"views"`
		Note  []byte  `json:"note"`
		Rate  float64 `json:"rate"`
	}
	fleetRateText struct {
		Views int         `json:"views"`
		Note  string      `json:"note"`
		Rate  json.Number `json:"rate"`
	}
)

// fleetForeignBytes lets a build that writes other bytes change something, to what want is.
func fleetForeignBytes[T any](t *testing.T, c sessions.Codec, want fleetRate, change func(s *T)) {
	verbs := map[string]func(m *sessions.Manager[fleetRate], ctx context.Context) error{
		"a save": func(m *sessions.Manager[fleetRate], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return nil
		},
		"Renew": func(m *sessions.Manager[fleetRate], ctx context.Context) error {
			m.FromContext(ctx).Views++
			return m.Renew(ctx)
		},
		"Update": func(m *sessions.Manager[fleetRate], ctx context.Context) error {
			return m.Update(ctx, func(s *fleetRate) error { s.Views++; return nil })
		},
	}
	setup := func(t *testing.T) (log *calls, m *sessions.Manager[fleetRate], other *sessions.Manager[T], token string) {
		store, log := counted(&sessions.MemoryStore{})
		m = newManager[fleetRate](t, store, sessions.Config{Codec: c})
		other = newManager[T](t, store, sessions.Config{Codec: c})
		token = fleetTurn(t, m, "", func(_ context.Context, s *fleetRate) { s.Note = "begun" })
		return log, m, other, token
	}
	reads := func(t *testing.T, log *calls, m *sessions.Manager[fleetRate], token, whose string) {
		t.Helper()
		for range 2 {
			log.take()
			fleetTurn(t, m, token, func(_ context.Context, s *fleetRate) {
				if s.Rate != want.Rate || s.Note != want.Note {
					t.Errorf("it reads %+v, want %+v", *s, want)
				}
				s.Rate, s.Note = want.Rate, want.Note
			})
			wantCalls(t, log, "a read of what "+whose, "Load")
		}
	}
	t.Run("L3 K5 a reader of what another build wrote writes nothing, "+c.Name(), func(t *testing.T) {
		log, m, other, token := setup(t)
		token = fleetTurn(t, other, token, func(_ context.Context, s *T) { change(s) })
		reads(t, log, m, token, "the other build wrote")
	})
	for name, verb := range verbs {
		t.Run("L3 K5 a reader of what "+name+" merged with another build's save writes nothing, "+c.Name(), func(t *testing.T) {
			log, m, other, token := setup(t)
			token = fleetTurn(t, m, token, func(ctx context.Context, _ *fleetRate) {
				fleetTurn(t, other, token, func(_ context.Context, s *T) { change(s) })
				must(t, verb(m, ctx))
			})
			reads(t, log, m, token, name+" has merged")
		})
		t.Run("L3 K5 a reader of what "+name+" after another build's save left writes nothing, "+c.Name(), func(t *testing.T) {
			log, m, other, token := setup(t)
			token = fleetTurn(t, other, token, func(_ context.Context, s *T) { change(s) })
			token = fleetTurn(t, m, token, func(ctx context.Context, _ *fleetRate) { must(t, verb(m, ctx)) })
			reads(t, log, m, token, name+" has left")
		})
	}
}

func TestFleetReadsForeignBytes(t *testing.T) {
	fleetForeignBytes(t, sessions.MsgPack{}, fleetRate{Note: "theirs"}, func(s *fleetRateBytes) { s.Note = []byte("theirs") })
	fleetForeignBytes(t, sessions.JSON{}, fleetRate{Note: "begun", Rate: 1.5}, func(s *fleetRateText) { s.Rate = "1.50" })
}
