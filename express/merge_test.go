package express_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// stored is the data of the session, behind its cookie, in any order.
func (p *place) stored() []string {
	p.t.Helper()
	_, data, _ := strings.Cut(strings.TrimSuffix(p.doc(sid), "}"), `"},`)
	parts := strings.Split(data, ",")
	slices.Sort(parts)
	return parts
}

// The other side writes as connect-redis does: the whole document, blindly.
func TestMergesWithNode(t *testing.T) {
	kit.EachRedis(t, func(t *testing.T, node *redis.Client) {
		for _, step := range []string{"after get", "before evalsha"} {
			for _, row := range []struct {
				name, deed, theirs string
				want               []string
				event              sessions.EventKind
				fields             []string
			}{
				{
					name: "C7 Save, Node changes another field", deed: "Save", theirs: `,"views":8`,
					want: []string{`"note":"mine"`, `"views":8`}, event: sessions.EventMerged, fields: []string{"views"},
				},
				{
					name: "C7 Save, Node adds fields that T does not know", deed: "Save", theirs: `,"views":7,"flash":["a"],"n":12345678901234567890`,
					want: []string{`"flash":["a"]`, `"n":12345678901234567890`, `"note":"mine"`, `"views":7`}, event: sessions.EventSaved,
				},
				{
					name: "C7 Save, Node only saves again", deed: "Save", theirs: `,"views":7`,
					want: []string{`"note":"mine"`, `"views":7`}, event: sessions.EventSaved,
				},
				{
					name: "C7 Update, Node changes another field", deed: "Update", theirs: `,"views":8`,
					want: []string{`"note":"mine"`, `"views":8`}, event: sessions.EventSaved,
				},
				{
					name: "C8 Save, Node changes the same field", deed: "Save", theirs: `,"views":7,"note":"theirs"`,
					want: []string{`"note":"mine"`, `"views":7`}, event: sessions.EventConflict, fields: []string{"note"},
				},
				{
					name: "C8 Save, Node changes it to the same", deed: "Save", theirs: `,"views":7,"note":"mine"`,
					want: []string{`"note":"mine"`, `"views":7`}, event: sessions.EventSaved,
				},
				{
					name: "C7 Touch, Node changes a field", deed: "Touch", theirs: `,"views":8`,
					want: []string{`"views":8`},
				},
				{
					name: "C7 reads, Node changes a field", deed: "reads", theirs: `,"views":8`,
					want: []string{`"views":8`},
				},
			} {
				if step == "before evalsha" && (row.deed == "Touch" || row.deed == "reads") {
					continue
				}
				t.Run(row.name+", "+step, func(t *testing.T) {
					k := newTrack(t, node, express.Options{})
					res := k.parked(step, k.deeds()[row.deed], func() { k.put(sid, nodeDoc("60000", row.theirs), 60) })
					if b := body(res); b != "<nil>" {
						t.Errorf("it answers %q", b)
					}
					same(t, "stored", k.stored(), row.want)
					// A touch goes by what was loaded, as Node's does.
					if age(k.doc(sid)) != "60000" || k.ttl(sid) > time.Minute && row.deed != "Touch" {
						t.Errorf("what Node made of the cookie is lost: %s for %v", k.doc(sid), k.ttl(sid))
					}
					kinds, events := k.told()
					if i := slices.Index(kinds, row.event); row.event != 0 && (i < 0 || !slices.Equal(events[i].Fields, row.fields)) {
						t.Errorf("events %+v, want %v of %q", events, row.event, row.fields)
					}
				})
			}
		}

		t.Run("C7 Renew, Node changes a field before the claim: the renewed session has it", func(t *testing.T) {
			k := newTrack(t, node, express.Options{})
			res := k.parked("before evalsha", k.deeds()["Renew"], func() {
				k.put(sid, nodeDoc("60000", `,"views":8,"flash":1`), 60)
			})
			_, now := k.cookieOf(res)
			if doc := k.doc(now); !strings.Contains(doc, `"views":8`) || !strings.Contains(doc, `"flash":1`) || age(doc) != "60000" || len(k.keys()) != 1 {
				t.Errorf("stored %s, keys %q", doc, k.keys())
			}
		})

		t.Run("C8 a field is one of the two values, whole, whichever is later", func(t *testing.T) {
			k := newTrack(t, node, express.Options{})
			long := strings.Repeat("theirs", 1000)
			k.parked("after evalsha", k.deeds()["Save"], func() {
				k.put(sid, nodeDoc("900000", `,"views":7,"note":"`+long+`"`), 900)
			})
			same(t, "stored", k.stored(), []string{`"note":"` + long + `"`, `"views":7`})
		})

		t.Run("C7 N requests of three services, N fields: all N", func(t *testing.T) {
			k := newTrack(t, node, express.Options{})
			type wide struct {
				F0, F1, F2, F3, F4, F5, F6, F7 int
			}
			var managers []*sessions.Manager[wide]
			for range 3 {
				m, err := express.New[wide](k.beside(express.Options{}).node, k.o)
				k.ok(err)
				managers = append(managers, m)
			}
			ctxs := make([]context.Context, 8)
			for i := range ctxs { // all have loaded before one writes
				var err error
				ctxs[i], err = managers[i%3].Load(t.Context(), sid)
				k.ok(err)
			}
			var saving sync.WaitGroup
			for i, ctx := range ctxs {
				m := managers[i%3]
				w := m.FromContext(ctx)
				*[]*int{&w.F0, &w.F1, &w.F2, &w.F3, &w.F4, &w.F5, &w.F6, &w.F7}[i] = i + 1
				saving.Go(func() {
					if err := m.Save(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			saving.Wait()
			var want []string
			for i := range 8 {
				want = append(want, fmt.Sprintf(`"F%d":%d`, i, i+1))
			}
			same(t, "stored", k.stored(), append(want, `"views":7`))
		})
	})
}
