package merging_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// oldBuild and newBuild are one T in two builds: the newer one has a field more, and so has what is in two of its fields.
type oldBuild struct {
	Name  string
	Note  string `json:",omitempty" msgpack:",omitempty"`
	N     int
	Rate  float64
	List  []string
	Map   map[string]int
	Bytes []byte
	Part  struct{ A, B string }
	Ref   *struct{ A, B string }
}

type newBuild struct {
	Name  string
	Note  string `json:",omitempty" msgpack:",omitempty"`
	N     int
	Rate  float64
	List  []string
	Map   map[string]int
	Bytes []byte
	Part  struct{ A, B, More string }
	Ref   *struct{ A, B, More string }
	Added string
}

// fuzzed are the values that FuzzMerge gives to fields. Those of Part and Ref are made of strings.
var fuzzed = map[string][]any{
	"Name":  {"", "a", "<é&\u2028>", "\x00\"\\", "a\ufffd"},
	"Note":  {"", "a", "b"},
	"N":     {0, 1, -1, 1<<53 + 1, math.MaxInt64, 12, 21},
	"Rate":  {0.0, 1.0, 1.5, 1e21, 0.1, 1e-9},
	"List":  {[]string(nil), []string{}, []string{"a", "b"}, []string{"b", "a"}, []string{""}},
	"Map":   {map[string]int(nil), map[string]int{}, map[string]int{"a": 1, "b": 2}, map[string]int{"a": 2, "b": 1}, map[string]int{"b": 2}},
	"Bytes": {[]byte(nil), []byte{}, []byte("a"), []byte("\xff\x00")},
	"Added": {"", "a", "b"},
}

var olderFields = []string{"Name", "Note", "N", "Rate", "List", "Map", "Bytes", "Part", "Ref"}

// setField gives a field of a T the value of that number.
func setField(s reflect.Value, field string, number int) {
	f := s.FieldByName(field)
	if field == "Ref" {
		if number%4 == 0 {
			f.SetZero()
			return
		}
		f.Set(reflect.New(f.Type().Elem())) // and not what is there, which the request has loaded
		f = f.Elem()
	}
	if values := fuzzed[field]; values != nil {
		f.Set(reflect.ValueOf(values[number%len(values)]))
		return
	}
	for _, part := range f.Fields() {
		part.SetString([]string{"", "a", "b"}[number/4%3])
		number /= 3
	}
}

// A view is a T in the words of the model: of each field a text, and of Part and Ref two, of which the older build sees
// the first.
type view map[string]string

const more = " more"

func viewOf(s reflect.Value) view {
	v := view{}
	for i := range s.NumField() {
		name, f := s.Type().Field(i).Name, s.Field(i)
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				v[name] = "nil"
				f = reflect.Zero(f.Type().Elem())
			} else {
				f = f.Elem()
			}
		}
		if f.Kind() != reflect.Struct {
			v[name] = fmt.Sprintf("%#v", f)
			continue
		}
		if v[name] == "" {
			v[name] = fmt.Sprintf("%q %q", f.Field(0), f.Field(1))
		}
		if f.NumField() > 2 {
			v[name+more] = f.Field(2).String()
		}
	}
	return v
}

// A tab is a request that goes on, and what it has seen.
type tab struct {
	fields []string
	load   func() reflect.Value // begins it anew
	save   func() error
	live   reflect.Value
	base   view
}

func (s *tab) begin() {
	s.live = s.load()
	s.base = viewOf(s.live)
}

// openTab is a request with a token.
func openTab[T any](t *testing.T, m *sessions.Manager[T], token string, fields ...string) *tab {
	var ctx context.Context
	return &tab{
		fields: fields,
		load: func() reflect.Value {
			var s *T
			ctx, s = kit.Load(t, m, token)
			return reflect.ValueOf(s).Elem()
		},
		save: func() error { return m.Save(ctx) },
	}
}

// merge is what must be stored after a save: the fields that the request has changed as it has them, and all others as
// they were. What a build does not know of a field it writes away with that field, and otherwise never.
func (s *tab) merge(stored view) (after view, changed bool) {
	after, mine := maps.Clone(stored), viewOf(s.live)
	for _, field := range s.fields {
		if mine[field] == s.base[field] && mine[field+more] == s.base[field+more] {
			continue
		}
		changed = true
		_, knows := mine[field+more]
		if mine[field] == stored[field] && !knows {
			continue // another request has made the same change
		}
		after[field] = mine[field]
		if _, has := stored[field+more]; has || knows {
			after[field+more] = mine[field+more]
		}
	}
	return after, changed
}

// sees tells whether a request that goes on sees what is stored, as far as it knows it.
func (s *tab) sees(stored view) bool {
	for name, text := range viewOf(s.live) {
		if stored[name] != text {
			return false
		}
	}
	return true
}

// FuzzMerge lets three requests of two builds, each with a codec of its own, change and save one session in any order, and
// compares what is stored, and what each then sees, with a model that knows neither codecs nor records.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("\x05\x00\x07\x05\x01\x08\x09\x02\x07\x1e\x02\x63\x01\x01\x63\x01\x00\x63\x01"))
	f.Add([]byte("\x02\x02\x09\x01\x02\x63\x00\x00\x00\x01\x01\x01\x01\x00\x63\x00\x01\x63\x00\x02\x63\x00"))
	f.Add([]byte("\x07\x00\x04\x01\x01\x05\x02\x02\x06\x02\x02\x63\x00\x01\x63\x00\x00\x63\x00\x00\x64\x00\x00\x03\x03\x00\x63\x00"))
	store := kit.Memory()
	var olds [2]*sessions.Manager[oldBuild]
	var news [2]*sessions.Manager[newBuild]
	for i, c := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		olds[i] = kit.New[oldBuild](f, store, sessions.Config{Codec: c})
		news[i] = kit.New[newBuild](f, store, sessions.Config{Codec: c})
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) == 0 {
			return
		}
		kinds := program[0]
		token := kit.Edit(t, news[kinds>>3&1], "", func(s *newBuild) { s.Name, s.Added = "begun", "too" })
		defer func() { kit.Must(t, store.Delete(t.Context(), kit.KeyOf(token))) }()
		tabs := []*tab{
			openTab(t, olds[kinds&1], token, olderFields...),
			openTab(t, olds[kinds>>1&1], token, olderFields...),
			openTab(t, news[kinds>>2&1], token, append(slices.Clone(olderFields), "Added")...),
		}
		for _, s := range tabs {
			s.begin()
		}
		stored := viewOf(tabs[2].live)
		for steps := program[1:]; len(steps) > 2; steps = steps[3:] {
			s, what, number := tabs[steps[0]%3], int(steps[1]), int(steps[2])
			switch {
			case what < 64:
				setField(s.live, s.fields[what%len(s.fields)], number)
				continue
			case what < 80:
				s.begin()
				continue
			}
			after, changed := s.merge(stored)
			kit.Must(t, s.save())
			if !changed { // it may or may not see what others have saved
				s.begin()
				continue
			}
			stored = after
			if s.base = viewOf(s.live); !s.sees(stored) {
				t.Fatalf("after its save it sees %q, want %q", s.base, stored)
			}
		}
		for i := range news {
			if got := viewOf(reflect.ValueOf(new(kit.Stored(t, news[i], token))).Elem()); !maps.Equal(got, stored) {
				t.Fatalf("stored is\n%q, want\n%q", got, stored)
			}
		}
	})
}
