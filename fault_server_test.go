package sessions_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

func TestServerForgets(t *testing.T) {
	t.Run("F4 SCRIPT FLUSH is invisible", func(t *testing.T) {
		rdb := redistest.Start(t).Client(t)
		r := newRig(t, rdb, sessions.Config{})
		b := r.visitor("ann")
		for _, path := range []string{"/save?v=bob", "/renew", "/destroy"} {
			if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if a := b.get(path); a.StatusCode != 200 || a.body != "ok" {
				t.Errorf("%s: %d %q", path, a.StatusCode, a.body)
			}
		}
		if left := r.records(); len(left) > 0 {
			t.Errorf("records left: %q", left)
		}
	})
	t.Run("F4 after a restart that lost everything there is no session and no error", func(t *testing.T) {
		server := redistest.Start(t)
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		old := b.token()
		server.Restart()
		if a := b.get("/get"); a.StatusCode != 200 || a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("%d %q, cookies %q", a.StatusCode, a.body, a.setCookies())
		}
		if a := b.get("/set?v=bob"); a.body != "ok" || b.token() == old {
			t.Errorf("%d %q, with the old token: %v", a.StatusCode, a.body, b.token() == old)
		}
		b.mustGet("/get", "bob")
	})
	t.Run("F4 a restart between load and save ends in ErrGone", func(t *testing.T) {
		server := redistest.Start(t)
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		a := r.park(b, "/save?v=bob", "before CompareAndSwap", server.Restart)
		if a.body != "ErrGone" || len(a.setCookies()) > 0 {
			t.Errorf("%q, cookies %q", a.body, a.setCookies())
		}
	})
	t.Run("F4 a restart that keeps the data is invisible", func(t *testing.T) {
		server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
		r := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		server.Restart()
		b.mustGet("/get", "ann")
		b.mustGet("/save?v=bob", "ok")
		b.mustGet("/renew", "ok")
		b.mustGet("/get", "bob")
	})
}

// A server that cannot write can still read.
func TestServerRefusesWrites(t *testing.T) {
	rows := []struct {
		id, message string
		args        []string
		set         func(t *testing.T, server *redistest.Server, rdb *redis.Client)
		touches     bool // reads still restart the idle timeout
		destroys    bool // and the record can be deleted
	}{
		{
			id: "F5 OOM", message: "OOM", touches: true, destroys: true,
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				must(t, rdb.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
				must(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
			},
		},
		{
			id: "F5 NOREPLICAS", message: "NOREPLICAS",
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				must(t, rdb.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
			},
		},
		{
			id: "F5 MISCONF", message: "MISCONF",
			args: []string{"--save", "900 1", "--stop-writes-on-bgsave-error", "yes"},
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				// A directory where the snapshot should go fails it, for root too.
				dump := filepath.Join(rdb.ConfigGet(t.Context(), "dir").Val()["dir"], "dump.rdb")
				must(t, os.RemoveAll(dump))
				must(t, os.MkdirAll(filepath.Join(dump, "taken"), 0o700))
				must(t, rdb.BgSave(t.Context()).Err())
				for !strings.Contains(rdb.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err") {
					runtime.Gosched()
				}
			},
		},
		{
			id: "F5 READONLY", message: "READONLY",
			set: func(t *testing.T, _ *redistest.Server, rdb *redis.Client) {
				// A replica of nobody keeps its data and is read-only.
				must(t, rdb.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
			},
		},
	}
	for _, row := range rows {
		start := func(t *testing.T, l *logs) (*rig, *browser, *redis.Client) {
			server := redistest.Start(t, row.args...)
			rdb := server.Client(t)
			cfg := sessions.Config{}
			if l != nil {
				cfg.Logger = slog.New(l)
			}
			r := newRig(t, rdb, cfg)
			b := r.visitor("ann")
			b.mustGet("/save?v=bob", "ok")
			row.set(t, server, rdb)
			r.events.kinds()
			return r, b, rdb
		}
		t.Run(row.id+": reads go on", func(t *testing.T) {
			r, b, _ := start(t, nil)
			b.mustGet("/get", "bob")
			want := []sessions.EventKind{sessions.EventTouchSkipped}
			if row.touches {
				want = nil
			}
			if got := r.events.kinds(); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
		t.Run(row.id+": a write gives an error of a type and leaves the record", func(t *testing.T) {
			r, b, rdb := start(t, nil)
			for _, verb := range []func(context.Context) error{
				r.m.Save, r.m.Renew, func(ctx context.Context) error { return r.m.SignIn(ctx) },
			} {
				ctx, err := r.m.Load(t.Context(), b.token())
				if err != nil {
					t.Fatal(err)
				}
				r.m.FromContext(ctx).UserID = "eve"
				err = verb(ctx)
				var from redis.Error
				if !errors.Is(err, sessions.ErrUnavailable) || !errors.As(err, &from) || !strings.HasPrefix(from.Error(), row.message) {
					t.Errorf("%v, want ErrUnavailable with the server's %s", err, row.message)
				}
			}
			if got := b.get("/set?v=eve"); got.StatusCode != 503 || len(got.setCookies()) > 0 {
				t.Errorf("%d %q, cookies %q", got.StatusCode, got.body, got.setCookies())
			}
			if got := r.browser().get("/set?v=new"); got.StatusCode != 503 || len(got.setCookies()) > 0 {
				t.Errorf("a new session: %d %q, cookies %q", got.StatusCode, got.body, got.setCookies())
			}
			b.mustGet("/get", "bob")
			if n := len(keys(t, rdb)); n != 1 {
				t.Errorf("%d keys", n)
			}
		})
		t.Run(row.id+": Destroy goes on, or says that it did not", func(t *testing.T) {
			_, b, rdb := start(t, nil)
			want := "ErrUnavailable"
			if row.destroys {
				want = "ok"
			}
			token := b.token()
			if a := b.get("/destroy"); a.body != want {
				t.Errorf("Destroy = %s, want %s", a.body, want)
			}
			n := len(keys(t, rdb))
			if row.destroys && (n != 0 || b.token() != "") || !row.destroys && (n != 1 || b.token() != token) {
				t.Errorf("%d keys, and the cookie is kept: %v", n, b.token() == token)
			}
		})
		t.Run(row.id+": it is one outage in the log, however many requests fail", func(t *testing.T) {
			l := &logs{}
			_, b, _ := start(t, l)
			l.take()
			for range 5 {
				if a := b.get("/set?v=eve"); a.StatusCode != 503 {
					t.Errorf("%d %q", a.StatusCode, a.body)
				}
			}
			down := 0
			lines := l.take()
			for _, line := range lines {
				if strings.Contains(line, "the store is unavailable") {
					down++
				}
			}
			if down != 1 {
				t.Errorf("%d lines say that the store is unavailable: %q", down, lines)
			}
		})
	}
}

// Whatever is lost of what the store holds, nobody becomes somebody else, and
// nobody who was out comes in.
func TestLostKeys(t *testing.T) {
	t.Run("F6 losing any keys only ever logs out", func(t *testing.T) {
		rdb := miniClient(t)
		who := map[string]string{} // by token
		var all []string
		setup := func() *sessions.Manager[Session] {
			clear(who)
			rdb.FlushAll(t.Context())
			m := mustNew(t, redisStore(rdb), sessions.Config{})
			ann := mustRequest(t, m, "", put(m, "ann"))
			bob := mustRequest(t, m, "", put(m, "bob"))
			bob2 := mustRequest(t, m, bob, m.Renew)
			bob3 := mustRequest(t, m, bob2, m.Renew)
			eve := mustRequest(t, m, "", put(m, "eve"))
			mustRequest(t, m, eve, m.Destroy)
			who[ann], who[bob], who[bob2], who[bob3], who[eve] = "ann", "", "", "bob", ""
			all = keys(t, rdb)
			return m
		}
		setup()
		n := len(all)
		if n != 4 {
			t.Fatalf("%d keys, want two sessions and two marks", n)
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
				ctx, err := m.Load(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				got := m.FromContext(ctx).UserID
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
	for _, step := range []string{"before Create", "after Create", "before CompareAndSwap", "after CompareAndSwap"} {
		t.Run("F6 losing everything in the midst of a renewal leaves no error and no session of another, "+step, func(t *testing.T) {
			r := newRig(t, miniClient(t), sessions.Config{})
			b := r.visitor("ann")
			a := r.park(b, "/renew", step, func() { r.rdb.FlushAll(t.Context()) })
			if a.body != "ok" && a.body != "ErrGone" {
				t.Errorf("Renew = %s", a.body)
			}
			if got := b.get("/get"); got.StatusCode != 200 || got.body != "" {
				t.Errorf("then %d %q", got.StatusCode, got.body)
			}
		})
	}
}
