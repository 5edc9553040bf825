package owners_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// session is a T that knows whose it is.
type session struct {
	User  string `json:"user"`
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

func (s *session) SessionOwner() string { return s.User }

// unowned is the same session in a build from before it was Owned.
type unowned struct {
	User  string `json:"user"`
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

type manager = sessions.Manager[session]

// processes are two on one store. The steps of the first can be acted at and
// failed.
type processes struct {
	t           testing.TB
	mine, other *manager
	store       *kit.Store // mine
	inner       *kit.Store // of both
	codec       sessions.Codec
	events      kit.Events // of mine
}

// each runs tests, which are given to row, on miniredis and on a real server,
// with both codecs. Each begins with an empty store.
func each(t *testing.T, cfg sessions.Config, tests func(row func(name string, f func(t *testing.T, p *processes)))) {
	eachOn(t, false, cfg, tests)
}

// eachOn is each, also on stores that keep no index.
func eachOn(t *testing.T, noOwners bool, cfg sessions.Config, tests func(row func(name string, f func(t *testing.T, p *processes)))) {
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			tests(func(name string, f func(t *testing.T, p *processes)) {
				t.Run(name, func(t *testing.T) {
					cfg := cfg
					cfg.Codec = c
					rdb.FlushAll(t.Context())
					p := &processes{t: t, codec: c, inner: &kit.Store{Store: kit.RedisStore(rdb), NoOwners: noOwners}}
					p.store = &kit.Store{Store: p.inner, ByStep: true}
					p.other = kit.New[session](t, p.inner, cfg)
					cfg.OnEvent = p.events.On
					p.mine = kit.New[session](t, p.store, cfg)
					f(t, p)
				})
			})
		})
	})
}

// seeded is when the sessions of these tests began: long ago, so that what
// restarts is seen to restart.
var seeded = time.Now().Add(-time.Minute).Truncate(time.Millisecond)

// restarted says whether a time is of this test and not of its seed.
func restarted(at time.Time) bool { return at.Sub(seeded) > 30*time.Second }

// seed stores a session that began then, authenticated if it is somebody's, and
// returns its token. Its header names that owner, and so does the token.
func (p *processes) seed(s session) string {
	p.t.Helper()
	if s.User == "" {
		return p.seedAny(s, "")
	}
	return p.seedAny(s, fmt.Sprintf(`,"authenticated":%d,"owner":%q`, seeded.UnixMilli(), s.User))
}

// seedAny is seed of any T, with more in the header.
func (p *processes) seedAny(s any, more string) string {
	p.t.Helper()
	payload, err := p.codec.Marshal(s)
	kit.Must(p.t, err)
	header := fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d%s}`, kit.HandID, p.codec.Name(), seeded.UnixMilli(), more)
	token := kit.HandToken
	if s, ok := s.(session); ok {
		token = kit.HandTokenOf(s.User)
	}
	kit.Place(p.t, p.inner, token, header+"\n"+string(payload))
	return token
}

// under is the record of a token, "" if there is none.
func (p *processes) under(token string) string {
	p.t.Helper()
	return kit.RecordUnder(p.t, p.inner, token)
}

// at lets act run the first n times that mine comes to a step. An error of it is
// the step's.
func (p *processes) at(step string, n int32, act func() error) {
	left := atomic.Int32{}
	left.Store(n)
	hook := func(when string) func(op, key string) error {
		return func(op, _ string) error {
			if when+" "+op == step && left.Add(-1) >= 0 {
				return act()
			}
			return nil
		}
	}
	p.store.Before, p.store.After = hook("before"), hook("after")
}

// visit lets f handle one request of mine.
func (p *processes) visit(token string, f func(ctx context.Context, s *session)) *http.Response {
	return kit.Serve(p.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(r.Context(), p.mine.FromContext(r.Context()))
	})), kit.With(token, "/"))
}

// found is what the other process finds under a token.
func (p *processes) found(token string) (session, sessions.Info) {
	p.t.Helper()
	ctx, s := kit.Load(p.t, p.other, token)
	return *s, p.other.Info(ctx)
}

// wantEnded says that a token is accepted no longer.
func (p *processes) wantEnded(token string) {
	p.t.Helper()
	if _, i := p.found(token); !i.New {
		p.t.Errorf("the token from before finds a session of %q", i.Owner)
	}
}

// wantLeft compares the number of records that are there.
func (p *processes) wantLeft(live, marks int) {
	p.t.Helper()
	if gotLive, gotMarks := p.inner.Left(p.t); gotLive != live || gotMarks != marks {
		p.t.Errorf("%d sessions and %d marks are left, want %d and %d", gotLive, gotMarks, live, marks)
	}
}

// A save is a way in which a change of T gets stored.
type save string

const (
	automatic  save = "the automatic save"
	remembered save = "SignIn remembered"
)

var (
	plain    = []save{automatic, "Save", "Commit", "Update"} // nobody calls them a sign-in
	renewing = []save{"SignIn", remembered, "Renew"}         // these take a new token anyway
	saves    = slices.Concat(plain, renewing)
)

// run changes T and stores it, but for the automatic save, which comes later.
func (w save) run(m *manager, ctx context.Context, change func(*session)) error {
	if w == "Update" {
		return m.Update(ctx, func(s *session) error { change(s); return nil })
	}
	change(m.FromContext(ctx))
	switch w {
	case automatic:
		return nil
	case remembered:
		return kit.Call(m, ctx, "Remember")
	}
	return kit.Call(m, ctx, string(w))
}

// to changes the owner.
func to(user string) func(*session) {
	return func(s *session) { s.User = user; s.Views++ }
}
