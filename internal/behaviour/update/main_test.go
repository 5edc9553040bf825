package update_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// state is a T with what the codecs do not see.
type state struct {
	Views int               `json:"views"`
	Name  string            `json:"name"`
	Tags  map[string]string `json:"tags"`
	List  []int             `json:"list"`
	Note  map[string]int    `json:"-"`
	quiet int
}

// ann is what the tests begin with, which have one view, and what is stored after
// an Update that counts.
func ann(views int) state {
	return state{Views: views, Name: "ann", Tags: map[string]string{"a": "1", "b": "2"}, List: []int{1, 2}}
}

// count and viewed are the usual functions for Update.
func count(s *state) error {
	s.Views++
	return nil
}

func viewed(s *kit.Session) error {
	s.Views++
	return nil
}

// view is for [kit.Request]: one more view.
func view(m *sessions.Manager[kit.Session]) func(context.Context) error {
	return func(ctx context.Context) error { return m.Update(ctx, viewed) }
}

// A pair is one session in two processes.
type pair[T any] struct {
	t           testing.TB
	mine, other *sessions.Manager[T]
	store       *kit.Store // mine: the other process is never parked, nor counted
	token       string
}

func newPair[T any](t testing.TB, inner sessions.Store, cfg sessions.Config, stored T) *pair[T] {
	t.Helper()
	p := &pair[T]{t: t, store: &kit.Store{Store: inner}}
	p.mine, p.other = kit.New[T](t, p.store, cfg), kit.New[T](t, inner, cfg)
	p.token = kit.Edit(t, p.other, "", func(s *T) { *s = stored })
	return p
}

// eachPair runs a test with both codecs on a session of ann's.
func eachPair(t *testing.T, name string, f func(t *testing.T, p *pair[state])) {
	t.Run(name, func(t *testing.T) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			f(t, newPair(t, kit.Memory(), sessions.Config{Codec: c}, ann(1)))
		})
	})
}

// eachPairInABubble is eachPair where time goes on when everybody waits.
func eachPairInABubble(t *testing.T, name string, f func(t *testing.T, p *pair[state])) {
	kit.EachBubble(t, name, func(t *testing.T, c sessions.Codec) {
		f(t, newPair(t, kit.Memory(), sessions.Config{Codec: c}, ann(1)))
	})
}

// load is the beginning of a request, with *T.
func (p *pair[T]) load() (context.Context, *T) {
	p.t.Helper()
	ctx, s := kit.Load(p.t, p.mine, p.token)
	p.store.Calls()
	return ctx, s
}

// elsewhere is a request of the other process.
func (p *pair[T]) elsewhere(f func(s *T)) {
	p.t.Helper()
	kit.Edit(p.t, p.other, p.token, f)
}

// commit ends a request. The token is the client's from then on.
func (p *pair[T]) commit(ctx context.Context) sessions.Outcome {
	p.t.Helper()
	o := kit.Commit(p.t, p.mine, ctx)
	if o.Token != "" {
		p.token = o.Token.Reveal()
	}
	return o
}

// stored is what another request finds.
func (p *pair[T]) stored() T {
	p.t.Helper()
	return kit.Stored(p.t, p.other, p.token)
}

// want compares what another request finds.
func (p *pair[T]) want(want T) {
	p.t.Helper()
	wantState(p.t, "stored", p.stored(), want)
}

func wantState[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %+v, want %+v", what, got, want)
	}
}

func wantViews(t testing.TB, m *sessions.Manager[kit.Session], token string, want int) {
	t.Helper()
	if got := kit.Views(t, m, token); got != want {
		t.Errorf("%d views, want %d", got, want)
	}
}

// processes are n Managers on one server, each with a client of its own.
func processes(t *testing.T, n int, rdb *redis.Client, c sessions.Codec) (all []*sessions.Manager[kit.Session]) {
	for range n {
		own := redis.NewClient(&redis.Options{Addr: rdb.Options().Addr})
		t.Cleanup(func() { own.Close() })
		all = append(all, kit.New[kit.Session](t, kit.RedisStore(own), sessions.Config{Codec: c}))
	}
	return all
}

// limited is a store with a Timeout.
type limited struct {
	sessions.Store
	timeout time.Duration
}

func (s limited) Timeout() time.Duration { return s.timeout }
