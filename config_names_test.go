package sessions_test

//lint:file-ignore SA5008 these tags are odd on purpose

import (
	"fmt"
	"testing"

	"github.com/typedsessions/sessions"
)

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
