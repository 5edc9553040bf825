package sessions_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// What is destroyed between a request's load and its answer stays destroyed,
// whatever the request does and wherever it stands meanwhile.
func TestDestroyedStaysDestroyed(t *testing.T) {
	rows := []struct {
		id, path, step string
		status         int
		body           string
	}{
		{"C1 a request that only reads", "/get", "after Load", 200, "ann"},
		{"C1 a change saved by the first byte, destroyed after the load", "/set?v=bob", "after Load", 409, "Conflict\n"},
		{"C1 a change saved by the first byte, destroyed before the swap", "/set?v=bob", "before CompareAndSwap", 409, "Conflict\n"},
		{"C1 a change destroyed after its swap", "/set?v=bob", "after CompareAndSwap", 200, "ok"},
		{"C1 Save, destroyed after the load", "/save?v=bob", "after Load", 200, "ErrGone"},
		{"C1 Save, destroyed before the swap", "/save?v=bob", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 Renew, destroyed after the load", "/renew", "after Load", 200, "ErrGone"},
		{"C1 Renew, destroyed before the copy", "/renew", "before Create", 200, "ErrGone"},
		{"C1 Renew, destroyed after the copy", "/renew", "after Create", 200, "ErrGone"},
		{"C1 Renew, destroyed before the claim", "/renew", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 SignIn, destroyed after the load", "/signin?v=bob", "after Load", 200, "ErrGone"},
		{"C1 SignIn, destroyed before the copy", "/signin?v=bob", "before Create", 200, "ErrGone"},
		{"C1 SignIn, destroyed before the claim", "/signin?v=bob", "before CompareAndSwap", 200, "ErrGone"},
		{"C1 Destroy, destroyed before its swap", "/destroy", "before CompareAndSwap", 200, "ok"},
		{"C6 Touch, destroyed after the load", "/touch", "after Load", 200, "ErrGone"},
		{"C6 Reload, destroyed after the load", "/reload", "after Load", 200, "ErrGone"},
		{"C6 a load that touches a session destroyed just before", "/get", "before Load", 200, ""},
	}
	eachRig(t, func(t *testing.T, r *rig) {
		for _, row := range rows {
			t.Run(row.id, func(t *testing.T) {
				b := r.visitor("ann")
				a := r.park(b.clone(), row.path, row.step, func() { b.clone().mustGet("/destroy", "ok") })
				if a.StatusCode != row.status || a.body != row.body {
					t.Errorf("it answers %d %q, want %d %q", a.StatusCode, a.body, row.status, row.body)
				}
				if left := keys(t, r.rdb); len(left) > 0 {
					t.Errorf("keys left: %q", left)
				}
				if c := a.setCookies(); len(c) > 0 && row.path != "/destroy" {
					t.Errorf("it sends a cookie: %q", c)
				}
			})
		}

		t.Run("C6 Touch parked before its touch", func(t *testing.T) {
			b := r.visitor("ann")
			tab := b.clone()
			var second *gate
			done := make(chan answer)
			// The first Load is the request's, the second Touch's own.
			first := r.steps.at("after Load")
			go func() { done <- tab.get("/touch") }()
			first.wait()
			second = r.steps.at("before Load")
			first.open()
			second.wait()
			b.clone().mustGet("/destroy", "ok")
			second.open()
			if a := <-done; a.body != "ErrGone" || len(a.setCookies()) > 0 {
				t.Errorf("Touch of a destroyed session: %q, cookies %q", a.body, a.setCookies())
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
		})

		t.Run("C2 a delete that lands after a save has seen a conflict and before it tries again", func(t *testing.T) {
			b := r.visitor("ann")
			met := make(chan struct{})
			a := r.park(b.clone(), "/save?v=bob", "before CompareAndSwap", func() {
				r.elsewhere(b.clone()).mustGet("/save?v=eve", "ok")
				// The save now finds a conflict, and stands behind it.
				conflict := r.steps.at("after CompareAndSwap")
				go func() {
					conflict.wait()
					close(met)
					b.clone().mustGet("/destroy", "ok")
					conflict.open()
				}()
			})
			if a.body != "ErrGone" {
				t.Errorf("Save = %s, want ErrGone", a.body)
			}
			if left := keys(t, r.rdb); len(left) > 0 {
				t.Errorf("keys left: %q", left)
			}
			<-met
		})

		t.Run("C3 a save never creates a new session with the destroyed one's data", func(t *testing.T) {
			r.mux.HandleFunc("/view", func(w http.ResponseWriter, req *http.Request) {
				r.m.FromContext(req.Context()).Views++
				fmt.Fprint(w, named(r.m.Save(req.Context())))
			})
			for _, step := range []string{"before Load", "after Load", "before CompareAndSwap"} {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann-secret")
				r.park(b.clone(), "/view", step, func() { b.clone().mustGet("/destroy", "ok") })
				for k, v := range r.records() {
					if strings.Contains(v, "ann-secret") {
						t.Errorf("%s: %s holds what was destroyed: %q", step, k, v)
					}
				}
			}
		})
	})
}

// The swap is one command, but the first one after a restart of the server is
// two: EVALSHA, which the server does not know, and EVAL.
func TestDestroyBetweenTheCommandsOfOneSwap(t *testing.T) {
	t.Run("C2 a delete that lands between EVALSHA and EVAL", func(t *testing.T) {
		server := redistest.Start(t)
		proxy := redistest.NewProxy(t, server.Addr)
		rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		r := newRig(t, rdb, sessions.Config{})
		direct := newRig(t, server.Client(t), sessions.Config{})
		b := r.visitor("ann")
		server.Client(t).ScriptFlush(t.Context())
		g := redistest.NewGate()
		proxy.On(func(cmd []string) redistest.Action {
			if strings.EqualFold(cmd[0], "eval") {
				return redistest.Before(g)
			}
			return redistest.Pass
		})
		done := b.clone().start("/save?v=bob")
		<-g.Reached()
		other := direct.browser()
		other.c.Jar.SetCookies(other.request("/").URL, b.cookies())
		other.mustGet("/destroy", "ok")
		g.Open()
		if a := <-done; a.body != "ErrGone" || len(a.setCookies()) > 0 {
			t.Errorf("Save: %q, cookies %q, want ErrGone and none", a.body, a.setCookies())
		}
		if left := keys(t, rdb); len(left) > 0 {
			t.Errorf("keys left: %q", left)
		}
	})
}

func TestDestroyFollowsRenewals(t *testing.T) {
	eachRig(t, func(t *testing.T, r *rig) {
		steps := []string{"after Load", "before CompareAndSwap"}
		for _, step := range steps {
			t.Run("C16 Destroy parked "+step+" while the token is renewed", func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				other := b.clone()
				a := r.park(b.clone(), "/destroy", step, func() { r.elsewhere(other).mustGet("/renew", "ok") })
				if a.body != "ok" {
					t.Errorf("Destroy = %s", a.body)
				}
				if left := r.records(); len(left) > 0 {
					t.Errorf("records left: %q", left)
				}
				if a := other.get("/get"); a.body != "" {
					t.Errorf("the renewed token still finds %q", a.body)
				}
			})
		}

		for _, chain := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("C16 a request with the old token ends what %d renewals made of it", chain), func(t *testing.T) {
				r.rdb.FlushAll(t.Context())
				b := r.visitor("ann")
				old := b.clone()
				for range chain {
					b.mustGet("/renew", "ok")
				}
				a := old.get("/destroy")
				if a.body != "ok" || len(a.setCookies()) != 1 {
					t.Errorf("Destroy = %s with cookies %q, want one that expires", a.body, a.setCookies())
				}
				if left := r.records(); len(left) > 0 {
					t.Errorf("records left: %q", left)
				}
				if a := b.get("/get"); a.body != "" {
					t.Errorf("the renewed token still finds %q", a.body)
				}
			})
		}

		t.Run("C16 Destroy goes on through a change of the renewed session between its look and its swap", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			b := r.visitor("ann")
			old := b.clone()
			b.mustGet("/renew", "ok")
			// The old token's Destroy looks at the mark's successor, then swaps.
			a := r.park(old, "/destroy", "before CompareAndSwap", func() { r.elsewhere(b).mustGet("/save?v=bob", "ok") })
			if left := r.records(); a.body != "ok" || len(left) > 0 {
				t.Errorf("Destroy = %s, records left: %q", a.body, left)
			}
		})

		t.Run("C16 Destroy after a write under the old token ends the renewed session too", func(t *testing.T) {
			r.rdb.FlushAll(t.Context())
			path := "/save-destroy"
			r.mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
				r.m.FromContext(req.Context()).Flash = "bye"
				saved := r.m.Save(req.Context())
				fmt.Fprint(w, named(saved), " ", named(r.m.Destroy(req.Context())))
			})
			b := r.visitor("ann")
			old := b.clone()
			b.mustGet("/renew", "ok")
			a := old.get(path)
			if left := r.records(); !strings.HasSuffix(a.body, " ok") || len(left) > 0 {
				t.Errorf("Save, Destroy = %s, records left: %q", a.body, left)
			}
		})
	})
}
