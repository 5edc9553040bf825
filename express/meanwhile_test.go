package express_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
)

// between is a store on which Node acts before the second Load.
type between struct {
	*shelf
	loads int
	act   func()
}

func (b *between) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if b.loads++; b.loads == 2 {
		b.act()
	}
	return b.shelf.Load(ctx, key, touch)
}

// What is touched lasts as its record says, also where Node has given it
// another maxAge since this request loaded it.
func TestLifetimeMeanwhile(t *testing.T) {
	short, long := nodeDoc("900000", `,"views":1`), nodeDoc("2592000000", `,"views":2`)
	for _, tc := range []struct {
		name      string
		was, is   string
		ttl, want time.Duration
	}{{"longer", short, long, month, month}, {"shorter", long, short, quarter, quarter}} {
		set := func(t *testing.T, s *shelf) {
			if _, err := s.MemoryStore.CompareAndSwap(t.Context(), sid, nil, []byte(tc.is), tc.ttl); err != nil {
				t.Fatal(err)
			}
		}
		check := func(t *testing.T, s *shelf, info sessions.Info) {
			t.Helper()
			_, left, err := s.MemoryStore.Load(t.Context(), sid, 0)
			if err != nil || left != tc.want {
				t.Errorf("it has %v left, %v; want %v", left, err, tc.want)
			}
			if until := time.Until(info.IdleUntil); until != tc.want {
				t.Errorf("Info says %v, want %v", until, tc.want)
			}
		}
		for name, verb := range map[string]func(*sessions.Manager[visit], context.Context) error{
			"Touch": (*sessions.Manager[visit]).Touch, "Reload": (*sessions.Manager[visit]).Reload,
		} {
			frozen(t, "R7 R14 "+name+" of what Node makes last "+tc.name, func(t *testing.T) {
				d := newDesk[visit](t, express.Options{Secrets: []string{secret}})
				d.put(t, sid, tc.was, time.Minute)
				ctx, err := d.Manager.Load(t.Context(), sid)
				if err != nil {
					t.Fatal(err)
				}
				set(t, d.shelf)
				if err := verb(d.Manager, ctx); err != nil {
					t.Fatal(err)
				}
				check(t, d.shelf, d.Info(ctx))
			})
		}
		frozen(t, "R7 R14 what Node makes last "+tc.name+" between the two commands of a load", func(t *testing.T) {
			b := &between{shelf: &shelf{prefix: "sess:"}}
			b.act = func() { set(t, b.shelf) }
			b.put(t, sid, tc.was, time.Minute)
			m, err := express.NewOn[visit](b, express.Options{Secrets: []string{secret}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, err := m.Load(t.Context(), sid)
			if err != nil {
				t.Fatal(err)
			}
			check(t, b.shelf, m.Info(ctx))
		})
	}
}

// shapes is a T of several kinds of fields.
type shapes struct {
	Views int `json:"views,omitempty"`
	P     struct {
		X    int    `json:"x,omitempty"`
		User string `json:"user,omitempty"`
	} `json:"p,omitzero"`
	M map[string]int `json:"m,omitempty"`
}

// Of two members of one name the last one counts, as a whole, and looking at
// them changes nothing.
func TestTwice(t *testing.T) {
	for members, want := range map[string]string{
		`,"p":{"x":1},"p":{"user":"u"}`: `{"p":{"user":"u"}}`,
		`,"m":{"x":1},"m":{"y":1}`:      `{"m":{"y":1}}`,
		`,"m":{"x":1},"m":null`:         `{}`,
		`,"views":3,"views":null`:       `{}`,
	} {
		frozen(t, "R13 "+members, func(t *testing.T) {
			d := newDesk[shapes](t, express.Options{Secrets: []string{secret}})
			d.put(t, sid, nodeDoc("900000", members), quarter)
			r, seen := get("/", signed("connect.sid", sid, secret)), ""
			d.serve(r, func(_ http.ResponseWriter, r *http.Request) {
				b, _ := json.Marshal(sessions.FromContext[shapes](r.Context()))
				seen = string(b)
			})
			if seen != want {
				t.Errorf("T is %s, want %s", seen, want)
			}
			if commands := d.take(); slices.ContainsFunc(commands, func(c string) bool { return strings.HasPrefix(c, "SET") }) {
				t.Errorf("looking writes: %q", commands)
			}
		})
	}
}

// marshaling is a T that encodes itself, as many do.
type marshaling struct {
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

func (m marshaling) MarshalJSON() ([]byte, error) {
	type plain marshaling
	return json.Marshal(plain(m))
}

func TestMarshaling(t *testing.T) {
	frozen(t, "R10 a T that encodes itself erases nothing of Node's", func(t *testing.T) {
		d := newDesk[marshaling](t, express.Options{Secrets: []string{secret}, Cookie: express.Cookie{MaxAge: quarter}})
		d.put(t, sid, nodeDoc("900000", `,"passport":{"user":"ada"},"views":1,"note":"n"`), quarter)
		d.serve(get("/", signed("connect.sid", sid, secret)), func(_ http.ResponseWriter, r *http.Request) {
			m := sessions.FromContext[marshaling](r.Context())
			m.Views, m.Note = 2, ""
		})
		doc, _, err := d.MemoryStore.Load(t.Context(), sid, 0)
		if err != nil || !strings.HasSuffix(string(doc), `},"passport":{"user":"ada"},"views":2}`) {
			t.Errorf("stored %s, %v", doc, err)
		}
	})
}
