package node_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	walkSeed  = flag.Uint64("node.seed", 0, "the seed of TestWalk; 0 is a new one each time")
	walkSteps = flag.Int("node.steps", 1500, "the steps of each walk")
)

// TestTurns counts requests in turn: none of either side is lost.
func TestTurns(t *testing.T) {
	const turns = 10_000
	p := newWorld(t).pair(t, "10", article(quarter))
	b := p.browser(t)
	var sid string
	for n := 1; n <= turns; n++ {
		at := p.both()[n%2]
		a := b.ask(at, "GET /count")
		if got := a.views(t); got != n {
			t.Fatalf("%s: request %d finds %d views", at.name, n, got-1)
		}
		if n == 1 {
			sid = b.sid(at)
		} else if a.ID != sid {
			t.Fatalf("%s: request %d has the sid %q, want %q", at.name, n, a.ID, sid)
		}
	}
	if got := string(p.stored(t, p.node, sid).fields["views"]); got != fmt.Sprint(turns) {
		t.Errorf("stored are %s views, want %d", got, turns)
	}
	if keys := p.keys(t); len(keys) != 1 {
		t.Errorf("the one session has the keys %q", keys)
	}
}

// A walk is a random one: the verbs of both sides on one browser's session, and
// a model of it.
type walk struct {
	*pair
	b             *browser
	r             *rand.Rand
	uninitialized bool // is saved

	alive  bool
	sid    string
	ended  map[string]bool // sids that nobody may have again
	fields map[string]json.RawMessage
}

func TestWalk(t *testing.T) {
	t.Parallel()
	seed := *walkSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	w := newWorld(t)
	for i, major := range []string{"10", "6"} {
		o := article(quarter)
		o.SaveUninitialized, o.Rolling = i > 0, i > 0
		t.Run(fmt.Sprintf("R1 R5 R10 R14 connect-redis %s, saveUninitialized=%t", major, o.SaveUninitialized), func(t *testing.T) {
			w.redis.FlushDB(t.Context())
			t.Logf("-node.seed %d", seed)
			p := w.pair(t, major, o)
			k := &walk{pair: p, b: p.browser(t), r: rand.New(rand.NewPCG(seed, uint64(i))), uninitialized: o.SaveUninitialized}
			k.fields, k.ended = map[string]json.RawMessage{}, map[string]bool{}
			var steps []string
			for n := range *walkSteps {
				steps = append(steps, k.step(t))
				if t.Failed() {
					t.Fatalf("step %d; the last ones: %q", n, steps[max(0, n-9):])
				}
			}
		})
	}
}

// What the fields can be set to, as either side writes it. Go knows the first
// four.
var choices = []struct {
	name   string
	values []string
}{
	{"account", []string{`{"id":"1","name":"Zoë","roles":["a","b"]}`, `{"id":"2","name":"","roles":null}`}},
	{"cart", []string{`[{"sku":"x","count":1}]`, `[{"sku":"x","count":2},{"sku":"y","count":1}]`}},
	{"flash", []string{`"hello"`, `"</b>"`}},
	{"notes", []string{`{"a":"1"}`, `{"a":"1","b":"2"}`}},
	{"prefs", []string{`{"theme":"dark","size":1.5e+300}`, `[null]`, `[]`, `9007199254740992`}},
	{"7", []string{`true`, `""`}},
	{"Flash", []string{`1`, `2`}},
}

const known = 4

// edit draws an assignment that at can do, and does it in the model too.
func (k *walk) edit(at *site, nulls bool) (body string) {
	n := len(choices)
	if at == k.gopher {
		n = known
	}
	given := map[string]json.RawMessage{}
	for range 1 + k.r.IntN(3) {
		c := choices[k.r.IntN(n)]
		v := c.values[k.r.IntN(len(c.values))]
		if nulls && k.r.IntN(3) == 0 {
			v = "null" // deletes
		}
		given[c.name] = json.RawMessage(v)
	}
	maps.Copy(k.fields, given)
	maps.DeleteFunc(k.fields, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	data, err := json.Marshal(given)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// step does one request and compares what there is with the model.
func (k *walk) step(t *testing.T) (step string) {
	at := k.both()[k.r.IntN(2)]
	routes := []string{
		"GET /read", "GET /read", "GET /count", "GET /count", "POST /set", "POST /set", "POST /save",
		"POST /touch", "POST /renew", "POST /regenerate", "POST /destroy",
	}
	if at == k.gopher {
		routes = append(routes, "POST /update", "POST /signin")
	}
	route, body := routes[k.r.IntN(len(routes))], ""
	wasAlive, sid := k.alive, k.sid
	renewed, begun := false, k.uninitialized // begun: stored, be it empty
	switch route {
	case "GET /count", "POST /update":
		views := 0
		_ = json.Unmarshal(k.fields["views"], &views)
		k.fields["views"] = json.RawMessage(fmt.Sprint(views + 1))
	case "POST /set":
		body = k.edit(at, true)
	case "POST /save":
		// Not an empty one that is not stored: Node would, and not send its sid.
		body = k.edit(at, wasAlive)
		begun = begun || at == k.node
	case "POST /renew":
		renewed, begun = true, begun || at == k.node
	case "POST /signin":
		renewed, begun = true, true
	case "POST /regenerate":
		k.alive, k.fields = false, map[string]json.RawMessage{}
		begun = at == k.node
	case "POST /destroy":
		k.alive, k.fields = false, map[string]json.RawMessage{}
		begun = false
	}
	k.alive = k.alive || begun || len(k.fields) > 0
	a := k.b.ask(at, route, body)
	step = at.name + " " + route + " " + body

	if wasAlive && (!k.alive || renewed || route == "POST /regenerate") {
		k.ended[sid] = true
	}
	if !k.alive {
		if keys := k.keys(t); len(keys) > 0 {
			t.Errorf("%s: there is %q", step, keys)
		}
		k.sid = ""
		return step
	}
	k.sid = k.b.sid(at)
	over := renewed || route == "POST /regenerate" || !wasAlive
	if (k.sid == sid) == over || k.ended[k.sid] {
		t.Errorf("%s: the sid was %q and is %q", step, sid, k.sid)
	}
	if keys := k.keys(t); !slices.Equal(keys, []string{at.prefix + k.sid}) {
		t.Errorf("%s: there is %q, and in the browser %q", step, keys, k.sid)
		return step
	}
	same := func(what string, got, want map[string]json.RawMessage) {
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s: %s %s, want %s", step, what, got, want)
		}
	}
	same("stored is", k.lives(t, at, k.sid, quarter).fields, k.fields)
	want := maps.Clone(k.fields)
	if at == k.gopher {
		for _, c := range choices[known:] {
			delete(want, c.name)
		}
	}
	same("the handler saw", a.Session, want)
	return step
}
