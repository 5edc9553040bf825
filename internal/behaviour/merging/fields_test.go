package merging_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// state is a T with a field of each kind.
type state struct {
	Name   string            `json:"name"`
	Count  int               `json:"count"`
	Note   string            `json:"note,omitempty"`
	Seen   time.Time         `json:"seen"`
	Prefs  map[string]int    `json:"prefs"`
	Tags   map[string]string `json:"tags,omitempty"`
	List   []kit.Item        `json:"list"`
	Next   *kit.Item         `json:"next"`
	Limit  *int              `json:"limit,omitempty"`
	Nested nested            `json:"nested"`
	Blob   []byte            `json:"blob"`
	Any    any               `json:"any"`
	Plain  float64
	Embedded
}

type nested struct {
	A, B string
	Deep []nested
}

type Embedded struct {
	Inside string `json:"inside" msgpack:"in"`
}

// fields set one field each: to its zero value, or to one of three more.
var fields = []struct {
	name string
	set  func(s *state, v int)
}{
	{"name", func(s *state, v int) { s.Name = words[v] }},
	{"count", func(s *state, v int) { s.Count = v }},
	{"note", func(s *state, v int) { s.Note = words[v] }},
	{"seen", func(s *state, v int) {
		if s.Seen = (time.Time{}); v > 0 {
			s.Seen = time.Date(2026, 1, v, 2, 3, 4, 5, time.Local)
		}
	}},
	{"prefs", func(s *state, v int) {
		if s.Prefs = nil; v > 0 {
			s.Prefs = map[string]int{"v": v, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7}
		}
	}},
	{"tags", func(s *state, v int) {
		if s.Tags = nil; v > 0 {
			s.Tags = map[string]string{"v": words[v], "w": "x"}
		}
	}},
	{"list", func(s *state, v int) {
		if s.List = nil; v > 0 {
			s.List = slices.Repeat([]kit.Item{{SKU: "sku", Qty: v}}, v)
		}
	}},
	{"next", func(s *state, v int) {
		if s.Next = nil; v > 0 {
			s.Next = &kit.Item{SKU: "next", Qty: v}
		}
	}},
	{"limit", func(s *state, v int) {
		if s.Limit = nil; v > 0 {
			v-- // a pointer to 0 is no nil
			s.Limit = &v
		}
	}},
	{"nested", func(s *state, v int) {
		if s.Nested = (nested{}); v > 0 {
			s.Nested = nested{A: words[v], Deep: []nested{{B: "b"}}}
		}
	}},
	{"blob", func(s *state, v int) {
		if s.Blob = nil; v > 0 {
			s.Blob = []byte{0, byte(v), 255}
		}
	}},
	{"any", func(s *state, v int) {
		if s.Any = nil; v > 0 {
			s.Any = map[string]any{"v": words[v]}
		}
	}},
	{"Plain", func(s *state, v int) { s.Plain = float64(v) / 3 }},
	{"inside", func(s *state, v int) { s.Inside = words[v] }},
}

var words = []string{"", "SECRET-1", "SECRET-2", "SECRET-3"}

// set sets one field.
func set(name string, v int) func(*state) {
	for _, f := range fields {
		if f.name == name {
			return func(s *state) { f.set(s, v) }
		}
	}
	panic(name)
}

// values sets each field to its value, where the value is not that of but.
func values(vs, but []int) func(*state) {
	return func(s *state) {
		for i, v := range vs {
			if but == nil || v != but[i] {
				fields[i].set(s, v)
			}
		}
	}
}

// wantState compares what has been through a codec with what may not have been.
func wantState(t *testing.T, c sessions.Codec, what string, got, want state) {
	t.Helper()
	for _, v := range []*state{&got, &want} {
		data, err := c.Marshal(v)
		kit.Must(t, err)
		*v = state{}
		kit.Must(t, c.Unmarshal(data, v))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is\n%+v, want\n%+v", what, got, want)
	}
}

// merge lets two requests of a session meet and looks at all that comes of it:
// what is stored, what *T holds, what the events say, and that a second save has
// nothing to do.
func merge(t *testing.T, s setup, base, mine, theirs func(*state), merged, conflict []string) {
	t.Helper()
	p := open(t, s, sessions.Config{}, base)
	ctx, live := p.load(t, theirs)
	mine(live)
	kit.Commit(t, p.here, ctx)
	var want state // changes here win, so they come last
	base(&want)
	theirs(&want)
	mine(&want)
	wantState(t, s.codec, "stored", p.stored(t), want)
	wantState(t, s.codec, "*T", *live, want)
	names := func(fields []string) []string { // as here's codec writes them
		fields = slices.Clone(fields)
		if i := slices.Index(fields, "inside"); i >= 0 && s.codec.Name() == "msgpack" {
			fields[i] = "in"
		}
		return fields
	}
	p.wantFields(t, names(merged), names(conflict))
	p.store.Calls()
	kit.Commit(t, p.here, ctx)
	p.store.WantCalls(t, "a second save", "")
}

func TestMerge(t *testing.T) {
	t.Parallel()
	both := func(f, g func(*state)) func(*state) { return func(s *state) { f(s); g(s) } }
	base := values(slices.Repeat([]int{1}, len(fields)), nil)
	type row struct {
		name             string
		mine, theirs     func(*state)
		merged, conflict []string
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
			"C7 a nested struct is one field", func(s *state) { s.Nested = nested{A: "mine"} },
			func(s *state) { s.Nested.B = "theirs" }, nil,
			[]string{"nested"},
		},
		{"C7 a map is one field", set("prefs", 2), func(s *state) { s.Prefs["z"] = 1 }, nil, []string{"prefs"}},
		{"C7 an element of a slice", func(s *state) { s.List[0].Qty = 9 }, set("name", 2), []string{"name"}, nil},
		{"C7 a map that there is in another order only is nobody's change", set("name", 2), both(set("prefs", 1), set("count", 2)), []string{"count"}, nil},
		{"C8 the same value on both sides is no conflict", set("name", 2), set("name", 2), nil, nil},
		{"C8 the same map on both sides is no conflict", set("prefs", 2), set("prefs", 2), nil, nil},
		{"C8 the same field has the later one's value", set("name", 3), set("name", 2), nil, []string{"name"}},
		{"C8 one field of two is the same", both(set("name", 3), set("blob", 3)), both(set("name", 2), set("seen", 2)), []string{"seen"}, []string{"name"}},
		{"C8 two fields are the same", both(set("prefs", 3), set("any", 3)), both(set("any", 2), set("prefs", 2)), nil, []string{"prefs", "any"}},
		{"C8 all fields are the same", func(s *state) { *s = state{Name: "mine"} }, func(s *state) { *s = state{Name: "theirs"} }, nil, []string{"name"}},
	}
	for i, f := range fields {
		other := fields[(i+1)%len(fields)].name
		rows = append(rows,
			row{"C7 " + f.name + " here and another field there", set(f.name, 2), set(other, 2), []string{other}, nil},
			row{"C7 " + f.name + " emptied here and another field there", set(f.name, 0), set(other, 3), []string{other}, nil},
		)
	}
	eachOnRedis(t, func(t *testing.T, s setup) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) { merge(t, s, base, row.mine, row.theirs, row.merged, row.conflict) })
		}
	})

	t.Run("C7 what two requests make of all fields, drawn at random", func(t *testing.T) {
		t.Parallel()
		rounds := 100
		if testing.Short() {
			rounds = 20
		}
		each(t, func(t *testing.T, s setup) {
			for range rounds {
				var base, mine, theirs []int
				var merged, conflict []string
				for _, f := range fields {
					x := rand.N(4)
					y, z := x, x
					if rand.N(3) == 0 {
						y = rand.N(4)
					}
					if rand.N(3) == 0 {
						z = rand.N(4)
					}
					base, mine, theirs = append(base, x), append(mine, y), append(theirs, z)
					switch {
					case z == x || y == z:
					case y == x:
						merged = append(merged, f.name)
					default:
						conflict = append(conflict, f.name)
					}
				}
				if slices.Equal(base, mine) || slices.Equal(base, theirs) {
					continue
				}
				if merge(t, s, values(base, nil), values(mine, base), values(theirs, base), merged, conflict); t.Failed() {
					t.Fatalf("base %v, mine %v, theirs %v", base, mine, theirs)
				}
			}
		})
	})
}

// What is back to what was loaded was not changed, whatever it was meanwhile.
func TestSetBack(t *testing.T) {
	t.Parallel()
	base := func(s *state) {
		s.Name, s.Count, s.Note, s.Tags = "base", 1, "base", map[string]string{"a": "1", "b": "2"}
	}
	theirs := func(s *state) {
		s.Count, s.Note, s.Tags = 2, "", map[string]string{"c": "3"}
	}
	back := func(s *state) {
		s.Count, s.Note = 99, ""
		delete(s.Tags, "a")
		s.Count, s.Note, s.Tags["a"] = 1, "base", "1"
	}
	eachOnRedis(t, func(t *testing.T, s setup) {
		t.Run("C7 beside another change, what there is stays", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, base)
			ctx, live := p.load(t, theirs)
			back(live)
			live.Name = "mine"
			kit.Commit(t, p.here, ctx)
			wantState(t, s.codec, "stored", p.stored(t), state{Name: "mine", Count: 2, Tags: map[string]string{"c": "3"}})
			p.wantFields(t, []string{"count", "note", "tags"}, nil)
		})
		t.Run("C7 alone, nothing is written", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, base)
			ctx, live := p.load(t, theirs)
			back(live)
			kit.Commit(t, p.here, ctx)
			p.store.WantCalls(t, "it", "")
			p.events.Want(t)
		})
		t.Run("C7 a value set back there is not a change there", func(t *testing.T) {
			p := open(t, s, sessions.Config{}, base)
			ctx, live := p.load(t, theirs)
			p.edit(t, func(s *state) { base(s); s.Plain = 1 })
			live.Count = 5
			kit.Commit(t, p.here, ctx)
			p.wantFields(t, []string{"Plain"}, nil)
		})
	})
}

func TestUnstored(t *testing.T) {
	t.Parallel()
	type T struct {
		Name  string `json:"name"`
		Other string `json:"other"`
		Out   string `json:"-"`
		in    string
	}
	eachOnRedis(t, func(t *testing.T, s setup) {
		p := open(t, s, sessions.Config{}, func(s *T) { s.Name = "base" })
		ctx, live := p.load(t, func(s *T) { s.Other = "theirs" })
		p.edit(t, func(s *T) { s.Other = "" })
		for _, row := range []struct{ what, name string }{{"that takes nothing from another one", "mine"}, {"without a conflict", "again"}} {
			live.Name = row.name
			if row.name == "mine" {
				live.Out, live.in = "out", "in"
			}
			kit.Must(t, p.here.Save(ctx))
			t.Run("C7 what is not stored survives a save "+row.what, func(t *testing.T) {
				if live.Out != "out" || live.in != "in" || live.Name != row.name {
					t.Errorf("*T is %+v", *live)
				}
			})
		}
	})
}
