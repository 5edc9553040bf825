package sessions_test

import (
	"context"
	"slices"
	"testing"

	"github.com/typedsessions/sessions"
)

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
func TestEvolutionNested(t *testing.T) {
	verbs := map[string]func(*sessions.Manager[nestedOlder], context.Context) error{
		"Save":   (*sessions.Manager[nestedOlder]).Save,
		"Renew":  (*sessions.Manager[nestedOlder]).Renew,
		"SignIn": func(m *sessions.Manager[nestedOlder], ctx context.Context) error { return m.SignIn(ctx) },
		"Update": func(m *sessions.Manager[nestedOlder], ctx context.Context) error {
			return m.Update(ctx, func(s *nestedOlder) error { s.Note += "!"; return nil })
		},
	}
	eachCodec(t, func(t *testing.T, c sessions.Codec) {
		store := new(sessions.MemoryStore)
		older, err := sessions.New[nestedOlder](store, sessions.Config{Codec: c})
		must(t, err)
		newer, err := sessions.New[nestedNewer](store, sessions.Config{Codec: c})
		must(t, err)
		begin := func() string {
			ctx, err := newer.Load(t.Context())
			must(t, err)
			*newer.FromContext(ctx) = nestedNewer{Name: "base", Note: "kept", Cart: nestedCart{7, []int{1, 2}}}
			o, err := newer.Commit(ctx)
			must(t, err)
			return o.Token.Reveal()
		}
		for name, verb := range verbs {
			for _, met := range []bool{false, true} {
				when := ""
				if met {
					when = ", after another build's save"
				}
				t.Run("K3 what T does not know within a field that it leaves alone survives "+name+when, func(t *testing.T) {
					token := begin()
					ctx, err := older.Load(t.Context(), token)
					must(t, err)
					want := nestedNewer{"mine", "kept", nestedCart{7, []int{1, 2}}}
					if met {
						theirs, err := newer.Load(t.Context(), token)
						must(t, err)
						newer.FromContext(theirs).Cart.Items = []int{3}
						must(t, newer.Save(theirs))
						want.Cart.Items = []int{3}
					}
					if name == "Update" {
						want.Note = "kept!"
					}
					older.FromContext(ctx).Name = "mine"
					must(t, verb(older, ctx))
					o, err := older.Commit(ctx)
					must(t, err)
					after, err := newer.Load(t.Context(), o.Token.Reveal())
					must(t, err)
					got := *newer.FromContext(after)
					if got.Name != want.Name || got.Note != want.Note || got.Cart.Total != 7 || !slices.Equal(got.Cart.Items, want.Cart.Items) {
						t.Errorf("stored is %+v, want %+v", got, want)
					}
				})
			}
		}
		t.Run("K3 a field that it changes is as T has it, and a cleared one is gone", func(t *testing.T) {
			token := begin()
			ctx, err := older.Load(t.Context(), token)
			must(t, err)
			s := older.FromContext(ctx)
			s.Cart.Total, s.Note = 8, ""
			must(t, older.Save(ctx))
			after, err := newer.Load(t.Context(), token)
			must(t, err)
			if got := newer.FromContext(after); got.Cart.Total != 8 || got.Cart.Items != nil || got.Note != "" {
				t.Errorf("stored is %+v", got)
			}
		})
	})
}
