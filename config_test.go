package sessions_test

//lint:file-ignore SA5008 these tags are odd on purpose

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
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

		{"L24 a negative TouchInterval", sessions.Config{TouchInterval: -time.Minute}, []string{"sessions: Config.TouchInterval: -1m0s is negative: … 0 to restart the idle timeout with each read"}},
		{"L24 a TouchInterval without a unit", sessions.Config{TouchInterval: 5}, []string{"sessions: Config.TouchInterval: 5ns is less than a millisecond: add the unit"}},
		{"L24 a TouchInterval beyond the IdleTimeout", sessions.Config{IdleTimeout: time.Minute, TouchInterval: time.Hour}, []string{"sessions: Config.TouchInterval: 1h0m0s exceeds the IdleTimeout of 1m0s, … shorten it"}},
		{"L24 a TouchInterval beyond the Remember.IdleTimeout", sessions.Config{Remember: sessions.Remember{IdleTimeout: time.Minute}, TouchInterval: time.Hour}, []string{"sessions: Config.TouchInterval: 1h0m0s exceeds the Remember.IdleTimeout of 1m0s, … shorten it"}},
		{"L24 a TouchInterval without IdleTimeouts", sessions.Config{IdleTimeout: -1, Remember: sessions.Remember{IdleTimeout: -1}, TouchInterval: time.Minute}, []string{"sessions: Config.TouchInterval: 1m0s has nothing to do, … leave it out"}},
		{"L24 a TouchInterval as long as the IdleTimeout", sessions.Config{IdleTimeout: time.Minute, TouchInterval: time.Minute}, nil},
		{"L24 a TouchInterval for remembered sessions alone", sessions.Config{IdleTimeout: -1, TouchInterval: time.Minute}, nil},
		{"a negative WatchInterval", sessions.Config{WatchInterval: -1}, []string{"sessions: Config.WatchInterval: -1ns is not between 50ms, … and 5s, … use one between, or 0 for 2s"}},
		{"a WatchInterval without a unit", sessions.Config{WatchInterval: 2}, []string{"sessions: Config.WatchInterval: 2ns is not between 50ms, … use one between"}},
		{"a WatchInterval as long as a mark lives", sessions.Config{WatchInterval: 10 * time.Second}, []string{"sessions: Config.WatchInterval: 10s is not between 50ms, … and 5s, … use one between"}},
		{"the shortest WatchInterval", sessions.Config{WatchInterval: 50 * time.Millisecond}, nil},
		{"the longest WatchInterval", sessions.Config{WatchInterval: 5 * time.Second}, nil},

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
		{"name and token of 4096 bytes", cookie(sessions.Cookie{Name: long(4096 - 31)}), nil},
		{"name and token of 4097 bytes", cookie(sessions.Cookie{Name: long(4097 - 31)}), []string{
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
			"sessions: Config.MaxSize: 100 bytes are too few even for a fresh kit.Session: … raise it",
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
			Layout: refusingLayout{sessions.DefaultLayout{}, errors.New("sessions: layout says no")},
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
			m, err := sessions.New[kit.Session](kit.Memory(), tc.cfg)
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
	t.Run("T7 without a store, what only a fresh record shows", func(t *testing.T) {
		_, err := sessions.New[kit.Session](nil, sessions.Config{MaxSize: 10})
		wantComplaints(t, err, "sessions: the store is nil: ", "sessions: Config.MaxSize: 10 bytes are too few even for a fresh kit.Session: raise it")
	})
	for _, tc := range []struct {
		desc  string
		store sessions.Store
	}{
		{"no store", nil}, {"a nil *MemoryStore", (*sessions.MemoryStore)(nil)}, {"a nil *RedisStore", (*sessions.RedisStore)(nil)},
	} {
		t.Run("T7 "+tc.desc, func(t *testing.T) {
			_, err := sessions.New[kit.Session](tc.store, sessions.Config{})
			wantComplaints(t, err, "sessions: the store is nil: use NewRedisStore, or &MemoryStore{} in a test")
		})
	}
	t.Run("T7 a store that refuses itself", func(t *testing.T) {
		_, err := sessions.New[kit.Session](&refusingStore{}, sessions.Config{})
		wantComplaints(t, err, "sessions: store says no")
	})
	t.Run("T7 New copies Config", func(t *testing.T) {
		cookie := sessions.Cookie{}
		cfg := sessions.Config{Transport: cookie}
		m := kit.New[kit.Session](t, kit.Memory(), cfg)
		cookie.Name, cfg.Realm, cfg.SaveUninitialized = "a b", "\x00", true
		ctx, _ := kit.Load(t, m)
		kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
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

var conflictPolicies = map[string]sessions.ConflictPolicy{
	"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
}

func TestOnConflict(t *testing.T) {
	for policy, ok := range map[sessions.ConflictPolicy]bool{
		sessions.ConflictMerge: true, sessions.ConflictLastWrite: true, sessions.ConflictReject: true,
		-1: false, sessions.ConflictReject + 1: false, math.MaxInt: false, math.MinInt: false,
	} {
		t.Run(fmt.Sprintf("T7 OnConflict %d", policy), func(t *testing.T) {
			_, err := sessions.New[traitX](kit.Memory(), sessions.Config{OnConflict: policy})
			var want []string
			if !ok {
				want = append(want, "sessions: Config.OnConflict: … ConflictMerge, ConflictLastWrite and ConflictReject")
			}
			wantComplaints(t, err, want...)
		})
	}
}

func TestOnUndecodable(t *testing.T) {
	for policy, ok := range map[sessions.UndecodablePolicy]bool{
		0: true, sessions.UndecodableFresh: true, sessions.UndecodableReadOnly: true, sessions.UndecodableFail: true,
		-1: false, sessions.UndecodableFail + 1: false, math.MaxInt: false, math.MinInt: false,
	} {
		t.Run(fmt.Sprintf("T7 OnUndecodable %d", policy), func(t *testing.T) {
			_, err := sessions.New[traitX](kit.Memory(), sessions.Config{OnUndecodable: policy})
			var want []string
			if !ok {
				want = append(want, "sessions: Config.OnUndecodable: … UndecodableFresh, UndecodableReadOnly and UndecodableFail")
			}
			wantComplaints(t, err, want...)
		})
	}
}

// traitLayout keeps no version.
type traitLayout struct{ sessions.Layout }

func (l traitLayout) Seal(r sessions.Record) ([]byte, error) {
	r.Version = 0
	return l.Layout.Seal(r)
}

func TestVersionedNeedsALayout(t *testing.T) {
	cfg := sessions.Config{Layout: traitLayout{sessions.DefaultLayout{}}}
	t.Run("T7 a Versioned T on a Layout that keeps no version", func(t *testing.T) {
		_, err := sessions.New[traitVersioned](kit.Memory(), cfg)
		wantComplaints(t, err, "sessions: T is sessions_test.traitVersioned: it is Versioned, and the Layout keeps no version, … keep a version in T")
	})
	t.Run("T7 a T without a version on such a Layout", func(t *testing.T) {
		_, err := sessions.New[traitX](kit.Memory(), cfg)
		wantComplaints(t, err)
	})
	t.Run("T7 a Versioned T on the library's own Layout", func(t *testing.T) {
		_, err := sessions.New[traitVersioned](kit.Memory(), sessions.Config{})
		wantComplaints(t, err)
	})
}

func TestConfigErrorsAreWhole(t *testing.T) {
	t.Run("T7 each mistake can be had on its own", func(t *testing.T) {
		_, err := sessions.New[kit.Session](nil, sessions.Config{IdleTimeout: -2, MaxSize: -1})
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(e error) bool { return e == nil })) != 3 {
			t.Errorf("%T %v: want three errors, joined", err, err)
		}
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
	URL      url.URL  `json:"-" msgpack:"URL"` // its User has only fields that encoding/json does not see
	PURL     *url.URL `json:"-" msgpack:"PURL"`
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
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		m := kit.New[shapeUsual](t, kit.Memory(), sessions.Config{Codec: c})
		for _, tc := range []struct {
			desc  string
			value *shapeUsual
		}{{"filled", usual()}, {"zero but for one field", &shapeUsual{Float: 1}}} {
			t.Run("T7 the usual types are accepted and come back, "+tc.desc, func(t *testing.T) {
				ctx, live := kit.Load(t, m)
				*live = *tc.value
				ctx, live = kit.Load(t, m, kit.Commit(t, m, ctx).Token.Reveal())
				got, want := reflect.ValueOf(*live), reflect.ValueOf(*tc.value)
				for i := range got.NumField() {
					name := got.Type().Field(i).Name
					if c.Name() == "json" && got.Type().Field(i).Tag.Get("json") == "-" {
						continue
					}
					a, b := got.Field(i).Interface(), want.Field(i).Interface()
					if !sameShape(a, b) {
						t.Errorf("%s: got %#v, want %#v", name, a, b)
					}
				}
				kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
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
