package express_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/express"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestUpdateIsExact(t *testing.T) {
	kit.EachRedis(t, func(t *testing.T, node *redis.Client) {
		t.Run("C9 200 requests at once through two Managers, while Node touches", func(t *testing.T) {
			p := placeOn(t, node, node, express.Options{})
			services := []*place{p, p.beside(express.Options{})}
			p.put(sid, nodeDoc("900000", `,"views":7,"theirs":{"n":12345678901234567890}`), 900)
			ctx, stop := context.WithCancel(t.Context())
			var touching sync.WaitGroup
			touching.Go(func() {
				for ctx.Err() == nil {
					node.Expire(ctx, "sess:"+sid, quarter)
				}
			})
			var asking sync.WaitGroup
			for i := range 200 {
				asking.Go(func() {
					s := services[i%2]
					res := s.ask(func(_ http.ResponseWriter, r *http.Request, _ *cart) {
						if err := s.Update(r.Context(), func(c *cart) error { c.Views++; return nil }); err != nil {
							t.Error(err)
						}
					}, mine(""))
					if res.StatusCode != 200 {
						t.Errorf("status %d", res.StatusCode)
					}
				})
			}
			asking.Wait()
			stop()
			touching.Wait()
			if doc := p.doc(sid); !strings.Contains(doc, `"views":207,`) && !strings.Contains(doc, `"views":207}`) || !strings.Contains(doc, `"theirs":{"n":12345678901234567890}`) {
				t.Errorf("stored %s, want 207 views", doc)
			}
			if len(p.keys()) != 1 || p.ttl(sid) != quarter {
				t.Errorf("keys %q, it ends in %v", p.keys(), p.ttl(sid))
			}
		})
	})

	t.Run("an Update that fails changes nothing and says why", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		was, why := p.doc(sid), errors.New("sold out")
		p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			err := p.Update(r.Context(), func(c *cart) error { c.Views = 100; return why })
			if !errors.Is(err, why) || c.Views != 7 {
				t.Errorf("%v, %d views", err, c.Views)
			}
		}, mine(""))
		if now := p.doc(sid); now != was {
			t.Errorf("stored %s", now)
		}
	})
}

// meet has two services change one session at once: theirs is saved while mine
// is being answered.
func meet(p, other *place, mineDoes, theirsDoes handler) *http.Response {
	return p.ask(func(w http.ResponseWriter, r *http.Request, c *cart) {
		if res := other.ask(theirsDoes, mine("")); res.StatusCode != 200 {
			p.t.Errorf("theirs: status %d", res.StatusCode)
		}
		mineDoes(w, r, c)
	}, mine(""))
}

func user(name string) handler {
	return func(_ http.ResponseWriter, _ *http.Request, c *cart) { c.User = name }
}

func note(text string) handler {
	return func(_ http.ResponseWriter, _ *http.Request, c *cart) { c.Note = text }
}

func TestOnConflict(t *testing.T) {
	for _, row := range []struct {
		name         string
		policy       sessions.ConflictPolicy
		mine, theirs handler
		status       int
		data         []string // what is stored behind the cookie, sorted
		event        sessions.EventKind
		fields       []string
	}{
		{"C7 merges fields by default", 0, user("ann"), note("hi"), 200, []string{`"note":"hi"`, `"user":"ann"`, `"views":7`}, sessions.EventMerged, []string{"note"}},
		{"C8 and of one field keeps the later value, and says so", 0, user("ann"), user("bob"), 200, []string{`"user":"ann"`, `"views":7`}, sessions.EventConflict, []string{"user"}},
		{"C12 ConflictLastWrite", sessions.ConflictLastWrite, user("ann"), note("hi"), 200, []string{`"user":"ann"`, `"views":7`}, sessions.EventConflict, nil},
		{"C12 ConflictReject", sessions.ConflictReject, user("ann"), note("hi"), 409, []string{`"note":"hi"`, `"views":7`}, sessions.EventConflict, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t, express.Options{OnConflict: row.policy})
			other := p.beside(express.Options{})
			p.put(sid, nodeDoc("900000", `,"views":7`), 900)
			res := meet(p, other, row.mine, row.theirs)
			_, data, _ := strings.Cut(strings.TrimSuffix(p.doc(sid), "}"), `"path":"/"},`)
			got := strings.Split(data, ",")
			slices.Sort(got)
			if res.StatusCode != row.status || !slices.Equal(got, row.data) {
				t.Errorf("status %d, stored %q, want %d, %q", res.StatusCode, got, row.status, row.data)
			}
			kinds, events := p.told()
			i := slices.Index(kinds, row.event)
			if i < 0 || !slices.Equal(events[i].Fields, row.fields) {
				t.Errorf("events %+v, want %v of %q", events, row.event, row.fields)
			}
		})
	}
}

// owned is a T that knows whose it is.
type owned struct {
	UserID string `json:"userId,omitempty"`
	Views  int    `json:"views"`
}

func (o *owned) SessionOwner() string { return o.UserID }

func TestOwned(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer rdb.Close()
	m, err := express.New[owned](rdb, express.Options{Secrets: []string{secret}, Cookie: express.Cookie{MaxAge: quarter}})
	if err != nil {
		t.Fatal(err)
	}
	load := func(t *testing.T, token string) context.Context {
		t.Helper()
		ctx, err := m.Load(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return ctx
	}
	commit := func(t *testing.T, ctx context.Context) (sessions.OutcomeKind, string) {
		t.Helper()
		o, err := m.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return o.Kind, o.Token.Reveal()
	}
	t.Run("L12 a new owner is a sign-in: a new sid, the old one gone, the configured cookie", func(t *testing.T) {
		rdb.Set(t.Context(), "sess:"+sid, nodeDoc("60000", `,"views":7`), time.Minute)
		ctx := load(t, sid)
		m.FromContext(ctx).UserID = "ann"
		kind, token := commit(t, ctx)
		if kind != sessions.OutcomeRenewed || token == sid || rdb.Exists(t.Context(), "sess:"+sid).Val() != 0 {
			t.Errorf("%v, %s", kind, token)
		}
		if doc := rdb.Get(t.Context(), "sess:"+token).Val(); age(doc) != "900000" || !strings.HasSuffix(doc, `,"userId":"ann","views":7}`) {
			t.Errorf("stored %s", doc)
		}
		if i := m.Info(load(t, token)); i.Owner != "ann" || i.ID != token {
			t.Errorf("%+v", i)
		}
	})
	t.Run("C17 what now belongs to somebody else is not written into", func(t *testing.T) {
		rdb.Set(t.Context(), "sess:"+sid, nodeDoc("60000", `,"views":7,"userId":"ann"`), time.Minute)
		ctx := load(t, sid)
		theirs := nodeDoc("60000", `,"views":7,"userId":"bob"`)
		rdb.Set(t.Context(), "sess:"+sid, theirs, time.Minute) // Node signs in without a regenerate
		m.FromContext(ctx).Views++
		if err := m.Save(ctx); !errors.Is(err, sessions.ErrGone) {
			t.Errorf("error %v, want ErrGone", err)
		}
		if got := rdb.Get(t.Context(), "sess:"+sid).Val(); got != theirs {
			t.Errorf("stored %s", got)
		}
	})
}

func TestMaxSize(t *testing.T) {
	t.Run("K7 a session that would be larger is not saved, the stored one stands", func(t *testing.T) {
		p := newPlace(t, express.Options{MaxSize: 1000})
		p.put(sid, nodeDoc("900000", `,"views":7`), 900)
		was := p.doc(sid)
		res := p.ask(func(_ http.ResponseWriter, r *http.Request, c *cart) {
			c.Note = strings.Repeat("x", 1000)
			if err := p.Save(r.Context()); !errors.Is(err, sessions.ErrTooLarge) {
				t.Errorf("error %v", err)
			}
			c.Note = ""
		}, mine(""))
		if res.StatusCode != 200 || p.doc(sid) != was {
			t.Errorf("status %d, stored %s", res.StatusCode, p.doc(sid))
		}
	})
	t.Run("K7 a larger one of Node's is left as it is", func(t *testing.T) {
		p := newPlace(t, express.Options{MaxSize: 1000})
		p.put(sid, nodeDoc("900000", `,"note":"`+strings.Repeat("x", 1000)+`"`), 900)
		was := p.doc(sid)
		p.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
			if c.Note != "" {
				t.Error("it is read")
			}
		}, mine(""))
		if kinds, _ := p.told(); !slices.Equal(kinds, []sessions.EventKind{sessions.EventUndecodable}) || p.doc(sid) != was {
			t.Errorf("events %v", kinds)
		}
	})
	t.Run("K7 the default takes a session of 900 KB", func(t *testing.T) {
		p := newPlace(t, express.Options{})
		p.put(sid, nodeDoc("900000", `,"theirs":"`+strings.Repeat("x", 900_000)+`","views":7`), 900)
		if res := p.ask(view, mine("")); res.StatusCode != 200 || !strings.Contains(p.doc(sid), `"views":8`) {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

func TestPrefix(t *testing.T) {
	for _, row := range []struct {
		name string
		o    express.Options
		want string
	}{
		{"the default", express.Options{}, "sess:"},
		{"one", express.Options{Prefix: "myapp:"}, "myapp:"},
		{"with a pattern's letters", express.Options{Prefix: "g[1]*?:"}, "g[1]*?:"},
		{"none", express.Options{NoPrefix: true}, ""},
	} {
		t.Run("R5 "+row.name, func(t *testing.T) {
			p := newPlace(t, row.o)
			cookie, sid := p.cookieOf(p.ask(view))
			if keys := p.keys(); !slices.Equal(keys, []string{row.want + sid}) {
				t.Errorf("keys %q, want %q", keys, row.want+sid)
			}
			p.ask(view, cookie)
			p.ask(p.do(p.Renew), cookie)
			if keys := p.keys(); len(keys) != 1 || !strings.HasPrefix(keys[0], row.want) || keys[0] == row.want+sid {
				t.Errorf("keys %q", keys)
			}
		})
	}
	t.Run("R5 two prefixes on one server see nothing of each other", func(t *testing.T) {
		p := newPlace(t, express.Options{Prefix: "a:"})
		other := p.beside(express.Options{Prefix: "b:"})
		cookie, _ := p.cookieOf(p.ask(view))
		other.ask(func(_ http.ResponseWriter, _ *http.Request, c *cart) {
			if c.Views != 0 {
				t.Error("it sees the other's session")
			}
		}, cookie)
	})
}

func TestEmptyRedisValues(t *testing.T) {
	// express-session finds no session behind these, and neither does this side
	// write over them.
	for _, stored := range []string{"", "null", " false\n", "0", "-0.0e7", `""`, "TOMBSTONE"} {
		t.Run(fmt.Sprintf("K6 R6 stored is %q", stored), func(t *testing.T) {
			p := newPlace(t, express.Options{})
			p.put(sid, stored, 300)
			_, now := p.cookieOf(p.ask(view, mine("")))
			if now == sid || p.doc(sid) != stored || p.ttl(sid) != 300*time.Second {
				t.Errorf("stored is %q for %v, the cookie has %s", p.doc(sid), p.ttl(sid), now)
			}
		})
	}
}
