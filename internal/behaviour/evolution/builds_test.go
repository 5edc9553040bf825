package evolution_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Two builds of one program: the newer one has dropped a field and added some.
type (
	buildOld struct {
		User    string         `json:"user"`
		Views   int            `json:"views"`
		Flash   string         `json:"flash,omitempty"`
		Dropped map[string]int `json:"dropped"`
		Legacy  *buildNested   `json:"legacy"`
	}
	buildNew struct {
		User   string         `json:"user"`
		Views  int            `json:"views"`
		Flash  string         `json:"flash,omitempty"`
		Big    uint64         `json:"big"`
		Small  int64          `json:"small"`
		Added  map[string]any `json:"added"`
		ByID   map[int]string `json:"by_id"`
		Nested buildNested    `json:"nested"`
		At     time.Time      `json:"at"` // an ext value of msgpack's
		Raw    []byte         `json:"raw"`
		Empty  []string       `json:"empty"`
		Opt    string         `json:"opt,omitempty"`
	}
	buildNested struct {
		Name string                    `json:"name"`
		Deep map[string]map[string]int `json:"deep"`
	}
)

// buildFields is what only one of the builds knows.
func buildFields() (buildOld, buildNew) {
	nested := buildNested{"n", map[string]map[string]int{"a": {"x": 1, "y": 2, "z": 3}, "b": {}, "c": nil}}
	return buildOld{Dropped: map[string]int{"a": 1, "b": 2, "c": 3}, Legacy: &nested}, buildNew{
		Big: math.MaxUint64, Small: math.MinInt64, Nested: nested,
		Added: map[string]any{"text": "a\"b\u2028é<&>", "list": []any{"x", true, nil}, "map": map[string]any{"k": "v"}, "nothing": nil},
		ByID:  map[int]string{-1: "m", 1 << 40: "large", 7: ""},
		At:    time.Date(2026, 7, 1, 12, 30, 15, 123456789, time.UTC), Raw: []byte{0, 0xff, '\n'}, Empty: []string{}, Opt: "there",
	}
}

// buildEqual compares with times as instants.
func buildEqual(a, b buildNew) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && reflect.DeepEqual(a, b)
}

func TestBuildsTakeTurns(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		for _, codecs := range [][2]sessions.Codec{
			{sessions.JSON{}, sessions.JSON{}},
			{sessions.MsgPack{}, sessions.MsgPack{}},
			{sessions.JSON{}, sessions.MsgPack{}},
			{sessions.MsgPack{}, sessions.JSON{}},
		} {
			t.Run(fmt.Sprintf("K3 a hundred turns of an old build with %s and a new one with %s lose nothing", codecs[0].Name(), codecs[1].Name()), func(t *testing.T) {
				store := kit.RedisStore(rdb)
				older := kit.New[buildOld](t, store, sessions.Config{Codec: codecs[0]})
				newer := kit.New[buildNew](t, store, sessions.Config{Codec: codecs[1]})
				wantOld, wantNew := buildFields()
				token := kit.Edit(t, older, "", func(s *buildOld) { *s = wantOld })
				token = kit.Edit(t, newer, token, func(s *buildNew) { *s = wantNew })
				for i := range 100 {
					token = turn(t, older, token, func(ctx context.Context, s *buildOld) {
						wantOld.User, wantOld.Views, wantOld.Flash = wantNew.User, wantNew.Views, wantNew.Flash
						if !reflect.DeepEqual(*s, wantOld) {
							t.Fatalf("turn %d: the old build reads %+v, want %+v", i, *s, wantOld)
						}
						s.Views++
						s.Dropped["a"] = i
						s.Flash = strings.Repeat("x", i%3) // gone every third turn
						switch i % 7 {
						case 3:
							kit.OK(t, older.Update(ctx, func(s *buildOld) error { s.User = fmt.Sprint("old ", i); return nil }))
						case 5:
							kit.OK(t, older.Renew(ctx))
						}
						wantOld = *s
					})
					token = turn(t, newer, token, func(ctx context.Context, s *buildNew) {
						wantNew.User, wantNew.Views, wantNew.Flash = wantOld.User, wantOld.Views, wantOld.Flash
						if !buildEqual(*s, wantNew) {
							t.Fatalf("turn %d: the new build reads %+v, want %+v", i, *s, wantNew)
						}
						s.Views++
						s.Big--
						s.Small++
						s.Opt = strings.Repeat("o", i%4)
						switch i % 7 {
						case 3:
							kit.OK(t, newer.Update(ctx, func(s *buildNew) error { s.User = fmt.Sprint("new ", i); return nil }))
						case 5:
							kit.OK(t, newer.Renew(ctx))
						}
						wantNew = *s
					})
				}
			})
		}
	})
}

func TestForeignValues(t *testing.T) {
	t.Parallel()
	t.Run("K3 foreign values of JSON keep their bytes through save, Update, Renew and a merge", func(t *testing.T) {
		foreign := []string{
			`"n":12345678901234567890123`, `"f":1.10`, `"e":1E400`, `"z":-0`, `"deep":{"a":[9007199254740993,{"b":0.1000}]}`,
			`"text":"\u00e9\/\ud834\udd1e\ud800"`, `"":null`, `"User":"folded"`, `"odd name\n":[ 1, 2 ]`,
		}
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			keepsForeign(t, c, kit.RecordOf("json", `{`+strings.Join(foreign, ",")+`,"user":"ann"}`), foreign)
		})
	})
	t.Run("K3 foreign values of msgpack keep their bytes through save, Update, Renew and a merge", func(t *testing.T) {
		entry := func(name string, v any) string {
			b, err := msgpack.Marshal(map[string]any{name: v})
			kit.Must(t, err)
			return string(b[1:])
		}
		foreign := []string{
			entry("u", uint64(math.MaxUint64)), entry("i", int64(1)), entry("f32", float32(0.1)), entry("f64", 0.1),
			entry("at", time.Unix(1, 2)), entry("bin", []byte{0, 1}), entry("User", "folded"),
			"\xa3ext\xd6\x7fabcd",                 // fixext 4 of a type that nobody knows
			"\xa2e8\xc7\x03\x05abc",               // ext 8
			"\xd9\x04long\xd1\x00\x01",            // a name and a number longer than they need be
			"\xa3map\xdf\x00\x00\x00\x01\x01\x02", // a map with a key that is no string
		}
		doc := string([]byte{0x80 | byte(len(foreign)+1)}) + strings.Join(foreign, "") + entry("user", "ann")
		values := []string{"\xd6\x7fabcd", "\xc7\x03\x05abc", "\xd1\x00\x01", "\xdf\x00\x00\x00\x01\x01\x02"}
		values = append(values, foreign[:7]...)
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) { keepsForeign(t, c, kit.RecordOf("msgpack", doc), values) })
	})
}

// keepsForeign writes a record by every verb of a T that does not know most of it.
func keepsForeign(t *testing.T, c sessions.Codec, record string, foreign []string) {
	store := kit.Memory()
	m := kit.New[buildOld](t, store, sessions.Config{Codec: c})
	other := kit.New[buildOld](t, store, sessions.Config{Codec: otherCodec(c)})
	kit.Place(t, store, kit.HandToken, record)
	token := kit.HandToken
	for i, f := range []func(ctx context.Context, s *buildOld) error{
		func(_ context.Context, s *buildOld) error { s.Views++; return nil },
		func(ctx context.Context, _ *buildOld) error {
			return m.Update(ctx, func(s *buildOld) error { s.Views++; return nil })
		},
		func(ctx context.Context, s *buildOld) error { s.Views++; return m.Renew(ctx) },
		func(_ context.Context, s *buildOld) error {
			s.Views++
			kit.Edit(t, other, token, func(s *buildOld) { s.Flash = "theirs" })
			return nil
		},
		func(ctx context.Context, s *buildOld) error {
			kit.Edit(t, other, token, func(s *buildOld) { s.Flash = "theirs again" })
			return m.Update(ctx, func(s *buildOld) error { s.Views++; return nil })
		},
		func(ctx context.Context, s *buildOld) error {
			kit.Edit(t, other, token, func(s *buildOld) { s.Flash = "" })
			s.Views++
			return m.SignIn(ctx)
		},
	} {
		token = turn(t, m, token, func(ctx context.Context, s *buildOld) {
			if s.User != "ann" || s.Views != i {
				t.Errorf("step %d reads %+v", i, *s)
			}
			kit.Must(t, f(ctx, s))
		})
		_, payload := stored(t, store, token)
		for _, value := range foreign {
			if !strings.Contains(payload, value) {
				t.Errorf("step %d has lost %q: %q", i, value, payload)
			}
		}
	}
	if _, payload := stored(t, store, token); strings.Contains(payload, "flash") {
		t.Errorf("a cleared omitempty field is still there: %q", payload)
	}
}

func TestBuildsMeet(t *testing.T) {
	t.Parallel()
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.RedisStore(rdb)
			for _, theirs := range []sessions.Codec{c, otherCodec(c)} {
				older := kit.New[buildOld](t, store, sessions.Config{Codec: c})
				newer := kit.New[buildNew](t, store, sessions.Config{Codec: theirs})
				begin := func() string {
					return kit.Edit(t, older, "", func(s *buildOld) {
						*s, _ = buildFields()
						s.User, s.Flash = "ann", "hello"
					})
				}
				_, added := buildFields()
				for name, verb := range map[string]func(ctx context.Context, s *buildOld) error{
					"a save": func(_ context.Context, s *buildOld) error { s.Views = 5; return nil },
					"Renew":  func(ctx context.Context, s *buildOld) error { s.Views = 5; return older.Renew(ctx) },
					"Update": func(ctx context.Context, _ *buildOld) error {
						return older.Update(ctx, func(s *buildOld) error { s.Views = 5; return nil })
					},
					"Update, changed before,": func(ctx context.Context, s *buildOld) error {
						s.Views = 4
						return older.Update(ctx, func(s *buildOld) error { s.Views++; return nil })
					},
				} {
					t.Run("K3 C7 "+name+" of an old build meets fields that a new one with "+theirs.Name()+" has added", func(t *testing.T) {
						token := begin()
						token = turn(t, older, token, func(ctx context.Context, s *buildOld) {
							kit.Edit(t, newer, token, func(s *buildNew) {
								fresh := added
								fresh.User, fresh.Views, fresh.Flash = "bob", s.Views, "" // cleared, and so gone
								*s = fresh
							})
							kit.Must(t, verb(ctx, s))
						})
						kit.Edit(t, newer, token, func(s *buildNew) {
							want := added
							want.User, want.Views = "bob", 5
							if !buildEqual(*s, want) {
								t.Errorf("the new build reads %+v, want %+v", *s, want)
							}
						})
						kit.Edit(t, older, token, func(s *buildOld) {
							want, _ := buildFields()
							want.User, want.Views = "bob", 5
							if !reflect.DeepEqual(*s, want) {
								t.Errorf("the old build reads %+v, want %+v", *s, want)
							}
						})
					})
				}
			}
		})
	})
}
