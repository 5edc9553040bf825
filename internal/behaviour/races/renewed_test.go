package races_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// Under a token that was renewed meanwhile nothing is saved, and no answer
// takes the new token away from the browser.
func TestRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	rows := []struct {
		path, step string
		status     int
		text       string
	}{
		{"/get", "after Load", 200, "ann"},
		{"/set?v=eve", "before CompareAndSwap", 409, "Conflict\n"},
		{"/save?v=eve", "before CompareAndSwap", 200, "ErrGone"},
		{"/touch", "after Load", 200, "ErrGone"},
		{"/reload", "after Load", 200, "ErrGone"},
		{"/renew?v=eve", "before CompareAndSwap", 200, "ErrGone"},
	}
	eachProcesses(t, func(t *testing.T, p *kit.Processes) {
		start := func(t *testing.T) (b, other *kit.Browser) {
			p.Redis.FlushAll(t.Context())
			b = p.Visitor("ann")
			return b, b.Clone().To(p.Other)
		}
		for _, row := range rows {
			t.Run("C4 C14 "+row.path+" "+row.step+" while another tab signs in", func(t *testing.T) {
				b, other := start(t)
				id := b.Get("/id").Text
				res := p.Park(b.Clone(), row.path, row.step, func() { other.MustGet("/signin?v=bob", "ok") })
				if res.StatusCode != row.status || res.Text != row.text {
					t.Errorf("it answers %d %q, want %d %q", res.StatusCode, res.Text, row.status, row.text)
				}
				wantNoCookie(t, res)
				wantUser(t, "the old token", b, "")
				wantUser(t, "the new token", other, "bob")
				if got := other.Get("/id").Text; got != id {
					t.Errorf("the ID has become %s, want %s", got, id)
				}
				wantRecords(t, p, 1)
			})
		}

		// A sign-in is a proof: the second click on the form is the one whose answer the browser shows.
		steps := []string{"before Load", "after Load", "before CompareAndSwap"}
		if kit.Owner == "" {
			steps = append(steps, "before Create", "after Create")
		}
		for _, step := range steps {
			for _, last := range []string{"the parked one's", "the other one's"} {
				t.Run("L20 C18 C14 a sign-in "+step+" while another tab signs in: "+last+" cookie arrives last", func(t *testing.T) {
					b, other := start(t)
					parked := b.Clone()
					res := p.Park(parked, "/signin?v=ann", step, func() { other.MustGet("/signin?v=ann", "ok") })
					if res.StatusCode != 200 || res.Text != "ok" || len(res.SetCookies()) != 1 {
						t.Errorf("it answers %d %q and sends %q", res.StatusCode, res.Text, res.SetCookies())
					}
					if last == "the other one's" {
						parked = other
					}
					wantUser(t, "the cookie", parked, "ann")
					wantUser(t, "the parked one's token", b.As(kit.TokenOf(res.Header)), "ann")
					wantUser(t, "the other one's token", other, "ann")
					wantUser(t, "the old token", b, "")
					wantRecords(t, p, 2)
				})
			}
		}

		// The request was sent before the sign-in and reached the store after
		// it: to the browser that is no difference.
		for _, path := range []string{"/set?v=eve", "/save?v=eve", "/renew?v=eve"} {
			t.Run("C14 a request with the old token that loads after the sign-in sends no cookie, "+path, func(t *testing.T) {
				b, other := start(t)
				wantNoCookie(t, p.Park(b, path, "before Load", func() { other.MustGet("/signin?v=bob", "ok") }))
				wantUser(t, "the new token", other, "bob")
			})
		}
	})
}

// Six requests are sent with one token, and one of them renews it. The others look like nobody's, and are not.
func TestLostRotation(t *testing.T) {
	t.Parallel()
	kit.EachStack(t, "C21 the five requests that come too late for a renewal are told so by Info, and find the session when they ask again", func(t *testing.T, st kit.Stack) {
		a := st.App(t, sessions.Config{})
		b := a.Browser().Login()
		var held atomic.Bool
		var arrived sync.WaitGroup
		renewed := make(chan struct{})
		a.Store.Before = func(op, _ string) error {
			if op == "Load" && held.Load() {
				arrived.Done()
				<-renewed
			}
			return nil
		}
		a.Handle("/page", func(w http.ResponseWriter, r *http.Request, s *kit.Session) {
			fmt.Fprint(w, s.UserID, " ", a.Info(r.Context()).RenewedElsewhere)
		})
		var late []<-chan kit.Response
		b.Visit(func(_ http.ResponseWriter, r *http.Request, _ *kit.Session) {
			arrived.Add(5)
			held.Store(true)
			for range 5 {
				late = append(late, b.Clone().Start("/page"))
			}
			arrived.Wait()
			held.Store(false)
			kit.OK(t, a.Renew(r.Context()))
			close(renewed)
		})
		for _, done := range late {
			res := <-done
			if res.Text != " true" {
				t.Errorf("a late request is answered %q", res.Text)
			}
			wantNoCookie(t, res)
			b.MustGet("/page", "u1 false")
		}
	})

	kit.EachBubble(t, "C21 C14 Info tells of a renewal elsewhere while the mark stands and the request has no session of its own", func(t *testing.T, c sessions.Codec) {
		events := &kit.Events{}
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Codec: c, OnEvent: events.On})
		want := func(what string, want bool, tokens ...string) context.Context {
			t.Helper()
			ctx, _ := kit.Load(t, m, tokens...)
			if i := m.Info(ctx); i.RenewedElsewhere != want || want && (!i.New || i.ID == "") {
				t.Errorf("%s: %+v, want %t", what, i, want)
			}
			return ctx
		}
		told := func(ctx context.Context) bool { return m.Info(ctx).RenewedElsewhere }

		old := kit.MustRequest(t, m, "", kit.Put(m, "ann"))
		slow := want("a request that loads before the renewal", false, old)
		renewed := kit.Verb(t, m, old, "Renew")
		want("the renewed token", false, renewed)
		want("no token", false)
		want("an unknown token", false, kit.UnknownToken(1))
		want("the old token and an unknown one", true, kit.UnknownToken(1), old)
		want("the old token and the renewed one", false, old, renewed)
		two := []string{kit.MustRequest(t, m, "", kit.Put(m, "eve")), kit.MustRequest(t, m, "", kit.Put(m, "mallory"))}
		want("two valid tokens", false, two...)
		for _, tokens := range [][]string{{old, two[0], two[1]}, {two[0], old, two[1]}, {two[0], two[1], old}} {
			ctx := want("the old token and two valid ones", true, tokens...)
			m.FromContext(ctx).Views++
			kit.WantErr(t, "Save", m.Save(ctx), sessions.ErrGone) // C14
		}
		if kit.WantErr(t, "Save", m.Update(slow, func(s *kit.Session) error { s.Views++; return nil }), sessions.ErrGone); told(slow) {
			t.Error("a request with a session, which has ended: its verbs are ErrGone")
		}

		ctx := want("the old token", true, old)
		events.Take()
		m.FromContext(ctx).Views++
		kit.WantErr(t, "Save", m.Save(ctx), sessions.ErrGone)
		if all := events.Take(); len(all) != 1 || !all[0].Session.RenewedElsewhere {
			t.Errorf("the events are %+v", all)
		}
		ctx = want("the old token", true, old)
		if o := kit.Commit(t, m, ctx, sessions.OutcomeUnchanged); !o.Info.RenewedElsewhere {
			t.Errorf("the outcome is %+v", o)
		}
		if kit.OK(t, m.Reload(ctx)); !told(ctx) {
			t.Error("after a Reload the token is still one that was renewed")
		}
		if ctx = want("the old token", true, old); kit.Call(m, ctx, "SignIn") != nil || told(ctx) {
			t.Error("after a SignIn the request has a session of its own")
		}
		for range 9 {
			time.Sleep(time.Second)
			want("the old token, again and again", true, old)
		}
		time.Sleep(time.Second)
		want("the old token after ten seconds", false, old)

		again := kit.Verb(t, m, renewed, "Renew")
		if ctx = want("a token that is destroyed", true, renewed); kit.Call(m, ctx, "Destroy") != nil || told(ctx) || kit.Alive(t, m, again) {
			t.Error("after a Destroy there is nothing to ask for")
		}
	})
}
