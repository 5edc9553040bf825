package sessions_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
)

// ownerSession is a T that knows whose it is.
type ownerSession struct {
	User  string `json:"user"`
	Views int    `json:"views"`
	Note  string `json:"note,omitempty"`
}

func (s *ownerSession) SessionOwner() string { return s.User }

type ownerManager = sessions.Manager[ownerSession]

// An ownerWorld is two processes on one store. The steps of the first can be
// hooked, the second is never in the way.
type ownerWorld struct {
	t        testing.TB
	m, other *ownerManager
	codec    sessions.Codec
	rdb      *redis.Client
	spy      *spyStore
	step     *stepStore
	log      *calls
	events   *recorder
}

func newOwnerWorld(t testing.TB, rdb *redis.Client, cfg sessions.Config) *ownerWorld {
	t.Helper()
	rdb.FlushAll(t.Context())
	w := &ownerWorld{t: t, codec: cfg.Codec, rdb: rdb, events: &recorder{}}
	w.spy = &spyStore{Store: sessions.NewRedisStore(rdb, sessions.RedisConfig{Timeout: 20 * time.Second})}
	w.step, w.log = counted(w.spy)
	w.other = newManager[ownerSession](t, w.spy, cfg)
	cfg.OnEvent = w.events.on
	w.m = newManager[ownerSession](t, w.step, cfg)
	return w
}

// eachOwnerWorld runs a test on miniredis and on a real server, with both codecs.
func eachOwnerWorld(t *testing.T, cfg sessions.Config, f func(t *testing.T, world func(t *testing.T) *ownerWorld)) {
	eachRedis(t, func(t *testing.T, rdb *redis.Client) {
		eachCodec(t, func(t *testing.T, c sessions.Codec) {
			f(t, func(t *testing.T) *ownerWorld {
				cfg := cfg
				cfg.Codec = c
				return newOwnerWorld(t, rdb, cfg)
			})
		})
	})
}

// ownerSince is when the sessions of these tests began: long ago, so that what
// restarts is seen to restart.
var ownerSince = time.Now().Add(-time.Minute).Truncate(time.Millisecond)

// seed stores a session that began at ownerSince under oddToken, authenticated
// then if it is somebody's. Its header names that owner.
func (w *ownerWorld) seed(s ownerSession) string {
	w.t.Helper()
	more := ""
	if s.User != "" {
		more = fmt.Sprintf(`,"authenticated":%d,"owner":%q`, ownerSince.UnixMilli(), s.User)
	}
	return w.seedHeader(s, more)
}

func (w *ownerWorld) seedHeader(s any, more string) string {
	w.t.Helper()
	payload, err := w.codec.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.place(fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d%s}`, oddID, w.codec.Name(), ownerSince.UnixMilli(), more) + "\n" + string(payload))
	return oddToken
}

// place stores a record under oddToken, in place of what is there.
func (w *ownerWorld) place(record string) {
	w.t.Helper()
	ctx := context.Background()
	if err := w.spy.Delete(ctx, keyOf(oddToken)); err != nil {
		w.t.Fatal(err)
	}
	if err := w.spy.Create(ctx, keyOf(oddToken), []byte(record), time.Hour); err != nil {
		w.t.Fatal(err)
	}
}

// under is the record of a token, "" if there is none.
func (w *ownerWorld) under(token string) string {
	w.t.Helper()
	data, _, err := w.spy.Load(context.Background(), keyOf(token), 0)
	if err != nil && err != sessions.ErrNotFound {
		w.t.Fatal(err)
	}
	return string(data)
}

// visit lets f handle one request of the first process.
func (w *ownerWorld) visit(token string, f func(ctx context.Context, s *ownerSession)) *http.Response {
	return serve(w.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(r.Context(), w.m.FromContext(r.Context()))
	})), with(token, "/"))
}

// look is what the second process finds under a token.
func (w *ownerWorld) look(token string) (ownerSession, sessions.Info) {
	w.t.Helper()
	ctx, err := w.other.Load(context.Background(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	return *w.other.FromContext(ctx), w.other.Info(ctx)
}

// ownerWay is a save that nobody calls a sign-in.
type ownerWay struct {
	name string
	run  func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error
}

var ownerWays = []ownerWay{
	{"the automatic save", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		return nil
	}},
	{"Save", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		return m.Save(ctx)
	}},
	{"Commit", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		_, err := m.Commit(ctx)
		return err
	}},
	{"Update", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		return m.Update(ctx, func(s *ownerSession) error { change(s); return nil })
	}},
}

// ownerVerbs take a new token anyway.
var ownerVerbs = []ownerWay{
	{"SignIn", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		return m.SignIn(ctx)
	}},
	{"SignIn remembered", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		return m.SignIn(ctx, sessions.Remembered)
	}},
	{"Renew", func(m *ownerManager, ctx context.Context, change func(*ownerSession)) error {
		change(m.FromContext(ctx))
		return m.Renew(ctx)
	}},
}

// ownerTo changes the owner.
func ownerTo(user string) func(*ownerSession) {
	return func(s *ownerSession) { s.User = user; s.Views++ }
}

// ownerRestarted says whether a time is of this test and not of its seed.
func ownerRestarted(at time.Time) bool { return at.Sub(ownerSince) > 30*time.Second }

func TestChangeOfOwner(t *testing.T) {
	rows := []struct {
		from, to  string
		kind      sessions.EventKind
		created   bool // restarts
		authentic bool // afterwards
	}{
		{"", "ann", sessions.EventSignedIn, true, true},
		{"ann", "bob", sessions.EventSignedIn, true, true},
		{"ann", "", sessions.EventRenewed, false, false},
	}
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, row := range rows {
			for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
				if strings.HasPrefix(way.name, "SignIn") && row.to == "" {
					continue // it says that somebody has
				}
				t.Run(fmt.Sprintf("L12 %s with the owner changed from %q to %q takes a new token once", way.name, row.from, row.to), func(t *testing.T) {
					w := world(t)
					old := w.seed(ownerSession{User: row.from, Views: 7})
					res := w.visit(old, func(ctx context.Context, _ *ownerSession) {
						w.log.take()
						must(t, way.run(w.m, ctx, ownerTo(row.to)))
					})
					cookie := cookieSent
					if way.name == "SignIn remembered" {
						cookie = cookieName + "=TOKEN; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"
					}
					wantMasked(t, res.Header, http.Header{"Set-Cookie": {cookie}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}})
					wantCalls(t, w.log, "the change", "Create CompareAndSwap")
					if kinds := w.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{row.kind}) {
						t.Errorf("events %v, want %v alone", kinds, row.kind)
					}
					if _, i := w.look(old); !i.New {
						t.Error("the old token is still accepted")
					}
					if live, marks := w.spy.left(t); live != 1 || marks != 1 {
						t.Errorf("%d records and %d marks, want one of each", live, marks)
					}
					s, i := w.look(tokenOf(res.Header))
					if want := (ownerSession{User: row.to, Views: 8}); s != want || i.ID != oddID || i.Owner != row.to {
						t.Errorf("the new token finds %+v of %q with ID %s, want %+v and the ID of before", s, i.Owner, i.ID, want)
					}
					if ownerRestarted(i.CreatedAt) != row.created || i.AuthenticatedAt.IsZero() == row.authentic || row.authentic && !ownerRestarted(i.AuthenticatedAt) {
						t.Errorf("created %v, authenticated %v; it began %v", i.CreatedAt, i.AuthenticatedAt, ownerSince)
					}
					if want := way.name == "SignIn remembered"; i.Remembered != want {
						t.Errorf("remembered %v, want %v", i.Remembered, want)
					}
				})
			}
		}
	})
}

func TestNewOwner(t *testing.T) {
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, way := range append(slices.Clone(ownerWays), ownerVerbs...) {
			t.Run("L1 a session that "+way.name+" stores with an owner from the start is authenticated", func(t *testing.T) {
				w := world(t)
				res := w.visit("", func(ctx context.Context, _ *ownerSession) { must(t, way.run(w.m, ctx, ownerTo("ann"))) })
				_, i := w.look(tokenOf(res.Header))
				if i.Owner != "ann" || !i.AuthenticatedAt.Equal(i.CreatedAt) || i.CreatedAt.IsZero() {
					t.Errorf("it is %q's, created %v, authenticated %v", i.Owner, i.CreatedAt, i.AuthenticatedAt)
				}
				if kinds := w.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventCreated, sessions.EventSignedIn}) {
					t.Errorf("events %v", kinds)
				}
				wantCalls(t, w.log, "it", "Create")
			})
		}
		for _, way := range ownerWays {
			t.Run("L1 a session that "+way.name+" stores without an owner is not", func(t *testing.T) {
				w := world(t)
				res := w.visit("", func(ctx context.Context, _ *ownerSession) { must(t, way.run(w.m, ctx, ownerTo(""))) })
				if _, i := w.look(tokenOf(res.Header)); i.Owner != "" || i.New || !i.AuthenticatedAt.IsZero() {
					t.Errorf("it is %q's, authenticated %v", i.Owner, i.AuthenticatedAt)
				}
				if kinds := w.events.kinds(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventCreated}) {
					t.Errorf("events %v", kinds)
				}
			})
		}
		t.Run("L11 the session that begins after Destroy is its new owner's", func(t *testing.T) {
			w := world(t)
			old := w.seed(ownerSession{User: "ann"})
			res := w.visit(old, func(ctx context.Context, s *ownerSession) {
				must(t, w.m.Destroy(ctx))
				s.User = "bob"
			})
			s, i := w.look(tokenOf(res.Header))
			if s.User != "bob" || i.Owner != "bob" || i.ID == oddID || i.AuthenticatedAt.IsZero() {
				t.Errorf("%+v of %q, ID %s, authenticated %v", s, i.Owner, i.ID, i.AuthenticatedAt)
			}
		})
	})
}

func TestSameOwner(t *testing.T) {
	eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
		for _, owner := range []string{"ann", ""} {
			for _, way := range ownerWays {
				t.Run(fmt.Sprintf("L12 %s of a session that stays %q's is in place and sends no cookie", way.name, owner), func(t *testing.T) {
					w := world(t)
					token := w.seed(ownerSession{User: owner})
					res := w.visit(token, func(ctx context.Context, _ *ownerSession) {
						must(t, way.run(w.m, ctx, func(s *ownerSession) { s.Views = 5 }))
					})
					wantMasked(t, res.Header, http.Header{"Vary": {"Cookie"}, "Cache-Control": {"private"}})
					wantCalls(t, w.log, "it", "Load CompareAndSwap")
					s, i := w.look(token)
					if s.Views != 5 || i.Owner != owner || ownerRestarted(i.CreatedAt) || ownerRestarted(i.AuthenticatedAt) {
						t.Errorf("%+v of %q, created %v, authenticated %v", s, i.Owner, i.CreatedAt, i.AuthenticatedAt)
					}
				})
			}
		}
		t.Run("L3 an owner changed and changed back is no change", func(t *testing.T) {
			w := world(t)
			token := w.seed(ownerSession{User: "ann"})
			res := w.visit(token, func(_ context.Context, s *ownerSession) { s.User = "bob"; s.User = "ann" })
			wantMasked(t, res.Header, http.Header{"Vary": {"Cookie"}, "Cache-Control": {"private"}})
			wantCalls(t, w.log, "it", "Load")
		})
		t.Run("L9 a remembered session whose owner changes by itself is not remembered", func(t *testing.T) {
			w := world(t)
			res := w.visit("", func(ctx context.Context, s *ownerSession) {
				s.User = "ann"
				must(t, w.m.SignIn(ctx, sessions.Remembered))
			})
			res = w.visit(tokenOf(res.Header), func(_ context.Context, s *ownerSession) { s.User = "bob" })
			wantMasked(t, res.Header, http.Header{"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}})
			if _, i := w.look(tokenOf(res.Header)); i.Remembered || i.Owner != "bob" {
				t.Errorf("remembered %v, owner %q", i.Remembered, i.Owner)
			}
		})
		t.Run("L12 two users after another in one request leave one cookie and one session", func(t *testing.T) {
			w := world(t)
			res := w.visit(w.seed(ownerSession{}), func(ctx context.Context, s *ownerSession) {
				s.User = "ann"
				must(t, w.m.Save(ctx))
				must(t, w.m.Update(ctx, func(s *ownerSession) error { s.User = "bob"; return nil }))
				s.User = ""
				must(t, w.m.Save(ctx))
				s.User = "eve"
			})
			wantMasked(t, res.Header, http.Header{"Set-Cookie": {cookieSent}, "Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}})
			if s, i := w.look(tokenOf(res.Header)); s.User != "eve" || i.Owner != "eve" || i.ID != oddID || i.AuthenticatedAt.IsZero() {
				t.Errorf("%+v, %+v", s, i)
			}
			if live, _ := w.spy.left(t); live != 1 {
				t.Errorf("%d sessions", live)
			}
		})
	})
}

func TestOwnerOutsideHTTP(t *testing.T) {
	t.Run("L18 the Outcome of Commit carries the new owner's token", func(t *testing.T) {
		eachOwnerWorld(t, sessions.Config{}, func(t *testing.T, world func(t *testing.T) *ownerWorld) {
			w := world(t)
			ctx, err := w.m.Load(t.Context(), w.seed(ownerSession{}))
			must(t, err)
			w.m.FromContext(ctx).User = "ann"
			o, err := w.m.Commit(ctx)
			must(t, err)
			if o.Kind != sessions.OutcomeRenewed || o.Info.Owner != "ann" || o.Token.Reveal() == oddToken {
				t.Fatalf("%v for %q", o.Kind, o.Info.Owner)
			}
			if _, i := w.look(o.Token.Reveal()); i.Owner != "ann" {
				t.Errorf("its token finds %q's", i.Owner)
			}
		})
	})
}
