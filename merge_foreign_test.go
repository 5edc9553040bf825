package sessions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
)

// mergeOlder is T of a build that does not know what mergeNewer has.
type mergeOlder struct {
	Name  string         `json:"name"`
	Count int            `json:"count"`
	Prefs map[string]int `json:"prefs"`
}

type mergeNewer struct {
	mergeOlder
	Added  string      `json:"added"`
	Amount json.Number `json:"amount,omitempty"` // with more digits than a float64 keeps
	Extra  []mergeOlder
	NAME   string // which folds to a name that the older one knows
}

const mergeDigits = "12345678901234567890.12345678901234567890"

// What T does not know is never a request's change. So it stays as it is in the
// store now, whoever wrote it there, and whichever of the two saves later.
func TestMergeForeign(t *testing.T) {
	foreign := func(s *mergeNewer) {
		s.Added, s.Amount, s.Extra, s.NAME = "theirs", mergeDigits, []mergeOlder{{Name: "deep"}}, "folded"
	}
	rows := []struct {
		name        string
		base, there func(*mergeNewer)
		want        func(*mergeNewer) // after base, there, and name = mine
		taken       []string
	}{
		{"K3 C7 fields of a newer build that it has added meanwhile stay", func(s *mergeNewer) {}, foreign, nil, nil},
		{"K3 C7 fields that were there stay", foreign, func(s *mergeNewer) { s.Count = 2 }, nil, []string{"count"}},
		{"K3 C7 fields that a newer build has changed have its value", foreign, func(s *mergeNewer) { s.Added, s.Extra = "changed", nil }, nil, nil},
		{
			"K3 C7 a field that a newer build has left out stays away", foreign,
			func(s *mergeNewer) { s.Amount, s.Count = "", 2 }, nil,
			[]string{"count"},
		},
	}
	eachMeeting(t, func(t *testing.T, store sessions.Store, codec, theirs sessions.Codec, one bool) {
		if one {
			return // one process has one build
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				newer := newMergePair(t, store, sessions.Config{Codec: theirs}, theirs, false, func(s *mergeNewer) {
					s.Name, s.Count, s.Prefs = "base", 1, map[string]int{"a": 1, "b": 2, "c": 3}
					row.base(s)
				})
				p := mergeOld(t, store, newer.token, sessions.Config{Codec: codec})
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				mergeEdit(t, newer.there, p.token, row.there)
				s := p.here.FromContext(ctx)
				s.Name = "mine"
				must(t, p.here.Save(ctx))

				want := mergeNewer{mergeOlder: mergeOlder{"base", 1, map[string]int{"a": 1, "b": 2, "c": 3}}}
				row.base(&want)
				row.there(&want)
				want.Name = "mine"
				got := mergeStored(t, newer.there, p.token)
				if !mergeEqual(t, got, want) {
					t.Errorf("stored is %+v, want %+v", got, want)
				}
				if !mergeEqual(t, *s, want.mergeOlder) {
					t.Errorf("*T is %+v, want %+v", *s, want.mergeOlder)
				}
				mergeTold(t, mergeEvents(p.events), row.taken, nil)

				p.calls.take()
				must(t, p.here.Save(ctx))
				wantCalls(t, p.calls, "a second save", "")
				s.Name = "again"
				must(t, p.here.Save(ctx))
				want.Name = "again"
				if got := mergeStored(t, newer.there, p.token); !mergeEqual(t, got, want) {
					t.Errorf("after a third save stored is %+v, want %+v", got, want)
				}
			})
		}

		t.Run("K3 C7 a change by the older build survives the newer one's later save", func(t *testing.T) {
			newer := newMergePair(t, store, sessions.Config{Codec: theirs}, theirs, false, func(s *mergeNewer) { s.Name = "base"; foreign(s) })
			old := mergeOld(t, store, newer.token, sessions.Config{Codec: codec})
			ctx, err := newer.here.Load(t.Context(), newer.token)
			must(t, err)
			mergeEdit(t, old.here, newer.token, func(s *mergeOlder) { s.Count = 7 })
			mergeEvents(newer.events)
			newer.here.FromContext(ctx).Added = "later"
			must(t, newer.here.Save(ctx))
			want := mergeNewer{mergeOlder: mergeOlder{Name: "base", Count: 7}}
			foreign(&want)
			want.Added = "later"
			if got := mergeStored(t, newer.there, newer.token); !mergeEqual(t, got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
			mergeTold(t, mergeEvents(newer.events), []string{"count"}, nil)
		})

		for name, policy := range map[string]sessions.ConflictPolicy{"merge": sessions.ConflictMerge, "the last one wins": sessions.ConflictLastWrite} {
			t.Run("K2 K3 a record with fields that T does not know stays in its codec when two saves meet, "+name, func(t *testing.T) {
				newer := newMergePair(t, store, sessions.Config{Codec: theirs}, theirs, false, foreign)
				p := mergeOld(t, store, newer.token, sessions.Config{Codec: codec, OnConflict: policy})
				ctx, err := p.here.Load(t.Context(), p.token)
				must(t, err)
				mergeEdit(t, newer.there, p.token, func(s *mergeNewer) { s.Count = 2 })
				p.here.FromContext(ctx).Name = "mine"
				must(t, p.here.Save(ctx))
				data, _, err := store.Load(t.Context(), keyOf(p.token), 0)
				must(t, err)
				header, payload, _ := bytes.Cut(data, []byte("\n"))
				if !strings.Contains(string(header), `"c":"`+theirs.Name()+`"`) {
					t.Errorf("the header is %s", header)
				}
				if theirs.Name() == "json" && !strings.Contains(string(payload), `"amount":`+mergeDigits+`,`) {
					t.Errorf("the digits are not those that were written: %s", payload)
				}
			})
		}
	})
}

// mergeOld is a process of the older build; it has no session of its own.
func mergeOld(t *testing.T, store sessions.Store, token string, cfg sessions.Config) *mergePair[mergeOlder] {
	p := &mergePair[mergeOlder]{events: &recorder{}, token: token}
	var counting *stepStore
	counting, p.calls = counted(store)
	cfg.OnEvent = p.events.on
	p.here = newManager[mergeOlder](t, counting, cfg)
	return p
}

// mergeEqual compares what JSON makes of two values.
func mergeEqual(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	must(t, err)
	y, err := json.Marshal(b)
	must(t, err)
	return bytes.Equal(x, y)
}

// The fields of a Session, some of which another program writes in another way.
func TestMergeOtherEncoder(t *testing.T) {
	t.Run("C7 what another program has only written in another way is not its change, nor is it a conflict", func(t *testing.T) {
		var store sessions.MemoryStore
		p := newMergePair(t, &store, sessions.Config{}, sessions.JSON{}, false, func(s *mergeOlder) {
			s.Name, s.Count, s.Prefs = "a/b", 1, map[string]int{"a": 1, "b": 2}
		})
		ctx, err := p.here.Load(context.Background(), p.token)
		must(t, err)
		data, _, err := store.Load(t.Context(), keyOf(p.token), 0)
		must(t, err)
		header, _, _ := bytes.Cut(data, []byte("\n"))
		header = bytes.Replace(header, []byte(`"w":["`), []byte(`"w":["node.1","`), 1)
		other := append(header, "\n{ \"prefs\": {\"b\":2, \"a\":1}, \"count\": 5, \"since\": 1.50, \"name\": \"a\\/b\" }"...)
		must(t, store.Delete(t.Context(), keyOf(p.token)))
		must(t, store.Create(t.Context(), keyOf(p.token), other, century))
		mergeEvents(p.events)
		p.here.FromContext(ctx).Name = "mine"
		must(t, p.here.Save(ctx))
		mergeTold(t, mergeEvents(p.events), []string{"count"}, nil)
		data, _, err = store.Load(t.Context(), keyOf(p.token), 0)
		must(t, err)
		_, payload, _ := bytes.Cut(data, []byte("\n"))
		if got, want := string(payload), `{"prefs":{"b":2, "a":1},"count":5,"since":1.50,"name":"mine"}`; got != want {
			t.Errorf("stored is %s, want %s: what nobody changed is as it was written, and where it was", got, want)
		}
	})
}
