package evolution_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Two builds of one program: the newer one has defaults, and more fields, also within one that both have.
type (
	addedOld struct {
		Name  string         `json:"name"`
		Views int            `json:"views"`
		Prefs addedOldPrefs  `json:"prefs"`
		More  *addedOldPrefs `json:"more"`
	}
	addedOldPrefs struct {
		Theme string `json:"theme"`
	}
	addedNew struct {
		Name   string         `json:"name"`
		Views  int            `json:"views"`
		Prefs  addedPrefs     `json:"prefs"`
		More   *addedPrefs    `json:"more"`
		Recent map[string]int `json:"recent"`
		Limit  int            `json:"limit"`
		Token  string         `json:"token"`
		Note   string         `json:"note,omitempty"`
		AddedEmbedded
	}
	addedPrefs struct {
		Theme string            `json:"theme"`
		Seen  map[string]string `json:"seen"`
		Hint  string            `json:"hint,omitempty"`
	}
	AddedEmbedded struct {
		Flags map[string]bool `json:"flags"`
	}
)

var addedCalls, addedTokens atomic.Int64

func (s *addedNew) SessionDefaults() {
	addedCalls.Add(1)
	*s = addedNew{
		Prefs:  addedPrefs{Theme: "dark", Seen: map[string]string{}, Hint: "hint"},
		More:   &addedPrefs{Seen: map[string]string{"more": "x"}},
		Recent: map[string]int{"default": 1}, Limit: 10, Note: "note", Token: fmt.Sprint("token ", addedTokens.Add(1)),
		AddedEmbedded: AddedEmbedded{map[string]bool{}},
	}
}

// addedOmitted is a newer build whose maps are left out when they are empty.
type addedOmitted struct {
	Name   string         `json:"name"`
	Views  int            `json:"views"`
	Recent map[string]int `json:"recent,omitempty"`
	Full   map[string]int `json:"full,omitempty"`
	List   []string       `json:"list,omitempty"`
	Within struct {
		Recent map[string]int `json:"recent,omitempty"`
	} `json:"within"`
	AddedOmittedEmbedded
}

type AddedOmittedEmbedded struct {
	Recents map[string]int `json:"recents,omitempty"`
}

func (s *addedOmitted) SessionDefaults() {
	s.Recent, s.Full, s.List = map[string]int{}, map[string]int{"full": 1}, []string{}
	s.Within.Recent = map[string]int{}
	s.Recents = map[string]int{}
}

// addedMerging merges itself.
type addedMerging struct{ addedOmitted }

func (s *addedMerging) MergeSession(_, theirs *addedMerging) error {
	maps.Copy(s.Recent, theirs.Recent)
	return nil
}

// addedVersioned is the newer build with a version.
type addedVersioned struct{ addedNew }

func (*addedVersioned) SessionVersion() int { return 1 }

func (s *addedVersioned) UpgradeSession(_ int, decode func(any) error) error {
	return decode(&s.addedNew)
}

// addedOwn writes itself.
type addedOwn struct {
	Name   string         `json:"name"`
	Recent map[string]int `json:"recent"`
}

func (s *addedOwn) SessionDefaults() { s.Recent = map[string]int{} }

func (s addedOwn) MarshalJSON() ([]byte, error) {
	type plain addedOwn
	return json.Marshal(plain(s))
}

func TestAddedFields(t *testing.T) {
	// Not parallel: it counts the calls of SessionDefaults.
	begin := func(t *testing.T, store sessions.Store, c sessions.Codec) string {
		m := kit.New[addedOld](t, store, sessions.Config{Codec: c})
		return kit.Edit(t, m, "", func(s *addedOld) {
			*s = addedOld{Name: "ann", Prefs: addedOldPrefs{"light"}, More: &addedOldPrefs{"grey"}}
		})
	}
	wantAdded := func(t *testing.T, s *addedNew) {
		t.Helper()
		if s.Name != "ann" || s.Prefs.Theme != "light" || s.More == nil || s.More.Theme != "grey" || s.Note != "" || s.Prefs.Hint != "" {
			t.Errorf("what the record has, or may have cleared, is %+v", *s)
		}
		if s.Recent["default"] != 1 || s.Limit != 10 || s.Token == "" || s.Prefs.Seen == nil || s.More.Seen["more"] != "x" || s.Flags == nil {
			t.Errorf("what was added is %+v", *s)
		}
	}
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		for _, theirs := range []sessions.Codec{c, otherCodec(c)} {
			t.Run("K9 a field that was added since the record was written in "+theirs.Name()+" is as SessionDefaults has it", func(t *testing.T) {
				store := &kit.Store{Store: kit.Memory()}
				m := kit.New[addedNew](t, store, sessions.Config{Codec: c})
				token := begin(t, store, theirs)
				store.Calls()
				kit.Edit(t, m, token, func(s *addedNew) { wantAdded(t, s) })
				store.WantCalls(t, "a read", "Load")
				turn(t, m, token, func(ctx context.Context, s *addedNew) {
					kit.Must(t, m.Reload(ctx))
					wantAdded(t, s)
					kit.Must(t, m.Update(ctx, func(s *addedNew) error {
						wantAdded(t, s)
						s.Recent["a"]++
						s.Prefs.Seen["a"] = "b"
						s.Flags["f"] = true
						return nil
					}))
				})
				turn(t, kit.New[addedOld](t, store, sessions.Config{Codec: theirs}), token, func(_ context.Context, s *addedOld) { s.Views++ })
				before := addedCalls.Load()
				kit.Edit(t, m, token, func(s *addedNew) {
					wantAdded(t, s)
					if s.Recent["a"] != 1 || s.Prefs.Seen["a"] != "b" || !s.Flags["f"] || s.Views != 1 {
						t.Errorf("after an Update, and a save by the older build: %+v", *s)
					}
				})
				if n := addedCalls.Load() - before; n != 0 {
					t.Errorf("a record with all fields called SessionDefaults %d times", n)
				}
			})
		}
		t.Run("K9 a field that was cleared stays so, in every build", func(t *testing.T) {
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[addedNew](t, store, sessions.Config{Codec: c})
			token := kit.Edit(t, m, "", func(s *addedNew) { *s = addedNew{Name: "bob"} })
			for range 2 {
				turn(t, kit.New[addedOld](t, store, sessions.Config{Codec: c}), token, func(_ context.Context, s *addedOld) { s.Views++ })
				store.Calls()
				kit.Edit(t, kit.New[addedNew](t, store, sessions.Config{Codec: otherCodec(c)}), token, func(s *addedNew) {
					if s.Recent != nil || s.Limit != 0 || s.Token != "" || s.Note != "" || s.Prefs.Seen != nil || s.More != nil || s.Flags != nil {
						t.Errorf("a cleared field came back: %+v", *s)
					}
				})
				store.WantCalls(t, "a read", "Load")
			}
		})
		t.Run("K9 C7 it keeps, through a conflict, the value that the request has been given", func(t *testing.T) {
			for _, verb := range []string{"Save", "Renew", "Update"} {
				var events kit.Events
				store := kit.Memory()
				m := kit.New[addedNew](t, store, sessions.Config{Codec: c, OnEvent: events.On})
				older := kit.New[addedOld](t, store, sessions.Config{Codec: c})
				token := begin(t, store, c)
				given := ""
				token = turn(t, m, token, func(ctx context.Context, s *addedNew) {
					given = s.Token
					kit.Edit(t, older, token, func(s *addedOld) { s.Views = 7 })
					s.Name = "changed"
					s.Recent["mine"] = 2
					if verb != "Update" {
						kit.Must(t, kit.Call(m, ctx, verb))
						return
					}
					kit.Must(t, m.Update(ctx, func(s *addedNew) error {
						if s.Token != given {
							t.Errorf("Update's function sees %q, want %q", s.Token, given)
						}
						return nil
					}))
				})
				if s := kit.Stored(t, m, token); s.Token != given || s.Name != "changed" || s.Views != 7 || s.Recent["mine"] != 2 || s.Recent["default"] != 1 {
					t.Errorf("%s stored %+v, want the token %q", verb, s, given)
				}
				for _, e := range events.Take() {
					if e.Kind == sessions.EventConflict || e.Kind == sessions.EventMerged && strings.Join(e.Fields, " ") != "views" {
						t.Errorf("%s: %v of %v", verb, e.Kind, e.Fields)
					}
				}
			}
		})
		t.Run("K9 for data of an older version UpgradeSession alone decides", func(t *testing.T) {
			store := kit.Memory()
			m := kit.New[addedVersioned](t, store, sessions.Config{Codec: c})
			kit.Edit(t, m, begin(t, store, c), func(s *addedVersioned) {
				if s.Name != "ann" || s.Recent != nil || s.Limit != 0 {
					t.Errorf("%+v", *s)
				}
			})
		})
	})
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		t.Run("K9 an empty map that SessionDefaults makes and omitempty leaves out is there in each session", func(t *testing.T) {
			var events kit.Events
			store := &kit.Store{Store: kit.Memory()}
			m := kit.New[addedOmitted](t, store, sessions.Config{Codec: c, OnEvent: events.On})
			count := func(s *addedOmitted) { s.Recent["a"]++; s.Within.Recent["b"]++; s.Recents["c"]++ }
			for _, token := range []string{
				begin(t, store, c),
				kit.Edit(t, m, "", func(s *addedOmitted) { s.Name, s.Full = "ann", nil }),
				kit.Edit(t, m, "", func(s *addedOmitted) { *s = addedOmitted{Name: "ann"} }),
			} {
				store.Calls()
				for _, codec := range []sessions.Codec{c, otherCodec(c)} {
					kit.Edit(t, kit.New[addedOmitted](t, store, sessions.Config{Codec: codec}), token, func(s *addedOmitted) {
						if s.Name != "ann" || s.Recent == nil || s.Within.Recent == nil || s.Recents == nil || s.Full != nil || s.List != nil {
							t.Errorf("%+v", *s)
						}
					})
					store.WantCalls(t, "a read", "Load")
				}
				events.Take()
				turn(t, m, token, func(ctx context.Context, s *addedOmitted) {
					kit.Must(t, m.Update(ctx, func(s *addedOmitted) error { count(s); return nil }))
					kit.Must(t, m.Reload(ctx))
					kit.Edit(t, m, token, func(s *addedOmitted) { s.Views++ })
					count(s)
				})
				for _, e := range events.Take() {
					if e.Kind == sessions.EventConflict || e.Kind == sessions.EventMerged && strings.Join(e.Fields, " ") != "views" {
						t.Errorf("%v of %v", e.Kind, e.Fields)
					}
				}
				turn(t, m, token, func(ctx context.Context, s *addedOmitted) {
					kit.Edit(t, m, token, func(s *addedOmitted) { s.Views, s.Recent, s.Within.Recent = 1, nil, nil })
					s.Name = "eve"
					kit.Must(t, m.Save(ctx)) // merged: *T is decoded afresh
					s.Recent["a"], s.Within.Recent["b"] = 2, 2
				})
				if s := kit.Stored(t, m, token); s.Recent["a"] != 2 || s.Within.Recent["b"] != 2 || s.Recents["c"] != 2 || s.Views != 1 {
					t.Errorf("stored %+v", s)
				}
			}
		})
	})
	t.Run("K9 MergeSession finds it too", func(t *testing.T) {
		m := kit.New[addedMerging](t, kit.Memory(), sessions.Config{})
		token := kit.Edit(t, m, "", func(s *addedMerging) { s.Name = "ann" })
		turn(t, m, token, func(_ context.Context, s *addedMerging) {
			kit.Edit(t, m, token, func(s *addedMerging) { s.Recent["a"]++ })
			s.Name = "eve"
		})
		if s := kit.Stored(t, m, token); s.Recent["a"] != 1 || s.Name != "eve" {
			t.Errorf("stored %+v", s)
		}
	})
	t.Run("K9 a field that is null is not added", func(t *testing.T) {
		store := kit.Memory()
		m := kit.New[addedNew](t, store, sessions.Config{})
		kit.Place(t, store, kit.HandToken, kit.RecordOf("json", `{"name":"ann","recent":null,"prefs":null,"more":null,"limit":0}`))
		kit.Edit(t, m, kit.HandToken, func(s *addedNew) {
			if s.Recent != nil || s.Prefs.Seen != nil || s.More != nil || s.Limit != 0 || s.Flags == nil {
				t.Errorf("%+v", *s)
			}
		})
	})
	t.Run("K9 a field within another that the codec reads by another case is not added", func(t *testing.T) {
		store := kit.Memory()
		m := kit.New[addedNew](t, store, sessions.Config{})
		kit.Place(t, store, kit.HandToken, kit.RecordOf("json", `{"name":"ann","prefs":{"SEEN":{"a":"b"}}}`))
		kit.Edit(t, m, kit.HandToken, func(s *addedNew) {
			if s.Prefs.Seen["a"] != "b" {
				t.Errorf("%+v", *s)
			}
		})
	})
	t.Run("K9 a field is not added where the codec does not tell T's fields", func(t *testing.T) {
		store := kit.Memory()
		cfg := sessions.Config{Codec: opaque{sessions.JSON{}}}
		m := kit.New[addedNew](t, store, cfg)
		kit.Place(t, store, kit.HandToken, kit.RecordOf("opaque", `{"name":"ann"}`))
		kit.Edit(t, m, kit.HandToken, func(s *addedNew) {
			if s.Name != "ann" || s.Recent != nil {
				t.Errorf("%+v", *s)
			}
		})
	})
	t.Run("K9 of a T that writes itself no field counts as added", func(t *testing.T) {
		store := kit.Memory()
		m := kit.New[addedOwn](t, store, sessions.Config{})
		kit.Place(t, store, kit.HandToken, kit.RecordOf("json", `{"name":"ann"}`))
		kit.Edit(t, m, kit.HandToken, func(s *addedOwn) {
			if s.Name != "ann" || s.Recent != nil {
				t.Errorf("%+v", *s)
			}
		})
	})
}

// opaque is a codec that is no FieldCodec.
type opaque struct{ sessions.Codec }

func (opaque) Name() string { return "opaque" }
