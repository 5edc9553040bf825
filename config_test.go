package sessions_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/typedsessions/sessions"
)

// complaints are the lines of New's error. Each must say whose it is.
func complaints(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for _, l := range lines {
		if !strings.HasPrefix(l, "sessions: ") || strings.Count(l, "sessions: ") > 1 {
			t.Errorf("line %q: want the prefix once", l)
		}
	}
	return lines
}

// wantComplaints says that New's error has exactly these lines, each given by
// its field, how it goes on, and the remedy at its end.
func wantComplaints(t *testing.T, err error, want ...string) {
	t.Helper()
	got := complaints(t, err)
	if len(got) != len(want) {
		t.Errorf("%d complaints, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i, w := range want {
		rest, ok := got[i], true
		for j, part := range strings.Split(w, " … ") {
			before, after, found := strings.Cut(rest, part)
			ok = ok && found && (j > 0 || before == "")
			rest = after
		}
		if !ok {
			t.Errorf("complaint %d:\n got %s\nwant %s", i, got[i], w)
		}
	}
}

func TestConfig(t *testing.T) {
	cookie := func(c sessions.Cookie) sessions.Config { return sessions.Config{Transport: c} }
	long := func(n int) string { return strings.Repeat("n", n) }
	const hour, day = time.Hour, 24 * time.Hour
	for _, tc := range []struct {
		desc string
		cfg  sessions.Config
		want []string
	}{
		{"a zero Config", sessions.Config{}, nil},

		{"a __Host- name with a Domain", cookie(sessions.Cookie{Name: "__Host-a", Domain: "example.com"}), []string{
			"sessions: Cookie.Domain: a __Host-a cookie must not have one: … leave Domain empty or choose a name that begins with __Secure-",
		}},
		{"a __Host- name with a Path", cookie(sessions.Cookie{Name: "__Host-a", Path: "/a"}), []string{
			"sessions: Cookie.Path: a __Host-a cookie must have the path /: … leave Path empty or choose a name that begins with __Secure-",
		}},
		{"a __Host- name with the Path /", cookie(sessions.Cookie{Name: "__Host-a", Path: "/"}), nil},
		{"a __Host- name with Insecure", cookie(sessions.Cookie{Name: "__Host-a", Insecure: true}), []string{
			"sessions: Cookie.Insecure: a __Host-a cookie must be Secure: … leave Name empty or choose one without the prefix",
		}},
		{"a __hOST- name with all three", cookie(sessions.Cookie{Name: "__hOST-a", Domain: "example.com", Path: "/a", Insecure: true}), []string{
			"sessions: Cookie.Insecure: ", "sessions: Cookie.Domain: ", "sessions: Cookie.Path: ",
		}},
		{"a __Secure- name with Insecure", cookie(sessions.Cookie{Name: "__SECURE-a", Insecure: true}), []string{
			"sessions: Cookie.Insecure: a __SECURE-a cookie must be Secure: … leave Name empty or choose one without the prefix",
		}},
		{"a __Secure- name with a Domain and a Path", cookie(sessions.Cookie{Name: "__Secure-a", Domain: "example.com", Path: "/a"}), nil},
		{"SameSite=None with Insecure", cookie(sessions.Cookie{SameSite: http.SameSiteNoneMode, Insecure: true}), []string{
			"sessions: Cookie.SameSite: None needs a Secure cookie: … set Insecure to false",
		}},
		{"SameSite=None", cookie(sessions.Cookie{SameSite: http.SameSiteNoneMode}), nil},
		{"a SameSite that is none", cookie(sessions.Cookie{SameSite: 9}), []string{"sessions: Cookie.SameSite: 9 is none of … use the constants of net/http"}},
		{"a negative SameSite", cookie(sessions.Cookie{SameSite: -1}), []string{"sessions: Cookie.SameSite: -1 is none of "}},
		{"Partitioned with Insecure", cookie(sessions.Cookie{Partitioned: true, Insecure: true}), []string{
			"sessions: Cookie.Partitioned: needs a Secure cookie: … set Insecure to false",
		}},
		{"a name with a space", cookie(sessions.Cookie{Name: "my session"}), []string{
			`sessions: Cookie.Name: "my session" is not a cookie name … use letters, digits, - and _`,
		}},
		{"a name with =", cookie(sessions.Cookie{Name: "a=b"}), []string{`sessions: Cookie.Name: "a=b" is not a cookie name`}},
		{"a name with ;", cookie(sessions.Cookie{Name: "a;b"}), []string{`sessions: Cookie.Name: "a;b" is not a cookie name`}},
		{"a name that is not ASCII", cookie(sessions.Cookie{Name: "größe"}), []string{"sessions: Cookie.Name: "}},
		{"a name with CR LF", cookie(sessions.Cookie{Name: "a\r\nb"}), []string{`sessions: Cookie.Name: "a\r\nb" is not a cookie name`}},
		{"a relative Path", cookie(sessions.Cookie{Path: "app"}), []string{`sessions: Cookie.Path: "app" is not a path: … start it with /`}},
		{"a Path with a semicolon", cookie(sessions.Cookie{Path: "/a;b"}), []string{`sessions: Cookie.Path: "/a;b" is not a path`}},
		{"a Path with a newline", cookie(sessions.Cookie{Path: "/a\nb"}), []string{`sessions: Cookie.Path: "/a\nb" is not a path`}},
		{"a Domain with a scheme", cookie(sessions.Cookie{Domain: "https://example.com"}), []string{
			`sessions: Cookie.Domain: "https://example.com" is not a domain a cookie can have: … use a host name such as example.com`,
		}},
		{"a Domain with a port", cookie(sessions.Cookie{Domain: "example.com:8080"}), []string{"sessions: Cookie.Domain: "}},
		{"a Domain with a dot before it", cookie(sessions.Cookie{Domain: ".example.com"}), nil},
		{"name and token of 4096 bytes", cookie(sessions.Cookie{Name: long(4096 - 27)}), nil},
		{"name and token of 4097 bytes", cookie(sessions.Cookie{Name: long(4097 - 27)}), []string{
			"sessions: Cookie.Name: name and token are 4097 bytes, browsers keep 4096: … shorten the name",
		}},

		{"a persistent cookie of 400 days", sessions.Config{Lifetime: 400 * day, Transport: sessions.Cookie{Persist: true}}, nil},
		{"a persistent cookie of more than 400 days", sessions.Config{Lifetime: 401 * day, Transport: sessions.Cookie{Persist: true}}, []string{
			"sessions: Config.Lifetime: browsers keep a persistent cookie for 400 days at most: … leave Cookie.Persist out",
		}},
		{"a Lifetime over 400 days, not persistent", sessions.Config{Lifetime: 401 * day}, nil},
		{"no Lifetime, persistent", sessions.Config{Lifetime: -1, Transport: sessions.Cookie{Persist: true}}, nil},
		{"remembered for more than 400 days", sessions.Config{Remember: sessions.Remember{Lifetime: 500 * day}}, []string{
			"sessions: Config.Remember.Lifetime: browsers keep a persistent cookie for 400 days at most: … shorten it",
		}},
		{"remembered for more than 400 days, by a header", sessions.Config{Remember: sessions.Remember{Lifetime: 500 * day}, Transport: sessions.HeaderToken{}}, nil},

		{"a negative IdleTimeout", sessions.Config{IdleTimeout: -hour}, []string{"sessions: Config.IdleTimeout: -1h0m0s is negative: … or -1 for none"}},
		{"a negative Lifetime", sessions.Config{Lifetime: -hour}, []string{"sessions: Config.Lifetime: -1h0m0s is negative: … or -1 for none"}},
		{"-1 second", sessions.Config{IdleTimeout: -time.Second}, []string{"sessions: Config.IdleTimeout: -1s is negative"}},
		{"neither timeout", sessions.Config{IdleTimeout: -1, Lifetime: -1}, []string{"sessions: Config.Lifetime: none, like IdleTimeout: … set one of the two"}},
		{"no IdleTimeout", sessions.Config{IdleTimeout: -1}, nil},
		{"no Lifetime", sessions.Config{Lifetime: -1}, nil},
		{"an IdleTimeout over Lifetime", sessions.Config{IdleTimeout: 2 * hour, Lifetime: hour}, []string{
			"sessions: Config.IdleTimeout: 2h0m0s exceeds Lifetime 1h0m0s: … shorten it or lengthen Lifetime",
		}},
		{"an IdleTimeout over the default Lifetime", sessions.Config{IdleTimeout: 25 * hour}, []string{
			"sessions: Config.IdleTimeout: 25h0m0s exceeds the default Lifetime of 24h0m0s: … set Lifetime too",
		}},
		{"an IdleTimeout that is Lifetime", sessions.Config{IdleTimeout: hour, Lifetime: hour}, nil},
		{"a Lifetime under the default IdleTimeout", sessions.Config{Lifetime: time.Minute}, nil},
		{"an IdleTimeout without a Lifetime", sessions.Config{IdleTimeout: 1000 * hour, Lifetime: -1}, nil},
		{"an IdleTimeout without its unit", sessions.Config{IdleTimeout: 30}, []string{"sessions: Config.IdleTimeout: 30ns is less than a millisecond: … add the unit"}},
		{"a Lifetime without its unit", sessions.Config{IdleTimeout: -1, Lifetime: 3600}, []string{"sessions: Config.Lifetime: 3.6µs is less than a millisecond: … add the unit"}},
		{"the same for Remember", sessions.Config{Remember: sessions.Remember{IdleTimeout: -hour, Lifetime: -2 * hour}}, []string{
			"sessions: Config.Remember.IdleTimeout: -1h0m0s is negative", "sessions: Config.Remember.Lifetime: -2h0m0s is negative",
		}},
		{"Remember with an IdleTimeout over its Lifetime", sessions.Config{Remember: sessions.Remember{IdleTimeout: 31 * day}}, []string{
			"sessions: Config.Remember.IdleTimeout: 744h0m0s exceeds the default Lifetime of 720h0m0s: … set Lifetime too",
		}},

		{"a negative MaxSize", sessions.Config{MaxSize: -1}, []string{"sessions: Config.MaxSize: -1 is negative: … use bytes, or 0 for 64 KiB"}},
		{"a MaxSize that no record fits", sessions.Config{MaxSize: 100}, []string{
			"sessions: Config.MaxSize: 100 bytes are too few even for a fresh sessions_test.Session: … raise it",
		}},
		{"a Realm with a NUL", sessions.Config{Realm: "a\x00b"}, []string{"sessions: Config.Realm: contains a NUL, … leave it out"}},
		{"a header that is none", sessions.Config{Transport: sessions.HeaderToken{Name: "X Session"}}, []string{
			`sessions: HeaderToken.Name: "X Session" is not a header name … use letters, digits and -`,
		}},
		{"a header with a colon", sessions.Config{Transport: sessions.HeaderToken{Name: "X-Session:"}}, []string{`sessions: HeaderToken.Name: "X-Session:"`}},
		{"a header with CR LF", sessions.Config{Transport: sessions.HeaderToken{Name: "X\r\nY"}}, []string{`sessions: HeaderToken.Name: "X\r\nY"`}},
		{"a pointer to a Cookie", sessions.Config{Transport: &sessions.Cookie{Name: "a b"}}, []string{`sessions: Cookie.Name: "a b"`}},
		{"a nil pointer for Transport", sessions.Config{Transport: (*sessions.Cookie)(nil)}, []string{
			"sessions: Config.Transport: it is a nil *sessions.Cookie: leave it out, or give it a value",
		}},
		{"nil pointers for Codec and Layout", sessions.Config{Codec: (*sessions.JSON)(nil), Layout: (*nilLayout)(nil)}, []string{
			"sessions: Config.Codec: it is a nil *sessions.JSON: leave it out", "sessions: Config.Layout: it is a nil *sessions_test.nilLayout: leave it out",
		}},
		{"parts that refuse themselves", sessions.Config{
			Codec:  refusingCodec{errors.New("sessions: codec says no")},
			Layout: refusingLayout{sessions.DefaultLayout, errors.New("sessions: layout says no")},
		}, []string{"sessions: codec says no", "sessions: layout says no"}},

		{"every mistake", sessions.Config{
			IdleTimeout: -2, Lifetime: -3, MaxSize: -4, Realm: "\x00",
			Remember:  sessions.Remember{IdleTimeout: time.Hour, Lifetime: time.Minute},
			NewToken:  func() (string, error) { return "", errors.New("out of entropy") },
			Transport: sessions.Cookie{Name: "__Host-ä", Path: "a", Domain: "a b", SameSite: http.SameSiteNoneMode, Partitioned: true, Insecure: true},
		}, []string{
			"sessions: Config.Realm: ",
			"sessions: Config.MaxSize: ",
			"sessions: Config.IdleTimeout: ",
			"sessions: Config.Lifetime: ",
			"sessions: Config.Remember.IdleTimeout: ",
			"sessions: Cookie.Name: ",
			"sessions: Cookie.Path: ",
			"sessions: Cookie.Domain: ",
			"sessions: Cookie.Insecure: ",
			"sessions: Cookie.Domain: ",
			"sessions: Cookie.Path: ",
			"sessions: Cookie.SameSite: ",
			"sessions: Cookie.Partitioned: ",
			"sessions: Config.NewToken: out of entropy",
		}},
	} {
		t.Run("T7 "+tc.desc, func(t *testing.T) {
			m, err := sessions.New[Session](&sessions.MemoryStore{}, tc.cfg)
			wantComplaints(t, err, tc.want...)
			if (m == nil) != (err != nil) {
				t.Errorf("New returned %v and %v", m, err)
			}
		})
	}
	t.Run("T7 mistakes of store, Config and T in one error", func(t *testing.T) {
		_, err := sessions.New[shapeMany](nil, sessions.Config{IdleTimeout: -2})
		wantComplaints(t, err, "sessions: Config.IdleTimeout: ", "sessions: the store is nil: use NewRedisStore, or &MemoryStore{}",
			"sessions: T is sessions_test.shapeMany: method SessionDefaults", "sessions: T is sessions_test.shapeMany: A is of type chan int",
			"sessions: T is sessions_test.shapeMany: D.F[][].G is of type func()", "sessions: T is sessions_test.shapeMany: E is of the interface type error")
	})
	for _, tc := range []struct {
		desc  string
		store sessions.Store
	}{
		{"no store", nil}, {"a nil *MemoryStore", (*sessions.MemoryStore)(nil)}, {"a nil *RedisStore", (*sessions.RedisStore)(nil)},
	} {
		t.Run("T7 "+tc.desc, func(t *testing.T) {
			_, err := sessions.New[Session](tc.store, sessions.Config{})
			wantComplaints(t, err, "sessions: the store is nil: use NewRedisStore, or &MemoryStore{} in a test")
		})
	}
	t.Run("T7 a store that refuses itself", func(t *testing.T) {
		_, err := sessions.New[Session](&refusingStore{}, sessions.Config{})
		wantComplaints(t, err, "sessions: store says no")
	})
	t.Run("T7 New copies Config", func(t *testing.T) {
		cookie := sessions.Cookie{}
		cfg := sessions.Config{Transport: cookie}
		m, err := sessions.New[Session](&sessions.MemoryStore{}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		cookie.Name, cfg.Realm, cfg.SaveUninitialized = "a b", "\x00", true
		ctx, err := m.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
			t.Errorf("%v, %v: the change reached the Manager", o.Kind, err)
		}
	})
}

type nilLayout struct{ sessions.Layout }

type refusingCodec struct{ err error }

func (c refusingCodec) Name() string                       { return "refusing" }
func (c refusingCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (c refusingCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
func (c refusingCodec) Validate() error                    { return c.err }

type refusingLayout struct {
	sessions.Layout
	err error
}

func (l refusingLayout) Validate() error { return l.err }

type refusingStore struct{ sessions.MemoryStore }

func (*refusingStore) Validate() error { return errors.New("sessions: store says no") }

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
		mu     sync.Mutex
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

type shapeDefaultsValue struct{ X int }

func (shapeDefaultsValue) SessionDefaults() {}

type shapeDefaultsArgument struct{ X int }

func (*shapeDefaultsArgument) SessionDefaults(context.Context) {}

type shapeDefaultsResult struct{ X int }

func (*shapeDefaultsResult) SessionDefaults() error { return nil }

type shapeDefaultsGood struct{ X int }

func (s *shapeDefaultsGood) SessionDefaults() { s.X = 1 }

type shapeDefaultsEmbedded struct {
	shapeDefaultsGood
	Y int
}

type shapeDefaultsTooLarge struct{ X string }

func (s *shapeDefaultsTooLarge) SessionDefaults() { s.X = strings.Repeat("x", 70<<10) }

type shapeDefaultsBroken struct{ X any }

func (s *shapeDefaultsBroken) SessionDefaults() { s.X = func() {} }

// shaped is one row: New for one T.
type shaped struct {
	desc string
	new  func(c sessions.Codec) error
	want []string // complaints after "sessions: T is …: "; nil: accepted
	only string   // codec; empty: both
}

func shape[T any](desc string, want ...string) shaped {
	return shaped{desc: desc, want: want, new: func(c sessions.Codec) error {
		_, err := sessions.New[T](&sessions.MemoryStore{}, sessions.Config{Codec: c})
		return err
	}}
}

func (s shaped) with(codec string) shaped { s.only = codec; return s }

func TestShapeOfT(t *testing.T) {
	const (
		change  = `change its type, or tag it "-" to leave it out`
		mute    = "of which nothing is stored, for it has neither exported fields nor a marshaler: " + change
		own     = "so one is lost: give each a name of its own by a tag"
		private = "none of its fields is exported, so none is stored: begin their names with a capital letter"
	)
	for _, tc := range []shaped{
		shape[int]("is an int", "a session is a struct: New[YourStruct], without a pointer"),
		shape[*Session]("is a pointer", "a session is a struct: New[YourStruct], without a pointer"),
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
			"codec json cannot encode field A while it is zero: … unsupported type: map[float64]int: change its type").with("json"),

		shape[shapeLower]("has no exported field", private),
		shape[shapeMixed]("has an exported field among others"),
		shape[shapeLowerField]("has fields of which nothing is stored", "Who is of type sessions_test.shapeLower, "+mute, "Whose[] is of type sessions_test.shapeLower, "+mute),
		shape[struct{ N atomic.Int64 }]("has an atomic", "N is of type atomic.Int64, "+mute),
		shape[struct{ Mu sync.Mutex }]("has an exported mutex", "Mu is of type sync.Mutex, "+mute),
		shape[struct {
			sync.Mutex
			N int
		}]("embeds a mutex"),

		shape[struct {
			A string `msgpack:"x"`
			B int    `msgpack:"x"`
		}]("has two fields of one name", `fields A and B are both written as "x" by codec … `+own).with("msgpack"),
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
		}]("has a field named -").with("json"),

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

		shape[shapeDefaultsGood]("has SessionDefaults"),
		shape[shapeDefaultsEmbedded]("has SessionDefaults by embedding"),
		shape[shapeDefaultsValue]("has SessionDefaults on the value",
			"method SessionDefaults has a value receiver, so what it sets is lost: declare func (s *shapeDefaultsValue) SessionDefaults()"),
		shape[shapeDefaultsArgument]("has SessionDefaults with an argument",
			"method SessionDefaults is a func(*sessions_test.shapeDefaultsArgument, context.Context), so it is never called: declare func (s *shapeDefaultsArgument) SessionDefaults()"),
		shape[shapeDefaultsResult]("has SessionDefaults with a result",
			"method SessionDefaults is a func(*sessions_test.shapeDefaultsResult) error, so it is never called: declare func (s *shapeDefaultsResult) SessionDefaults()"),
		shape[shapeDefaultsBroken]("has SessionDefaults that set what no codec takes", "codec … cannot encode what SessionDefaults sets"),

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
		shape[struct{ O shapeOpaque }]("has a field with MarshalJSON under json").with("json"),
		shape[struct{ O shapeOpaque }]("has a field with MarshalJSON under msgpack, which does not ask it", "O is of type sessions_test.shapeOpaque, "+mute).with("msgpack"),
		shape[shapeOwn]("has a MarshalJSON that writes each field"),
		shape[shapeForgets]("has a MarshalJSON that forgets a field", "field Y is lost, codec json does not write it as \"Y\": leave out the marshaler").with("json"),
	} {
		for _, codec := range []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}} {
			if tc.only != "" && tc.only != codec.Name() {
				continue
			}
			t.Run("T7 a T that "+tc.desc+", "+codec.Name(), func(t *testing.T) {
				err := tc.new(codec)
				var want []string
				for _, w := range tc.want {
					want = append(want, "sessions: T is … : "+w)
				}
				wantComplaints(t, err, want...)
			})
		}
	}
	t.Run("T7 a T whose defaults are over MaxSize", func(t *testing.T) {
		_, err := sessions.New[shapeDefaultsTooLarge](&sessions.MemoryStore{}, sessions.Config{})
		wantComplaints(t, err, "sessions: Config.MaxSize: 65536 bytes are too few even for a fresh sessions_test.shapeDefaultsTooLarge: raise it")
	})
}

// shapeUsual has what people keep in sessions.
type shapeUsual struct {
	Time     time.Time
	PTime    *time.Time
	Duration time.Duration
	Bytes    []byte
	Array    [16]byte
	UUID     uuid.UUID
	PUUID    *uuid.UUID
	UUIDs    []uuid.UUID
	ByUUID   map[uuid.UUID]int
	ByInt    map[int]string
	Any      any
	Anys     map[string]any
	List     []any
	Raw      json.RawMessage `json:",omitempty"`
	Addr     netip.Addr
	Prefix   netip.Prefix
	URL      url.URL
	PURL     *url.URL
	Big      big.Int
	PBig     *big.Int
	Rat      *big.Rat
	Null     sql.NullString
	NullTime sql.NullTime
	NullT    sql.Null[int]
	Pair     shapePair[string, []shapePair[int, time.Time]]
	Theme    *shapeTheme
	Set      map[string]struct{}
	Status   http.SameSite
	Values   url.Values
	Header   http.Header
	Rune     rune
	Float    float32
	Uint64   uint64
	Nested   struct{ A, B struct{ C *int } }
	Ptr      *struct{ X int }
	Slices   [][]string
	Empty    struct{}
	ShapeID
	*ShapePtrTag
}

func usual() *shapeUsual {
	utc := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	u, _ := url.Parse("https://example.com/a%2Fb?c=d#e")
	theme := shapeTheme(3)
	n := 7
	s := &shapeUsual{
		Time: utc, PTime: &utc, Duration: time.Minute, Bytes: []byte{0, 255}, Array: [16]byte{1, 15: 2},
		UUID: id, PUUID: &id, UUIDs: []uuid.UUID{id}, ByUUID: map[uuid.UUID]int{id: 1}, ByInt: map[int]string{-1: "a"},
		Any: "x", Anys: map[string]any{"a": true, "b": nil}, List: []any{"a", false}, Raw: json.RawMessage(`{"a":1}`),
		Addr: netip.MustParseAddr("fe80::1%eth0"), Prefix: netip.MustParsePrefix("10.0.0.0/8"), URL: *u, PURL: u,
		Big: *new(big.Int).Lsh(big.NewInt(1), 100), PBig: big.NewInt(-5), Rat: big.NewRat(1, 3),
		Null: sql.NullString{String: "x", Valid: true}, NullTime: sql.NullTime{Time: utc, Valid: true}, NullT: sql.Null[int]{V: 1, Valid: true},
		Theme: &theme, Set: map[string]struct{}{"a": {}}, Status: http.SameSiteLaxMode,
		Values: url.Values{"a": {"b", "c"}}, Header: http.Header{"A": {"b"}}, Rune: 'é', Float: 1.5, Uint64: 1<<64 - 1,
		Ptr: &struct{ X int }{1}, Slices: [][]string{{"a"}, nil, {}}, ShapeID: ShapeID{"x"}, ShapePtrTag: &ShapePtrTag{"k"},
	}
	s.Pair.First, s.Pair.Second = "x", []shapePair[int, time.Time]{{1, utc}}
	s.Nested.A.C = &n
	return s
}

func TestUsualTypes(t *testing.T) {
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		m, err := sessions.New[shapeUsual](&sessions.MemoryStore{}, sessions.Config{Codec: c})
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			desc  string
			value *shapeUsual
		}{{"filled", usual()}, {"zero but for one field", &shapeUsual{Float: 1}}} {
			t.Run("T7 the usual types are accepted and come back, "+tc.desc, func(t *testing.T) {
				ctx, err := m.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				*m.FromContext(ctx) = *tc.value
				o, err := m.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				ctx, err = m.Load(t.Context(), o.Token.Reveal())
				if err != nil {
					t.Fatal(err)
				}
				got, want := reflect.ValueOf(*m.FromContext(ctx)), reflect.ValueOf(*tc.value)
				for i := range got.NumField() {
					name := got.Type().Field(i).Name
					a, b := got.Field(i).Interface(), want.Field(i).Interface()
					if !sameShape(a, b) {
						t.Errorf("%s: got %#v, want %#v", name, a, b)
					}
				}
				if o, err := m.Commit(ctx); err != nil || o.Kind != sessions.OutcomeUnchanged {
					t.Errorf("unchanged, it is %v, %v", o.Kind, err)
				}
			})
		}
	})
}

// sameShape is equality but for what a codec may do to a time and to nil.
func sameShape(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	clean := strings.NewReplacer("null", "[]")
	if errX == nil && errY == nil && clean.Replace(string(x)) == clean.Replace(string(y)) {
		return true
	}
	ta, okA := a.(time.Time)
	tb, okB := b.(time.Time)
	return okA && okB && ta.Equal(tb)
}

// shapeShared is saved under one codec and then, changed again and again, under
// another: the fields that T writes must be known for its own, whatever the
// codec makes of their names.
type shapeShared struct {
	ShapeID  `json:"who"`
	Views    int    `json:"views"`
	Dash     string `json:"-,"`
	Aliased  string `json:"aliased" msgpack:"aliased,alias:former"`
	ShapeID2 struct{ ID string }
}

func TestNamesOfT(t *testing.T) {
	codecs := []sessions.Codec{sessions.JSON{}, sessions.MsgPack{}}
	for _, first := range codecs {
		for _, then := range codecs {
			t.Run("T7 K3 no field of T is taken for a foreign one, "+first.Name()+" then "+then.Name(), func(t *testing.T) {
				store := &sessions.MemoryStore{}
				var token string
				for n := range 4 {
					codec := then
					if n == 0 {
						codec = first
					}
					m, err := sessions.New[shapeShared](store, sessions.Config{Codec: codec})
					if err != nil {
						t.Fatal(err)
					}
					ctx, err := m.Load(t.Context(), token)
					if err != nil {
						t.Fatal(err)
					}
					s := m.FromContext(ctx)
					if want := fmt.Sprint(n); n > 0 && (s.ShapeID.ID != want || s.Views != n || s.ShapeID2.ID != want) {
						t.Fatalf("after %d saves: %+v", n, *s)
					}
					next := fmt.Sprint(n + 1)
					s.ShapeID.ID, s.Views, s.Aliased, s.ShapeID2.ID = next, n+1, next, next
					o, err := m.Commit(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if token = o.Token.Reveal(); token == "" {
						t.Fatal("no token")
					}
				}
			})
		}
	}
}

func TestConfigErrorsAreWhole(t *testing.T) {
	t.Run("T7 each mistake can be had on its own", func(t *testing.T) {
		_, err := sessions.New[Session](nil, sessions.Config{IdleTimeout: -2, MaxSize: -1})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(e error) bool { return e == nil })) != 3 {
			t.Errorf("%T %v: want three errors, joined", err, err)
		}
	})
}
