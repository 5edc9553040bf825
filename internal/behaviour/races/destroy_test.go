package races_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
	"github.com/typedsessions/sessions/internal/redistest"
)

// eachProcesses is kit.EachProcesses with the two servers in parallel.
func eachProcesses(t *testing.T, f func(t *testing.T, p *kit.Processes)) {
	kit.EachRedis(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		kit.EachCodec(t, func(t *testing.T, c sessions.Codec) { f(t, kit.NewProcesses(t, rdb, sessions.Config{Codec: c})) })
	})
}

func wantKeys(t *testing.T, p *kit.Processes, want int) {
	t.Helper()
	if left := p.Keys(); len(left) != want {
		t.Errorf("%d keys left, want %d: %q", len(left), want, left)
	}
}

func wantRecords(t *testing.T, p *kit.Processes, want int) {
	t.Helper()
	if left := p.Records(); len(left) != want {
		t.Errorf("%d records left, want %d: %q", len(left), want, left)
	}
}

func wantUser(t *testing.T, whose string, b *kit.Browser, want string) {
	t.Helper()
	if res := b.Get("/get"); res.StatusCode != http.StatusOK || res.Text != want {
		t.Errorf("%s finds %d %q, want %q", whose, res.StatusCode, res.Text, want)
	}
}

func wantNoCookie(t *testing.T, res kit.Response) {
	t.Helper()
	if c := res.SetCookies(); len(c) > 0 {
		t.Errorf("it sends a cookie, which replaces the newer one in the browser: %d %q %q", res.StatusCode, res.Text, c)
	}
}

// What is destroyed between a request's load and its answer stays destroyed,
// whatever the request does. internal/protocol has each step at which it can stand.
func TestDestroyedStaysDestroyed(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, path, step string
		status           int
		text             string
	}{
		{"C1 a request that only reads", "/get", "after Load", 200, "ann"},
		{"C1 a change saved by the first byte, destroyed before the swap", "/set?v=bob", "before CompareAndSwap", 409, "Conflict\n"},
		{"C1 Save, destroyed before the swap", "/save?v=bob", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 Renew, destroyed before the claim", "/renew", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 L20 SignIn, destroyed before the claim", "/signin?v=bob", "before CompareAndSwap", 200, "ok"},
		{"C1 Destroy, destroyed before its swap", "/destroy", "before CompareAndSwap", 200, "ok"},
		{"C6 Touch, destroyed after the load", "/touch", "after Load", 200, "ErrGone"},
		{"C6 Reload, destroyed after the load", "/reload", "after Load", 200, "ErrGone"},
		{"C6 a load that touches a session destroyed just before", "/get", "before Load", 200, ""},
	}
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				p.Redis.FlushAll(t.Context())
				b := p.Visitor("ann")
				res := p.Park(b.Clone(), row.path, row.step, func() { b.Clone().MustGet("/destroy", "ok") })
				if res.StatusCode != row.status || res.Text != row.text {
					t.Errorf("it answers %d %q, want %d %q", res.StatusCode, res.Text, row.status, row.text)
				}
				if strings.HasPrefix(row.path, "/signin") {
					wantUser(t, "the sign-in's cookie", b.As(kit.TokenOf(res.Header)), "bob")
					wantUser(t, "the token from before", b, "")
					wantKeys(t, p, 1)
					return
				}
				if row.path != "/destroy" {
					wantNoCookie(t, res)
				}
				wantKeys(t, p, 0)
			})
		}

		t.Run("C3 a save never creates a new session with the destroyed one's data", func(t *testing.T) {
			p.Handle("/view", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Views++
				fmt.Fprint(w, kit.ErrName(p.Save(r.Context())))
			})
			p.Redis.FlushAll(t.Context())
			b := p.Visitor("ann-secret")
			p.Park(b.Clone(), "/view", "before CompareAndSwap", func() { b.Clone().MustGet("/destroy", "ok") })
			for key, record := range p.Records() {
				if strings.Contains(record, "ann-secret") {
					t.Errorf("%s holds what was destroyed: %q", key, record)
				}
			}
		})
	})
}

// The swap is one command, but the first one after a restart of the server is
// two: EVALSHA, which the server does not know, and EVAL.
func TestDestroyBetweenTheCommandsOfOneSwap(t *testing.T) {
	t.Parallel()
	t.Run("C2 a delete that lands between EVALSHA and EVAL", func(t *testing.T) {
		p := newProxied(t, redistest.Start(t), sessions.JSON{})
		other := kit.NewApp(t, kit.HTTP2, kit.RedisStore(p.direct), sessions.Config{})
		kit.Routes(other.Mux, other.Manager)
		b := p.Visitor("ann")
		p.direct.ScriptFlush(t.Context())
		g := redistest.NewGate()
		p.on("eval", func(int) redistest.Action { return redistest.Before(g) })
		done := b.Clone().Start("/save?v=bob")
		<-g.Reached()
		b.Clone().To(other).MustGet("/destroy", "ok")
		g.Open()
		res := <-done
		if res.Text != "ErrGone" {
			t.Errorf("Save = %s, want ErrGone", res.Text)
		}
		wantNoCookie(t, res)
		wantKeys(t, p.Processes, 0)
	})
}

func TestDestroyFollowsRenewals(t *testing.T) {
	t.Parallel()
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		start := func(t *testing.T) *kit.Browser {
			p.Redis.FlushAll(t.Context())
			return p.Visitor("ann")
		}
		t.Run("C16 a request with the old token ends what two renewals made of it", func(t *testing.T) {
			b := start(t)
			old := b.Clone()
			for range 2 {
				b.MustGet("/renew", "ok")
			}
			res := old.Get("/destroy")
			if res.Text != "ok" || len(res.SetCookies()) != 1 {
				t.Errorf("Destroy = %s with cookies %q, want one that expires", res.Text, res.SetCookies())
			}
			wantRecords(t, p, 0)
			wantUser(t, "the renewed token", b, "")
		})

		t.Run("C16 Destroy after a write under the old token ends the renewed session too", func(t *testing.T) {
			p.Handle("/save-destroy", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
				s.Flash = "bye"
				saved := p.Save(r.Context())
				fmt.Fprint(w, kit.ErrName(saved), " ", kit.ErrName(p.Destroy(r.Context())))
			})
			b := start(t)
			old := b.Clone()
			b.MustGet("/renew", "ok")
			if res := old.Get("/save-destroy"); !strings.HasSuffix(res.Text, " ok") {
				t.Errorf("Save, Destroy = %s", res.Text)
			}
			wantRecords(t, p, 0)
		})
	})
}
