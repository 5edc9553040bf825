package faults_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestServerForgets(t *testing.T) {
	t.Parallel()
	t.Run("F4 SCRIPT FLUSH is invisible", func(t *testing.T) {
		t.Parallel()
		rdb := redistest.Start(t).Client(t)
		p := kit.NewProcesses(t, rdb, sessions.Config{})
		b := p.Visitor("ann")
		for _, path := range []string{"/save?v=bob", "/renew", "/destroy"} {
			kit.Must(t, rdb.ScriptFlush(t.Context()).Err())
			if res := b.Get(path); res.StatusCode != 200 || res.Text != "ok" {
				t.Errorf("%s: %d %q", path, res.StatusCode, res.Text)
			}
		}
		if left := p.Records(); len(left) > 0 {
			t.Errorf("records left: %q", left)
		}
	})
	t.Run("F4 after a restart that lost everything there is no session and no error", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		p := kit.NewProcesses(t, server.Client(t), sessions.Config{})
		b := p.Visitor("ann")
		old := b.Token()
		server.Restart()
		if res := b.Get("/get"); res.StatusCode != 200 || res.Text != "" || len(res.SetCookies()) != 0 {
			t.Errorf("%d %q, cookies %q", res.StatusCode, res.Text, res.SetCookies())
		}
		if res := b.Get("/set?v=bob"); res.Text != "ok" || b.Token() == old {
			t.Errorf("%d %q, with the old token: %v", res.StatusCode, res.Text, b.Token() == old)
		}
		b.MustGet("/get", "bob")
	})
	t.Run("F4 a restart between load and save ends in ErrGone", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		p := kit.NewProcesses(t, server.Client(t), sessions.Config{})
		b := p.Visitor("ann")
		res := p.Park(b, "/save?v=bob", "before CompareAndSwap", server.Restart)
		if res.Text != "ErrGone" || len(res.SetCookies()) > 0 {
			t.Errorf("%q, cookies %q", res.Text, res.SetCookies())
		}
	})
	t.Run("F4 a restart that keeps the data is invisible", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		p := kit.NewProcesses(t, server.Client(t), sessions.Config{})
		b := p.Visitor("ann")
		server.Restart()
		b.MustGet("/get", "ann")
		b.MustGet("/save?v=bob", "ok")
		b.MustGet("/renew", "ok")
		b.MustGet("/get", "bob")
	})
}

// A server that cannot write can still read, unless what it reads may be stale.
func TestServerRefusesWrites(t *testing.T) {
	t.Parallel()
	alone := func(t *testing.T, rdb *redis.Client) {
		kit.Must(t, rdb.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	}
	rows := []struct {
		id, message string
		args        []string
		set         func(t *testing.T, rdb *redis.Client)
		config      sessions.RedisConfig
		refuses     bool // reads as well
		touches     bool // reads still restart the idle timeout
		destroys    bool // and the record can be deleted
	}{
		{
			id: "F5 OOM", message: "OOM", touches: true, destroys: true,
			set: func(t *testing.T, rdb *redis.Client) {
				kit.Must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
				kit.Must(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
			},
		},
		{id: "F5 NOREPLICAS", message: "NOREPLICAS", set: alone, refuses: true},
		{id: "F5 NOREPLICAS, with ReadWithoutReplicas", message: "NOREPLICAS", set: alone, config: sessions.RedisConfig{ReadWithoutReplicas: true}},
		{
			id: "F5 MISCONF", message: "MISCONF",
			args: []string{"--save", "900 1", "--stop-writes-on-bgsave-error", "yes"},
			set: func(t *testing.T, rdb *redis.Client) {
				// A directory where the snapshot should go fails it, for root too.
				dump := filepath.Join(rdb.ConfigGet(t.Context(), "dir").Val()["dir"], "dump.rdb")
				kit.Must(t, os.RemoveAll(dump))
				kit.Must(t, os.MkdirAll(filepath.Join(dump, "taken"), 0o700))
				kit.Must(t, rdb.BgSave(t.Context()).Err())
				redistest.Eventually(t, "the failure of the snapshot", func() bool {
					return strings.Contains(rdb.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
				})
			},
		},
		{
			id: "F5 F13 READONLY", message: "READONLY", refuses: true,
			set: func(t *testing.T, rdb *redis.Client) {
				// A replica of nobody keeps its data and is read-only.
				kit.Must(t, rdb.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
			},
		},
	}
	for _, row := range rows {
		t.Run(row.id, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, row.args...)
			// What such a server answers go-redis asks again, which takes its time.
			p := kit.NewProcesses(t, client(redis.Options{MaxRetries: -1}).open(t, server.Addr).(*redis.Client), sessions.Config{})
			row.config.Timeout = kit.OwnerTimeout
			p.Store.Store = sessions.NewRedisStore(p.Redis, row.config)
			b := p.Visitor("ann")
			b.MustGet("/save?v=bob", "ok")
			loaded := map[string]context.Context{} // before it refuses
			for _, verb := range []string{"Save", "Renew", "SignIn"} {
				loaded[verb], _ = kit.Load(t, p.Manager, b.Token())
			}
			row.set(t, p.Redis)
			// A touch is known to be skipped when less is left than it would give.
			redistest.Eventually(t, "some milliseconds since the save", func() bool {
				return p.Redis.PTTL(t.Context(), p.Keys()[0]).Val() < time.Hour-2*time.Millisecond
			})
			p.Events.Take()
			p.Log.Take()

			t.Run(row.id+": reads go on, or are unavailable", func(t *testing.T) {
				if row.refuses {
					wantUnavailable(t, b.Get("/get").Response)
					p.WantEvents(t, sessions.EventUnavailable)
					return
				}
				b.MustGet("/get", "bob")
				if row.touches {
					p.WantEvents(t)
				} else {
					p.WantEvents(t, sessions.EventTouchSkipped)
				}
			})
			t.Run(row.id+": a write gives an error of a type and leaves the record, and it is one outage in the log, however many requests fail", func(t *testing.T) {
				for verb, ctx := range loaded {
					p.FromContext(ctx).UserID = "eve"
					err := kit.Call(p.Manager, ctx, verb)
					var from redis.Error
					if !errors.Is(err, sessions.ErrUnavailable) || !errors.Is(err, sessions.ErrRefused) || !errors.As(err, &from) || !strings.HasPrefix(from.Error(), row.message) {
						t.Errorf("%s: %v, want ErrUnavailable and ErrRefused with the server's %s", verb, err, row.message)
					}
					if strings.Contains(err.Error(), "may or may not") {
						t.Errorf("%s: %v", verb, err)
					}
				}
				if got := b.Get("/set?v=eve"); got.StatusCode != 503 || len(got.SetCookies()) > 0 {
					t.Errorf("%d %q, cookies %q", got.StatusCode, got.Text, got.SetCookies())
				}
				if got := p.Browser().Get("/set?v=new"); got.StatusCode != 503 || len(got.SetCookies()) > 0 {
					t.Errorf("a new session: %d %q, cookies %q", got.StatusCode, got.Text, got.SetCookies())
				}
				if !row.refuses {
					b.MustGet("/get", "bob")
				}
				if n := len(p.Keys()); n != 1 {
					t.Errorf("%d keys", n)
				}
				lines := strings.Join(p.Log.Take(), "\n")
				if down := strings.Count(lines, "the store is unavailable"); down != 1 {
					t.Errorf("%d lines say that the store is unavailable: %s", down, lines)
				}
			})
			t.Run(row.id+": Destroy goes on, or says that it did not", func(t *testing.T) {
				want := "ErrUnavailable"
				if row.destroys {
					want = "ok"
				}
				token := b.Token()
				if row.refuses {
					want = "Service Unavailable\n"
				}
				if res := b.Get("/destroy"); res.Text != want {
					t.Errorf("Destroy = %s, want %s", res.Text, want)
				}
				n := len(p.Keys())
				if row.destroys && (n != 0 || b.Token() != "") || !row.destroys && (n != 1 || b.Token() != token) {
					t.Errorf("%d keys, and the cookie is kept: %v", n, b.Token() == token)
				}
			})
		})
	}
}

// Whatever is lost of what the store holds, nobody becomes somebody else, and
// nobody who was out comes in.
func TestLostKeys(t *testing.T) {
	t.Parallel()
	t.Run("F6 losing any keys only ever logs out", func(t *testing.T) {
		rdb := kit.MiniRedis(t)
		who := map[string]string{} // by token
		var all []string
		setup := func() *sessions.Manager[kit.Session] {
			clear(who)
			rdb.FlushAll(t.Context())
			m := kit.New[kit.Session](t, kit.RedisStore(rdb), sessions.Config{})
			ann := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
			bob := kit.MustRequest(t, m, "", kit.Put(m, "bob"))
			bob2 := kit.MustRequest(t, m, bob, m.Renew)
			bob3 := kit.MustRequest(t, m, bob2, m.Renew)
			eve := kit.MustRequest(t, m, "", kit.Put(m, "eve"))
			kit.MustRequest(t, m, eve, m.Destroy)
			who[ann], who[bob], who[bob2], who[bob3], who[eve] = "ann", "", "", "bob", ""
			all = kit.Keys(t, rdb)
			return m
		}
		setup()
		n := len(all)
		want := 4
		if kit.Owner != "" {
			want++
		}
		if n != want {
			t.Fatalf("%d keys, want two sessions, two marks, and the index of an Owner's", n)
		}
		for subset := range 1 << n {
			m := setup()
			for i, key := range all {
				if subset&(1<<i) != 0 {
					rdb.Del(t.Context(), key)
				}
			}
			found := 0
			for token, name := range who {
				_, s := kit.Load(t, m, token)
				got := s.UserID
				if got != "" && got != name {
					t.Errorf("subset %b: a token of %q finds %q", subset, name, got)
				}
				if got != "" {
					found++
				}
			}
			if subset == 0 && found != 2 {
				t.Errorf("%d sessions with all keys there", found)
			}
			if subset == 1<<n-1 && found != 0 {
				t.Errorf("%d sessions with no key there", found)
			}
		}
	})
	for _, step := range []string{"before CompareAndSwap", "after CompareAndSwap"} {
		t.Run("F6 losing everything in the midst of a renewal leaves no error and no session of another, "+step, func(t *testing.T) {
			p := kit.NewProcesses(t, kit.MiniRedis(t), sessions.Config{})
			b := p.Visitor("ann")
			res := p.Park(b, "/renew", step, func() { p.Redis.FlushAll(t.Context()) })
			if res.Text != "ok" && res.Text != "ErrGone" {
				t.Errorf("Renew = %s", res.Text)
			}
			if got := b.Get("/get"); got.StatusCode != 200 || got.Text != "" {
				t.Errorf("then %d %q", got.StatusCode, got.Text)
			}
		})
	}
}
