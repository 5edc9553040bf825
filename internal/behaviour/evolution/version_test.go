package evolution_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// versionOld is T from before it was Versioned.
type versionOld struct {
	Name   string `json:"name"`
	Visits int    `json:"visits"`
	Legacy string `json:"legacy"`
}

// versionFields is what has become of it.
type versionFields struct {
	First  string         `json:"first"`
	Last   string         `json:"last"`
	Visits int            `json:"visits"`
	Seen   map[string]int `json:"seen"`
	From   int            `json:"-"` // what UpgradeSession was told
}

func (f *versionFields) rename(name string) { f.First, f.Last, _ = strings.Cut(name, " ") }

// A versionWay is how a T upgrades itself, and to which version.
type versionWay interface {
	version() int
	upgrade(f *versionFields, from int, decode func(any) error) error
}

// versionT is a Versioned T.
type versionT[W versionWay] struct{ versionFields }

func (s *versionT[W]) SessionVersion() int {
	var w W
	return w.version()
}

func (s *versionT[W]) UpgradeSession(from int, decode func(any) error) error {
	var w W
	s.From = from
	return w.upgrade(&s.versionFields, from, decode)
}

type versionTwo struct{}

func (versionTwo) version() int { return 2 }

type (
	versionByStruct       struct{ versionTwo }
	versionByMap          struct{ versionTwo }
	versionTwice          struct{ versionTwo }
	versionByValue        struct{ versionTwo }
	versionByNil          struct{ versionTwo }
	versionByNothing      struct{ versionTwo }
	versionFailing        struct{ versionTwo }
	versionPanicking      struct{ versionTwo }
	versionPanickingError struct{ versionTwo }
	versionSlipping       struct{ versionTwo }
	versionSayingNewer    struct{ versionTwo }
	versionThree          struct{}
)

func (versionByStruct) upgrade(f *versionFields, _ int, decode func(any) error) error {
	var old versionOld
	if err := decode(&old); err != nil {
		return err
	}
	f.rename(old.Name)
	f.Visits = old.Visits
	f.Seen = map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6} // in no order under msgpack
	return nil
}

func (versionByMap) upgrade(f *versionFields, _ int, decode func(any) error) error {
	var old map[string]any
	if err := decode(&old); err != nil {
		return err
	}
	f.rename(old["name"].(string))
	_, err := fmt.Sscan(fmt.Sprint(old["visits"]), &f.Visits)
	return err
}

func (versionTwice) upgrade(f *versionFields, _ int, decode func(any) error) error {
	var name struct {
		Name string `json:"name"`
	}
	var visits struct {
		Visits int `json:"visits"`
	}
	if err := errors.Join(decode(&name), decode(&visits)); err != nil {
		return err
	}
	f.rename(name.Name)
	f.Visits = visits.Visits
	return nil
}

func (versionSayingNewer) upgrade(_ *versionFields, from int, _ func(any) error) error {
	return fmt.Errorf("version %d was never released: %w", from, sessions.ErrNewerVersion)
}

func (versionByValue) upgrade(_ *versionFields, _ int, decode func(any) error) error {
	return decode(versionOld{})
}

func (versionByNil) upgrade(_ *versionFields, _ int, decode func(any) error) error {
	return decode((*versionOld)(nil))
}

func (versionByNothing) upgrade(_ *versionFields, _ int, decode func(any) error) error {
	return decode(nil)
}

var errVersion = errors.New("no way from there")

func (versionFailing) upgrade(*versionFields, int, func(any) error) error { return errVersion }

func (versionPanicking) upgrade(_ *versionFields, _ int, decode func(any) error) error {
	var old versionOld
	_ = decode(&old)
	panic("cannot split " + old.Name)
}

func (versionPanickingError) upgrade(_ *versionFields, _ int, decode func(any) error) error {
	var old versionOld
	_ = decode(&old)
	panic(fmt.Errorf("cannot split %s", old.Name))
}

func (versionSlipping) upgrade(f *versionFields, _ int, decode func(any) error) error {
	var old versionOld
	_ = decode(&old)
	f.Last = strings.Split(old.Name, "-")[7]
	return nil
}

func (versionThree) version() int { return 3 }

func (versionThree) upgrade(f *versionFields, from int, decode func(any) error) error {
	if from < 2 {
		return versionByStruct{}.upgrade(f, from, decode)
	}
	return decode(f)
}

// seedVersion is a session of an older build, in the codec of the build.
func seedVersion(t *testing.T, store sessions.Store, c sessions.Codec) (token string) {
	t.Helper()
	m := kit.New[versionOld](t, store, sessions.Config{Codec: c})
	return kit.Edit(t, m, "", func(s *versionOld) { *s = versionOld{Name: "Ann SECRET", Visits: 7, Legacy: "gone"} })
}

// versionUpgrades: T makes itself of the old data, reads write nothing, and the
// next change writes it all.
func versionUpgrades[W versionWay](t *testing.T, name string) {
	kit.EachCodec(t, func(t *testing.T, was sessions.Codec) {
		for _, c := range []sessions.Codec{was, otherCodec(was)} {
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[versionT[W]](t, store, sessions.Config{Codec: c})
			t.Run("K4 UpgradeSession "+name+" is given the old version and the old data, now "+c.Name(), func(t *testing.T) {
				if s := kit.Stored(t, m, seedVersion(t, store, was)); s.First != "Ann" || s.Last != "SECRET" || s.Visits != 7 || s.From != 0 {
					t.Errorf("%+v", s)
				}
			})
			t.Run("K4 L3 the upgrade "+name+" alone is no change, now "+c.Name(), func(t *testing.T) {
				token := seedVersion(t, store, was)
				before := kit.RecordUnder(t, store, token)
				for verb, calls := range map[string]string{"": "Load", "Save": "Load", "Reload": "Load Load"} {
					store.Calls()
					ctx, s := kit.Load(t, m, token)
					if verb != "" {
						kit.Must(t, kit.Call(m, ctx, verb))
					}
					s.Visits = 7
					kit.Commit(t, m, ctx, sessions.OutcomeUnchanged)
					store.WantCalls(t, "a read with the verb "+verb, calls)
				}
				if after := kit.RecordUnder(t, store, token); after != before {
					t.Errorf("the record became %q", after)
				}
			})
			for what, verb := range map[string]func(ctx context.Context, s *versionT[W]) error{
				"change": func(_ context.Context, s *versionT[W]) error { s.Visits++; return nil },
				"Update": func(ctx context.Context, _ *versionT[W]) error {
					return m.Update(ctx, func(s *versionT[W]) error { s.Visits++; return nil })
				},
				"Renew":                func(ctx context.Context, s *versionT[W]) error { s.Visits++; return m.Renew(ctx) },
				"SignIn with a change": func(ctx context.Context, s *versionT[W]) error { s.Visits++; return m.SignIn(ctx) },
			} {
				t.Run("K4 the next "+what+" after the upgrade "+name+" writes it, without the old fields, now "+c.Name(), func(t *testing.T) {
					token := turn(t, m, seedVersion(t, store, was), func(ctx context.Context, s *versionT[W]) { kit.Must(t, verb(ctx, s)) })
					header, payload := stored(t, store, token)
					if !strings.Contains(header, `"version":2`) || !strings.Contains(header, fmt.Sprintf(`"c":%q`, c.Name())) {
						t.Errorf("header %s", header)
					}
					if strings.Contains(payload, "legacy") || strings.Contains(payload, "name") {
						t.Errorf("payload %q", payload)
					}
					if s := kit.Stored(t, m, token); s.Visits != 8 || s.Last != "SECRET" || s.From != 0 {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	})
}

func TestVersionUpgrades(t *testing.T) {
	t.Parallel()
	versionUpgrades[versionByStruct](t, "into the old struct")
	versionUpgrades[versionByMap](t, "into a map")
	versionUpgrades[versionTwice](t, "in two steps")
	t.Run("K4 an upgrade starts from whatever version is stored", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.Memory()
			second := kit.New[versionT[versionByStruct]](t, store, sessions.Config{Codec: c})
			third := kit.New[versionT[versionThree]](t, store, sessions.Config{Codec: c})
			token := seedVersion(t, store, c)
			if s := kit.Stored(t, third, token); s.From != 0 || s.Last != "SECRET" {
				t.Errorf("of version 0: %+v", s)
			}
			kit.Edit(t, second, token, func(s *versionT[versionByStruct]) { s.Visits = 8 })
			if s := kit.Stored(t, third, token); s.From != 2 || s.Visits != 8 || s.Last != "SECRET" {
				t.Errorf("of version 2: %+v", s)
			}
		})
	})
	t.Run("K4 Rewrite writes the upgrade of a session that is only read", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store := kit.Memory()
			m := kit.New[versionT[versionByStruct]](t, store, sessions.Config{Codec: c, Rewrite: true})
			token := seedVersion(t, store, c)
			kit.Serve(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), kit.With(token, "/"))
			if header, _ := stored(t, store, token); !strings.Contains(header, `"version":2`) {
				t.Errorf("header %s", header)
			}
		})
	})
}

// versionFails: a T that cannot be made of the old data is like any record that
// cannot be read.
func versionFails[W versionWay](t *testing.T, name string, check func(t *testing.T, err *sessions.DecodeError)) {
	t.Run("K4 K6 K11 an UpgradeSession that "+name+" leaves the record as it is and the visitor starts fresh", func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			store, events, log := kit.Memory(), &kit.Events{}, &kit.Log{}
			m := kit.New[versionT[W]](t, store, sessions.Config{Codec: c, OnEvent: events.On, Logger: log.Logger()})
			token := seedVersion(t, store, c)
			before := kit.RecordUnder(t, store, token)
			h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := m.FromContext(r.Context())
				if i := m.Info(r.Context()); !i.New || s.First != "" || s.Visits != 0 {
					t.Errorf("the visitor gets %+v, new %v", *s, i.New)
				}
				if r.URL.Path == "/write" {
					s.Visits = 1
				}
			}))
			for _, path := range []string{"/read", "/read", "/write"} {
				res := kit.Serve(h, kit.With(token, path))
				if sent := kit.TokenOf(res.Header); res.StatusCode != 200 || (sent != "") != (path == "/write") || sent == token {
					t.Errorf("%s: %d, cookie %v", path, res.StatusCode, sent != "")
				}
				told := events.Take()
				if len(told) == 0 || told[0].Kind != sessions.EventUndecodable {
					t.Fatalf("%s: events %v", path, told)
				}
				e := told[0]
				broken, ok := errors.AsType[*sessions.DecodeError](e.Err)
				if !ok || broken.ID == "" || broken.ID != e.Session.ID || !strings.Contains(before, broken.ID) {
					t.Fatalf("%s: the event's error is %T %v", path, e.Err, e.Err)
				}
				check(t, broken)
				for _, text := range append(log.Take(), broken.Error(), fmt.Sprintf("%+v", e)) {
					if strings.Contains(text, "SECRET") || strings.Contains(text, token) {
						t.Errorf("%s: it tells what the session holds: %s", path, text)
					}
				}
				if after := kit.RecordUnder(t, store, token); after != before {
					t.Errorf("%s: the record became %q", path, after)
				}
			}
			m = kit.New[versionT[W]](t, store, sessions.Config{Codec: c, OnUndecodable: sessions.UndecodableFail})
			_, err := m.Load(t.Context(), token)
			if broken, ok := errors.AsType[*sessions.DecodeError](err); !ok || kit.RecordUnder(t, store, token) != before {
				t.Errorf("Load with UndecodableFail: %v", err)
			} else {
				check(t, broken)
			}
		})
	})
}

func TestVersionUpgradeFails(t *testing.T) {
	t.Parallel()
	says := func(parts ...string) func(t *testing.T, err *sessions.DecodeError) {
		return func(t *testing.T, err *sessions.DecodeError) {
			t.Helper()
			for _, part := range append(parts, "UpgradeSession from version 0") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in %v", part, err)
				}
			}
		}
	}
	versionFails[versionByValue](t, "decodes into a value", says("evolution_test.versionOld: give it a pointer"))
	versionFails[versionByNil](t, "decodes into a nil pointer", says("give it a pointer"))
	versionFails[versionByNothing](t, "decodes into nothing", says("give it a pointer"))
	versionFails[versionFailing](t, "fails", func(t *testing.T, err *sessions.DecodeError) {
		if says()(t, err); !errors.Is(err, errVersion) {
			t.Errorf("%v does not wrap its error", err)
		}
	})
	versionFails[versionSayingNewer](t, "says ErrNewerVersion of an older record", says("was never released"))
	versionFails[versionPanicking](t, "panics with a string", says("panics with a string"))
	versionFails[versionPanickingError](t, "panics with an error", says("panics with a *errors.errorString"))
	versionFails[versionSlipping](t, "has a bug", func(t *testing.T, err *sessions.DecodeError) {
		says("index out of range")(t, err)
		if _, ok := errors.AsType[runtime.Error](err); !ok {
			t.Errorf("%v hides the runtime's error", err)
		}
	})
}
