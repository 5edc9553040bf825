package merging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A setup is where two requests with one token meet.
type setup struct {
	store        sessions.Store
	codec, other sessions.Codec
	one          bool // both are of one process
}

// each runs a test with each two codecs, and for equal ones in one process too.
func each(t *testing.T, f func(t *testing.T, s setup)) { eachOn(t, kit.Memory(), f) }

// eachOnRedis is each on miniredis and on a real server.
func eachOnRedis(t *testing.T, f func(t *testing.T, s setup)) {
	eachRedis(t, func(t *testing.T, store sessions.Store) { eachOn(t, store, f) })
}

// A patient store is one that a busy machine does not make fail, like [kit.RedisStore].
type patient struct{ sessions.Store }

func (patient) Timeout() time.Duration { return 20 * time.Second }

// eachRedis runs a test on miniredis and on a real server, both at once. A short run,
// and one with the race detector, is in memory: what is merged is the same everywhere.
func eachRedis(t *testing.T, f func(t *testing.T, store sessions.Store)) {
	if testing.Short() || kit.RaceEnabled {
		t.Run("memory", func(t *testing.T) {
			t.Parallel()
			f(t, patient{kit.Memory()})
		})
		return
	}
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		f(t, kit.RedisStore(rdb))
	})
}

func eachOn(t *testing.T, store sessions.Store, f func(t *testing.T, s setup)) {
	kit.EachCodec(t, func(t *testing.T, codec sessions.Codec) {
		kit.EachCodec(t, func(t *testing.T, other sessions.Codec) {
			f(t, setup{store, codec, other, false})
			if codec == other {
				t.Run("one process", func(t *testing.T) { f(t, setup{store, codec, other, true}) })
			}
		})
	})
}

var policies = map[string]sessions.ConflictPolicy{
	"merge": sessions.ConflictMerge, "last write": sessions.ConflictLastWrite, "reject": sessions.ConflictReject,
}

// A pair is a session that two processes, or one, have a request of: here with
// the setup's codec, there with the other one.
type pair[T any] struct {
	here, there *sessions.Manager[T]
	events      *kit.Events // of here
	store       *kit.Store  // of here
	all         *kit.Store  // of both, below it
	token       string
}

// open stores base, by there.
func open[T any](t *testing.T, s setup, cfg sessions.Config, base func(*T)) *pair[T] {
	t.Helper()
	p := &pair[T]{events: &kit.Events{}, all: &kit.Store{Store: s.store}}
	p.store = &kit.Store{Store: p.all}
	cfg.Codec, cfg.OnEvent = s.codec, p.events.On
	p.here = kit.New[T](t, p.store, cfg)
	if p.there = p.here; !s.one {
		cfg.Codec, cfg.OnEvent = s.other, nil
		p.there = kit.New[T](t, p.all, cfg)
	}
	p.token = kit.Edit(t, p.there, "", base)
	return p
}

// edit is a request of there. What was noted before is forgotten.
func (p *pair[T]) edit(t *testing.T, theirs func(*T)) {
	t.Helper()
	kit.Edit(t, p.there, p.token, theirs)
	p.events.Take()
	p.store.Calls()
}

// load lets here load, and there load, change and save; here is next. Without
// theirs nobody is there.
func (p *pair[T]) load(t *testing.T, theirs func(*T)) (context.Context, *T) {
	t.Helper()
	ctx, s := kit.Load(t, p.here, p.token)
	p.events.Take()
	p.store.Calls()
	if theirs != nil {
		p.edit(t, theirs)
	}
	return ctx, s
}

// serve is a whole request of here, during which there has one.
func (p *pair[T]) serve(t *testing.T, mine, theirs func(*T)) *http.Response {
	t.Helper()
	return kit.Serve(p.here.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := p.here.FromContext(r.Context())
		p.edit(t, theirs)
		mine(s)
		fmt.Fprint(w, "ok")
	})), kit.With(p.token, "/"))
}

// meanwhile lets act happen at the next n times that here's store comes to a step
// like "before CompareAndSwap".
func (p *pair[T]) meanwhile(step string, n int, act func()) {
	hook := func(when string) func(op, key string) error {
		return func(op, _ string) error {
			if when+" "+op == step && n > 0 {
				n--
				act()
			}
			return nil
		}
	}
	p.store.Before, p.store.After = hook("before"), hook("after")
}

// call is kit.Call of here, or an Update by f.
func (p *pair[T]) call(ctx context.Context, verb string, f func(*T)) error {
	if verb == "Update" {
		return p.here.Update(ctx, func(s *T) error { f(s); return nil })
	}
	return kit.Call(p.here, ctx, verb)
}

// tokenAfter is the token that a request of here has given, or left, to its
// client: what it was to store it has stored.
func (p *pair[T]) tokenAfter(t *testing.T, ctx context.Context, verb string) string {
	t.Helper()
	if verb != "Renew" && verb != "SignIn" {
		return p.token
	}
	p.store.Calls()
	o := kit.Commit(t, p.here, ctx, sessions.OutcomeRenewed)
	p.store.WantCalls(t, "a commit after the verb", "")
	if o.Token.Reveal() == p.token {
		t.Error("the token is the old one")
	}
	return o.Token.Reveal()
}

// stored is what there finds.
func (p *pair[T]) stored(t *testing.T) T {
	t.Helper()
	return kit.Stored(t, p.there, p.token)
}

// wantLeft compares how many sessions, and marks of renewals, there are.
func (p *pair[T]) wantLeft(t *testing.T, live, marks int) {
	t.Helper()
	if l, m := p.all.Left(t); l != live || m != marks {
		t.Errorf("%d records and %d marks, want %d and %d", l, m, live, marks)
	}
}

// wantEvents compares the kinds of the events so far. That the store answers
// again is not the point.
func (p *pair[T]) wantEvents(t *testing.T, want ...sessions.EventKind) {
	t.Helper()
	got := slices.DeleteFunc(p.events.Kinds(), func(k sessions.EventKind) bool { return k == sessions.EventRecovered })
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// wantFields compares the events of a save with these fields merged and these in
// conflict, the event of the save itself included.
func (p *pair[T]) wantFields(t *testing.T, merged, conflict []string) {
	t.Helper()
	text := func(kind sessions.EventKind, fields []string, err error) string {
		fields = slices.Clone(fields)
		slices.Sort(fields)
		return fmt.Sprint(kind, fields, err)
	}
	var got, want []string
	for _, e := range p.events.Take() {
		got = append(got, text(e.Kind, e.Fields, e.Err))
	}
	if len(conflict) > 0 {
		want = append(want, text(sessions.EventConflict, conflict, nil))
	}
	if len(merged) > 0 {
		want = append(want, text(sessions.EventMerged, merged, nil))
	}
	if want = append(want, text(sessions.EventSaved, nil, nil)); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// equal compares what JSON makes of two values.
func equal(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	kit.Must(t, err)
	y, err := json.Marshal(b)
	kit.Must(t, err)
	return bytes.Equal(x, y)
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !equal(t, got, want) {
		t.Errorf("%s is %+v, want %+v", what, got, want)
	}
}

// ann is the base of most tests.
func ann(s *kit.Session) { s.UserID, s.Views, s.Prefs = "ann", 1, map[string]int{"a": 1, "b": 2} }
