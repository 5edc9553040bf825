package sessions_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
)

func TestMerge(t *testing.T) {
	set := func(name string, v int) func(*mergeState) {
		for _, f := range mergeFields {
			if f.json == name {
				return func(s *mergeState) { f.set(s, v) }
			}
		}
		panic(name)
	}
	both := func(f, g func(*mergeState)) func(*mergeState) { return func(s *mergeState) { f(s); g(s) } }
	all := func(s *mergeState) {
		for _, f := range mergeFields {
			f.set(s, 1)
		}
	}
	type row struct {
		name        string
		here, there func(*mergeState)
		taken, lost []string
	}
	rows := []row{
		{"C7 two fields that are there", set("name", 2), set("count", 2), []string{"count"}, nil},
		{"C7 a field that is omitted when empty, cleared here, is gone", set("note", 0), set("count", 2), []string{"count"}, nil},
		{"C7 one cleared there stays gone", set("count", 2), set("note", 0), []string{"note"}, nil},
		{"C7 one cleared on both sides is gone and no conflict", set("note", 0), set("note", 0), nil, nil},
		{"C7 one cleared here and another one there", set("note", 0), set("tags", 0), []string{"tags"}, nil},
		{"C7 one cleared there and set here is set", set("note", 2), set("note", 0), nil, []string{"note"}},
		{"C7 one cleared here and set there is gone", set("note", 0), set("note", 2), nil, []string{"note"}},
		{"C7 a pointer that is cleared here", set("limit", 0), set("next", 0), []string{"next"}, nil},
		{
			"C7 a nested struct is one field", func(s *mergeState) { s.Nested = mergeNested{A: "mine"} },
			func(s *mergeState) { s.Nested.B = "theirs" }, nil,
			[]string{"nested"},
		},
		{"C7 a map is one field", set("prefs", 2), func(s *mergeState) { s.Prefs["z"] = 1 }, nil, []string{"prefs"}},
		{"C7 an element of a slice", func(s *mergeState) { s.List[0].Qty = 9 }, set("name", 2), []string{"name"}, nil},
		{"C7 a map that there is in another order only is nobody's change", set("name", 2), both(set("prefs", 1), set("count", 2)), []string{"count"}, nil},
		{"C8 the same value on both sides is no conflict", set("name", 2), set("name", 2), nil, nil},
		{"C8 the same map on both sides is no conflict", set("prefs", 2), set("prefs", 2), nil, nil},
		{"C8 the same field has the later one's value", set("name", 3), set("name", 2), nil, []string{"name"}},
		{"C8 one field of two is the same", both(set("name", 3), set("blob", 3)), both(set("name", 2), set("seen", 2)), []string{"seen"}, []string{"name"}},
		{"C8 two fields are the same", both(set("prefs", 3), set("any", 3)), both(set("any", 2), set("prefs", 2)), nil, []string{"prefs", "any"}},
		{"C8 all fields are the same", func(s *mergeState) { *s = mergeState{Name: "mine"} }, func(s *mergeState) { *s = mergeState{Name: "theirs"} }, nil, []string{"name"}},
	}
	for i, f := range mergeFields {
		other := mergeFields[(i+1)%len(mergeFields)].json
		rows = append(rows,
			row{"C7 " + f.json + " here and another field there", set(f.json, 2), set(other, 2), []string{other}, nil},
			row{"C7 " + f.json + " emptied here and another field there", set(f.json, 0), set(other, 3), []string{other}, nil},
		)
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, here, there sessions.Codec, one bool) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				mergeMeet(t, newMergePair(t, store, sessions.Config{Codec: here}, there, one, all), here, all, row.here, row.there, row.taken, row.lost)
			})
		}
	})

	t.Run("C7 what two requests make of all fields, drawn at random", func(t *testing.T) {
		eachMerge(t, func(t *testing.T, here, there sessions.Codec, one bool) {
			var store sessions.MemoryStore
			for range 100 {
				var base, mine, theirs []int
				var taken, lost []string
				for _, f := range mergeFields {
					x := rand.N(4)
					y, z := x, x
					if rand.N(3) == 0 {
						y = rand.N(4)
					}
					if rand.N(3) == 0 {
						z = rand.N(4)
					}
					base, mine, theirs = append(base, x), append(mine, y), append(theirs, z)
					name := f.json
					if here.Name() == "msgpack" && f.msgpack != "" {
						name = f.msgpack
					}
					switch {
					case z == x || y == z:
					case y == x:
						taken = append(taken, name)
					default:
						lost = append(lost, name)
					}
				}
				if slices.Equal(base, mine) || slices.Equal(base, theirs) {
					continue
				}
				only := func(vs []int) func(*mergeState) {
					return func(s *mergeState) {
						for i, v := range vs {
							if v != base[i] {
								mergeFields[i].set(s, v)
							}
						}
					}
				}
				start := func(s *mergeState) {
					for i, v := range base {
						mergeFields[i].set(s, v)
					}
				}
				p := newMergePair(t, &store, sessions.Config{Codec: here}, there, one, start)
				if mergeMeet(t, p, here, start, only(mine), only(theirs), taken, lost); t.Failed() {
					t.Fatalf("base %v, mine %v, theirs %v", base, mine, theirs)
				}
			}
		})
	})
}

// What is back to what was loaded was not changed, whatever it was meanwhile.
func TestMergeSetBack(t *testing.T) {
	start := func(s *mergeState) {
		s.Name, s.Count, s.Note, s.Tags = "base", 1, "base", map[string]string{"a": "1", "b": "2"}
	}
	there := func(s *mergeState) {
		s.Count, s.Note, s.Tags = 2, "", map[string]string{"c": "3"}
	}
	back := func(s *mergeState) {
		s.Count, s.Note = 99, ""
		delete(s.Tags, "a")
		s.Count, s.Note, s.Tags["a"] = 1, "base", "1"
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, theirs sessions.Codec, one bool) {
		t.Run("C7 beside another change, what there is stays", func(t *testing.T) {
			p := newMergePair(t, store, sessions.Config{Codec: codec}, theirs, one, start)
			ctx := p.meet(t, there)
			s := p.here.FromContext(ctx)
			back(s)
			s.Name = "mine"
			_, err := p.here.Commit(ctx)
			must(t, err)
			want := mergeState{Name: "mine", Count: 2, Tags: map[string]string{"c": "3"}}
			if got := mergeStored(t, p.there, p.token); !got.same(t, codec, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
			mergeTold(t, mergeEvents(p.events), []string{"count", "note", "tags"}, nil)
		})
		t.Run("C7 alone, nothing is written", func(t *testing.T) {
			p := newMergePair(t, store, sessions.Config{Codec: codec}, theirs, one, start)
			ctx := p.meet(t, there)
			back(p.here.FromContext(ctx))
			_, err := p.here.Commit(ctx)
			must(t, err)
			wantCalls(t, p.calls, "it", "")
			if e := mergeEvents(p.events); len(e) > 0 {
				t.Errorf("events %v", e)
			}
		})
		t.Run("C7 a value set back there is not a change there", func(t *testing.T) {
			p := newMergePair(t, store, sessions.Config{Codec: codec}, theirs, one, start)
			ctx := p.meet(t, there)
			mergeEdit(t, p.there, p.token, func(s *mergeState) { start(s); s.Plain = 1 })
			mergeEvents(p.events)
			p.here.FromContext(ctx).Count = 5
			_, err := p.here.Commit(ctx)
			must(t, err)
			mergeTold(t, mergeEvents(p.events), []string{"Plain"}, nil)
		})
	})
}

func TestMergeUnstored(t *testing.T) {
	type T struct {
		Name  string `json:"name"`
		Other string `json:"other"`
		Out   string `json:"-"`
		in    string
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, theirs sessions.Codec, one bool) {
		p := newMergePair(t, store, sessions.Config{Codec: codec}, theirs, one, func(s *T) { s.Name = "base" })
		ctx := p.meet(t, func(s *T) { s.Other = "theirs" })
		mergeEdit(t, p.there, p.token, func(s *T) { s.Other = "" })
		s := p.here.FromContext(ctx)
		s.Name, s.Out, s.in = "mine", "out", "in"
		must(t, p.here.Save(ctx))
		t.Run("C7 what is not stored survives a save that takes nothing from another one", func(t *testing.T) {
			if s.Out != "out" || s.in != "in" || s.Name != "mine" {
				t.Errorf("*T is %+v", *s)
			}
		})
		t.Run("C7 what is not stored survives a save without a conflict", func(t *testing.T) {
			s.Name = "again"
			must(t, p.here.Save(ctx))
			if s.Out != "out" || s.in != "in" || s.Name != "again" {
				t.Errorf("*T is %+v", *s)
			}
		})
	})
}
