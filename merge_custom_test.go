package sessions_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
)

// mergeTally merges itself: what both have counted adds up.
type mergeTally struct {
	Total int            `json:"total"`
	Seen  map[string]int `json:"seen"`
	Note  string         `json:"note"`
}

// mergeSpy is asked first. The tests that set it do not run in parallel.
var mergeSpy func(mine, base, theirs *mergeTally) error

func (s *mergeTally) MergeSession(base, theirs *mergeTally) error {
	if mergeSpy != nil {
		if err := mergeSpy(s, base, theirs); err != nil {
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

func spyOnMerge(t *testing.T, spy func(mine, base, theirs *mergeTally) error) {
	mergeSpy = spy
	t.Cleanup(func() { mergeSpy = nil })
}

func mergeTen(s *mergeTally) { s.Total, s.Seen, s.Note = 10, map[string]int{"a": 1, "b": 1}, "base" }

func mergeHere(s *mergeTally) { s.Total += 5; s.Seen["a"]++; s.Note = "here" }

func mergeThere(s *mergeTally) { s.Total += 7; s.Seen["c"] = 3; s.Note = "there" }

func TestMerging(t *testing.T) {
	want := mergeTally{22, map[string]int{"a": 2, "b": 1, "c": 3}, "here"}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, other sessions.Codec, one bool) {
		cfg := sessions.Config{Codec: codec}
		open := func(t *testing.T) *mergePair[mergeTally] { return newMergePair(t, store, cfg, other, one, mergeTen) }
		t.Run("C7 what MergeSession makes of two changes is stored and becomes *T", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, mergeThere)
			s := p.here.FromContext(ctx)
			mergeHere(s)
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); !reflect.DeepEqual(got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
			if !reflect.DeepEqual(*s, want) {
				t.Errorf("*T is %+v, want %+v", *s, want)
			}
			p.calls.take()
			must(t, p.here.Save(ctx))
			wantCalls(t, p.calls, "a second save", "")
		})
		t.Run("C7 MergeSession is given three values decoded afresh", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, mergeThere)
			live := p.here.FromContext(ctx)
			mergeHere(live)
			calls := 0
			spyOnMerge(t, func(mine, base, theirs *mergeTally) error {
				calls++
				if mine == live || base == live || theirs == live || mine == base || base == theirs {
					t.Error("two of them are one")
				}
				var b, h, th mergeTally
				mergeTen(&b)
				mergeTen(&h)
				mergeHere(&h)
				mergeTen(&th)
				mergeThere(&th)
				if !reflect.DeepEqual(*base, b) || !reflect.DeepEqual(*mine, h) || !reflect.DeepEqual(*theirs, th) {
					t.Errorf("base %+v, mine %+v, theirs %+v", *base, *mine, *theirs)
				}
				mine.Seen["a"]++
				if !reflect.DeepEqual(*live, h) || !reflect.DeepEqual(*base, b) {
					t.Errorf("a change of mine changes *T to %+v, base to %+v", *live, *base)
				}
				mine.Seen["a"]--
				return nil
			})
			must(t, p.here.Save(ctx))
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
		for _, verb := range []string{"Save", "Commit", "Renew", "SignIn", "Update", "the automatic save"} {
			t.Run("C7 an error of MergeSession comes unchanged out of "+verb+" and leaves all as it was", func(t *testing.T) {
				spy := &spyStore{Store: store}
				refused := fmt.Errorf("it is %w", errors.ErrUnsupported)
				var handled error
				cfg := cfg
				cfg.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) { handled = err; w.WriteHeader(418) }
				p := newMergePair(t, spy, cfg, other, one, mergeTen)
				spyOnMerge(t, func(*mergeTally, *mergeTally, *mergeTally) error { return refused })
				var err error
				if verb == "the automatic save" {
					if res := p.answer(t, mergeHere, mergeThere); res.StatusCode != 418 {
						t.Errorf("status %d", res.StatusCode)
					}
					err = handled
				} else {
					ctx := p.meet(t, mergeThere)
					s := p.here.FromContext(ctx)
					mergeHere(s)
					before := *s
					switch verb {
					case "Save":
						err = p.here.Save(ctx)
					case "Commit":
						_, err = p.here.Commit(ctx)
					case "Renew":
						err = p.here.Renew(ctx)
					case "SignIn":
						err = p.here.SignIn(ctx)
					case "Update":
						err = p.here.Update(ctx, func(*mergeTally) error { return nil })
					}
					if !reflect.DeepEqual(*s, before) {
						t.Errorf("*T is %+v, was %+v", *s, before)
					}
				}
				if err != refused { //nolint:errorlint // the same value is the promise
					t.Errorf("the error is %#v", err)
				}
				stored := mergeTally{}
				mergeTen(&stored)
				mergeThere(&stored)
				if got := mergeStored(t, p.there, p.token); !reflect.DeepEqual(got, stored) {
					t.Errorf("stored is %+v, want %+v", got, stored)
				}
				if live, marks := spy.left(t); live != 1 || marks != 0 {
					t.Errorf("%d records and %d marks", live, marks)
				}
			})
		}
		t.Run("C7 a panic of MergeSession goes on and is in nobody's way", func(t *testing.T) {
			p := open(t)
			ctx := p.meet(t, mergeThere)
			mergeHere(p.here.FromContext(ctx))
			spyOnMerge(t, func(*mergeTally, *mergeTally, *mergeTally) error { panic("of the test") })
			func() {
				defer func() {
					if v := recover(); v != "of the test" {
						t.Errorf("the panic is %v", v)
					}
				}()
				_ = p.here.Save(ctx)
			}()
			mergeSpy = nil
			within(t, func() { mergeEdit(t, p.here, p.token, func(s *mergeTally) { s.Total++ }) })
			if got := mergeStored(t, p.there, p.token); got.Total != 18 {
				t.Errorf("stored is %+v", got)
			}
		})
		if one {
			return
		}
		t.Run("C7 MergeSession is called again when another one comes in between, on the same", func(t *testing.T) {
			meddler := &stepStore{Store: store}
			p := newMergePair(t, meddler, cfg, other, false, mergeTen)
			ctx := p.meet(t, mergeThere)
			mergeHere(p.here.FromContext(ctx))
			swaps := 0
			var totals [][3]int
			busy := false
			meddler.before = func(op, _ string) error {
				if op == "CompareAndSwap" && !busy && swaps < 3 {
					swaps++
					busy = true
					mergeEdit(t, p.there, p.token, func(s *mergeTally) { s.Total += 100; s.Seen["c"]++ })
					busy = false
				}
				return nil
			}
			spyOnMerge(t, func(mine, base, theirs *mergeTally) error {
				totals = append(totals, [3]int{mine.Total, base.Total, theirs.Total})
				if base.Seen["z"] > 0 || mine.Seen["a"] != 2 || base.Note != "base" {
					t.Errorf("base is %+v, mine %+v", *base, *mine)
				}
				base.Seen["z"], theirs.Note = 1, "overwritten" // what it does to them is forgotten
				base.Note = "overwritten"
				return nil
			})
			must(t, p.here.Save(ctx))
			if want := [][3]int{{15, 10, 117}, {15, 10, 217}, {15, 10, 317}}; !reflect.DeepEqual(totals, want) {
				t.Errorf("mine, base and theirs are %v, want %v", totals, want)
			}
			if got, want := mergeStored(t, p.there, p.token), (mergeTally{322, map[string]int{"a": 2, "b": 1, "c": 6}, "here"}); !reflect.DeepEqual(got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
		})
		t.Run("C7 K3 fields that T does not know survive MergeSession", func(t *testing.T) {
			type Newer struct {
				Total int            `json:"total"`
				Seen  map[string]int `json:"seen"`
				Note  string         `json:"note"`
				Added []string       `json:"added"`
			}
			newer := newMergePair(t, store, sessions.Config{Codec: other}, other, false, func(s *Newer) { s.Total, s.Added = 10, []string{"base"} })
			m := newManager[mergeTally](t, store, cfg)
			ctx, err := m.Load(t.Context(), newer.token)
			must(t, err)
			mergeEdit(t, newer.there, newer.token, func(s *Newer) { s.Total, s.Added = 17, []string{"theirs"} })
			m.FromContext(ctx).Total = 15
			must(t, m.Save(ctx))
			if got := mergeStored(t, newer.there, newer.token); got.Total != 22 || !reflect.DeepEqual(got.Added, []string{"theirs"}) {
				t.Errorf("stored is %+v", got)
			}
		})
	})

	eachFleet(t, "C7 of 64 requests %s that count by plain saves, MergeSession loses none", func(t *testing.T, store sessions.Store, c sessions.Codec, processes int) {
		ms, _ := mergeFleet[mergeTally](t, store, processes, sessions.Config{Codec: c})
		token := mergeSeed(t, ms[0], mergeTen)
		mergeAtOnce(ms, token, mergeWriters, func(i int, s *mergeTally) { s.Total++; s.Seen[fmt.Sprint(i)] = i })
		got := mergeStored(t, ms[0], token)
		if got.Total != 10+mergeWriters || len(got.Seen) != 2+mergeWriters {
			t.Errorf("%d counted, %d seen", got.Total, len(got.Seen))
		}
	})

	t.Run("C12 MergeSession is not asked", func(t *testing.T) {
		spyOnMerge(t, func(*mergeTally, *mergeTally, *mergeTally) error { t.Error("it is"); return nil })
		for name, row := range map[string]struct {
			policy      sessions.ConflictPolicy
			here, there func(*mergeTally)
		}{
			"where the last one wins": {sessions.ConflictLastWrite, mergeHere, mergeThere},
			"where it is refused":     {sessions.ConflictReject, mergeHere, mergeThere},
			"without a change here":   {sessions.ConflictMerge, func(*mergeTally) {}, mergeThere},
			"without one there":       {sessions.ConflictMerge, mergeHere, func(*mergeTally) {}},
		} {
			t.Run(name, func(t *testing.T) {
				p := newMergePair(t, memory(), sessions.Config{OnConflict: row.policy}, sessions.JSON{}, false, mergeTen)
				ctx := p.meet(t, row.there)
				row.here(p.here.FromContext(ctx))
				_ = p.here.Save(ctx)
			})
		}
	})
	t.Run("C7 MergeSession needs no fields of the codec", func(t *testing.T) {
		p := newMergePair(t, memory(), sessions.Config{Codec: gobCodec{}}, gobCodec{}, false, mergeTen)
		ctx := p.meet(t, mergeThere)
		mergeHere(p.here.FromContext(ctx))
		must(t, p.here.Save(ctx))
		if got := mergeStored(t, p.there, p.token); !reflect.DeepEqual(got, want) {
			t.Errorf("stored is %+v, want %+v", got, want)
		}
	})
}

// mergeWords writes itself, as one string under a name that is none of its fields'.
type mergeWords struct{ Words []string }

func (w mergeWords) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"w":%q}`, strings.Join(w.Words, " ")), nil
}

func (w *mergeWords) UnmarshalJSON(data []byte) error {
	text, ok := strings.CutPrefix(string(data), `{"w":"`)
	if !ok {
		return errors.New("not words")
	}
	w.Words = strings.Fields(strings.TrimSuffix(text, `"}`))
	return nil
}

func (w *mergeWords) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.Encode(map[string]string{"w": strings.Join(w.Words, " ")})
}

func (w *mergeWords) DecodeMsgpack(d *msgpack.Decoder) error {
	var m map[string]string
	err := d.Decode(&m)
	w.Words = strings.Fields(m["w"])
	return err
}

// mergeUnion is mergeWords that know how to go together.
type mergeUnion struct{ mergeWords }

func (w *mergeUnion) MergeSession(base, theirs *mergeUnion) error {
	w.Words = append(w.Words, theirs.Words[len(base.Words):]...)
	return nil
}

func TestMergeOwnMarshaler(t *testing.T) {
	eachMerge(t, func(t *testing.T, codec, other sessions.Codec, one bool) {
		t.Run("T7 New refuses a T with a marshaler of its own that cannot be merged, and says what to do", func(t *testing.T) {
			_, err := sessions.New[mergeWords](memory(), sessions.Config{Codec: codec})
			if err == nil || !strings.Contains(err.Error(), "MergeSession") || !strings.Contains(err.Error(), "Config.OnConflict") {
				t.Errorf("New = %v", err)
			}
		})
		t.Run("T7 C7 such a T is merged by its MergeSession", func(t *testing.T) {
			p := newMergePair(t, memory(), sessions.Config{Codec: codec}, other, one, func(s *mergeUnion) { s.Words = []string{"base"} })
			ctx := p.meet(t, func(s *mergeUnion) { s.Words = append(s.Words, "there") })
			s := p.here.FromContext(ctx)
			s.Words = append(s.Words, "here")
			must(t, p.here.Save(ctx))
			if got := mergeStored(t, p.there, p.token); !reflect.DeepEqual(got.Words, []string{"base", "here", "there"}) || !reflect.DeepEqual(s.Words, got.Words) {
				t.Errorf("stored is %q, *T %q", got.Words, s.Words)
			}
		})
		for name, row := range map[string]struct {
			policy sessions.ConflictPolicy
			want   string
			err    error
		}{
			"the last one wins":        {sessions.ConflictLastWrite, "base here", nil},
			"the later one is refused": {sessions.ConflictReject, "base there", sessions.ErrConflict},
		} {
			t.Run("T7 C12 New takes it too where "+name, func(t *testing.T) {
				cfg := sessions.Config{Codec: codec, OnConflict: row.policy}
				p := newMergePair(t, memory(), cfg, other, one, func(s *mergeWords) { s.Words = []string{"base"} })
				ctx := p.meet(t, func(s *mergeWords) { s.Words = append(s.Words, "there") })
				s := p.here.FromContext(ctx)
				s.Words = append(s.Words, "here")
				if err := p.here.Save(ctx); !errors.Is(err, row.err) {
					t.Errorf("Save = %v", err)
				}
				if got := strings.Join(mergeStored(t, p.there, p.token).Words, " "); got != row.want {
					t.Errorf("stored is %q, want %q", got, row.want)
				}
			})
		}
	})
}
