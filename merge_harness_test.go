package sessions_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// mergeState is a T with a field of each kind.
type mergeState struct {
	Name   string            `json:"name"`
	Count  int               `json:"count"`
	Note   string            `json:"note,omitempty"`
	Seen   time.Time         `json:"seen"`
	Prefs  map[string]int    `json:"prefs"`
	Tags   map[string]string `json:"tags,omitempty"`
	List   []Item            `json:"list"`
	Next   *Item             `json:"next"`
	Limit  *int              `json:"limit,omitempty"`
	Nested mergeNested       `json:"nested"`
	Blob   []byte            `json:"blob"`
	Any    any               `json:"any"`
	Plain  float64
	MergeEmbedded
}

type mergeNested struct {
	A, B string
	Deep []mergeNested
}

type MergeEmbedded struct {
	Inside string `json:"inside" msgpack:"in"`
}

// mergeFields set one field each: to its zero value, or to one of three more.
var mergeFields = []struct {
	json, msgpack string
	set           func(s *mergeState, v int)
}{
	{"name", "", func(s *mergeState, v int) { s.Name = mergeWord(v) }},
	{"count", "", func(s *mergeState, v int) { s.Count = v }},
	{"note", "", func(s *mergeState, v int) { s.Note = mergeWord(v) }},
	{"seen", "", func(s *mergeState, v int) {
		if s.Seen = (time.Time{}); v > 0 {
			s.Seen = time.Date(2026, 1, v, 2, 3, 4, 5, time.Local)
		}
	}},
	{"prefs", "", func(s *mergeState, v int) {
		if s.Prefs = nil; v > 0 {
			s.Prefs = map[string]int{"v": v, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7}
		}
	}},
	{"tags", "", func(s *mergeState, v int) {
		if s.Tags = nil; v > 0 {
			s.Tags = map[string]string{"v": mergeWord(v), "w": "x"}
		}
	}},
	{"list", "", func(s *mergeState, v int) {
		if s.List = nil; v > 0 {
			s.List = slices.Repeat([]Item{{"sku", v}}, v)
		}
	}},
	{"next", "", func(s *mergeState, v int) {
		if s.Next = nil; v > 0 {
			s.Next = &Item{"next", v}
		}
	}},
	{"limit", "", func(s *mergeState, v int) {
		if s.Limit = nil; v > 0 {
			v-- // a pointer to 0 is no nil
			s.Limit = &v
		}
	}},
	{"nested", "", func(s *mergeState, v int) {
		if s.Nested = (mergeNested{}); v > 0 {
			s.Nested = mergeNested{A: mergeWord(v), Deep: []mergeNested{{B: "b"}}}
		}
	}},
	{"blob", "", func(s *mergeState, v int) {
		if s.Blob = nil; v > 0 {
			s.Blob = []byte{0, byte(v), 255}
		}
	}},
	{"any", "", func(s *mergeState, v int) {
		if s.Any = nil; v > 0 {
			s.Any = map[string]any{"v": mergeWord(v)}
		}
	}},
	{"Plain", "", func(s *mergeState, v int) { s.Plain = float64(v) / 3 }},
	{"inside", "in", func(s *mergeState, v int) { s.Inside = mergeWord(v) }},
}

func mergeWord(v int) string { return []string{"", "SECRET-1", "SECRET-2", "SECRET-3"}[v] }

// mergePair is a session that two processes, or one, have a request of.
type mergePair[T any] struct {
	here, there *sessions.Manager[T]
	events      *recorder // of here
	calls       *calls    // of here
	token       string
	store       sessions.Store
}

// newMergePair stores base, by there. With one process it is here and there.
func newMergePair[T any](t *testing.T, store sessions.Store, cfg sessions.Config, there sessions.Codec, one bool, base func(*T)) *mergePair[T] {
	t.Helper()
	p := &mergePair[T]{events: &recorder{}, store: store}
	var counting *stepStore
	counting, p.calls = counted(store)
	cfg.OnEvent = p.events.on
	p.here = newManager[T](t, counting, cfg)
	if p.there = p.here; !one {
		cfg.Codec, cfg.OnEvent = there, nil
		p.there = newManager[T](t, store, cfg)
	}
	ctx, err := p.there.Load(t.Context())
	must(t, err)
	base(p.there.FromContext(ctx))
	o, err := p.there.Commit(ctx)
	must(t, err)
	p.token = o.Token.Reveal()
	return p
}

// meet lets here load, and there load, change and save; the context is here's,
// which is next. What was noted before is forgotten.
func (p *mergePair[T]) meet(t *testing.T, there func(*T)) context.Context {
	t.Helper()
	ctx, err := p.here.Load(t.Context(), p.token)
	must(t, err)
	mergeEdit(t, p.there, p.token, there)
	mergeEvents(p.events)
	p.calls.take()
	return ctx
}

// renewed is the token that a verb has given to a request of here: what it was to
// store it has stored.
func (p *mergePair[T]) renewed(t *testing.T, ctx context.Context) string {
	t.Helper()
	p.calls.take()
	o, err := p.here.Commit(ctx)
	must(t, err)
	wantCalls(t, p.calls, "a commit after the verb", "")
	if token := o.Token.Reveal(); o.Kind == sessions.OutcomeRenewed && token != p.token {
		return token
	}
	t.Fatalf("the outcome is %v", o.Kind)
	return ""
}

// mergeEdit is one request.
func mergeEdit[T any](t testing.TB, m *sessions.Manager[T], token string, edit func(*T)) {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	if err != nil {
		t.Error(err)
		return
	}
	edit(m.FromContext(ctx))
	if _, err := m.Commit(ctx); err != nil {
		t.Error(err)
	}
}

// mergeStored is what a token finds.
func mergeStored[T any](t testing.TB, m *sessions.Manager[T], token string) T {
	t.Helper()
	ctx, err := m.Load(context.Background(), token)
	if err != nil {
		t.Fatal(err)
	}
	if m.Info(ctx).New {
		t.Fatal("there is no session")
	}
	return *m.FromContext(ctx)
}

// mergeEvents are the events so far, which r forgets.
func mergeEvents(r *recorder) []sessions.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// mergeTold is what a save that met another one tells, the event of the save
// itself included.
func mergeTold(t *testing.T, events []sessions.Event, taken, lost []string) {
	t.Helper()
	var got, want []string
	sorted := func(names []string) []string {
		names = slices.Clone(names)
		slices.Sort(names)
		return names
	}
	for _, e := range events {
		got = append(got, fmt.Sprint(e.Kind, sorted(e.Fields), e.Err))
	}
	if len(lost) > 0 {
		want = append(want, fmt.Sprint(sessions.EventConflict, sorted(lost), nil))
	}
	if len(taken) > 0 {
		want = append(want, fmt.Sprint(sessions.EventMerged, sorted(taken), nil))
	}
	if want = append(want, fmt.Sprint(sessions.EventSaved, []string{}, nil)); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// eachMeeting runs a test with each two codecs, and for equal ones in one
// process too, on miniredis and on a real server.
func eachMeeting(t *testing.T, f func(t *testing.T, store sessions.Store, here, there sessions.Codec, one bool)) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		store := sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})
		eachMerge(t, func(t *testing.T, here, there sessions.Codec, one bool) { f(t, store, here, there, one) })
	})
}

func eachMerge(t *testing.T, f func(t *testing.T, here, there sessions.Codec, one bool)) {
	eachCodec(t, func(t *testing.T, here sessions.Codec) {
		eachCodec(t, func(t *testing.T, there sessions.Codec) {
			f(t, here, there, false)
			if here == there {
				t.Run("one process", func(t *testing.T) { f(t, here, there, true) })
			}
		})
	})
}

// same compares what has been through a codec with what may not have been.
func (s mergeState) same(t testing.TB, c sessions.Codec, want mergeState) bool {
	t.Helper()
	for _, v := range []*mergeState{&s, &want} {
		data, err := c.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if *v = (mergeState{}); c.Unmarshal(data, v) != nil {
			t.Fatal("it does not decode")
		}
	}
	return reflect.DeepEqual(s, want)
}

// mergeMeet lets two requests meet and looks at all that comes of it: what is
// stored, what *T holds, what the events say, and that a second save has
// nothing to do.
func mergeMeet(t *testing.T, p *mergePair[mergeState], c sessions.Codec, base, here, there func(*mergeState), taken, lost []string) {
	t.Helper()
	ctx := p.meet(t, there)
	s := p.here.FromContext(ctx)
	here(s)
	if _, err := p.here.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	var want mergeState // changes here win, so they come last
	base(&want)
	there(&want)
	here(&want)
	if got := mergeStored(t, p.there, p.token); !got.same(t, c, want) {
		t.Errorf("stored is\n%+v, want\n%+v", got, want)
	}
	if !s.same(t, c, want) {
		t.Errorf("*T is\n%+v, want\n%+v", *s, want)
	}
	mergeTold(t, mergeEvents(p.events), mergeNames(c, taken), mergeNames(c, lost))
	p.calls.take()
	if _, err := p.here.Commit(ctx); err != nil {
		t.Error(err)
	}
	wantCalls(t, p.calls, "a second save", "")
}

// mergeNames are names of fields as a codec writes them.
func mergeNames(c sessions.Codec, names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		for _, f := range mergeFields {
			if f.json == name && f.msgpack != "" && c.Name() == "msgpack" {
				names[i] = f.msgpack
			}
		}
	}
	return names
}
