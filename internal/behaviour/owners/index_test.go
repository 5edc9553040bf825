package owners_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// wantExact says that the indexes list just the sessions of these tokens that are there.
func (d *devices) wantExact(tokens ...string) {
	d.t.Helper()
	want := map[string][]string{}
	slices.Sort(tokens)
	for _, token := range slices.Compact(tokens) {
		if token == "" {
			continue
		}
		record := kit.RecordUnder(d.t, d.raw, token)
		if id, owner := kit.HeaderOf(record); id != "" && !kit.IsMark(record) {
			want[owner] = append(want[owner], kit.MemberOf(d.t, id, kit.KeyOf(token)))
		}
	}
	for _, user := range []string{"ann", "bob", "eve"} {
		got := d.entries(user)
		slices.Sort(got)
		slices.Sort(want[user])
		if !slices.Equal(got, want[user]) {
			d.t.Errorf("%d entries on the index of %s, want those of %d sessions, %q and %q", len(got), user, len(want[user]), got, want[user])
		}
	}
}

func TestIndexIsExact(t *testing.T) {
	t.Parallel()
	eachLimit(func(cfg sessions.Config, rows rows) { eachListed(t, cfg, rows) })
}

func TestIndexIsExactOnACluster(t *testing.T) {
	t.Parallel()
	rdb := redistest.StartCluster(t, 3).Client(t)
	eachLimit(func(cfg sessions.Config, rows rows) {
		rows(func(name string, f func(t *testing.T, d *devices)) {
			t.Run(name, func(t *testing.T) {
				kit.Must(t, rdb.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error { return node.FlushAll(ctx).Err() }))
				f(t, newDevices(t, kit.RedisStore(rdb), cfg))
			})
		})
	})
}

// rows are tests, which are given to row.
type rows = func(row func(name string, f func(t *testing.T, d *devices)))

// eachLimit has run run the rows of each limit.
func eachLimit(run func(cfg sessions.Config, rows rows)) {
	starts := []struct {
		name  string
		begin func(d *devices) []string // the tokens of the request
		// What another request does when this one has loaded, and the token that it is given.
		elsewhere func(d *devices, token string) (given string)
		lost      bool // the index is
	}{
		{"no session", func(*devices) []string { return nil }, nil, false},
		{"nobody's session", func(d *devices) []string { return []string{d.signIn("")} }, nil, false},
		{"ann's session", func(d *devices) []string { return []string{d.signIn("ann")} }, nil, false},
		{"a remembered session of ann's", func(d *devices) []string { return []string{d.signIn("ann", sessions.Remembered)} }, nil, false},
		{"bob's session", func(d *devices) []string { return []string{d.signIn("bob")} }, nil, false},
		{"two valid sessions", func(d *devices) []string { return []string{d.signIn("ann"), d.signIn("bob")} }, nil, false},
		{"a session of ann's that has lost its index", func(d *devices) []string {
			token := d.signIn("ann")
			d.loseIndex("ann")
			return []string{token}
		}, nil, true},
		{"a session of ann's past its Lifetime", func(d *devices) []string {
			token := d.signIn("ann")
			past := fmt.Sprintf(`"created":%d`, time.Now().Add(-24*time.Hour).UnixMilli())
			record := kit.RecordUnder(d.t, d.raw, token)
			_, rest, _ := strings.Cut(record, `"created":`)
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			kit.Place(d.t, d.raw, token, strings.Replace(record, `"created":`+rest[:digits], past, 1))
			return []string{token}
		}, nil, false},
		{"a session of ann's that another request renews", func(d *devices) []string { return []string{d.signIn("ann")} }, (*devices).renew, false},
		{"a session of ann's that another request ends", func(d *devices) []string { return []string{d.signIn("ann")} }, func(d *devices, token string) string {
			return kit.Verb(d.t, d.other, token, "Destroy")
		}, false},
		{"a session of ann's that becomes bob's", func(d *devices) []string { return []string{d.signIn("ann")} }, func(d *devices, token string) string {
			return kit.Edit(d.t, d.other, token, func(s *session) { s.User = "bob" })
		}, false},
		{"a session of ann's that another request saves", func(d *devices) []string { return []string{d.signIn("ann")} }, func(d *devices, token string) string {
			return kit.Edit(d.t, d.other, token, func(s *session) { s.Note = "theirs" })
		}, false},
	}
	verbs := map[string]func(d *devices, ctx context.Context, s *session) error{
		"only a look": func(*devices, context.Context, *session) error { return nil },
		"a change":    func(_ *devices, _ context.Context, s *session) error { s.Views++; return nil },
		"Destroy, and a change": func(d *devices, ctx context.Context, s *session) error {
			err := d.mine.Destroy(ctx)
			s.User, s.Views = "eve", 1
			return err
		},
	}
	for _, verb := range []string{"Save", "Touch", "Reload", "Renew", "Reauthenticate", "SignIn", "Remember", "Destroy"} {
		verbs[verb] = func(d *devices, ctx context.Context, _ *session) error { return kit.Call(d.mine, ctx, verb) }
	}
	for _, user := range []string{"ann", "bob", ""} {
		for _, save := range saves {
			verbs[fmt.Sprintf("%s of a T that is %q's", save, user)] = func(d *devices, ctx context.Context, _ *session) error {
				return save.run(d.mine, ctx, to(user))
			}
		}
	}
	for name, cfg := range map[string]sessions.Config{
		"no limit":                    {},
		"a limit of one that evicts":  {MaxPerOwner: 1},
		"a limit of two that rejects": {MaxPerOwner: 2, OnOwnerLimit: sessions.Reject},
	} {
		run(cfg, func(row func(name string, f func(t *testing.T, d *devices))) {
			for _, start := range starts {
				for verb, run := range verbs {
					row("O6 the index is exact with "+name+" after "+verb+" in a request with "+start.name, func(t *testing.T, d *devices) {
						tokens := []string{d.signIn("ann"), d.signIn("bob")} // of others
						own := start.begin(d)
						tokens = append(tokens, own...)
						r := kit.With("", "/")
						for _, token := range own {
							r.Header.Add("Cookie", kit.CookieName+"="+token)
						}
						res := kit.Serve(d.mine.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
							s := d.mine.FromContext(r.Context())
							if start.elsewhere != nil {
								tokens = append(tokens, start.elsewhere(d, own[0]))
							}
							if err := run(d, r.Context(), s); errors.Is(err, sessions.ErrUnavailable) {
								t.Error(err)
							}
						})), r)
						kit.Alive(t, d.mine, tokens[0]) // an index that was lost has it again by that
						d.wantExact(append(tokens, kit.TokenOf(res.Header))...)
						if n := cfg.MaxPerOwner; n > 0 && !start.lost {
							for _, user := range []string{"ann", "bob", "eve"} {
								if got := len(d.entries(user)); got > n {
									t.Errorf("%d sessions of %s's", got, user)
								}
							}
						}
					})
				}
			}
		})
	}
}

func TestOneSlot(t *testing.T) {
	t.Parallel()
	rdb := redistest.StartCluster(t, 3).Client(t)
	store := kit.RedisStore(rdb)
	m := kit.New[session](t, store, sessions.Config{})
	slots := map[int64]bool{}
	slot := func(key string) int64 {
		n, err := rdb.ClusterKeySlot(t.Context(), "session:"+key).Result()
		kit.Must(t, err)
		slots[n] = true
		return n
	}
	t.Run("O11 the sessions of a user and the index of them are in one slot, before and after a renewal", func(t *testing.T) {
		for i := range 50 {
			user := fmt.Sprint("user ", i)
			index := slot(kit.IndexOf(user))
			for range 2 {
				token, err := signIn(m, user)
				kit.Must(t, err)
				for range 2 {
					if got := slot(kit.KeyOf(token)); got != index {
						t.Errorf("a session of %s is in slot %d, and the index in %d", user, got, index)
					}
					token = kit.Verb(t, m, token, "Renew")
				}
			}
		}
		if len(slots) < 40 {
			t.Errorf("fifty users are in %d slots", len(slots))
		}
	})
}
