package merging_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// older is T of a build that does not know what newer has.
type older struct {
	Name  string         `json:"name"`
	Count int            `json:"count"`
	Prefs map[string]int `json:"prefs"`
}

type newer struct {
	older
	Added  string      `json:"added"`
	Amount json.Number `json:"amount,omitempty"` // with more digits than a float64 keeps
	Extra  []older
	NAME   string // which folds to a name that the older one knows
}

const digits = "12345678901234567890.12345678901234567890"

// newer is where processes of the newer build meet: all have the other codec.
func (s setup) newer() setup { return setup{s.store, s.other, s.other, false} }

// build is a process of a build, on the session of another one.
func build[T any](t *testing.T, s setup, cfg sessions.Config, token string) *pair[T] {
	p := &pair[T]{events: &kit.Events{}, store: &kit.Store{Store: s.store}, token: token}
	cfg.Codec, cfg.OnEvent = s.codec, p.events.On
	p.here = kit.New[T](t, p.store, cfg)
	return p
}

// What T does not know is never a request's change. So it stays as it is in the
// store now, whoever wrote it there, and whichever of the two saves later.
func TestForeignFields(t *testing.T) {
	t.Parallel()
	foreign := func(s *newer) {
		s.Added, s.Amount, s.Extra, s.NAME = "theirs", digits, []older{{Name: "deep"}}, "folded"
	}
	rows := []struct {
		name         string
		base, theirs func(*newer)
		merged       []string
	}{
		{"K3 C7 fields of a newer build that it has added meanwhile stay", func(s *newer) {}, foreign, nil},
		{"K3 C7 fields that were there stay", foreign, func(s *newer) { s.Count = 2 }, []string{"count"}},
		{"K3 C7 fields that a newer build has changed have its value", foreign, func(s *newer) { s.Added, s.Extra = "changed", nil }, nil},
		{"K3 C7 a field that a newer build has left out stays away", foreign, func(s *newer) { s.Amount, s.Count = "", 2 }, []string{"count"}},
	}
	eachOnRedis(t, func(t *testing.T, s setup) {
		if s.one {
			return // one process has one build
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				base := func(s *newer) {
					s.Name, s.Count, s.Prefs = "base", 1, map[string]int{"a": 1, "b": 2, "c": 3}
					row.base(s)
				}
				theirs := open(t, s.newer(), sessions.Config{}, base)
				p := build[older](t, s, sessions.Config{}, theirs.token)
				ctx, live := p.load(t, nil)
				theirs.edit(t, row.theirs)
				live.Name = "mine"
				kit.Must(t, p.here.Save(ctx))

				var merged newer
				base(&merged)
				row.theirs(&merged)
				merged.Name = "mine"
				want(t, "stored", theirs.stored(t), merged)
				want(t, "*T", *live, merged.older)
				p.wantFields(t, row.merged, nil)

				p.store.Calls()
				kit.Must(t, p.here.Save(ctx))
				p.store.WantCalls(t, "a second save", "")
				live.Name = "again"
				kit.Must(t, p.here.Save(ctx))
				merged.Name = "again"
				want(t, "after a third save stored", theirs.stored(t), merged)
			})
		}

		t.Run("K3 C7 a change by the older build survives the newer one's later save", func(t *testing.T) {
			p := open(t, s.newer(), sessions.Config{}, func(s *newer) { s.Name = "base"; foreign(s) })
			ctx, live := p.load(t, nil)
			kit.Edit(t, build[older](t, s, sessions.Config{}, p.token).here, p.token, func(s *older) { s.Count = 7 })
			live.Added = "later"
			kit.Must(t, p.here.Save(ctx))
			merged := newer{older: older{Name: "base", Count: 7}}
			foreign(&merged)
			merged.Added = "later"
			want(t, "stored", p.stored(t), merged)
			p.wantFields(t, []string{"count"}, nil)
		})

		for name, policy := range map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "the last one wins": sessions.ConflictLastWrite} {
			t.Run("K2 K3 a record with fields that T does not know stays in its codec when two saves meet, "+name, func(t *testing.T) {
				theirs := open(t, s.newer(), sessions.Config{}, foreign)
				p := build[older](t, s, sessions.Config{OnConflict: policy}, theirs.token)
				ctx, live := p.load(t, nil)
				theirs.edit(t, func(s *newer) { s.Count = 2 })
				live.Name = "mine"
				kit.Must(t, p.here.Save(ctx))
				header, payload, _ := strings.Cut(kit.RecordUnder(t, s.store, p.token), "\n")
				if !strings.Contains(header, `"c":"`+s.other.Name()+`"`) {
					t.Errorf("the header is %s", header)
				}
				if s.other.Name() == "json" && !strings.Contains(payload, `"amount":`+digits+`,`) {
					t.Errorf("the digits are not those that were written: %s", payload)
				}
			})
		}
	})
}

// Another program writes the same fields in another way.
func TestOtherEncoder(t *testing.T) {
	t.Parallel()
	t.Run("C7 what another program has only written in another way is not its change, nor is it a conflict", func(t *testing.T) {
		p := open(t, setup{kit.Memory(), sessions.JSON{}, sessions.JSON{}, false}, sessions.Config{}, func(s *older) {
			s.Name, s.Count, s.Prefs = "a/b", 1, map[string]int{"a": 1, "b": 2}
		})
		ctx, live := p.load(t, nil)
		header, _, _ := strings.Cut(kit.RecordUnder(t, p.all, p.token), "\n")
		header = strings.Replace(header, `"w":["`, `"w":["node.1","`, 1)
		kit.Place(t, p.all, p.token, header+"\n{ \"prefs\": {\"b\":2, \"a\":1}, \"count\": 5, \"since\": 1.50, \"name\": \"a\\/b\" }")
		live.Name = "mine"
		kit.Must(t, p.here.Save(ctx))
		p.wantFields(t, []string{"count"}, nil)
		_, payload, _ := strings.Cut(kit.RecordUnder(t, p.all, p.token), "\n")
		if want := `{"prefs":{"b":2, "a":1},"count":5,"since":1.50,"name":"mine"}`; payload != want {
			t.Errorf("stored is %s, want %s: what nobody changed is as it was written, and where it was", payload, want)
		}
	})
}

// A field of the msgpack codec may be read under its old name too.
func TestAlias(t *testing.T) {
	t.Parallel()
	type style struct {
		Style string `msgpack:"style"`
		N     int    `msgpack:"n"`
	}
	type theme struct {
		Theme string `msgpack:"theme,omitempty,alias:style"`
		N     int    `msgpack:"n"`
	}
	t.Run("C7 K3 a field read under its alias and cleared stays cleared, whatever another request has written meanwhile", func(t *testing.T) {
		store, cfg := kit.Memory(), sessions.Config{Codec: sessions.MsgPack{}}
		old, m := kit.New[style](t, store, cfg), kit.New[theme](t, store, cfg)
		token := kit.Edit(t, old, "", func(s *style) { s.Style = "dark" })
		ctx, live := kit.Load(t, m, token)
		if live.Theme != "dark" {
			t.Fatalf("*T is %+v", *live)
		}
		live.Theme = ""
		kit.Edit(t, old, token, func(s *style) { s.N = 5 })
		kit.Must(t, m.Save(ctx))
		want(t, "stored", kit.Stored(t, m, token), theme{"", 5})
	})
}

func TestInfinity(t *testing.T) {
	t.Parallel()
	type rates struct {
		Rates map[string]float64 `json:"rates"`
	}
	t.Run("K2 X4 what the other codec has stored and this one cannot write is an error of the save, never a nil that has stored nothing", func(t *testing.T) {
		store := kit.Memory()
		other := kit.New[rates](t, store, sessions.Config{Codec: sessions.MsgPack{}})
		m := kit.New[rates](t, store, sessions.Config{Codec: sessions.JSON{}})
		token := kit.Edit(t, other, "", func(s *rates) { s.Rates = map[string]float64{"limit": math.Inf(1), "n": 1} })
		ctx, live := kit.Load(t, m, token)
		live.Rates["n"] = 2
		if err := m.Save(ctx); err == nil {
			t.Error("Save = nil")
		}
		if got := kit.Stored(t, other, token); got.Rates["n"] != 1 || !math.IsInf(got.Rates["limit"], 1) {
			t.Errorf("stored is %+v after a save that failed", got)
		}
		live.Rates["limit"] = 3
		kit.Must(t, m.Save(ctx))
		if got := kit.Stored(t, other, token); got.Rates["n"] != 2 || got.Rates["limit"] != 3 {
			t.Errorf("after it was mended stored is %+v", got)
		}
	})
}
