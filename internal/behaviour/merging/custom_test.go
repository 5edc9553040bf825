package merging_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// tally merges itself: what both have counted adds up.
type tally struct {
	Total int            `json:"total"`
	Seen  map[string]int `json:"seen"`
	Note  string         `json:"note"`
}

// watchers are asked first by MergeSession, each by the Note of its test's base.
var watchers sync.Map

type watcher func(mine, base, theirs *tally) error

func (s *tally) MergeSession(base, theirs *tally) error {
	if w, ok := watchers.Load(base.Note); ok {
		if err := w.(watcher)(s, base, theirs); err != nil {
			return err
		}
	}
	s.Total += theirs.Total - base.Total
	for k, n := range theirs.Seen {
		if s.Seen == nil {
			s.Seen = map[string]int{}
		}
		s.Seen[k] += n - base.Seen[k]
	}
	return nil
}

// watched is ten with a watcher.
func watched(t *testing.T, w watcher) func(*tally) {
	watchers.Store(t.Name(), w)
	return func(s *tally) { ten(s); s.Note = t.Name() }
}

func ten(s *tally) { s.Total, s.Seen, s.Note = 10, map[string]int{"a": 1, "b": 1}, "base" }

func tallyMine(s *tally) { s.Total += 5; s.Seen["a"]++; s.Note = "here" }

func tallyTheirs(s *tally) { s.Total += 7; s.Seen["c"] = 3; s.Note = "there" }

var tallyMerged = tally{22, map[string]int{"a": 2, "b": 1, "c": 3}, "here"}

func TestMergeSession(t *testing.T) {
	t.Parallel()
	eachOnRedis(t, func(t *testing.T, s setup) {
		t.Run("C7 what MergeSession makes of two changes is stored and becomes *T", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, ten)
			ctx, live := p.load(t, tallyTheirs)
			tallyMine(live)
			kit.Must(t, p.here.Save(ctx))
			want(t, "stored", p.stored(t), tallyMerged)
			want(t, "*T", *live, tallyMerged)
			p.store.Calls()
			kit.Must(t, p.here.Save(ctx))
			p.store.WantCalls(t, "a second save", "")
		})

		t.Run("C7 MergeSession is given three values decoded afresh", func(t *testing.T) {
			calls := 0
			var live *tally
			var base func(*tally)
			base = watched(t, func(mine, b, theirs *tally) error {
				calls++
				if mine == live || b == live || theirs == live || mine == b || b == theirs {
					t.Error("two of them are one")
				}
				var wantBase, wantMine, wantTheirs tally
				base(&wantBase)
				base(&wantMine)
				tallyMine(&wantMine)
				base(&wantTheirs)
				tallyTheirs(&wantTheirs)
				if !reflect.DeepEqual(*b, wantBase) || !reflect.DeepEqual(*mine, wantMine) || !reflect.DeepEqual(*theirs, wantTheirs) {
					t.Errorf("base %+v, mine %+v, theirs %+v", *b, *mine, *theirs)
				}
				mine.Seen["a"]++
				if !reflect.DeepEqual(*live, wantMine) || !reflect.DeepEqual(*b, wantBase) {
					t.Errorf("a change of mine changes *T to %+v, base to %+v", *live, *b)
				}
				mine.Seen["a"]--
				return nil
			})
			p := open(t, s, sessions.Config{}, base)
			ctx, l := p.load(t, tallyTheirs)
			live = l
			tallyMine(live)
			kit.Must(t, p.here.Save(ctx))
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})

		for _, verb := range []string{"Save", "Commit", "Renew", "SignIn", "Update", "the automatic save"} {
			t.Run("C7 an error of MergeSession comes unchanged out of "+verb+" and leaves all as it was", func(t *testing.T) {
				refused := fmt.Errorf("it is %w", errors.ErrUnsupported)
				var err error
				base := watched(t, func(*tally, *tally, *tally) error { return refused })
				p := open(t, s, sessions.Config{ErrorHandler: func(w http.ResponseWriter, _ *http.Request, e error) {
					err = e
					w.WriteHeader(http.StatusTeapot)
				}}, base)
				if verb == "the automatic save" {
					if res := p.serve(t, tallyMine, tallyTheirs); res.StatusCode != http.StatusTeapot {
						t.Errorf("status %d", res.StatusCode)
					}
				} else {
					ctx, live := p.load(t, tallyTheirs)
					tallyMine(live)
					before := *live
					before.Seen = maps.Clone(live.Seen)
					err = p.call(ctx, verb, func(*tally) {})
					want(t, "*T", *live, before)
				}
				if err != refused { //nolint:errorlint // the same value is the promise
					t.Errorf("the error is %#v", err)
				}
				var there tally
				base(&there)
				tallyTheirs(&there)
				want(t, "stored", p.stored(t), there)
				p.wantLeft(t, 1, 0)
			})
		}

		t.Run("C7 a panic of MergeSession goes on and is in nobody's way", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, watched(t, func(*tally, *tally, *tally) error { panic("of the test") }))
			ctx, live := p.load(t, tallyTheirs)
			tallyMine(live)
			func() {
				defer func() {
					if v := recover(); v != "of the test" {
						t.Errorf("the panic is %v", v)
					}
				}()
				_ = p.here.Save(ctx)
			}()
			kit.Within(t, func() { kit.Edit(t, p.here, p.token, func(s *tally) { s.Total++ }) })
			if got := p.stored(t); got.Total != 18 {
				t.Errorf("stored is %+v", got)
			}
		})

		if s.one {
			return // one process has one build
		}
		t.Run("C7 K3 fields that T does not know survive MergeSession", func(t *testing.T) {
			type newer struct {
				Total int            `json:"total"`
				Seen  map[string]int `json:"seen"`
				Note  string         `json:"note"`
				Added []string       `json:"added"`
			}
			p := open(t, s, sessions.Config{}, func(s *newer) { s.Total, s.Added = 10, []string{"base"} })
			m := kit.New[tally](t, s.store, sessions.Config{Codec: s.codec})
			ctx, live := kit.Load(t, m, p.token)
			p.edit(t, func(s *newer) { s.Total, s.Added = 17, []string{"theirs"} })
			live.Total = 15
			kit.Must(t, m.Save(ctx))
			want(t, "stored", p.stored(t), newer{Total: 22, Added: []string{"theirs"}})
		})
	})

	kit.EachBubble(t, "C7 MergeSession is called again when another one comes in between, on the same", func(t *testing.T, c sessions.Codec) {
		var totals [][3]int
		p := open(t, setup{kit.Memory(), c, c, false}, sessions.Config{}, watched(t, func(mine, base, theirs *tally) error {
			totals = append(totals, [3]int{mine.Total, base.Total, theirs.Total})
			if base.Seen["z"] > 0 || mine.Seen["a"] != 2 || base.Note != t.Name() {
				t.Errorf("base is %+v, mine %+v", *base, *mine)
			}
			base.Seen["z"], theirs.Note = 1, "overwritten" // what it does to them is forgotten
			base.Note = "overwritten"
			return nil
		}))
		ctx, live := p.load(t, tallyTheirs)
		tallyMine(live)
		p.meanwhile("before CompareAndSwap", 3, func() {
			kit.Edit(t, p.there, p.token, func(s *tally) { s.Total += 100; s.Seen["c"]++ })
		})
		kit.Must(t, p.here.Save(ctx))
		if want := [][3]int{{15, 10, 117}, {15, 10, 217}, {15, 10, 317}}; !reflect.DeepEqual(totals, want) {
			t.Errorf("mine, base and theirs are %v, want %v", totals, want)
		}
		want(t, "stored", p.stored(t), tally{322, map[string]int{"a": 2, "b": 1, "c": 6}, "here"})
	})

	atOnce(t, "C7 of 64 requests %s that count by plain saves, MergeSession loses none", sessions.Config{}, ten,
		func(i int, s *tally) { s.Total++; s.Seen[fmt.Sprint(i)] = i },
		func(t *testing.T, got result[tally]) {
			if s := got.stored; s.Total != 10+writers || len(s.Seen) != 2+writers {
				t.Errorf("%d counted, %d seen", s.Total, len(s.Seen))
			}
		})

	t.Run("C12 MergeSession is not asked", func(t *testing.T) {
		nothing := func(*tally) {}
		for name, row := range map[string]struct {
			policy       sessions.ConflictPolicy
			mine, theirs func(*tally)
		}{
			"where the last one wins": {sessions.ConflictLastWrite, tallyMine, tallyTheirs},
			"where it is refused":     {sessions.ConflictReject, tallyMine, tallyTheirs},
			"without a change here":   {sessions.ConflictMerge, nothing, tallyTheirs},
			"without one there":       {sessions.ConflictMerge, tallyMine, nothing},
		} {
			t.Run(name, func(t *testing.T) {
				base := watched(t, func(*tally, *tally, *tally) error { t.Error("it is"); return nil })
				p := open(t, setup{kit.Memory(), sessions.JSON{}, sessions.JSON{}, false}, sessions.Config{OnConflict: row.policy}, base)
				ctx, live := p.load(t, row.theirs)
				row.mine(live)
				_ = p.here.Save(ctx)
			})
		}
	})
	t.Run("C7 MergeSession needs no fields of the codec", func(t *testing.T) {
		p := open(t, setup{kit.Memory(), gobCodec{}, gobCodec{}, false}, sessions.Config{}, ten)
		ctx, live := p.load(t, tallyTheirs)
		tallyMine(live)
		kit.Must(t, p.here.Save(ctx))
		want(t, "stored", p.stored(t), tallyMerged)
	})
}

// sentence writes itself, as one string under a name that is none of its fields'.
type sentence struct{ Words []string }

func (w sentence) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"w":%q}`, strings.Join(w.Words, " ")), nil
}

func (w *sentence) UnmarshalJSON(data []byte) error {
	text, ok := strings.CutPrefix(string(data), `{"w":"`)
	if !ok {
		return errors.New("not words")
	}
	w.Words = strings.Fields(strings.TrimSuffix(text, `"}`))
	return nil
}

func (w *sentence) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.Encode(map[string]string{"w": strings.Join(w.Words, " ")})
}

func (w *sentence) DecodeMsgpack(d *msgpack.Decoder) error {
	var m map[string]string
	err := d.Decode(&m)
	w.Words = strings.Fields(m["w"])
	return err
}

// union is a sentence that can be merged.
type union struct{ sentence }

func (w *union) MergeSession(base, theirs *union) error {
	w.Words = append(w.Words, theirs.Words[len(base.Words):]...)
	return nil
}

func TestOwnMarshaler(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s setup) {
		t.Run("T7 New refuses a T with a marshaler of its own that cannot be merged, and says what to do", func(t *testing.T) {
			_, err := sessions.New[sentence](kit.Memory(), sessions.Config{Codec: s.codec})
			if err == nil || !strings.Contains(err.Error(), "MergeSession") || !strings.Contains(err.Error(), "Config.OnConflict") {
				t.Errorf("New = %v", err)
			}
		})
		t.Run("T7 C7 such a T is merged by its MergeSession", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, func(s *union) { s.Words = []string{"base"} })
			ctx, live := p.load(t, func(s *union) { s.Words = append(s.Words, "there") })
			live.Words = append(live.Words, "here")
			kit.Must(t, p.here.Save(ctx))
			want(t, "stored", p.stored(t).Words, []string{"base", "here", "there"})
			want(t, "*T", live.Words, []string{"base", "here", "there"})
		})
		for name, row := range map[string]struct {
			policy sessions.ConflictPolicy
			want   []string
			err    error
		}{
			"the last one wins":        {sessions.ConflictLastWrite, []string{"base", "here"}, nil},
			"the later one is refused": {sessions.ConflictReject, []string{"base", "there"}, sessions.ErrConflict},
		} {
			t.Run("T7 C12 New takes it too where "+name, func(t *testing.T) {
				p := open(t, s, sessions.Config{OnConflict: row.policy}, func(s *sentence) { s.Words = []string{"base"} })
				ctx, live := p.load(t, func(s *sentence) { s.Words = append(s.Words, "there") })
				live.Words = append(live.Words, "here")
				kit.WantErr(t, "Save", p.here.Save(ctx), row.err)
				want(t, "stored", p.stored(t).Words, row.want)
			})
		}
	})
}
