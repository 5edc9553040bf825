package races_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// The mark of a renewal stands for ten seconds. The clock is the bubble's.
func TestMarksEnd(t *testing.T) {
	t.Parallel()
	run := func(name string, f func(t *testing.T, m *sessions.Manager[kit.Session], old string)) {
		kit.Bubble(t, name, func(t *testing.T) {
			m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{})
			f(t, m, kit.MustRequest(t, m, "", kit.Put(m, "ann")))
		})
	}
	run("C16 requests with the old token do not prolong its mark", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		renewed := kit.Verb(t, m, old, "Renew")
		for range 12 {
			if kit.Alive(t, m, old) {
				t.Fatal("the old token finds a session")
			}
			time.Sleep(time.Second)
		}
		kit.Verb(t, m, old, "Destroy")
		if !kit.Alive(t, m, renewed) {
			t.Error("an old token that was presented again and again ends a session after ten seconds")
		}
	})
	run("C16 Destroy in a request that began before the renewal and took longer than a mark says that it missed", func(t *testing.T, m *sessions.Manager[kit.Session], old string) {
		slow, _ := kit.Load(t, m, old)
		renewed := kit.Verb(t, m, old, "Renew")
		time.Sleep(11 * time.Second)
		kit.WantErr(t, "Destroy", m.Destroy(slow), sessions.ErrGone)
		if !kit.Alive(t, m, renewed) {
			t.Error("the renewed session is dead")
		}
		if err := m.Destroy(slow); err != nil || m.FromContext(slow).UserID != "" {
			t.Errorf("the next Destroy = %v with %+v, want a fresh start", err, m.FromContext(slow))
		}
	})
	kit.Bubble(t, "C16 C19 a mark stands for ten seconds though IdleTimeout is shorter and the old token is presented", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{IdleTimeout: 3 * time.Second})
		old := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		renewed := kit.Verb(t, m, old, "Renew")
		if kit.Alive(t, m, old) {
			t.Fatal("the old token finds a session")
		}
		for range 4 {
			time.Sleep(2 * time.Second)
			if !kit.Alive(t, m, renewed) {
				t.Fatal("the renewed session has ended")
			}
		}
		kit.Verb(t, m, old, "Destroy")
		if kit.Alive(t, m, renewed) {
			t.Error("Destroy with the old token leaves the renewed session")
		}
	})
	kit.Bubble(t, "C16 a mark stands for ten seconds though Lifetime is shorter", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Lifetime: 4 * time.Second, Remember: sessions.Remember{Lifetime: time.Hour}})
		old := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		renewed := kit.Verb(t, m, old, "Remember")
		time.Sleep(6 * time.Second)
		if !kit.Alive(t, m, renewed) {
			t.Fatal("the renewed session has not outlived Lifetime")
		}
		kit.Verb(t, m, old, "Destroy")
		if kit.Alive(t, m, renewed) {
			t.Error("Destroy with the old token leaves the renewed session")
		}
	})
}

// A request with the old token touches what it loads before it knows that this is a mark.
func TestMarksKeepTheirDeadline(t *testing.T) {
	t.Parallel()
	rows := []struct{ name, path, step, calls string }{
		{"a request", "/get", "before Load", "Load Load"},
		{"Touch", "/touch", "after Load", "Load Load Load"},
		{"Reload", "/reload", "after Load", "Load Load Load"},
	}
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		for _, verb := range []string{"Renew", "Remember"} { // a remembered session's idle timeout is a month
			for _, row := range rows {
				t.Run("C19 "+row.name+" under a token that is renewed meanwhile leaves its mark ten seconds, "+verb, func(t *testing.T) {
					p.Redis.FlushAll(t.Context())
					b := p.Visitor("ann")
					b.Verb(verb)
					old, other := b.Token(), b.Clone().To(p.Other)
					p.Store.Calls()
					p.Park(b, row.path, row.step, func() { other.Verb(verb) })
					p.WantCalls(t, "it", row.calls)
					left, err := p.Redis.PTTL(t.Context(), "session:"+kit.KeyOf(old)).Result()
					if kit.Must(t, err); left <= 0 || left > 10*time.Second {
						t.Errorf("the mark stays for %v", left)
					}
					b.As(old).MustGet("/destroy", "ok")
					wantUser(t, "the renewed token", other, "")
				})
			}
		}
	})
}

// A store that evicts marks hides where a session went, and a broken one may send Destroy in a circle.
func TestDestroyWithoutAWay(t *testing.T) {
	t.Parallel()
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		evicts := func(t *testing.T) {
			for _, key := range p.Keys() {
				if _, isRecord := p.Records()[key]; !isRecord {
					kit.Must(t, p.Redis.Del(t.Context(), key).Err())
				}
			}
		}
		start := func(t *testing.T) (b, old *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			b = p.Visitor("ann")
			old = b.Clone()
			b.MustGet("/renew", "ok")
			return b, old
		}
		destroyAfter := func(t *testing.T, b *kit.Browser, act func(ctx context.Context)) kit.Response {
			return b.Visit(func(w http.ResponseWriter, r *http.Request, _ *kit.Session) {
				act(r.Context())
				fmt.Fprint(w, kit.ErrName(p.Destroy(r.Context())))
			})
		}

		t.Run("C20 Destroy is ErrGone if the mark that the request has loaded was evicted and nothing is where it led", func(t *testing.T) {
			b, old := start(t)
			res := destroyAfter(t, old, func(context.Context) { b.MustGet("/renew", "ok"); evicts(t) })
			if res.Text != "ErrGone" {
				t.Errorf("Destroy = %s, and the session lives on", res.Text)
			}
			wantNoCookie(t, res)
			wantUser(t, "the renewed token", b, "ann")
		})
		for _, verb := range []string{"Save", "Touch", "Reload", "Renew"} {
			t.Run("C20 Destroy is ErrGone if the mark that "+verb+" has met was evicted", func(t *testing.T) {
				p.Redis.FlushAll(t.Context())
				b := p.Visitor("ann")
				other := b.Clone().To(p.Other)
				res := destroyAfter(t, b, func(ctx context.Context) {
					p.FromContext(ctx).Views++
					other.MustGet("/renew", "ok")
					kit.WantErr(t, verb, kit.Call(p.Manager, ctx, verb), sessions.ErrGone)
					evicts(t)
				})
				if res.Text != "ErrGone" {
					t.Errorf("Destroy = %s, and the session lives on", res.Text)
				}
				wantNoCookie(t, res)
				wantUser(t, "the renewed token", other, "ann")
			})
		}
		t.Run("C20 a sign-out that is submitted twice with a renewed token succeeds twice", func(t *testing.T) {
			b, old := start(t)
			res := p.Park(old.Clone(), "/destroy", "after Load", func() { old.Clone().To(p.Other).MustGet("/destroy", "ok") })
			if res.Text != "ok" || len(res.SetCookies()) != 1 {
				t.Errorf("Destroy = %s with cookies %q, want one that expires", res.Text, res.SetCookies())
			}
			wantUser(t, "the renewed token", b, "")
		})
		t.Run("C20 Destroy by a session whose record was evicted succeeds", func(t *testing.T) {
			p.Redis.FlushAll(t.Context())
			b := p.Visitor("ann")
			if res := destroyAfter(t, b, func(ctx context.Context) { p.Redis.FlushAll(ctx) }); res.Text != "ok" {
				t.Errorf("Destroy = %s", res.Text)
			}
		})
		for _, n := range []int{1, 2, 500} {
			t.Run(fmt.Sprintf("C20 a circle of %d marks costs Destroy thirty-three commands and is ErrGone", n), func(t *testing.T) {
				p.Redis.FlushAll(t.Context())
				for i := range n {
					kit.Place(t, kit.RedisStore(p.Redis), kit.UnknownToken(i), markTo(kit.KeyOf(kit.UnknownToken((i+1)%n))))
				}
				res := destroyAfter(t, p.Browser().As(kit.UnknownToken(0)), func(context.Context) { p.Store.Calls() })
				if calls := p.Store.Calls(); res.Text != "ErrGone" || calls != strings.TrimSpace(strings.Repeat("Load ", 33)) {
					t.Errorf("Destroy = %s after %q", res.Text, calls)
				}
				wantNoCookie(t, res)
			})
		}
	})
}

// Reload begins T afresh, and not what is known of the request's tokens.
func TestReloadUnderARenewedToken(t *testing.T) {
	t.Parallel()
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		p.Handle("/reload-then", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			kit.OK(t, p.Reload(r.Context()))
			s.UserID = "eve"
			fmt.Fprint(w, kit.ErrName(kit.Call(p.Manager, r.Context(), r.FormValue("verb"))))
		})
		start := func(t *testing.T) (b, old *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			b = p.Visitor("ann")
			old = b.Clone()
			b.MustGet("/renew", "ok")
			return b, old
		}
		t.Run("C14 after a Reload a request with the old token sends no cookie either", func(t *testing.T) {
			b, old := start(t)
			res := old.Get("/reload-then?verb=Save")
			if res.Text != "ErrGone" {
				t.Errorf("Save = %s, want ErrGone", res.Text)
			}
			wantNoCookie(t, res)
			wantUser(t, "the new token", b, "ann")
		})
		t.Run("C16 after a Reload Destroy with the old token ends the renewed session too", func(t *testing.T) {
			b, old := start(t)
			old.MustGet("/reload-then?verb=Destroy", "ok")
			wantUser(t, "the new token", b, "")
		})
		t.Run("T4 after a Reload Destroy ends both of two valid sessions", func(t *testing.T) {
			p.Redis.FlushAll(t.Context())
			one, other := p.Visitor("ann").Token(), p.Visitor("ann").Token()
			p.Ask(func(_ http.ResponseWriter, r *http.Request) {
				kit.OK(t, p.Reload(r.Context()))
				kit.OK(t, p.Destroy(r.Context()))
			}, kit.CookieName+"="+one+"; "+kit.CookieName+"="+other)
			wantKeys(t, p, 0)
		})
	})
}

// markTo is a mark of this moment.
func markTo(key string) string {
	return fmt.Sprintf(`{"id":%q,"w":["other.1"],"created":%d,"successor":%q}`, kit.HandID, time.Now().UnixMilli(), key) + "\n"
}
