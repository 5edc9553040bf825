package evolution_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// What this build does not know is never this request's change: a field that a
// newer build has saved meanwhile stays, whoever saves later.
func TestForeignFieldsMeanwhile(t *testing.T) {
	t.Parallel()
	type newer struct {
		kit.Session
		Added string `json:"added"`
	}
	for _, verb := range []string{"Save", "Renew", "SignIn"} {
		for what, views := range map[string]int{"with a change": 5, "without one": 1} {
			t.Run("K3 a field that a newer build saves before the "+verb+" of an older one "+what+" stays", func(t *testing.T) {
				kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
					store := kit.Memory()
					m := kit.New[kit.Session](t, store, sessions.Config{Codec: c})
					next := kit.New[newer](t, store, sessions.Config{Codec: c})
					token := kit.Edit(t, m, "", func(s *kit.Session) { s.Views = 1 })
					token = turn(t, m, token, func(ctx context.Context, s *kit.Session) {
						kit.Edit(t, next, token, func(s *newer) { s.Added = "kept" })
						s.Views = views
						kit.OK(t, kit.Call(m, ctx, verb))
					})
					if got := kit.Stored(t, next, token); got.Added != "kept" || got.Views != views {
						t.Errorf("%q and %d views, want kept and %d", got.Added, got.Views, views)
					}
				})
			})
		}
	}
}

// Two builds of one program: the newer one knows more of what lies within a
// field that both have.
type (
	nestedOlder struct {
		Name string `json:"name"`
		Note string `json:"note,omitempty"`
		Cart struct {
			Total int `json:"total"`
		} `json:"cart"`
	}
	nestedNewer struct {
		Name string     `json:"name"`
		Note string     `json:"note,omitempty"`
		Cart nestedCart `json:"cart"`
	}
	nestedCart struct {
		Total int   `json:"total"`
		Items []int `json:"items"`
	}
)

// A field that a request leaves as it was keeps its bytes, and so what other
// builds know of it.
func TestForeignWithinAField(t *testing.T) {
	t.Parallel()
	kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
		store := kit.Memory()
		older := kit.New[nestedOlder](t, store, sessions.Config{Codec: c})
		newer := kit.New[nestedNewer](t, store, sessions.Config{Codec: c})
		begin := func() string {
			return kit.Edit(t, newer, "", func(s *nestedNewer) { *s = nestedNewer{"base", "kept", nestedCart{7, []int{1, 2}}} })
		}
		for _, verb := range []string{"Save", "Renew", "SignIn", "Update"} {
			for _, met := range []bool{false, true} {
				when := ""
				if met {
					when = ", after another build's save"
				}
				t.Run("K3 what T does not know within a field that it leaves alone survives "+verb+when, func(t *testing.T) {
					token := begin()
					want := nestedNewer{"mine", "kept", nestedCart{7, []int{1, 2}}}
					token = turn(t, older, token, func(ctx context.Context, s *nestedOlder) {
						if met {
							want.Cart.Items = []int{3}
							kit.Edit(t, newer, token, func(s *nestedNewer) { s.Cart.Items = slices.Clone(want.Cart.Items) })
						}
						s.Name = "mine"
						if verb == "Update" {
							want.Note = "kept!"
							kit.Must(t, older.Update(ctx, func(s *nestedOlder) error { s.Note += "!"; return nil }))
							return
						}
						kit.Must(t, kit.Call(older, ctx, verb))
					})
					if got := kit.Stored(t, newer, token); !reflect.DeepEqual(got, want) {
						t.Errorf("stored is %+v, want %+v", got, want)
					}
				})
			}
		}
		t.Run("K3 a field that it changes is as T has it, and a cleared one is gone", func(t *testing.T) {
			token := begin()
			kit.Edit(t, older, token, func(s *nestedOlder) { s.Cart.Total, s.Note = 8, "" })
			if got, want := kit.Stored(t, newer, token), (nestedNewer{Name: "base", Cart: nestedCart{Total: 8}}); !reflect.DeepEqual(got, want) {
				t.Errorf("stored is %+v, want %+v", got, want)
			}
		})
	})
}
