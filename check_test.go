package sessions_test

//lint:file-ignore U1000 New looks at what nobody uses
//lint:file-ignore SA5008 these tags are odd on purpose

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Shapes that T can have. A name tells what is special.
type (
	shapeMany struct {
		A chan int
		B int
		D struct {
			F []map[string]*struct{ G func() }
		}
		E error
		Z chan int `json:"-"`
	}
	shapeLower      struct{ userID, csrf string }
	shapeLowerField struct {
		Who   shapeLower
		Whose []*shapeLower
	}
	shapeMixed struct {
		UserID string
		cache  map[string]int
	}
	shapeList struct {
		V    int
		Next *shapeList
	}
	shapeTree struct {
		Kids   []shapeTree
		Named  map[string]shapeTree
		Parent *shapeTree
	}
	shapeSelf  struct{ *shapeSelf2 }
	shapeSelf2 struct{ *ShapeSelf3 }
	ShapeSelf3 struct {
		*ShapeSelf3
		X int
	}
	ShapeMutualA struct {
		*ShapeMutualB
		A int
	}
	ShapeMutualB struct {
		*ShapeMutualA
		B int
	}
	ShapeID    struct{ ID string }
	ShapeID2   struct{ ID string }
	shapeIDTag struct {
		ID string `json:"id"`
	}
	ShapePtrTag struct {
		Key string `json:"key"`
	}
	shapePair[A, B any] struct {
		First  A
		Second B
	}
	shapeGenericNamed struct {
		P shapePair[string, []shapePair[int, time.Time]]
	}
)

func (shapeMany) SessionDefaults() {}

// shapeTheme refuses to be written while it is zero, as many enums do.
type shapeTheme int

func (m shapeTheme) MarshalText() ([]byte, error) {
	if m == 0 {
		return nil, errors.New("no such theme")
	}
	return fmt.Appendf(nil, "theme %d", int(m)), nil
}

func (m *shapeTheme) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "theme %d", (*int)(m))
	return err
}

// shapeOneWay can be written and not be read.
type shapeOneWay struct{ X int }

func (shapeOneWay) MarshalText() ([]byte, error)  { return []byte("x"), nil }
func (*shapeOneWay) UnmarshalText([]byte) error   { return errors.New("not readable") }
func (shapeOneWay) MarshalJSON() ([]byte, error)  { return []byte(`"x"`), nil }
func (*shapeOneWay) UnmarshalJSON(b []byte) error { return errors.New("not readable") }

// shapeOpaque has a MarshalJSON and nothing for msgpack.
type shapeOpaque struct{ x int }

func (o shapeOpaque) MarshalJSON() ([]byte, error)  { return json.Marshal(o.x) }
func (o *shapeOpaque) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &o.x) }

// shapeOwn writes its fields itself.
type shapeOwn struct{ X, Y int }

func (o shapeOwn) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"X": o.X, "Y": o.Y})
}

// shapeForgets writes one of two.
type shapeForgets struct{ X, Y int }

func (o shapeForgets) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]int{"X": o.X}) }

// shaped is one row: New for one T.
type shaped struct {
	desc string
	cfg  sessions.Config
	new  func(sessions.Config) error
	want []string // complaints after "sessions: T is …: "; nil: accepted
	only string   // codec; empty: both
}

func shape[T any](desc string, want ...string) shaped {
	return shaped{desc: desc, want: want, new: func(cfg sessions.Config) error {
		_, err := sessions.New[T](kit.Memory(), cfg)
		return err
	}}
}

func (s shaped) under(codec string) shaped { s.only = codec; return s }

func (s shaped) run(t *testing.T) {
	for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
		if s.only != "" && s.only != codec.Name() {
			continue
		}
		t.Run("T7 a T that "+s.desc+", "+codec.Name(), func(t *testing.T) {
			s.cfg.Codec = codec
			var want []string
			for _, w := range s.want {
				want = append(want, "sessions: T is … : "+w)
			}
			wantComplaints(t, s.new(s.cfg), want...)
		})
	}
}

func TestShapeOfT(t *testing.T) {
	const (
		change  = `change its type, or tag it "-" to leave it out`
		mute    = "of which nothing is stored, for it has neither exported fields nor a marshaler: " + change
		lock    = "which must not be copied, as a lock or an atomic must not, and a merge, Update and Reload replace T as a whole: keep it outside of T"
		own     = "so one is lost: give each a name of its own by a tag"
		private = "none of its fields is exported, so none is stored: begin their names with a capital letter"
	)
	for _, tc := range []shaped{
		shape[int]("is an int", "a session is a struct: New[YourStruct], without a pointer"),
		shape[*kit.Session]("is a pointer", "a session is a struct: New[YourStruct], without a pointer"),
		shape[map[string]any]("is a map", "a session is a struct: New[YourStruct], without a pointer"),
		shape[any]("is any", "a session is a struct: New[YourStruct], without a pointer"),
		shape[struct{}]("has no fields"),

		shape[struct{ C chan int }]("has a chan", "C is of type chan int, which cannot be stored: "+change),
		shape[struct{ F func() }]("has a func", "F is of type func(), which cannot be stored: "+change),
		shape[struct{ C complex128 }]("has a complex", "C is of type complex128, which cannot be stored: "+change),
		shape[struct{ E error }]("has an interface", "E is of the interface type error, which cannot be decoded: use a concrete type, or tag it \"-\" to leave it out"),
		shape[struct {
			A []map[string]*struct{ B [2]chan int }
		}]("has a chan deep inside", "A[][].B[] is of type chan int, which cannot be stored: "+change),
		shape[struct{ A map[string][]fmt.Stringer }]("has interfaces in a map", "A[][] is of the interface type fmt.Stringer"),
		shape[struct{ A map[complex64]int }]("has complex keys", "A[key] is of type complex64"),
		shape[struct {
			A struct{ B struct{ C func() } }
			D *chan int
		}]("has two such fields", "A.B.C is of type func()", "D is of type chan int"),
		shape[struct {
			C chan int `json:"-"`
			F func()   `json:"-"`
			N int
		}]("has a chan and a func tagged -"),
		shape[struct {
			next chan int
			N    int
		}]("has an unexported chan"),
		shape[struct{ A map[float64]int }]("has float keys under json",
			"A has keys of type float64, which encoding/json writes from Go 1.27 on only: change its type").under("json"),

		shape[shapeLower]("has no exported field", private),
		shape[shapeMixed]("has an exported field among others"),
		shape[shapeLowerField]("has fields of which nothing is stored", "Who is of type sessions_test.shapeLower, "+mute, "Whose[] is of type sessions_test.shapeLower, "+mute),
		shape[struct{ N atomic.Int64 }]("has an atomic", "N is of type atomic.Int64, "+lock),
		shape[struct{ Mu sync.Mutex }]("has an exported mutex", "Mu is of type sync.Mutex, "+lock),
		shape[struct {
			sync.Mutex
			N int
		}]("embeds a mutex", "Mutex is of type sync.Mutex, "+lock),

		shape[struct {
			A string `msgpack:"x"`
			B int    `msgpack:"x"`
		}]("has two fields of one name", `fields A and B are both written as "x" by codec … `+own).under("msgpack"),
		shape[struct {
			A string `json:"B"`
			B int
		}]("has a field that is tagged with another's name", `fields A and B are both written as "B" by codec`),
		shape[struct {
			ShapeID
			ID string
		}]("hides an embedded field", `fields ShapeID.ID and ID are both written as "ID" by codec`),
		shape[struct {
			User string `json:"id"`
			shapeIDTag
		}]("hides an embedded field by a tag", `fields User and shapeIDTag.ID are both written as "id" by codec`),
		shape[struct {
			ShapeID
			ShapeID2
		}]("embeds two fields of one name, which encoding/json drops both", `fields ShapeID.ID and ShapeID2.ID are both written as "ID" by codec`),
		shape[struct {
			*ShapeID
			ID string
		}]("hides a field embedded by a pointer", `fields ShapeID.ID and ID are both written as "ID" by codec`),
		shape[struct {
			A string `json:"id"`
			B string `json:"ID"`
		}]("has names that differ by case"),
		shape[struct {
			A string `json:"-"`
			B string `json:"A"`
		}]("has the name of a field tagged -"),
		shape[struct {
			A string `json:"-,"`
		}]("has a field named -").under("json"),

		shape[struct {
			ShapeID
			N int
		}]("embeds a struct"),
		shape[struct {
			*ShapeID
			N int
		}]("embeds a pointer to a struct"),
		shape[struct {
			shapeIDTag
			N int
		}]("embeds an unexported struct"),
		shape[struct {
			ShapeID `json:"id"`
			N       int
		}]("embeds a struct under a name"),
		shape[struct {
			*shapeIDTag
			N int
		}]("embeds a pointer to an unexported struct", "shapeIDTag embeds a pointer to an unexported struct, which cannot be decoded: embed the struct itself"),
		shape[struct {
			A struct {
				*shapeIDTag
				N int
			}
		}]("has such a field", "A.shapeIDTag embeds a pointer to an unexported struct"),
		shape[struct {
			time.Time
			N int
		}]("embeds time.Time, whose marshaler is then T's", "it embeds time.Time, whose marshaler then encodes all of T: give the field a name"),
		shape[struct {
			*time.Time
			N int
		}]("embeds *time.Time", "it embeds *time.Time, whose marshaler then encodes all of T: give the field a name"),
		shape[struct {
			uuid.UUID
			N int
		}]("embeds uuid.UUID", "it embeds uuid.UUID, whose marshaler then encodes all of T"),
		shape[struct {
			time.Time `json:"at"`
			N         int
		}]("embeds time.Time with a tag", "it embeds time.Time, whose marshaler then encodes all of T: give the field a name, for a tag does not change that"),

		shape[shapeList]("is a list"),
		shape[shapeTree]("is a tree"),
		shape[ShapeSelf3]("embeds itself", "sessions_test.ShapeSelf3 embeds itself: give the embedded field a name"),
		shape[ShapeMutualA]("embeds itself through another", "sessions_test.ShapeMutualA embeds itself"),
		shape[struct{ A ShapeSelf3 }]("has a field that embeds itself", "sessions_test.ShapeSelf3 embeds itself"),
		shape[struct {
			A []map[string]*ShapeMutualB
		}]("has elements that embed themselves", "sessions_test.ShapeMutualB embeds itself"),
		shape[struct {
			A struct{ ShapeSelf3 }
		}]("has a field that embeds what embeds itself", "sessions_test.ShapeSelf3 embeds itself"),

		shape[struct{ M shapeTheme }]("has an enum that refuses its zero value",
			"codec … cannot encode field M while it is zero: … no such theme: change its type, make it a pointer, or tag it omitempty, or \"-\" to leave it out"),
		shape[struct {
			M shapeTheme `json:"m,omitempty"`
		}]("has such an enum with omitempty"),
		shape[struct{ M *shapeTheme }]("has a pointer to such an enum"),
		shape[struct {
			M map[string]shapeTheme
			S []shapeTheme
		}]("has such enums in a map and a slice"),
		shape[struct{ X shapeOneWay }]("has a field that cannot be read back", "X does not survive codec … "+change),
		shape[struct{ O shapeOpaque }]("has a field with MarshalJSON under json").under("json"),
		shape[struct{ O shapeOpaque }]("has a field with MarshalJSON under msgpack, which does not ask it", "O is of type sessions_test.shapeOpaque, of which nothing is stored, for it has no exported fields, and codec msgpack does not ask its MarshalJSON: "+change).under("msgpack"),
		shape[shapeOwn]("has a MarshalJSON that writes each field"),
		shape[shapeForgets]("has a MarshalJSON that forgets a field", "field Y is lost, codec json does not write it as \"Y\": leave out the marshaler").under("json"),
	} {
		tc.run(t)
	}
}

// shapeShared is saved under one codec and then, changed again and again, under
// another: the fields that T writes must be known for its own, whatever the
// codec makes of their names.
type shapeShared struct {
	ShapeID  `json:"who"`
	Views    int    `json:"views"`
	Dash     string `json:"-," msgpack:"dash"`
	Aliased  string `json:"aliased" msgpack:"aliased,alias:former"`
	ShapeID2 struct{ ID string }
}

func TestNamesOfT(t *testing.T) {
	codecs := []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}
	for _, first := range codecs {
		for _, then := range codecs {
			t.Run("T7 K3 no field of T is taken for a foreign one, "+first.Name()+" then "+then.Name(), func(t *testing.T) {
				store := kit.Memory()
				var token string
				for n := range 4 {
					codec := then
					if n == 0 {
						codec = first
					}
					m := kit.New[shapeShared](t, store, sessions.Config{Codec: codec})
					ctx, s := kit.Load(t, m, token)
					if want := fmt.Sprint(n); n > 0 && (s.ShapeID.ID != want || s.Views != n || s.ShapeID2.ID != want) {
						t.Fatalf("after %d saves: %+v", n, *s)
					}
					next := fmt.Sprint(n + 1)
					s.ShapeID.ID, s.Views, s.Aliased, s.ShapeID2.ID = next, n+1, next, next
					if token = kit.Commit(t, m, ctx).Token.Reveal(); token == "" {
						t.Fatal("no token")
					}
				}
			})
		}
	}
}

// shapePicky has a SessionOwner that panics for what its SessionDefaults sets.
type shapePicky struct{ Roles []string }

func (s *shapePicky) SessionDefaults() { s.Roles = []string{} }

func (s *shapePicky) SessionOwner() string {
	if s.Roles == nil {
		return ""
	}
	return s.Roles[0]
}

func TestOwnerOfDefaults(t *testing.T) {
	t.Run("T7 New does not panic where SessionOwner does for what SessionDefaults sets", func(t *testing.T) {
		if _, err := sessions.New[shapePicky](kit.Memory(), sessions.Config{}); err != nil {
			t.Log(err) // it may refuse T
		}
	})
}
