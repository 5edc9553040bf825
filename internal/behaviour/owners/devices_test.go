package owners_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// devices are the sessions of some users on a store that lists them, and two
// processes. The steps of the first can be parked and failed.
type devices struct {
	t           testing.TB
	mine, other *manager
	store       *kit.Store // mine
	raw         sessions.OwnerStore
	codec       sessions.Codec
	events      kit.Events // of mine
}

// eachListed runs tests, which are given to row, on each store that lists a
// user's sessions, with both codecs; a short run has one for each store. Each begins with an empty store.
func eachListed(t *testing.T, cfg sessions.Config, tests func(row func(name string, f func(t *testing.T, d *devices)))) {
	on := func(t *testing.T, short string, empty func() sessions.Store) {
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) {
			if testing.Short() && c.Name() != short {
				return
			}
			tests(func(name string, f func(t *testing.T, d *devices)) {
				t.Run(name, func(t *testing.T) {
					cfg := cfg
					cfg.Codec = c
					f(t, newDevices(t, empty(), cfg))
				})
			})
		})
	}
	t.Run("memory", func(t *testing.T) { on(t, "json", kit.Memory) })
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		on(t, "msgpack", func() sessions.Store {
			rdb.FlushAll(t.Context())
			return kit.RedisStore(rdb)
		})
	})
}

func newDevices(t testing.TB, store sessions.Store, cfg sessions.Config) *devices {
	raw, ok := store.(sessions.OwnerStore)
	if !ok {
		t.Skipf("%T is no OwnerStore", store)
	}
	d := &devices{t: t, raw: raw, store: &kit.Store{Store: raw}, codec: cfg.Codec}
	d.other = kit.New[session](t, &kit.Store{Store: raw}, cfg)
	if cfg.OnEvent == nil {
		cfg.OnEvent = d.events.On
	}
	d.mine = kit.New[session](t, d.store, cfg)
	return d
}

// signIn begins a session of a user in the other process, and returns its token.
func (d *devices) signIn(user string, opts ...sessions.SignInOption) string {
	d.t.Helper()
	return kit.MustRequest(d.t, d.other, "", func(ctx context.Context) error {
		d.other.FromContext(ctx).User = user
		return d.other.SignIn(ctx, opts...)
	})
}

// visit lets f handle one request of mine. Calls and events before it are forgotten.
func (d *devices) visit(token string, f func(ctx context.Context, s *session)) *http.Response {
	return d.visitWriting(token, func(ctx context.Context, _ http.ResponseWriter) { f(ctx, d.mine.FromContext(ctx)) })
}

// visitWriting is visit by a handler that writes the response.
func (d *devices) visitWriting(token string, f func(ctx context.Context, w http.ResponseWriter)) *http.Response {
	d.store.Calls()
	d.events.Take()
	return kit.Serve(d.mine.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(r.Context(), w) })), kit.With(token, "/"))
}

// id is the ID of a session.
func (d *devices) id(token string) string {
	d.t.Helper()
	ctx, _ := kit.Load(d.t, d.other, token)
	return d.other.Info(ctx).ID
}

// renew gives a session a new token by the other process.
func (d *devices) renew(token string) string {
	d.t.Helper()
	return kit.Verb(d.t, d.other, token, "Renew")
}

// wantAlive says which of some tokens find a session.
func (d *devices) wantAlive(want bool, tokens ...string) {
	d.t.Helper()
	for i, token := range tokens {
		if got := kit.Alive(d.t, d.other, token); got != want {
			d.t.Errorf("session %d is alive: %t, want %t", i, got, want)
		}
	}
}

// wantListed compares the IDs of a user's sessions that are listed with those of tokens.
func (d *devices) wantListed(user string, tokens ...string) {
	d.t.Helper()
	var want []string
	for _, token := range tokens {
		want = append(want, d.id(token))
	}
	infos, err := d.other.SessionsOf(context.Background(), user)
	kit.Must(d.t, err)
	got := ids(infos)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		d.t.Errorf("the sessions of %s are %v, want %v", user, got, want)
	}
}

func ids(infos []sessions.Info) (ids []string) {
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	return ids
}

// indexOf is the key of a user's index, as the documentation of the stored format has it.
func indexOf(user string) string {
	sum := sha256.Sum256([]byte("session\x00owner\x00" + user))
	text := base64.RawURLEncoding.EncodeToString(sum[:])
	return "{" + text[:4] + "}o" + text
}

// entries are those of a user's index.
func (d *devices) entries(user string) []string {
	d.t.Helper()
	members, err := d.raw.Members(context.Background(), indexOf(user))
	kit.Must(d.t, err)
	return members
}

// loseIndex takes all entries off a user's index, and leaves the sessions.
func (d *devices) loseIndex(user string) {
	d.t.Helper()
	for _, member := range d.entries(user) {
		_, err := d.raw.End(context.Background(), indexOf(user), []string{member}, []string{indexOf(user) + "nothing"})
		kit.Must(d.t, err)
	}
}

// park lets act run when mine comes to the step for the first time.
func (d *devices) park(step string, act func()) {
	done := false
	hook := func(when string) func(op, key string) error {
		return func(op, _ string) error {
			if when+" "+op == step && !done {
				done = true
				act()
			}
			return nil
		}
	}
	d.store.Before, d.store.After = hook("before"), hook("after")
}
