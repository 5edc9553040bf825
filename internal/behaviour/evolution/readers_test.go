package evolution_test

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
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// mapsOld has maps that msgpack writes in no order.
type mapsOld struct {
	Views  int                         `json:"views"`
	Counts map[string]int              `json:"counts"`
	ByID   map[int]string              `json:"by_id"`
	Lists  map[string][]string         `json:"lists"`
	Deep   map[string]map[uint8]bool   `json:"deep"`
	Known  map[uuid.UUID]time.Duration `json:"known"`
	Nested struct{ In map[int64]int }  `json:"nested"`
	Any    map[string]any              `json:"any"`
}

// mapsNew is the same in a newer build, in another order, with more.
type mapsNew struct {
	More map[string]int `json:"more"`
	mapsOld
	Extra map[int]int `json:"extra"`
}

func randomMaps(r *rand.Rand) mapsNew {
	s := mapsNew{More: map[string]int{}, Extra: map[int]int{}}
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

func TestReaders(t *testing.T) {
	t.Parallel()
	turns := 300
	if testing.Short() {
		turns = 30
	}
	t.Run("K5 L3 readers of several hundred random maps of two builds write nothing", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			for _, theirs := range []sessions.Codec{c, otherCodec(c)} {
				t.Run("written in "+theirs.Name(), func(t *testing.T) {
					t.Parallel()
					store := &kit.Store{Store: kit.Memory()}
					cfg := sessions.Config{Codec: c}
					older := kit.New[mapsOld](t, store, cfg)
					again := kit.New[mapsOld](t, store, cfg)
					newer := kit.New[mapsNew](t, store, sessions.Config{Codec: theirs})
					r := rand.New(rand.NewPCG(1, 2))
					token := ""
					for i := range turns {
						want := randomMaps(r)
						token = kit.Edit(t, newer, token, func(s *mapsNew) { *s = want })
						if i%3 == 1 { // what a build has taken over from another
							token = kit.Edit(t, older, token, func(s *mapsOld) { s.Views = i })
							want.Views = i
						}
						if i%3 == 2 { // what it has merged
							token = kit.Edit(t, older, token, func(s *mapsOld) {
								s.Views = i
								kit.Edit(t, newer, token, func(s *mapsNew) {
									s.ByID = maps.Clone(s.ByID)
									s.ByID[i] = "theirs"
								})
							})
							want.Views, want.ByID[i] = i, "theirs"
						}
						store.Calls()
						for _, m := range []*sessions.Manager[mapsOld]{older, again} {
							turn(t, m, token, func(ctx context.Context, s *mapsOld) {
								if !reflect.DeepEqual(*s, want.mapsOld) {
									t.Fatalf("turn %d reads %+v, want %+v", i, *s, want.mapsOld)
								}
								kit.Must(t, m.Save(ctx))
							})
							store.WantCalls(t, fmt.Sprintf("a read in turn %d", i), "Load")
							kit.Edit(t, m, token, func(s *mapsOld) { // the values that there are
								s.ByID, s.Deep = maps.Clone(s.ByID), maps.Clone(s.Deep)
								maps.Copy(s.Counts, s.Counts)
							})
							store.WantCalls(t, fmt.Sprintf("the same values again in turn %d", i), "Load")
						}
						kit.Edit(t, newer, token, func(*mapsNew) {})
						store.WantCalls(t, fmt.Sprintf("a read by the newer build in turn %d", i), "Load")
					}
				})
			}
		})
	})

	t.Run("L3 an element changed inside a map is written, though its bytes are the same in another order", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			m := kit.New[mapsOld](t, kit.Memory(), sessions.Config{Codec: c})
			token := kit.Edit(t, m, "", func(s *mapsOld) { s.Counts = map[string]int{"a": 1, "b": 2} })
			for range 21 {
				kit.Edit(t, m, token, func(s *mapsOld) { s.Counts["a"], s.Counts["b"] = s.Counts["b"], s.Counts["a"] })
			}
			if s := kit.Stored(t, m, token); s.Counts["a"] != 2 || s.Counts["b"] != 1 {
				t.Errorf("%v", s.Counts)
			}
		})
	})
}

// Builds that write one value as different bytes.
type (
	rate struct {
		Views int     `json:"views"`
		Note  string  `json:"note"`
		Rate  float64 `json:"rate"`
	}
	rateBytes struct {
		Views int     `json:"views"`
		Note  []byte  `json:"note"`
		Rate  float64 `json:"rate"`
	}
	rateText struct {
		Views int         `json:"views"`
		Note  string      `json:"note"`
		Rate  json.Number `json:"rate"`
	}
)

// readersOfForeignBytes lets a build that writes other bytes change something, to
// what want is.
func readersOfForeignBytes[T any](t *testing.T, c sessions.Codec, want rate, change func(s *T)) {
	type (
		manager = *sessions.Manager[rate]
		other   = *sessions.Manager[T]
	)
	run := func(what string, write func(t *testing.T, m manager, theirs other, token string) string) {
		t.Run("L3 K5 a reader of what "+what+" writes nothing, "+c.Name(), func(t *testing.T) {
			store := &kit.Store{Store: kit.Memory()}
			m, theirs := kit.New[rate](t, store, sessions.Config{Codec: c}), kit.New[T](t, store, sessions.Config{Codec: c})
			token := write(t, m, theirs, kit.Edit(t, m, "", func(s *rate) { s.Note = "begun" }))
			for range 2 {
				store.Calls()
				kit.Edit(t, m, token, func(s *rate) {
					if s.Rate != want.Rate || s.Note != want.Note {
						t.Errorf("it reads %+v, want %+v", *s, want)
					}
					s.Rate, s.Note = want.Rate, want.Note
				})
				store.WantCalls(t, "a read", "Load")
			}
		})
	}
	run("another build wrote", func(t *testing.T, _ manager, theirs other, token string) string {
		return kit.Edit(t, theirs, token, change)
	})
	for name, verb := range map[string]func(m manager, ctx context.Context, s *rate) error{
		"a save": func(_ manager, _ context.Context, s *rate) error { s.Views++; return nil },
		"Renew":  func(m manager, ctx context.Context, s *rate) error { s.Views++; return m.Renew(ctx) },
		"Update": func(m manager, ctx context.Context, _ *rate) error {
			return m.Update(ctx, func(s *rate) error { s.Views++; return nil })
		},
	} {
		run(name+" merged with another build's save", func(t *testing.T, m manager, theirs other, token string) string {
			return turn(t, m, token, func(ctx context.Context, s *rate) {
				kit.Edit(t, theirs, token, change)
				kit.Must(t, verb(m, ctx, s))
			})
		})
		run(name+" after another build's save left", func(t *testing.T, m manager, theirs other, token string) string {
			token = kit.Edit(t, theirs, token, change)
			return turn(t, m, token, func(ctx context.Context, s *rate) { kit.Must(t, verb(m, ctx, s)) })
		})
	}
}

func TestReadersOfForeignBytes(t *testing.T) {
	t.Parallel()
	readersOfForeignBytes(t, sessions.MsgPack{}, rate{Note: "theirs"}, func(s *rateBytes) { s.Note = []byte("theirs") })
	readersOfForeignBytes(t, sessions.JSON{}, rate{Note: "begun", Rate: 1.5}, func(s *rateText) { s.Rate = "1.50" })
}
